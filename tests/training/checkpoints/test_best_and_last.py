"""The two checkpoints of a run's folder belong together, or the run says so before it trains."""

from __future__ import annotations

import pytest
import torch
from fakes import TASK, NullLog, make_config, make_loaders, make_model

from ckconv import UsageError
from training import checkpoints
from training.loop import fit


def run(folder, cfg, saved=None, log=None):
    model = make_model(seed=9 if saved else 0)
    return model, fit(model, make_loaders(), TASK, cfg, folder, log or NullLog(), saved)


def weights(path):
    return checkpoints.read(path)["model"]


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


class Killed(Exception):
    pass


@pytest.fixture(params=[0.0, 0.9], ids=["weights", "averaged"])
def killed_between(request, tmp_path, monkeypatch):
    """Folders of a run that was killed between its two checkpoints in epoch 2, and of a whole one.

    A rate this small makes every epoch better than the one before.
    """
    cfg = make_config(epochs=2, lr=0.002, scheduler="none", ema=request.param)
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    _, progress = run(tmp_path / "whole", cfg)
    assert progress.best_epoch == 2

    written = []
    save = checkpoints.save

    def kill(path, content):
        if len(written) == 3:
            raise Killed
        written.append(path.name)
        save(path, content)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(checkpoints, "save", kill)
        run(tmp_path / "killed", cfg)
    return tmp_path / "whole", tmp_path / "killed", cfg


def test_a_kill_between_them_is_made_good(killed_between):
    """Also where nothing is trained any more: what is reported as the best epoch is that one."""
    whole, killed, cfg = killed_between
    saved = checkpoints.read(killed / "last.pt")
    assert saved["progress"]["best_epoch"] == 2
    assert checkpoints.read(killed / "best.pt")["progress"]["epoch"] == 1
    model, progress = run(killed, cfg, saved)
    assert progress.best_epoch == 2
    assert same(weights(killed / "best.pt"), weights(whole / "best.pt"))
    assert same(model.state_dict(), weights(whole / "best.pt"))


@pytest.mark.parametrize(
    "harm, message",
    [
        (lambda path: path.unlink(), "best.pt: does not exist, and the run's best epoch was 1"),
        (lambda path: path.write_bytes(b"no"), "best.pt: is .*not a checkpoint.*best epoch was 1"),
    ],
)
def test_a_best_checkpoint_that_is_lost_is_noticed_before_training(tmp_path, harm, message):
    cfg = make_config(epochs=2, lr=1e-30, scheduler="none")  # no epoch is better than the first
    run(tmp_path, cfg)
    harm(tmp_path / "best.pt")
    saved, log = checkpoints.read(tmp_path / "last.pt"), NullLog()
    with pytest.raises(UsageError, match=message):
        run(tmp_path, make_config(epochs=9, lr=1e-30, scheduler="none"), saved, log)
    assert log.rows == []


def test_a_best_checkpoint_of_another_epoch_is_noticed(tmp_path):
    cfg = make_config(epochs=2, lr=1e-30, scheduler="none")
    run(tmp_path, cfg)
    best = checkpoints.read(tmp_path / "best.pt")
    best["progress"]["epoch"] = 3
    best["progress"]["history"] = [
        {**best["progress"]["history"][0], "epoch": n} for n in (1, 2, 3)
    ]
    checkpoints.save(tmp_path / "best.pt", best)
    with pytest.raises(UsageError, match=r"is of epoch 3, and the run's best epoch was 1"):
        run(tmp_path, cfg, checkpoints.read(tmp_path / "last.pt"))
