"""What the analytic bounds promise, measured on kernels sampled at 8 times the resolution."""

from __future__ import annotations

import pytest
import torch

from ckconv import ConvConfig, KernelConfig, MaskConfig
from ckconv.antialiasing import bound, nyquist, regularizer
from ckconv.antialiasing.picture import draw, main
from ckconv.nn import FlexConv, ck
from ckconv.spectra import Spectrum, evaluate, measure, sampled, window_frequency

SIZE = 33


def random_layer(dim, seed, sigma, size=SIZE, **kernel):
    torch.manual_seed(seed)
    kernel = KernelConfig(no_hidden=16, **kernel)
    layer = FlexConv(2, 4, dim, kernel, ConvConfig(horizon=str(size)), MaskConfig(init_value=sigma))
    torch.nn.init.zeros_(layer.generator.output.bias)  # a constant's energy would flatter the rest
    return layer


@pytest.mark.parametrize("sigma", [0.075, 0.2, 0.5])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dim", [1, 2])
def test_random_magnets_keep_under_their_bound(dim, seed, sigma):
    layer = random_layer(dim, seed, sigma)
    highest = bound(layer).item()
    assert highest < 8 * nyquist(SIZE), "the measurement could not see what is over the bound"
    assert measure(layer, SIZE).above(highest) < 0.01


@pytest.mark.parametrize("steerable", [False, True])
def test_a_generator_alone_keeps_under_its_bound(steerable):
    for seed in range(3):
        torch.manual_seed(seed)
        generator = ck.build(KernelConfig(no_hidden=16, steerable=steerable), 2, 4)
        torch.nn.init.zeros_(generator.output.bias)
        highest = bound(generator).item() + window_frequency()
        assert measure(generator, SIZE).above(highest) < 0.01


def one_unit(dim, frequency, gamma=0.0):
    """A network whose two filters are one and the same, so that its frequency is their sum."""
    kernel = KernelConfig(type="Gabor" if gamma else "Fourier", no_hidden=1, no_layers=1)
    generator = ck.build(kernel, dim, 1)
    with torch.no_grad():
        for linear in (*generator.linears, generator.output):
            linear.weight.fill_(1.0)
            linear.bias.zero_()
        for f in generator.filters:
            f.linear.weight.zero_()
            f.linear.weight[:, -1] = frequency * 2 * torch.pi
            f.linear.bias.zero_()
            if gamma:
                f.gamma.fill_(gamma)
                f.mu.zero_()
    return generator


@pytest.mark.parametrize("dim", [1, 2])
def test_the_bound_is_reached_where_it_can_be(dim):
    generator = one_unit(dim, 5.0)
    assert bound(generator).item() == pytest.approx(10.0)
    spectrum = measure(generator, SIZE)  # sin^2: a third of the energy at twice the frequency
    assert spectrum.above(10.0 + window_frequency()) < 0.01
    assert spectrum.above(10.0 - window_frequency()) == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize("gauss_stddevs", [0.0, 1.0, 2.0])
def test_the_gaussians_tails_are_as_wide_as_their_gammas(gauss_stddevs):
    generator = one_unit(1, 4.0, gamma=8.0)
    shares = []
    for s in (0.0, gauss_stddevs):
        shares.append(measure(generator, SIZE, window=4.0).above(bound(generator, s).item()))
    # two equal Gaussians multiplied: their spectra's widths add in quadrature, not up
    expected = 0.5 * torch.erfc(torch.tensor(gauss_stddevs * 2**0.5)).item()
    assert shares[1] / shares[0] == pytest.approx(2 * expected, abs=0.01)


def test_one_dimension_measures_past_the_causal_end():
    layer = random_layer(1, 0, 0.2)
    assert layer.mask.mean.item() == 1.0
    assert measure(layer, SIZE).above(nyquist(SIZE)) < 1e-3  # half a Gaussian would give far more


def test_sampled_is_the_layers_own_kernel():
    layer = random_layer(2, 0, 0.5)
    torch.testing.assert_close(sampled(layer, SIZE), layer.conv_kernel.detach().flatten(0, 1))
    fine = sampled(layer, SIZE, 2)
    assert fine.shape == (8, 65, 65)
    torch.testing.assert_close(fine[:, ::2, ::2], sampled(layer, SIZE))
    line = torch.linspace(-1, 1, 5)
    assert evaluate(layer, [line, line], kernels=3).shape == (3, 5, 5)


@pytest.mark.parametrize(
    ("kernel_type", "dim", "method", "rate", "steps"),
    [
        ("MAGNet", 1, "together", 25.0, 600),
        ("MAGNet", 2, "together", 25.0, 600),
        ("Gabor", 2, "together", 25.0, 600),
        ("Gabor", 1, "summed", 5.0, 600),
    ],
)
def test_the_regularizer_ends_aliasing(kernel_type, dim, method, rate, steps):
    layer = random_layer(dim, 1, 0.2, size=17, type=kernel_type, input_scale=60.0)
    before = measure(layer, 17).above(nyquist(17))
    optimizer = torch.optim.SGD(
        [{"params": layer.generator.parameters(), "lr": rate}, {"params": layer.mask.parameters()}],
        lr=2e-5 * rate,
    )
    for _ in range(steps):
        optimizer.zero_grad()
        regularizer(layer, 0, 0.1, method=method).backward()
        optimizer.step()
    assert before > 0.05
    assert measure(layer, 17).above(nyquist(17)) < 0.01
    assert bound(layer).item() < 1.1 * nyquist(17)


def test_the_picture(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out = tmp_path / "kernels.png"
    main(["--out", str(out), "--dim", "1", "--kernel-size", "9", "--finer", "2"])
    assert out.read_bytes().startswith(b"\x89PNG")
    assert str(out) in capsys.readouterr().out


def test_the_pictures_file_is_named_in_full(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    main(["--dim", "1", "--kernel-size", "9", "--finer", "2"])
    assert str(tmp_path / "generators_aliasing.png") in capsys.readouterr().out
    assert (tmp_path / "generators_aliasing.png").exists()


def test_the_picture_of_layers(tmp_path):
    pytest.importorskip("matplotlib")
    layers = {"a layer": random_layer(2, 0, 0.2), "another": random_layer(2, 0, 0.2, type="SIREN")}
    draw(layers, tmp_path / "layers.png", 9, finer=2)
    assert (tmp_path / "layers.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("line", [0.3717477, 0.1234567, 0.25])
def test_no_bin_of_a_picture_is_left_empty(line):
    """Frequencies are rounded, so whole multiples of the first one may lie a little below."""
    frequencies = (line * torch.arange(60).double() * 1e6).round() / 1e6
    spectrum = Spectrum(frequencies, torch.full((60,), 1 / 60).double())
    _, level = spectrum.levels(15.5 * line)
    assert len(level) == 16 and (level == 0).all()
