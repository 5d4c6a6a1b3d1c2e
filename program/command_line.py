"""From the command line to a checked config: what every `run_*.py` starts with."""

from __future__ import annotations

from cfg.flags import known_flags
from cfg.schema import Config

import contextlib
import functools
import os
import sys
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ckconv.errors import UsageError
from program import distributed, streams, surroundings
from program.folder import LAST, FolderTaken, remove_if_empty, run_folder, write_failure
from program.interruption import EXIT_CODE, Interrupted, hang_up
from program.lock import own_folder
from program.words import ckconv_commands, completion
from program.words.arguments import readable, readable_arguments
from program.words.help import help_text
from program.words.mistakes import as_typed, sentence, unknown_flag, unresolved

FREE_FORM = ("dataset_params.options",)  # groups whose flags the schema does not know
CONFIG_FOLDER = Path(__file__).resolve().parent.parent / "cfg"


@dataclass(frozen=True)
class Job:
    """What a run knows of how it was started."""

    folder: Path  # where its files go
    typed: tuple[str, ...] = ()  # the flags that were given on the command line


class JobError(Exception):
    """Carries an error of the job through Hydra, apart from those of reading the command line."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def register() -> None:
    """Make the flags' types known to Hydra, and the rule that names a run's folder."""
    ConfigStore.instance().store(name="schema", node=Config)
    OmegaConf.register_new_resolver("run_folder", run_folder, replace=True)


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """The checked config of a command line, without running anything.

    Raises `UsageError` for flags that cannot be.
    """
    register()
    try:
        with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
            return check_flags(hydra.compose("config", overrides=readable(overrides)))
    except HydraException as error:
        raise UsageError(sentence(error, composing=True)) from error


def check_flags(cfg: DictConfig) -> DictConfig:
    """The config with its interpolations resolved and the word None read as no value.

    Raises `UsageError` for flags that were added with a plus but do not exist.
    """
    try:
        OmegaConf.resolve(cfg)
    except OmegaConfBaseException as error:
        raise UsageError(unresolved(error, _unresolved_flag(cfg))) from error
    flags = known_flags()
    for flag in _leaves(cfg):
        if flag not in flags:
            raise UsageError(unknown_flag(flag))
        is_optional = type(None) in typing.get_args(flags[flag])
        if is_optional and OmegaConf.select(cfg, flag) == "None":
            OmegaConf.update(cfg, flag, None)
    return cfg


def program(run: Callable[[Config, Job], float | None]) -> Callable[[], None]:
    """Turn `run(cfg, job)` into a command-line program.

    The config is composed from `cfg/`, a preset and the command line, and checked. Every mistake
    of the user ends with one sentence on stderr and exit status 1; a fault of the program shows
    its stack trace. What `run` returns is what a search in a sweep looks at.
    """

    @functools.wraps(run)
    def main() -> None:
        surroundings.make_usable()
        os.environ["HYDRA_FULL_ERROR"] = "1"
        try:
            distributed.setup()
            _compose_and_run(run, sys.argv[1:])
        except BrokenPipeError:
            hang_up()
        except KeyboardInterrupt:
            _fail("interrupted", status=130)
        except JobError as carrier:
            error = carrier.error
            message = sentence(error)
        except Exception as composing:
            error = composing
            message = sentence(error, composing=True)
        else:
            return
        if message is None:
            raise error
        _fail(message)

    return main


def _compose_and_run(run: Callable[[Config, Job], float | None], arguments: list[str]) -> None:
    if {"-h", "--help"} & set(arguments):
        print(help_text(Path(sys.argv[0]).name, run.__doc__ or ""), flush=True)
        return
    if words := completion.asked(arguments):
        print(words, flush=True)
        return
    ckconv_commands.refuse(arguments)
    register()
    sys.argv[1:] = readable_arguments(arguments)
    # For processes that a sweep's launcher starts in whatever folder: submitit's unpickle the run.
    root, places = str(CONFIG_FOLDER.parent), os.environ.get("PYTHONPATH", "")
    if root not in places.split(os.pathsep):
        os.environ["PYTHONPATH"] = f"{root}{os.pathsep}{places}".rstrip(os.pathsep)

    @functools.wraps(run)
    def job(cfg: DictConfig) -> float | None:
        return _run_job(run, cfg)

    hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="config")(job)()
    distributed.shutdown()
    sys.stdout.flush()


def _run_job(run: Callable[[Config, Job], float | None], cfg: DictConfig) -> float | None:
    """Run one job, or one of a sweep; its errors are wrapped in `JobError`."""
    hydra_cfg = HydraConfig.get()
    folder = Path(hydra_cfg.runtime.output_dir)
    overrides = OmegaConf.to_container(hydra_cfg.overrides.task, resolve=False)
    typed = tuple(override.split("=")[0].lstrip("+") for override in overrides)
    is_sweep = hydra_cfg.mode == RunMode.MULTIRUN
    flag = "hydra.sweep.dir" if is_sweep else "hydra.run.dir"
    if not OmegaConf.select(HydraConfig.instance().cfg, flag):
        _fail(f"{flag}=: is empty; give the folder that the run's files shall go to")
    if is_sweep:
        sys.argv = [f"{hydra_cfg.job.name}.py", *overrides]  # repeats this run of the sweep
    try:
        with own_folder(folder):
            return _recorded(run, cfg, Job(folder, typed))
    except KeyboardInterrupt:
        goes_on = (
            f"; {as_typed('train.resume', folder)} continues it" if (folder / LAST).exists() else ""
        )
        _fail(f"interrupted{goes_on}", status=130)
    except Interrupted as stop:
        again = as_typed("train.resume", folder)
        _fail(f"stopped by {stop.signal_name}; {again} continues it", EXIT_CODE)
    except BrokenPipeError:
        hang_up()
    except Exception as error:
        message = sentence(error)
        if message is None or is_sweep:
            raise JobError(error) from error
        _fail(message)


def _recorded(
    run: Callable[[Config, Job], float | None], cfg: DictConfig, job: Job
) -> float | None:
    """Run a job, and leave in its folder why it failed."""
    try:
        return run(check_flags(cfg), job)
    except (BrokenPipeError, FolderTaken):
        raise
    except Exception as error:
        if distributed.is_main():
            write_failure(job.folder, sentence(error) or repr(error))
            remove_if_empty(job.folder)
        raise


def _leaves(cfg: DictConfig, prefix: str = "") -> list[str]:
    flags = []
    for key, value in cfg.items():
        if isinstance(value, DictConfig) and f"{prefix}{key}" not in FREE_FORM:
            flags += _leaves(value, f"{prefix}{key}.")
        else:
            flags.append(f"{prefix}{key}")
    return flags


def _unresolved_flag(cfg: DictConfig) -> str:
    for flag in known_flags():
        try:
            value = OmegaConf.select(cfg, flag)
            if OmegaConf.is_config(value):
                OmegaConf.to_container(value, resolve=True)
        except OmegaConfBaseException:
            return flag
    return ""


def _fail(message: str, status: int = 1) -> typing.NoReturn:
    streams.flush()
    if distributed.is_first_to_speak():
        with contextlib.suppress(OSError):
            print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(status)
