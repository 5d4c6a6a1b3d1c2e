"""Checkpoints: written so that a kill at any moment leaves a loadable file, read with suspicion."""

from __future__ import annotations

from cfg.flags import FREE, flatten, plain

import contextlib
import io
import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from ckconv.errors import UsageError
from program import distributed

LAST, BEST = "last.pt", "best.pt"
FORMAT = "flexconv checkpoint 1"
NO_RESUME = ("", "False", "None")  # values of train.resume that start afresh
OWN_FOLDER = ("auto", "True")  # values that continue whatever the run's own folder holds


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under a temporary name and rename it, so that it is never seen half written.

    Of several processes that train together, the first one alone writes.
    """
    if not distributed.is_main():
        return
    temporary = path.with_name(path.name + ".part")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint atomically."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **content}, buffer)
    write_atomically(path, buffer.getbuffer())


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint, ours or another's, without running any code that it carries.

    Raises `UsageError` for a file that is missing, truncated, no checkpoint, or that holds more
    than tensors and plain values.
    """
    if path.is_dir() or not path.exists():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UsageError(f"{path}: {what}; give the path of a checkpoint file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is odd about the file is said below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "global" in str(error).lower() or "reduce" in str(error).lower():
            raise UsageError(
                f"{path}: holds objects other than tensors and plain values, which could run code "
                "when loaded; only plain checkpoints are read"
            ) from error
        raise UsageError(f"{path}: is not a checkpoint") from error
    except OSError:
        raise
    except Exception as error:  # torch reports damaged archives by many kinds of exception
        raise UsageError(
            f"{path}: is truncated or not a checkpoint; give a file that was written completely"
        ) from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: holds a {type(content).__name__}, not a checkpoint")
    return content


def is_ours(content: dict[str, Any]) -> bool:
    """Whether `read` gave a checkpoint that `save` wrote."""
    return content.get("format") == FORMAT


def resume(
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
    path = folder / LAST
    if not path.exists():
        if own:
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


def random_state() -> dict[str, Any]:
    """The state of this process's random generators: torch's, on the CPU and on its own GPU."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Continue torch's random generators from where `random_state` found them."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
