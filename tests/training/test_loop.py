"""The training loop: steps, selection, continuation."""

from __future__ import annotations

import math

import pytest
import torch
from fakes import TASK, NullLog, make_config, make_loaders, make_model
from torch import nn

from ckconv import MaskConfig, UsageError
from ckconv.nn import FlexConv
from training import checkpoints
from training.evaluation import Totals, evaluate
from training.loop import fit
from training.report.progress import Progress
from training.state import Training
from training.step import train_step


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def run(tmp_path, cfg, loaders=None, model=None, saved=None, log=None):
    model = model or make_model()
    progress = fit(model, loaders or make_loaders(), TASK, cfg, tmp_path, log or NullLog(), saved)
    return model, progress


def one_step(cfg, model, size=12):
    """The gradients of a step on one batch, by name, and the weights after it."""
    loaders = make_loaders()
    training = Training(model, TASK, cfg, 5)
    inputs, target = loaders.train.inputs[:size], loaders.train.targets[:size]
    model.train()
    loss = train_step(training, (inputs, target), TASK, cfg, Totals(TASK))
    return {name: p.grad.clone() for name, p in model.named_parameters()}, loss


def test_training_learns(tmp_path):
    torch.manual_seed(0)
    model, progress = run(tmp_path, make_config(epochs=12, lr=0.05), model=make_model(dropout=0.0))
    assert evaluate(model, make_loaders().test, TASK)["accuracy"] > 0.7
    assert progress.history[-1]["train_loss"] < 0.3 * progress.history[0]["train_loss"]


@pytest.mark.parametrize("parts", [2, 5, 12])
def test_accumulated_gradients_are_those_of_the_whole_batch(parts):
    model = make_model(dropout=0.0).double()

    def gradients(accumulate):
        cfg = make_config(accumulate=accumulate)
        net = nn.Sequential(_ToDouble(), model)
        net.zero_grad()
        return one_step(cfg, net, size=12)

    model_state = weights(model)
    whole, whole_loss = gradients(1)
    model.load_state_dict(model_state)
    split, split_loss = gradients(parts)
    assert split_loss.item() == pytest.approx(whole_loss.item(), rel=1e-6)
    for name in whole:
        torch.testing.assert_close(split[name], whole[name], rtol=1e-6, atol=1e-9)


class _ToDouble(nn.Module):
    def forward(self, x):
        return x.double()


@pytest.mark.parametrize("accumulate", [1, 3])
def test_penalties_reach_the_gradients_once(accumulate):
    """The kernel's norm is added with its factor, however many parts a batch is split into."""

    def make():
        torch.manual_seed(0)
        layer = FlexConv(3, 6, dim=1, mask=MaskConfig(init_value=0.5))
        return nn.Sequential(layer, nn.AdaptiveAvgPool1d(1), nn.Flatten())

    plain, _ = one_step(make_config(), make())
    decayed, _ = one_step(make_config(weight_decay=0.5, accumulate=accumulate), make())
    model = make()
    model(make_loaders().train.inputs[:12])
    (0.5 * torch.linalg.vector_norm(model[0].conv_kernel)).backward()
    expected = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert any(value.abs().max() > 1e-3 for value in expected.values())
    for name, value in expected.items():
        torch.testing.assert_close(decayed[name] - plain[name], value, rtol=1e-3, atol=1e-5)


def test_mask_penalty_acts_on_masks_only():
    def make():
        torch.manual_seed(0)
        layer = FlexConv(3, 6, dim=1, mask=MaskConfig(init_value=0.5))
        return nn.Sequential(layer, nn.AdaptiveAvgPool1d(1), nn.Flatten())

    plain, _ = one_step(make_config(), make())
    punished, _ = one_step(make_config(mask_l2_norm=0.1), make())
    norm = math.hypot(1.0, 0.5)
    for name in plain:
        added = (punished[name] - plain[name]).sum().item()
        expected = {"0.mask.mean": 0.1 / norm, "0.mask.sigma": 0.05 / norm}.get(name, 0.0)
        assert added == pytest.approx(expected, abs=1e-6), name


def test_gradients_are_clipped():
    gradients, _ = one_step(make_config(grad_clip=0.01), make_model())
    total = torch.stack([g.norm() for g in gradients.values()]).norm().item()
    assert total == pytest.approx(0.01, rel=1e-3)


def test_max_batches_limits_an_epoch(tmp_path):
    cfg = make_config(epochs=2, max_batches=3)
    _, progress = run(tmp_path, cfg)
    saved = checkpoints.read(tmp_path / "last.pt")
    assert saved["schedule"]["last_epoch"] == 6
    assert progress.epoch == 2


def test_diverged_training_says_so_and_keeps_the_last_checkpoint(tmp_path):
    loaders = make_loaders()
    run(tmp_path, make_config(epochs=1), loaders)
    before = (tmp_path / "last.pt").read_bytes()
    loaders.train.inputs[20] = math.nan
    with pytest.raises(UsageError, match=r"loss is nan .* lower train\.lr"):
        run(tmp_path, make_config(epochs=2), loaders)
    assert (tmp_path / "last.pt").read_bytes() == before


def test_the_best_validation_epoch_is_tested(tmp_path):
    model, progress = run(tmp_path, make_config(epochs=8, lr=0.1))
    accuracies = [row["validation_accuracy"] for row in progress.history]
    assert progress.best == max(accuracies) == accuracies[progress.best_epoch - 1]
    assert evaluate(model, make_loaders().validation, TASK)["accuracy"] == progress.best
    assert "test_accuracy" not in progress.history[0]


def test_without_validation_the_last_epoch_is_tested(tmp_path):
    model, progress = run(tmp_path, make_config(), make_loaders(validation=False))
    assert progress.best_epoch == 0 and not (tmp_path / "best.pt").exists()
    assert same(weights(model), checkpoints.read(tmp_path / "last.pt")["model"])


def test_selection_on_the_test_set_is_by_flag(tmp_path):
    cfg = make_config(epochs=8, lr=0.1, select_on="test")
    model, progress = run(tmp_path, cfg, make_loaders(validation=False))
    assert progress.best == max(row["test_accuracy"] for row in progress.history)
    assert evaluate(model, make_loaders().test, TASK)["accuracy"] == progress.best


@pytest.mark.parametrize("flag", [{"scheduler": "plateau"}, {"early_stop": 3}])
def test_what_needs_held_out_samples_says_so(tmp_path, flag):
    with pytest.raises(UsageError, match="dataset_params.val_fraction"):
        run(tmp_path, make_config(**flag), make_loaders(validation=False))


def test_equal_results_are_decided_by_the_loss():
    progress = Progress()
    row = {"seconds": 1.0}
    for accuracy, loss in ((0.5, 1.0), (0.5, 1.1), (0.5, 0.9), (0.4, 0.1)):
        progress.end_epoch(row, {"accuracy": accuracy, "loss": loss}, TASK)
    assert (progress.best_epoch, progress.best, progress.epoch) == (3, 0.5, 4)


def test_early_stop(tmp_path):
    log = NullLog()
    _, progress = run(
        tmp_path, make_config(epochs=50, lr=1e-30, scheduler="none", early_stop=2), log=log
    )
    assert (progress.best_epoch, progress.epoch, len(log.rows)) == (1, 3, 3)


def test_the_average_of_the_weights_is_tested(tmp_path):
    cfg = make_config(epochs=2, ema=0.9, max_batches=2, lr=0.1)
    model, _ = run(tmp_path, cfg, make_loaders(validation=False))
    saved = checkpoints.read(tmp_path / "last.pt")
    assert not same(weights(model), saved["model"])

    twin = make_model()
    steps = []
    training = Training(twin, TASK, cfg, 2)
    twin.train()
    for epoch in range(2):
        for inputs, target in list(make_loaders().train.batches(epoch))[:2]:
            train_step(training, (inputs, target), TASK, cfg, Totals(TASK))
            steps.append(weights(twin))
    expected = steps[0]
    for step in steps[1:]:
        expected = {name: 0.9 * expected[name] + 0.1 * step[name] for name in expected}
    for name, value in weights(model).items():
        torch.testing.assert_close(value, expected[name])


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"optimizer": "SGD", "scheduler": "plateau", "ema": 0.9},
        {"optimizer": "RMSprop", "scheduler": "multistep", "accumulate": 2},
    ],
    ids=["adam", "sgd", "rmsprop"],
)
@pytest.mark.parametrize("killed_after", [1, 3])
def test_a_resumed_run_ends_with_the_unbroken_runs_weights(tmp_path, flags, killed_after):
    cfg = make_config(epochs=5, **flags)
    cfg.train.scheduler_params.decay_steps = [2]
    cfg.train.scheduler_params.patience = 0
    (tmp_path / "whole").mkdir()
    (tmp_path / "broken").mkdir()
    whole, whole_progress = run(tmp_path / "whole", cfg)

    class Killed(NullLog):
        def epoch(self, progress):
            if progress.epoch == killed_after:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", cfg, log=Killed())
    saved = checkpoints.read(tmp_path / "broken" / "last.pt")
    resumed, progress = run(tmp_path / "broken", cfg, model=make_model(seed=9), saved=saved)

    assert same(weights(resumed), weights(whole))
    ends = [checkpoints.read(tmp_path / kind / "last.pt") for kind in ("whole", "broken")]
    assert same(ends[0]["model"], ends[1]["model"])
    assert torch.equal(ends[0]["random"][0]["cpu"], ends[1]["random"][0]["cpu"])
    for one, other in zip(whole_progress.history, progress.history, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    cfg = make_config()
    whole, _ = run(tmp_path, cfg)
    saved = checkpoints.read(tmp_path / "last.pt")
    again, progress = run(tmp_path, cfg, model=make_model(seed=9), saved=saved)
    assert progress.epoch == 4 and same(weights(again), weights(whole))


def test_code_that_changed_between_a_run_and_its_continuation_is_said_once(
    tmp_path, monkeypatch, capsys
):
    """And every commit that trained the run is kept, in the order in which they did."""

    def go_on(commit: str | None, epochs: int) -> tuple[list[str], str]:
        monkeypatch.setattr("training.report.progress.commit", lambda: commit)
        last = tmp_path / "last.pt"
        saved = checkpoints.read(last) if last.exists() else None
        cfg = make_config(epochs=epochs)
        fit(make_model(), make_loaders(), TASK, cfg, tmp_path, NullLog(), saved)
        said = capsys.readouterr().out
        return checkpoints.read(last)["progress"]["commits"], said

    assert go_on("aaa", 1) == (["aaa"], "")
    assert go_on("aaa", 2) == (["aaa"], "")
    commits, said = go_on("bbb with changes", 3)
    assert commits == ["aaa", "bbb with changes"]
    assert said == (
        "the code has changed: this run was stopped at commit aaa, now bbb with changes\n"
    )
    assert go_on(None, 4) == (commits, "")  # where there is no git, nothing is known
    assert go_on("aaa", 5)[0] == ["aaa", "bbb with changes", "aaa"]
