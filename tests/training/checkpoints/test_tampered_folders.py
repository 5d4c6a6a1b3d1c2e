"""A run folder that somebody changed ends a run with a sentence that names the file."""

from __future__ import annotations

from cfg.flags import plain
from cfg.schema import Config

import copy
import math
from dataclasses import asdict

import pytest
import torch
from fakes import TASK, NullLog, make_config, make_loaders, make_model

import ckconv
from ckconv import UsageError
from ckconv.checkpoint import FORMAT
from datasets.task import Task
from models import build_model
from program.command_line import compose
from training import checkpoints
from training.checkpoints.pretrained import adopt
from training.checkpoints.saved import check_saved, fitting
from training.loop import fit


@pytest.fixture
def run(tmp_path):
    """A run's folder and the content of its `last.pt`."""
    folder = tmp_path / "run"
    folder.mkdir()
    fit(make_model(), make_loaders(), TASK, make_config(epochs=1), folder, NullLog())
    return folder, checkpoints.read(folder / "last.pt")


def put(content, place, value):
    """The content with another value at a place, or without that place."""
    content = copy.deepcopy(content)
    at = content
    for key in place[:-1]:
        at = at[key]
    if value is None:
        del at[place[-1]]
    else:
        at[place[-1]] = value
    return content


def cases(content):
    """Every part in turn: missing, of another type, of another shape, not finite."""
    places = [
        ("model", "1.weight"),
        ("optimizer", "state", 0, "exp_avg"),
        ("optimizer", "param_groups", 0, "lr"),
        ("schedule", "last_epoch"),
        ("random", 0, "cpu"),
        *(("progress", name) for name in ("epoch", "best_epoch", "history", "seconds")),
        ("progress", "history", 0, "lr"),
        *((name,) for name in ("model", "optimizer", "schedule", "random", "progress", "log")),
    ]
    for place in places:
        for value in (None, "text", torch.ones(3, 5), [1, 2]):
            yield place, value
    yield ("model", "1.weight"), torch.full((16, 12), math.nan)
    yield ("model", "1.weight"), torch.ones(16, 12, dtype=torch.float64)
    yield ("model", "more"), torch.ones(2)
    yield ("progress", "epoch"), -1
    yield ("progress", "epoch"), 7
    yield ("progress", "best_epoch"), 2
    yield ("progress", "best"), math.nan
    yield ("progress", "history", 0, "epoch"), 4
    yield ("progress", "part"), {"steps": -2, "lr": 0.1, "sums": [0.0] * 4, "seconds": 0.0}


def test_no_part_of_a_last_checkpoint_is_believed_or_ends_in_a_stack(run):
    folder, content = run
    count = 0
    for place, value in cases(content):
        saved = put(content, place, value)
        with pytest.raises(UsageError, match=r"last\.pt: does not fit this run"):
            with fitting(folder / "last.pt"):
                check_saved(saved)
            fit(make_model(), make_loaders(), TASK, make_config(), folder, NullLog(), saved)
            pytest.fail(f"believed: {place} = {value}")
        count += 1
    assert count > 60


@pytest.mark.parametrize("place", [("model", "1.weight"), ("model",), ("progress", "epoch")])
@pytest.mark.parametrize("value", [None, "text", torch.ones(3)])
def test_nor_one_of_a_best_checkpoint(run, tmp_path, place, value):
    folder, content = run
    best = checkpoints.read(folder / "best.pt")
    checkpoints.save(tmp_path / "best.pt", put(best, place, value))
    content = put(content, ("progress", "epoch"), 2)  # its weights are not in last.pt any more
    content["progress"]["history"] = [
        {**content["progress"]["history"][0], "epoch": n} for n in (1, 2)
    ]
    with pytest.raises(UsageError, match=r"best\.pt: .*the run's best epoch was 1"):
        fit(make_model(), make_loaders(), TASK, make_config(), tmp_path, NullLog(), content)


def test_the_untouched_one_goes_on(run):
    folder, content = run
    check_saved(content)
    log = NullLog()
    fit(make_model(), make_loaders(), TASK, make_config(epochs=2), folder, log, content)
    assert len(log.rows) == 2


def test_what_a_layer_fills_in_itself_may_be_missing(run):
    """Folders of earlier versions go on where the network knows how to read them."""

    class Newer(torch.nn.Sequential):
        def __init__(self):
            super().__init__(*make_model())
            self.register_buffer("rate", torch.ones(2))

        def _load_from_state_dict(self, state, prefix, *args):
            state.setdefault(prefix + "rate", self.rate)
            super()._load_from_state_dict(state, prefix, *args)

    folder, content = run
    model = Newer()
    progress = fit(model, make_loaders(), TASK, make_config(epochs=1), folder, NullLog(), content)
    assert progress.epoch == 1 and torch.equal(model.rate, torch.ones(2))


# ----- a trained network's file, read to use it ---------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    """The content of a checkpoint of a small FlexNet."""
    config = Config()
    config.net.no_hidden, config.net.no_blocks, config.kernel.no_hidden = 4, 1, 8
    config.conv.horizon = "9"
    task = Task("Digits", 1, 10, (8, 8), 100)
    return {
        "format": FORMAT,
        "model": build_model(config, task).state_dict(),
        "config": plain(config),
        "task": asdict(task),
        "normalisation": None,
        "data": {},
    }


CHANGES = [
    (("model",), None),
    (("model",), [1, 2]),
    (("model", "stem.bias"), None),
    (("model", "stem.bias"), "text"),
    (("model", "stem.bias"), torch.ones(2, 3)),
    (("model", "stem.bias"), torch.full((4,), math.nan)),
    (("config",), None),
    (("config",), "text"),
    (("config", "net"), None),
    (("config", "net", "no_hidden"), "many"),
    (("config", "net", "type"), "Nothing"),
    (("task",), {"name": 3}),
    (("task", "size"), "8x8"),
    (("normalisation",), [1]),
    (("normalisation",), {"mean": "text", "std": 1, "scale": 1}),
    (("data",), None),
]


def test_the_file_of_a_trained_network_is_read(trained, tmp_path):
    torch.save(trained, tmp_path / "best.pt")
    assert ckconv.load(tmp_path / "best.pt").predict(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


@pytest.mark.parametrize("place, value", CHANGES)
def test_no_part_of_it_ends_in_a_stack(trained, tmp_path, place, value):
    torch.save(put(trained, place, value), tmp_path / "best.pt")
    with pytest.raises(UsageError, match=r"best\.pt: "):
        ckconv.load(tmp_path / "best.pt")


def test_starting_from_it_takes_its_strings_literally(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "s3cret")
    changed = put(trained, ("config", "net", "norm"), "${oc.env:SECRET}")
    torch.save(changed, tmp_path / "best.pt")
    cfg = compose(["pretrained=True", f"pretrained_params.filepath={tmp_path / 'best.pt'}"])
    assert plain(adopt(cfg))["net"]["norm"] == "${oc.env:SECRET}"
    torch.save(put(trained, ("config",), None), tmp_path / "best.pt")
    with pytest.raises(UsageError, match=r"best\.pt: does not fit this run"):
        adopt(cfg)
