"""Going on with a run that was stopped: its last checkpoint, and the flags it was begun with."""

from __future__ import annotations

from cfg.flags import FREE, flatten, plain

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ckconv.errors import UsageError
from program.folder import LAST, NO_RESUME, OWN_FOLDER, others
from training.checkpoints import is_ours, read


def resumed(
    cfg: DictConfig, folder: Path, typed: tuple[str, ...] = ()
) -> tuple[DictConfig, dict[str, Any] | None]:
    """The config and the last checkpoint to go on with, None where there is nothing to resume.

    Flags that are at their defaults and not among the `typed` ones are taken from the checkpoint.
    Raises `UsageError` where a flag that decides the result differs from the run's own.
    """
    if cfg.train.resume in NO_RESUME:
        return cfg, None
    own = cfg.train.resume in OWN_FOLDER
    if not own and Path(cfg.train.resume).resolve() != folder.resolve():
        raise UsageError(
            f"train.resume={cfg.train.resume}: the run goes on in that folder; leave out "
            f"hydra.run.dir={folder}"
        )
    if made_by := others(folder):
        raise UsageError(
            f"train.resume={cfg.train.resume}: this folder is of a run of {made_by}, which alone "
            "can go on with it"
        )
    path = folder / LAST
    if not path.exists():
        if own:
            print(f"train.resume={cfg.train.resume}: {folder} holds no checkpoint; the run begins")
            return cfg, None
        raise UsageError(f"train.resume={cfg.train.resume}: there is no {LAST} in this folder")
    saved = read(path)
    if not is_ours(saved) or "optimizer" not in saved:
        raise UsageError(f"{path}: is not the last checkpoint of a run; nothing to resume")
    return _continued(cfg, saved["config"], typed), saved


def _continued(cfg: DictConfig, saved: dict[str, Any], typed: tuple[str, ...]) -> DictConfig:
    standard = flatten(plain(OmegaConf.structured(OmegaConf.get_type(cfg))))
    before = flatten(saved)
    cfg = cfg.copy()
    for flag, value in flatten(plain(cfg)).items():
        if flag not in before or value == before[flag] or flag in ("train.do", "train.resume"):
            continue
        chosen = flag in typed or value != standard[flag]
        if not chosen or (flag, value) == ("seed", -1):
            OmegaConf.update(cfg, flag, before[flag])
        elif not flag.startswith(FREE):
            raise UsageError(
                f"{flag}={value}: the run that is resumed had {flag}={before[flag]}; "
                "leave the flag as it was, or start a new run"
            )
    return cfg
