"""Files that do not hold what belongs there: of runs, and of one's own data."""

from __future__ import annotations

import json
import math
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from trial_case import COLLECT, DRAW, EXPERIMENT, PREDICT, Case, Harm

# ----- files of a run -----------------------------------------------------------------------------


def tensors(file: str, change: Callable[[dict], object]) -> Harm:
    """Harm done to the content of a checkpoint."""

    def harm(run: Path) -> None:
        content = torch.load(run / file, weights_only=True)
        change(content)
        torch.save(content, run / file)

    return harm


def plain(file: str, change: Callable[[dict], object]) -> Harm:
    """Harm done to the content of a JSON file."""

    def harm(run: Path) -> None:
        content = json.loads((run / file).read_text())
        change(content)
        (run / file).write_text(json.dumps(content))

    return harm


def octets(file: str, change: Callable[[bytes], bytes]) -> Harm:
    return lambda run: (run / file).write_bytes(change((run / file).read_bytes()))


def as_folder(file: str) -> Harm:
    def harm(run: Path) -> None:
        (run / file).unlink()
        (run / file).mkdir()

    return harm


def first_weight(content: dict) -> str:
    return next(k for k, v in content["model"].items() if v.is_floating_point())


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 64]) + content[middle + 1 :]


BYTES = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "text": lambda content: b"no checkpoint",
    "flipped": flipped,
}
CHANGES = [
    lambda c: c.clear(),
    lambda c: c.pop("model"),
    lambda c: c["model"].clear(),
    lambda c: c["model"].popitem(),
    lambda c: c["model"].update(more=torch.ones(2)),
    lambda c: c["model"].update({first_weight(c): torch.ones(1, 2, 3)}),
    lambda c: c["model"].update({first_weight(c): "text"}),
    lambda c: c["model"][first_weight(c)].fill_(math.nan),
    lambda c: c["model"].update({next(k for k in c["model"] if "extent" in k): torch.ones(2)}),
    lambda c: c.update(model=[1, 2]),
    lambda c: c.pop("config"),
    lambda c: c.update(config="text"),
    lambda c: c["config"].pop("net"),
    lambda c: c["config"]["net"].update(no_hidden="many"),
    lambda c: c["config"]["net"].update(no_hidden=-4),
    lambda c: c["config"].update(dataset="Nothing"),
    lambda c: c["config"]["kernel"].update(type="Nothing"),
    lambda c: c.pop("progress"),
    lambda c: c["progress"].update(epoch=-1),
    lambda c: c["progress"].update(best_epoch="one"),
    lambda c: c.update(task={"name": 3}),
    lambda c: c.update(data={"permutation": "text"}),
]
OF_LAST = [
    lambda c: c.pop("optimizer"),
    lambda c: c.update(random=[]),
    lambda c: c.update(random=[{"cpu": torch.ones(3)}]),
    lambda c: c["progress"].update(history=[]),
    lambda c: c["schedule"].clear(),
    lambda c: c.update(log={}),
]


def run_files() -> Iterator[Case]:
    for harm in (*(octets("last.pt", b) for b in BYTES.values()), as_folder("last.pt")):
        yield Case("file", EXPERIMENT, ["train.resume={run}", "train.epochs=2"], harm)
    for change in (*CHANGES, *OF_LAST):
        harm = tensors("last.pt", change)
        yield Case("file", EXPERIMENT, ["train.resume={run}", "train.epochs=2"], harm)
    for harm in (*(octets("best.pt", b) for b in BYTES.values()), as_folder("best.pt")):
        yield Case("file", PREDICT, ["checkpoint={run}", "input={here}/one.png"], harm)
        yield Case("file", EXPERIMENT, ["pretrained=True", "{best}"], harm)
    for change in CHANGES:
        yield Case("file", DRAW, ["checkpoint={run}"], tensors("best.pt", change))
        harm = tensors("best.pt", change)
        yield Case("file", EXPERIMENT, ["pretrained=True", "{best}"], harm)
    for text in ("", "no json", "[]", '{"status": "finished"}'):
        yield Case("file", COLLECT, ["{run}"], octets("result.json", lambda _, t=text: t.encode()))
    for name in ("test", "config", "command", "metric", "seconds", "parameters"):
        yield Case("file", COLLECT, ["{run}"], plain("result.json", lambda c, n=name: c.pop(n)))
        yield Case(
            "file", COLLECT, ["{run}"], plain("result.json", lambda c, n=name: c.update({n: 3}))
        )


# ----- data ---------------------------------------------------------------------------------------


def written(name: str, content: bytes | str) -> Harm:
    """A file beside the run, with this content."""

    def harm(run: Path) -> None:
        path = run.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return harm


def arrays(**content: np.ndarray) -> Harm:
    return lambda run: np.savez(run.parent / "data.npz", **content)


def pictures(change: Callable[[Path], object]) -> Harm:
    """A folder of images in classes, in which something is changed."""

    def harm(run: Path) -> None:
        folder = run.parent / "photos"
        for label in ("cat", "dog"):
            (folder / label).mkdir(parents=True)
            for number in range(20):
                pixels = np.full((8, 8), 10 * number, np.uint8)
                Image.fromarray(pixels).save(folder / label / f"{number}.png")
        change(folder)

    return harm


def bomb(path: Path) -> None:
    """A PNG that says that it has 60000 x 60000 pixels."""
    Image.new("L", (1, 1)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)


DEEP = np.full((8, 8), 40_000, np.uint16)
X, Y = np.zeros((40, 2, 8), np.float32), np.arange(40) % 2
ARRAYS = [
    {},
    {"x": X},
    {"x": X, "y": Y[:-1]},
    {"x": X, "y": np.array(["a"] * 40)},
    {"x": np.full_like(X, np.nan), "y": Y},
    {"x": X[:0], "y": Y[:0]},
    {"x": X[:3], "y": Y[:3]},
    {"x": X.astype(complex), "y": Y},
    {"x": np.array([["a"]] * 40), "y": Y},
    {"x": np.zeros((40, 2, 0), np.float32), "y": Y},
    {"x": np.zeros((40, 1, 2, 2, 2, 2), np.float32), "y": Y},
    {"x": X, "y": Y - 1},
    {"x": X, "y": np.full(40, np.nan)},
    {"x": X, "y": Y, "times": np.zeros(8)},
    {"x": X, "y": Y, "times": np.arange(7)},
    {"x": X, "y": Y, "lengths": np.full(40, 99)},
    {"x": X, "y": Y, "x_test": X[:, :1], "y_test": Y},
]
TABLES = [
    "",
    "a,b\n1,2\n",
    "series,time,label\n1,0,a\n",
    "series,time,label,c\n1,0,a,x\n",
    "series,time,label,c\n1,0,a,1\n1,0,a,2\n",
    "series,time,label,c\n1,0,a,1\n1,1,b\n",
    "series,time,label,c\n1,0,a,nan\n1,1,a,2\n",
    "series,time,label,c\n1,now,a,1\n1,1,a,2\n",
    "series,time,label,c\n1,0,,1\n1,1,,2\n",
    "\x00\x01\x02",
    "series,series,label,c\n1,0,a,1\n",
]
SERIES = ["", "@data\n", "@data\n1,2:3:a\n", "@data\nx,y:a\n", "@data\n1,2,3\n", "1,2:a\n"]


def data_files() -> Iterator[Case]:
    def own(kind: str, name: str) -> list[str]:
        return [f"dataset={kind}", f"dataset_params.root={{here}}/{name}", "net.type=FlexTCN"]

    for content in ARRAYS:
        yield Case("file", EXPERIMENT, own("Arrays", "data.npz"), arrays(**content))
    for content in (b"", b"no zip", b"PK\x03\x04"):
        yield Case("file", EXPERIMENT, own("Arrays", "data.npz"), written("data.npz", content))
    for content in TABLES:
        yield Case("file", EXPERIMENT, own("TimeSeries", "d.csv"), written("d.csv", content))
    for content in SERIES:
        yield Case("file", EXPERIMENT, own("TimeSeries", "d.ts"), written("d.ts", content))
    yield Case("file", EXPERIMENT, own("TimeSeries", "d.parquet"), written("d.parquet", "x"))
    changes = (
        lambda folder: shutil.rmtree(folder / "cat"),
        lambda folder: shutil.rmtree(folder),
        lambda folder: (folder / "cat" / "0.png").write_bytes(b""),
        lambda folder: (folder / "cat" / "0.png").write_text("no image"),
        lambda folder: bomb(folder / "cat" / "0.png"),
        lambda folder: Image.new("L", (9, 8)).save(folder / "cat" / "0.png"),
        lambda folder: Image.fromarray(DEEP).save(folder / "cat" / "0.png"),
        lambda folder: octets("0.png", lambda c: c[:-20])(folder / "cat"),
        lambda folder: [path.unlink() for path in folder.glob("cat/*")],
        lambda folder: (folder / "test" / "bird").mkdir(parents=True),
        lambda folder: (folder / "dog" / "0.png").unlink() or (folder / "dog" / "0.png").mkdir(),
    )
    images = ["dataset=ImageFolder", "dataset_params.root={here}/photos"]
    for change in changes:
        yield Case("file", EXPERIMENT, images, pictures(change))
    inputs = (b"", b"no image", b"\x89PNG\r\n\x1a\n")
    for content in inputs:
        harm = written("one.png", content)
        yield Case("file", PREDICT, ["checkpoint={run}", "input={here}/one.png"], harm)
    yield Case(
        "file",
        PREDICT,
        ["checkpoint={run}", "input={here}/one.png"],
        lambda run: bomb(run.parent / "one.png"),
    )
