"""The page of tables: every choice of a flag by its name, in the room that holds it."""

from __future__ import annotations

from collections.abc import Mapping

from ckconv.models.blocks import CONVOLUTIONS, NONLINEARITIES, NORMS
from ckconv.nn import ck
from ckconv.nn.mask import MASKS
from models import ALIASES, NETWORKS
from training.optimizer import OPTIMIZERS
from training.schedule import SCHEDULES

TABLES: dict[str, Mapping[str, object]] = {
    "net.type": NETWORKS | ALIASES,
    "net.norm": NORMS,
    "net.nonlinearity": NONLINEARITIES,
    "kernel.type": ck.GENERATORS,
    "conv.type": CONVOLUTIONS,
    "mask.type": MASKS,
    "train.optimizer": OPTIMIZERS,
    "train.scheduler": SCHEDULES,
}
BY_PATH = ("net.type", "kernel.type")  # where a class of one's own may stand, package.module:Name
