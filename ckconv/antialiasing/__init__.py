"""Kernels that do not alias: their highest frequencies, Nyquist's, the loss, the picture."""

from ckconv.antialiasing.frequencies import bound, frequencies, mask_frequency, nyquist
from ckconv.antialiasing.loss import regularizer

__all__ = ["bound", "frequencies", "mask_frequency", "nyquist", "regularizer"]
