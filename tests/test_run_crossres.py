"""run_crossres.py as it is used: whole runs, runs that were stopped in any stage, refusals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import programs
import pytest
import torch
from PIL import Image
from small_runs import SMALL_NETWORK

import run_crossres
import run_experiment
from datasets import build_loaders, describe
from models import build_model, set_resolution
from program.command_line import compose
from program.device import seed_everything
from training import epoch
from training.crossres import stages
from training.crossres.check import check, source_task
from training.evaluation import evaluate
from training.validate import validate

pytestmark = pytest.mark.usefixtures("sketched")

ROOT = Path(__file__).resolve().parent.parent
SMALL = [
    *SMALL_NETWORK,
    "net.dropout=0.1",
    "kernel.no_layers=2",
    "train.batch_size=32",
    "train.max_batches=2",
    "train.epochs=2",
    "cross_res.finetune_epochs=2",
    "cross_res.source_res=8",
    "cross_res.target_res=16",
]
STAGES = ("source", "as_is", "fine_tuned")


@pytest.fixture
def no_pictures(monkeypatch):
    monkeypatch.setattr(run_crossres, "save_spectra", lambda *_: None)
    monkeypatch.setattr(run_crossres, "save_kernels", lambda *_: None)


def run(monkeypatch, folder: Path, *flags: str) -> int:
    """Run the program in this process; returns its exit status."""
    given = {flag.split("=")[0] for flag in flags}
    kept = [flag for flag in SMALL if flag.split("=")[0] not in given]
    command = ["run_crossres.py", *kept, f"hydra.run.dir={folder}", *flags]
    monkeypatch.setattr(sys, "argv", command)
    try:
        run_crossres.main()
    except SystemExit as end:
        return end.code
    return 0


def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def outcome(folder: Path) -> dict:
    """What must not depend on whether a run was stopped, and when."""
    values = result(folder)
    stages = {name: dict(values[name]) for name in STAGES}
    for stage in stages.values():
        del stage["seconds_in_epochs"]
    return stages | {"difference": values["difference"]}


def table(text: str) -> list[str]:
    """The rows of the final table, but the one with the folder."""
    lines = text.split("\n---")[1].splitlines()[1:]
    return [line for line in lines if not line.startswith("files")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run that was never stopped, and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    done = programs.run("run_crossres.py", *SMALL, f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_the_table_and_the_files(finished):
    folder, output = finished
    values = result(folder)
    source, as_is, tuned = (values[name] for name in STAGES)
    assert values["difference"] == pytest.approx(as_is["accuracy"] - source["accuracy"])
    rows = dict(line.split("  ", 1) for line in table(output))
    assert rows["dataset"].strip() == "Digits, 8×8 to 16×16"
    for label, stage in (("at 8×8", source), ("at 16×16, as is", as_is)):
        right = round(360 * stage["accuracy"])
        text = f"{100 * stage['accuracy']:.2f} % ({right} of 360)"
        assert rows[f"{label}: test accuracy"].strip() == text
    assert f"{100 * tuned['accuracy']:.2f} %" in rows["at 16×16, fine-tuned: test accuracy"]
    points = f"{100 * values['difference']:+.2f} points".replace("-", "−")
    assert rows["difference in accuracy"].strip() == points
    assert source["epochs"] == tuned["epochs"] == 2 and as_is["epochs"] == 0
    for name in ("metrics.csv", "last.pt", "spectra.png", "kernels.png", "fine_tuning/metrics.csv"):
        assert (folder / name).exists(), name


def test_as_is_is_the_trained_network_sampled_more_finely(finished):
    folder, _ = finished
    cfg = compose([*SMALL])
    source, target = (8, 8), (16, 16)
    task = describe(cfg, size=source)
    model = build_model(cfg, task)
    best = torch.load(folder / "best.pt", weights_only=True)["model"]
    model.load_state_dict(best)
    at_8 = evaluate(model, build_loaders(cfg, size=source)[1].test, task)
    weights = {name: value.clone() for name, value in model.named_parameters()}
    set_resolution(model, 2.0)
    at_16 = evaluate(model, build_loaders(cfg, size=target)[1].test, task)
    values = result(folder)
    for own, recorded in ((at_8, values["source"]), (at_16, values["as_is"])):
        assert own["accuracy"] == recorded["accuracy"]
        assert own["loss"] == pytest.approx(recorded["loss"], rel=1e-6)
    assert all(torch.equal(value, weights[name]) for name, value in model.named_parameters())
    sizes = [layer.kernel_size for layer in (model.stem, model.blocks[0].conv1)]
    assert sizes == [(17, 17)] * 2  # horizon same: 9 samples at 8 pixels


class Stop(BaseException):
    """As good as a kill: nothing in the program catches it."""


def stop_at(monkeypatch, module, name: str, call: int) -> None:
    """Stop the program when `module.name` is called for the `call`-th time."""
    original, calls = getattr(module, name), []

    def stopping(*args, **kwargs):
        calls.append(name)
        if len(calls) == call:
            raise Stop
        return original(*args, **kwargs)

    monkeypatch.setattr(module, name, stopping)


@pytest.mark.parametrize(
    ("module", "name", "call"),
    [
        (epoch, "train_epoch", 1),  # the first epoch at the source resolution
        (epoch, "train_epoch", 2),
        (stages, "evaluate", 1),  # the test at the source resolution
        (stages, "evaluate", 2),  # the test as is
        (epoch, "train_epoch", 3),  # the first epoch of fine-tuning
        (epoch, "train_epoch", 4),
        (stages, "evaluate", 3),  # the test after fine-tuning
        (run_crossres, "result", 1),  # everything done but the result written
    ],
)
def test_a_run_stopped_in_any_stage_ends_the_same(
    module, name, call, finished, tmp_path, monkeypatch, capsys, no_pictures
):
    whole, output = finished
    with monkeypatch.context() as patch:
        stop_at(patch, module, name, call)
        with pytest.raises(Stop):
            run(patch, tmp_path)
    assert not (tmp_path / "result.json").exists()
    capsys.readouterr()
    assert run(monkeypatch, tmp_path, f"train.resume={tmp_path}") == 0
    assert outcome(tmp_path) == outcome(whole)
    assert table(capsys.readouterr().out) == table(output)


def test_done_stages_are_not_done_again(finished, tmp_path, monkeypatch, no_pictures):
    with monkeypatch.context() as patch:
        stop_at(patch, stages, "evaluate", 3)
        with pytest.raises(Stop):
            run(patch, tmp_path)
    trained, tested = [], []
    train_epoch, test = epoch.train_epoch, stages.evaluate
    monkeypatch.setattr(epoch, "train_epoch", lambda *a: trained.append(1) or train_epoch(*a))
    monkeypatch.setattr(stages, "evaluate", lambda *a, **k: tested.append(1) or test(*a, **k))
    assert run(monkeypatch, tmp_path, f"train.resume={tmp_path}") == 0
    assert not trained and len(tested) == 1


def test_a_longer_training_makes_the_later_stages_anew(
    finished, tmp_path, monkeypatch, no_pictures
):
    best_last = ("train.lr=0.03", "seed=1")  # in which later epochs are better than the first two
    assert run(monkeypatch, tmp_path, *best_last) == 0
    before = outcome(tmp_path)
    longer = (*best_last, "train.epochs=4", f"train.resume={tmp_path}")
    assert run(monkeypatch, tmp_path, *longer) == 0
    after = outcome(tmp_path)
    assert after["source"]["epochs"] == 4 and after["fine_tuned"]["epochs"] == 2
    assert all(after[name]["loss"] != before[name]["loss"] for name in STAGES)


def test_a_new_run_in_an_old_folder_takes_nothing_over(
    finished, tmp_path, monkeypatch, no_pictures
):
    whole, _ = finished
    assert run(monkeypatch, tmp_path, "seed=5") == 0
    before = outcome(tmp_path)
    assert before != outcome(whole)
    assert run(monkeypatch, tmp_path) == 1  # refused: the folder holds another run
    assert outcome(tmp_path) == before


@pytest.mark.parametrize(
    "stage, file", [("source", "best.pt"), ("fine_tuned", "fine_tuning/best.pt")]
)
def test_its_networks_in_run_experiment(finished, stage, file, tmp_path, monkeypatch):
    monkeypatch.setattr(run_experiment, "save_kernels", lambda *_: None)
    start = ["pretrained=True", f"pretrained_params.filepath={finished[0] / file}"]
    flags = [*start, "train.do=False", "debug=True", "device=cpu", f"hydra.run.dir={tmp_path}"]
    monkeypatch.setattr(sys, "argv", ["run_experiment.py", *flags])
    run_experiment.main()
    own, expected = result(tmp_path)["test"], result(finished[0])[stage]
    assert own["accuracy"] == expected["accuracy"]
    assert own["loss"] == pytest.approx(expected["loss"], rel=1e-6)


def test_a_pretrained_network_skips_the_training(finished, tmp_path, monkeypatch, no_pictures):
    whole, _ = finished
    flags = ("pretrained=True", f"pretrained_params.filepath={whole / 'best.pt'}")
    with monkeypatch.context() as patch:
        stop_at(patch, epoch, "train_epoch", 2)
        with pytest.raises(Stop):
            run(patch, tmp_path / "a", "train.epochs=0", *flags)
    resumed = ("train.epochs=0", f"train.resume={tmp_path / 'a'}")
    assert run(monkeypatch, tmp_path / "a", *resumed) == 0
    own, expected = outcome(tmp_path / "a"), outcome(whole)
    assert own["source"]["epochs"] == 0
    for name in ("source", "as_is"):
        assert own[name]["accuracy"] == expected[name]["accuracy"]
    assert own["fine_tuned"]["loss"] == expected["fine_tuned"]["loss"]
    assert run(monkeypatch, tmp_path / "b", "train.do=False", *flags) == 0
    only_tested = result(tmp_path / "b")
    assert only_tested["as_is"]["accuracy"] == expected["as_is"]["accuracy"]
    assert "fine_tuned" not in only_tested


def test_down_without_fine_tuning(tmp_path, monkeypatch, no_pictures):
    flags = ("cross_res.target_res=4", "cross_res.finetune_epochs=0", "mask.init_value=0.5")
    assert run(monkeypatch, tmp_path, *flags) == 0
    values = result(tmp_path)
    assert "fine_tuned" not in values and values["target_res"] == 4
    assert max(max(size) for size in values["source"]["kernel_sizes"].values()) > 5
    assert max(max(size) for size in values["as_is"]["kernel_sizes"].values()) <= 5


@pytest.mark.parametrize(
    "flags",
    [
        ("conv.type=Conv", "conv.horizon=3"),
        ("conv.type=SRF",),
        ("conv.type=SRF", "kernel.srf.scale=2.0"),
        ("conv.type=CKConv", "kernel.type=SIREN", "conv.horizon=9"),
        ("net.type=CIFARResNet20",),
        ("kernel.regularize=True", "kernel.regularize_params.factor=0.1", "train.ema=0.9"),
    ],
    ids=lambda flags: flags[0].split("=")[1] + str(len(flags)),
)
def test_all_kinds_of_networks(flags, tmp_path, monkeypatch, no_pictures):
    quick = ("train.epochs=1", "cross_res.finetune_epochs=1", "train.max_batches=2")
    assert run(monkeypatch, tmp_path, *flags, *quick) == 0
    values = result(tmp_path)
    assert 0 <= values["as_is"]["accuracy"] <= 1
    if "SRF" in flags[0]:  # N-Jets: half-width ceil(2 sigma + 1/2) at sigma 1 and 2
        assert values["source"]["kernel_sizes"]["stem"] == [7, 7]
        assert values["as_is"]["kernel_sizes"]["stem"] == [11, 11]


def test_imagenet_k_reads_a_folder_per_resolution(tmp_path, monkeypatch, no_pictures):
    random = np.random.RandomState(0)
    for size, part, label in ((s, p, c) for s in (8, 16) for p in ("train", "val") for c in "ab"):
        folder = tmp_path / "data" / f"Imagenet{size}" / part / label
        folder.mkdir(parents=True)
        for number in range(12):
            pixels = random.randint(0, 256, (size, size, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    flags = (
        "dataset=Imagenet-k",
        f"dataset_params.root={tmp_path / 'data'}",
        "dataset_params.workers=0",
        "dataset_params.in_ram=True",
        "train.batch_size=8",
    )
    with monkeypatch.context() as patch:
        stop_at(patch, epoch, "train_epoch", 2)
        with pytest.raises(Stop):
            run(patch, tmp_path / "run", *flags)
    assert run(monkeypatch, tmp_path / "run", f"train.resume={tmp_path / 'run'}", *flags) == 0
    values = result(tmp_path / "run")
    assert values["dataset"] == "Imagenet8" and values["as_is"]["targets"] == 24
    assert values["source"]["epochs"] == 2


class Recorder:
    """Stands in for W&B."""

    run_id = None
    rows: list = []
    summary: dict = {}

    def __init__(self, *_):
        Recorder.rows, Recorder.summary = [], {}

    def log(self, values, step=None):
        self.rows.append((step, values))

    def summarize(self, values):
        self.summary.update(values)

    def image(self, path):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def test_what_wandb_is_told(tmp_path, monkeypatch, no_pictures):
    monkeypatch.setattr(run_crossres, "RunLog", Recorder)
    assert run(monkeypatch, tmp_path) == 0
    assert [step for step, _ in Recorder.rows] == [1, 2, 3, 4]
    assert "source/train/loss" in Recorder.rows[1][1]
    assert "fine_tuning/train/loss" in Recorder.rows[2][1]
    values = result(tmp_path)
    assert Recorder.summary["as_is/test_accuracy"] == values["as_is"]["accuracy"]
    assert Recorder.summary["difference"] == values["difference"]
    assert {"source/test_accuracy", "fine_tuned/test_accuracy"} <= Recorder.summary.keys()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["cross_res.target_res=0"], "cross_res.target_res=0: give the resolutions"),
        (["cross_res.source_res=0"], "cross_res.source_res=0: give the resolutions"),
        (["cross_res.source_res=-8"], "cross_res.source_res=-8: give a whole number from 0"),
        (["cross_res.source_res=15"], "cross_res.source_res=15: is odd; give an even number"),
        (["cross_res.target_res=9"], "cross_res.target_res=9: is odd; give an even number"),
        (["cross_res.target_res=8"], "target_res=8: give two different resolutions"),
        (["cross_res.resize='4,4'"], "cross_res.resize=4,4: run_crossres.py resizes to"),
        (["cross_res.finetune_epochs=-1"], "finetune_epochs=-1: give a whole number of at least 0"),
        (["cross_res.interpolation=cubic"], "cross_res.interpolation=cubic: unknown"),
        (["dataset=sDigits"], "dataset=sDigits: run_crossres.py is for images"),
        (["dataset=AddProblem"], "dataset=AddProblem: run_crossres.py is for images"),
        (["train.epochs=0"], "train.epochs=0: there is no trained network"),
        (["train.do=False"], "train.do=False: there is no trained network"),
        (["conv.type=SRF", "kernel.srf.scale=3"], "kernel.srf.scale=3.0: N-Jets are deployed"),
        (["dataset=Imagenet-k", "cross_res.source_res=12"], "Imagenet-k at 12 pixels"),
        (["dataset=Imagenet-k", "cross_res.target_res=48"], "Imagenet-k at 48 pixels"),
        (["kernel.type=SIREN", "kernel.regularize=True"], "kernel.type=SIREN: its frequencies"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refusals_are_one_sentence(flags, sentence, tmp_path, monkeypatch, capsys, no_pictures):
    assert run(monkeypatch, tmp_path, *flags) == 1
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1 and errors[0].startswith("error: ")
    assert sentence is None or sentence in errors[0]
    assert not (tmp_path / "best.pt").exists()


PARAMETERS = {
    "crossres_cifar10_any": 671_650,
    "crossres_cifar10_conv3": 169_990,
    "crossres_cifar10_conv33": 19_998_790,
    "crossres_cifar10_flexnet7": 671_650,
    "crossres_cifar10_flexnet7_gabor": 671_650,
    "crossres_cifar10_flexnet7_gabor_mask": 671_650,
    "crossres_cifar10_njet": 698_503,
    "crossres_cifar10_resnet44": 658_586,
    "crossres_cifar10_siren": 627_970,
    "crossres_cifar10_siren_ckconv": 627_910,
    "crossres_imagenet_flexnet5": 498_596,
    "crossres_imagenet_resnet32": None,
    "crossres_small": None,
    "crossres_small_regularized": None,
    "imagenet32_flexnet5": 498_596,
    "cifar10_flexnet7_njet": 698_503,
    "cifar10_resnet44": 658_586,
}


@pytest.mark.parametrize("preset", PARAMETERS)
def test_presets(preset, tmp_path):
    cfg = compose([f"+experiment={preset}", f"dataset_params.root={tmp_path}"])
    validate(cfg)
    if preset.startswith("crossres"):
        check(cfg)
        task = source_task(cfg)
        if "small" not in preset:
            assert cfg.train.epochs == cfg.cross_res.finetune_epochs == 100
    else:
        task = describe(cfg)
    seed_everything(0)
    count = sum(p.numel() for p in build_model(cfg, task).parameters())
    assert PARAMETERS[preset] in (None, count)


@pytest.mark.slow
def test_killed_in_every_stage(finished, tmp_path):
    """SIGKILL soon after each line that the program prints, then on with the same folder."""
    whole, output = finished
    command = [sys.executable, "run_crossres.py", *SMALL]
    killed = 0
    for attempt in range(30):
        flag = [f"train.resume={tmp_path}"] if (tmp_path / "last.pt").exists() else []
        place = [] if flag else [f"hydra.run.dir={tmp_path}"]
        process = subprocess.Popen(
            [*command, *place, *flag], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        process.stdout.readline()
        for _ in range(attempt % 4):
            process.stdout.readline()
        time.sleep(0.05 * (attempt % 5))
        if process.poll() is None and attempt < 12:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            killed += 1
            continue
        rest = process.communicate()[0]
        if process.returncode == 0:
            break
    assert killed >= 6
    assert outcome(tmp_path) == outcome(whole)
    assert table(rest) == table(output)
