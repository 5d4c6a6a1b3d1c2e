"""Published checkpoints in the wrappings in which they come."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ckconv import ConvConfig, KernelConfig, NetConfig, UsageError, published
from ckconv.models import FlexTCN

PUBLISHED_NAMES = (
    (r"^head\.", "finallyr."),
    (r"^blocks\.", "backbone."),
    (r"\.conv([12])\.", r".cconv\1."),
    (r"\.shortcut\.", ".shortcut.0."),
    (r"\.generator\.layers\.(\d)\.linear\.", lambda m: f".Kernel.kernel_net.{4 * int(m[1])}."),
    (r"\.generator\.output\.", ".Kernel.kernel_net.8."),
)


def make_ckcnn(seed: int) -> FlexTCN:
    torch.manual_seed(seed)
    kernel = KernelConfig(type="SIREN", no_hidden=8, omega_0=12.0, weight_norm=True)
    net = NetConfig(type="FlexTCN", no_hidden=5, norm="LayerNorm")
    model = FlexTCN(1, 4, net, kernel, ConvConfig(type="CKConv")).eval()
    model(torch.randn(1, 1, 20))
    return model


def as_published(model: nn.Module) -> dict[str, torch.Tensor]:
    """The weights under the CKConv code's names, with the buffers that some of its files have."""
    state = {}
    for name, value in model.state_dict().items():
        owner, _, leaf = name.rpartition(".")
        for pattern, replacement in PUBLISHED_NAMES:
            name = re.sub(pattern, replacement, name)
        if leaf == "extent":
            state[name.replace("extent", "train_length")] = value.int()
            state[name.replace("extent", "conv_kernel")] = torch.randn(5, 1, 20)
        elif leaf != "omega_0":
            state[name] = value[..., None] if "kernel_net" in name and value.ndim == 2 else value
    return state


def prefixed(prefix: str):
    return lambda state: {prefix + name: value for name, value in state.items()}


def averaged(state):
    return {"n_averaged": torch.tensor(7), **prefixed("module.")(state)}


def compiled_inside(state):
    return {
        name.replace("backbone.1.", "backbone._orig_mod.1."): value for name, value in state.items()
    }


@pytest.mark.parametrize(
    "wrap",
    [
        dict,
        prefixed("module."),
        prefixed("_orig_mod."),
        prefixed("model."),
        prefixed("module._orig_mod."),
        averaged,
        compiled_inside,
        lambda state: {"state_dict": prefixed("model.")(state), "epoch": 3},
        lambda state: {"model_state_dict": state, "optimizer_state_dict": {}},
        lambda state: {"net": state, "acc": 0.9},
        lambda state: {"model": {"state_dict": prefixed("module.")(state)}},
    ],
)
def test_a_published_checkpoint_loads_however_it_is_wrapped(wrap):
    model, other = make_ckcnn(0), make_ckcnn(1)
    state = as_published(model)
    assert published.is_published(state) and any("conv_kernel" in name for name in state)
    x = torch.randn(3, 1, 20)
    assert not torch.allclose(model(x), other(x), atol=1e-3)
    published.load_state_dict(other, wrap(state))
    torch.testing.assert_close(other(x), model(x))


def test_weights_that_torch_wraps_itself_are_unwrapped():
    model = make_ckcnn(0)
    wrapped = AveragedModel(nn.DataParallel(model))
    assert published.unwrap(wrapped.state_dict()).keys() == model.state_dict().keys()
    compiled = torch.compile(model)
    assert published.unwrap(compiled.state_dict()).keys() == model.state_dict().keys()


def test_what_does_not_fit_is_named():
    state = as_published(make_ckcnn(0))
    state["backbone.0.cconv1.Kernel.kernel_net.12.bias"] = state.pop("finallyr.bias")
    with pytest.raises(UsageError, match=r"head\.bias is missing"):
        published.load_state_dict(make_ckcnn(1), state)
