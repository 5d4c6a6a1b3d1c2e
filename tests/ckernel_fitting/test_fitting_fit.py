"""The fit: what it keeps, what it measures, and the generators that live here."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ckconv.config import KernelConfig
from ckconv.errors import UsageError
from ckconv.nn import NJet, ck
from ckernel_fitting.fit import build_optimizer, build_schedule, fit, flatten_parameters, psnr
from ckernel_fitting.generators import NJetKernel, RandomFourier, build_generator
from ckernel_fitting.settings import MODELS, Settings
from ckernel_fitting.targets import build_target, grid


def test_psnr_takes_the_range_as_peak():
    assert psnr(0.01, 1.0) == pytest.approx(20)
    assert psnr(0.01, 2.0) == pytest.approx(20 + 20 * math.log10(2))
    assert psnr(0.0, 1.0) == math.inf


@pytest.mark.parametrize("model", MODELS)
def test_200_iterations_reduce_the_error(model):
    settings = Settings(function="Gabor", dim=2, no_samples=17, freq=4.0, no_iterations=200)
    settings.kernel.type, settings.kernel.no_hidden = model, 16
    result = fit(build_target(settings), settings)
    assert result.mse < result.history[0] / 20
    assert len(result.history) == 200


def test_best_weights_are_kept_and_measured():
    settings = Settings(function="Sine", no_samples=64, lr=0.1, no_iterations=120)
    settings.kernel.type = "SIREN"
    target = build_target(settings)
    result = fit(target, settings)
    assert result.history[-1] > 1.01 * result.history.min()  # this lr does not settle
    assert result.mse == pytest.approx(result.history.min().item(), rel=1e-3)
    assert result.best_step == result.history.argmin()
    mse = (result.values - target.values).square().mean().item()
    assert result.psnr == pytest.approx(10 * math.log10(target.value_range**2 / mse))
    model = build_generator(settings, 1, 1, 64)
    model.load_state_dict(result.state)
    assert torch.allclose(model(target.positions)[0], result.values, atol=1e-6)
    there = model(target.between.positions)[0]
    between = (there - target.between.values).square().mean().item()
    assert result.psnr_between == pytest.approx(psnr(between, target.value_range), abs=1e-3)


def test_the_seed_decides_the_result():
    settings = Settings(function="Gaussian", no_samples=50, no_iterations=60, seed=3)
    target = build_target(settings)
    first, second = fit(target, settings), fit(target, settings)
    assert torch.equal(first.history, second.history)
    settings.seed = 4
    assert not torch.equal(first.history, fit(target, settings).history)


def test_flat_weights_train_as_separate_ones():
    positions = grid((30,))[None].float()
    target = torch.sin(5 * positions[0])
    torch.manual_seed(0)
    plain = ck.MAGNet(1, 1, KernelConfig(no_hidden=8))
    torch.manual_seed(0)
    flat = ck.MAGNet(1, 1, KernelConfig(no_hidden=8))
    weights = flatten_parameters(flat)
    adam = torch.optim.Adam(plain.parameters(), lr=0.01)
    ours = build_optimizer(weights, Settings(lr=0.01))
    for _ in range(10):
        adam.zero_grad()
        (plain(positions)[0] - target).square().mean().backward()
        adam.step()
        weights.grad.zero_()
        (flat(positions)[0] - target).square().mean().backward()
        ours.step()
    for a, b in zip(plain.parameters(), flat.parameters()):
        assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "rates"),
    [
        ({"scheduler": "cosine"}, {0: 0.1, 50: 0.0500005, 100: 1e-6}),
        ({"scheduler": "exponential", "decay_factor": 100.0}, {0: 0.1, 50: 0.01, 100: 0.001}),
        ({"scheduler": "multistep", "decay_steps": "20,60"}, {19: 0.1, 20: 0.02, 60: 0.004}),
        ({"scheduler": "none"}, {0: 0.1, 100: 0.1}),
    ],
)
def test_schedules(changes, rates):
    settings = Settings(lr=0.1, no_iterations=100, **changes)
    weights = torch.nn.Parameter(torch.zeros(1))
    weights.grad = torch.zeros(1)
    optimizer = build_optimizer(weights, settings)
    schedule = build_schedule(optimizer, settings)
    for step in range(101):
        if step in rates:
            assert schedule.learning_rate == pytest.approx(rates[step], rel=1e-4)
        optimizer.step()
        schedule.step()


def test_divergence_is_said():
    settings = Settings(function="Sine", no_samples=20, optim="SGD", lr=1e30, no_iterations=200)
    result = fit(build_target(settings), settings)
    assert result.diverged and len(result.history) < 200
    assert math.isfinite(result.mse)
    target = build_target(settings)
    target.values.fill_(math.nan)
    with pytest.raises(UsageError, match="lr="):
        fit(target, settings)


def test_njet_kernel_spans_the_layer_s_basis():
    layer = NJet(1, 1, order=4, init_scale=1.0, init_k=6.0)
    expected = layer.sample_kernel()[0, 0]  # (27, 27)
    half = expected.shape[0] // 2
    kernel = NJetKernel(2, 1, 4, init_sigma=2 / half)
    positions = grid(expected.shape)[None].float()
    basis = []
    for index in range(kernel.alphas.numel()):
        with torch.no_grad():
            kernel.alphas.zero_()
            kernel.alphas[0, index] = 1
            basis.append(kernel(positions).flatten())
    assert len(basis) == layer.alphas.shape[0] == 15
    inside = expected.numel() / (2 * half) ** 2  # the mean over the square, not over the samples
    assert all(b.square().mean() * inside == pytest.approx(1, rel=0.01) for b in basis)
    design = torch.stack(basis, 1)
    mixed = torch.linalg.lstsq(design, expected.detach().flatten()[:, None]).solution
    assert torch.allclose(design @ mixed, expected.detach().flatten()[:, None], atol=1e-5)


def test_njet_kernel_on_a_line_is_a_gaussian_derivative():
    kernel = NJetKernel(1, 1, 1, init_sigma=0.25)
    with torch.no_grad():
        kernel.alphas.copy_(torch.tensor([[0.0, 1.0]]))
    fine = np.linspace(-1, 1, 4001)
    derivative = -fine * np.exp(-0.5 * (fine / 0.25) ** 2)
    size = np.sqrt((derivative**2).mean())
    for samples in (5, 41):  # the grid has no part in it
        x = np.linspace(-1, 1, samples)
        values = kernel(torch.tensor(x, dtype=torch.float32)[None, None])[0, 0].detach().numpy()
        expected = -x * np.exp(-0.5 * (x / 0.25) ** 2) / size
        np.testing.assert_allclose(values, expected, atol=2e-3)


def test_random_fourier_features():
    torch.manual_seed(0)
    model = RandomFourier(2, 3, features=5, scale=2.0, cfg=KernelConfig(no_layers=1))
    positions = grid((4, 6))[None].float()
    phases = 2 * math.pi * model.frequencies @ positions[0].flatten(1)
    features = torch.cat((phases.sin(), phases.cos()))
    expected = (model.linear.weight @ features + model.linear.bias[:, None]).view(1, 3, 4, 6)
    assert torch.allclose(model(positions), expected, atol=1e-5)
    cfg = KernelConfig(no_layers=3, no_hidden=7, activ_function="ReLU", norm="")
    deep = RandomFourier(2, 3, features=5, scale=2.0, cfg=cfg)
    assert deep(positions).shape == (1, 3, 4, 6)
    trained = sum(p.numel() for p in deep.parameters())
    assert trained == 7 * 10 + 7 + 7 * 7 + 7 + 3 * 7 + 3  # the frequencies stay as drawn


@pytest.mark.parametrize(
    ("freq", "lowest", "highest"), [(1.0, 0, 1e-7), (16.0, 4e-3, 6e-3), (64.0, 3e-2, 5e-2)]
)
def test_what_no_njet_of_order_nine_can_represent(freq, lowest, highest):
    """Least squares finds the best coefficients; a sweep finds the best sigma."""
    target = build_target(Settings(function="Gabor", dim=2, freq=freq))
    errors = []
    for sigma in np.geomspace(0.03, 1, 30):
        kernel = NJetKernel(2, 1, 9, init_sigma=float(sigma)).double()
        with torch.no_grad():
            axis = kernel.derivatives(target.positions[0, 0, :, 0].double())
            i, j = zip(*kernel.pairs)
            design = torch.einsum("nh,nw->hwn", axis[list(i)], axis[list(j)]).flatten(0, 1)
            wanted = target.values.double().flatten()[:, None]
            mixed = torch.linalg.lstsq(design, wanted, driver="gelsd").solution
            errors.append((design @ mixed - wanted).square().mean().item())
    assert lowest <= min(errors) <= highest
