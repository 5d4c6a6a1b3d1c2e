"""From run folders to tables: what counts, what is left out, and why."""

from __future__ import annotations

from cfg.flags import plain

import csv
import functools
import io
import json
import os
import re
import statistics
from dataclasses import replace

import pytest

from ckconv import UsageError
from experiments import tables
from experiments.collect import main
from experiments.latex import escaped, latex
from experiments.runs import NO_PRESET, collect
from program.command_line import compose
from program.words.page import preset_names

CLOCK = iter(range(1_000_000, 2_000_000))


@functools.cache
def composed(flags):
    return plain(compose(flags))


def leave_run(folder, accuracy, *flags, seed=0, commit="a" * 40, **result):
    """A run's folder, as run_experiment.py leaves it."""
    folder.mkdir(parents=True)
    config = {**composed(flags), "seed": seed}
    (folder / "config.yaml").write_text(json.dumps(config))
    values = {
        "status": "finished",
        "metric": "accuracy",
        "test": {"accuracy": accuracy, "loss": 1.0, "targets": 100},
        "config": config,
        "seed": seed,
        "command": f"python run_experiment.py {' '.join(flags)} seed={seed}",
        "commit": commit,
        "dirty": False,
    }
    (folder / "result.json").write_text(json.dumps(values | result))
    moment = next(CLOCK)
    os.utime(folder / "result.json", (moment, moment))


def lines_of(rows):
    return [line for line in tables.make_lines(rows, tables.read_paper()) if line.here]


PRESET = "+experiment=cifar10_flexnet7"


def test_mean_and_sample_deviation_over_the_seeds(tmp_path):
    accuracies = [0.921, 0.925, 0.929]
    for seed, accuracy in enumerate(accuracies):
        leave_run(tmp_path / "a" / str(seed), accuracy, PRESET, seed=seed)
    leave_run(tmp_path / "b" / "0", 0.5, "+experiment=sdigits_flextcn2", seed=7)
    rows, left_out = collect([tmp_path])
    assert left_out == []
    row = rows[0]
    assert (row.preset, row.changes, row.seeds) == ("cifar10_flexnet7", "", "0 1 2")
    assert row.mean == pytest.approx(92.5)
    assert row.sd == pytest.approx(100 * statistics.stdev(accuracies)) == pytest.approx(0.4)
    assert (rows[1].seeds, rows[1].sd) == ("7", None)
    texts = tables.cells(lines_of(rows)[0])
    assert texts[2:7] == ("92.2 ± 0.1", "92.50 ± 0.40", "+0.30", "0 1 2", "aaaaaaa")


def test_where_the_data_lie_makes_no_difference_and_the_learning_rate_does(tmp_path):
    leave_run(tmp_path / "0", 0.9, PRESET, "dataset_params.root=x", "debug=True", seed=0)
    leave_run(tmp_path / "1", 0.8, PRESET, "device=cpu", seed=1)
    leave_run(tmp_path / "2", 0.1, PRESET, "train.lr=0.5", "train.epochs=3", seed=0)
    rows, left_out = collect([tmp_path])
    assert [(row.changes, row.seeds) for row in rows] == [
        ("", "0 1"),
        ("train.epochs=3 train.lr=0.5", "0"),
    ]
    assert not left_out
    text = tables.markdown(lines_of(rows))
    assert "`+experiment=cifar10_flexnet7 train.epochs=3 train.lr=0.5`" in text


def test_other_data_of_ones_own_are_no_other_seed(tmp_path):
    own = ("dataset=Arrays", "net.type=FlexTCN")
    for seed, (typed, data) in enumerate([("x", "/a/x"), ("/a/x", "/a/x"), ("x", "/b/x")]):
        flags = (*own, f"dataset_params.root={typed}")
        leave_run(tmp_path / str(seed), 0.9, *flags, seed=seed, data=data)
    leave_run(tmp_path / "3", 0.9, *own, "dataset_params.root=y", seed=3)
    leave_run(tmp_path / "4", 0.9, "dataset=mine:Signs", "dataset_params.root=y", seed=4, data="/y")
    rows, left_out = collect([tmp_path])
    found = {(row.changes.split("dataset_params.root=")[1].split()[0], row.seeds) for row in rows}
    assert found == {("/a/x", "0 1"), ("/b/x", "2"), ("y", "3"), ("/y", "4")} and not left_out


def test_what_is_left_out_is_said(tmp_path):
    leave_run(tmp_path / "good", 0.9, PRESET, seed=0)
    leave_run(tmp_path / "dirty", 0.1, PRESET, seed=1, dirty=True)
    leave_run(tmp_path / "odd", 0.1, PRESET, seed=2, status="stopped")
    leave_run(tmp_path / "poor", 0.1, PRESET, seed=2, test=None)
    for name in ("unfinished", "failed", "damaged"):
        leave_run(tmp_path / name, 0.1, PRESET, seed=3)
    (tmp_path / "unfinished" / "result.json").unlink()
    (tmp_path / "failed" / "result.json").unlink()
    (tmp_path / "failed" / "failure.txt").write_text("the loss is nan at step 3\n")
    (tmp_path / "damaged" / "result.json").write_text("{")
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "config.yaml").write_text("")
    (tmp_path / "profile" / "profile.json").write_text("{}")
    wandb = tmp_path / "good" / "wandb" / "offline-run" / "files"
    wandb.mkdir(parents=True)
    (wandb / "config.yaml").write_text("")
    rows, left_out = collect([tmp_path])
    assert [(row.mean, row.seeds) for row in rows] == [(90.0, "0")]
    reasons = {run.folder.name: run.reason for run in left_out}
    assert reasons.pop("damaged").startswith("result.json cannot be read")
    assert reasons.pop("poor").startswith("result.json cannot be read")
    assert reasons == {
        "dirty": "the code had changes that were not committed",
        "odd": "unfinished",
        "unfinished": "unfinished",
        "failed": "failed: the loss is nan at step 3",
        "profile": "a profile by run_profiler.py, which has no figure",
    }


def test_versions_of_the_code_are_never_mixed(tmp_path):
    """The version with the most seeds stays; of two with as many, the later."""
    for seed, commit in enumerate("bbca"):
        leave_run(tmp_path / f"{commit}{seed}", 0.1 * (seed + 1), PRESET, seed=seed, commit=commit)
    leave_run(tmp_path / "x0", 0.3, "dataset=sDigits", "net.type=FlexTCN", commit="x")
    leave_run(tmp_path / "y0", 0.7, "dataset=sDigits", "net.type=FlexTCN", commit="y")
    rows, left_out = collect([tmp_path])
    assert {(row.commit, row.seeds) for row in rows} == {("b", "0 1"), ("y", "0")}
    assert sorted(run.folder.name for run in left_out) == ["a3", "c2", "x0"]
    assert "code version c; the other runs have b" in [run.reason for run in left_out]


def test_a_seed_counts_once(tmp_path):
    leave_run(tmp_path / "first", 0.2, PRESET, seed=4)
    leave_run(tmp_path / "second", 0.4, PRESET, seed=4)
    rows, left_out = collect([tmp_path, tmp_path / "first"])
    assert (rows[0].mean, rows[0].seeds) == (40.0, "4")
    assert [run.folder.name for run in left_out] == ["first"]
    assert "run again later" in left_out[0].reason


def test_a_continued_run_is_known_by_the_command_that_began_it(tmp_path):
    command = {"command": "python run_experiment.py train.resume=outputs/x"}
    leave_run(tmp_path / "0", 0.9, PRESET, **command)
    config = tmp_path / "0" / "config.yaml"
    config.write_text(f"# python run_experiment.py {PRESET}\n{config.read_text()}")
    leave_run(tmp_path / "1", 0.9, PRESET, **command)
    rows, _ = collect([tmp_path])
    assert (rows[0].preset, rows[0].changes) == ("cifar10_flexnet7", "")
    assert rows[1].preset == NO_PRESET and "dataset=CIFAR10" in rows[1].changes.split()


def test_runs_across_resolutions_have_three_figures(tmp_path):
    for seed in (0, 1):
        leave_run(
            tmp_path / str(seed),
            0.0,
            "+experiment=crossres_cifar10_flexnet7_gabor",
            seed=seed,
            source={"accuracy": 0.86 + 0.01 * seed},
            difference=-0.04,
            fine_tuned={"accuracy": 0.9},
        )
    rows, _ = collect([tmp_path])
    assert [row.figure for row in rows] == ["source", "difference", "fine_tuned"]
    texts = [tables.cells(line)[2:5] for line in lines_of(rows)]
    assert texts[0] == ("86.5 ± 0.1", "86.50 ± 0.71", "+0.00")
    assert texts[1] == ("\u22123.8 ± 1.9", "\u22124.00 ± 0.00", "\u22120.20")


def test_every_preset_has_a_place_in_the_table():
    named = [name for presets in tables.read_paper().values() for name in presets]
    assert sorted(named) == preset_names()


def test_a_line_for_every_figure_of_every_preset():
    lines = tables.make_lines([], tables.read_paper())
    assert {line.preset for line in lines} == set(preset_names())
    cells = {line.preset: tables.cells(line) for line in lines if line.figure != "top5"}
    assert cells["mnist_flexnet7"][2:4] == ("99.72 ± 0.02", "")
    assert cells["smnist_flextcn6"][2] == "99.62" and cells["pmnist_flextcn6"][2] == ""


def test_published_weights_and_the_cost_stand_beside_the_figures(monkeypatch):
    monkeypatch.setattr(tables, "costs", lambda: {"smnist_ckcnn30": 3.2})
    lines = tables.make_lines([], tables.read_paper())
    cells = {line.preset: tables.cells(line)[7:] for line in lines}
    assert cells["smnist_ckcnn30"] == ("99.32", "3.2 h") and cells["smnist_flextcn6"] == ("", "")
    measured = tables.fill_in("<!-- table: measured -->\n<!-- end of table -->", lines)
    assert "smnist_ckcnn30" in measured and "smnist_flextcn6" not in measured
    assert tables.cost_of("smnist_ckcnn30", "train.epochs=50") == "48 min"  # of 200
    assert tables.cost_of("smnist_ckcnn30", "train.lr=0.1") == ""
    assert [tables.hours_text(x) for x in (0.05, 3.21, 1234.5)] == ["3 min", "3.2 h", "1,234 h"]


def test_costs_are_measured_in_both_stages():
    from experiments import cost

    cfg = compose(["+experiment=crossres_cifar10_njet"])
    source, target = cost.stages_of(cfg)
    assert (source.size, source.epochs, target.size, target.ratio) == ((16, 16), 100, (32, 32), 2)
    assert 0 < cost.hours("digits_small") < 0.2


def test_the_command_writes_all_three_tables(tmp_path, capsys):
    for seed in (0, 1):
        leave_run(tmp_path / "runs" / str(seed), 0.99 + 0.002 * seed, PRESET, seed=seed)
    leave_run(tmp_path / "runs" / "2", 0.5, PRESET, seed=2, dirty=True)
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    table = (tmp_path / "out" / "table.md").read_text()
    assert table in printed and f"left out: {tmp_path / 'runs' / '2'}: the code had" in printed
    assert len(table.splitlines()) == 3
    [row] = csv.DictReader(io.StringIO((tmp_path / "out" / "table.csv").read_text()))
    assert (row["paper_mean"], row["paper_sd"], row["seeds"]) == ("92.2", "0.1", "0 1")
    assert float(row["mean"]) == pytest.approx(99.1)
    assert float(row["difference"]) == pytest.approx(6.9)
    assert "99.10 $\\pm$ 0.14 & +6.90" in (tmp_path / "out" / "table.tex").read_text()


def test_folders_that_are_not_there(tmp_path, capsys):
    assert main([str(tmp_path / "nowhere")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main([str(tmp_path)]) == 0
    assert "no finished run" in capsys.readouterr().out


def test_the_readme_is_made_from_the_figures_that_were_kept(tmp_path, monkeypatch):
    readme = tmp_path / "readme.md"
    readme.write_text("before\n<!-- table: images -->\nold\n<!-- end of table -->\nafter\n")
    monkeypatch.setattr(tables, "README", readme)
    monkeypatch.setattr(tables, "OVERVIEW", readme)
    monkeypatch.setattr(tables.write_results, "__defaults__", (tmp_path / "results.csv",))
    monkeypatch.setattr(tables.read_results, "__defaults__", (tmp_path / "results.csv",))
    leave_run(tmp_path / "a", 0.9, PRESET)
    leave_run(tmp_path / "b", 0.6, "+experiment=mnist_flexnet7")
    assert main([str(tmp_path / "a"), "--write"]) == 0
    assert main([str(tmp_path / "b"), "--write"]) == 0
    leave_run(tmp_path / "c", 0.8, PRESET, seed=3)
    assert main([str(tmp_path / "c"), "--write"]) == 0
    text = readme.read_text()
    assert text.startswith("before\n<!-- table: images -->\n| result |")
    assert text.endswith("<!-- end of table -->\nafter\n") and "old" not in text
    assert "| 80.00 | \u221212.20 | 3 |" in text and "| 60.00 | \u221239.72 | 0 |" in text
    assert "90.00" not in text


def test_the_readme_shows_the_lines_with_a_figure_and_names_the_other_presets():
    paper = {"images": {"a": {"title": "A", "accuracy": [9.5]}, "b": {"title": "B"}}}
    text = tables.known(tables.make_lines([], paper))
    assert "| A | `+experiment=a` | 9.5 |" in text and "| B |" not in text
    assert text.endswith("\n\nPresets without a figure, the paper's or ours: `b`.\n")


def test_every_preset_is_in_the_readme():
    text = tables.README.read_text()
    named = set(re.findall(r"`(?:\+experiment=)?(\w+)[^`]*`", text))
    assert [name for name in preset_names() if name not in named] == []


def test_an_unknown_section_is_named():
    with pytest.raises(UsageError, match="table: imagse"):
        tables.fill_in("<!-- table: imagse -->\n<!-- end of table -->", [])


def test_the_tables_of_the_readme_are_those_of_the_files():
    lines = tables.make_lines(tables.read_results(), tables.read_paper())
    for path, mark in ((tables.README, "images"), (tables.OVERVIEW, "measured")):
        text = path.read_text()
        assert f"<!-- table: {mark} -->" in text
        assert tables.fill_in(text, lines) == text, "run: python -m experiments.collect --write"


def test_rows_are_named_by_what_differs(tmp_path):
    for name, accuracy in (("SIREN", 0.8), ("Gabor", 0.85), ("MAGNet", 0.9)):
        flags = (f"kernel.type={name}", "net.no_hidden=20", "train.epochs=7")
        sizes = {"stem": [3, 3], "head": [5, 7]}
        leave_run(
            tmp_path / name, accuracy, *flags, parameters=1234, seconds=9.6, kernel_sizes=sizes
        )
    rows, _ = collect([tmp_path])
    columns = ["result", "here", "parameters", "sizes", "seconds"]
    lines = latex(tables.make_lines(rows, {}), columns).splitlines()
    assert lines[1:4] == [r"\begin{tabular}{lrrrr}", r"\toprule", " & ".join(columns) + r" \\"]
    assert lines[4] == r"\midrule" and lines[8] == r"\bottomrule"
    named = {
        line.split(" & ")[0]: line.split(" & ")[1:] for line in lines[5:8]
    }  # MAGNet is the default, and so no change
    start = "(no preset)"
    assert set(named) == {
        rf"{start}, \texttt{{kernel.type=SIREN}}",
        rf"{start}, \texttt{{kernel.type=Gabor}}",
        start,
    }
    rest = ["90.00", "1,234", r"3$\times$3 to 5$\times$7", r"10 \\"]
    assert named[start] == rest
    shown = tables.markdown(tables.make_lines(rows, {}), columns)
    for name in (start, f"{start}, `kernel.type=SIREN`", f"{start}, `kernel.type=Gabor`"):
        assert f"| {name} |" in shown


def test_changed_code_is_let_in_where_it_is_asked_for_and_marked(tmp_path):
    leave_run(tmp_path / "run", 0.8, PRESET, dirty=True)
    rows, left_out = collect([tmp_path])
    assert rows == [] and "not committed" in left_out[0].reason
    rows, left_out = collect([tmp_path], changed=True)
    assert left_out == [] and tables.cells(lines_of(rows)[0], ["code"]) == ("aaaaaaa+",)


def test_columns_are_chosen(tmp_path, capsys):
    leave_run(tmp_path / "run", 0.8, PRESET, parameters=671_650)
    assert main([str(tmp_path), "--columns", "result,here,parameters"]) == 0
    assert "| 80.00 | 671,650 |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--columns", "nope"])
    assert "'nope' is no column; choose from result, command" in capsys.readouterr().err


def test_signs_of_latex_are_written_out():
    assert escaped("a_b & 50% ~{x}") == r"a\_b \& 50\% \textasciitilde{}\{x\}"


def test_figures_written_by_an_earlier_version_are_read(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("preset,changes,figure,mean,sd,seeds,commit\nx,,accuracy,1.5,,0,abc\n")
    [row] = tables.read_results(path)
    assert (row.mean, row.sd, row.parameters, row.sizes, row.seconds) == (1.5, None, None, "", None)
    tables.write_results([replace(row, changes="a=1", parameters=3, sizes="3", seconds=2.0)], path)
    assert tables.read_results(path)[1].parameters == 3
