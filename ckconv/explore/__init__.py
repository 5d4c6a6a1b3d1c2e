"""Looking into a trained network: its kernels on a page, and how far its layers see.

The page is one file, for any browser, without a network. A layer, a kernel and a resolution are
picked on it, and the function behind the kernel is seen with its mask, its samples, and its
spectrum against Nyquist's frequency.
"""

from __future__ import annotations

from ckconv.explore.receptive import ReceptiveField, receptive_fields
from ckconv.explore.write import page, write_page

__all__ = ["ReceptiveField", "page", "receptive_fields", "write_page"]
