"""Imagenet-k from image folders and from batch files that the tests make."""

from __future__ import annotations

from cfg.schema import Config

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_imagenet import MODES, pixels_of, raw, with_mode, write_batches, write_folders

from ckconv.errors import UsageError
from datasets import build_loaders, describe
from datasets.batches.loader import TensorLoader
from datasets.batches.stream import StreamLoader
from datasets.files import stored_images


@pytest.fixture
def cfg(make_cfg) -> Config:
    cfg = make_cfg("Imagenet8", workers=0)
    cfg.train.batch_size = 7
    return cfg


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.mark.parametrize("mode", MODES)
def test_every_image_meets_its_label(cfg, root, mode):
    write_folders(root)
    task, loaders = build_loaders(with_mode(cfg, mode))
    assert (task.size, task.in_channels, task.out_channels) == ((8, 8), 3, 3)
    assert task.train_samples == 54 and loaders.train.num_samples == 54
    assert loaders.validation.num_samples == 6 and loaders.test.num_samples == 15
    assert isinstance(loaders.train, TensorLoader)
    assert isinstance(loaders.train, StreamLoader) == (mode in ("streamed", "from_cache"))
    seen = 0
    for split, part, count in (
        ("train", "train", 20),
        ("validation", "train", 20),
        ("test", "val", 5),
    ):
        images = {
            pixels_of(part, label, number).tobytes(): label
            for label in range(3)
            for number in range(count)
        }
        for x, y in getattr(loaders, split).batches():
            assert x.dtype == torch.float32 and y.dtype == torch.int64
            assert [images.pop(image.tobytes()) for image in raw(x)] == y.tolist()
            seen += len(y)
    assert seen == 54 + 6 + 15


def test_all_modes_give_the_same_batches(cfg, root):
    write_folders(root)
    cfg.train.augment = "resnet"
    cfg.cross_res.resize = "6,6"
    epochs = {}
    for mode in MODES:
        cfg.dataset_params.in_ram = cfg.dataset_params.from_cache = False
        loader = build_loaders(with_mode(cfg, mode))[1].train
        epochs[mode] = [list(loader.batches(3)), list(loader.batches(3, start=5))]
    for mode in MODES:
        for batches, expected in zip(epochs[mode], epochs["streamed"]):
            assert len(batches) == len(expected) > 0
            for (x, y), (x_expected, y_expected) in zip(batches, expected):
                assert torch.equal(x, x_expected) and torch.equal(y, y_expected)
                assert x.shape[2:] == (6, 6)


def test_workers_read_the_same_and_leave_the_random_numbers_alone(cfg, root):
    write_folders(root)
    alone = list(build_loaders(cfg)[1].train.batches(1))
    cfg.dataset_params.workers = 2
    loader = build_loaders(cfg)[1].train
    before = torch.get_rng_state()
    together = list(loader.batches(1))
    next(loader.batches(2))  # an epoch that is abandoned ends its workers
    assert torch.equal(torch.get_rng_state(), before)
    for (x, y), (x_alone, y_alone) in zip(together, alone, strict=True):
        assert torch.equal(x, x_alone) and torch.equal(y, y_alone)


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_a_stream(cfg, root, world_size):
    write_folders(root)
    cfg.train.batch_size = 6
    alone = build_loaders(cfg)[1]
    ranks = [build_loaders(cfg, rank=r, world_size=world_size)[1] for r in range(world_size)]
    shared = [list(loaders.train.batches(1)) for loaders in ranks]
    for number, (x, _) in enumerate(alone.train.batches(1)):
        for rank, batches in enumerate(shared):
            assert torch.equal(batches[number][0], x[rank::world_size])
    labels = torch.cat([y for loaders in ranks for _, y in loaders.test.batches()])
    assert labels.sort().values.tolist() == [0] * 5 + [1] * 5 + [2] * 5


def test_jpegs_and_grey_images_are_read(cfg, root):
    folder = write_folders(root, extension="JPEG")
    Image.new("L", (8, 8), 77).save(folder / "val" / "n01" / "n01_000.JPEG")
    x, _ = next(build_loaders(cfg)[1].test.batches())
    assert abs(raw(x)[0].astype(int) - 77).max() <= 1


def test_the_cache_is_made_once_and_whole(cfg, root, capsys, monkeypatch):
    folder = write_folders(root)
    with_mode(cfg, "from_cache")
    build_loaders(cfg)
    assert "decoding the train images once" in capsys.readouterr().out
    assert sorted(path.name for path in (folder / "cache").iterdir()) == [
        "train.checksums.npy",
        "train.labels.npy",
        "train.made_of",
        "train.pixels",
        "val.checksums.npy",
        "val.labels.npy",
        "val.made_of",
        "val.pixels",
    ]
    assert (folder / "cache" / "train.pixels").stat().st_size == 60 * 3 * 64
    monkeypatch.setattr(stored_images, "read_image", None)  # no longer read
    x, _ = next(build_loaders(cfg)[1].train.batches())
    assert "decoding" not in capsys.readouterr().out and len(x) == 7
    (folder / "cache" / "train.pixels").write_bytes(b"short")
    with pytest.raises(UsageError, match="cache: this cache is damaged; remove it"):
        build_loaders(cfg)


def test_the_cache_is_made_again_of_other_files(cfg, root, capsys):
    folder = write_folders(root)
    build_loaders(with_mode(cfg, "from_cache"))
    (folder / "train" / "n01" / "n01_000.png").unlink()
    assert build_loaders(cfg)[0].train_samples == 53
    shutil.rmtree(folder)
    write_batches(folder)
    cfg.dataset_params.val_fraction = 0.0
    assert build_loaders(cfg)[0].train_samples == 40
    capsys.readouterr()
    build_loaders(cfg)
    assert "decoding" not in capsys.readouterr().out
    (folder / "train_data_batch_3").write_bytes((folder / "val_data").read_bytes() + b" ")
    build_loaders(cfg)
    assert "decoding the train images once" in capsys.readouterr().out


def test_the_cache_is_made_again_of_an_image_overwritten_in_place(cfg, root, capsys):
    """Its folder has not changed, nor has its own size."""
    image = write_folders(root) / "train" / "n01" / "n01_000.png"
    build_loaders(with_mode(cfg, "from_cache"))
    capsys.readouterr()
    image.write_bytes(image.read_bytes())
    os.utime(image, ns=(0, image.stat().st_mtime_ns + 1))
    build_loaders(cfg)
    assert "decoding the train images once" in capsys.readouterr().out


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("in_ram", [False, True])
@pytest.mark.parametrize(
    "file, harm",
    [
        ("train.pixels", lambda path: flip(path, 5000)),
        ("train.labels.npy", lambda path: flip(path, -100)),
        ("train.checksums.npy", lambda path: flip(path, -1)),
        ("train.labels.npy", lambda path: np.save(path, np.full(60, 3, np.int16))),
        ("train.labels.npy", lambda path: np.save(path, np.zeros(59, np.int16))),
        ("train.labels.npy", lambda path: np.save(path, np.zeros(60))),
        ("train.checksums.npy", lambda path: np.save(path, np.zeros((60, 2), np.uint32))),
        ("train.labels.npy", lambda path: path.write_bytes(b"no array")),
    ],
)
def test_changes_in_a_cache_are_noticed(cfg, root, file, harm, in_ram):
    """In a label, a pixel or a checksum; also where they are read image by image."""
    cache = write_folders(root) / "cache"
    build_loaders(with_mode(cfg, "from_cache"))
    harm(cache / file)
    cfg.dataset_params.in_ram = in_ram
    with pytest.raises(UsageError, match="cache.* is damaged.*remove .*to have it made again"):
        loaders = build_loaders(cfg)[1]
        for split in (loaders.train, loaders.validation):
            list(split.batches())


def test_a_cache_of_an_earlier_version_is_read(cfg, root, capsys):
    cache = write_folders(root) / "cache"
    build_loaders(with_mode(cfg, "from_cache"))
    (cache / "train.checksums.npy").unlink()
    capsys.readouterr()
    assert len(list(build_loaders(cfg)[1].train.batches())) == 8
    assert "decoding" not in capsys.readouterr().out


@pytest.mark.parametrize("place", ["Imagenet-k", "Imagenet8", "imagenet8"])
def test_the_root_may_be_the_data_sets_own_folder(cfg, root, place):
    """As the published commands have it; Imagenet-k stands for the resolution's own."""
    folder = write_folders(root)
    if place.islower():
        folder = folder.rename(root / place)
    cfg.dataset_params.root = str(root / place)
    assert build_loaders(cfg)[0].train_samples == 54
    shutil.rmtree(folder)
    with pytest.raises(UsageError, match=f"{root / 'Imagenet8' / 'train'}"):
        cfg.dataset_params.root = str(root / "Imagenet-k")
        build_loaders(cfg)


def test_a_cache_that_could_not_be_finished_is_not_left(cfg, root):
    folder = write_folders(root)
    (folder / "train" / "n03" / "n03_019.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match="n03_019.png: is not a readable image"):
        build_loaders(with_mode(cfg, "from_cache"))
    assert list((folder / "cache").iterdir()) == []


@pytest.mark.parametrize("place", ["Imagenet8", "imagenet8", "apart"])
@pytest.mark.parametrize("npz", [False, True])
@pytest.mark.parametrize("mode", ["streamed", "in_ram"])
def test_published_batch_files(cfg, root, place, npz, mode):
    if place == "apart":
        write_batches(root / "scratch", npz)
        for part in ("train", "val"):
            folder = root / f"Imagenet8_{part}{'_npz' if npz else ''}"
            folder.mkdir()
            for path in (root / "scratch").glob(f"{part}*"):
                path.rename(folder / path.name)
    else:
        write_batches(root / place, npz)
    cfg.dataset_params.val_fraction = 0.0
    task, loaders = build_loaders(with_mode(cfg, mode))
    assert task.out_channels == 1000 and task.train_samples == 40
    assert isinstance(loaders.train, StreamLoader) == (mode == "streamed")
    first = np.random.RandomState(0).randint(0, 256, (4, 3 * 64))
    images = np.concatenate([raw(x) for x, _ in loaders.train.batches()])
    kept = {image.transpose(2, 0, 1).tobytes() for image in images}
    assert len(kept) == 40 and {row.astype(np.uint8).tobytes() for row in first} <= kept
    assert torch.cat([y for _, y in loaders.test.batches()]).tolist() == [0, 1, 0, 1]


def test_mistakes_name_the_folder_or_file(cfg, root):
    assert describe(cfg).out_channels == 1000  # nothing is on disk yet, nothing is read
    with pytest.raises(UsageError, match="Imagenet8/train: does not exist; put a folder of images"):
        build_loaders(cfg)
    write_batches(root / "Imagenet8")
    (root / "Imagenet8" / "train_data_batch_7").unlink()
    with pytest.raises(UsageError, match="train_data_batch_7: is missing"):
        build_loaders(cfg)


def test_damaged_and_foreign_images_name_the_file(cfg, root):
    folder = write_folders(root)
    Image.new("RGB", (9, 8)).save(folder / "val" / "n02" / "n02_001.png")
    with pytest.raises(UsageError, match="n02_001.png: has 8 x 9 pixels"):
        list(build_loaders(cfg)[1].test.batches())
    cfg.dataset_params.workers = 1
    with pytest.raises(UsageError, match="^[^\n]*n02_001.png: has 8 x 9 pixels[^\n]*$"):
        list(build_loaders(cfg)[1].test.batches())
    (folder / "val" / "n04").mkdir()
    with pytest.raises(UsageError, match="val/n04: a class that the training images do not have"):
        build_loaders(cfg)
    cfg.dataset_params.workers = -1
    with pytest.raises(UsageError, match="dataset_params.workers=-1"):
        describe(cfg)


def test_imagenet_k_takes_its_resolution_from_the_flag(cfg, root):
    write_folders(root)
    cfg.dataset, cfg.cross_res.source_res = "Imagenet-k", 8
    assert describe(cfg).name == "Imagenet8"
    assert build_loaders(cfg)[0].train_samples == 54
    assert describe(cfg, size=(16, 16)).name == "Imagenet16"
    cfg.cross_res.source_res = 20
    with pytest.raises(UsageError, match="Imagenet-k at 20 pixels: there are 64, 32, 16 and 8"):
        describe(cfg)


PEAK = """
import resource, sys
sys.path.insert(0, {project!r})
from cfg.schema import Config
from datasets import build_loaders
cfg = Config(dataset="Imagenet64")
cfg.dataset_params.root, cfg.dataset_params.workers = {root!r}, 0
cfg.dataset_params.val_fraction = 0.0
cfg.train.batch_size = 64
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in build_loaders(cfg)[1].train.batches(): pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_streaming_does_not_gather_the_images(root):
    """2,000 images of 64 x 64, 25 MB as pixels and 98 MB as network inputs, in far less."""
    folder = root / "Imagenet64"
    for part, count in (("train", 2000), ("val", 1)):
        (folder / part / "n01").mkdir(parents=True)
        image = Image.new("RGB", (64, 64), (1, 2, 3))
        image.save(folder / part / "n01" / "0.png")
        for number in range(1, count):
            (folder / part / "n01" / f"{number}.png").hardlink_to(folder / part / "n01" / "0.png")
    project = str(Path(__file__).resolve().parents[2])
    program = PEAK.format(project=project, root=str(root))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 60
