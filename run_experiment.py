"""Train and test one model."""

from __future__ import annotations

from cfg.flags import plain
from cfg.schema import Config

import time

from datasets import own_loaders, task_of
from program import distributed
from program.command_line import Job, program
from program.files import write_json
from program.folder import CURVES, KERNELS, RESULT, SIZES, write_config
from training.checkpoints.pretrained import adopt
from training.checkpoints.resume import resumed
from training.loop import fit
from training.network import prepared_network
from training.report.begin import beginning
from training.report.epochs import EpochLog, results_text
from training.report.figures import save_kernels
from training.report.logs import RunLog
from training.report.pictures import optional
from training.report.result import result, table
from training.sampling_rate import tested
from training.validate import prepare, validate, validate_task


@program
def main(cfg: Config, job: Job) -> float | None:
    """Train a network on a data set, keep the best epoch, and test it."""
    started = time.perf_counter()
    cfg, saved = resumed(cfg, job.folder, job.typed)
    cfg = cfg if saved else adopt(cfg, job.typed)
    cfg = prepare(cfg)
    validate(cfg)
    task = task_of(cfg)
    validate_task(cfg, task)

    model, state, device = prepared_network(cfg, task, job.folder, saved)
    task, loaders = own_loaders(cfg, device, state, task=task)
    if distributed.is_main():
        write_config(job.folder, cfg)
    before = progress = None
    with RunLog(cfg, plain(cfg), job.folder, saved) as wandb:
        if cfg.test.before_train:
            before = tested(model, loaders.test, task, cfg)
            print(f"before training: {results_text('test', before)}")
        if cfg.train.do or saved:
            epochs = cfg.train.epochs if cfg.train.do else saved["progress"]["epoch"]
            log = EpochLog(job.folder, wandb, epochs, cfg.time)
            print(beginning(cfg, task, model, loaders, epochs, job.folder), flush=True)
            progress = fit(model, loaders, task, cfg, job.folder, log, saved, epochs=epochs)
        test = tested(model, loaders.test, task, cfg)
        seconds = time.perf_counter() - started
        values = result(cfg, task, model, test, progress, seconds, device, before)
        if distributed.is_main():
            write_json(job.folder / RESULT, values)
            with optional(KERNELS):
                save_kernels(model, job.folder / KERNELS, f"{cfg.net.type} on {task.name}")
        wandb.summarize({f"test/{name}": value for name, value in test.items()})
        for picture in (KERNELS, CURVES, SIZES):
            wandb.image(job.folder / picture)
    print(table(values, model, job.folder))
    return progress.best if progress else None


if __name__ == "__main__":
    main()
