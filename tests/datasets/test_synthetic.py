"""AddProblem and CopyMemory hold what they ask for."""

from __future__ import annotations

import pytest
import torch

from datasets import build_loaders


def everything(loader):
    batches = list(loader.batches())
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


@pytest.mark.parametrize("length", [3, 50])
def test_add_problem(make_cfg, length):
    task, loaders = build_loaders(make_cfg("AddProblem", seq_length=length))
    assert task.train_samples == loaders.train.num_samples == 50_000
    x, y = everything(loaders.test)
    assert x.shape == (1000, 2, length) and y.shape == (1000, 1) and y.dtype == torch.float32
    values, marks = x.unbind(1)
    assert 0 <= values.min() and values.max() < 1 and abs(values.mean() - 0.5) < 0.05
    assert set(marks.unique().tolist()) == {0.0, 1.0} and (marks.sum(1) == 2).all()
    torch.testing.assert_close((values * marks).sum(1, keepdim=True), y)
    assert (marks.sum(0) > 0).all()  # a mark may stand anywhere
    assert abs(loaders.train.targets.var() - 1 / 6) < 0.01


def test_copy_memory(make_cfg):
    task, loaders = build_loaders(make_cfg("CopyMemory", seq_length=30, memory_size=4))
    assert task.train_samples == loaders.train.num_samples == 10_000
    x, y = everything(loaders.test)
    assert x.shape == (1000, 10, 38) and y.shape == (1000, 38) and y.dtype == torch.int64
    assert (x.sum(1) == 1).all()
    symbols = x.argmax(1)
    assert symbols[:, :4].unique().tolist() == list(range(1, 9))
    assert not symbols[:, 4:33].any() and (symbols[:, 33] == 9).all()
    assert not symbols[:, 34:].any()
    assert not y[:, :34].any() and torch.equal(y[:, 34:], symbols[:, :4])


@pytest.mark.parametrize("name", ["AddProblem", "CopyMemory"])
def test_splits_differ_and_come_again(make_cfg, name):
    cfg = make_cfg(name, seq_length=20)
    loaders = build_loaders(cfg)[1]
    assert not torch.equal(loaders.validation.inputs, loaders.test.inputs)
    cfg.seed = 9
    again = build_loaders(cfg)[1]
    assert torch.equal(loaders.test.inputs, again.test.inputs)
    assert torch.equal(loaders.train.inputs, again.train.inputs)
    x = [next(set_.train.batches())[0] for set_ in (loaders, again)]
    assert not torch.equal(*x)  # the run's seed decides the order alone
