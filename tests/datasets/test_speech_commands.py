"""SpeechCommands from a small archive in the published layout."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import wavfile
from small_series import SPLITS, by_split, published_split
from torchaudio.transforms import MFCC

from ckconv.errors import UsageError
from datasets import build_loaders, describe, speech_commands
from datasets.files.download import Remote

PER_WORD = 10


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
    clips = folder / "speech_commands_v0.02"
    clips.rename(tmp_path / "elsewhere")  # what was made of them is enough
    assert torch.equal(first.test.inputs, build_loaders(make_cfg("SpeechCommands"))[1].test.inputs)
    (tmp_path / "elsewhere").rename(clips)
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
