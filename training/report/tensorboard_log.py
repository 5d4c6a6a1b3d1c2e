"""TensorBoard: the only place that knows it."""

from __future__ import annotations

from cfg.schema import Config

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from ckconv.errors import UsageError, reason
from program import distributed

FOLDER = "tensorboard"  # in a run's folder


class TensorBoardLog:
    """What a run gives, as TensorBoard's event files in the run's folder.

    Never stops a run. A continued run goes on in the same folder. Of several processes that train
    together, the first one alone writes.
    """

    run_id = None

    def __init__(
        self,
        cfg: Config,
        config: dict[str, Any],
        folder: Path,
        saved: dict[str, Any] | None = None,
    ) -> None:
        self.writer = None
        if not distributed.is_main():
            return
        from torch.utils.tensorboard import SummaryWriter

        self.step = 0
        self.writer = SummaryWriter(folder / FOLDER)
        print(f"TensorBoard: tensorboard --logdir {folder} shows this run")
        if saved is None:
            text = "".join(f"    {line}\n" for line in yaml.safe_dump(config).splitlines())
            self._tell(lambda writer: writer.add_text("config", text))

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        self.step = self.step if step is None else step

        def send(writer: Any) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, self.step)
            writer.flush()  # a run is watched while it goes on

        self._tell(send)

    def summarize(self, values: dict[str, Any]) -> None:
        """Log the run's final figures."""
        self.log(values)

    def image(self, path: Path, name: str = "") -> None:
        """Log a picture file, if there is one, under this name or its own."""

        def send(writer: Any) -> None:
            import numpy as np
            from PIL import Image

            pixels = np.asarray(Image.open(path).convert("RGB"))
            writer.add_image(name or path.stem, pixels, self.step, dataformats="HWC")

        if path.exists():
            self._tell(send)

    def finish(self, failed: bool = False) -> None:
        self._tell(lambda writer: writer.close())

    def _tell(self, send: Callable[[Any], None]) -> None:
        if self.writer is None:
            return
        try:
            send(self.writer)
        except Exception as error:  # a full disk, a value that it refuses
            why = reason(error, 120)
            print(f"TensorBoard: {why}; from here this run is not logged to it", flush=True)
            self.writer = None


def check_installed(logger: str) -> None:
    """Raise `UsageError` where TensorBoard is asked for and not there."""
    if logger in ("tensorboard", "both") and importlib.util.find_spec("tensorboard") is None:
        raise UsageError(
            f"logger={logger}: TensorBoard is not installed; pip install tensorboard adds it, or "
            "leave the flag out"
        )
