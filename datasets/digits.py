"""Digits: 1,797 handwritten digits of 8 x 8 pixels that come with scikit-learn."""

from __future__ import annotations

from cfg.schema import DatasetParams

from pathlib import Path

import numpy as np

from datasets.images import ImageDataset, PixelSequence, RawImages
from datasets.split import hold_out

TEST_SAMPLES = 360
VALIDATION_SAMPLES = 180


class Digits(ImageDataset):
    """70 % for training, 10 % for validation and 20 % for the test: always the same samples.

    With `dataset_params.val_fraction=0` the validation samples are trained on. Mean and standard
    deviation are those of the 1,437 samples that are not for the test.
    """

    name = "Digits"
    channels, size, classes = 1, (8, 8), 10
    class_names = tuple("0123456789")
    train_total = 1437
    mean, std, scale = (0.3050,), (0.3758,), 16.0

    def held_out(self, params: DatasetParams, total: int | None = None) -> int:
        return VALIDATION_SAMPLES if params.val_fraction else 0

    def read(self, root: Path) -> RawImages:
        from sklearn.datasets import load_digits

        digits = load_digits()
        pixels = digits.images.astype(np.uint8)[:, None]  # (1797, 1, 8, 8)
        labels = digits.target.astype(np.uint8)
        train, test = hold_out(labels, TEST_SAMPLES)
        return RawImages(pixels[train], labels[train], pixels[test], labels[test])


DATASETS = (Digits(), PixelSequence("sDigits", Digits()))
