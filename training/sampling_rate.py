"""Testing a network on sequences that are sampled at another rate than those it was trained on."""

from __future__ import annotations

from cfg.schema import Config

import copy

from torch import nn

from ckconv.nn import CKConv, set_length
from ckconv.nn.sized import fix_sizes
from datasets import task_of
from datasets.task import Loader, Task
from models import set_resolution
from training.evaluation import evaluate
from training.finite import check_results


def at_test_rate(model: nn.Module, task: Task, cfg: Config) -> nn.Module:
    """The network to test: `model` itself, or a copy of it deployed at the test set's rate.

    `dataset_params.sr_train` and `sr_test` keep every n-th sample. Where they differ, the copy's
    kernels are sampled sr_test / sr_train times as coarsely over the same span and multiplied by
    as much (CKConv paper, section 4.1). With `sr_positions=ckconv` they are sampled as the CKConv
    code did. `model` itself stays at the rate of training.
    """
    params = cfg.dataset_params
    if params.sr_train == params.sr_test:
        return model
    fix_kernel_sizes(model, task)
    model = copy.deepcopy(model)
    if params.sr_positions == "span":
        set_resolution(model, params.sr_train / params.sr_test)
        return model
    (length,) = task_of(cfg, every=params.sr_test).size
    for module in model.modules():
        if isinstance(module, CKConv):
            set_length(module, length)
    return model


def fix_kernel_sizes(model: nn.Module, task: Task) -> None:
    """Show a network an input of the task's size: the first one fixes its kernels' sizes."""
    fix_sizes(model, task.in_channels, task.size)


def tested(model: nn.Module, loader: Loader, task: Task, cfg: Config) -> dict[str, float]:
    """The results of `evaluate` on the test set, at its own rate.

    Raises `UsageError` where they are not finite.
    """
    model = at_test_rate(model, task, cfg)
    results = evaluate(model, loader, task, cfg.train.precision, cfg.train.report_top5_acc)
    check_results("test", results)
    return results
