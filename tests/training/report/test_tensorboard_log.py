"""TensorBoard beside W&B, by the flag `logger`."""

from __future__ import annotations

from cfg.schema import Config

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from fakes import make_config
from PIL import Image

from ckconv import UsageError
from training.report.logs import LOGS, RunLog
from training.report.tensorboard_log import TensorBoardLog
from training.validate import validate

HAS = importlib.util.find_spec("tensorboard") is not None
needs_tensorboard = pytest.mark.skipif(not HAS, reason="needs tensorboard")


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The scalars and pictures in a run's folder, by name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    found = {
        name: [(one.step, one.value) for one in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }
    pictures = {name: [one.step for one in events.Images(name)] for name in events.Tags()["images"]}
    return found | pictures


@needs_tensorboard
def test_a_run_and_its_continuation_are_one(tmp_path, capsys):
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "curves.png")
    cfg = Config(logger="tensorboard", debug=True)
    with RunLog(cfg, {"seed": 0}, tmp_path) as log:
        log.log({"train/loss": 1.0}, step=1)
        assert log.run_id is None
    with RunLog(cfg, {"seed": 0}, tmp_path, {"log": {"wandb_id": "abc"}}) as log:
        assert log.run_id == "abc"  # of an earlier time, under W&B
        log.log({"train/loss": 0.5, "kernel/stem/size_0": 7}, step=2)
        log.summarize({"test/accuracy": 0.75})
        log.image(tmp_path / "curves.png")
        log.image(tmp_path / "missing.png")
    assert read(tmp_path) == {
        "train/loss": [(1, 1.0), (2, 0.5)],
        "kernel/stem/size_0": [(2, 7.0)],
        "test/accuracy": [(2, 0.75)],
        "curves": [2],
    }
    assert f"tensorboard --logdir {tmp_path}" in capsys.readouterr().out


@needs_tensorboard
def test_a_failure_ends_tensorboard_and_not_the_run(tmp_path, capsys, monkeypatch):
    log = TensorBoardLog(Config(logger="tensorboard"), {}, tmp_path)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log.writer, "add_scalar", fail)
    capsys.readouterr()
    for _ in range(2):
        log.log({"a": 1.0}, step=1)
    log.finish()
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "No space left" in said


@pytest.mark.parametrize(
    "logger, names",
    [("wandb", ["wandb"]), ("both", ["wandb", "tensorboard"]), ("none", [])],
)
def test_the_flag_chooses(tmp_path, monkeypatch, logger, names):
    begun = []

    class Stand:
        run_id = None

        def __init__(self, cfg, config, folder, saved):
            begun.append(self.name)

        def finish(self, failed):
            begun.append(f"{self.name} ended, {failed}")

    for name in LOGS:
        monkeypatch.setitem(LOGS, name, type(name, (Stand,), {"name": name}))
    with RunLog(Config(logger=logger), {}, tmp_path):
        pass
    assert begun == names + [f"{name} ended, False" for name in names]


def test_without_the_package_a_sentence_before_anything_is_done(monkeypatch):
    cfg = make_config()
    cfg.logger = "tensorboard"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="logger=tensorboard: TensorBoard is not installed; pip"):
        validate(cfg)
    cfg.logger = "wandb"
    validate(cfg)
