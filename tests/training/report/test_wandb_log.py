"""W&B never asks, and never stops a run."""

from __future__ import annotations

from cfg.schema import Config

import ast
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb

from ckconv import UsageError
from training.report.wandb_log import WandbLog, fetch


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_HTTP_TIMEOUT", "1")  # seconds that a key is tried for


class Run:
    id = "abc"


@pytest.fixture
def started(monkeypatch):
    """The modes that `wandb.init` is called with; those in `failing` fail."""
    modes, failing = [], set()

    def init(mode, **settings):
        modes.append(mode)
        if mode in failing:
            raise wandb.errors.CommError("no route\nto host")
        return Run()

    monkeypatch.setattr(wandb, "init", init)
    return modes, failing


def test_debug_means_no_wandb_at_all(started, tmp_path):
    log = WandbLog(Config(debug=True), {}, tmp_path)
    log.log({"a": 1})
    log.summarize({"a": 1})
    log.image(tmp_path / "missing.png")
    log.finish()
    assert started[0] == [] and log.run_id is None and not list(tmp_path.iterdir())


def test_without_an_account_it_is_offline_at_once(started, tmp_path, capsys):
    assert WandbLog(Config(), {}, tmp_path).run_id == "abc"
    assert started[0] == ["offline"]
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize("account", ["key", "netrc"])
def test_an_account_is_used(started, tmp_path, monkeypatch, capsys, account):
    if account == "key":
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    else:
        (tmp_path / "netrc").write_text("machine api.wandb.ai login user password secret\n")
    WandbLog(Config(), {}, tmp_path)
    assert started[0] == ["online"] and capsys.readouterr().out == ""


def test_without_a_network_it_goes_offline_and_says_why(started, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    started[1].add("online")
    WandbLog(Config(), {}, tmp_path)
    assert started[0] == ["online", "offline"]
    assert capsys.readouterr().out == (
        f"W&B: no route to host; logging offline to {tmp_path / 'wandb'} (with an account, wandb "
        f"sync {tmp_path / 'wandb'}/offline-run-* sends it)\n"
    )


def test_if_nothing_works_the_run_goes_on(started, tmp_path, capsys):
    started[1].update({"online", "offline"})
    log = WandbLog(Config(), {}, tmp_path)
    log.log({"a": 1})
    log.finish()
    assert "this run is logged to its own files only" in capsys.readouterr().out


def test_everything_runs_without_the_package(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)  # as if it were not installed
    log = WandbLog(Config(), {}, tmp_path)
    log.log({"a": 1})
    log.finish()
    said = capsys.readouterr().out
    assert said.startswith("W&B: not installed") and "own files only" in said
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    with pytest.raises(UsageError, match="pip install wandb adds it"):
        fetch("best.pt", "me/flexconv/1", tmp_path)


def test_no_module_needs_the_package_to_be_imported():
    project = Path(__file__).resolve().parents[3]
    rooms = ("ckconv", "models", "datasets", "training", "program", "experiments", "benchmarks")
    files = [*project.glob("*.py")]
    files += [path for room in rooms for path in (project / room).rglob("*.py")]
    assert len(files) > 50
    for path in files:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import):
                assert "wandb" not in {alias.name.partition(".")[0] for alias in node.names}, path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").partition(".")[0] != "wandb", path


def test_fetching_needs_an_account_a_run_and_a_name(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="run_path=entity/project/run"):
        fetch("", "", tmp_path)
    with pytest.raises(UsageError, match="no W&B account"):
        fetch("best.pt", "me/flexconv/1", tmp_path)

    class Api:
        def __init__(self, **settings):
            raise wandb.errors.CommError("run not found")

    monkeypatch.setattr(wandb, "login", lambda prompt: True)  # it would try the network for long
    monkeypatch.setattr(wandb, "Api", Api)
    with pytest.raises(UsageError, match="could not be fetched from W&B: run not found"):
        fetch("best.pt", "me/flexconv/1", tmp_path)


@pytest.mark.parametrize("md5", ["XUFAKrxLKna5cZ2REBfFkg==", None, "AAAAAAAAAAAAAAAAAAAAAA=="])
def test_what_is_fetched_has_the_digest_that_is_told(tmp_path, monkeypatch, md5):
    class File:
        def __init__(self):
            self.md5, self.name = md5, str(tmp_path / "downloads" / "best.pt")

        def download(self, root, **settings):
            Path(root).mkdir()
            Path(self.name).write_bytes(b"hello")
            return self

    api = SimpleNamespace(run=lambda path: SimpleNamespace(file=lambda name: File()))
    monkeypatch.setattr(wandb, "login", lambda prompt: True)
    monkeypatch.setattr(wandb, "Api", lambda **settings: api)
    if md5 and md5.startswith("A"):
        with pytest.raises(UsageError, match="does not have the digest that W&B says"):
            fetch("best.pt", "me/flexconv/1", tmp_path)
        assert not (tmp_path / "downloads").exists()
    else:
        assert fetch("best.pt", "me/flexconv/1", tmp_path).read_bytes() == b"hello"
