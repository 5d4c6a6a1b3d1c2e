"""W&B's accounts are those that W&B itself finds, and a failure of it ends no run."""

from __future__ import annotations

from cfg.schema import Config

import pytest
import wandb

from ckconv import UsageError
from training.report import wandb_log
from training.report.wandb_log import WandbLog


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_SILENT", "true")  # as the programs do before they import it
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.mark.slow  # without a network it tries for a while
def test_an_account_that_wandb_wrote_is_found(tmp_path):
    """Whatever host the installed version writes into netrc."""
    assert not wandb_log._has_account()
    wandb.login(key="0" * 40, verify=False)
    assert (tmp_path / "netrc").exists()
    wandb.teardown()
    assert wandb_log._has_account()


@pytest.mark.parametrize("answer", [False, True, wandb.errors.AuthenticationError("no network")])
def test_wandb_itself_is_asked(monkeypatch, answer):
    """A key that cannot be tried is a key; nobody is asked for one."""

    def login(*, prompt=True):
        assert prompt is False
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(wandb, "login", login)
    assert wandb_log._has_account() == (answer is not False)


class Failing:
    """A run whose every call fails from some moment on."""

    id = "abc"

    def __init__(self):
        self.calls, self.summary = [], self

    def log(self, values, step=None):
        self.calls.append(values)
        raise OSError(28, "No space left on device")

    update = log

    def finish(self, exit_code):
        raise ConnectionError("no route to host")


@pytest.mark.parametrize("call", ["log", "summarize", "image", "finish"])
def test_a_failure_in_the_middle_ends_wandb_and_not_the_run(tmp_path, monkeypatch, capsys, call):
    run = Failing()
    monkeypatch.setattr(wandb, "init", lambda **settings: run)
    (tmp_path / "kernels.png").write_bytes(b"no picture")
    with WandbLog(Config(), {}, tmp_path) as log:
        capsys.readouterr()
        calls = {
            "log": lambda: log.log({"a": 1.0}, step=1),
            "summarize": lambda: log.summarize({"a": 1.0}),
            "image": lambda: log.image(tmp_path / "kernels.png"),
            "finish": log.finish,
        }
        calls[call]()
        for again in calls.values():
            again()
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "logged to its own files only" in said
    assert len(run.calls) <= 1


def test_a_folder_that_cannot_be_made_is_named_by_its_flag(tmp_path):
    (tmp_path / "file").write_text("")
    cfg = Config()
    cfg.wandb.dir = str(tmp_path / "file" / "wandb")
    with pytest.raises(UsageError, match=r"wandb\.dir=.*file/wandb: cannot be made"):
        WandbLog(cfg, {}, tmp_path)
