"""Across resolutions: train at one, deploy at another as is, fine-tune there.

A run's folder holds the checkpoints of the training at the source resolution, those of the
fine-tuning in `fine_tuning/`, and `stages.json` with the results of the stages that are done, so
that a run which was stopped in any of them goes on there.
"""

from __future__ import annotations

from cfg.schema import Config

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from ckconv.nn import NJet
from datasets import own_loaders
from datasets.task import Loader, Loaders, Task
from models import set_resolution
from program import device
from training.crossres.record import AS_IS, FINE_TUNED, SOURCE, Record
from training.evaluation import evaluate
from training.finite import check_results
from training.loop import fit
from training.report.begin import beginning
from training.report.progress import Progress


class CrossRes:
    """The stages of a run, one method each, in their order.

    Args:
        cfg: the whole run's config; `check` has passed it.
        task: what the network learns, at the source resolution.
        model: the network, on its device.
        record: what is kept of the stages.
        saved: the source stage's last checkpoint where a run is continued.
    """

    def __init__(
        self,
        cfg: Config,
        task: Task,
        model: nn.Module,
        record: Record,
        saved: dict[str, Any] | None,
    ) -> None:
        self.cfg, self.task, self.model, self.record = cfg, task, model, record
        self.saved = saved
        for layer in model.modules():
            if isinstance(layer, NJet):  # trained at ratio 1 and deployed by `set_resolution`
                layer.scale = layer.resolution_ratio = 1.0

    def source(self) -> None:
        """Train and test at the source resolution."""
        cfg, resolution = self.cfg, self.cfg.cross_res.source_res
        loaders = self._loaders(resolution, self.saved["data"] if self.saved else None)
        progress = None
        if cfg.train.do:
            print(f"training at {resolution}\u00d7{resolution}")
            log = self.record.source_log(cfg.train.epochs, cfg.time)
            self._begin(loaders, cfg.train.epochs, resolution)
            progress = fit(
                self.model, loaders, self.task, cfg, log.folder, log, self.saved, save_start=True
            )
            done = self.record.results.get(SOURCE)
            if done is not None and done["epochs"] != progress.epoch:
                self.record.forget_later_stages()  # the run was continued for longer than before
        self._finish(SOURCE, loaders.test, progress)

    def as_is(self) -> None:
        """Deploy at the target resolution, without rebuilding or training, and test."""
        resolutions = self.cfg.cross_res
        set_resolution(self.model, resolutions.target_res / resolutions.source_res)
        self.target_loaders = self._loaders(resolutions.target_res)
        self._finish(AS_IS, self.target_loaders.test, None)

    def fine_tuned(self) -> None:
        """Go on training at the target resolution, if it is asked for, and test."""
        cfg, resolution = self.cfg, self.cfg.cross_res.target_res
        epochs = cfg.cross_res.finetune_epochs
        if not epochs or not cfg.train.do:
            return
        print(f"fine-tuning at {resolution}\u00d7{resolution}")
        log = self.record.fine_tuning_log(epochs, cfg.time)
        task = self._begin(self.target_loaders, epochs, resolution)
        saved = self.record.fine_tuning_checkpoint()
        # Fine-tuning starts from the same random numbers wherever the run was stopped before.
        device.seed_everything(cfg.seed, cfg.deterministic)
        device.seed_process(cfg.seed)
        progress = fit(
            self.model,
            self.target_loaders,
            task,
            cfg,
            log.folder,
            log,
            saved,
            epochs=epochs,
            res_offset=0,  # what is typed is for the source, as published
        )
        self._finish(FINE_TUNED, self.target_loaders.test, progress)

    def _loaders(self, resolution: int, state: dict[str, Tensor] | None = None) -> Loaders:
        """This process's part of the data at a resolution."""
        place, task = next(self.model.parameters()).device, self._task_at(resolution)
        return own_loaders(self.cfg, place, state, size=task.size, task=task)[1]

    def _task_at(self, resolution: int) -> Task:
        return replace(self.task, size=(resolution, resolution))

    def _begin(self, loaders: Loaders, epochs: int, resolution: int) -> Task:
        """Say what is trained at a resolution; returns the task there."""
        task, folder = self._task_at(resolution), self.record.folder
        print(beginning(self.cfg, task, self.model, loaders, epochs, folder), flush=True)
        return task

    def _finish(self, name: str, test: Loader, progress: Progress | None) -> None:
        """Test, unless it was done before the run was stopped, and record the stage."""
        if name not in self.record.results:
            train = self.cfg.train
            results = evaluate(self.model, test, self.task, train.precision, train.report_top5_acc)
            check_results(f"{name.replace('_', ' ')} test", results)
            self.record.add(name, results, self.model, progress)
        self.record.show(name)
