"""Fit a function or an image with a kernel generator, and show what it can represent."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ckernel_fitting.command_line import program
from ckernel_fitting.fit import fit, psnr
from ckernel_fitting.records import output_folder, write_results
from ckernel_fitting.settings import Settings, flat, unused, validate
from ckernel_fitting.targets import build_target
from program.device import choose_device
from training.report.wandb_log import WandbLog

LINES = 10  # of progress, where there is no terminal to draw a bar on
LOGGED = 500  # points of the loss that W&B gets
SMALL = 2**14  # positions under which one thread is faster than several


class Progress:
    """The loss and the PSNR as a bar on a terminal, as lines elsewhere, and on W&B."""

    def __init__(self, total: int, value_range: float, wandb: WandbLog) -> None:
        self.total, self.value_range, self.wandb = total, value_range, wandb
        self.bar = tqdm(total=total, disable=None, leave=False, unit="it")
        self.printed = self.logged = 0

    def __call__(self, done: int, mse: float) -> None:
        quality = psnr(mse, self.value_range) if mse < float("inf") else float("nan")
        self.bar.set_postfix_str(f"loss {mse:.2e}, PSNR {quality:.1f} dB", refresh=False)
        self.bar.update(done - self.bar.n)
        if self.bar.disable and done * LINES // self.total > self.printed:
            self.printed = done * LINES // self.total
            print(f"{done:>7}/{self.total} | loss {mse:.3e} | PSNR {quality:.1f} dB", flush=True)
        if done * LOGGED // self.total > self.logged:
            self.logged = done * LOGGED // self.total
            self.wandb.log({"loss": mse, "psnr": quality}, step=done)


def run(settings: Settings, given: set[str]) -> None:
    """Fit, then write the picture, the weights and a row of the results."""
    validate(settings)
    note = unused(settings, given)
    if note:
        print(note)
    target = build_target(settings)
    device = choose_device(settings.device)
    if target.positions[0, 0].numel() <= SMALL:
        torch.set_num_threads(1)
    folder = output_folder(settings.out)
    size = " x ".join(str(n) for n in target.values.shape[1:])
    print(f"{target.name} of {size} samples, {settings.generator}, on {device.type}")
    wandb = WandbLog(settings, flat(settings), folder)
    finished = False
    try:
        progress = Progress(settings.no_iterations, target.value_range, wandb)
        result = fit(target, settings, device, progress)
        progress.bar.close()
        picture = write_results(settings, target, result, folder)
        wandb.summarize({"mse": result.mse, "psnr": result.psnr, "best_step": result.best_step})
        wandb.image(picture, name="fit")
        finished = True
    finally:
        wandb.finish(failed=not finished)


if __name__ == "__main__":
    program("fit_function.py", __doc__, run)
