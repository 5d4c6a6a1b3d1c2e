"""What one process of several finds, for `test_distributed.py`, which compares it.

Usage: python together.py FOLDER; the environment names the process, as under torchrun.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from cfg.schema import Config  # noqa: E402

from ckconv import ConvConfig, KernelConfig, MaskConfig  # noqa: E402
from datasets.batches.loader import TensorLoader  # noqa: E402
from datasets.batches.transforms import Pipeline  # noqa: E402
from datasets.task import Task  # noqa: E402
from models import FlexNet, FlexTCN, NetConfig  # noqa: E402
from program import distributed  # noqa: E402
from program.sync_batchnorm import synchronize_batchnorm  # noqa: E402
from training.evaluation import Totals, evaluate  # noqa: E402
from training.state import Training  # noqa: E402
from training.step import train_step  # noqa: E402

TASK = Task("Images", in_channels=1, out_channels=3, size=(8, 8), train_samples=24)
CASES = {
    "plain": {"norm": "LayerNorm"},
    "accumulated": {"norm": "LayerNorm", "accumulate": 2},
    "synchronized": {"norm": "BatchNorm", "sync_batchnorm": True},
}


def make_loader(train: bool, samples: int = 24) -> TensorLoader:
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(samples, 1, 8, 8, generator=generator)
    targets = torch.randint(0, 3, (samples,), generator=generator)
    place = {"rank": distributed.rank(), "world_size": distributed.world_size()}
    return TensorLoader(inputs, targets, Pipeline(), batch_size=12, train=train, **place)


def make_model(norm: str) -> FlexNet:
    torch.manual_seed(1)
    return FlexNet(
        1,
        3,
        2,
        net=NetConfig(no_hidden=4, no_blocks=1, norm=norm),
        kernel=KernelConfig(no_hidden=8),
        conv=ConvConfig(horizon="9"),
        mask=MaskConfig(init_value=0.3),
    )


def one_step(norm: str, accumulate: int = 1, sync_batchnorm: bool = False) -> dict[str, Tensor]:
    """Gradients, weights and running statistics after a step on a fixed batch, with a penalty."""
    cfg = Config()
    cfg.train.weight_decay, cfg.train.accumulate = 0.1, accumulate
    cfg.train.optimizer = "SGD"  # Adam takes full steps on gradients that are zero but for rounding
    model = make_model(norm)
    model = synchronize_batchnorm(model) if sync_batchnorm else model
    training = Training(model, TASK, cfg, 2)
    model.train()
    inputs, target = next(make_loader(train=True).batches())
    train_step(training, (inputs, target), TASK, cfg, Totals(TASK))
    found = {f"gradient of {name}": p.grad for name, p in model.named_parameters()}
    return found | {name: value.float() for name, value in model.state_dict().items()}


def results() -> dict[str, float]:
    """An evaluation over 25 samples, which two processes cannot share evenly."""
    return evaluate(make_model("LayerNorm"), make_loader(train=False, samples=25), TASK)


def open_sizes() -> dict[str, Tensor]:
    """Sizes and outputs of a network, its average and its teacher, both copied before any input.

    The first batch of one process has 60 steps, that of the other 100.
    """
    torch.manual_seed(2)
    net = NetConfig("FlexTCN", no_hidden=4, no_blocks=1, norm="LayerNorm")
    model = FlexTCN(1, 3, net, KernelConfig(no_hidden=8))
    others = AveragedModel(model), copy.deepcopy(model)
    x = torch.randn(2, 1, 100)[..., : (60, 100)[distributed.rank()]]
    DistributedDataParallel(model)(x).sum().backward()
    others[0].update_parameters(model)
    others[1].load_state_dict(model.state_dict())
    y, found = torch.randn(1, 1, 80, generator=torch.Generator().manual_seed(4)), {}
    for name, one in zip(("model", "average", "teacher"), (model, *others)):
        sizes = [value for key, value in one.state_dict().items() if key.endswith("extent")]
        found |= {f"sizes of {name}": torch.cat(sizes), f"output of {name}": one(y).detach()}
    return found


def everything() -> dict:
    found = {name: one_step(**case) for name, case in CASES.items()}
    rank = distributed.rank()
    shared = nn.Linear(2, 2)
    nn.init.constant_(shared.weight, rank + 1)
    distributed.share_weights(shared)
    return found | {
        "results": results(),
        "open sizes": open_sizes(),
        "sum": distributed.sum_over_ranks(torch.tensor([1.0, rank])),
        "any": [distributed.any_rank(rank == 1), distributed.any_rank(False)],
        "agreed": distributed.agreed(f"folder of {rank}"),
        "gathered": distributed.gathered(rank),
        "shared": shared.weight.detach(),
        "speaks": distributed.is_first_to_speak(),
    }


if __name__ == "__main__":
    distributed.setup()
    torch.save(everything(), Path(sys.argv[1]) / f"{distributed.rank()}.pt")
    distributed.shutdown()
