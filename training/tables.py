"""The page of tables: every choice of a flag by its name, in the room that holds it."""

from __future__ import annotations

from cfg.schema import Config

from collections.abc import Mapping
from operator import attrgetter

from ckconv import by_path
from ckconv.errors import check_choice
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


def check_choices(cfg: Config) -> None:
    """Raise `UsageError`, naming the flag, for a choice that is not in its table."""
    for flag, table in TABLES.items():
        given = attrgetter(flag)(cfg)
        if not (flag in BY_PATH and by_path.is_path(given)):
            check_choice(flag, given, table)
