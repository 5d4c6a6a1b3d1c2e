"""One's own data in, a trained network and its predictions out: as a user does it."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import programs
import pytest
import torch
from PIL import Image
from small_runs import SMALL_NETWORK

import ckconv
import predict
import run_experiment
from ckconv import UsageError, published

pytestmark = pytest.mark.usefixtures("sketched")

ROOT = Path(__file__).resolve().parent.parent
OWN_MODULE = """
import torch

from ckconv.models import FlexNet
from ckconv.nn.ck import SIREN
from datasets.base import Dataset, Split, Splits
from datasets.task import Task


class Signs(Dataset):
    name = "Signs"

    def describe(self, request):
        return Task(self.name, 1, 2, (request.params.options["length"],), 60)

    def splits(self, request, state):
        x = torch.randn(100, 1, request.params.options["length"])
        y = (x.mean((1, 2)) > 0).long()
        return Splits(Split(x[:60], y[:60]), Split(x[60:80], y[60:80]), Split(x[80:], y[80:]))


class Slow(SIREN):
    pass


class Tiny(FlexNet):
    pass
"""


def run(monkeypatch, program, *flags: str) -> int:
    """Run a program in this process; returns its exit status."""
    monkeypatch.setattr(sys, "argv", [f"{program.__name__}.py", *flags])
    try:
        program.main()
    except SystemExit as end:
        return end.code
    return 0


def train(monkeypatch, folder: Path, *flags: str) -> dict:
    """Train and give the run's result."""
    place = (*SMALL_NETWORK, "train.epochs=1", f"hydra.run.dir={folder}")
    assert run(monkeypatch, run_experiment, *place, *flags) == 0
    return json.loads((folder / "result.json").read_text())


def rows_of(monkeypatch, tmp_path: Path, checkpoint: Path, given: Path) -> list[dict[str, str]]:
    """What predict.py writes."""
    table = tmp_path / "predictions.csv"
    flags = (f"checkpoint={checkpoint}", f"input={given}", f"output={table}", "device=cpu")
    assert run(monkeypatch, predict, *flags) == 0
    return list(csv.DictReader(table.read_text().splitlines()))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    random = np.random.RandomState(0)
    for part, count in (("train", 40), ("test", 10)):
        for name, low in (("dark", 0), ("light", 150)):
            folder = tmp_path / "images" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = random.randint(low, low + 100, (7, 7)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "images"


def test_a_folder_of_images(monkeypatch, tmp_path, images, capsys):
    result = train(
        monkeypatch,
        tmp_path / "run",
        "dataset=ImageFolder",
        f"dataset_params.root={images}",
        "dataset_params.transforms=[RandomHorizontalFlip,{RandomRotation:{degrees:5}}]",
    )
    assert result["class_names"] == ["dark", "light"]
    assert "classes                   dark, light" in capsys.readouterr().out
    rows = rows_of(monkeypatch, tmp_path, tmp_path / "run", images / "test")
    right = sum(Path(row["input"]).parent.name == row["class"] for row in rows)
    assert len(rows) == 20 and right / 20 == pytest.approx(result["test"]["accuracy"])
    assert all(
        float(row["dark"]) + float(row["light"]) == pytest.approx(1, abs=1e-5) for row in rows
    )
    assert "20 predictions" in capsys.readouterr().out


def test_no_flag_is_typed_again(monkeypatch, tmp_path, images):
    flags = ("dataset=ImageFolder", f"dataset_params.root={images}", "kernel.type=SIREN")
    first = train(monkeypatch, tmp_path / "first", *flags, "net.norm=LayerNorm")
    checkpoint = tmp_path / "first" / "best.pt"
    place = f"hydra.run.dir={tmp_path / 'again'}"
    again = ("debug=True", "device=cpu", "train.do=False", "pretrained=True", place)
    given = f"pretrained_params.filepath={checkpoint}"
    assert run(monkeypatch, run_experiment, *again, given) == 0
    second = json.loads((tmp_path / "again" / "result.json").read_text())
    assert second["test"] == first["test"] and second["dataset"] == "ImageFolder"
    # What is typed counts, also where it is the default: this network does not fit.
    assert run(monkeypatch, run_experiment, *again, given, "kernel.type=MAGNet") == 1


def test_uneven_series_by_a_network_at_their_true_times(monkeypatch, tmp_path):
    random = np.random.RandomState(0)
    y = np.arange(60) % 2
    times = np.sort(random.rand(60, 12), 1) + np.arange(12) * 0.01
    x = np.sin((3 + 9 * y[:, None]) * times)
    np.savez(tmp_path / "data.npz", x=x, y=y, times=times)
    result = train(
        monkeypatch,
        tmp_path / "run",
        "dataset=Arrays",
        f"dataset_params.root={tmp_path / 'data.npz'}",
        "net.type=FlexTCN",
        "train.weight_decay=1e-4",
    )
    assert any(name.startswith("network.") for name in result["kernel_sizes"])
    rows = rows_of(monkeypatch, tmp_path, tmp_path / "run" / "best.pt", tmp_path / "data.npz")
    trained = ckconv.load(tmp_path / "run")
    since = torch.from_numpy(times - times[:, :1]).float()
    inputs = torch.cat([torch.from_numpy(x).float()[:, None], since[:, None]], 1)
    expected = trained.predict(inputs)
    assert [int(row["class"]) for row in rows] == expected.argmax(1).tolist()


def test_series_of_unequal_length_to_their_own_last_step(monkeypatch, tmp_path):
    random = np.random.RandomState(0)
    y, lengths = np.arange(60) % 2, random.randint(6, 13, 60)
    times = np.cumsum(0.1 + random.rand(60, 12), 1)
    x = np.sin((1 + y[:, None]) * times)
    np.savez(tmp_path / "data.npz", x=x, y=y, times=times, lengths=lengths)
    given = ("dataset=Arrays", f"dataset_params.root={tmp_path / 'data.npz'}", "net.type=FlexTCN")
    train(monkeypatch, tmp_path / "run", *given)
    rows = rows_of(monkeypatch, tmp_path, tmp_path / "run", tmp_path / "data.npz")
    trained = ckconv.load(tmp_path / "run")
    assert trained.padded
    for row, sample, t, n in zip(rows[:5], x, times, lengths):
        inputs = torch.from_numpy(np.stack([sample, t - t[0]])).float()[None]
        alone = trained.predict(inputs[..., :n])[0]
        inputs[..., n:] = inputs[..., n - 1 : n] + torch.arange(1, 13 - n)
        padded = trained.predict(inputs, torch.tensor([n]))[0]
        torch.testing.assert_close(alone, padded)
        assert float(row["0"]) == pytest.approx(alone[0].item(), abs=1e-4)


LAUNCHERS = {
    "basic": (),
    "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    "submitit": ("hydra/launcher=submitit_local", "hydra.launcher.cpus_per_task=1"),
}


@pytest.mark.parametrize(
    "launcher",
    [
        "basic",
        pytest.param("joblib", marks=pytest.mark.slow),
        pytest.param("submitit", marks=pytest.mark.slow),
    ],
)
def test_classes_of_ones_own_from_another_process_too(monkeypatch, tmp_path, launcher):
    if launcher != "basic":
        pytest.importorskip(f"hydra_plugins.hydra_{launcher}_launcher")
    (tmp_path / "mine.py").write_text(OWN_MODULE)
    folder = tmp_path / "sweep"
    flags = [
        "--multirun",
        *SMALL_NETWORK,
        "dataset=mine:Signs",
        "dataset_params.options={length: 9}",
        "kernel.type=mine:Slow",
        "net.type=mine:Tiny",
        "train.epochs=1",
        "seed=0,1",
        *LAUNCHERS[launcher],
        f"hydra.sweep.dir={folder}",
    ]
    done = programs.run(ROOT / "run_experiment.py", *flags, cwd=tmp_path, timeout=600)
    assert done.returncode == 0, done.stderr
    for job in ("0", "1"):
        assert json.loads((folder / job / "result.json").read_text())["dataset"] == "Signs"
    monkeypatch.chdir(tmp_path)
    shown = repr(ckconv.load(folder / "1"))
    assert "Slow" in shown and "Tiny" in shown


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A finished run on Digits."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    with pytest.MonkeyPatch.context() as monkeypatch:
        train(monkeypatch, folder, "train.max_batches=3", "train.ema=0.5")
    return folder


def test_the_example_of_the_documentation_runs(monkeypatch, tmp_path):
    page = (ROOT / "docs" / "own.md").read_text()
    (example,) = (block for block in page.split("```python\n") if block.startswith("# mine.py"))
    (tmp_path / "my_lines.py").write_text(example.split("```")[0])
    monkeypatch.chdir(tmp_path)
    result = train(monkeypatch, tmp_path / "run", "dataset=my_lines:Lines", "net.type=FlexTCN")
    assert result["dataset"] == "Lines" and result["test"]["targets"] == 20


class TestLoad:
    def test_a_run_is_ready_to_use(self, folder):
        from sklearn.datasets import load_digits

        trained = ckconv.load(folder)
        assert trained.class_names == tuple("0123456789") and not trained.training
        assert trained.config["net"]["no_hidden"] == 4 and trained.task["name"] == "Digits"
        pixels = torch.from_numpy(load_digits().images[:5])[:, None]
        probabilities = trained.predict(pixels)
        assert probabilities.shape == (5, 10)
        expected = trained.network((pixels.float() / 16 - 0.3050) / 0.3758).softmax(1)
        torch.testing.assert_close(probabilities, expected.detach())
        last = ckconv.load(folder / "last.pt")  # the averaged weights, as they are tested
        averaged = torch.load(folder / "last.pt", weights_only=True)["averaged"]
        assert torch.equal(last.network.head.weight, averaged["module.head.weight"])

    def test_a_saved_network_is_the_same(self, folder, tmp_path):
        pytest.importorskip("safetensors")
        trained = ckconv.load(folder)
        ckconv.save(trained, tmp_path / "saved")
        again = ckconv.load(tmp_path / "saved")
        assert again.config == json.loads(json.dumps(trained.config))
        x = torch.rand(2, 1, 8, 8)
        assert torch.equal(trained(x), again(x))
        weights = tmp_path / "saved" / "model.safetensors"
        whole = weights.read_bytes()
        for harmed in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:-9], b""):
            weights.write_bytes(harmed)
            with pytest.raises(UsageError, match="saved: is no network of this library, or damag"):
                ckconv.load(tmp_path / "saved")
        weights.write_bytes(whole)
        described = json.loads((tmp_path / "saved" / "config.json").read_text())
        del described["sha256"]  # as earlier versions wrote it
        (tmp_path / "saved" / "config.json").write_text(json.dumps(described))
        assert torch.equal(trained(x), ckconv.load(tmp_path / "saved")(x))
        (tmp_path / "saved" / "config.json").write_text("{}")
        with pytest.raises(UsageError, match="is no network of this library"):
            ckconv.load(tmp_path / "saved")

    def test_the_library_alone_suffices(self, folder, tmp_path):
        """Outside the repository, with nothing of it but the package that pip installs."""
        (tmp_path / "ckconv").symlink_to(ROOT / "ckconv")
        program = f"import ckconv; print(ckconv.load({str(folder)!r}).class_names[3])"
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout == "3\n", done.stderr

    def test_torch_hub_finds_it(self, folder):
        trained = torch.hub.load(str(ROOT), "trained", str(folder), source="local")
        assert trained.class_names[3] == "3"
        digits = torch.hub.load(str(ROOT), "digits", source="local")
        assert digits(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
        layer = torch.hub.load(str(ROOT), "flexconv", 2, 3, source="local")
        assert layer(torch.zeros(1, 2, 5, 5)).shape == (1, 3, 5, 5)

    def test_what_cannot_be_loaded_is_said(self, folder, tmp_path, monkeypatch):
        with pytest.raises(UsageError, match="does not exist; give a run's folder"):
            ckconv.load(tmp_path / "none.pt")
        with pytest.raises(UsageError, match="holds neither best.pt, last.pt nor"):
            ckconv.load(tmp_path)
        content = torch.load(folder / "best.pt", weights_only=True)
        torch.save(content["model"], tmp_path / "other.pt")
        with pytest.raises(UsageError, match="is a checkpoint of another program"):
            ckconv.load(tmp_path / "other.pt")
        torch.save({k: v for k, v in content.items() if k != "task"}, tmp_path / "old.pt")
        with pytest.raises(UsageError, match="before checkpoints said what they are for"):
            ckconv.load(tmp_path / "old.pt")
        with pytest.raises(UsageError, match="is of this library, not a published one"):
            published.load_state_dict(ckconv.load(folder).network, content)
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        with pytest.raises(UsageError, match="pip install huggingface_hub"):
            ckconv.load("somebody/something")

    @pytest.mark.parametrize(
        "flags, said",
        [
            (["checkpoint="], "checkpoint: give a run's folder"),
            (["input=nowhere/*.png"], "there are no files"),
            (["inptu=x"], "did you mean input=...?"),
            (["batch_size=0"], "batch_size=0"),
            (["device=tpu"], "device=tpu"),
            (["input={data}"], "data.npz[0]: has the shape (1, 9); the network takes (1, 8, 8)"),
        ],
    )
    def test_a_prediction_that_cannot_be_is_said(
        self, folder, tmp_path, monkeypatch, capsys, flags, said
    ):
        data = tmp_path / "data.npz"
        np.savez(data, x=np.zeros((3, 9)))
        flags = [flag.format(data=data) for flag in flags]
        given = [f"checkpoint={folder}", f"input={data}", "device=cpu", *flags]
        assert run(monkeypatch, predict, *given) == 1
        assert said in capsys.readouterr().err

    def test_the_names_of_files_on_the_standard_input(self, tmp_path, monkeypatch):
        for name in ("b.npz", "a.npz", "c.npz"):
            np.savez(tmp_path / name, x=np.zeros((1, 1, 8, 8)))
        names = f"{tmp_path / 'b.npz'}\n\n{tmp_path / 'a.npz'}\n"
        monkeypatch.setattr(sys, "stdin", io.StringIO(names))
        rows = rows_of(monkeypatch, tmp_path, Path("digits"), Path("-"))
        assert [Path(row["input"]).name for row in rows] == ["b.npz[0]", "a.npz[0]"]
        monkeypatch.setattr(sys, "stdin", io.StringIO("nowhere\n"))
        flags = ["checkpoint=digits", "input=-", f"output={tmp_path / 'none.csv'}"]
        assert run(monkeypatch, predict, *flags) == 1 and not (tmp_path / "none.csv").exists()

    def test_pictures_of_digits(self, folder, tmp_path, monkeypatch):
        from sklearn.datasets import load_digits

        digits = load_digits()
        for i in range(4):
            pixels = (digits.images[i] * 255 / 16).round().astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        rows = rows_of(monkeypatch, tmp_path, folder, tmp_path)
        expected = ckconv.load(folder).predict(torch.from_numpy(digits.images[:4])[:, None])
        for row, values in zip(rows, expected):
            given = torch.tensor([float(row[name]) for name in "0123456789"])
            torch.testing.assert_close(given, values, rtol=0.02, atol=0.02)


def test_pictures_read_as_sequences(monkeypatch, tmp_path):
    from sklearn.datasets import load_digits

    folder = tmp_path / "run"
    train(monkeypatch, folder, "dataset=sDigits", "net.type=FlexTCN", "train.max_batches=2")
    np.savez(tmp_path / "digits.npz", x=load_digits().images[:6][:, None])
    rows = rows_of(monkeypatch, tmp_path, folder, tmp_path / "digits.npz")
    x = torch.from_numpy(load_digits().images[:6]).float().view(6, 1, 64)
    expected = ckconv.load(folder).predict(x)
    assert [row["class"] for row in rows] == [str(int(i)) for i in expected.argmax(1)]


def test_a_baseline_predicts_too(monkeypatch, tmp_path):
    folder = tmp_path / "run"
    train(monkeypatch, folder, "net.type=CIFARResNet20", "train.max_batches=1")
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 1, 8, 8), np.uint8))
    assert len(rows_of(monkeypatch, tmp_path, folder, tmp_path / "x.npz")) == 2
    with pytest.raises(UsageError, match="net.type=CIFARResNet20: is a baseline"):
        ckconv.load(folder)
