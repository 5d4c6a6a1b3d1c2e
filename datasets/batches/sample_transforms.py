"""A user's own augmentation of images, by torchvision.transforms.v2.

`dataset_params.transforms` is a list of names, each alone or with its arguments:

    [RandomHorizontalFlip, {RandomRotation: {degrees: 15}}, {ColorJitter: {brightness: 0.2}}]
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ckconv.errors import UsageError, check_choice
from datasets.batches.transforms import Draw

FLAG = "dataset_params.transforms"


@dataclass(frozen=True)
class Transform:
    """A transform of one image (C, H, W) and the name it was given by."""

    name: str
    apply: Callable[[Tensor], Tensor]


def build_transforms(listed: Sequence[Any]) -> tuple[Transform, ...]:
    """The transforms of a list of names, or of `{name: {argument: value}}`.

    Raises `UsageError` for a name that torchvision does not have, and for arguments that it does
    not take.
    """
    return tuple(_build(item) for item in listed or ())


def _build(item: Any) -> Transform:
    from torchvision.transforms import v2

    name, arguments = item, {}
    if isinstance(item, Mapping) and len(item) == 1:
        ((name, arguments),) = item.items()
    if not isinstance(name, str) or not isinstance(arguments or {}, Mapping):
        raise UsageError(f"{FLAG}: {item} is no name and no {{Name: {{argument: value}}}}")
    classes = inspect.getmembers(v2, inspect.isclass)
    known = dict(
        (n, c) for n, c in classes if issubclass(c, v2.Transform) and c is not v2.Transform
    )
    check_choice(FLAG, name, known)
    plain = {key: _plain(value) for key, value in (arguments or {}).items()}
    try:
        return Transform(name, known[name](**plain))
    except (TypeError, ValueError) as error:
        raise UsageError(f"{FLAG}: {name} does not take {plain}: {error}") from error


def _plain(value: Any) -> Any:
    """A list of a composed config as an ordinary one."""
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return [_plain(part) for part in value] if is_list else value


def check_transforms(transforms: Sequence[Transform], channels: int, size: tuple[int, int]) -> None:
    """Raise `UsageError` for a transform that fails on images, or changes their shape or type."""
    image = torch.zeros(channels, *size, dtype=torch.uint8)
    for transform in transforms:
        try:
            result = transform.apply(image)
        except Exception as error:  # torchvision's mistakes are of many kinds
            raise UsageError(
                f"{FLAG}: {transform.name} fails on an image of {tuple(image.shape)}: {error}"
            ) from error
        if not isinstance(result, Tensor) or result.shape != image.shape:
            shape = tuple(getattr(result, "shape", ()))
            raise UsageError(
                f"{FLAG}: {transform.name} makes {shape} of an image of {tuple(image.shape)}; its "
                "size must stay; dataset_params.resize and cross_res.resize change it"
            )
        if result.dtype != image.dtype:
            raise UsageError(
                f"{FLAG}: {transform.name} makes {result.dtype} of {image.dtype}; leave it out, "
                "pixels are scaled and normalised for the network afterwards"
            )


class SampleTransforms(nn.Module):
    """Transforms of single images, one after another, on a batch (B, C, H, W).

    Every image gets random numbers of its own, whatever the number of processes: slower than the
    named augmentations, which work on whole batches.
    """

    def __init__(self, transforms: Sequence[Transform]):
        super().__init__()
        self.transforms = tuple(transforms)

    def forward(self, x: Tensor, draw: Draw) -> Tensor:
        seeds = (draw.uniform(1)[:, 0].double() * 2**24).long().tolist()
        before = torch.get_rng_state()
        try:
            images = [self._transformed(image, seed) for image, seed in zip(x, seeds)]
        finally:
            torch.set_rng_state(before)
        return torch.stack(images)

    def _transformed(self, image: Tensor, seed: int) -> Tensor:
        torch.default_generator.manual_seed(seed)
        for transform in self.transforms:
            image = transform.apply(image)
        return image
