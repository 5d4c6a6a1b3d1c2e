"""What a person typed wrong, said in one sentence."""

from __future__ import annotations

from cfg.flags import known_flags

import difflib
import errno
import os
import re
import shlex
import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import (
    InterpolationResolutionError,
    OmegaConfBaseException,
    ValidationError,
)

from ckconv.errors import UsageError
from program.device import bytes_text
from program.words.page import preset_names

EXTRAS = {  # Hydra's launchers and sweepers that are installed apart
    "joblib": "hydra-joblib-launcher",
    "submitit_local": "hydra-submitit-launcher",
    "submitit_slurm": "hydra-submitit-launcher",
    "optuna": "hydra-optuna-sweeper",
}
MEANT = {  # what flags of other programs are called here
    "checkpoint": "pretrained_params.filepath",
    "ckpt": "pretrained_params.filepath",
    "cuda": "device",
    "data_dir": "dataset_params.root",
    "data_path": "dataset_params.root",
    "depth": "net.no_blocks",
    "experiment": "+experiment",
    "gpu": "device",
    "hidden_size": "net.no_hidden",
    **dict.fromkeys(
        ("kernel_size", "kernelsize", "ksize", "filter_size"),
        "conv.horizon for the largest kernel and mask.init_value for the initial one",
    ),
    "learning_rate": "train.lr",
    "model": "net.type",
    "num_epochs": "train.epochs",
    "num_layers": "net.no_blocks",
    "num_workers": "dataset_params.workers",
    "sigma": "mask.init_value",
    "wd": "train.weight_decay",
    "width": "net.no_hidden",
}
KINDS = {"Integer": "a whole number", "Float": "a number"}
DISK_ERRORS = {
    errno.ENOENT: "no such file or folder; it may have been removed",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOSPC: "no space left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.ENOTDIR: "a part of this path is a file, not a folder",
    errno.EEXIST: "a file is in the way",
    errno.EISDIR: "it is a folder",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EIO: "the disk reports an input/output error",
}


# What PyTorch says where memory on a CPU is used up, or would be on any machine.
NO_MEMORY = re.compile(
    r"can't allocate memory|not enough memory|Cannot allocate memory"
    r"|Storage size calculation overflowed|std::bad_alloc"
)


def unknown_flag(flag: str) -> str:
    """The sentence for a flag that does not exist, with the nearest one that does."""
    if meant := MEANT.get(flag.rpartition(".")[2].lower().replace("-", "_")):
        return f"{flag}: there is no such flag; use {meant}"
    flags = known_flags()
    near = [known for known in flags if known.rpartition(".")[2] == flag.rpartition(".")[2]]
    near = near[:1] or difflib.get_close_matches(flag, flags, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else "--help lists all flags"
    return f"{flag}: there is no such flag; {hint}"


def unknown_preset(name: str) -> str:
    """The sentence for a preset that does not exist, with the nearest ones that do."""
    near = difflib.get_close_matches(name, preset_names(), n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else "--help lists all presets"
    return f"+experiment={name}: there is no such preset; {hint}"


def sentence(error: BaseException, composing: bool = False) -> str | None:
    """One sentence for an error that a user can mend; None for anything else, a fault of ours.

    `composing` tells that the error came while the command line was read, where whatever Hydra
    and OmegaConf report was caused by what was typed.
    """
    for link in _chain(error):
        if isinstance(link, UsageError):
            return str(link)
    if composing and isinstance(error, HydraException | OmegaConfBaseException | ValueError):
        return _composition(error)
    if isinstance(error, OSError) and (composing or error.errno in DISK_ERRORS):
        return _disk(error, composing)
    return _memory(error)


def _disk(error: OSError, composing: bool) -> str:
    reason = DISK_ERRORS.get(error.errno, error.strerror)
    if error.filename is None and not composing:
        return f"the standard output cannot be written to: {reason}"
    where = error.filename or "the output folder"
    if composing or _is_in_run_folder(where):
        return f"{where}: {reason}; choose another folder with hydra.run.dir=..."
    return f"{where}: {reason}; give a file or folder that can be read and written"


def _is_in_run_folder(path: str | bytes) -> bool:
    if not HydraConfig.initialized():  # a program that has none
        return False
    folder = Path(HydraConfig.get().runtime.output_dir)
    return folder in Path(os.fsdecode(path)).absolute().parents


def as_typed(flag: str, value: object) -> str:
    """A flag as it is typed in a shell, in the quotes that it and Hydra need."""
    text = str(value)
    if not re.fullmatch(r"[\w./~@%+-]*", text, re.ASCII):
        text = "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return shlex.quote(f"{flag}={text}")


def _memory(error: BaseException) -> str | None:
    """The sentence for a want of memory, with the figure where one is known; None for others."""
    text = str(error)
    asked = re.search(r"tried to allocate (\d+) bytes|Unable to allocate ([\d.]+ \w+)", text)
    is_known = type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError)
    if not (asked or is_known or NO_MEMORY.search(text)):
        return None
    size = bytes_text(int(asked[1])) if asked and asked[1] else asked[2] if asked else ""
    what = f"a tensor of {size} does not fit into memory" if size else "the memory is used up"
    return (
        f"{what}; lower train.batch_size, split batches with train.accumulate=2, or make the "
        "network, its inputs or its kernels smaller"
    )


def _chain(error: BaseException | None) -> list[BaseException]:
    links = []
    while error is not None and error not in links:
        links.append(error)
        error = error.__cause__
    return links


def _composition(error: Exception) -> str:
    text = str(error)
    if isinstance(error, MissingConfigException):
        plugin = re.search(r"'hydra/(\w+)/(\w+)'$", text.splitlines()[0].rstrip("."))
        if plugin and plugin[2] in EXTRAS:
            return (
                f"hydra/{plugin[1]}={plugin[2]}: is not installed; "
                f"pip install {EXTRAS[plugin[2]]} adds it"
            )
        missing = re.search(r"experiment/([^']*)'", text)
        return unknown_preset(missing.group(1)) if missing else _one_line(text)
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override}: cannot be read; write flag=value, and put quotes around the whole "
            "where the value holds spaces, brackets or signs: 'net.block_width_factors=[1.0, 2]'"
        )
    if isinstance(error, InterpolationResolutionError):
        return unresolved(error)
    if text.startswith("Ambiguous value"):
        return (
            f"{_quoted(text)}: several values; write [a,b] for a list, or add --multirun to run "
            "once for each"
        )
    if text.startswith("Could not append"):
        return f"+{_quoted(text)}: this flag exists; write it without the +"
    if "No match in the defaults list" in text:
        group = _quoted(text)
        name = text.rpartition("=")[2]
        return f"{group}={name}: write +{group}={name}" if group == "experiment" else group
    if text.startswith(("Could not override", "Could not delete")):
        return unknown_flag(_quoted(text))
    if text.startswith("Error merging override "):
        override = text.removeprefix("Error merging override ").splitlines()[0]
        return f"{override}: {wrong_type(error.__cause__)}"
    return _one_line(text)


def wrong_type(error: BaseException | None) -> str:
    """What to give in place of a value of the wrong type."""
    text = str(error).splitlines()[0]
    if not isinstance(error, ValidationError):  # a dictionary is merged into a list, key by key
        return "give a list, as [4,8]"
    if text.endswith(" to string") or "to string: " in text:
        return "give one word, or one text in quotes"
    kind = re.search(r"could not be converted to (\w+)", text)
    if kind:
        return f"give {KINDS.get(kind[1], kind[1])}"
    if "not a valid bool" in text:
        return "give True or False"
    if "is not a subclass" in text:
        group = str(error.full_key)
        return f"{group} is a group of flags; set one of them, as {group}.{_first_flag(group)}=..."
    if "ListConfig" in text:
        return "give a list, as [4,8]"
    if "not Optional" in text:
        return "give a value; it cannot be empty"
    return text[:1].lower() + text[1:]


def unresolved(error: OmegaConfBaseException, flag: str = "") -> str:
    """What is wrong with a value that refers to another, as `${train.lr}`; `flag` has it."""
    text = str(error).splitlines()[0]
    reason = text.partition("raised while resolving interpolation: ")[2] or text
    if text.startswith("UsageError"):  # of a rule of ours: a sentence already
        return reason
    if missing := re.search(r"Interpolation key '([^']*)' not found", text):
        what = "${" + missing[1] + "}"
        typed = [word for word in sys.argv[1:] if what in word]
        where = f"{flag}={what}" if flag else typed[0] if typed else what
        return f"{where}: there is no flag {missing[1]} to refer to; write it as ${{train.lr}}"
    if found := re.search(r"'(\$[^']*)': Value '([^']*)' .*converted to (\w+)", text):
        return f"{flag}={found[1]}: that is {found[2]}; give {KINDS.get(found[3], found[3])}"
    if "parent node" in text:
        reason = "refers to the group that it is in; write the flag in full, as ${train.lr}"
    elif unknown := re.search(r"Unsupported interpolation type (.*)", text):
        reason = f"there is no rule {unknown[1]} for ${{{unknown[1]}:...}}; refer to ${{train.lr}}"
    flag = flag or str(error.full_key or "")
    return f"{flag}: {reason}" if flag else reason


def _first_flag(group: str) -> str:
    flags = [flag for flag in known_flags() if flag.startswith(group + ".")]
    return flags[0][len(group) + 1 :] if flags else "flag"


def _quoted(text: str) -> str:
    found = re.search(r"'([^']*)'", text)
    return found.group(1) if found else text.splitlines()[0]


def _one_line(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split())
