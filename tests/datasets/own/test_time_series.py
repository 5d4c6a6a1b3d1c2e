"""Time series of one's own, in tables and `.ts` files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ckconv.errors import UsageError
from datasets import build_loaders, describe

HEADER = "series,time,a,b,label\n"


def rows(series: int, length: int, label: object, gap: float = 1.0) -> str:
    return "".join(f"s{series},{i * gap:g},{series + i},{-i},{label}\n" for i in range(length))


@pytest.fixture
def write(make_cfg, tmp_path):
    """Write a file and make the config that reads it."""

    def make(text: str, name: str = "data.csv", **params):
        cfg = make_cfg("TimeSeries", **params)
        cfg.dataset_params.val_fraction = 0.2
        (tmp_path / name).write_text(text)
        cfg.dataset_params.root = str(tmp_path / name)
        return cfg

    return make


def table(lengths=(6,), gaps=(1.0,), labels=("up", "down"), count: int = 40) -> str:
    return HEADER + "".join(
        rows(i, lengths[i % len(lengths)], labels[i % len(labels)], gaps[i % len(gaps)])
        for i in range(count)
    )


class TestTables:
    @pytest.fixture(autouse=True)
    def needs_pandas(self):
        pytest.importorskip("pandas")

    def test_even_steps(self, write):
        task, loaders = build_loaders(write(table()))
        assert task.class_names == ("down", "up") and not task.timed
        assert (task.in_channels, task.size) == (2, (6,))
        assert (loaders.train.num_samples, loaders.test.num_samples) == (27, 6)
        a, b = next(iter(loaders.test.batches()))[0].unbind(1)
        assert (a.diff() > 0).all() and (b.diff() < 0).all()

    def test_rows_are_sorted_by_time(self, write):
        head, *lines = table().splitlines(keepends=True)
        shuffled = [lines[i] for i in np.random.RandomState(0).permutation(len(lines))]
        inputs = [x for x, _ in build_loaders(write(head + "".join(shuffled)))[1].test.batches()]
        assert (torch.cat(inputs)[:, 0].diff() > 0).all()

    def test_other_names_and_no_times(self, write):
        cfg = write(table().replace(HEADER, "patient,clock,pulse,b,state\n"))
        columns = cfg.dataset_params.columns
        columns.series, columns.label, columns.channels = "patient", "state", ["pulse"]
        with pytest.raises(UsageError, match="has no column 'time', but 'patient', 'clock'"):
            describe(cfg)
        columns.time = ""
        assert describe(cfg).in_channels == 1

    def test_two_rates_and_lengths(self, write):
        task, loaders = build_loaders(write(table(lengths=(6, 4), gaps=(1.0, 0.5))))
        assert task.timed and task.in_channels == 3 and task.size == (6,)
        assert loaders.state["std"][-1] == 1.0  # the larger of the two steps
        raw = loaders.test.inputs
        short = raw[raw[:, -1, -1] < 4]
        assert len(short) and (short[:, -1] == torch.tensor([0, 0.5, 1, 1.5, 2.5, 3.5])).all()
        assert set(loaders.test.lengths.tolist()) == {4, 6}
        assert (loaders.test.lengths[raw[:, -1, -1] < 4] == 4).all()

    def test_lengths_alone_need_no_times(self, write):
        task, loaders = build_loaders(write(table(lengths=(6, 4))))
        assert not task.timed and task.size == (6,) and task.padded
        for inputs, _, lengths in loaders.test.batches():
            own = inputs[:, 1] * loaders.state["std"][1] + loaders.state["mean"][1]
            for values, length in zip(own, lengths.tolist()):  # b counts down from 0
                expected = -torch.arange(6.0).clamp(max=length - 1)
                torch.testing.assert_close(values, expected, atol=1e-5, rtol=0)
        steps = {n: -np.arange(n) for n in (6, 4)}
        learned = torch.cat([loaders.train.lengths, loaders.validation.lengths])
        learned = [steps[n] for n in learned.tolist()]
        assert loaders.state["mean"][1] == pytest.approx(np.concatenate(learned).mean())

    def test_dates(self, write):
        text = "series,time,a,label\n"
        for i in range(40):
            days = ("01", "02", "05") if i % 2 else ("01", "03", "04")
            text += "".join(f"{i},2024-01-{day},{day},{i % 2}\n" for day in days)
        task, loaders = build_loaders(write(text))
        assert task.timed and loaders.state["std"][-1] == 2 * 86_400

    def test_numbers_and_labels_per_step(self, write):
        task = describe(write(table(labels=(0.5, 1.5, 2.5))))
        assert task.loss == "mse" and task.out_channels == 1
        text = HEADER + "".join(
            f"{i},{t},{t},{t},{'ab'[(i + t) % 2]}\n" for i in range(20) for t in range(5)
        )
        assert describe(write(text)).per_step
        with pytest.raises(UsageError, match="with a label per step all must be equally long"):
            describe(write(text + "99,0,0,0,a\n99,1,1,1,b\n"))

    def test_a_folder_of_parts(self, write, tmp_path):
        cfg = write(table(), "train.csv")
        (tmp_path / "my_test.csv").write_text(table(count=8))
        cfg.dataset_params.root = str(tmp_path)
        loaders = build_loaders(cfg)[1]
        assert (loaders.train.num_samples, loaders.test.num_samples) == (32, 8)

    @pytest.mark.parametrize(
        "line, said",
        [
            ("s9,0,x,1,up", "data.csv, line 242: the column 'a' holds x, no number"),
            ("s9,0,,1,up", "line 242: the column 'a' holds nan"),
            ("s9,noon,1,1,up", "line 242: the column 'time' holds noon"),
            ("s9,0,1,1,", "line 242: the column 'label' holds nan, no label"),
            (",0,1,1,up", "line 242: the column 'series'"),
            ("s0,3,1,1,up", "line 242: the column 'time' holds 3, a time for the second time"),
            ("s9,0,1,1,up,7,8", "is not a readable table"),
        ],
    )
    def test_a_wrong_row_is_named(self, write, line, said):
        with pytest.raises(UsageError, match=said):
            describe(write(table() + line + "\n"))

    def test_empty_tables(self, write):
        with pytest.raises(UsageError, match="is not a readable table"):
            describe(write(""))
        with pytest.raises(UsageError, match="holds no rows"):
            describe(write(HEADER))

    def test_parquet(self, write, tmp_path):
        pytest.importorskip("pyarrow")
        import pandas

        cfg = write(table())
        pandas.read_csv(cfg.dataset_params.root).to_parquet(tmp_path / "data.parquet")
        expected = next(iter(build_loaders(cfg)[1].test.batches()))[0]
        cfg.dataset_params.root = str(tmp_path / "data.parquet")
        torch.testing.assert_close(next(iter(build_loaders(cfg)[1].test.batches()))[0], expected)


def test_pandas_is_asked_for_where_it_is_missing(write, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(UsageError, match="pip install pandas"):
        describe(write(table()))


def test_ts_files_of_the_archives(write, tmp_path):
    lines = [f"{i},{i + 1},{i}:1,2,{i}:{'ab'[i % 2]}" for i in range(20)]
    text = "@problemName X\n@data\n" + "\n".join(lines)
    cfg = write(text, "X_TRAIN.ts")
    (tmp_path / "X_TEST.ts").write_text(text)
    cfg.dataset_params.root = str(tmp_path)
    task, loaders = build_loaders(cfg)
    assert task.class_names == ("a", "b") and (task.in_channels, task.size) == (2, (3,))
    assert (loaders.train.num_samples, loaders.test.num_samples) == (16, 20)
    numbers = (
        text.replace("@data", "@targetlabel true\n@data").replace(":a", ":0.5").replace(":b", ":2")
    )
    (tmp_path / "X_TRAIN.ts").write_text(numbers)
    (tmp_path / "X_TEST.ts").unlink()
    assert describe(cfg).loss == "mse"


def test_a_missing_file_is_said(make_cfg):
    cfg = make_cfg("TimeSeries")
    with pytest.raises(UsageError, match="does not exist; give a file"):
        describe(cfg)
    Path(cfg.dataset_params.root).mkdir()
    with pytest.raises(UsageError, match="has no train file"):
        describe(cfg)
