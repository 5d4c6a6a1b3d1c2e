"""Across resolutions: train at one, deploy at another as is, fine-tune there.

A run's folder holds the checkpoints of the training at the source resolution, those of the
fine-tuning in `fine_tuning/`, and `stages.json` with the results of the stages that are done, so
that a run which was stopped in any of them goes on there.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ckconv.errors import UsageError
from datasets import build_loaders, describe
from datasets.batches.resample import target_size
from datasets.imagenet import IMAGENET_K, imagenet_of
from datasets.task import Loaders, Task
from models import set_resolution
from program import device as runtime
from program import distributed
from program.files import write_json
from program.folder import BEST, FINE_TUNING, LAST, STAGES
from training import checkpoints
from training.evaluation import evaluate
from training.loop import fit
from training.report import epochs as records
from training.report.layers import generated_layers
from training.report.wandb_log import WandbLog
from training.state import Progress

SOURCE, AS_IS, FINE_TUNED = "source", "as_is", "fine_tuned"


def check(cfg: Any) -> None:
    """Raise `UsageError` for resolutions or stages that make no run."""
    cross_res = cfg.cross_res
    for flag in ("source_res", "target_res"):
        value = getattr(cross_res, flag)
        if value < 1:
            raise UsageError(
                f"cross_res.{flag}={value}: give the resolutions, as cross_res.source_res=16 "
                "cross_res.target_res=32"
            )
        if value % 2:
            raise UsageError(
                f"cross_res.{flag}={value}: is odd; give an even number of pixels, "
                f"{value - 1 or 2} or {value + 1}, so that the kernels, one larger, have a centre"
            )
    if cross_res.source_res == cross_res.target_res:
        raise UsageError(
            f"cross_res.source_res=cross_res.target_res={cross_res.target_res}: give two different "
            "resolutions, or use run_experiment.py"
        )
    ratio = cross_res.target_res / cross_res.source_res
    if cfg.kernel.srf.scale not in (0, 1, ratio):
        raise UsageError(
            f"kernel.srf.scale={cfg.kernel.srf.scale}: N-Jets are deployed at the ratio of the "
            f"resolutions, {ratio:g}; leave it 0"
        )
    squares = [(n, n) for n in (cross_res.source_res, cross_res.target_res)]
    if cross_res.resize and target_size(cross_res) not in squares:
        raise UsageError(
            f"cross_res.resize={cross_res.resize}: run_crossres.py resizes to "
            "cross_res.source_res and cross_res.target_res; leave it empty"
        )
    _check_epochs(cfg)


def _check_epochs(cfg: Any) -> None:
    epochs, warmup = cfg.cross_res.finetune_epochs, cfg.train.scheduler_params.warmup_epochs
    if epochs < 0 or 0 < epochs <= warmup:
        raise UsageError(
            f"cross_res.finetune_epochs={epochs}: give 0 for no fine-tuning, or more than the "
            f"{max(warmup, 0)} of train.scheduler_params.warmup_epochs"
        )
    started = cfg.pretrained or cfg.pretrained_wandb
    if not started and (cfg.train.epochs == 0 or not cfg.train.do):
        given = "epochs=0" if cfg.train.do else "do=False"
        raise UsageError(
            f"train.{given}: there is no trained network to deploy; give one by pretrained=True "
            "pretrained_params.filepath=..., or train"
        )


def at(cfg: Any, resolution: int, epochs: int) -> Any:
    """The config of a training of `epochs` at `resolution`."""
    cfg = copy.deepcopy(cfg)
    cfg.train.epochs = epochs
    cfg.kernel.srf.scale = 0.0  # N-Jets are trained at ratio 1 and deployed by `set_resolution`
    if cfg.dataset == IMAGENET_K:
        cfg.dataset = imagenet_of(resolution)
    else:
        cfg.cross_res.resize = f"{resolution},{resolution}"
    return cfg


def source_task(cfg: Any) -> Task:
    """The task at the source resolution. Raises `UsageError` where there are no images."""
    if cfg.dataset != IMAGENET_K:
        stored = copy.deepcopy(cfg)
        stored.cross_res.resize = ""
        if describe(stored).dim != 2:
            raise UsageError(
                f"dataset={cfg.dataset}: run_crossres.py is for images; for sequences at another "
                "sampling rate use run_experiment.py with dataset_params.sr_train and sr_test"
            )
    describe(at(cfg, cfg.cross_res.target_res, cfg.cross_res.finetune_epochs))
    return describe(at(cfg, cfg.cross_res.source_res, cfg.train.epochs))


class CrossRes:
    """The stages of a run, one method each, in their order.

    Args:
        cfg: the whole run's config; `check` has passed it.
        task: what the network learns, at the source resolution.
        model: the network, on its device.
        folder: where the run's files go.
        wandb: the run's log.
        saved: the source stage's last checkpoint where a run is continued.
    """

    def __init__(
        self,
        cfg: Any,
        task: Task,
        model: nn.Module,
        folder: Path,
        wandb: WandbLog,
        saved: dict[str, Any] | None,
    ) -> None:
        self.cfg, self.task, self.model, self.folder = cfg, task, model, folder
        self.wandb, self.saved = wandb, saved
        self.device = next(model.parameters()).device
        self.results: dict[str, dict[str, Any]] = {}
        if saved is None:
            self._forget_later_stages()
        elif (folder / STAGES).exists():
            self.results = json.loads((folder / STAGES).read_text())

    def source(self) -> None:
        """Train and test at the source resolution."""
        cfg, resolution = self.cfg, self.cfg.cross_res.source_res
        stage = at(cfg, resolution, cfg.train.epochs)
        state = self.saved["data"] if self.saved else None
        loaders = self._loaders(stage, state)
        progress = None
        if cfg.train.do:
            print(f"training at {resolution}\u00d7{resolution}")
            log = records.EpochLog(stage, self.folder, _StageLog(self.wandb, SOURCE, 0))
            progress = fit(
                self.model,
                loaders,
                self.task,
                stage,
                self.folder,
                log,
                self.saved,
                save_start=True,
            )
            done = self.results.get(SOURCE)
            if done is not None and done["epochs"] != progress.epoch:
                self._forget_later_stages()  # the run was continued for longer than before
        self._finish(SOURCE, loaders.test, progress)

    def as_is(self) -> None:
        """Deploy at the target resolution, without rebuilding or training, and test."""
        resolutions = self.cfg.cross_res
        set_resolution(self.model, resolutions.target_res / resolutions.source_res)
        stage = at(self.cfg, resolutions.target_res, resolutions.finetune_epochs)
        self.target_loaders = self._loaders(stage)
        self._finish(AS_IS, self.target_loaders.test, None)

    def fine_tuned(self) -> None:
        """Go on training at the target resolution, if it is asked for, and test."""
        cfg, resolution = self.cfg, self.cfg.cross_res.target_res
        epochs = cfg.cross_res.finetune_epochs
        if not epochs or not cfg.train.do:
            return
        print(f"fine-tuning at {resolution}\u00d7{resolution}")
        folder = self.folder / FINE_TUNING
        folder.mkdir(exist_ok=True)
        last = folder / LAST
        saved = checkpoints.read(last) if last.exists() else None
        # Fine-tuning starts from the same random numbers wherever the run was stopped before.
        runtime.seed_everything(cfg.seed, cfg.deterministic)
        runtime.seed_process(cfg.seed)
        stage = at(cfg, resolution, epochs)
        wandb = _StageLog(self.wandb, FINE_TUNING, self.results[SOURCE]["epochs"])
        log = records.EpochLog(stage, folder, wandb)
        progress = fit(self.model, self.target_loaders, self.task, stage, folder, log, saved)
        self._finish(FINE_TUNED, self.target_loaders.test, progress)

    def _loaders(self, cfg: Any, state: dict[str, Tensor] | None = None) -> Loaders:
        """This process's part of the data."""
        with distributed.first_on_machine():
            rank, processes = distributed.rank(), distributed.world_size()
            return build_loaders(cfg, self.device, rank, processes, state)[1]

    def _finish(self, name: str, test: Any, progress: Progress | None) -> None:
        """Test, unless it was done before the run was stopped, and record the stage."""
        if name not in self.results:
            settings = {
                "top5": self.cfg.train.report_top5_acc,
                "precision": self.cfg.train.precision,
            }
            self.results[name] = {
                **evaluate(self.model, test, self.task, **settings),
                "epochs": progress.epoch if progress else 0,
                "best_epoch": progress.best_epoch if progress else None,
                "seconds_in_epochs": round(progress.seconds, 2) if progress else 0.0,
                "kernel_sizes": {x.name: list(x.size) for x in generated_layers(self.model)},
            }
            if distributed.is_main():
                write_json(self.folder / STAGES, self.results)
        text = records.results_text("test", self.results[name])
        print(f"{name.replace('_', ' ')}: {text}", flush=True)

    def _forget_later_stages(self) -> None:
        """Remove what an earlier run left in this folder after its first training."""
        self.results = {}
        if not distributed.is_main():
            return
        for path in (STAGES, *(f"{FINE_TUNING}/{x}" for x in (LAST, BEST))):
            (self.folder / path).unlink(missing_ok=True)


class _StageLog:
    """A run's log for one of its stages: under the stage's name, with epochs counted on."""

    def __init__(self, wandb: WandbLog, stage: str, epochs_before: int) -> None:
        self.wandb, self.stage, self.epochs_before = wandb, stage, epochs_before

    @property
    def run_id(self) -> str | None:
        return self.wandb.run_id

    def log(self, values: dict[str, Any], step: int) -> None:
        named = {f"{self.stage}/{name}": value for name, value in values.items()}
        self.wandb.log(named, step=self.epochs_before + step)
