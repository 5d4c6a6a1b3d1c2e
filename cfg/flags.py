"""All flags: by their full names, with their values, and which of them change no result."""

from __future__ import annotations

from cfg.schema import Config

import dataclasses
import re
import typing
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

# Flags that say where and how a run computes and is watched, not what it computes.
NEUTRAL = (
    "comment",
    "dataset_params.from_cache",
    "dataset_params.in_ram",
    "dataset_params.root",
    "dataset_params.workers",
    "debug",
    "device",
    "logger",
    "profile.",
    "summary",
    "test.",
    "time",
    "train.channels_last",
    "train.compile",
    "train.report_top5_acc",
    "wandb.",
)
# Flags that name a file or a folder, and others whose value is any text.
PATHS = (
    "dataset_params.root",
    "hydra.run.dir",
    "hydra.sweep.dir",
    "pretrained_params.filepath",
    "profile.directory",
    "train.resume",
    "wandb.dir",
)
TEXTS = (
    *PATHS,
    "comment",
    "cross_res.resize",
    "pretrained_wandb_params.filename",
    "pretrained_wandb_params.run_path",
    "wandb.entity",
    "wandb.project",
)
# Flags that may change between a run and its continuation.
FREE = (*NEUTRAL, "pretrained", "train.early_stop", "train.epochs")


def known_flags(schema: type = Config, prefix: str = "") -> dict[str, type]:
    """Every flag by its full name, as `train.lr`, and its type."""
    flags = {}
    types = typing.get_type_hints(schema)
    for field in dataclasses.fields(schema):
        name = prefix + field.name
        if dataclasses.is_dataclass(types[field.name]):
            flags |= known_flags(types[field.name], name + ".")
        else:
            flags[name] = types[field.name]
    return flags


def plain(cfg: Config | DictConfig) -> dict[str, Any]:
    """A config as a dictionary of plain values, from OmegaConf or from a dataclass."""
    if isinstance(cfg, DictConfig):
        return OmegaConf.to_container(cfg, resolve=True)
    return dataclasses.asdict(cfg)


def composed(cfg: DictConfig, values: Mapping[str, Any]) -> DictConfig:
    """The config composed further, with other values of some flags, by their full names.

    A text is taken literally: what a file says reads no environment.
    """
    further = OmegaConf.create({})
    for flag, value in values.items():
        if isinstance(value, str):
            value = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
        OmegaConf.update(further, flag, value, force_add=True)
    return OmegaConf.merge(cfg, further)


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested config as one level of full flag names."""
    flags = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flags |= flatten(value, f"{prefix}{key}.")
        else:
            flags[prefix + key] = value
    return flags
