"""What time series share: dropped steps and normalisation."""

from __future__ import annotations

import pytest
import torch

from datasets.series import observed_steps, step_statistics


def test_step_statistics_leave_out_what_was_dropped():
    x = torch.randn(700, 3, 5, dtype=torch.float64).float() * 3 + 2
    observed = observed_steps(700, 5, 40)
    assert (observed.sum(1) == 3).all()
    x.masked_fill_(~observed[:, None], torch.nan)
    mean, std = step_statistics(x)
    for step in range(5):
        values = x[observed[:, step], :, step]
        torch.testing.assert_close(mean[step], values.mean(), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(std[step], values.std(), atol=1e-5, rtol=1e-5)


def test_steps_that_nobody_observed_do_not_become_infinite():
    x = torch.full((4, 1, 2), torch.nan)
    x[:, :, 1] = torch.arange(4.0)[:, None]
    mean, std = step_statistics(x)
    assert mean.tolist() == [0.0, 1.5] and std[0] == 0 and std[1] > 1


def test_nothing_is_dropped_at_rate_zero():
    assert observed_steps(3, 10, 0) is None
    kept = observed_steps(50, 100, 99)
    assert (kept.sum(1) == 1).all() and torch.equal(kept, observed_steps(50, 100, 99))


@pytest.mark.parametrize("rate", [30, 50, 70])
def test_the_dropped_steps_are_the_papers(rate):
    generator = torch.Generator().manual_seed(56789)
    observed = observed_steps(4, 182, rate)
    for row in observed:
        dropped = torch.randperm(182, generator=generator)[: int(182 * rate / 100)]
        assert sorted(dropped.tolist()) == (~row).nonzero().flatten().tolist()
