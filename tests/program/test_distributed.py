"""Two processes do what one does, and a run that is asked to leave goes on as if it had not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import together
import torch
from fakes import TASK, NullLog, make_config, make_loaders, make_model

from program import distributed, interruption
from program.interruption import EXIT_CODE, Interrupted
from training import checkpoints
from training.loop import fit

FOLDER = Path(__file__).resolve().parent


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def environment(rank: int, port: int) -> dict[str, str]:
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    names |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    return os.environ | {name: str(value) for name, value in names.items()}


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[dict]:
    """What each of two Gloo processes found."""
    folder, port = tmp_path_factory.mktemp("two"), free_port()
    command = [sys.executable, str(FOLDER / "together.py"), str(folder)]
    processes = [
        subprocess.Popen(command, env=environment(rank, port), stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("case", together.CASES)
def test_gradients_of_two_processes_are_those_of_one(two, case):
    """With a penalty on the kernels, whole and split batches, and with synchronized BatchNorm."""
    expected = together.one_step(**together.CASES[case])
    gradients = [value for name, value in expected.items() if name.startswith("gradient")]
    assert max(value.abs().max() for value in gradients) > 1e-2
    for found in two:
        assert found[case].keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[case][name], value, rtol=0, atol=1e-5, msg=name)


def test_both_processes_end_a_step_with_the_very_same_weights(two):
    for case in together.CASES:
        for name, value in two[0][case].items():
            assert torch.equal(value, two[1][case][name]), name


def test_networks_agree_on_a_size_that_their_first_batches_leave_open(two):
    """60 steps in one process, 100 in the other; copies made before have that size too."""
    first, second = (found["open sizes"] for found in two)
    for name in ("model", "average", "teacher"):
        assert set(first[f"sizes of {name}"].tolist()) == {100}
        assert torch.equal(first[f"output of {name}"], first["output of model"])
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_every_sample_is_counted_once(two):
    expected = together.results()
    for found in two:
        assert found["results"]["targets"] == 25
        assert found["results"]["accuracy"] == expected["accuracy"]
        assert found["results"]["loss"] == pytest.approx(expected["loss"], rel=1e-6)


def test_processes_agree(two):
    for found in two:
        assert found["sum"].tolist() == [2.0, 1.0]
        assert found["any"] == [True, False]
        assert found["agreed"] == "folder of 0"
        assert found["gathered"] == [0, 1]
        assert torch.equal(found["shared"], torch.ones(2, 2))
    assert sorted(found["speaks"] for found in two) == [False, True]


def test_one_process_needs_nobody():
    assert (distributed.rank(), distributed.world_size(), distributed.is_main()) == (0, 1, True)
    assert distributed.agreed("x") == "x" and distributed.gathered("x") == ["x"]
    assert distributed.is_first_to_speak() and not distributed.any_rank(False)


# ----- signals ------------------------------------------------------------------------------------


class Signalling:
    """A loader that sends this process a signal in the middle of an epoch."""

    def __init__(self, loader, epoch: int, batch: int, number: int) -> None:
        self.loader, self.moment, self.number = loader, (epoch, batch), number
        self.num_samples = loader.num_samples
        self.asked = []

    def __len__(self) -> int:
        return len(self.loader)

    def batches(self, epoch: int = 0, start: int = 0):
        self.asked.append((epoch, start))
        for number, batch in enumerate(self.loader.batches(epoch, start), start):
            if (epoch, number) == self.moment:
                signal.raise_signal(self.number)
            yield batch


def train(folder: Path, cfg, moment=None, number=signal.SIGTERM, saved=None, seed=0):
    folder.mkdir(exist_ok=True)
    loaders, model = make_loaders(), make_model(seed)
    loaders.train = Signalling(loaders.train, *(moment or (-1, -1)), number)
    progress = fit(model, loaders, TASK, cfg, folder, NullLog(), saved)
    return model.state_dict(), progress, loaders.train


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("moment", [(0, 0), (2, 3), (1, 6)])
def test_a_run_stopped_in_an_epoch_ends_as_the_unbroken_one(tmp_path, number, moment):
    """The same weights, random numbers and rows, from the batch that came next."""
    cfg = make_config(epochs=4, ema=0.9)
    whole, whole_progress, _ = train(tmp_path / "whole", cfg)
    handler = signal.getsignal(number)
    with pytest.raises(Interrupted) as stop:
        train(tmp_path / "broken", cfg, moment, number)
    assert (stop.value.code, stop.value.signal_name) == (EXIT_CODE, number.name)
    assert signal.getsignal(number) == handler

    saved = checkpoints.read(tmp_path / "broken" / "last.pt")
    assert saved["progress"]["part"]["steps"] == moment[1] + 1
    weights, progress, loader = train(tmp_path / "broken", cfg, saved=saved, seed=9)
    after = (moment[0], moment[1] + 1) if moment[1] < 6 else (moment[0] + 1, 0)  # 7 batches
    assert loader.asked[0] == after
    assert all(torch.equal(weights[name], whole[name]) for name in whole)
    ends = [checkpoints.read(tmp_path / kind / "last.pt") for kind in ("whole", "broken")]
    assert torch.equal(ends[0]["random"][0]["cpu"], ends[1]["random"][0]["cpu"])
    assert progress.part == {} and progress.best_epoch == whole_progress.best_epoch
    for one, other in zip(whole_progress.history, progress.history, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_stopping_after_a_best_epoch_leaves_its_weights(tmp_path):
    """`best.pt` is of the epoch it names, not of the one that was broken off."""
    cfg = make_config(epochs=4)
    with pytest.raises(Interrupted):
        train(tmp_path / "a", cfg, (1, 3))
    best = checkpoints.read(tmp_path / "a" / "best.pt")
    first = checkpoints.read(tmp_path / "a" / "last.pt")
    assert best["progress"]["epoch"] == 1 and first["progress"]["part"]["steps"] == 4
    assert not all(torch.equal(best["model"][k], first["model"][k]) for k in best["model"])


def test_an_earlier_handler_is_called_once_the_checkpoint_is_saved(tmp_path):
    """As submitit's, which requeues the job and may let the run go on."""
    seen = []

    def handler(number, frame):
        seen.append((tmp_path / "run" / "last.pt").exists())

    earlier = signal.signal(signal.SIGUSR2, handler)
    try:
        cfg = make_config(epochs=2)
        weights, progress, _ = train(tmp_path / "run", cfg, (0, 2), signal.SIGUSR2)
        assert signal.getsignal(signal.SIGUSR2) is handler
    finally:
        signal.signal(signal.SIGUSR2, earlier)
    whole, whole_progress, _ = train(tmp_path / "whole", cfg)
    assert seen == [True] and progress.epoch == 2
    assert all(torch.equal(weights[name], whole[name]) for name in whole)


def test_the_exit_code_says_try_again():
    assert EXIT_CODE == os.EX_TEMPFAIL and "SIGTERM" in interruption.SIGNALS
