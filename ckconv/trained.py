"""Trained networks: loaded ready to use, and saved for others to load."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ckconv import by_path, checkpoint
from ckconv.errors import UsageError, reason
from ckconv.findings import BEST, DESCRIPTION, LAST, WEIGHTS, find
from ckconv.models.blocks import set_resolution
from ckconv.models.build import ALIASES, NAMES, Parts, build
from ckconv.nn.sized import fix_sizes

DIGEST = "sha256"  # of the weights, in their description

Settings = TypeVar("Settings")
Make = Callable[[Mapping[str, Any], Mapping[str, Any]], nn.Module]  # config, task -> network


class Trained(nn.Module):
    """A trained network with what it takes to use it, in evaluation mode.

    Called on samples as they are stored (pixels of 0 to 255, for most images), (B, channels,
    *size), it normalises them and gives what the network gives: for classes their logits,
    (B, classes) or (B, classes, L). Sequences may be shorter or longer than those it was trained
    on; with `lengths` (B,) they are padded behind those, which counts in nothing.

    network: the network alone, on normalised samples.
    config: every flag of the run that trained it, nested.
    task: what it was trained for: name, in_channels, out_channels, size, loss, per_step, timed,
        padded.
    class_names: by output; empty where they are not known, or numbers are predicted.
    mean, std, scale: inputs become (x / scale - mean) / std.
    data: the fixed tensors of its data set, as a permutation of pixels.
    """

    def __init__(
        self,
        network: nn.Module,
        config: Mapping[str, Any],
        task: Mapping[str, Any],
        normalisation: Mapping[str, Any] | None = None,
        data: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.config, self.task = network, config, task
        self.class_names = tuple(task["class_names"])
        self.data = dict(data or {})
        values = normalisation or {"mean": 0.0, "std": 1.0, "scale": 1.0}
        self.scale = float(values["scale"])
        for name in ("mean", "std"):
            self.register_buffer(name, torch.as_tensor(values[name], dtype=torch.float32))
        self.eval()

    @property
    def padded(self) -> bool:
        """Whether it was trained on sequences with lengths of their own."""
        return self.task.get("padded", self.config["dataset_params"].get("lengths", False))

    def normalise(self, x: Tensor) -> Tensor:
        """Stored samples as the network wants them, float32."""
        mean, std = self.mean, self.std
        if mean.ndim and mean.shape[-1] > 1:  # by step: a shorter sequence has the first ones
            mean, std = mean[..., : x.shape[-1]], std[..., : x.shape[-1]]
        return (x.float() / self.scale - mean) / std

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        x = self.normalise(x)
        return self.network(x) if lengths is None else self.network(x, lengths)

    @torch.no_grad()
    def predict(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The classes' probabilities, (B, classes) or (B, classes, L), or the predicted numbers."""
        output = self(x, lengths)
        return output.softmax(1) if self.task["loss"] == "cross_entropy" else output


def load(
    path: str | os.PathLike[str],
    device: torch.device | str = "cpu",
    make: Make | None = None,
) -> Trained:
    """A trained network, ready to use.

    Args:
        path: a run's folder (its best epoch, or its last one), a checkpoint file of such a run, a
            folder that `save` wrote, a network that comes with the library, as `digits`, or
            `owner/name` on the Hugging Face hub, where huggingface_hub is installed.
        device: where the network shall be.
        make: what makes the network of a config and a task, for others than this library's.

    Raises:
        UsageError: for a path that is none of these, and for networks that this library does not
            have.
    """
    found = find(path)
    if found.is_dir() and (found / DESCRIPTION).exists() and (found / WEIGHTS).exists():
        return _load_saved(found, make or make_network).to(device)
    if found.is_dir():
        names = [name for name in (BEST, LAST) if (found / name).exists()]
        if not names:
            raise UsageError(f"{found}: holds neither {BEST}, {LAST} nor {WEIGHTS}")
        found = found / names[0]
    return _load_checkpoint(found, make or make_network).to(device)


def _load_checkpoint(found: Path, make: Make) -> Trained:
    content = checkpoint.read(found)
    if not checkpoint.is_ours(content):
        raise UsageError(
            f"{found}: is a checkpoint of another program; make the network yourself, and load a "
            "published one with ckconv.published.load_state_dict"
        )
    if "task" not in content:
        raise UsageError(
            f"{found}: was written before checkpoints said what they are for; go on with its run "
            "for an epoch, with train.resume, to have it written anew"
        )
    with checkpoint.fitting(found):
        network = _network(content, tested_weights(content), str(found), make)
        described = (content["config"], content["task"], content["normalisation"], content["data"])
        return Trained(network, *described)


def tested_weights(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights of a checkpoint that are tested: their moving average, where there is one."""
    averaged = content.get("averaged")
    if not averaged:
        return content["model"]
    prefix = "module."
    return {k.removeprefix(prefix): v for k, v in averaged.items() if k.startswith(prefix)}


def save(trained: Trained, folder: str | os.PathLike[str]) -> None:
    """Write a trained network into a folder: the weights as safetensors, the rest as JSON.

    The layout of the Hugging Face hub: a folder that can be uploaded, and loaded by `load`. Raises
    `UsageError` where safetensors is not installed.
    """
    tensors = {f"network.{name}": value for name, value in trained.network.state_dict().items()}
    tensors |= {f"data.{name}": value for name, value in trained.data.items()}
    tensors |= {"mean": trained.mean, "std": trained.std}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    described = {"config": trained.config, "task": trained.task, "scale": trained.scale}
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    weights = _safetensors("torch").save(plain)
    checkpoint.write_whole(folder / WEIGHTS, weights)
    described |= {"format": checkpoint.FORMAT, DIGEST: hashlib.sha256(weights).hexdigest()}
    checkpoint.write_whole(folder / DESCRIPTION, (json.dumps(described, indent=2) + "\n").encode())


def _load_saved(folder: Path, make: Make) -> Trained:
    safetensors = _safetensors("torch")
    try:
        text, weights = (folder / DESCRIPTION).read_text(), (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise UsageError(f"{folder}: cannot be read: {error.strerror}") from error
    with checkpoint.fitting(folder, "is no network of this library, or damaged"):
        described = json.loads(text)
        if not checkpoint.is_ours(described):
            raise ValueError(f"it has no format {checkpoint.FORMAT!r}")
        found = hashlib.sha256(weights).hexdigest()
        if described.get(DIGEST, found) != found:  # earlier versions kept none
            raise ValueError(f"{WEIGHTS} is not as it was written")
        tensors = safetensors.load(weights)
        norms = {"mean": tensors["mean"], "std": tensors["std"], "scale": described["scale"]}
        network = _network(described, _under("network.", tensors), str(folder), make)
        data = _under("data.", tensors)
        return Trained(network, described["config"], described["task"], norms, data)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def make_network(config: Mapping[str, Any], task: Mapping[str, Any]) -> nn.Module:
    """The untrained network of a config: FlexNet, FlexTCN, or a class by its path."""
    name = config["net"]["type"]
    if ALIASES.get(name, name) not in NAMES and not by_path.is_path(name):
        raise UsageError(
            f"net.type={name}: is a baseline that the library does not have; predict.py uses it"
        )
    return build(
        task["in_channels"],
        task["out_channels"],
        len(task["size"]),
        from_plain(Parts, config),
        per_step=task["per_step"],
        timed=task["timed"],
    )


def _network(
    content: Mapping[str, Any], weights: Mapping[str, Tensor], where: str, make: Make
) -> nn.Module:
    """The network that a description is of, with its weights."""
    config, task = content["config"], content["task"]
    try:
        network = make(config, task)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    flags = config["cross_res"]
    source, target = flags["source_res"], flags["target_res"]
    if source and flags["resize"] == f"{target},{target}":  # fine-tuned at another resolution
        fix_sizes(network, task["in_channels"], (source, source))
        set_resolution(network, target / source)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        why = reason(error)
        raise UsageError(f"{where}: its weights do not fit its config: {why}") from error
    if not all(x.isfinite().all() for x in weights.values() if x.is_floating_point()):
        raise UsageError(f"{where}: its weights are not finite; give those of a run that went well")
    return network


def from_plain(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """A dataclass, and those within it, of nested plain values; what it has no field for is left
    out."""
    given = {}
    for field in dataclasses.fields(kind):
        if field.name in values:
            value, nested = values[field.name], field.default_factory
            is_nested = dataclasses.is_dataclass(nested)
            given[field.name] = from_plain(nested, value) if is_nested else value
    return kind(**given)


def _safetensors(part: str) -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise UsageError(
            f"{WEIGHTS}: needs safetensors, which is not installed; pip install safetensors adds it"
        ) from error
    return getattr(safetensors, part)
