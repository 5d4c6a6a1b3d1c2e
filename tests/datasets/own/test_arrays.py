"""Arrays of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ckconv.errors import UsageError
from datasets import build_loaders, describe

RANDOM = np.random.RandomState(0)
WORDS = np.array(["low", "high"])


@pytest.fixture
def save(make_cfg, tmp_path):
    """Write arrays and make the config that reads them."""

    def write(**arrays):
        cfg = make_cfg("Arrays")
        path = tmp_path / "data.npz"
        path.unlink(missing_ok=True)
        np.savez(path, **arrays)
        cfg.dataset_params.root = str(path)
        return cfg

    return write


def series(count: int = 60, length: int = 12):
    y = np.arange(count) % 2
    return RANDOM.randn(count, 2, length) + 5 * y[:, None, None], y


def test_sequences_and_words(save):
    x, y = series()
    task, loaders = build_loaders(save(x=x, y=WORDS[y]))
    assert task.class_names == ("high", "low") and not task.timed
    assert (task.in_channels, task.out_channels, task.size) == (2, 2, (12,))
    counts = [part.num_samples for part in (loaders.train, loaders.validation, loaders.test)]
    assert counts == [46, 5, 9]
    for inputs, targets in loaders.test.batches():
        assert ((inputs.mean((1, 2)) < 0).long() == targets).all()  # "high" is y = 1
        assert inputs.dtype == torch.float32


def test_one_channel_may_go_without_its_axis(save):
    x, y = series()
    task = describe(save(x=x[:, 0], y=y))
    assert task.in_channels == 1 and task.class_names == ("0", "1")


def test_images_have_what_images_have(save):
    x = RANDOM.randint(0, 255, (80, 3, 6, 6)).astype(np.uint8)
    cfg = save(x=x, y=np.arange(80) % 4)
    cfg.cross_res.resize = "3,3"
    cfg.train.augment = "standard"
    task, loaders = build_loaders(cfg)
    assert task.size == (3, 3) and loaders.train.inputs.dtype == torch.uint8
    assert next(iter(loaders.train.batches()))[0].shape[1:] == (3, 3, 3)


def test_volumes(save):
    x, y = RANDOM.rand(40, 1, 4, 5, 6), np.arange(40) % 2
    task, loaders = build_loaders(save(x=x, y=y))
    assert task.dim == 3 and task.size == (4, 5, 6)
    assert next(iter(loaders.test.batches()))[0].shape[1:] == (1, 4, 5, 6)


def test_a_test_set_of_its_own(save):
    x, y = series()
    cfg = save(x=x, y=y, x_test=x[:10], y_test=y[:10])
    task, loaders = build_loaders(cfg)
    assert (loaders.train.num_samples, loaders.validation.num_samples) == (54, 6)
    assert loaders.test.num_samples == 10 and task.train_samples == 54


def test_numbers_are_predicted(save):
    x, y = series()
    for targets, outputs in ((y + 0.5, 1), (RANDOM.randn(60, 3), 3)):
        task, loaders = build_loaders(save(x=x, y=targets))
        assert (task.loss, task.metric, task.out_channels) == ("mse", "mse", outputs)
        assert next(iter(loaders.train.batches()))[1].shape[1:] == (outputs,)


def test_a_class_per_step(save):
    x, _ = series()
    task, loaders = build_loaders(save(x=x, y=RANDOM.randint(0, 3, (60, 12))))
    assert task.per_step and task.out_channels == 3
    assert next(iter(loaders.train.batches()))[1].shape[1:] == (12,)


def test_uneven_times_are_a_channel_and_even_ones_are_not(save):
    x, y = series()
    assert not describe(save(x=x, y=y, times=3 + 0.25 * np.arange(12))).timed
    uneven = np.sort(RANDOM.rand(60, 12), 1) + np.arange(12)
    task, loaders = build_loaders(save(x=x, y=y, times=uneven))
    assert task.timed and task.in_channels == 3
    inputs = torch.cat([x for x, _ in loaders.test.batches()])
    times = inputs[:, -1]
    assert (times[:, 0] == 0).all() and (times.diff() > 0).all()
    assert times.max() <= 11 + 1e-4  # counted in steps, of which the longest series has 11
    step = loaders.state["std"][-1]
    spans = uneven[:, -1] - uneven[:, 0]
    assert step == pytest.approx(spans.max() / 11)
    rates = 3.0 * np.arange(12) * (1 + np.arange(60)[:, None] % 2)  # even, but two rates
    assert describe(save(x=x, y=y, times=rates)).timed


@pytest.mark.parametrize("timed", [False, True])
def test_what_stands_behind_a_sequence_counts_in_nothing(save, timed):
    x, y = series()
    lengths = RANDOM.randint(5, 13, 60)
    behind = (np.arange(12) >= lengths[:, None])[:, None]
    times = {"times": np.cumsum(RANDOM.rand(60, 12) + 0.1, 1)} if timed else {}
    zeros = {k: np.where(behind[:, 0], 0, t) for k, t in times.items()}
    cfg = save(x=np.where(behind, np.nan, x), y=y, lengths=lengths, **times)
    task, loaders = build_loaders(cfg)
    assert task.padded and task.timed == timed
    *_, again = build_loaders(save(x=np.where(behind, 9.0, x), y=y, lengths=lengths, **zeros))
    for one, other in zip(loaders.train.batches(), again.train.batches()):
        assert all(torch.equal(a, b) for a, b in zip(one, other)) and len(one) == 3
    whole = save(x=x, y=y, lengths=np.full(60, 12))
    assert torch.equal(
        build_loaders(whole)[1].test.inputs, build_loaders(save(x=x, y=y))[1].test.inputs
    )


@pytest.mark.parametrize(
    "change, said",
    [
        ({"y": None}, "but no y"),
        ({"x_test": np.zeros((2, 2, 12))}, "but no y_test"),
        ({"x": np.full((60, 2, 12), np.nan)}, "data.npz, x, row 0: holds nan"),
        ({"x": WORDS[np.zeros((60, 12), int)]}, "give numbers"),
        ({"y": np.zeros(60, int)}, "at least two classes"),
        ({"y": np.zeros((60, 5), int) + np.arange(5)}, r"one per step, \(N, 12\)"),
        ({"y": np.arange(59) % 2}, r"x has 60 samples, y the shape \(59,\)"),
        ({"y": np.full(60, np.inf)}, "row 0: the target is inf"),
        ({"x_test": np.zeros((2, 2, 12)), "y_test": [0, 7]}, "row 1: the class 7 is not among"),
        ({"x_test": np.zeros((2, 2, 9)), "y_test": [0, 1]}, "samples of x_test have the shape"),
        ({"times": np.zeros(12)}, "times, row 0, step 1: the time is 0.0"),
        ({"times": np.arange(11)}, r"give numbers \(L,\) or \(N, L\)"),
        ({"lengths": np.arange(60)}, "lengths, row 0: the length is 0; give numbers from 1 to 12"),
        ({"lengths": np.ones(60)}, "lengths: is of the type float64"),
        ({"lengths": np.full(60, 5), "y": RANDOM.randint(0, 2, (60, 12))}, "one per sequence"),
        ({"x": np.zeros((60, 1, 2, 2, 2, 2))}, "its samples are 2 x 2 x 2 x 2"),
        ({"y": np.array([None] * 60)}, "holds Python objects"),
    ],
)
def test_what_is_wrong_is_said(save, change, said):
    x, y = series()
    arrays = {"x": x, "y": y, **change}
    with pytest.raises(UsageError, match=said):
        describe(save(**{name: a for name, a in arrays.items() if a is not None}))


def test_other_files_are_refused(save, tmp_path):
    cfg = save(x=np.zeros((4, 2, 3)), y=np.arange(4))
    Path(cfg.dataset_params.root).write_bytes(b"something else")
    with pytest.raises(UsageError, match="data.npz: is not an .npz file"):
        describe(cfg)
    cfg.dataset_params.root = str(tmp_path / "none.npz")
    with pytest.raises(UsageError, match="none.npz: No such file"):
        describe(cfg)


@pytest.mark.parametrize("flag", ["augment", "resize", "transforms"])
def test_sequences_have_nothing_that_images_have(save, flag):
    x, y = series()
    cfg = save(x=x, y=y)
    if flag == "augment":
        cfg.train.augment = "resnet"
    elif flag == "resize":
        cfg.cross_res.resize = "4,4"
    else:
        cfg.dataset_params.transforms = ["RandomHorizontalFlip"]
    with pytest.raises(UsageError, match=f"{flag}.*is for images"):
        describe(cfg)
