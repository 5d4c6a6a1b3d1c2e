"""The SLURM script, with stand-ins for SLURM's two commands and real processes."""

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

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "experiments" / "slurm" / "train.sbatch"
FLAGS = ["debug=True", "device=cpu", "net.no_hidden=4", "net.no_blocks=1", "train.epochs=10"]
pytestmark = pytest.mark.slow

SRUN = '#!/bin/sh\nwhile [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n'
SCONTROL = '#!/bin/sh\nif [ "$1" = requeue ]; then echo "$2" >> requeued; else echo localhost; fi\n'


@pytest.fixture
def cluster(tmp_path):
    """The environment of a job of two processes on one node."""
    commands = tmp_path / "bin"
    commands.mkdir()
    torchrun = f'#!/bin/sh\nexec "{sys.executable}" -m torch.distributed.run "$@"\n'
    for name, text in {"srun": SRUN, "scontrol": SCONTROL, "torchrun": torchrun}.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    return os.environ | {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "17",
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_JOB_NUM_NODES": "1",
        "PROCESSES_PER_NODE": "2",
        "SLURM_CPUS_PER_TASK": "2",
        "PORT": "0",
        "PROGRAM": str(ROOT / "run_experiment.py"),
    }


def submit(cluster, folder, *flags):
    command = ["bash", str(SCRIPT), *FLAGS, *flags]
    return subprocess.Popen(command, cwd=folder, env=cluster, stderr=subprocess.PIPE, text=True)


def test_a_job_that_is_told_to_leave_is_requeued_and_ends_the_same(cluster, tmp_path):
    job = submit(cluster, tmp_path)
    run = tmp_path / "outputs" / "slurm-17"
    for _ in range(3000):
        if (run / "metrics.csv").exists():
            break
        time.sleep(0.1)
    job.send_signal(signal.SIGUSR1)  # SLURM's warning, to the script alone
    _, errors = job.communicate(timeout=200)
    assert job.returncode == 0 and (tmp_path / "requeued").read_text() == "17\n"
    assert f"stopped by SIGTERM; train.resume={run} continues it" in errors
    assert not (run / "result.json").exists()

    again = cluster | {"SLURM_RESTART_COUNT": "1"}
    assert submit(again, tmp_path).wait(timeout=300) == 0
    (tmp_path / "whole").mkdir()
    assert submit(cluster, tmp_path / "whole").wait(timeout=300) == 0
    whole = tmp_path / "whole" / "outputs" / "slurm-17"
    ends = [torch.load(path / "last.pt", weights_only=True)["model"] for path in (run, whole)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    results = [json.loads((path / "result.json").read_text()) for path in (run, whole)]
    assert results[0]["test"] == results[1]["test"]


def test_a_job_that_fails_is_not_requeued(cluster, tmp_path):
    job = submit(cluster, tmp_path, "train.lr=-1")
    _, errors = job.communicate(timeout=200)
    assert job.returncode != 0 and not (tmp_path / "requeued").exists()
    assert errors.count("error: train.lr=-1.0: give a number over 0") == 1
