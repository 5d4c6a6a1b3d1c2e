"""The command line of a fit."""

from __future__ import annotations

import dataclasses

import pytest

from ckconv.errors import UsageError
from ckernel_fitting.command_line import help_text, parse
from ckernel_fitting.settings import Settings, changed, flat, unused, validate

PUBLISHED = (
    "--config.function SinusChirp --config.min -15.0 --config.max 0.0 --config.no_samples 1000 "
    "--config.optim Adam --config.lr 1e-4 --config.no_iterations 20000 --config.seed 0 "
    "--config.device cuda --config.kernelnet_norm_type LayerNorm "
    "--config.kernelnet_activation_function Sine --config.kernelnet_no_hidden 32 "
    "--config.padding 0 --config.kernelnet_omega_0 1000.0"
)


def test_published_command():
    settings, given = parse(PUBLISHED.split())
    validate(settings)
    assert given == {name.split()[0] for name in PUBLISHED.split("--config.")[1:]}
    assert settings == changed(
        Settings(),
        function="SinusChirp",
        min=-15.0,
        max=0.0,
        no_samples=1000,
        optim="Adam",
        lr=1e-4,
        no_iterations=20000,
        seed=0,
        device="cuda",
        kernelnet_norm_type="LayerNorm",
        kernelnet_activation_function="Sine",
        kernelnet_no_hidden=32,
        padding=0,
        kernelnet_omega_0=1000.0,
    )
    assert settings.generator == "SIREN"
    assert unused(settings, given) == (
        "note: SIREN has no kernelnet_norm_type: given, but not used"
    )


def test_three_forms_and_short_names_agree():
    forms = ["--config.kernelnet_omega_0", "7"], ["--config.omega_0=7"], ["omega_0=7.0"]
    for form in forms:
        assert parse(form) == (changed(Settings(), kernelnet_omega_0=7.0), {"kernelnet_omega_0"})
    assert parse(["--config.debug", "--config.gray", "false", "dim=2"])[0] == Settings(
        debug=True, gray=False, dim=2
    )
    assert parse(["kernelnet_no_layers=5", "min=None"])[0].kernel.no_layers == 5
    assert parse(["--config.wandb.project", "mine"])[0].wandb.project == "mine"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config.no_sampels", "3"], ("no_sampels", "did you mean no_samples?")),
        (["lr=fast"], ("lr=fast", "a number")),
        (["seed=0.5"], ("seed=0.5", "a whole number")),
        (["--config.lr"], ("lr", "give a value")),
        (["lr"], ("lr=value",)),
        (["lr=nan"], ("lr=nan", "a number")),
        (["gray=maybe"], ("gray=maybe", "True or False")),
    ],
)
def test_unreadable_arguments(arguments, words):
    with pytest.raises(UsageError) as caught:
        validate(parse(arguments)[0])
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"function": "SinusChrip"}, "did you mean SinusChirp?"),
        ({"min": 1.0, "max": 1.0}, "min=1 max=1: an empty range"),
        ({"no_samples": 0}, "no_samples=0"),
        ({"no_iterations": 0}, "no_iterations=0"),
        ({"model": "SIRENE"}, "did you mean SIREN?"),
        ({"kernelnet_activation_function": "Sin"}, "did you mean Sine?"),
        ({"model": "RandomFourier", "kernelnet_activation_function": "Sine"}, "ReLU, LeakyReLU"),
        ({"kernelnet_norm_type": "GroupNorm"}, "BatchNorm, LayerNorm"),
        ({"function": "CameraMan", "dim": 1}, "dim=1"),
        ({"dim": 0}, "dim=0"),
        ({"lr": 0.0}, "lr=0"),
        ({"model": "MLP", "no_layers": 1}, "no_layers=1"),
        ({"scheduler": "multistep"}, "decay_steps"),
        ({"order": 30}, "order=30"),
        ({"steerable": True, "dim": 1}, "steerable"),
    ],
)
def test_settings_that_cannot_be_fitted(changes, words):
    with pytest.raises(UsageError, match=words.replace("?", r"\?")):
        validate(changed(Settings(), **changes))


@pytest.mark.parametrize(
    ("activation", "model"),
    [("", "MAGNet"), ("Sine", "SIREN"), ("Swish", "MLP"), ("Gabor", "Gabor")],
)
def test_model_by_activation(activation, model):
    assert changed(Settings(), kernelnet_activation_function=activation).generator == model


def test_help_names_every_setting():
    text = help_text("fit_function.py", "purpose")
    words = " ".join(text.split())
    for name in flat(Settings()):
        assert f"\n  {name}=" in text
    for field in dataclasses.fields(Settings):
        assert field.metadata.get("help", "") in words
    assert max(map(len, text.splitlines())) <= 100
