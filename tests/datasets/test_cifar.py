"""CIFAR-10 and CIFAR-100 from both versions of their files."""

from __future__ import annotations

import hashlib
import os
import pickle
import tarfile

import numpy as np
import pytest
import torch
import torchvision
from small_images import RANDOM, everything, labels, write_binary, write_pickles

from ckconv.errors import UsageError
from datasets import build_loaders
from datasets.cifar import CIFAR10


@pytest.mark.parametrize("layout", ["binary", "pickles"])
def test_cifar10_reads_both_versions(make_cfg, small_cifar, tmp_path, layout):
    root = tmp_path / "data"
    if layout == "binary":
        write_binary(root / "cifar-10-batches-bin", small_cifar)
    else:
        write_pickles(root / "cifar-10-batches-py", small_cifar)
    task, loaders = build_loaders(make_cfg("CIFAR10", val_fraction=0.0))
    assert task.train_samples == loaders.train.num_samples == 100 and loaders.validation is None
    x, y = everything(loaders.test)
    pixels = torch.from_numpy(small_cifar["test_batch"]).view(20, 3, 32, 32).float() / 255
    mean, std = torch.tensor(CIFAR10.mean), torch.tensor(CIFAR10.std)
    expected = (pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    torch.testing.assert_close(x, expected, atol=1e-6, rtol=1e-6)
    assert y.tolist() == labels(20).tolist()


def test_cifar10_is_downloaded_as_torchvision_does(make_cfg, small_cifar, tmp_path, monkeypatch):
    write_pickles(tmp_path / "made/cifar-10-batches-py", small_cifar)
    archive = tmp_path / "made/cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "made/cifar-10-batches-py", "cifar-10-batches-py")
    published = torchvision.datasets.CIFAR10
    monkeypatch.setattr(published, "url", archive.as_uri())
    with pytest.raises(UsageError, match="CIFAR10 is not in .*digest"):
        build_loaders(make_cfg("CIFAR10"))
    assert not (tmp_path / "data").exists()
    digest = hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(published, "tgz_md5", digest)
    _, loaders = build_loaders(make_cfg("CIFAR10"))
    assert loaders.train.num_samples == 90
    assert os.listdir(tmp_path / "data") == ["cifar-10-batches-py"]


def test_cifar100_reads_fine_labels(make_cfg, small_cifar, tmp_path):
    folder = tmp_path / "data/cifar-100-binary"
    folder.mkdir(parents=True)
    for name in ("train", "test"):
        coarse, fine = np.zeros((200, 1), np.uint8), labels(200, 100)[:, None]
        pixels = RANDOM.randint(0, 256, (200, 3072)).astype(np.uint8)
        (folder / f"{name}.bin").write_bytes(np.hstack([coarse, fine, pixels]).tobytes())
    task, loaders = build_loaders(make_cfg("CIFAR100", val_fraction=0.0))
    assert task.out_channels == 100
    assert everything(loaders.test)[1].tolist() == labels(200, 100).tolist()


@pytest.mark.parametrize("damage", ["cut", "label", "gone"])
def test_damaged_binary_cifar_names_the_file(make_cfg, small_cifar, tmp_path, damage):
    write_binary(tmp_path / "data/cifar-10-batches-bin", small_cifar)
    path = tmp_path / "data/cifar-10-batches-bin/data_batch_3.bin"
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"cut": content[:-100], "label": b"\xff" + content[1:]}[damage])
    with pytest.raises(UsageError, match=r"data_batch_3\.bin"):
        build_loaders(make_cfg("CIFAR10"))


class Harmful:
    """A pickle that would run code."""

    def __reduce__(self):
        return os.mkdir, ("harmed",)


@pytest.mark.parametrize("content", [b"", b"\x80\x02}q", pickle.dumps({"data": 1}), Harmful()])
def test_damaged_or_harmful_pickles_are_refused(
    make_cfg, small_cifar, tmp_path, monkeypatch, content
):
    monkeypatch.chdir(tmp_path)
    write_pickles(tmp_path / "data/cifar-10-batches-py", small_cifar)
    path = tmp_path / "data/cifar-10-batches-py/data_batch_1"
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
    with pytest.raises(UsageError, match="data_batch_1 is damaged"):
        build_loaders(make_cfg("CIFAR10"))
    assert not (tmp_path / "harmed").exists()
