"""The fit itself: gradient descent on the squared error, the best weights kept."""

from __future__ import annotations

from cfg.schema import SchedulerParams, Train

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ckconv.errors import UsageError
from ckernel_fitting.generators import build_generator, count_parameters
from ckernel_fitting.settings import Settings, decays
from ckernel_fitting.targets import Target
from program.device import seed_everything
from training.schedule import Schedule

LOOK_EVERY = 50  # iterations between looks at the loss, each of which makes a GPU wait


@dataclass
class Fit:
    """What a fit gave: the best values, and how it got there."""

    values: Tensor  # (channels, *size), of the best weights
    mse: float
    psnr: float
    psnr_between: float | None  # halfway between the samples, where the function is known there
    best_step: int  # the iteration, from 0, whose weights are the best
    history: Tensor  # (iterations done,), mean squared errors
    seconds: float
    processor_seconds: float  # of all threads of this process
    parameters: int
    state: dict[str, Tensor]  # the best weights

    @property
    def diverged(self) -> bool:
        return not math.isfinite(self.history[-1].item())


def psnr(mse: float, value_range: float) -> float:
    """Peak signal-to-noise ratio in dB, the peak being the target's own range of values."""
    return math.inf if mse == 0 else 10 * math.log10(value_range**2 / mse)


def fit(
    target: Target,
    settings: Settings,
    device: torch.device | str = "cpu",
    report: Callable[[int, float], None] | None = None,
) -> Fit:
    """Fit the generator of `settings` to `target`. On the CPU the seed decides the result.

    `report(iterations_done, mse)` is called every few iterations. A fit whose error is no longer
    a number ends there; raises `UsageError` where it never was one.
    """
    seed_everything(settings.seed)
    model = build_generator(settings, target.dim, target.channels, max(target.values.shape[1:]))
    model.to(device).train()
    weights = flatten_parameters(model)
    start, processor_start = time.perf_counter(), time.process_time()
    best, history = descend(model, weights, target, settings, report)
    seconds = time.perf_counter() - start
    processor_seconds = time.process_time() - processor_start
    if not history.isfinite().any():
        raise UsageError(f"lr={settings.lr:g}: the error is no number from the start; try another")
    with torch.no_grad():
        weights.copy_(best)
        fitted = model(target.positions.to(device))[0]
        mse = (fitted - target.values.to(device)).square().mean().item()
        between = psnr_at(model, target.between, target.value_range, device)
    return Fit(
        values=fitted.cpu(),
        mse=mse,
        psnr=psnr(mse, target.value_range),
        psnr_between=between,
        best_step=int(history.nan_to_num(math.inf).argmin()),
        history=history,
        seconds=seconds,
        processor_seconds=processor_seconds,
        parameters=count_parameters(model),
        state={name: tensor.cpu().clone() for name, tensor in model.state_dict().items()},
    )


def descend(
    model: nn.Module,
    weights: nn.Parameter,
    target: Target,
    settings: Settings,
    report: Callable[[int, float], None] | None,
) -> tuple[Tensor, Tensor]:
    """Train the flat `weights` of `model`: the best of them, and the error of every iteration."""
    values, positions = target.values.to(weights.device), target.positions.to(weights.device)
    optimizer = build_optimizer(weights, settings)
    schedule = build_schedule(optimizer, settings)
    best, best_mse = weights.detach().clone(), weights.new_tensor(math.inf)
    history = weights.new_zeros(settings.no_iterations)
    for step in range(settings.no_iterations):
        weights.grad.zero_()
        mse = (model(positions)[0] - values).square().mean()
        mse.backward()
        with torch.no_grad():
            history[step] = mse
            is_better = mse < best_mse
            best_mse = torch.where(is_better, mse, best_mse)
            best = torch.where(is_better, weights, best)
        optimizer.step()
        schedule.step()
        done = step + 1
        if done % LOOK_EVERY == 0 or done == settings.no_iterations:
            look = history[step].item()
            if report:
                report(done, look)
            if not math.isfinite(look):
                break
            schedule.end_epoch(look)
    return best, history[:done].detach().cpu()


def psnr_at(
    model: nn.Module, target: Target | None, value_range: float, device: torch.device | str
) -> float | None:
    """The PSNR of a fitted model at the positions of another target; None without one."""
    if target is None:
        return None
    fitted = model(target.positions.to(device))[0]
    return psnr((fitted - target.values.to(device)).square().mean().item(), value_range)


def flatten_parameters(model: nn.Module) -> nn.Parameter:
    """One flat parameter, with its gradient, of which the model's parameters become views.

    With it a step of Adam is one operation, and so is keeping the best weights without asking
    the device whether they are better.
    """
    parameters = list(model.parameters())
    weights = nn.Parameter(torch.cat([p.detach().flatten() for p in parameters]))
    weights.grad = torch.zeros_like(weights)
    end = 0
    for parameter in parameters:
        start, end = end, end + parameter.numel()
        parameter.data = weights.data[start:end].view_as(parameter)
        parameter.grad = weights.grad[start:end].view_as(parameter)
    return weights


def build_optimizer(weights: nn.Parameter, settings: Settings) -> torch.optim.Optimizer:
    """The optimizer of `optim`."""
    if settings.optim == "Adam":
        return torch.optim.Adam([weights], lr=settings.lr, fused=True)
    if settings.optim == "SGD":
        momentum = settings.optim_momentum
        return torch.optim.SGD([weights], lr=settings.lr, momentum=momentum, fused=True)
    return torch.optim.RMSprop([weights], lr=settings.lr)


def build_schedule(optimizer: torch.optim.Optimizer, settings: Settings) -> Schedule:
    """The schedules of the training loop, with iterations in the place of epochs."""
    factor = settings.decay_factor
    if settings.scheduler == "exponential":
        factor **= -1 / settings.no_iterations
    train = Train(
        epochs=settings.no_iterations,
        lr=settings.lr,
        scheduler=settings.scheduler,
        scheduler_params=SchedulerParams(
            decay_steps=decays(settings),
            decay_factor=factor,
            patience=settings.patience // LOOK_EVERY,
        ),
    )
    return Schedule(optimizer, train, steps_per_epoch=1, higher_is_better=False)
