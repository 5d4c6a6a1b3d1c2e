"""Pickled batches of images, read without running what a file may carry."""

from __future__ import annotations

import pickle
from typing import Any

# All that pickled arrays and their lists need, by any version of NumPy; the rest is refused.
PICKLED = {
    (f"numpy.{core}.{module}", name)
    for core in ("core", "_core")
    for module, name in (("multiarray", "_reconstruct"), ("numeric", "_frombuffer"))
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}


class PlainUnpickler(pickle.Unpickler):
    """Reads arrays, lists, strings and dictionaries, and runs no code that a file may carry."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in PICKLED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no image batch needs")
        return super().find_class(module, name)
