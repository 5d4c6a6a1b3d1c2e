"""Where a run is watched from: W&B, TensorBoard, both or neither, as the flag `logger` says."""

from __future__ import annotations

from cfg.schema import Config

from pathlib import Path
from typing import Any

from training.report.tensorboard_log import TensorBoardLog
from training.report.wandb_log import WandbLog

LOGS = {"wandb": WandbLog, "tensorboard": TensorBoardLog}


class RunLog:
    """Sends what a run gives to every log that `cfg.logger` names. As a context it ends them.

    Where `saved`, the last checkpoint of a run, is given, that run's own logs go on.
    """

    def __init__(
        self,
        cfg: Config,
        config: dict[str, Any],
        folder: Path,
        saved: dict[str, Any] | None = None,
    ) -> None:
        chosen = [kind for name, kind in LOGS.items() if cfg.logger in (name, "both")]
        self.logs = [kind(cfg, config, folder, saved) for kind in chosen]
        self.saved_id = saved["log"]["wandb_id"] if saved else None

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for log in self.logs:
            log.finish(failed=kind is not None)

    @property
    def run_id(self) -> str | None:
        """What a continued run needs to go on under the same name."""
        return next((log.run_id for log in self.logs if log.run_id), self.saved_id)

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        for log in self.logs:
            log.log(values, step)

    def summarize(self, values: dict[str, Any]) -> None:
        """Set the run's final figures."""
        for log in self.logs:
            log.summarize(values)

    def image(self, path: Path, name: str = "") -> None:
        """Log a picture file, if there is one, under this name or its own."""
        for log in self.logs:
            log.image(path, name)
