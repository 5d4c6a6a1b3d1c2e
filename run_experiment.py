"""Train and test one model."""

from __future__ import annotations

from cfg.flags import plain
from cfg.schema import Config

import time

from datasets import build_loaders, describe
from models import build_model
from program import device as runtime
from program import distributed
from program.command_line import Job, program
from program.files import write_json
from program.folder import KERNELS, RESULT, write_config
from training import pretrained, resume
from training.evaluation import evaluate
from training.loop import fit
from training.report import epochs as records
from training.report import figures
from training.report import result as report
from training.report.summary import print_summary
from training.report.wandb_log import WandbLog
from training.sampling_rate import at_test_rate
from training.sync_batchnorm import synchronize_batchnorm
from training.validate import prepare, validate, validate_task


@program
def main(cfg: Config, job: Job) -> float | None:
    """Train a network on a data set, keep the best epoch, and test it."""
    started = time.perf_counter()
    cfg, saved = resume.resume(cfg, job.folder, job.typed)
    if saved and not cfg.train.do:
        cfg.train.epochs = saved["progress"]["epoch"]  # test what there is
    cfg = prepare(cfg)
    validate(cfg)
    task = describe(cfg)
    validate_task(cfg, task)

    device = runtime.choose_device(cfg.device)
    runtime.allow_tf32(cfg.train.tf32)
    runtime.seed_everything(cfg.seed, cfg.deterministic)
    model = build_model(cfg, task)
    print_summary(model, list(cfg.summary), cfg.summary_depth)
    data_state = saved["data"] if saved else {}
    weights = None if saved else pretrained.find(cfg, job.folder)
    if weights is not None:
        data_state = pretrained.load(model, weights, cfg.pretrained_strict)
    with distributed.first_on_machine():
        task, loaders = build_loaders(
            cfg, device, distributed.rank(), distributed.world_size(), data_state
        )
    if cfg.train.sync_batchnorm:
        model = synchronize_batchnorm(model)
    model = runtime.place(model, device, cfg.train.channels_last)
    distributed.share_weights(model)
    runtime.seed_process(cfg.seed)

    if distributed.is_main():
        write_config(job.folder, cfg)
    wandb = WandbLog(cfg, plain(cfg), job.folder, saved["log"]["wandb_id"] if saved else None)
    test_settings = {"precision": cfg.train.precision, "top5": cfg.train.report_top5_acc}
    try:
        before = progress = None
        if cfg.test.before_train:
            tested = at_test_rate(model, task, cfg)
            before = evaluate(tested, loaders.test, task, **test_settings)
            print(f"before training: {records.results_text('test', before)}")
        if cfg.train.do or saved:
            log = records.EpochLog(cfg, job.folder, wandb)
            progress = fit(model, loaders, task, cfg, job.folder, log, saved)
        test = evaluate(at_test_rate(model, task, cfg), loaders.test, task, **test_settings)
        seconds = time.perf_counter() - started
        values = report.result(cfg, task, model, test, progress, seconds, device, before)
        if distributed.is_main():
            write_json(job.folder / RESULT, values)
            figures.save_kernels(model, job.folder / KERNELS, f"{cfg.net.type} on {task.name}")
        wandb.summarize({f"test/{name}": value for name, value in test.items()})
        wandb.image(job.folder / KERNELS)
    except BaseException:
        wandb.finish(failed=True)
        raise
    wandb.finish()
    print(report.table(values, model, job.folder))
    return progress.best if progress else None


if __name__ == "__main__":
    main()
