"""How pictures come to be: a figure in the common style, drawn without a display, and written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ckconv.antialiasing.colours import STYLE
from ckconv.errors import reason
from program.files import write_figure
from program.progress import say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 130


@contextlib.contextmanager
def picture(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure of so many inches to draw into, which is written to `path` at the end.

    A PNG, a PDF or an SVG, by the path's ending. Needs matplotlib.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        write_figure(path, figure, dpi=DPI)


@contextlib.contextmanager
def optional(*names: str) -> Iterator[None]:
    """Around drawing for a run: where it fails, one line says so, and the run goes on."""
    try:
        yield
    except Exception as error:  # no matplotlib, a full disk: no reason to lose a training
        why = reason(error, 120)
        say(f"{' and '.join(names)}: not drawn ({why}); the run goes on without")


def clean(axis: Axes, grid: bool = True) -> None:
    """Fewer lines: no upper and right spine, a faint grid behind what is drawn."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(width=0.5, length=2)
    axis.set_axisbelow(True)
    axis.grid(grid)
