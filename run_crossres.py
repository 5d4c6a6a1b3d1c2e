"""Train a network at one resolution, deploy it at another, fine-tune it there."""

from __future__ import annotations

from cfg.flags import plain
from cfg.schema import Config

import time

from models import build_model
from program import device as runtime
from program import distributed
from program.command_line import Job, program
from program.files import write_json
from program.folder import KERNELS, RESULT, SPECTRA, write_config
from training import pretrained, resume
from training.crossres import report as crossres_report
from training.crossres import stages as crossres
from training.crossres.stages import CrossRes
from training.report import figures
from training.report.wandb_log import WandbLog
from training.sync_batchnorm import synchronize_batchnorm
from training.validate import prepare, validate, validate_task


@program
def main(cfg: Config, job: Job) -> None:
    """Train a network at one resolution, test it as is at another, fine-tune it there, test."""
    started = time.perf_counter()
    cfg, saved = resume.resume(cfg, job.folder, job.typed)
    cfg = prepare(cfg)
    validate(cfg)
    crossres.check(cfg)
    task = crossres.source_task(cfg)
    validate_task(cfg, task)

    device = runtime.choose_device(cfg.device)
    runtime.allow_tf32(cfg.train.tf32)
    runtime.seed_everything(cfg.seed, cfg.deterministic)
    model = build_model(crossres.at(cfg, cfg.cross_res.source_res, cfg.train.epochs), task)
    weights = None if saved else pretrained.find(cfg, job.folder)
    if weights is not None:
        pretrained.load(model, weights, cfg.pretrained_strict)
    if cfg.train.sync_batchnorm:
        model = synchronize_batchnorm(model)
    model = runtime.place(model, device, cfg.train.channels_last)
    distributed.share_weights(model)
    runtime.seed_process(cfg.seed)

    if distributed.is_main():
        write_config(job.folder, cfg)
    run_id = saved["log"]["wandb_id"] if saved else None
    wandb = WandbLog(cfg, plain(cfg), job.folder, run_id)
    try:
        run = CrossRes(cfg, task, model, job.folder, wandb, saved)
        run.source()
        if distributed.is_main():
            crossres_report.save_spectra(model, job.folder / SPECTRA)
        run.as_is()
        run.fine_tuned()
        seconds = time.perf_counter() - started
        values = crossres_report.result(cfg, task, model, run.results, seconds, device)
        if distributed.is_main():
            write_json(job.folder / RESULT, values)
            title = f"{cfg.net.type} on {task.name}"
            figures.save_kernels(model, job.folder / KERNELS, title)
        wandb.summarize(crossres_report.figures_of(values))
        for picture in (KERNELS, SPECTRA):
            wandb.image(job.folder / picture)
    except BaseException:
        wandb.finish(failed=True)
        raise
    wandb.finish()
    print(crossres_report.table(values, model, job.folder))


if __name__ == "__main__":
    main()
