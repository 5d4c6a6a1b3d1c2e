"""A network's convolutions, as what is reported of them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ckconv.nn import CKConv, Mask, NJet

SIZE = "kernel/"  # what the columns of kernel sizes begin with


@dataclass
class Layer:
    """A convolution whose kernel is generated."""

    name: str
    kernel: Tensor  # (out, in, *size), masked and cropped, on the CPU
    size: tuple[int, ...]  # in use: the learned one, where a mask crops
    full_size: tuple[int, ...]  # before cropping
    mask: Mask | None
    module: CKConv | NJet


def generated_layers(model: nn.Module) -> list[Layer]:
    """The layers with generated kernels, in the order of the network, after a forward pass."""
    layers = []
    for name, module in model.named_modules():
        if isinstance(module, CKConv) and module.kernel_size:
            full_size, mask = module.kernel_size, module.mask
        elif isinstance(module, NJet):
            full_size, mask = module.cropped_size(), None
        else:
            continue
        kernel = module.conv_kernel.detach().float().cpu()
        layers.append(Layer(name, kernel, module.cropped_size(), full_size, mask, module))
    return layers


def fixed_sizes(model: nn.Module) -> list[tuple[int, ...]]:
    """The kernel sizes of ordinary convolutions over more than one sample, each once."""
    sizes = {m.kernel_size for m in model.modules() if isinstance(m, nn.Conv1d | nn.Conv2d)}
    return sorted(size for size in sizes if max(size) > 1)


def layer_values(model: nn.Module) -> dict[str, float]:
    """What an epoch's row says of every layer with a generated kernel, after a forward pass.

    The kernel's size in use by axis, under names as `kernel/blocks.0.conv1/size_0`, and mean and
    sigma of its mask, as `mask_parameters` names them.
    """
    sizes = {
        f"{SIZE}{name}/size_{axis}": n
        for name, module in model.named_modules()
        if isinstance(module, NJet) or (isinstance(module, CKConv) and module.kernel_size)
        for axis, n in enumerate(module.cropped_size())
    }
    return sizes | mask_parameters(model)


def mask_parameters(model: nn.Module) -> dict[str, float]:
    """Mean and sigma of every mask by axis, under names as `mask/blocks.0.conv1/sigma_0`."""
    values = {}
    for name, module in model.named_modules():
        if isinstance(module, Mask):
            layer = name.removesuffix(".mask")
            for kind in ("mean", "sigma"):
                for axis, value in enumerate(getattr(module, kind).detach().tolist()):
                    values[f"mask/{layer}/{kind}_{axis}"] = value
    return values


def size_text(size: tuple[int, ...]) -> str:
    """A kernel's size as `7×7`."""
    return "×".join(str(n) for n in size)


def count_parameters(model: nn.Module) -> int:
    """The number of parameters that are trained."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
