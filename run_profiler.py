"""Where the time and the memory of a step go."""

from __future__ import annotations

from cfg.schema import Config

import itertools
from pathlib import Path

from omegaconf import OmegaConf

from ckconv.errors import UsageError
from datasets import build_loaders, describe
from models import build_model
from program import device as runtime
from program.command_line import Job, program
from program.files import write, write_json
from program.folder import CONFIG, PROFILE, PROFILE_PICTURE, TIMINGS, TRACE
from training import pretrained
from training.profiling import measure as profiling
from training.profiling import report as profile_report
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
    task = describe(cfg)
    validate_task(cfg, task)
    check(cfg, task)
    folder = output_folder(cfg.profile.directory, job.folder)

    device = runtime.choose_device(cfg.device)
    runtime.allow_tf32(cfg.train.tf32)
    runtime.seed_everything(cfg.seed, cfg.deterministic)
    model = build_model(cfg, task)
    weights = pretrained.find(cfg, job.folder)
    data_state = pretrained.load(model, weights, cfg.pretrained_strict) if weights else {}
    model = runtime.place(model, device, cfg.train.channels_last)

    if cfg.profile.data_mode == "dataset":
        task, loaders = build_loaders(cfg, device, state=data_state)
        batches = real_batches(loaders.train if cfg.profile.mode == "train" else loaders.test)
    else:
        batches = fake_batches(shape_of(cfg, task), task, device)
    first = next(batches)
    shape = list(first[0].shape)
    step, _ = make_step(model, task, cfg, itertools.chain([first], batches))

    print(f"{cfg.profile.warmup} steps to warm up, {cfg.profile.n_batches} timed and profiled")
    for _ in range(cfg.profile.warmup):
        step()
    found = profiling.measure(step, model, cfg.profile.n_batches, device, folder / TRACE)
    found.peak_bytes = peak_bytes(model, task, cfg, first)

    values = profile_report.result(cfg, task, model, found, shape, device)
    write(folder / CONFIG, OmegaConf.to_yaml(cfg))
    write_json(folder / PROFILE, values)
    profile_report.write_timings(folder / TIMINGS, found)
    profile_report.save_picture(folder / PROFILE_PICTURE, values, found)
    print(profile_report.table(values, found, folder))


def output_folder(given: str, run_folder: Path) -> Path:
    """The folder of `profile.directory`, made where it is missing, else the run's own."""
    folder = Path(given).expanduser() if given else run_folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"profile.directory={given}: cannot be made, {error.strerror.lower()}; "
            "give another folder"
        ) from error
    return folder


if __name__ == "__main__":
    main()
