"""Commands of the CKConv paper's repository: refused, with the preset that does the same here."""

from __future__ import annotations

from collections.abc import Sequence

from ckconv.errors import UsageError
from program.words.page import preset_names

PREFIX = "--config."
STEMS = {
    "MNIST": "smnist",
    "CIFAR10": "scifar10",
    "CharTrajectories": "chartrajectories",
    "SpeechCommands": "speechcommands_mfcc",
    "PhysioNet": "physionet",
}


def refuse(arguments: Sequence[str]) -> None:
    """Raise `UsageError` where flags are written as that repository writes them."""
    typed = dict(
        word.removeprefix(PREFIX).partition("=")[::2]
        for word in arguments
        if word.startswith(PREFIX)
    )
    if not typed:
        return
    first = next(word for word in arguments if word.startswith(PREFIX))
    preset = preset_of(typed)
    hint = "here flags are written flag=value, and --help lists the presets"
    if preset in preset_names():
        here = ["python run_experiment.py", f"+experiment={preset}", *_more(typed)]
        hint = f"this run is {' '.join(here)}"
    raise UsageError(f"{first}: is a flag of the CKConv repository; {hint}")


def preset_of(typed: dict[str, str]) -> str:
    """The preset's name for flags of that repository, whether or not there is such a preset."""
    stem = STEMS.get(typed.get("dataset", ""), "")
    if stem == "smnist" and typed.get("permuted") == "True":
        stem = "pmnist"
    if stem == "speechcommands_mfcc" and typed.get("mfcc") == "False":
        stem = "speechcommands_raw"
    if typed.get("drop_rate", "0") != "0":
        stem += f"_drop{typed['drop_rate']}"
    if typed.get("sr_train") == "8" and stem == "chartrajectories":
        stem += "_sr8"
    return f"{stem}_ckcnn{typed.get('no_hidden', '30')}"


def _more(typed: dict[str, str]) -> list[str]:
    """The flags that are typed beside the preset."""
    more = []
    train_rate, test_rate = typed.get("sr_train", "1"), typed.get("sr_test", "0")
    if train_rate != "1" or test_rate not in ("0", "1"):
        test_rate = train_rate if test_rate == "0" else test_rate
        more += [f"dataset_params.sr_train={train_rate}", f"dataset_params.sr_test={test_rate}"]
    if typed.get("train") == "False":
        more.append("train.do=False")
    if typed.get("pretrained") == "True":
        more.append("pretrained=True pretrained_params.filepath=...")
    if typed.get("seed", "0") != "0":
        more.append(f"seed={typed['seed']}")
    return more
