"""BatchNorm over the batches of all processes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from ckconv.nn import CKConv
from program.distributed import world_size


class _Synchronized:
    """A BatchNorm whose statistics in training are those of the whole batch, on any device.

    Input and output (B, C, *size). Forward and backward exchange C sums twice.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or world_size() == 1:
            return super().forward(x)
        axes = [0, *range(2, x.ndim)]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        values = x.float()
        own = values.new_tensor([x.numel() // x.shape[1]])  # padded sequences: not all the same
        sums = all_reduce(torch.cat((values.sum(axes), own)))  # (C + 1,)
        count = sums[-1].detach()
        mean = sums[:-1] / count  # (C,)
        centred = values - mean.view(shape)
        variance = all_reduce(centred.square().sum(axes)) / count  # (C,)
        self._keep(mean.detach(), variance.detach() * (count / (count - 1).clamp(min=1)))
        scale = torch.rsqrt(variance + self.eps)
        if self.affine:
            scale = scale * self.weight
        y = centred * scale.view(shape)
        return (y + self.bias.view(shape) if self.affine else y).to(x.dtype)

    @torch.no_grad()
    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics towards those of this batch."""
        if not self.track_running_stats:
            return
        self.num_batches_tracked += 1
        rate = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, rate)
        self.running_var.lerp_(variance, rate)


class SynchronizedBatchNorm1d(_Synchronized, nn.BatchNorm1d):
    """`nn.BatchNorm1d` over all processes."""


class SynchronizedBatchNorm2d(_Synchronized, nn.BatchNorm2d):
    """`nn.BatchNorm2d` over all processes."""


def synchronize_batchnorm(model: nn.Module) -> nn.Module:
    """Let a network's BatchNorms take their statistics over all processes; returns the network.

    Those inside kernel generators stay: they see the same positions in every process. Names and
    weights are unchanged, so that checkpoints fit with and without it.
    """
    for name, child in model.named_children():
        if isinstance(child, CKConv):
            continue
        if type(child) in (nn.BatchNorm1d, nn.BatchNorm2d):
            setattr(model, name, _synchronized(child))
        else:
            synchronize_batchnorm(child)
    return model


def _synchronized(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> nn.Module:
    kind = SynchronizedBatchNorm2d if isinstance(norm, nn.BatchNorm2d) else SynchronizedBatchNorm1d
    new = kind(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
    ).to(next(norm.parameters()).device)
    new.load_state_dict(norm.state_dict())
    return new
