"""Time series from small archives in the published layouts, dropping, and normalisation."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import wavfile
from sklearn.model_selection import train_test_split
from torchaudio.transforms import MFCC

from ckconv.errors import UsageError
from datasets import build_loaders, char_trajectories, describe, series, speech_commands
from datasets.files.download import Remote
from datasets.series import observed_steps, step_statistics

SPLITS = ("train", "validation", "test")
PER_WORD = 10


def by_split(loaders) -> dict[str, torch.Tensor]:
    return {split: getattr(loaders, split).inputs for split in SPLITS}


def published_split(targets: np.ndarray) -> dict[str, np.ndarray]:
    indices = np.arange(len(targets))
    train, rest = train_test_split(indices, train_size=0.7, random_state=0, stratify=targets)
    validation, test = train_test_split(
        rest, train_size=0.5, random_state=1, stratify=targets[rest]
    )
    return dict(zip(SPLITS, (train, validation, test)))


def clip(seed: int, length: int = 16_000) -> np.ndarray:
    """A recording whose samples have few values, so that it packs well."""
    tone = np.sin(np.arange(length) * (0.01 + 0.001 * seed))
    return np.round(tone * 20).astype(np.int16) * 1000 + seed


@pytest.fixture(scope="module")
def speech_archive(tmp_path_factory) -> Path:
    """Ten clips of each of the ten words, short clips among them, other words and noises."""
    path = tmp_path_factory.mktemp("speech") / "speech_commands_v0.02.tar.gz"
    files = {}
    for number, word in enumerate(speech_commands.WORDS):
        for i in range(PER_WORD):
            files[f"./{word}/{i:08x}_nohash_0.wav"] = clip(number * PER_WORD + i)
        files[f"./{word}/short_nohash_0.wav"] = clip(0, 12_000)
    files["./bed/00000000_nohash_0.wav"] = clip(0)
    files["./_background_noise_/noise.wav"] = clip(0, 50_000)
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, samples in files.items():
            buffer = io.BytesIO()
            wavfile.write(buffer, 16_000, samples)
            info = tarfile.TarInfo(name)
            info.size = buffer.getbuffer().nbytes
            buffer.seek(0)
            tar.addfile(info, buffer)
    return path


@pytest.fixture
def speech(speech_archive: Path, monkeypatch) -> None:
    monkeypatch.setattr(speech_commands.SpeechCommands, "clips", 10 * PER_WORD)
    remote = Remote(speech_archive.name, (speech_archive.as_uri(),))
    monkeypatch.setattr(speech_commands, "ARCHIVE", remote)


def test_speech_commands_are_one_second_of_ten_words(make_cfg, speech, tmp_path):
    cfg = make_cfg("SpeechCommands")
    task, loaders = build_loaders(cfg)
    assert task == describe(cfg) and task.train_samples == loaders.train.num_samples == 70
    raw = np.stack([clip(i) for i in range(100)])[:, None].astype(np.float64) / 2**15
    targets = np.repeat(np.arange(10), PER_WORD)
    split = published_split(targets)
    mean = raw[split["train"]].mean((0, 1))
    std = raw[split["train"]].std((0, 1), ddof=1)
    for name, inputs in by_split(loaders).items():
        expected = (raw[split[name]] - mean) / (std + 1e-5)
        np.testing.assert_allclose(inputs.numpy(), expected, atol=2e-4, rtol=1e-4)
        assert getattr(loaders, name).targets.tolist() == targets[split[name]].tolist()
    words = sorted(p.name for p in (tmp_path / "data/SpeechCommands").rglob("*") if p.is_dir())
    assert words == sorted([*speech_commands.WORDS, "speech_commands_v0.02"])


def test_speech_commands_are_read_once(make_cfg, speech, tmp_path, monkeypatch):
    first = build_loaders(make_cfg("SpeechCommands"))[1]
    folder = tmp_path / "data/SpeechCommands"
    assert sorted(path.name for path in folder.iterdir()) == ["raw.pt", "speech_commands_v0.02"]
    monkeypatch.setattr(speech_commands, "read_wav", None)  # would fail if called
    again = build_loaders(make_cfg("SpeechCommands"))[1]
    assert torch.equal(first.test.inputs, again.test.inputs)
    (folder / "raw.pt").write_bytes((folder / "raw.pt").read_bytes()[:5000])
    with pytest.raises(UsageError, match="raw.pt is damaged.*remove it"):
        build_loaders(make_cfg("SpeechCommands"))


@pytest.mark.filterwarnings("ignore:At least one mel filterbank")
def test_mfcc(make_cfg, speech):
    task, loaders = build_loaders(make_cfg("SpeechCommands", mfcc=True, sr_test=4))
    assert (task.in_channels, task.size) == (20, (161,))
    transform = MFCC(16_000, 20, log_mels=True, melkwargs={"n_fft": 200, "n_mels": 64})
    split = published_split(np.repeat(np.arange(10), PER_WORD))
    features = {
        name: transform(torch.stack([torch.from_numpy(clip(i)) / 2**15 for i in split[name]]))
        for name in SPLITS
    }
    mean, std = features["train"].mean((0, 1)), features["train"].std((0, 1))
    for name, inputs in by_split(loaders).items():
        expected = (features[name] - mean) / (std + 1e-5)
        torch.testing.assert_close(inputs, expected, atol=1e-3, rtol=1e-3)
    x, _ = next(loaders.test.batches())
    assert x.shape[1:] == (20, 41)


def test_dropped_samples_are_zero_and_marked(make_cfg, speech):
    task, loaders = build_loaders(make_cfg("SpeechCommands", drop_rate=30))
    assert task.in_channels == 2
    whole = build_loaders(make_cfg("SpeechCommands"))[1]
    x, _ = next(loaders.test.batches())
    mask = x[:, 1]
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert (mask.sum(1) == 11_200).all()
    assert not x[:, 0][mask == 0].any()
    assert not torch.equal(mask[0], mask[1])  # every clip loses its own samples
    again = next(build_loaders(make_cfg("SpeechCommands", drop_rate=30))[1].test.batches())[0]
    assert torch.equal(x, again)
    # what is observed is normalised by what was observed in training: close to the whole's
    plain, _ = next(whole.test.batches())
    assert (x[:, 0] - plain[:, 0])[mask == 1].abs().median() < 0.15


def test_speech_archives_that_are_incomplete_are_refused(make_cfg, speech, monkeypatch):
    monkeypatch.setattr(speech_commands.SpeechCommands, "clips", 101)
    with pytest.raises(UsageError, match="holds 100 clips.*101"):
        build_loaders(make_cfg("SpeechCommands"))


def test_damaged_recordings_are_named(tmp_path):
    path = tmp_path / "one.wav"
    wavfile.write(path, 16_000, clip(3))
    assert np.array_equal(speech_commands.read_wav(path), clip(3))
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(UsageError, match="one.wav is damaged"):
        speech_commands.read_wav(path)
    wavfile.write(path, 8_000, clip(3))
    with pytest.raises(UsageError, match="one.wav is not a recording"):
        speech_commands.read_wav(path)


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
def characters(tmp_path, monkeypatch) -> Path:
    """A zip of two .ts files with cases of unequal lengths."""
    archive = tmp_path / "remote/CharacterTrajectories.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("CharacterTrajectories_TRAIN.ts", ts_lines(range(80)))
        file.writestr("CharacterTrajectories_TEST.ts", ts_lines(range(80, CASES)))
        file.writestr("CharacterTrajectories.txt", "about the data")
    monkeypatch.setattr(char_trajectories.CharTrajectories, "cases", CASES)
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
    # classes are sorted as the labels' text is: 1, 10, 11, ..., 19, 2, 20, 3, ...
    order = sorted(str(label) for label in range(1, 21))
    targets = np.array([order.index(str(i % 20 + 1)) for i in range(CASES)])
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


def test_step_statistics_leave_out_what_was_dropped():
    x = torch.randn(700, 3, 5, dtype=torch.float64).float() * 3 + 2
    observed = observed_steps(700, 5, 40)
    assert (observed.sum(1) == 3).all()
    x.masked_fill_(~observed[:, None], torch.nan)
    mean, std = step_statistics(x)
    for step in range(5):
        values = x[observed[:, step], :, step]
        torch.testing.assert_close(mean[step], values.mean(), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(std[step], values.std(), atol=1e-5, rtol=1e-5)


def test_steps_that_nobody_observed_do_not_become_infinite():
    x = torch.full((4, 1, 2), torch.nan)
    x[:, :, 1] = torch.arange(4.0)[:, None]
    mean, std = step_statistics(x)
    assert mean.tolist() == [0.0, 1.5] and std[0] == 0 and std[1] > 1


def test_nothing_is_dropped_at_rate_zero():
    assert observed_steps(3, 10, 0) is None
    kept = observed_steps(50, 100, 99)
    assert (kept.sum(1) == 1).all() and torch.equal(kept, observed_steps(50, 100, 99))
