"""A run's folder: which one it is, and what lies in it."""

from __future__ import annotations

from cfg.schema import Config

import contextlib
import shlex
import sys
from pathlib import Path

from omegaconf import OmegaConf

from ckconv.errors import UsageError
from program import distributed
from program.environment import code_version, command
from program.files import write

LAST, BEST = "last.pt", "best.pt"  # checkpoints: the run's state, the best epoch's weights
CONFIG = "config.yaml"  # under the commands that the run was begun and continued by
METRICS = "metrics.csv"  # a row per epoch: results, and every layer's kernel size and mask
RESULT = "result.json"
FAILURE = "failure.txt"  # why a run ended early
KERNELS, SPECTRA = "kernels.png", "spectra.png"
CURVES, SIZES = "curves.png", "sizes.png"  # of the epochs so far
STAGES, FINE_TUNING = "stages.json", "fine_tuning"  # of run_crossres.py
PROFILE, TIMINGS = "profile.json", "timings.csv"  # of run_profiler.py
TRACE, PROFILE_PICTURE = "trace.json", "profile.png"
DOWNLOADS = "downloads"
LOCK = ".lock"  # held by the process that works in the folder
SWEEP = "multirun.yaml"  # Hydra's, in the folder of a sweep
PROGRAMS = ("run_experiment.py", "run_crossres.py", "run_profiler.py")

NO_RESUME = ("", "False", "None")  # values of train.resume that start afresh
OWN_FOLDER = ("auto", "True")  # values that continue whatever the run's own folder holds


class FolderTaken(UsageError):
    """A run's folder belongs to another run, so that nothing is written to it."""


def run_folder(resume: str, fresh: str) -> str:
    """The folder that a run writes to: a fresh one, or the one that `train.resume` names.

    `train.resume=True` names the newest folder beside the fresh one that holds a run of this
    program. It is the same in all processes of a run. Raises `UsageError` where the named folder
    does not exist.
    """
    fresh = distributed.agreed(fresh)
    if resume in NO_RESUME or resume == "auto":
        return fresh
    if resume in OWN_FOLDER:
        folders = Path(fresh).parents[1].glob("*/*")
        runs = sorted(path for path in folders if (path / CONFIG).exists() and not others(path))
        return distributed.agreed(str(runs[-1]) if runs else fresh)
    for word in (*OWN_FOLDER, *NO_RESUME[1:]):
        if resume.lower() == word.lower():
            raise UsageError(
                f"train.resume={resume}: capitals matter, write train.resume={word}; a folder of "
                f"that name is ./{resume}"
            )
    if not Path(resume).is_dir():
        raise UsageError(
            f"train.resume={resume}: there is no such folder; give a run folder, or auto"
        )
    return resume


def made_folder(flag: str, given: str) -> Path | None:
    """The folder that a flag names, made where it is missing; None where it names none.

    Raises `UsageError` where it cannot be made.
    """
    if not given:
        return None
    folder = Path(given).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{flag}={given}: cannot be made, {error.strerror.lower()}; give another folder"
        ) from error
    return folder


def write_config(folder: Path, cfg: Config) -> None:
    """Write the composed config, under the commands that the run was begun and continued by.

    The run has begun: what an earlier one in this folder left by `write_failure` goes.
    """
    code_version()
    (folder / FAILURE).unlink(missing_ok=True)
    path = folder / CONFIG
    continued = path.exists() and cfg.train.resume not in NO_RESUME
    commands = read_commands(path) if continued else []
    commands = dict.fromkeys([*commands, command()])
    header = "".join(f"# {line}\n" for line in commands)
    write(path, header + OmegaConf.to_yaml(cfg))


def others(folder: Path) -> str:
    """The program whose run a folder holds, where that is not this one; else nothing."""
    if folder.name == FINE_TUNING:
        folder = folder.parent
    commands = read_commands(folder / CONFIG) if (folder / CONFIG).exists() else []
    names = [Path(word).name for line in commands[:1] for word in shlex.split(line)]
    made_by = next((name for name in names if name in PROGRAMS), "")
    own = Path(sys.argv[0]).name
    return made_by if own in PROGRAMS and made_by != own else ""


def read_commands(path: Path) -> list[str]:
    """The commands that stand above a config."""
    return [
        line[2:] for line in path.read_text(errors="replace").splitlines() if line.startswith("# ")
    ]


def write_failure(folder: Path, message: str) -> None:
    """Leave in the folder of a run that had begun the reason why it did not finish."""
    if (folder / CONFIG).exists():
        with contextlib.suppress(OSError):  # the reason may be a full disk
            write(folder / FAILURE, message + "\n")


def remove_if_empty(folder: Path) -> None:
    """Remove the folder of a command that was refused before it wrote anything.

    With it go the folders that hold nothing else, up to the working directory, and what Hydra
    keeps of a sweep.
    """
    with contextlib.suppress(OSError):  # it is not empty, or not ours
        for own in (LOCK, SWEEP):
            if [path.name for path in folder.iterdir()] == [own]:
                (folder / own).unlink()
        folder.rmdir()
        for parent in folder.parents:
            if not parent.is_relative_to(Path.cwd()) or parent == Path.cwd():
                break
            if [path.name for path in parent.iterdir()] == [SWEEP]:
                (parent / SWEEP).unlink()
            parent.rmdir()
