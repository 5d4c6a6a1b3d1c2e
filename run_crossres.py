"""Train a network at one resolution, deploy it at another, fine-tune it there."""

from __future__ import annotations

from cfg.flags import plain
from cfg.schema import Config

import time

from program import distributed
from program.command_line import Job, program
from program.files import write_json
from program.folder import CURVES, KERNELS, RESULT, SIZES, SPECTRA, write_config
from training.checkpoints.pretrained import adopt
from training.checkpoints.resume import resumed
from training.crossres.check import check, settle, source_task
from training.crossres.record import Record
from training.crossres.report import figures_of, result, table
from training.crossres.spectra import save_spectra
from training.crossres.stages import CrossRes
from training.network import prepared_network
from training.report.figures import save_kernels
from training.report.logs import RunLog
from training.report.pictures import optional
from training.validate import prepare, validate, validate_task


@program
def main(cfg: Config, job: Job) -> None:
    """Train a network at one resolution, test it as is at another, fine-tune it there, test."""
    started = time.perf_counter()
    cfg, saved = resumed(cfg, job.folder, job.typed)
    cfg = cfg if saved else adopt(cfg, job.typed)
    cfg = prepare(cfg)
    validate(cfg)
    check(cfg)
    cfg = settle(cfg)
    task = source_task(cfg)
    validate_task(cfg, task)

    model, _, device = prepared_network(cfg, task, job.folder, saved)
    if distributed.is_main():
        write_config(job.folder, cfg)
    with RunLog(cfg, plain(cfg), job.folder, saved) as wandb:
        record = Record(job.folder, wandb, is_continued=saved is not None)
        run = CrossRes(cfg, task, model, record, saved)
        run.source()
        if distributed.is_main():
            with optional(SPECTRA):
                save_spectra(model, job.folder / SPECTRA)
        run.as_is()
        run.fine_tuned()
        seconds = time.perf_counter() - started
        values = result(cfg, task, model, record.results, seconds, device)
        if distributed.is_main():
            write_json(job.folder / RESULT, values)
            with optional(KERNELS):
                save_kernels(model, job.folder / KERNELS, f"{cfg.net.type} on {task.name}")
        wandb.summarize(figures_of(values))
        for picture in (KERNELS, SPECTRA, CURVES, SIZES):
            wandb.image(job.folder / picture)
    print(table(values, model, job.folder))


if __name__ == "__main__":
    main()
