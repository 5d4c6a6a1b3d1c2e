"""What a convolution takes, said in a sentence where it is given something else."""

from __future__ import annotations

from torch import Tensor

from ckconv.errors import UsageError, is_whole
from ckconv.functional.kernel import FactoredKernel

_SHAPES = (
    "expected (B, C, L) with (O, C / groups, K), (B, C, H, W) with (O, C / groups, Kh, Kw), or "
    "(B, C, D, H, W) with (O, C / groups, Kd, Kh, Kw)"
)


def check_input(x: Tensor) -> None:
    """Raise for what no convolution takes: no tensor, whole numbers, no samples."""
    if not isinstance(x, Tensor):
        raise TypeError(f"the input is a {type(x).__name__}; give a torch.Tensor")
    if not (x.is_floating_point() or x.is_complex()):
        raise RuntimeError(
            f"the input is of {x.dtype}; a convolution takes floating-point numbers: give x.float()"
        )
    if 0 in x.shape[1:]:
        raise ValueError(f"the input {tuple(x.shape)} is empty; give at least one sample per axis")


def check_shapes(
    x: Tensor, kernel: Tensor | FactoredKernel, bias: Tensor | None, causal: bool, groups: int
) -> None:
    """Raise for a batch (B, C, *size), a kernel (O, C / groups, *k) and a bias that do not fit.

    And for a `causal` that was meant for a stride, which stands there in PyTorch's functions.
    """
    if not isinstance(causal, bool):
        raise UsageError(f"causal={causal}: give True or False; what follows it by its name")
    if not isinstance(kernel, FactoredKernel | Tensor):
        raise TypeError(f"the kernel is a {type(kernel).__name__}; give a torch.Tensor")
    if kernel.dtype.is_complex or not kernel.dtype.is_floating_point:
        raise RuntimeError(f"the kernel is of {kernel.dtype}; give real floating-point numbers")
    shapes = f"input {tuple(x.shape)} and kernel {tuple(kernel.shape)}"
    if x.ndim not in (3, 4, 5) or kernel.ndim != x.ndim:
        raise ValueError(f"{shapes} do not fit: {_SHAPES}")
    if not is_whole(groups) or groups < 1:
        raise UsageError(f"groups={groups}: give a whole number of at least 1")
    if x.shape[1] % groups or kernel.shape[0] % groups:
        raise UsageError(
            f"groups={groups}: does not divide the {x.shape[1]} input and {kernel.shape[0]} output "
            "channels"
        )
    if kernel.shape[1] * groups != x.shape[1] or 0 in kernel.shape:
        raise ValueError(f"{shapes} do not fit, with groups={groups}: {_SHAPES}")
    if bias is not None and bias.shape != kernel.shape[:1]:
        raise ValueError(f"bias {tuple(bias.shape)} does not fit {kernel.shape[0]} outputs")
