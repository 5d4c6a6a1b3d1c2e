"""Trained networks with the Hugging Face hub's own methods; needs the extra `hub`.

from ckconv.hub import HubTrained

HubTrained.of(ckconv.load("outputs/...")).push_to_hub("you/digits")
HubTrained.from_pretrained("you/digits")  # as ckconv.load("you/digits"), which needs no such class
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import ModelHubMixin, snapshot_download

from ckconv.findings import DESCRIPTION, WEIGHTS
from ckconv.trained import Trained, load, save


class HubTrained(Trained, ModelHubMixin, library_name="ckconv", tags=["flexconv", "ckconv"]):
    """A `Trained` network with `save_pretrained`, `from_pretrained` and `push_to_hub`.

    They write and read the folders of `ckconv.save` and `ckconv.load`.
    """

    @classmethod
    def of(cls, trained: Trained) -> HubTrained:
        """The same network, sharing its weights."""
        normalisation = {"mean": trained.mean, "std": trained.std, "scale": trained.scale}
        return cls(trained.network, trained.config, trained.task, normalisation, trained.data)

    def _save_pretrained(self, save_directory: Path) -> None:
        save(self, save_directory)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **given: Any) -> HubTrained:
        names = ("revision", "cache_dir", "force_download", "local_files_only", "token")
        folder = Path(model_id)
        if not folder.is_dir():
            how = {name: given[name] for name in names if given.get(name) is not None}
            patterns = [WEIGHTS, DESCRIPTION]
            folder = Path(snapshot_download(model_id, allow_patterns=patterns, **how))
        return cls.of(load(folder))
