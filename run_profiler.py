"""Where the time and the memory of a step go."""

from __future__ import annotations

from cfg.schema import Config

import itertools

from datasets import own_loaders, task_of
from program.command_line import Job, program
from program.folder import TRACE, made_folder
from training.checkpoints.resume import check_profile
from training.network import prepared_network
from training.profiling.measure import measure
from training.profiling.progress import progress, warm_up
from training.profiling.report import result, table, write_files
from training.profiling.steps import (
    check,
    fake_batches,
    make_step,
    peak_bytes,
    real_batches,
    shape_of,
)
from training.validate import prepare, validate, validate_task


@program
def main(cfg: Config, job: Job) -> None:
    """Profile training or evaluation steps: costliest operations, layers, memory, a trace."""
    cfg = prepare(cfg)
    validate(cfg)
    task = task_of(cfg)
    validate_task(cfg, task)
    check(cfg, task)
    folder = made_folder("profile.directory", cfg.profile.directory) or job.folder
    check_profile(cfg, job.folder, folder)

    model, state, device = prepared_network(cfg, task, job.folder)
    if cfg.profile.data_mode == "dataset":
        task, loaders = own_loaders(cfg, device, state, task=task)
        batches = real_batches(loaders.train if cfg.profile.mode == "train" else loaders.test)
    else:
        batches = fake_batches(shape_of(cfg, task), task, device)
    first = next(batches)
    step, _ = make_step(model, task, cfg, itertools.chain([first], batches))

    with progress(cfg.profile) as bar:
        warm_up(step, cfg.profile, device, bar.update)
        found = measure(step, model, cfg.profile.n_batches, device, folder / TRACE, bar.update)
    found.peak_bytes = peak_bytes(model, task, cfg, first)
    values = result(cfg, task, model, found, list(first[0].shape), device)
    write_files(folder, cfg, values, found)
    print(table(values, found, folder))


if __name__ == "__main__":
    main()
