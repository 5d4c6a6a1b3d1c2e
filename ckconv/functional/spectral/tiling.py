"""Which transforms a spectral convolution is made of: of whole inputs, of frames, or of tiles."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ckconv.functional.geometry import Geometry
from ckconv.functional.spectral.frames import Frames, remembered
from ckconv.functional.spectral.plan import CostModel, best_frames
from ckconv.functional.spectral.tiles import Tiles
from ckconv.functional.ways import Ways

_TILES = (24, 32, 40, 48, 64)  # lengths of transforms, where several tiles make an axis


@remembered
def best_way(
    x_shape: tuple,
    kernel_shape: tuple,
    geometry: Geometry,
    functions: int,
    device: str,
    ways: Ways,
) -> tuple[Frames | Tiles, float]:
    """The cheapest transforms for x (B, C, *size) and kernels (O, C / groups, *k), and seconds.

    `functions` as `functional.functions` counts them. `ways` are what `using` asks for: tiles
    are not for compiled code, nor where a length of frames is given. Raises `ValueError` for
    frames that are shorter than the kernel.
    """
    shape = *kernel_shape[:2], *geometry.spans(kernel_shape[2:])
    arguments = geometry.pad, functions, device, geometry.circular, ways.frames
    frames = best_frames(x_shape, shape, *arguments)
    seconds = CostModel(device).spectral(x_shape, kernel_shape, frames, functions)
    if ways.tiles is False or ways.frames is not None:
        return frames, seconds
    tiles = best_tiles(x_shape, kernel_shape, geometry, functions, device)
    if tiles is None:
        return frames, seconds
    tiled = CostModel(device).tiled(x_shape, kernel_shape, tiles, functions)
    return (tiles, tiled) if ways.tiles or tiled < seconds else (frames, seconds)


def best_tiles(
    x_shape: tuple,
    kernel_shape: tuple,
    geometry: Geometry,
    functions: int,
    device: str,
) -> Tiles | None:
    """The cheapest tiles to convolve images x (B, C, H, W) with a kernel (O, C, *k) of functions.

    None where tiles are not for it: for other than images, groups, kernels that are written out,
    and on other devices than CPUs, where they were never measured.
    """
    if len(x_shape) != 4 or x_shape[1] != kernel_shape[1] or not functions or device != "cpu":
        return None
    per_axis = (_axis_tiles(axis, x_shape[2:], kernel_shape[2:], geometry) for axis in (0, 1))
    candidates = [
        Tiles(*zip(*(entries for entries, _ in pair)), sum((w for _, w in pair), ()))
        for pair in itertools.product(*per_axis)
    ]
    cost = CostModel(device)
    seconds = [cost.tiled(x_shape, kernel_shape, tiles, functions) for tiles in candidates]
    return candidates[seconds.index(min(seconds))]


def _axis_tiles(
    axis: int, size: Sequence[int], kernel_size: Sequence[int], geometry: Geometry
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The ways to cut an axis: the entries of `Tiles` for it, and whether it wraps."""
    n, (before, after) = size[axis], geometry.pad[axis]
    span = geometry.spans(kernel_size)[axis]
    out = n + before + after - span + 1
    if axis in geometry.circular and out <= n:
        return [((n, 1, out, n, 0, -before, out), (axis,))]
    if axis in geometry.circular:  # written out first
        n, before = n + before + after, 0
    whole = max(n + before, out + span - 1 - before, out)
    whole += whole % 2
    ways = [((whole, 1, out, n, 0, -before, out), ())]
    for length in _TILES:
        step = length - span + 1
        if length < whole and step >= length // 4:
            ways.append(((length, -(-out // step), step, length, before, 0, out), ()))
    return ways
