"""SpeechCommands: one-second recordings of spoken words (Warden, 2018, version 0.02)."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ckconv.errors import UsageError
from datasets.base import Dataset, Request, Splits, sampled_length
from datasets.files.cache import Held, cached, check_held, fingerprint
from datasets.files.download import Remote, obtain, read_file, unpack_tar
from datasets.series import CHUNK, series_splits
from datasets.split import three_way_sizes
from datasets.task import Task

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
SAMPLE_RATE = 16_000
STEPS = 16_000  # of a clip that is used
COEFFICIENTS, FRAMES = 20, 161  # of the MFCCs
FEWEST_CLIPS = 7  # of a word, for three stratified splits
ARCHIVE = Remote(
    "speech_commands_v0.02.tar.gz",
    (
        "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
        "https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
    ),
    "sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
)


class SpeechCommands(Dataset):
    """Ten words, clips of exactly one second: 16,000 samples, or 20 MFCCs of 161 frames.

    The clips lie in `root`/SpeechCommands/speech_commands_v0.02, where torchaudio puts them. They
    are read once and kept as tensors beside that folder: raw.pt, mfcc.pt.
    """

    name = "SpeechCommands"
    flags = frozenset({"mfcc", "drop_rate", "sr_train", "sr_test"})
    clips = 34_975

    def describe(self, request: Request) -> Task:
        params = request.params
        if params.mfcc and params.drop_rate:
            raise UsageError(
                f"dataset_params.drop_rate={params.drop_rate}: samples are dropped from the raw "
                "signal only; set dataset_params.mfcc=False"
            )
        length = sampled_length(FRAMES if params.mfcc else STEPS, request.every)
        channels = COEFFICIENTS if params.mfcc else 1 + bool(params.drop_rate)
        trained = three_way_sizes(self.clips)[0]
        return Task(self.name, channels, len(WORDS), (length,), trained, class_names=WORDS)

    def splits(self, request: Request, state: dict[str, Tensor] | None) -> Splits:
        data, made_of = self._raw(request.root / "SpeechCommands")
        if not request.params.mfcc:
            return series_splits(request.params, data["series"], data["targets"], scale=2.0**-15)
        path = request.root / "SpeechCommands" / "mfcc.pt"
        data = cached(
            path, made_of, lambda: {**data, "series": mfcc(data["series"])}, self._check_mfcc
        )
        return series_splits(request.params, data["series"], data["targets"])

    def _raw(self, folder: Path) -> tuple[dict[str, Tensor], str | None]:
        """The clips, and the fingerprint of their recordings, None where only the cache is left."""
        path, wavs = folder / "raw.pt", folder / "speech_commands_v0.02"
        if not path.is_file():
            by_hand = f", or {ARCHIVE.filename} beside it"
            obtain(self.name, wavs, WORDS, [ARCHIVE], _unpack, by_hand)
        made_of = fingerprint(_recordings(wavs)) if wavs.is_dir() else None
        return cached(path, made_of, lambda: self._read(wavs), self._check), made_of

    def _check(self, data: dict[str, Tensor]) -> None:
        self._check_held(data, Held(torch.int16, (self.clips, 1, STEPS)))

    def _check_mfcc(self, data: dict[str, Tensor]) -> None:
        self._check_held(data, Held(torch.float32, (self.clips, COEFFICIENTS, FRAMES)))

    def _check_held(self, data: dict[str, Tensor], series: Held) -> None:
        """Raise `ValueError` for what are not the clips of the archive."""
        targets = Held(torch.int64, (self.clips,), 0, len(WORDS) - 1)
        check_held(data, series=series, targets=targets)
        fewest = data["targets"].bincount(minlength=len(WORDS)).min().item()
        if fewest < FEWEST_CLIPS:
            raise ValueError(f"{fewest} clips of the rarest word")

    def _read(self, folder: Path) -> dict[str, Tensor]:
        clips, targets = [], []
        for path in _recordings(folder):
            clip = read_wav(path)
            if len(clip) == STEPS:
                clips.append(clip)
                targets.append(WORDS.index(path.parent.name))
        if len(clips) != self.clips:
            raise UsageError(
                f"{folder} holds {len(clips)} clips of one second of the ten words, where "
                f"{self.clips} belong: remove the folder to have it downloaded again"
            )
        return {
            "series": torch.from_numpy(np.stack(clips))[:, None],  # (N, 1, 16000)
            "targets": torch.tensor(targets),
        }


def _recordings(folder: Path) -> list[Path]:
    """The recordings of the ten words, in the words' order."""
    return [path for word in WORDS for path in sorted((folder / word).glob("*.wav"))]


def read_wav(path: Path) -> NDArray:
    """The int16 samples of a recording with one channel at 16 kHz.

    Raises `UsageError` naming a file that is damaged or of another kind.
    """
    from scipy.io import wavfile

    try:
        rate, samples = wavfile.read(io.BytesIO(read_file(path)))
    except (ValueError, EOFError, struct.error) as error:
        raise UsageError(f"{path} is damaged: {error}") from error
    if rate != SAMPLE_RATE or samples.dtype != np.int16 or samples.ndim != 1:
        raise UsageError(f"{path} is not a recording of one channel, 16 bits and 16 kHz")
    return samples


def mfcc(clips: Tensor) -> Tensor:
    """Mel-frequency cepstral coefficients (N, 20, 161) of int16 clips (N, 1, 16000)."""
    from torchaudio.transforms import MFCC

    with warnings.catch_warnings():  # 64 mels of 101 frequencies leave some filters empty
        warnings.filterwarnings("ignore", "At least one mel filterbank")
        transform = MFCC(
            SAMPLE_RATE, COEFFICIENTS, log_mels=True, melkwargs={"n_fft": 200, "n_mels": 64}
        )
    parts = [transform(part[:, 0].float() * 2.0**-15) for part in clips.split(CHUNK)]
    return torch.cat(parts)


def _unpack(archives: Sequence[Path], into: Path) -> None:
    def wanted(path: PurePosixPath) -> bool:
        return path.parent.name in WORDS and path.suffix == ".wav"

    unpack_tar(archives[0], into, wanted)


DATASETS = (SpeechCommands(),)
