"""Losses and accuracies are sums over samples, not means of batch means."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as nnf
from fakes import TASK, ListLoader, make_loaders, make_model
from torch import nn

from ckconv.errors import UsageError
from training.evaluation import evaluate
from training.losses import task_loss


class Given(nn.Module):
    """Gives back its input as the output."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x


@pytest.mark.parametrize("batch_size", [1, 7, 20, 64])
def test_results_do_not_depend_on_the_batches(batch_size):
    model, test = make_model(), make_loaders().test
    loader = ListLoader(test.inputs, test.targets, batch_size)
    results = evaluate(model, loader, TASK, top5=True)
    with torch.no_grad():
        output = model.eval()(test.inputs)
    assert results["loss"] == pytest.approx(nnf.cross_entropy(output, test.targets).item())
    right = (output.argmax(1) == test.targets).sum().item()
    assert results["accuracy"] == right / 20 and results["targets"] == 20
    worst = (output.argmin(1) == test.targets).sum().item()
    assert results["top5"] == 1 - worst / 20


def test_the_mode_is_left_as_it_was():
    model = make_model().train()
    evaluate(model, make_loaders().test, TASK)
    assert model.training


def test_per_step_accuracy_counts_every_step():
    task = replace(TASK, per_step=True)
    output = torch.randn(5, 6, 4)  # (B, classes, length)
    target = output.argmax(1)
    target[0, 0] = (target[0, 0] + 1) % 6
    results = evaluate(Given(), ListLoader(output, target, 2), task)
    assert results["accuracy"] == 19 / 20 and results["targets"] == 20
    assert results["loss"] == pytest.approx(nnf.cross_entropy(output, target).item())


@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_regression_takes_targets_with_or_without_a_channel(shape):
    task = replace(TASK, loss="mse", metric="mse", out_channels=1)
    output, target = torch.randn(5, 1), torch.randn(shape)
    expected = (output[:, 0] - target.reshape(5)).square().mean().item()
    assert task_loss(task, output, target).item() == pytest.approx(expected)
    results = evaluate(Given(), ListLoader(output, target, 2), task)
    assert results["mse"] == pytest.approx(expected) and "accuracy" not in results


BINARY = replace(TASK, loss="binary", metric="auc", out_channels=1)


def test_the_area_under_the_curve_is_the_share_of_pairs_in_the_right_order():
    torch.manual_seed(0)
    output, target = torch.randn(31, 1), (torch.rand(31, 1) < 0.3).float()
    results = evaluate(Given(), ListLoader(output, target, 4), BINARY)
    above, below = output[target == 1], output[target == 0]
    assert results["auc"] == pytest.approx((above[:, None] > below).float().mean().item())
    assert results["accuracy"] == ((output > 0) == (target > 0)).sum().item() / 31
    assert results["loss"] == pytest.approx(
        nnf.binary_cross_entropy(output.sigmoid(), target).item(), rel=1e-5
    )


def test_one_class_alone_has_no_area_under_the_curve():
    with pytest.raises(UsageError, match="of one class"):
        evaluate(Given(), ListLoader(torch.randn(5, 1), torch.zeros(5, 1), 2), BINARY)
