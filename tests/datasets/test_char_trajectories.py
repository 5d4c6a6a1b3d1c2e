"""CharTrajectories from a small archive in the published layout."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from small_series import by_split, published_split

from ckconv.errors import UsageError
from datasets import build_loaders, char_trajectories, describe, series
from datasets.files.download import Remote

CASES = 200
HEADER = """# Characters written with a pen
@problemName CharacterTrajectories
@univariate false
@equalLength false
@classLabel true 1 2 3
@data
"""


def case(i: int) -> np.ndarray:
    length = 182 if i % 7 == 0 else 60 + i % 100
    steps = np.arange(length, dtype=np.float32)
    return np.stack([np.sin(steps * 0.05 * (c + 1) + i).round(3) for c in range(3)])


def ts_lines(indices) -> str:
    lines = [
        ":".join(",".join(str(v) for v in channel) for channel in case(i)) + f":{i % 20 + 1}"
        for i in indices
    ]
    return HEADER + "\n".join(lines) + "\n"


@pytest.fixture
def small(monkeypatch) -> None:
    monkeypatch.setattr(char_trajectories.CharTrajectories, "cases", CASES)


@pytest.fixture
def characters(tmp_path, monkeypatch, small) -> Path:
    """A zip of two .ts files with cases of unequal lengths."""
    archive = tmp_path / "remote/CharacterTrajectories.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("CharacterTrajectories_TRAIN.ts", ts_lines(range(80)))
        file.writestr("CharacterTrajectories_TEST.ts", ts_lines(range(80, CASES)))
        file.writestr("CharacterTrajectories.txt", "about the data")
    remote = Remote(archive.name, (archive.as_uri(),))
    monkeypatch.setattr(char_trajectories, "ARCHIVE", remote)
    return archive


def padded_cases() -> np.ndarray:
    return np.stack(
        [np.pad(case(i), ((0, 0), (0, 182 - case(i).shape[1])), mode="edge") for i in range(CASES)]
    ).astype(np.float64)


def test_char_trajectories(make_cfg, characters, tmp_path):
    cfg = make_cfg("CharTrajectories")
    task, loaders = build_loaders(cfg)
    assert task == describe(cfg) and task.train_samples == loaders.train.num_samples == 140
    targets = np.arange(CASES) % 20  # in the order in which the labels appear, 10 after 9
    split, whole = published_split(targets), padded_cases()
    mean = whole[split["train"]].mean((0, 1))
    std = whole[split["train"]].std((0, 1), ddof=1)
    for name, inputs in by_split(loaders).items():
        expected = (whole[split[name]] - mean) / (std + 1e-5)
        np.testing.assert_allclose(inputs.numpy(), expected, atol=1e-4, rtol=1e-4)
        assert getattr(loaders, name).targets.tolist() == targets[split[name]].tolist()
    found = sorted(path.name for path in (tmp_path / "data").rglob("*"))
    assert found == ["CharacterTrajectories", *sorted([*char_trajectories.FILES, "series.pt"])]


def test_char_trajectories_with_dropped_samples_at_two_rates(make_cfg, characters):
    cfg = make_cfg("CharTrajectories", drop_rate=50, sr_train=1, sr_test=2)
    task, loaders = build_loaders(cfg)
    x, _ = next(loaders.train.batches())
    assert x.shape[1:] == (4, 182) == (task.in_channels, *task.size)
    assert (x[:, 3].sum(1) == 91).all() and x.isfinite().all()
    assert not x[:, :3].abs().sum(1)[x[:, 3] == 0].any()
    assert (x[:, :3].abs().sum(1)[x[:, 3] == 1] > 0).all()  # all three channels go together
    assert next(loaders.test.batches())[0].shape[1:] == (4, 91)


def test_a_cache_that_cannot_be_written_is_done_without(
    make_cfg, characters, tmp_path, monkeypatch, capsys
):
    def full(*_):
        raise OSError("No space left on device")

    before = build_loaders(make_cfg("CharTrajectories"))[1]
    (tmp_path / "data/CharacterTrajectories/series.pt").unlink()
    monkeypatch.setattr(series.torch, "save", full)
    after = build_loaders(make_cfg("CharTrajectories"))[1]
    assert torch.equal(before.test.inputs, after.test.inputs)
    assert "series.pt could not be kept" in capsys.readouterr().err


def write_files(folder: Path, indices) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    half = len(indices) // 2
    for name, part in zip(char_trajectories.FILES, (indices[:half], indices[half:])):
        (folder / name).write_text(ts_lines(part))


def test_classes_are_numbered_as_the_header_names_them_then_as_they_appear(
    make_cfg, small, tmp_path
):
    folder = tmp_path / "data/CharacterTrajectories"
    write_files(folder, range(CASES))
    for name in char_trajectories.FILES:
        text = (
            (folder / name).read_text().replace("@classLabel true 1 2 3", "@ClassLabel true 7 20")
        )
        (folder / name).write_text(text)
    order = ["7", "20", *(str(n) for n in range(1, 20) if n != 7)]
    targets = np.array([order.index(str(i % 20 + 1)) for i in range(CASES)])
    loaders = build_loaders(make_cfg("CharTrajectories"))[1]
    for name, indices in published_split(targets).items():
        assert getattr(loaders, name).targets.tolist() == targets[indices].tolist()


def test_files_with_fewer_cases_are_taken_with_a_warning(make_cfg, small, tmp_path, capsys):
    cfg = make_cfg("CharTrajectories")
    folder = tmp_path / "data/CharacterTrajectories"
    write_files(folder, range(CASES))
    assert build_loaders(cfg)[0].train_samples == 140
    assert capsys.readouterr().err == ""
    write_files(folder, range(20, CASES))  # in place of the others: the cache is made again
    for _ in range(2):
        task, loaders = build_loaders(cfg)
        assert (task.train_samples, loaders.test.num_samples, task.size) == (125, 28, (182,))
        assert f"{folder} holds 180 of the archive's 200 cases" in capsys.readouterr().err
    write_files(folder, range(120))
    with pytest.raises(UsageError, match="120 cases of up to 182 steps and 20 classes"):
        build_loaders(cfg)


def test_a_truncated_zip_leaves_nothing_behind(make_cfg, characters, tmp_path):
    characters.write_bytes(characters.read_bytes()[:-200])
    with pytest.raises(UsageError, match="CharacterTrajectories.zip is damaged"):
        build_loaders(make_cfg("CharTrajectories"))
    assert [path.name for path in tmp_path.iterdir()] == ["remote"]


def test_an_archive_with_too_few_cases_leaves_nothing_behind(
    make_cfg, characters, tmp_path, monkeypatch
):
    monkeypatch.setattr(char_trajectories.CharTrajectories, "cases", CASES + 1)
    with pytest.raises(UsageError, match="200 cases of up to 182 steps and 20 classes.*201"):
        build_loaders(make_cfg("CharTrajectories"))
    assert [path.name for path in tmp_path.iterdir()] == ["remote"]


@pytest.mark.parametrize(
    "line, message",
    [
        ("1,2:3,4:5,x:1", "not a case of numbers"),
        ("1,2:3,4:5:1", "not a case"),
        ("1,?:3,4:5,6:1", "not a case"),
        ("1,nan:3,4:5,6:1", "missing"),
        ("1,2:3,4:5,6:", "missing"),
        ("justalabel", "missing"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    path = tmp_path / "bad.ts"
    path.write_text(HEADER + "1,2:3,4:5,6:1\n" + line + "\n")
    with pytest.raises(UsageError, match=rf"bad\.ts, line 8: .*{message}"):
        char_trajectories.read_ts(path)
    path.write_text(HEADER)
    with pytest.raises(UsageError, match="bad.ts.*no cases"):
        char_trajectories.read_ts(path)


@pytest.mark.real_data
def test_the_real_trajectories(make_cfg, tmp_path):
    """The whole archive, or the half whose labels can be had without it."""
    stored = Path(os.environ["FLEXCONV_DATA"]) / "CharacterTrajectories"
    if not stored.is_dir():
        pytest.skip("needs CharacterTrajectories under FLEXCONV_DATA")
    for name in char_trajectories.FILES:  # what is made of them is kept elsewhere
        shutil.copy(stored / name, tmp_path)
    (tmp_path / "data").mkdir()
    tmp_path.joinpath("data", "CharacterTrajectories").symlink_to(tmp_path)
    loaders = build_loaders(make_cfg("CharTrajectories"))[1]
    sizes = [loader.num_samples for loader in (loaders.train, loaders.validation, loaders.test)]
    assert sizes in ([2000, 429, 429], [1000, 214, 215])
    x, y = next(loaders.test.batches())
    assert x.shape[1:] == (3, 182) and abs(x.mean()) < 0.2 and 0.5 < x.std() < 1.5
    counts = loaders.train.targets.bincount()
    assert len(counts) == 20 and counts.max() < 2 * counts.min()


@pytest.mark.parametrize("rate", [1, 4])
def test_lengths_come_with_the_samples_they_belong_to(make_cfg, characters, rate):
    cfg = make_cfg("CharTrajectories", lengths=True, sr_train=rate, sr_test=rate)
    task, loaders = build_loaders(cfg)
    assert task.size == (-(-182 // rate),)
    cases = {}  # by their first steps, before the padding
    for split in (loaders.train, loaders.validation, loaders.test):
        for inputs, targets, lengths in split.batches():
            assert len(lengths) == len(inputs) == len(targets)
            for x, length in zip(inputs, lengths.tolist()):
                cases[tuple(x[:, :9].flatten().tolist())] = length
    assert sorted(cases.values()) == sorted(-(-case(i).shape[1] // rate) for i in range(CASES))
    inputs, targets, lengths = next(loaders.train.batches(epoch=3, start=1))
    for x, length in zip(inputs, lengths.tolist()):
        assert cases[tuple(x[:, :9].flatten().tolist())] == length


def test_only_char_trajectories_has_lengths(make_cfg):
    with pytest.raises(UsageError, match="dataset_params.lengths=True"):
        describe(make_cfg("sDigits", lengths=True))


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: data["targets"].fill_(3),
        lambda data: data["targets"].add_(20),
        lambda data: data["lengths"].zero_(),
        lambda data: data["series"].fill_(torch.nan),
        lambda data: data.pop("lengths"),
        lambda data: data.update(series=data["series"][:, :2]),
        lambda data: data.update(targets=data["targets"][:-1]),
    ],
)
def test_a_cache_with_other_content_is_refused(make_cfg, characters, tmp_path, harm):
    build_loaders(make_cfg("CharTrajectories"))
    path = tmp_path / "data/CharacterTrajectories/series.pt"
    data = torch.load(path, weights_only=True)
    harm(data)
    torch.save(data, path)
    with pytest.raises(UsageError, match=r"series\.pt is damaged .*remove it"):
        build_loaders(make_cfg("CharTrajectories"))
