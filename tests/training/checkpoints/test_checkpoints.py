"""Checkpoints survive what happens to files, and are not trusted."""

from __future__ import annotations

from cfg.flags import plain
from cfg.schema import Config

import os
import pickle
from dataclasses import asdict

import pytest
import torch
from fakes import make_model
from omegaconf import OmegaConf

from ckconv import UsageError
from training import checkpoints
from training.checkpoints import pretrained
from training.checkpoints.resume import resumed
from training.checkpoints.saved import PARTS
from training.report.progress import Progress


class Code:
    def __reduce__(self):
        return os.system, ("touch harmed",)


def save_ours(path, model, **more):
    checkpoints.save(path, {"model": model.state_dict(), "data": {}, **more})


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    checkpoints.save(path, {"epoch": 1})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError):
        checkpoints.save(path, {"epoch": 2})
    assert checkpoints.read(path)["epoch"] == 1


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "truncated or not a checkpoint"),
        (b"not a checkpoint at all", "not a checkpoint"),
        (pickle.dumps({"a": 1}, protocol=2), "not a checkpoint"),
        (b"PK\x03\x04 and then nothing", "truncated or not a checkpoint"),
    ],
)
def test_foreign_files_are_refused(tmp_path, content, message):
    path = tmp_path / "foreign.pt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        pretrained.load(make_model(), path)


def test_every_truncation_is_refused(tmp_path):
    path = tmp_path / "last.pt"
    save_ours(path, make_model())
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(UsageError, match="last.pt"):
            checkpoints.read(path)


def test_code_in_a_checkpoint_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Code()}, "evil.pt")
    with pytest.raises(UsageError, match="could run code"):
        checkpoints.read(tmp_path / "evil.pt")
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("name", ["missing.pt", ""])
def test_a_missing_file_or_a_folder_is_named(tmp_path, name):
    with pytest.raises(UsageError, match="give the path of a checkpoint file"):
        checkpoints.read(tmp_path / name)


@pytest.mark.parametrize("content", [[1, 2], {"model": {}}, {"model": 3}, {"a": 1.0}])
def test_a_checkpoint_without_weights_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "odd.pt")
    with pytest.raises(UsageError, match="odd.pt"):
        pretrained.load(make_model(), tmp_path / "odd.pt")


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"model": s}])
def test_weights_are_found_under_the_usual_names(tmp_path, wrap):
    source, target = make_model(1), make_model(2)
    torch.save(wrap({f"module.{k}": v for k, v in source.state_dict().items()}), tmp_path / "x.pt")
    pretrained.load(target, tmp_path / "x.pt")
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value)


def test_the_data_sets_tensors_come_back(tmp_path):
    checkpoints.save(
        tmp_path / "x.pt",
        {"model": make_model().state_dict(), "data": {"permutation": torch.arange(4)}},
    )
    state = pretrained.load(make_model(), tmp_path / "x.pt")
    assert state["permutation"].tolist() == [0, 1, 2, 3]


def test_what_does_not_fit_is_named_or_left_out(tmp_path, capsys):
    state = make_model(1).state_dict()
    state["4.weight"] = state["4.weight"][:3]
    state["more"] = torch.ones(2)
    checkpoints.save(tmp_path / "x.pt", {"model": state})
    model = make_model(2)
    with pytest.raises(UsageError, match=r"x\.pt: .*4\.weight has shape \(3, 16\).*more is unknow"):
        pretrained.load(model, tmp_path / "x.pt")
    kept = model.state_dict()["4.weight"].clone()
    pretrained.load(model, tmp_path / "x.pt", strict=False)
    assert torch.equal(model.state_dict()["1.weight"], state["1.weight"])
    assert torch.equal(model.state_dict()["4.weight"], kept)
    assert "3 of the network's 4 tensors" in capsys.readouterr().out


# ----- resuming -----------------------------------------------------------------------------------


def config(**flags):
    cfg = OmegaConf.structured(Config)
    for flag, value in flags.items():
        OmegaConf.update(cfg, flag.replace("__", "."), value)
    return cfg


def leave_run(folder, **flags):
    parts = {name: kind() for name, kind in PARTS.items()}
    parts |= {"progress": asdict(Progress()), "log": {"wandb_id": None}}
    checkpoints.save(folder / "last.pt", {**parts, "config": plain(config(**flags))})


def test_nothing_to_resume(tmp_path):
    for value in ("", "False", "auto", "True"):
        assert resumed(config(train__resume=value), tmp_path)[1] is None
    with pytest.raises(UsageError, match="there is no last.pt"):
        resumed(config(train__resume=str(tmp_path)), tmp_path)


def test_flags_that_were_not_given_are_taken_from_the_run(tmp_path):
    leave_run(tmp_path, net__no_hidden=8, train__epochs=7, seed=5, train__do=True)
    cfg, saved = resumed(config(train__resume="auto", seed=-1), tmp_path, ("seed",))
    assert saved is not None
    assert (cfg.net.no_hidden, cfg.train.epochs, cfg.seed, cfg.train.resume) == (8, 7, 5, "auto")


def test_more_epochs_and_another_device_are_allowed(tmp_path):
    leave_run(tmp_path, train__epochs=7)
    wanted = config(train__resume="auto", train__epochs=30, device="cuda")
    cfg, _ = resumed(wanted, tmp_path, ("train.epochs", "device"))
    assert (cfg.train.epochs, cfg.device) == (30, "cuda")


@pytest.mark.parametrize(
    "flag, value", [("net.no_hidden", 16), ("train.lr", 0.5), ("kernel.type", "Gabor"), ("seed", 3)]
)
def test_a_changed_flag_is_named(tmp_path, flag, value):
    """Also where it is changed to what happens to be the default, by typing it."""
    leave_run(tmp_path, net__no_hidden=8)
    cfg = config(train__resume="auto")
    OmegaConf.update(cfg, flag, value)
    with pytest.raises(UsageError, match=rf"{flag}={value}: the run that is resumed had {flag}="):
        resumed(cfg, tmp_path, (flag,))


def test_best_pt_cannot_be_resumed_from(tmp_path):
    save_ours(tmp_path / "last.pt", make_model())
    with pytest.raises(UsageError, match="nothing to resume"):
        resumed(config(train__resume="auto"), tmp_path)


# ----- what others wrote --------------------------------------------------------------------------


def test_what_a_file_says_is_taken_literally(tmp_path, monkeypatch):
    """A foreign run's folder reads no environment, and its strings come back as they are."""
    monkeypatch.setenv("SECRET", "s3cret")
    texts = ("${oc.env:SECRET}", r"\${oc.env:SECRET} ${a", "a ${oc.env:SECRET} b", r"\\${train.lr}")
    for text in texts:
        leave_run(tmp_path, net__no_hidden=8)
        saved = checkpoints.read(tmp_path / "last.pt")
        saved["config"]["comment"] = text
        checkpoints.save(tmp_path / "last.pt", saved)
        cfg, _ = resumed(config(train__resume="auto"), tmp_path)
        assert plain(cfg)["comment"] == text
        assert "s3cret" not in OmegaConf.to_yaml(cfg, resolve=True)


def test_every_flipped_bit_is_noticed(tmp_path):
    """Or changes nothing, as in the bytes between two parts of the archive."""
    path = tmp_path / "last.pt"
    save_ours(path, make_model(), comment="a note")
    whole, content = path.read_bytes(), checkpoints.read(path)
    noticed = 0
    for place in range(0, len(whole), 41):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        try:
            found = checkpoints.read(path)
        except UsageError as error:
            assert str(path) in str(error)
            noticed += 1
            continue
        assert found.keys() == content.keys() and found["comment"] == "a note"
        assert all(torch.equal(found["model"][k], v) for k, v in content["model"].items())
    assert noticed > 20


def test_an_unreadable_checkpoint_is_named_without_the_output_folder(tmp_path, monkeypatch):
    save_ours(tmp_path / "x.pt", make_model())

    def refuse(*arguments, **settings):
        raise PermissionError(13, "Permission denied", str(tmp_path / "x.pt"))

    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(UsageError, match=r"x\.pt: cannot be read, permission denied; give a file"):
        checkpoints.read(tmp_path / "x.pt")
