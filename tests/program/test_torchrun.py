"""run_experiment.py under torchrun: killed, stopped, resumed, and told what cannot be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from small_runs import SMALL_NETWORK

ROOT = Path(__file__).resolve().parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
FLAGS = [
    *SMALL_NETWORK,
    "net.dropout=0.1",
    "train.ema=0.9",
    "train.epochs=12",
    "train.resume=auto",
]
pytestmark = pytest.mark.slow


def start(folder: Path, *flags: str) -> subprocess.Popen:
    return subprocess.Popen(
        [*TORCHRUN, str(ROOT / "run_experiment.py"), *FLAGS, f"hydra.run.dir={folder}", *flags],
        cwd=folder.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> tuple[int, str, list[str]]:
    """Its exit status, what it printed, and its sentences about errors."""
    out, errors = process.communicate(timeout=300)
    said = [line for line in errors.splitlines() if line.startswith("error: ")]
    return process.returncode, out, said


def wait_for_epochs(folder: Path, count: int) -> None:
    rows = folder / "metrics.csv"
    for _ in range(3000):
        if rows.exists() and len(rows.read_text().splitlines()) > count:
            return
        time.sleep(0.1)
    raise TimeoutError("the run does not begin")


def workers(process: subprocess.Popen) -> list[int]:
    """The processes that torchrun started, by their numbers."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ranks = {}
    for child in children:
        variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        named = [v.partition(b"=")[2] for v in variables if v.startswith(b"RANK=")]
        if named:
            ranks[int(named[0])] = int(child)
    return [ranks[rank] for rank in sorted(ranks)]


def test_killed_and_stopped_the_end_is_the_same(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    status, printed, _ = finish(start(whole))
    assert status == 0 and printed.count("epoch 12/12") == 1

    process = start(broken)
    wait_for_epochs(broken, 2)
    os.kill(workers(process)[1], signal.SIGKILL)
    killed = time.monotonic()
    status, _, said = finish(process)
    assert status != 0 and time.monotonic() - killed < 60
    assert len(said) == 1 and "another process of this run has ended" in said[0]

    process = start(broken)
    wait_for_epochs(broken, 5)
    process.send_signal(signal.SIGTERM)  # what torchrun hands on to its processes
    status, _, said = finish(process)
    assert status != 0
    assert said == [f"error: stopped by SIGTERM; train.resume={broken} continues it"]

    process = start(broken)
    wait_for_epochs(broken, 7)
    os.kill(workers(process)[1], signal.SIGUSR1)  # to one of them alone
    status, _, said = finish(process)
    assert status != 0
    assert len(said) == 1 and said[0].endswith(f"train.resume={broken} continues it")
    saved = torch.load(broken / "last.pt", weights_only=True)
    assert len(saved["random"]) == 2 and saved["progress"]["part"]["steps"] > 0

    assert finish(start(broken))[0] == 0
    ends = [torch.load(folder / "last.pt", weights_only=True) for folder in (whole, broken)]
    for name, value in ends[0]["model"].items():
        assert torch.equal(value, ends[1]["model"][name]), name
    for one, other in zip(ends[0]["random"], ends[1]["random"], strict=True):
        assert torch.equal(one["cpu"], other["cpu"])
    results = [json.loads((folder / "result.json").read_text()) for folder in (whole, broken)]
    assert results[0]["test"] == results[1]["test"]
    assert results[0]["test"]["targets"] == 360 and results[0]["processes"] == 2
    assert results[0]["command"].startswith("torchrun --nnodes=1 --nproc_per_node=2 ")


@pytest.mark.parametrize(
    "flags, message",
    [
        (["train.batch_size=63"], "it is shared by 2 processes; give a multiple of 2"),
        (["train.epochs=few"], "train.epochs=few: give a whole number"),
        (["train.lr=1e30", "train.optimizer=SGD"], "training diverged"),
        (["seed=0,1", "--multirun"], "torchrun trains one network"),
    ],
)
def test_one_message_for_one_mistake(tmp_path, flags, message):
    status, printed, said = finish(start(tmp_path / "run", *flags))
    assert status != 0 and "test accuracy" not in printed
    assert len(said) == 1 and message in said[0]


def test_without_a_named_folder_all_processes_write_to_one(tmp_path):
    done = subprocess.run(
        [*TORCHRUN, str(ROOT / "run_experiment.py"), *FLAGS, "train.max_batches=1", "seed=-1"],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0
    assert len(list((tmp_path / "outputs").glob("*/*"))) == 1
