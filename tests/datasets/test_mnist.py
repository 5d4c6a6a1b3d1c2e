"""MNIST from IDX files: whole, packed, damaged, and from its mirrors."""

from __future__ import annotations

import gzip
import hashlib

import pytest
import torch
import torchvision
from small_images import everything, labels

from ckconv.errors import UsageError
from datasets import build_loaders


def test_mnist_reads_idx_files(make_cfg, mnist):
    task, loaders = build_loaders(make_cfg("MNIST", val_fraction=0.25))
    assert task.train_samples == loaders.train.num_samples == 30
    assert loaders.validation.num_samples == 10
    x, y = everything(loaders.test)
    expected = (torch.from_numpy(mnist["t10k"])[:, None].float() / 255 - 0.1307) / 0.3081
    assert torch.equal(x, expected) and y.tolist() == labels(20).tolist()
    held = everything(loaders.validation)
    assert sorted(held[1].tolist()) == list(range(10))  # stratified
    both = torch.cat([everything(loaders.train)[0], held[0]]).flatten(1)
    everyone = everything(build_loaders(make_cfg("MNIST", val_fraction=0.0))[1].train)
    assert torch.equal(both.unique(dim=0), everyone[0].flatten(1).unique(dim=0))


def test_the_held_out_samples_do_not_depend_on_the_seed(make_cfg, mnist):
    held = []
    for seed in (0, 1):
        cfg = make_cfg("MNIST", val_fraction=0.25)
        cfg.seed = seed
        held.append(everything(build_loaders(cfg)[1].validation)[0])
    assert torch.equal(*held)


def test_mnist_reads_compressed_files(make_cfg, mnist, tmp_path):
    before = everything(build_loaders(make_cfg("MNIST", val_fraction=0.0))[1].train)
    for path in (tmp_path / "data/MNIST/raw").iterdir():
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    after = everything(build_loaders(make_cfg("MNIST", val_fraction=0.0))[1].train)
    assert torch.equal(before[0], after[0])


@pytest.mark.parametrize("damage", ["cut", "longer", "magic", "label", "gone", "gzip"])
def test_damaged_mnist_names_the_file(make_cfg, mnist, tmp_path, damage):
    path = tmp_path / "data/MNIST/raw/train-labels-idx1-ubyte"
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "gzip":
        path.unlink()
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(content)[:-9])
    else:
        damaged = {
            "cut": content[:-1],
            "longer": content + b"\0",
            "magic": b"\1" + content[1:],
            "label": content[:-1] + b"\x0a",
        }
        path.write_bytes(damaged[damage])
    with pytest.raises(UsageError, match="train-labels-idx1-ubyte"):
        build_loaders(make_cfg("MNIST", val_fraction=0.0))


def test_mnist_is_downloaded_from_its_mirrors(make_cfg, mnist, tmp_path, monkeypatch):
    raw, mirror = tmp_path / "data/MNIST/raw", tmp_path / "mirror"
    before = everything(build_loaders(make_cfg("MNIST", val_fraction=0.0))[1].test)
    mirror.mkdir()
    resources = []
    for path in sorted(raw.iterdir()):
        packed = gzip.compress(path.read_bytes())
        (mirror / f"{path.name}.gz").write_bytes(packed)
        resources.append((f"{path.name}.gz", hashlib.md5(packed).hexdigest()))
        path.unlink()
    raw.rmdir()
    published = torchvision.datasets.MNIST
    monkeypatch.setattr(published, "mirrors", ["http://nowhere.invalid/", mirror.as_uri() + "/"])
    monkeypatch.setattr(published, "resources", resources)
    after = everything(build_loaders(make_cfg("MNIST", val_fraction=0.0))[1].test)
    assert torch.equal(before[0], after[0])
    assert sorted(path.name for path in raw.parent.iterdir()) == ["raw"]


def test_digits_are_distorted_and_erased_in_training_alone(make_cfg, mnist):
    cfg = make_cfg("MNIST", val_fraction=0.25)
    cfg.train.augment = "standard"
    loaders = build_loaders(cfg)[1]
    stages = [type(stage).__name__ for stage in loaders.train.pipeline.stages]
    assert stages == ["DigitDistortion", "Normalise", "RandomErasing"]
    assert [type(stage).__name__ for stage in loaders.test.pipeline.stages] == ["Normalise"]
    x, _ = next(loaders.train.batches())
    assert x.shape == (16, 1, 28, 28) and ((x == 0).sum((1, 2, 3)) >= 121).any()
