"""Image data sets: their splits, augmentation, and the sequences made of them."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from small_images import RANDOM, everything, labels, write_binary

from ckconv.errors import UsageError
from datasets import build_loaders, describe
from datasets.base import fixed_tensor
from datasets.cifar import CIFAR10
from datasets.digits import Digits
from datasets.stl10 import STL10


def test_digits_are_split_once_and_for_all(make_cfg):
    task, loaders = build_loaders(make_cfg("Digits"))
    sizes = [loader.num_samples for loader in (loaders.train, loaders.validation, loaders.test)]
    assert sizes == [1257, 180, 360] and task.train_samples == 1257
    parts = [everything(loader) for loader in (loaders.train, loaders.validation, loaders.test)]
    rows = torch.cat([x.flatten(1) for x, _ in parts])
    assert len(rows.unique(dim=0)) == 1797  # no digit is in two splits
    for _, y in parts:  # about as many of each class as in the whole
        assert (y.bincount(minlength=10) / len(y) - 0.1).abs().max() < 0.01
    cfg = make_cfg("Digits")
    cfg.seed = 7
    x, _ = everything(build_loaders(cfg)[1].test)
    assert torch.equal(x, parts[2][0])


def test_digits_are_normalised_by_their_training_set(make_cfg):
    _, loaders = build_loaders(make_cfg("Digits", val_fraction=0.0))
    assert loaders.validation is None and loaders.train.num_samples == 1437
    x, _ = everything(loaders.train)
    assert x.shape == (1437, 1, 8, 8) and x.dtype == torch.float32
    assert abs(x.mean()) < 2e-4 and abs(x.std() - 1) < 2e-4
    pixels = x * Digits.std[0] + Digits.mean[0]
    assert torch.allclose((pixels * 16).round(), pixels * 16, atol=1e-3)


def test_stl10_images_stand_upright(make_cfg, tmp_path, monkeypatch):
    monkeypatch.setattr(STL10, "train_total", 20)
    monkeypatch.setattr(STL10, "test_total", 10)
    folder = tmp_path / "data/stl10_binary"
    folder.mkdir(parents=True)
    content = {}
    for name, count in (("train", 20), ("test", 10)):
        content[name] = RANDOM.randint(0, 256, (count, 3, 96, 96)).astype(np.uint8)
        columns = content[name].transpose(0, 1, 3, 2)  # the file goes down the columns
        (folder / f"{name}_X.bin").write_bytes(np.ascontiguousarray(columns).tobytes())
        (folder / f"{name}_y.bin").write_bytes((labels(count) + 1).tobytes())
    _, loaders = build_loaders(make_cfg("STL10", val_fraction=0.0))
    x, y = everything(loaders.test)
    pixels = x * torch.tensor(STL10.std).view(3, 1, 1) + torch.tensor(STL10.mean).view(3, 1, 1)
    assert np.array_equal((pixels * 255).round().byte().numpy(), content["test"])
    cfg = make_cfg("STL10", val_fraction=0.0)
    cfg.train.augment = "resnet"
    stages = build_loaders(cfg)[1].train.pipeline.stages
    assert [type(stage).__name__ for stage in stages] == ["FlipCrop", "Normalise", "Cutout"]
    assert y.tolist() == list(range(10))
    (folder / "train_y.bin").write_bytes(labels(20).tobytes())
    with pytest.raises(UsageError, match="train_y.bin"):
        build_loaders(make_cfg("STL10", val_fraction=0.0))


def test_training_images_are_augmented_and_others_are_not(make_cfg, small_cifar, tmp_path):
    write_binary(tmp_path / "data/cifar-10-batches-bin", small_cifar)
    plain, cfg = make_cfg("CIFAR10"), make_cfg("CIFAR10")
    cfg.train.augment = "resnet"
    before, after = build_loaders(plain)[1], build_loaders(cfg)[1]
    for split in ("validation", "test"):
        x = [everything(getattr(loaders, split))[0] for loaders in (before, after)]
        assert torch.equal(*x)
    x = [next(loaders.train.batches(0))[0] for loaders in (before, after)]
    assert x[0].shape == x[1].shape
    assert sum(torch.equal(a, b) for a, b in zip(*x)) <= 2
    black = (0 - torch.tensor(CIFAR10.mean)) / torch.tensor(CIFAR10.std)
    everywhere = torch.isclose(x[1], black.view(3, 1, 1)).all(1)  # (B, H, W)
    assert everywhere[:, 0].all(1).any()  # padding is black before it is normalised
    again = next(build_loaders(cfg)[1].train.batches(0))[0]
    assert torch.equal(x[1], again)


def test_sequences_are_the_images_row_by_row(make_cfg, mnist):
    image, _ = everything(build_loaders(make_cfg("MNIST", val_fraction=0.25))[1].test)
    task, loaders = build_loaders(make_cfg("sMNIST", val_fraction=0.25))
    x, _ = everything(loaders.test)
    assert task.size == (784,) and loaders.state == {}
    assert torch.equal(x, image.flatten(2))


def test_permuted_pixels(make_cfg, mnist):
    plain = build_loaders(make_cfg("sMNIST", val_fraction=0.25))[1]
    permuted = build_loaders(make_cfg("sMNIST", permuted=True, val_fraction=0.25))[1]
    order = permuted.state["permutation"]
    assert order.tolist() == np.random.RandomState(0).permutation(784).tolist()
    assert order.sort().values.tolist() == list(range(784)) and order.dtype == torch.int64
    assert (order != torch.arange(784)).sum() > 700
    for split in ("train", "validation", "test"):
        x, x_permuted = (everything(getattr(set_, split))[0] for set_ in (plain, permuted))
        assert torch.equal(x_permuted, x[:, :, order])
    cfg = make_cfg("sMNIST", permuted=True, val_fraction=0.25)
    cfg.seed = 5
    assert torch.equal(build_loaders(cfg)[1].state["permutation"], order)


def test_a_checkpoints_permutation_is_used(make_cfg, mnist):
    cfg = make_cfg("sMNIST", permuted=True, val_fraction=0.25)
    reverse = torch.arange(783, -1, -1)
    loaders = build_loaders(cfg, state={"permutation": reverse})[1]
    plain = build_loaders(make_cfg("sMNIST", val_fraction=0.25))[1]
    assert torch.equal(loaders.state["permutation"], reverse)
    assert torch.equal(everything(loaders.test)[0], everything(plain.test)[0].flip(2))
    with pytest.raises(UsageError, match="permutation.*(100,)"):
        build_loaders(cfg, state={"permutation": torch.arange(100)})


def test_noise_padded_images(make_cfg, small_cifar, tmp_path):
    write_binary(tmp_path / "data/cifar-10-batches-bin", small_cifar)
    image, _ = everything(build_loaders(make_cfg("CIFAR10"))[1].test)
    cfg = make_cfg("sCIFAR10", noise_padded=True)
    task, loaders = build_loaders(cfg)
    noise = loaders.state["noise"]
    assert noise.shape == (96, 968) and abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02
    x, _ = everything(loaders.test)
    assert x.shape[1:] == (96, 1000) == (task.in_channels, *task.size)
    step, colour, column = 7, 2, 30
    assert torch.equal(x[:, colour * 32 + column, step], image[:, colour, step, column])
    assert torch.equal(x[:, :, 32:], noise.expand(20, -1, -1))
    again = build_loaders(cfg, state={"noise": noise + 1})[1]
    assert torch.equal(everything(again.test)[0][3, :, 32:], noise + 1)


def test_other_sampling_rates_for_training_and_test(make_cfg):
    plain = build_loaders(make_cfg("sDigits"))[1]
    task, loaders = build_loaders(make_cfg("sDigits", sr_train=2, sr_test=8))
    assert task.size == (32,)
    for split, n in (("train", 2), ("validation", 2), ("test", 8)):
        expected = everything(getattr(plain, split))[0][:, :, ::n]
        assert torch.equal(everything(getattr(loaders, split))[0], expected)


def test_described_and_loaded_sizes_agree(make_cfg):
    for fraction in (0.0, 0.1, 0.3):
        cfg = make_cfg("Digits", val_fraction=fraction)
        task, loaders = build_loaders(cfg)
        assert describe(cfg) == task and loaders.train.num_samples == task.train_samples
    assert Digits().held_out(cfg.dataset_params) == 180


@pytest.mark.real_data
def test_the_real_mnist_and_cifar10(make_cfg):
    for name, first_test_labels, mean in (
        ("MNIST", [7, 2, 1, 0, 4], 33.3184),
        ("CIFAR10", [3, 8, 8, 0, 6], 120.7076),
    ):
        cfg = make_cfg(name, root=os.environ["FLEXCONV_DATA"])
        task, loaders = build_loaders(cfg)
        sizes = [loader.num_samples for loader in (loaders.train, loaders.validation, loaders.test)]
        assert sizes[0] == task.train_samples and sizes[2] == 10_000
        assert sizes[:2] == ([54_000, 6_000] if name == "MNIST" else [45_000, 5_000])
        assert loaders.test.targets[:5].tolist() == first_test_labels
        stored = torch.cat([loaders.train.inputs, loaders.validation.inputs])
        assert abs(stored.float().mean() - mean) < 0.01
        counts = loaders.validation.targets.bincount()
        assert counts.max() - counts.min() < (160 if name == "MNIST" else 1)


# ----- what a checkpoint keeps of its data set ----------------------------------------------------

ORDER, STD = torch.tensor([2, 0, 1]), torch.tensor([0.5, 2.0])


def test_the_checkpoints_own_is_taken():
    assert fixed_tensor(None, "permutation", ORDER) is ORDER
    kept = {"permutation": torch.tensor([0, 1, 2]), "std": torch.tensor([1.0, 3.0])}
    for name, drawn in (("permutation", ORDER), ("std", STD)):
        assert torch.equal(fixed_tensor(kept, name, drawn), kept[name])


@pytest.mark.parametrize(
    "drawn, kept, reason",
    [
        (ORDER, torch.tensor([0, 1]), "another data set"),
        (ORDER, torch.tensor([0.0, 1.0, 2.0]), "another data set"),
        (ORDER, torch.tensor([0, 1, 3]), "damaged"),
        (ORDER, torch.tensor([0, 1, 1]), "damaged"),
        (STD, torch.tensor([1.0, torch.nan]), "damaged"),
        (STD, torch.tensor([1.0, torch.inf]), "damaged"),
        (STD, torch.tensor([1.0, 0.0]), "damaged"),
    ],
)
def test_what_cannot_be_of_a_run_is_refused(drawn, kept, reason):
    with pytest.raises(UsageError, match=f"the checkpoint's std.*{reason}"):
        fixed_tensor({"std": kept}, "std", drawn)
