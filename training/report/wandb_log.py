"""Weights & Biases: the only place that knows it."""

from __future__ import annotations

from cfg.schema import Wandb

import base64
import hashlib
import inspect
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ckconv.errors import UsageError, reason
from program import distributed
from program.folder import DOWNLOADS, made_folder

INIT_TIMEOUT = 30  # seconds for the server to answer before logging goes on offline


class Watched(Protocol):
    """The flags that are read here, of any program."""

    debug: bool
    wandb: Wandb


class WandbLog:
    """A W&B run that shows `config`, or nothing at all with `debug=True`.

    Never asks and never stops a run. As a context it ends the run. Of several processes that
    train together, the first one alone has a run. Where `saved`, the last checkpoint of a run, is
    given, that run's own goes on.
    """

    def __init__(
        self,
        flags: Watched,
        config: dict[str, Any],
        folder: Path,
        saved: dict[str, Any] | None = None,
    ) -> None:
        run_id = saved["log"]["wandb_id"] if saved else None
        silent = flags.debug or not distributed.is_main()
        self.run = None if silent else _start(flags.wandb, config, folder, run_id)

    def __enter__(self) -> WandbLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.finish(failed=kind is not None)

    @property
    def run_id(self) -> str | None:
        """What a continued run needs to go on under the same name."""
        return self.run.id if self.run else None

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        self._tell(lambda run: run.log(values, step=step))

    def summarize(self, values: dict[str, Any]) -> None:
        """Set the run's final figures."""
        self._tell(lambda run: run.summary.update(values))

    def image(self, path: Path, name: str = "") -> None:
        """Log a picture file, if there is one, under this name or its own."""

        def send(run: Any) -> None:
            import wandb

            run.log({name or path.stem: wandb.Image(str(path))})

        if path.exists():
            self._tell(send)

    def finish(self, failed: bool = False) -> None:
        self._tell(lambda run: run.finish(exit_code=int(failed)))

    def _tell(self, send: Callable[[Any], None]) -> None:
        """Send something to the run, if there is one; a run without W&B goes on where it fails."""
        if self.run is None:
            return
        try:
            send(self.run)
        except Exception as error:  # a full disk, no network, a value that it refuses
            why = reason(error, 120)
            print(f"W&B: {why}; from here this run is logged to its own files only", flush=True)
            self.run = None


def _start(flags: Wandb, config: dict[str, Any], folder: Path, run_id: str | None) -> Any:
    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        import wandb
    except ImportError as error:
        print(f"W&B: not installed ({error}); this run is logged to its own files only")
        return None
    mode = os.environ.get("WANDB_MODE") or ("online" if _has_account() else "offline")
    directory = made_folder("wandb.dir", flags.dir) or folder
    settings = wandb.Settings(init_timeout=INIT_TIMEOUT, silent=True, console="off")
    for attempt in dict.fromkeys((mode, "offline")):
        try:
            run = wandb.init(
                project=flags.project or None,
                entity=flags.entity or None,
                dir=str(directory),
                config=config,
                mode=attempt,
                id=run_id,
                resume="allow" if run_id else None,
                settings=settings,
            )
        except Exception as error:  # whatever goes wrong here must not end the training
            failure = reason(error, 120)
            continue
        if attempt == "offline":
            why = "no account on this machine" if mode == "offline" else failure
            place = directory / "wandb"
            sent = f"with an account, wandb sync {place}/offline-run-* sends it"
            print(f"W&B: {why}; logging offline to {place} ({sent})")
        return run
    print(f"W&B: could not start ({failure}); this run is logged to its own files only")
    return None


def _has_account() -> bool:
    """Whether W&B finds a key, wherever it looks for one; nobody is asked for it.

    One that it cannot use, or cannot try without a network, is one too: starting says why.
    """
    import wandb

    try:
        if "prompt" in inspect.signature(wandb.login).parameters:
            return bool(wandb.login(prompt=False))
        return wandb.api.api_key is not None  # before version 0.30
    except Exception:
        return True


def fetch(filename: str, run_path: str, folder: Path) -> Path:
    """Download a file of a W&B run into `folder` and return its path.

    Raises `UsageError` where there is no account, package, network, such run or such file.
    """
    flags = "pretrained_wandb_params"
    if not filename or not run_path:
        raise UsageError(
            f"pretrained_wandb=True: give {flags}.run_path=entity/project/run and "
            f"{flags}.filename=name"
        )
    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        import wandb
    except ImportError as error:
        raise UsageError(
            "pretrained_wandb=True: wandb is not installed; pip install wandb adds it, or download "
            "the file and use pretrained=True pretrained_params.filepath=..."
        ) from error
    if not _has_account():
        raise UsageError(
            "pretrained_wandb=True: there is no W&B account on this machine; set WANDB_API_KEY, or "
            "download the file and use pretrained=True pretrained_params.filepath=..."
        )
    downloads = folder / DOWNLOADS
    try:
        file = wandb.Api(timeout=INIT_TIMEOUT).run(run_path).file(filename)
        with distributed.first_on_machine():
            again = not distributed.local_rank()
            got = file.download(root=str(downloads), replace=again, exist_ok=True)
        path = Path(got.name)
        _check_digest(path, getattr(file, "md5", None))
    except Exception as error:
        shutil.rmtree(downloads, ignore_errors=True)
        why = reason(error, 120)
        raise UsageError(
            f"{flags}: {filename} of {run_path} could not be fetched from W&B: {why}"
        ) from error
    return path


def _check_digest(path: Path, md5: str | None) -> None:
    """Raise `ValueError` for a file that is not the one whose digest W&B says."""
    found = hashlib.md5(path.read_bytes(), usedforsecurity=False).digest()
    if md5 and base64.b64encode(found).decode() != md5:
        raise ValueError("what arrived does not have the digest that W&B says")
