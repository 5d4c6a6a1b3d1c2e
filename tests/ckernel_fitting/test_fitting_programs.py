"""The two programs, run as a person runs them."""

from __future__ import annotations

import csv
import sys

import numpy as np
import programs
import pytest
from golden_files import ROOT
from PIL import Image

from ckernel_fitting import compare, fit_function
from ckernel_fitting.command_line import program
from ckernel_fitting.comparison import (
    CHOSEN,
    SETS,
    Comparison,
    Job,
    Outcome,
    best_of,
    build_jobs,
    size_of,
    target_settings,
    width_for,
)
from ckernel_fitting.settings import MODELS, Settings, changed
from ckernel_fitting.targets import build_target


def run(monkeypatch, module, arguments):
    monkeypatch.setattr(sys, "argv", [module.__name__, *arguments])
    if module is fit_function:
        program("fit_function.py", "purpose", module.run)
    else:
        program("compare.py", "purpose", module.run, Comparison, hidden=CHOSEN)


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_fit_writes_picture_weights_and_rows(monkeypatch, tmp_path, capsys):
    short = ["no_iterations=30", "debug=True", f"out={tmp_path}"]
    run(monkeypatch, fit_function, ["function=Gabor", "dim=2", "no_samples=9", *short])
    run(monkeypatch, fit_function, ["function=Sawtooth", "no_samples=40", "model=MLP", *short])
    rows = rows_of(tmp_path / "fits.csv")
    assert [row["generator"] for row in rows] == ["MAGNet", "MLP"]
    assert [row["function"] for row in rows] == ["Gabor", "Sawtooth"]
    assert float(rows[0]["mse"]) > 0 and float(rows[0]["psnr"]) > 0
    for row in rows:
        with Image.open(tmp_path / row["picture"]) as picture:
            assert min(picture.size) > 400
            assert len(picture.convert("L").getcolors()) > 50  # something is drawn
    assert len(list(tmp_path.glob("*.pt"))) == 2
    assert "PSNR" in capsys.readouterr().out


def test_runs_inside_its_folder_and_says_what_is_wrong_in_one_sentence():
    typed = ["--config.function", "Sinuschirp"]
    done = programs.run("fit_function.py", *typed, cwd=ROOT / "ckernel_fitting")
    assert done.returncode == 1
    assert done.stderr.startswith("error: function=Sinuschirp: unknown")
    assert "SinusChirp" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("module", "arguments", "words"),
    [
        (fit_function, ["--config.functoin", "Sine"], "did you mean function?"),
        (fit_function, ["min=2", "max=1"], "empty range"),
        (fit_function, ["no_samples=0"], "no_samples=0"),
        (fit_function, ["function=Image", "path=none.png"], "no such file"),
        (fit_function, ["out=/dev/null/x"], "out=/dev/null/x"),
        (compare, ["models=MLP,SIRENS"], "did you mean SIREN?"),
        (compare, ["lr=0.1"], "lrs="),
        (compare, ["lrs=quick"], "lrs=quick"),
        (compare, ["seeds=0"], "seeds=0"),
    ],
)
def test_mistakes_end_with_one_sentence(monkeypatch, capsys, module, arguments, words):
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, module, [*arguments, "debug=True"])
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_compare_writes_table_and_picture(monkeypatch, tmp_path):
    arguments = ["function=Gaussian", "no_samples=30", "no_iterations=20", "processes=1"]
    arguments += ["models=SIREN,SRF", "lrs=0.01,0.001", "freq_factors=1", "seeds=2"]
    run(monkeypatch, compare, [*arguments, "parameters=300", f"out={tmp_path}"])
    rows = rows_of(next(tmp_path.glob("*-compare.csv")))
    assert {row["generator"] for row in rows} == {"SIREN", "SRF"}
    assert [float(row["psnr"]) for row in rows] == sorted(
        (float(row["psnr"]) for row in rows), reverse=True
    )
    assert all(row["lr"] in ("0.01", "0.001") and row["seeds"] == "2" for row in rows)
    siren = next(row for row in rows if row["generator"] == "SIREN")
    assert abs(int(siren["parameters"]) - 300) < 30
    table = next(tmp_path.glob("*-compare.md")).read_text()
    assert table.count("\n") == 4 and "Gaussian 30" in table
    with Image.open(next(tmp_path.glob("*-compare.png"))) as picture:
        assert picture.size[0] > 400


@pytest.mark.parametrize("model", [name for name in MODELS if name != "SRF"])
@pytest.mark.parametrize("dim", [1, 2])
def test_widths_give_equal_parameters(model, dim):
    settings = Settings(function="Gaussian", dim=dim, no_samples=9)
    target = build_target(settings)
    width = width_for(settings, model, 1000, target)
    sizes = [size_of(settings, model, width + change, target) for change in (-1, 0, 1)]
    assert abs(sizes[1] - 1000) <= min(abs(sizes[0] - 1000), abs(sizes[2] - 1000))


def test_given_settings_take_the_place_of_a_set_s_own():
    settings = target_settings(Comparison(set="gabors", no_samples=9), {"no_samples"})
    assert [(s.freq, s.no_samples, s.dim) for s in settings] == [
        (1.0, 9, 2),
        (4.0, 9, 2),
        (16.0, 9, 2),
        (64.0, 9, 2),
    ]


def test_each_generator_is_judged_at_its_best():
    def outcome(psnr, between):
        return Outcome(10 ** (-psnr / 10), psnr, between, 1.0, 9, np.zeros(1), np.zeros(1))

    def job(lr, seed):
        return Job(0, changed(Settings(), model="SIREN", lr=lr, seed=seed), 1.0)

    results = [(0.1, 1, 60, 5), (0.1, 0, 20, 9), (0.2, 0, 31, 8), (0.2, 1, 35, 7), (0.3, 0, 10, 20)]
    results += [(0.3, 1, 10, 10)]
    outcomes = [(job(lr, seed), outcome(at, between)) for lr, seed, at, between in results]
    (best,) = best_of(outcomes)
    assert best.lr == 0.1 and [found.psnr for found in best.outcomes] == [20, 60]
    assert best.mean_sd("psnr") == pytest.approx((40, 28.2843), rel=1e-4)
    assert best.mean_sd("psnr_between")[0] == 7 and best.between == 15


def test_the_built_in_set_covers_the_grid():
    comparison = Comparison(lrs="0.1,0.2", freq_factors="1,8", seeds=2)
    settings = target_settings(comparison, set())
    assert [s.function for s in settings] == [target["function"] for target in SETS["functions"]]
    settings = settings[:1]
    jobs = build_jobs(comparison, settings, [build_target(s) for s in settings])
    assert len(jobs) == 2 * 2 * (5 * 2 + 3)  # lrs, seeds, with and without a frequency
    assert len({(job.group, job.settings.seed) for job in jobs}) == len(jobs)
    siren = {job.settings.kernel.omega_0 for job in jobs if job.settings.generator == "SIREN"}
    assert siren == {30.0, 240.0}
