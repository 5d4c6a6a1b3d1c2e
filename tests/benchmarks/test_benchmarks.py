"""The benchmarks on networks of a few hundred weights: what is compared, counted and written."""

from __future__ import annotations

import functools
import json
import math
from unittest import mock

import pytest
import torch

import ckconv.functional
from benchmarks import backends, epoch, measure, report, run, scaling, workloads
from benchmarks.backends import BACKENDS, COMPARED
from benchmarks.measure import Runner, Settings, compare, times_ours
from benchmarks.workloads import WORKLOADS, Problem, Workload, multiplications
from ckconv.functional.ways import Ways

TINY = ("net.no_hidden=4", "net.no_blocks=1", "kernel.no_hidden=8", "mask.init_value=0.5")
IMAGES = Workload("tiny-images", 3, TINY)
SEQUENCES = Workload("tiny-sequences", 3, ("dataset=sDigits", "net.type=FlexTCN", *TINY))
CPU = torch.device("cpu")
INSTALLED = [backend for backend in BACKENDS.values() if backend.is_installed]
SAME = [backend for backend in INSTALLED if not backend.ordinary]


@functools.cache
def problem_of(workload: Workload) -> Problem:
    """The workload made ready; nothing that takes its steps changes it."""
    return workloads.make_problem(workload, CPU, "fp32")


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# ----- backends -----------------------------------------------------------------------------------


@pytest.mark.parametrize("workload", [IMAGES, SEQUENCES], ids=lambda w: w.name)
@pytest.mark.parametrize("backend", SAME, ids=lambda b: b.name)
@pytest.mark.parametrize("mode", ["train", "evaluate"])
def test_all_backends_compute_the_same(workload, backend, mode):
    """Outputs, and in training gradients, are those of a network left alone."""
    problem = problem_of(workload)
    plain, runner = Runner(problem, BACKENDS["ours"], mode), Runner(problem, backend, mode)
    with torch.set_grad_enabled(mode == "train"):
        expected = plain.model(problem.inputs)
        with backend.active():
            found = runner.model(problem.inputs)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    if mode == "train":
        expected.sum().backward()
        found.sum().backward()
        for own, other in zip(runner.model.parameters(), plain.model.parameters()):
            torch.testing.assert_close(own.grad, other.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "name, used, unused",
    [
        ("direct", "direct_conv", ["fft_conv", "spectral_conv"]),
        ("fft", "fft_conv", ["direct_conv", "spectral_conv"]),
        ("spectral", "spectral_conv", ["direct_conv", "fft_conv"]),
        ("uncut", "spectral_conv", ["direct_conv", "fft_conv"]),
        ("whole", "spectral_conv", ["direct_conv", "fft_conv"]),
    ],
)
def test_a_backend_is_what_it_is_called(name, used, unused):
    runner = Runner(problem_of(SEQUENCES), BACKENDS[name], "train")
    original = getattr(ckconv.functional, used)
    with mock.patch.object(ckconv.functional, used, side_effect=original) as calls:
        for function in unused:
            calls.attach_mock(mock.Mock(side_effect=AssertionError(function)), function)
        with mock.patch.multiple(ckconv.functional, **{f: getattr(calls, f) for f in unused}):
            runner.step()
    assert calls.call_count == len(runner.problem.sizes)


def test_uncut_transforms_are_of_the_whole_sequence():
    flags = ("dataset=AddProblem", "dataset_params.seq_length=4000", *TINY)
    long = Workload("long", 1, (*flags, "mask.init_value=0.005"))
    problem = problem_of(Workload("long", 1, (*long.flags, "mask.init_value=0.005")))
    from ckconv.functional.spectral import factored

    lengths = {}
    for name in ("uncut", "spectral"):
        runner = Runner(problem, BACKENDS[name], "train")
        with runner.backend.active():
            plan = factored.best_way
            with mock.patch.object(factored, "best_way", side_effect=plan) as calls:
                taken = []
                calls.side_effect = lambda *a, plan=plan, taken=taken: (
                    taken.append(plan(*a)) or taken[-1]
                )
                runner.model(problem.inputs)
        lengths[name] = max(frames.lengths[0] for frames, _ in taken)
    assert lengths["uncut"] >= 4000 > lengths["spectral"]


def test_only_ours_spares_the_steps_that_nobody_reads():
    problem = problem_of(SEQUENCES)
    lengths = {}
    for name in ("ours", "all-steps", "direct"):
        runner = Runner(problem, BACKENDS[name], "uncached")
        last = runner.model.blocks[-1].conv2
        with mock.patch.object(last, "forward", side_effect=last.forward) as calls:
            runner.step()
        lengths[name] = calls.call_count
    assert lengths == {"ours": 0, "all-steps": 1, "direct": 1}


def test_an_ordinary_network_has_the_same_kernel_sizes():
    for workload in (IMAGES, SEQUENCES):
        problem = problem_of(workload)
        model = BACKENDS["conv"].network(problem)
        assert workloads.kernel_sizes(model) == {}
        for name, size in problem.sizes.items():
            assert model.get_submodule(name).kernel_size == size
        assert model(problem.inputs).shape == problem.model(problem.inputs).shape


def test_everything_is_as_before_after_a_backend():
    def state() -> Ways:
        return ckconv.functional.current()

    before = state()
    for backend in INSTALLED:
        with pytest.raises(KeyError), backend.active():
            assert (state() != before) == (backend.name != "ours")
            raise KeyError
        assert state() == before


# ----- workloads ----------------------------------------------------------------------------------


def test_the_workloads_are_the_papers_networks():
    assert len([w for w in WORKLOADS.values() if not w.is_epoch]) == 19
    problem = problem_of(WORKLOADS["flexnet7-32x32-sigma0.25"])
    assert tuple(problem.inputs.shape) == (16, 3, 32, 32)
    assert sum(p.numel() for p in problem.model.parameters()) == 671_650
    assert set(problem.sizes.values()) == {(17, 17)} and len(problem.sizes) == 15
    # 18,360 pairs of channels: 3 x 24 in the stem, then blocks of 24, 24, 36, 36, 36, 48, 48.
    expected = 16 * 32 * 32 * 17 * 17 * 18_360
    assert multiplications(problem, "evaluate") == expected
    assert multiplications(problem, "train") == 3 * expected


def test_the_longest_sequences():
    problem = problem_of(WORKLOADS["flextcn2-16000-sigma0.075"])
    assert tuple(problem.inputs.shape) == (4, 1, 16000)
    assert set(problem.sizes.values()) == {(1288,)}


def test_every_workload_has_a_config():
    for workload in list(WORKLOADS.values())[::3]:
        cfg = workload.config("bf16")
        assert cfg.train.precision == "bf16" and 0 < cfg.train.lr < 1e-9
        assert cfg.train.batch_size == (workload.batch or 64)


def test_steps_leave_the_kernels_as_they_are():
    problem = problem_of(IMAGES)
    runner = Runner(problem, BACKENDS["ours"], "train")
    for _ in range(3):
        runner.step()
    assert workloads.kernel_sizes(runner.model) == problem.sizes
    assert runner.totals.results()["targets"] == 9


# ----- measuring ----------------------------------------------------------------------------------


def test_ratios_are_medians_of_the_rounds():
    samples = {"direct": [2.0, 4.0, 30.0], "fft": [6.0], "ours": [1.0, 2.0, 10.0]}
    assert times_ours(samples) == {"direct": 2.0, "fft": 3.0, "ours": 1.0}
    assert times_ours({"direct": [1.0]}) == {}


def test_a_comparison(monkeypatch):
    monkeypatch.setattr(measure, "SHORTEST", 1e-6)
    three = [BACKENDS[name] for name in ("direct", "conv", "ours")]
    row = compare(IMAGES, three, "train", Settings(CPU, rounds=3, clock="process"))
    assert row["shape"] == [3, 1, 8, 8] and row["kernels"] == [(9, 9)]
    for result in row["backends"].values():
        assert len(result["samples"]) == 3
        assert 0 < result["lowest"] <= result["seconds"] <= result["highest"]
    # Weights, two moments of Adam and gradients are there at the end of the step.
    runner = Runner(problem_of(IMAGES), BACKENDS["ours"], "train")
    weights = sum(p.numel() * 4 for p in runner.model.parameters())
    assert row["backends"]["ours"]["peak_bytes"] > 4 * weights
    assert row["times_ours"]["ours"] == 1.0 and row["times_ours"]["direct"] > 0


def test_what_takes_too_long_is_left_out_unless_asked_for(monkeypatch):
    monkeypatch.setitem(backends.DIRECT_LIMIT, "cpu", 1.0)
    both = [BACKENDS[name] for name in ("direct", "ours")]
    row = compare(IMAGES, both, "evaluate", Settings(CPU, rounds=1))
    assert "multiply-adds" in row["backends"]["direct"]["skipped"]
    assert set(row["times_ours"]) == {"ours"}
    row = compare(IMAGES, both, "evaluate", Settings(CPU, rounds=1, slow=True))
    assert row["backends"]["direct"]["seconds"] > 0


def test_a_slow_backend_is_timed_once(monkeypatch):
    monkeypatch.setattr(measure, "ONCE", 0.0)
    row = compare(IMAGES, [BACKENDS["ours"]], "uncached", Settings(CPU, rounds=4))
    assert len(row["backends"]["ours"]["samples"]) == 1


def test_kept_kernels_are_sampled_once_and_fresh_ones_every_time():
    problem = problem_of(IMAGES)
    counts = {}
    for mode in ("evaluate", "uncached"):
        runner = Runner(problem, BACKENDS["ours"], mode)
        layer = runner.model.stem
        with mock.patch.object(layer, "sample_kernel", side_effect=layer.sample_kernel) as calls:
            for _ in range(3):
                runner.step()
        counts[mode] = calls.call_count
    assert counts == {"evaluate": 1, "uncached": 3}


def test_an_epoch():
    workload = Workload("tiny-epoch", 0, TINY, is_epoch=True)
    three = [BACKENDS[name] for name in ("direct", "conv", "ours")]
    settings = Settings(CPU, flags=("train.max_batches=2",))
    row = epoch.time_epoch(workload, three, settings, "")
    assert set(row["seconds"]) == {"ours"} and row["seconds"]["ours"] > 0
    assert row["kernels"] == [(9, 9)]


# ----- the programs -------------------------------------------------------------------------------


@pytest.fixture
def tiny_workloads(monkeypatch):
    monkeypatch.setattr(measure, "SHORTEST", 1e-6)
    for module in (run, measure):
        monkeypatch.setattr(module, "WORKLOADS", {w.name: w for w in (IMAGES, SEQUENCES)})


FAST = ["--device", "cpu", "--threads", "1", "--rounds", "2"]


def test_a_run_writes_json_a_table_and_a_chart(tiny_workloads, tmp_path, capsys):
    place = ["--output", str(tmp_path)]
    names = [name for name in COMPARED if BACKENDS[name].is_installed]
    run.main([*FAST, *place, "--workloads", "*images"])
    run.main([*FAST, *place, "--workloads", "*sequences", "--add", "--modes", "evaluate"])
    values = json.loads((tmp_path / "cpu-fp32.json").read_text())
    assert [(row["workload"], row["mode"]) for row in values["results"]] == [
        ("tiny-images", "train"),
        ("tiny-images", "evaluate"),
        ("tiny-sequences", "evaluate"),
    ]
    assert set(values["results"][0]["backends"]) == set(names)
    assert values["machine"]["threads"] == 1 and values["settings"]["rounds"] == 2
    table = (tmp_path / "cpu-fp32.md").read_text()
    row = next(line for line in table.splitlines() if line.startswith("| tiny-images"))
    assert "| 9\u00d79 |" in row and row.count("\u00b1") == len(names)
    assert "ours / plain FFT" in table and "Evaluation" in table
    assert (tmp_path / "cpu-fp32.png").read_bytes().startswith(b"\x89PNG")
    assert "tiny-images, train: plain direct" in capsys.readouterr().out


def test_a_run_without_add_starts_anew(tiny_workloads, tmp_path):
    options = [*FAST, "--output", str(tmp_path), "--backends", "ours", "--modes", "evaluate"]
    run.main([*options, "--workloads", "*images"])
    run.main([*options, "--workloads", "*sequences"])
    values = json.loads((tmp_path / "cpu-fp32.json").read_text())
    assert [row["workload"] for row in values["results"]] == ["tiny-sequences"]


def test_the_table_shows_what_was_left_out():
    results = {
        "direct": {"skipped": "1e+13 multiply-adds"},
        "ours": measure.Result([0.25, 0.5, 0.75], 3 << 20).as_dict(),
    }
    row = {"workload": "w", "mode": "train", "kernels": [[5]], "backends": results}
    text = report.table({"results": [row | {"times_ours": {"ours": 1.0}}], "epochs": []})
    assert "| w | 5 | \u2013 | 500 ms \u00b150% | \u2013 / \u2013 / \u2013 |" in text
    assert "| w | 5 | \u2013 | 3 | \u2013 |" in text


@pytest.mark.parametrize(
    "options, message",
    [
        (["--workloads", "flexnet8"], "flexnet8: none is called so"),
        (["--rounds", "0"], "--rounds 0: give 1 or more"),
        (["--threads", "-1"], "--threads -1"),
        (["--clock", "process"], "--threads 1"),
        (["--backends", "fast"], "invalid choice"),
        (["--flags", "train.channel_last=True"], "--flags: train.channel_last: there is no such"),
    ],
)
def test_what_is_typed_wrong(options, message, capsys):
    with pytest.raises(SystemExit) as end:
        run.main(options)
    assert end.value.code == 2 and message in capsys.readouterr().err


def test_flags_reach_the_network():
    settings = Settings(CPU, flags=("net.no_hidden=6",))
    problem = workloads.make_problem(IMAGES, CPU, settings.precision, settings.flags)
    assert problem.model.stem.out_channels == 6


def test_the_list_of_workloads(capsys):
    run.main(["--list", "--workloads", "flextcn2-16000-*"])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"flextcn2-16000-sigma{s}" for s in ("0.075", "0.3", "1.0")]


# ----- scaling ------------------------------------------------------------------------------------


def test_exponents():
    square = [(n, 3e-9 * n * n) for n in (64, 4096, 8192, 16384)]
    assert scaling.exponent(square) == pytest.approx(2)
    assert scaling.exponent(square[:3]) is None
    fast = scaling.n_log_n(square)
    assert fast[-1] == pytest.approx(square[-1])
    assert fast[1][1] / fast[-1][1] == pytest.approx(4096 * 12 / (16384 * 14))
    assert 1.0 < scaling.exponent(fast) < 1.15


def test_slow_backends_are_not_asked_for_large_sizes(monkeypatch):
    taken = {"direct": lambda n: (n / 64) ** 2, "fft": lambda n: n / 640, "ours": lambda n: 1e9}
    monkeypatch.setattr(scaling, "time_layer", lambda name, shape, k, s: taken[name](k))
    found = scaling.sweep([(n, (1, 8, n), n) for n in (64, 128, 256, 512, 1024)], Settings(CPU))
    sizes = {name: [n for n, _ in rows] for name, rows in found.items()}
    assert sizes["direct"] == [64, 128]
    assert sizes["fft"] == [64, 128, 256, 512, 1024]
    assert sizes["ours"] == [64, 128, 256, 512, 1024]


def test_scaling_writes_its_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scaling, "IMAGE", (1, 2, 8, 8))
    monkeypatch.setattr(scaling, "IMAGE_KERNELS", (1, 3, 9))
    monkeypatch.setattr(scaling, "FIT_FROM", 64)
    monkeypatch.setattr(scaling, "SHORTEST", 1e-6)
    scaling.main([*FAST, "--longest", "256", "--output", str(tmp_path)])
    values = json.loads((tmp_path / "scaling-cpu.json").read_text())
    assert [n for n, _ in values["seconds"]["length"]["ours"]] == [64, 128, 256]
    assert [k for k, _ in values["seconds"]["image"]["direct"]] == [1, 3, 9]
    assert all(math.isfinite(t) and t > 0 for _, t in values["seconds"]["kernel"]["fft"])
    assert set(values["exponents"]["length"]) == {"direct", "fft", "ours", "N log N"}
    assert (tmp_path / "scaling-cpu.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("longest", ["100", "64", "0"])
def test_a_longest_sequence_that_will_not_do(longest, capsys):
    with pytest.raises(SystemExit):
        scaling.main(["--longest", longest])
    assert f"--longest {longest}: give a power of two" in capsys.readouterr().err
