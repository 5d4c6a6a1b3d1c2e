"""Images of one's own, in a folder per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ckconv.errors import UsageError
from datasets import build_loaders, describe
from datasets.own import image_folder


def write_images(
    folder: Path, count: int, size=(6, 8), colour: bool = False, seed: int = 0
) -> None:
    """`count` images of each class; cats are dark, dogs are bright."""
    random = np.random.RandomState(seed)
    for name, low in (("cat", 0), ("dog", 150)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            shape = (*size, 3) if colour else size
            pixels = random.randint(low, low + 100, shape).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")


@pytest.fixture
def cfg(make_cfg):
    cfg = make_cfg("ImageFolder")
    cfg.dataset_params.workers = 0
    return cfg


def root(cfg) -> Path:
    return Path(cfg.dataset_params.root)


def test_a_folder_per_class_is_split_and_normalised(cfg):
    write_images(root(cfg), 40)
    (root(cfg) / "cat" / "notes.txt").write_text("no image")
    task, loaders = build_loaders(cfg)
    assert task.class_names == ("cat", "dog")
    assert (task.in_channels, task.out_channels, task.size) == (1, 2, (6, 8))
    counts = [part.num_samples for part in (loaders.train, loaders.validation, loaders.test)]
    assert counts == [61, 7, 12] and task.train_samples == 61 == describe(cfg).train_samples
    x = torch.cat([x for part in (loaders.train, loaders.validation) for x, _ in part.batches()])
    assert abs(x[:68].mean()) < 0.05 and abs(x[:68].std() - 1) < 0.05
    for inputs, targets in loaders.test.batches():
        assert ((inputs.mean((1, 2, 3)) > 0).long() == targets).all()


def test_folders_for_parts_are_kept_apart(cfg):
    write_images(root(cfg) / "train", 20, colour=True)
    write_images(root(cfg) / "val", 5, colour=True)
    task, loaders = build_loaders(cfg)  # val/ is the test set
    assert task.in_channels == 3
    assert (loaders.train.num_samples, loaders.validation.num_samples) == (36, 4)
    assert loaders.test.num_samples == 10
    write_images(root(cfg) / "test", 3, colour=True)
    task, loaders = build_loaders(cfg)
    assert (loaders.train.num_samples, loaders.validation.num_samples) == (40, 10)
    assert loaders.test.num_samples == 6
    mean = torch.stack([x.mean() for x, _ in loaders.train.batches()]).mean()
    assert abs(mean) < 0.05


def test_images_that_do_not_fit_in_memory_are_the_same(cfg, monkeypatch):
    write_images(root(cfg), 20)
    expected = [x for x, _ in build_loaders(cfg)[1].train.batches(3)]
    monkeypatch.setattr(image_folder, "MOST_IN_MEMORY", 0)
    loaders = build_loaders(cfg)[1]
    assert loaders.train.inputs.ndim == 1  # indices of files
    for streamed, kept in zip(loaders.train.batches(3), expected):
        torch.testing.assert_close(streamed[0], kept)
    assert len(list(root(cfg).glob("statistics-*.pt"))) == 1
    monkeypatch.setattr(image_folder, "channel_statistics", None)  # measured once
    build_loaders(cfg)


def test_a_checkpoint_brings_its_normalisation(cfg):
    write_images(root(cfg), 20)
    loaders = build_loaders(cfg)[1]
    assert set(loaders.state) == {"mean", "std"}
    state = {"mean": torch.tensor([0.5]), "std": torch.tensor([0.1])}
    other = build_loaders(cfg, state=state)[1]
    for (x, _), (z, _) in zip(loaders.test.batches(), other.test.batches()):
        pixels = x * loaders.state["std"] + loaders.state["mean"]
        torch.testing.assert_close(z, (pixels - 0.5) / 0.1, rtol=1e-4, atol=1e-4)


def test_size_is_asked_for_or_common(cfg):
    write_images(root(cfg), 10)
    write_images(root(cfg) / "more", 0)
    Image.fromarray(np.zeros((7, 8), np.uint8)).save(root(cfg) / "dog" / "odd.png")
    with pytest.raises(
        UsageError, match=r"odd.png: has 7 x 8 pixels, where .* has 6 x 8; give one"
    ):
        describe(cfg)
    cfg.dataset_params.resize = "12x10"
    assert describe(cfg).size == (12, 10)
    cfg.cross_res.resize = "4,4"
    assert describe(cfg).size == (4, 4)
    cfg.dataset_params.resize = "12"
    with pytest.raises(UsageError, match="dataset_params.resize=12: give a height and a width"):
        describe(cfg)


def test_what_is_wrong_is_said(cfg):
    with pytest.raises(UsageError, match="there is no such folder"):
        describe(cfg)
    root(cfg).mkdir()
    with pytest.raises(UsageError, match="holds no images in folders of classes"):
        describe(cfg)
    write_images(root(cfg) / "train", 3)
    write_images(root(cfg) / "test", 1)
    (root(cfg) / "test" / "bird").mkdir()
    with pytest.raises(UsageError, match="bird: a class that the training images do not have"):
        describe(cfg)
    (root(cfg) / "test" / "bird").rmdir()
    with pytest.raises(UsageError, match="6 samples are too few to hold out 1"):
        describe(cfg)
    cfg.dataset_params.val_fraction = 0.0
    assert describe(cfg).train_samples == 6
    cfg.dataset_params.root = ""
    with pytest.raises(UsageError, match="dataset=ImageFolder: give the data"):
        describe(cfg)


def test_images_of_one_class_alone_are_refused(cfg):
    write_images(root(cfg), 4)
    for path in (root(cfg) / "cat").iterdir():
        path.unlink()
    with pytest.raises(UsageError, match="holds images of dog alone; give folders of at least two"):
        describe(cfg)


def test_augmentation_is_for_training_alone(cfg):
    write_images(root(cfg), 20)
    plain = build_loaders(cfg)[1]
    cfg.train.augment = "resnet"
    cfg.dataset_params.transforms = ["RandomVerticalFlip"]
    augmented = build_loaders(cfg)[1]
    for part, same in (("train", False), ("validation", True), ("test", True)):
        pairs = zip(getattr(plain, part).batches(), getattr(augmented, part).batches())
        assert all(torch.equal(a[0], b[0]) == same for a, b in pairs)
