"""The networks of weights/ go along with the library; the rest is in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

# Folders of data are packages too: setuptools warns of others within a package.
PAGE = "ckconv.explore.page"
NETWORKS = [
    f"ckconv.weights.{one.name}" for one in sorted(Path("weights").iterdir()) if one.is_dir()
]

setup(
    packages=[*find_packages(include=["ckconv*"]), PAGE, "ckconv.weights", *NETWORKS],
    package_dir={"ckconv.weights": "weights"},
    package_data={
        "ckconv": ["py.typed"],
        PAGE: ["*"],
        **{network: ["best.pt", "result.json"] for network in NETWORKS},
    },
)
