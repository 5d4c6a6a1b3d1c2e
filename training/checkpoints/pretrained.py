"""Starting from weights that exist: a local checkpoint, ours or a published one, or W&B's."""

from __future__ import annotations

from cfg.flags import composed, flatten, plain
from cfg.schema import Config

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from ckconv import UsageError, published
from training import checkpoints
from training.checkpoints.saved import fitting
from training.finite import not_finite
from training.report import wandb_log

NETWORK = ("net.", "kernel.", "conv.", "mask.")
DATA = ("dataset", "cross_res.resize", "cross_res.interpolation", "cross_res.blur")
OF_A_TEST = ("dataset_params.sr_test", "dataset_params.sr_positions")  # not of what was trained


def adopt(cfg: DictConfig, typed: tuple[str, ...] = ()) -> DictConfig:
    """The config with what the checkpoint of ours that it starts from is a network of.

    The flags of the network, its data and their size, where they are at their defaults and not
    among the `typed` ones, are taken from the checkpoint; of another data set only the network's.
    """
    path = Path(cfg.pretrained_params.filepath).expanduser()
    if not cfg.pretrained or not path.is_file():
        return cfg
    content = checkpoints.read(path)
    if not checkpoints.is_ours(content):
        return cfg
    with fitting(path):
        return _with_network_of(content, cfg, typed)


def _with_network_of(
    content: dict[str, Any], cfg: DictConfig, typed: tuple[str, ...]
) -> DictConfig:
    standard = flatten(plain(OmegaConf.structured(OmegaConf.get_type(cfg))))
    given, saved = flatten(plain(cfg)), flatten(content["config"])
    chosen = {flag for flag in given if flag in typed or given[flag] != standard.get(flag)}
    adopted = NETWORK
    if "dataset" not in chosen or cfg.dataset == saved["dataset"]:
        adopted += DATA
        _adopt_size(saved, content.get("task"), cfg.cross_res.source_res)
    flags = [flag for flag in given.keys() & saved.keys() - chosen if flag.startswith(adopted)]
    return composed(cfg, {flag: saved[flag] for flag in flags if flag not in OF_A_TEST})


def _adopt_size(saved: dict[str, Any], task: dict[str, Any] | None, present: int | None) -> None:
    """Where run_crossres.py trained at another size than the images', say that size."""
    is_told = saved.get("cross_res.resize") or not saved.get("cross_res.source_res")
    if task and not present and not is_told:
        saved["cross_res.resize"] = "x".join(map(str, task["size"]))


def load_given(model: nn.Module, cfg: Config, folder: Path) -> dict[str, Tensor]:
    """Load the weights that the flags name, if they do; see `find` and `load`."""
    path = find(cfg, folder)
    return load(model, path, cfg.pretrained_strict) if path else {}


def find(cfg: Config, folder: Path) -> Path | None:
    """The checkpoint file that the flags name, fetched from W&B if it lies there; None for none.

    Raises `UsageError` where there is no such file, or none is named.
    """
    if cfg.pretrained and cfg.pretrained_wandb:
        raise UsageError("pretrained=True and pretrained_wandb=True: choose one of the two")
    if cfg.pretrained_wandb:
        params = cfg.pretrained_wandb_params
        return wandb_log.fetch(params.filename, params.run_path, folder)
    if not cfg.pretrained:
        return None
    if not cfg.pretrained_params.filepath:
        raise UsageError("pretrained=True: give pretrained_params.filepath=path/of/a/checkpoint")
    return Path(cfg.pretrained_params.filepath).expanduser()


def load(model: nn.Module, path: Path, strict: bool = True) -> dict[str, Tensor]:
    """Load a checkpoint's weights into `model`; returns the data set's tensors it was kept with.

    With `strict=False` whatever fits is loaded, and a line says how much that was. Raises
    `UsageError` for a file that is no checkpoint or does not fit.
    """
    content = checkpoints.read(path)
    state = _weights(content, path)
    try:
        if name := not_finite(state):
            raise UsageError(f"{name} is not finite; give the weights of a run that went well")
        if not strict:
            _load_what_fits(model, state)
        elif published.is_published(state):
            published.load_state_dict(model, state)
        else:
            _load_exactly(model, state)
    except (UsageError, RuntimeError) as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())}") from error
    return _data(content, path) if checkpoints.is_ours(content) else {}


def _data(content: dict[str, Any], path: Path) -> dict[str, Tensor]:
    data = content.get("data", {})
    if not isinstance(data, dict) or not all(isinstance(x, Tensor) for x in data.values()):
        raise UsageError(f"{path}: what it keeps of its data set is damaged; give another file")
    return data


def _weights(content: dict[str, Any], path: Path) -> dict[str, Tensor]:
    """The state dict in a checkpoint: itself, or what lies under a usual name."""
    state = published.unwrap(content)
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise UsageError(f"{path}: holds no network's weights; give a checkpoint of a network")
    return state


def _load_exactly(model: nn.Module, state: dict[str, Tensor]) -> None:
    own = model.state_dict()
    missing = {name for name in own.keys() - state.keys() if not name.endswith(".resolution")}
    problems = [f"{name} is missing" for name in missing]  # older files have no resolution
    problems += [f"{name} is unknown" for name in state.keys() - own.keys()]
    problems += [
        f"{name} has shape {tuple(state[name].shape)}, not {tuple(own[name].shape)}"
        for name in own.keys() & state.keys()
        if own[name].shape != state[name].shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UsageError(
            f"the checkpoint does not fit the model: {'; '.join(sorted(problems)[:3])}{more}; "
            "give the flags it was trained with, or pretrained_strict=False"
        )
    model.load_state_dict(state)


def _load_what_fits(model: nn.Module, state: dict[str, Tensor]) -> None:
    own = model.state_dict()
    if published.is_published(state):
        state = published.translate(model, state)
    fitting = {k: v for k, v in state.items() if k in own and v.shape == own[k].shape}
    if not fitting:
        raise UsageError("nothing in the checkpoint fits the model")
    model.load_state_dict(fitting, strict=False)
    print(f"pretrained_strict=False: {len(fitting)} of the network's {len(own)} tensors loaded")
