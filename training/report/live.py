"""Pictures of a training that is still going on, drawn anew as its epochs end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from program import distributed
from program.folder import CURVES, SIZES
from training.report.curves import Row, save_curves, save_sizes
from training.report.pictures import optional

SHARE = 0.05  # of a training's time that may go into its pictures


class LivePictures:
    """`curves.png` and `sizes.png` of a run's folder, as of its latest epoch.

    They are drawn anew after every epoch; after epochs so short that drawing would take a
    noticeable part of the training, as often as it does not, and at the end. Where they cannot be
    drawn one line says so, and the run goes on without them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.begun = time.perf_counter()
        self.spent = 0.0  # seconds in drawing
        self.outstanding: Sequence[Row] = ()
        self.is_possible = distributed.is_main()

    def show(self, history: Sequence[Row]) -> None:
        """Draw the epochs so far, or leave it to a later call."""
        self.outstanding = history
        if self.spent <= SHARE * (time.perf_counter() - self.begun):
            self.finish()

    def finish(self) -> None:
        """Draw the epochs that have not been drawn yet."""
        if not self.outstanding or not self.is_possible:
            return
        started = time.perf_counter()
        self.is_possible = False
        with optional(CURVES, SIZES):
            save_curves(self.outstanding, self.folder / CURVES, self.folder.name)
            save_sizes(self.outstanding, self.folder / SIZES, self.folder.name)
            self.is_possible = True
        self.outstanding = ()
        self.spent += time.perf_counter() - started
