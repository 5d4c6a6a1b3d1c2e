"""The exact versions of constraints.txt are among those that the requirements allow."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).resolve().parents[1]


def requirements(name: str) -> list[Requirement]:
    lines = [line.partition("#")[0].strip() for line in (PROJECT / name).read_text().splitlines()]
    return [Requirement(line) for line in lines if line]


def test_constraints_fit():
    exact = {r.name: str(r.specifier).removeprefix("==") for r in requirements("constraints.txt")}
    for wanted in requirements("requirements.txt"):
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        assert wanted.specifier.contains(exact[name]), name
    assert all(str(r.specifier).startswith("==") for r in requirements("constraints.txt"))
