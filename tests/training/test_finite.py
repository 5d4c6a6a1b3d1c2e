"""What is not finite is never saved, never best, and never reported as a success."""

from __future__ import annotations

import json
import math
import sys

import pytest
import torch
from fakes import TASK, NullLog, make_config, make_loaders, make_model
from small_runs import SMALL_NETWORK

import run_experiment
from ckconv import UsageError
from program.files import write_json
from training import checkpoints
from training.finite import check_results, not_finite
from training.loop import fit
from training.report.progress import Progress

pytestmark = pytest.mark.usefixtures("sketched")


def run(tmp_path, cfg, model, loaders, saved=None):
    return fit(model, loaders, TASK, cfg, tmp_path, NullLog(), saved)


class Poisoned(torch.nn.Module):
    """A network of which a weight or a buffer breaks in one step, with a loss that is finite."""

    def __init__(self, kind: str, step: int) -> None:
        super().__init__()
        self.net, self.kind, self.step, self.seen = make_model(dropout=0.0), kind, step, 0
        self.register_buffer("statistics", torch.zeros(2))
        self.net[1].weight.register_hook(self._gradient)

    def _gradient(self, gradient):
        is_hit = self.kind == "weight" and self.seen == self.step
        return gradient * math.nan if is_hit else gradient

    def forward(self, x):
        self.seen += self.training
        if self.kind == "buffer" and self.seen == self.step:
            self.statistics[0] = math.inf
        return self.net(x)


@pytest.mark.parametrize("kind, named", [("weight", "net.1.weight"), ("buffer", "statistics")])
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_divergence_in_an_epochs_last_step_keeps_the_last_good_checkpoint(
    tmp_path, kind, named, ema
):
    """Without samples held out `last.pt` is all there is."""
    model = Poisoned(kind, step=14)  # the last of the second epoch
    with pytest.raises(UsageError, match=rf"not finite after epoch 2 \({named}\).*lower train\.lr"):
        run(tmp_path, make_config(epochs=3, ema=ema), model, make_loaders(validation=False))
    saved = checkpoints.read(tmp_path / "last.pt")
    assert saved["progress"]["epoch"] == 1 and not_finite(saved["model"]) is None


def test_finite_weights_of_a_last_step_that_went_too_far_are_not_kept(tmp_path):
    """Without samples held out nothing else looks at the network before it is saved."""
    cfg = make_config(epochs=1)
    cfg.train.lr, cfg.train.max_batches = 3e37, 1
    with pytest.raises(UsageError, match="loss is (nan|inf) at step 1 of epoch 1.*lower train.lr"):
        run(tmp_path, cfg, make_model(), make_loaders(validation=False))
    assert not (tmp_path / "last.pt").exists()


def test_a_validation_loss_that_is_not_finite_ends_the_run(tmp_path):
    loaders = make_loaders()
    loaders.validation.inputs[3] = math.inf
    with pytest.raises(UsageError, match="validation loss of epoch 1 is"):
        run(tmp_path, make_config(epochs=1), make_model(), loaders)
    assert not (tmp_path / "last.pt").exists() and not (tmp_path / "best.pt").exists()


def test_a_result_that_is_not_a_number_is_never_the_best():
    row = {"seconds": 1.0}
    regression = type("Regression", (), {"metric": "mse", "higher_is_better": False})
    progress = Progress()
    for mse in (math.nan, 3.0, math.nan, 2.0):
        progress.end_epoch(row, {"mse": mse, "loss": mse}, regression)
    assert (progress.best_epoch, progress.best) == (4, 2.0)
    kept = Progress(epoch=1, best_epoch=1, best=math.nan, best_loss=math.nan)
    kept.end_epoch(row, {"mse": 5.0, "loss": 5.0}, regression)
    assert (kept.best_epoch, kept.best) == (2, 5.0)


def test_json_is_strict(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": math.nan})
    assert not list(tmp_path.iterdir())


def test_results_and_states():
    check_results("test", {"loss": 1.0, "targets": 3})
    with pytest.raises(UsageError, match="the test mse is inf"):
        check_results("test", {"mse": math.inf})
    assert not_finite({"a": torch.ones(2), "n": torch.tensor(3), "text": "x"}) is None
    assert not_finite({"a": torch.ones(2), "b": torch.tensor([1.0, math.nan])}) == "b"


@pytest.mark.parametrize("held_out", [0, 0.1])
def test_a_run_that_ends_without_weights_fails(tmp_path, monkeypatch, capsys, held_out):
    flags = ["train.epochs=1", "train.max_batches=1", "train.lr=1e30", "conv.horizon=9"]
    flags += [f"dataset_params.val_fraction={held_out}", f"hydra.run.dir={tmp_path / 'run'}"]
    monkeypatch.setattr(sys, "argv", ["run_experiment.py", *SMALL_NETWORK, *flags])
    with pytest.raises(SystemExit) as end:
        run_experiment.main()
    assert end.value.code == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "lower train.lr" in error or "not finite" in error
    assert not (tmp_path / "run" / "result.json").exists()
    for path in (tmp_path / "run").glob("*.json"):
        json.loads(path.read_text(), parse_constant=pytest.fail)
