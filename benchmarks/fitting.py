"""Rates of the cost model from measured times, for `calibrate.py`.

A row has the `times` of a shape's ways, in seconds, and their `counts` of operations by kind.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import least_squares

from ckconv.functional.spectral import plan


def fit(rows: list[dict], names: list[str]) -> dict[str, float]:
    """Rates, in seconds per operation, that predict the logarithms of the times best."""

    def residuals(logs: np.ndarray) -> np.ndarray:
        rates, errors = dict(zip(names, np.exp(logs))), []
        for row in rows:
            best = min(row["times"].values())
            for way, counts in row["counts"].items():
                # Where two are close, the prediction decides; elsewhere a rough one will do.
                others = [t for other, t in row["times"].items() if other != way]
                distance = abs(math.log(row["times"][way] / min(others))) if others else 0
                weight = 1 / (0.3 + max(distance, math.log(row["times"][way] / best)))
                errors.append(weight * math.log(predicted(counts, rates) / row["times"][way]))
        # Operations that always come together share their time as they do at present.
        return np.append(errors, 0.1 * (logs - start))

    start = np.log([plan.rates("cpu")[name] for name in names])
    found = least_squares(residuals, start, loss="soft_l1")
    return dict(zip(names, np.exp(found.x).tolist()))


def refine(rows: list[dict], rates: dict[str, float], steps: int = 20000) -> dict[str, float]:
    """Rates near these by which fewer choices are wrong, found by random steps."""
    names, random = list(rates), np.random.default_rng(0)
    counts = [np.array([[c.get(n, 0) for n in names] for c in r["counts"].values()]) for r in rows]
    times = [np.array(list(row["times"].values())) for row in rows]

    def score(logs: np.ndarray) -> float:
        total = 0.0
        for one, taken in zip(counts, times):
            expected = one @ np.exp(logs)
            loss = taken[expected.argmin()] / taken.min()
            error = np.log(expected / taken)
            near = (error - error[taken.argmin()]) / (0.3 + np.log(taken / taken.min()))
            total += 3 * max(0, loss - 1.05) + (loss > 1.1)
            total += 0.01 * np.abs(near).sum() + 0.003 * np.abs(error).sum()
        return total

    found = np.log([rates[name] for name in names])
    least = score(found)
    for _ in range(steps):
        changed = random.random(len(names)) < 2 / len(names)
        tried = found + changed * random.normal(0, random.choice([0.05, 0.15, 0.4]), len(names))
        if (new := score(tried)) < least:
            found, least = tried, new
    return dict(zip(names, np.exp(found).tolist()))


def fit_kept(rows: list[dict], rates: dict[str, float]) -> dict[str, float]:
    """What each rate of a direct convolution is to be multiplied by, so that choices lose least."""
    shares, found = np.geomspace(0.02, 3, 500), {}
    for kind in plan.KEPT["cpu"]:
        lost = np.zeros_like(shares)
        for row in rows:
            own, *others = row["counts"].items()
            if kind not in own[1]:
                continue
            spectral, counts = min(others, key=lambda other: predicted(other[1], rates))
            parts = {name: n for name, n in own[1].items() if name != kind}
            expected = predicted(parts, rates) + shares * own[1][kind] * rates[kind]
            times = row["times"]["direct"], row["times"][spectral]
            taken = np.where(expected <= predicted(counts, rates), *times)
            lost += np.log(taken / min(times))
        found[kind] = float(np.median(shares[lost == lost.min()]))
    return found


def predicted(counts: dict[str, float], rates: dict[str, float]) -> float:
    """Seconds of so many operations of each kind."""
    return sum(n * rates[kind] for kind, n in counts.items())
