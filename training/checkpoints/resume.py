"""Going on with a run that was stopped: its last checkpoint, and the flags it was begun with."""

from __future__ import annotations

from cfg.flags import FREE, composed, flatten, plain

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ckconv.errors import UsageError
from program.folder import BEST, LAST, NO_RESUME, OWN_FOLDER, PROFILE, RESULT, FolderTaken, others
from program.words.mistakes import as_typed
from training.checkpoints import is_ours, read
from training.checkpoints.saved import check_saved, fitting


def resumed(
    cfg: DictConfig, folder: Path, typed: tuple[str, ...] = ()
) -> tuple[DictConfig, dict[str, Any] | None]:
    """The config and the last checkpoint to go on with, None where there is nothing to resume.

    Flags that are at their defaults and not among the `typed` ones are taken from the checkpoint.
    Raises `UsageError` where a flag that decides the result differs from the run's own, and for a
    new run in the folder of an earlier one.
    """
    if cfg.train.resume in NO_RESUME:
        check_fresh(folder)
        return cfg, None
    own = cfg.train.resume in OWN_FOLDER
    if not own and Path(cfg.train.resume).resolve() != folder.resolve():
        raise UsageError(
            f"train.resume={cfg.train.resume}: the run goes on in that folder; leave out "
            f"hydra.run.dir={folder}"
        )
    if made_by := others(folder):
        raise FolderTaken(
            f"train.resume={cfg.train.resume}: {folder} is of a run of {made_by}, which alone "
            "can go on with it"
        )
    path = folder / LAST
    if not path.exists():
        if own:
            check_fresh(folder)
            print(f"train.resume={cfg.train.resume}: {folder} holds no checkpoint; the run begins")
            return cfg, None
        raise UsageError(f"train.resume={cfg.train.resume}: there is no {LAST} in this folder")
    saved = read(path)
    if not is_ours(saved) or "optimizer" not in saved:
        raise UsageError(f"{path}: is not the last checkpoint of a run; nothing to resume")
    with fitting(path):
        check_saved(saved)
        return _continued(cfg, saved["config"], typed), saved


def check_fresh(folder: Path) -> None:
    """Raise `FolderTaken` for a folder that holds the results or the weights of a run."""
    found = [name for name in (RESULT, LAST, BEST, PROFILE) if (folder / name).exists()]
    if found:
        of, goes_on = others(folder), ""
        if (folder / LAST).exists() and not of:
            goes_on = f"{as_typed('train.resume', folder)} continues it; "
        raise FolderTaken(
            f"{folder}: holds the {found[0]} of an earlier run{of and f' of {of}'}, which stays as "
            f"it is; {goes_on}give another folder with hydra.run.dir"
        )


def check_profile(cfg: DictConfig, folder: Path, directory: Path) -> None:
    """Raise `UsageError` where a profile would be written into the folder of a run, or resumed.

    `directory` is that of `profile.directory`, where an earlier profile may be replaced.
    """
    if cfg.train.resume not in NO_RESUME:
        raise FolderTaken(
            f"train.resume={cfg.train.resume}: a profile is measured anew, nothing is continued; "
            "leave the flag out"
        )
    check_fresh(folder)
    if directory != folder and any((directory / name).exists() for name in (RESULT, LAST, BEST)):
        raise FolderTaken(
            f"profile.directory={directory}: holds a run, which stays as it is; give another folder"
        )


def _continued(cfg: DictConfig, saved: dict[str, Any], typed: tuple[str, ...]) -> DictConfig:
    standard = flatten(plain(OmegaConf.structured(OmegaConf.get_type(cfg))))
    before = flatten(saved)
    own = {}
    for flag, value in flatten(plain(cfg)).items():
        if flag not in before or value == before[flag] or flag in ("train.do", "train.resume"):
            continue
        chosen = flag in typed or value != standard[flag]
        if not chosen or (flag, value) == ("seed", -1):
            own[flag] = before[flag]
        elif not flag.startswith(FREE):
            raise UsageError(
                f"{flag}={value}: the run that is resumed had {flag}={before[flag]}; "
                "leave the flag as it was, or start a new run"
            )
    return composed(cfg, own)
