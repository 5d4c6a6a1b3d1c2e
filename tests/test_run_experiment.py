"""run_experiment.py as it is used: whole runs, resumed runs, and thirty things typed wrong."""

from __future__ import annotations

import csv
import errno
import json
import os
import pickle
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import programs
import pytest
import torch
from small_runs import SMALL_NETWORK

import run_experiment
from training import network

pytestmark = pytest.mark.usefixtures("sketched")

ROOT = Path(__file__).resolve().parent.parent
SMALL = [
    *SMALL_NETWORK,
    "train.batch_size=128",
]


def run(monkeypatch, folder: Path | None, *flags: str) -> int:
    """Run the program in this process; returns its exit status."""
    place = [f"hydra.run.dir={folder}"] if folder else []
    monkeypatch.setattr(sys, "argv", ["run_experiment.py", *SMALL, *place, *flags])
    try:
        run_experiment.main()
    except SystemExit as end:
        return end.code
    return 0


def checkpoint(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def assert_same_weights(first: Path, second: Path) -> None:
    one, other = checkpoint(first)["model"], checkpoint(second)["model"]
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run of three epochs, and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    environment = {**os.environ, "WANDB_MODE": "offline"}
    flags = [*SMALL, "train.epochs=3", "net.dropout=0.1", f"hydra.run.dir={folder}"]
    done = programs.run("run_experiment.py", *flags, env=environment)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_a_run_leaves_its_files(finished):
    folder, _ = finished
    with open(folder / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[2]["train_loss"]) < float(rows[0]["train_loss"])
    assert rows[0]["kernel/stem/size_1"] in "13579" and float(rows[0]["mask/stem/sigma_0"]) > 0
    for picture in ("curves.png", "sizes.png", "kernels.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "finished" and result["test"]["targets"] == 360
    assert result["config"]["net"]["no_hidden"] == 4 and result["seed"] == 0
    assert result["best_epoch"] == checkpoint(folder / "best.pt")["progress"]["best_epoch"]
    accuracies = [float(row["validation_accuracy"]) for row in rows]
    assert result["best_result"] == max(accuracies)
    assert set(result["kernel_sizes"]) == {"stem", "blocks.0.conv1", "blocks.0.conv2"}
    assert "train.epochs=3" in result["command"] and result["packages"]["torch"]
    assert (folder / "kernels.png").read_bytes().startswith(b"\x89PNG")
    assert "no_hidden: 4" in (folder / "config.yaml").read_text()
    assert not list(folder.glob("*.part*")) and not (folder / "wandb").exists()


def test_a_run_prints_lines_and_a_table(finished):
    folder, done = finished
    lines = done.stdout.splitlines()
    assert sum(line.startswith("epoch ") for line in lines) == 3
    assert done.stderr == "" and "\r" not in done.stdout
    result = json.loads((folder / "result.json").read_text())
    table = "\n".join(lines[3:])
    right = round(result["test"]["accuracy"] * 360)
    assert f"({right} of 360)" in table and str(folder) in table
    assert f"{result['parameters']:,}" in table and "kernel of blocks.0.conv2" in table


def test_its_best_checkpoint_gives_the_same_test_result(finished, tmp_path, monkeypatch):
    folder, _ = finished
    weights = [f"pretrained_params.filepath={folder / 'best.pt'}", "pretrained=True"]
    assert run(monkeypatch, tmp_path / "test", *weights, "train.do=False") == 0
    results = [
        json.loads((path / "result.json").read_text()) for path in (folder, tmp_path / "test")
    ]
    assert results[0]["test"] == results[1]["test"]
    assert results[1]["epochs"] == 0 and results[1]["best_epoch"] is None


def test_resuming_by_folder_needs_no_other_flag(finished, tmp_path, monkeypatch, capsys):
    """A run stopped after one epoch goes on to the unbroken run's end, in its own folder."""
    folder, _ = finished
    part = tmp_path / "part"

    class Killed(Exception):
        pass

    from training.report.epochs import EpochLog

    def stop(self, progress):
        raise Killed

    flags = ["train.epochs=3", "net.dropout=0.1"]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(EpochLog, "epoch", stop)
        run(patch, part, *flags)
    assert checkpoint(part / "last.pt")["progress"]["epoch"] == 1
    monkeypatch.setattr(sys, "argv", ["run_experiment.py", f"train.resume={part}"])
    run_experiment.main()
    assert "resumed after epoch 1 of 3" in capsys.readouterr().out
    assert_same_weights(folder / "last.pt", part / "last.pt")
    assert_same_weights(folder / "best.pt", part / "best.pt")
    results = [json.loads((path / "result.json").read_text()) for path in (folder, part)]
    assert results[0]["test"] == results[1]["test"]
    assert len((part / "metrics.csv").read_text().splitlines()) == 4


def test_a_stopped_run_can_be_tested_as_it_is(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "part"
    assert run(monkeypatch, folder, "train.epochs=2", "train.max_batches=3", "train.ema=0.5") == 0
    test = json.loads((folder / "result.json").read_text())["test"]
    assert run(monkeypatch, folder, "train.resume=auto", "train.epochs=9", "train.do=False") == 0
    assert json.loads((folder / "result.json").read_text())["test"] == test


def test_auto_resumes_a_finished_run_or_starts_afresh(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "auto"
    flags = ["train.resume=auto", "train.epochs=2", "train.max_batches=2"]
    assert run(monkeypatch, folder, *flags) == 0
    first = (folder / "last.pt").read_bytes()
    assert "epoch 2/2" in capsys.readouterr().out
    assert run(monkeypatch, folder, *flags) == 0
    assert "epoch 2/2" not in capsys.readouterr().out
    assert (folder / "last.pt").read_bytes() == first


def test_the_summary_changes_nothing(tmp_path, monkeypatch, capsys):
    flags = ["train.epochs=1", "train.max_batches=2", "net.dropout=0.3"]
    assert run(monkeypatch, tmp_path / "a", *flags) == 0
    assert run(monkeypatch, tmp_path / "b", *flags, "summary=[2,1,16,16]") == 0
    assert "Total params" in capsys.readouterr().out
    assert_same_weights(tmp_path / "a" / "last.pt", tmp_path / "b" / "last.pt")


def test_wandb_goes_offline_without_an_account(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    folder = tmp_path / "wandb_run"
    flags = ["debug=False", "train.epochs=1", "train.max_batches=1"]
    assert run(monkeypatch, folder, *flags) == 0
    assert "W&B: no account on this machine; logging offline to" in capsys.readouterr().out
    assert list((folder / "wandb").glob("offline-run-*/run-*.wandb"))


def test_a_sweep_runs_every_job(tmp_path, monkeypatch, capsys):
    flags = ["seed=1,2", "train.epochs=1", "train.max_batches=1", f"hydra.sweep.dir={tmp_path}"]
    assert run(monkeypatch, None, *flags, "--multirun") == 0
    seeds = [json.loads((tmp_path / n / "result.json").read_text())["seed"] for n in "01"]
    assert seeds == [1, 2]


def test_help(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["run_experiment.py", "--help"])
    run_experiment.main()
    text = capsys.readouterr().out
    assert "train.lr=0.001" in text and "cifar10_flexnet7" in text


# ----- what can be typed wrong --------------------------------------------------------------------

WRONG = {
    "misspelt group": (["trian.epochs=3"], "did you mean train.epochs"),
    "misspelt flag": (["kernel.omega0=30.0"], "did you mean kernel.omega_0"),
    "flag without its group": (["lr=0.1"], "did you mean train.lr"),
    "invented flag": (["+train.optimiser=Adam"], "there is no such flag"),
    "word for a number": (["train.epochs=three"], "train.epochs=three: give a whole number"),
    "fraction for a whole number": (["train.epochs=1.5"], "give a whole number"),
    "number for a list": (["summary=3"], "give a list"),
    "word for a switch": (["train.do=maybe"], "give True or False"),
    "word for a group": (["kernel=SIREN"], "kernel.type="),
    "no value": (["train.epochs"], "write flag=value"),
    "broken list": (["net.block_width_factors=[1.0,"], "put quotes"),
    "unknown preset": (["+experiment=cifar10_flexnet"], "did you mean cifar10_flexnet"),
    "preset without plus": (["experiment=cifar10_flexnet7"], "write +experiment=cifar10_flexnet7"),
    "several values without --multirun": (["seed=1,2"], "--multirun"),
    "unknown option": (["--epochs", "3"], "flag=value"),
    "unknown data set": (["dataset=MNITS"], "did you mean MNIST"),
    "unknown network": (["net.type=FlexNett"], "did you mean FlexNet"),
    "unknown kernel": (["kernel.type=Sirene"], "kernel.type=Sirene: unknown"),
    "unknown convolution": (["conv.type=Flex"], "conv.type=Flex: unknown"),
    "even horizon": (["conv.horizon=32"], "31 or 33"),
    "unreadable horizon": (["conv.horizon=big"], "give an odd number, same or full"),
    "width factors that do not add up": (
        ["net.block_width_factors=[1.0,2]", "net.no_blocks=7"],
        "describes 2 blocks, but net.no_blocks=7",
    ),
    "sequence network on images": (["net.type=FlexTCN"], "net.type=FlexTCN"),
    "negative learning rate": (["train.lr=-0.1"], "train.lr=-0.1: give a number over 0"),
    "unknown schedule": (["train.scheduler=cosin"], "did you mean cosine"),
    "steps missing": (["train.scheduler=multistep"], "decay_steps"),
    "warm-up of a plateau": (
        ["train.scheduler=plateau", "train.scheduler_params.warmup_epochs=5"],
        "has no warm-up",
    ),
    "augmentation of another data set": (["train.augment=resnet"], "train.augment=resnet"),
    "unknown device": (["device=tpu"], "device=tpu: unknown"),
    "summary of another shape": (["summary=[64,3,32,32]"], "summary=[64, 3, 32, 32]"),
    "no checkpoint named": (["pretrained=True"], "give pretrained_params.filepath"),
    "checkpoint missing": (
        ["pretrained=True", "pretrained_params.filepath=/nowhere/x.pt"],
        "/nowhere/x.pt: does not exist",
    ),
    "W&B file without a name": (["pretrained_wandb=True"], "run_path=entity/project/run"),
    "two folders": (["train.resume=/nowhere"], "leave out hydra.run.dir"),
    "diverged": (["train.lr=1e30", "train.optimizer=SGD"], "training diverged"),
}


@pytest.mark.parametrize("flags, message", WRONG.values(), ids=WRONG.keys())
def test_one_message_for_one_mistake(tmp_path, monkeypatch, capsys, flags, message):
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, tmp_path / "run", *flags) == 1
    assert_one_sentence(capsys.readouterr().err, message)
    assert not (tmp_path / "run" / "result.json").exists()


def assert_one_sentence(stderr: str, message: str) -> None:
    assert stderr.startswith("error: ") and stderr.count("\n") == 1, stderr
    assert message in stderr


def test_resuming_from_nowhere(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, None, "train.resume=nowhere") == 1
    assert_one_sentence(capsys.readouterr().err, "train.resume=nowhere: there is no such folder")
    (tmp_path / "empty").mkdir()
    assert run(monkeypatch, None, "train.resume=empty") == 1
    assert_one_sentence(capsys.readouterr().err, "train.resume=empty: there is no last.pt")


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_data_that_are_not_there_or_damaged(tmp_path, monkeypatch, capsys, damage):
    def no_network(*args, **kwargs):
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    if damage == "damaged":
        for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3"):
            (folder / f"{name}-ubyte").write_bytes(b"damaged")
        (folder / "t10k-labels-idx1-ubyte").write_bytes(b"damaged")
    flags = ["dataset=MNIST", f"dataset_params.root={tmp_path}"]
    assert run(monkeypatch, tmp_path / "run", *flags) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: ") and str(folder) in message


def foreign(path: Path) -> None:
    torch.save({"linear": torch.nn.Linear(2, 2).state_dict(), "n": 3}, path)


def other_network(path: Path) -> None:
    torch.save({"model": torch.nn.Linear(2, 2).state_dict()}, path)


def carrying_code(path: Path) -> None:
    class Code:
        def __reduce__(self):
            return print, ("harm",)

    torch.save({"model": Code()}, path)


def truncated(path: Path) -> None:
    torch.save({"model": torch.nn.Linear(200, 200).state_dict()}, path)
    path.write_bytes(path.read_bytes()[:-1000])


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"model": 1}))


CHECKPOINTS = {
    foreign: "holds no network's weights",
    other_network: "does not fit the model",
    carrying_code: "could run code",
    truncated: "truncated or not a checkpoint",
    pickled: "not a checkpoint",
}


@pytest.mark.parametrize(
    "make, message", CHECKPOINTS.items(), ids=lambda x: getattr(x, "__name__", "")
)
@pytest.mark.parametrize("use", ["pretrained", "resume"])
def test_bad_checkpoints(tmp_path, monkeypatch, capsys, make, message, use):
    folder = tmp_path / "run"
    folder.mkdir()
    checkpoint = tmp_path / "kept.pt" if use == "pretrained" else folder / "last.pt"
    make(checkpoint)
    if use == "pretrained":
        flags = ["pretrained=True", f"pretrained_params.filepath={checkpoint}"]
    else:
        flags = ["train.resume=auto"]
        message = "nothing to resume" if make in (foreign, other_network) else message
    assert run(monkeypatch, folder, *flags) == 1
    captured = capsys.readouterr()
    assert_one_sentence(captured.err, message)
    assert "harm" not in captured.out


def test_a_resumed_run_with_another_flag_is_refused(finished, monkeypatch, capsys):
    folder, _ = finished
    assert run(monkeypatch, folder, "train.resume=auto", "kernel.no_hidden=9") == 1
    assert_one_sentence(capsys.readouterr().err, "kernel.no_hidden=9: the run that is resumed had")


def test_a_file_in_the_place_of_the_output_folder(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    assert run(monkeypatch, tmp_path / "file" / "run") == 1
    assert_one_sentence(capsys.readouterr().err, str(tmp_path / "file"))


@pytest.mark.parametrize(
    "number, words", [(errno.ENOSPC, "no space left"), (errno.EROFS, "read-only")]
)
def test_a_full_or_read_only_disk(tmp_path, monkeypatch, capsys, number, words):
    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    assert run(monkeypatch, tmp_path / "run", "train.epochs=1", "train.max_batches=1") == 1
    assert_one_sentence(capsys.readouterr().err, words)
    assert not list((tmp_path / "run").glob("*.part*"))


def test_an_interrupted_run_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    from training.report.epochs import EpochLog

    def interrupt(self, progress):
        raise KeyboardInterrupt

    monkeypatch.setattr(EpochLog, "epoch", interrupt)
    assert run(monkeypatch, tmp_path / "run", "train.max_batches=1") == 130
    assert_one_sentence(capsys.readouterr().err, f"train.resume={tmp_path / 'run'} continues it")


def test_a_fault_of_the_program_keeps_its_stack_trace(tmp_path, monkeypatch):
    def broken(cfg, task):
        raise RuntimeError("a fault")

    monkeypatch.setattr(network, "build_model", broken)
    with pytest.raises(RuntimeError, match="a fault"):
        run(monkeypatch, tmp_path / "run")


@pytest.mark.parametrize("flags", [["trian.epochs=3"], ["train.lr=0"]])
def test_from_the_shell(tmp_path, flags):
    """One line and a non-zero status, with no stack trace of Hydra's."""
    done = programs.run(ROOT / "run_experiment.py", *flags, cwd=tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert_one_sentence(done.stderr, flags[0].split("=")[1] if "lr" in flags[0] else "train.epochs")


# ----- SIGKILL ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_at_ten_random_moments_the_end_is_the_same(tmp_path):
    flags = [*SMALL, "train.epochs=60", "net.dropout=0.1", "train.ema=0.9", "train.resume=auto"]
    command = [sys.executable, str(ROOT / "run_experiment.py"), *flags]

    def start(folder):
        return subprocess.Popen(
            [*command, f"hydra.run.dir={folder}"],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    process = start(whole)
    begun = time.monotonic()
    while not (whole / "last.pt").exists() and process.poll() is None:
        time.sleep(0.02)
    first = time.monotonic() - begun
    assert process.wait(timeout=900) == 0, process.stderr.read()
    training = time.monotonic() - begun - first

    moments, kills = random.Random(0), 0
    for _ in range(10):
        process = start(broken)
        try:
            process.wait(
                timeout=first * moments.uniform(0.7, 1.1) + moments.random() * training / 15
            )
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
        else:
            break  # the machine has become faster since the unbroken run: this one has ended
    assert kills >= 3
    process = start(broken)
    assert process.wait(timeout=900) == 0, process.stderr.read()
    for name in ("last.pt", "best.pt"):
        assert_same_weights(whole / name, broken / name)
    results = [json.loads((path / "result.json").read_text()) for path in (whole, broken)]
    assert results[0]["test"] == results[1]["test"]
    rows = [(path / "metrics.csv").read_text().splitlines() for path in (whole, broken)]
    assert len(rows[0]) == len(rows[1]) == 61
