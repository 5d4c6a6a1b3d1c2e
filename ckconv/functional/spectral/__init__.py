"""Convolution in the frequency domain, and what it is expected to cost."""

from __future__ import annotations

from ckconv.functional.spectral.factored import spectral_conv
from ckconv.functional.spectral.fft import fft_conv
from ckconv.functional.spectral.frames import remembered
from ckconv.functional.spectral.plan import CostModel, is_depthwise
from ckconv.functional.spectral.tiling import best_way

__all__ = ["CostModel", "best_way", "fft_conv", "is_depthwise", "remembered", "spectral_conv"]
