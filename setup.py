"""The networks of weights/ go along with the library; the rest is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["ckconv*"]), "ckconv.weights"],
    package_dir={"ckconv.weights": "weights"},
    package_data={
        "ckconv": ["py.typed", "explore/page/*"],
        "ckconv.weights": ["*/best.pt", "*/result.json"],
    },
)
