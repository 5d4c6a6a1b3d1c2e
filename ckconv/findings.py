"""Where a trained network lies: a path, a name of one that comes along, a name on the hub."""

from __future__ import annotations

import os
from pathlib import Path

from ckconv.errors import UsageError, reason

BEST, LAST = "best.pt", "last.pt"  # in a run's folder
WEIGHTS, DESCRIPTION = "model.safetensors", "config.json"  # in a folder that `ckconv.save` wrote
PACKAGE = Path(__file__).resolve().parent
COMING_ALONG = (PACKAGE / "weights", PACKAGE.parent / "weights")  # as installed, in the repository


def names() -> list[str]:
    """The networks that come with the library, each a run's folder with its record."""
    return sorted(path.parent.name for folder in COMING_ALONG for path in folder.glob(f"*/{BEST}"))


def find(path: str | os.PathLike[str]) -> Path:
    """The file or folder of a trained network, fetched from the Hugging Face hub if it lies there.

    What exists at the path comes first, then the names of `names`. Raises `UsageError` for none.
    """
    found = Path(path).expanduser()
    if found.exists():
        return found
    if str(path) in names():
        return next(folder / path for folder in COMING_ALONG if (folder / path / BEST).exists())
    return _from_hub(str(path))


def _from_hub(name: str) -> Path:
    is_name = name.count("/") == 1 and not name.startswith((".", "/", "~"))
    if not is_name or name.endswith((".pt", ".safetensors")):
        known = f", or one of {', '.join(names())}" if names() else ""
        raise UsageError(f"{name}: does not exist; give a run's folder or a checkpoint file{known}")
    try:
        import huggingface_hub
    except ImportError as error:
        raise UsageError(
            f"{name}: there is no such file; to look for it on the Hugging Face hub, pip install "
            "huggingface_hub safetensors"
        ) from error
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=[WEIGHTS, DESCRIPTION]))
    except Exception as error:  # its mistakes are of many kinds, the network's among them
        raise UsageError(
            f"{name}: does not exist here, and could not be had from the Hugging Face hub: "
            f"{reason(error)}"
        ) from error
