"""CKConv and FlexConv in somebody else's hands: sizes, dtypes, copies, files, devices."""

from __future__ import annotations

import copy
import io

import pytest
import torch
import torch.nn.functional as nnf

from ckconv import ConvConfig, KernelConfig, MaskConfig, UsageError
from ckconv.nn import CKConv, FlexConv

TYPES = ("MLP", "SIREN", "nSIREN", "Fourier", "Gabor", "MAGNet")


def make(layer=FlexConv, dim=2, horizon="same", use_fft="auto", kernel=None, **mask):
    torch.manual_seed(0)
    kwargs = {"mask": MaskConfig(**mask)} if layer is FlexConv else {}
    return layer(
        3, 4, dim, kernel or KernelConfig(), ConvConfig(horizon=horizon, use_fft=use_fft), **kwargs
    )


def test_defaults_work_on_any_image():
    layer = FlexConv(3, 24)
    for size in ((9, 9), (32, 20), (1, 7)):
        y = layer(torch.randn(2, 3, *size))
        assert y.shape == (2, 24, *size) and y.isfinite().all()


@pytest.mark.parametrize("layer", [CKConv, FlexConv])
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("dim", [1, 2])
def test_every_generator_trains_in_every_dimension(layer, kind, dim):
    module = make(layer, dim, kernel=KernelConfig(type=kind))
    module(torch.randn(2, 3, *[12] * dim)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize(
    ("dim", "horizon", "size", "expected"),
    [
        (1, "same", (10,), (10,)),
        (1, "full", (10,), (19,)),
        (2, "same", (10, 7), (11, 7)),
        (2, "full", (10, 7), (19, 13)),
        (2, "33", (10, 7), (33, 33)),
        (1, 5, (10,), (5,)),
    ],
)
def test_the_first_input_fixes_an_open_horizon(dim, horizon, size, expected):
    layer = make(CKConv, dim, horizon)
    layer(torch.randn(1, 3, *size))
    kernel = layer.conv_kernel
    assert layer.kernel_size == expected == tuple(kernel.shape[2:])
    layer(torch.randn(1, 3, *[n + 8 for n in size]))  # a larger input meets the same kernel
    assert torch.equal(layer.conv_kernel, kernel)
    layer(torch.randn(1, 3, *[max(n - 5, 1) for n in size]))
    assert torch.equal(layer.conv_kernel, kernel)


def test_a_loaded_checkpoint_fixes_an_open_horizon():
    layer, other = make(), make()
    x = torch.randn(2, 3, 15, 15)
    y = layer(x)
    other.load_state_dict(layer.state_dict())
    assert other.kernel_size == (15, 15)
    other(torch.randn(2, 3, 8, 8))  # comes first, and does not change the size
    assert torch.equal(other(x), y)


def test_a_given_horizon_is_not_overruled_by_a_checkpoint():
    layer, other = make(horizon="9"), make(horizon="5")
    other.load_state_dict(layer.state_dict())
    assert other.kernel_size == (5, 5)


@pytest.mark.parametrize("use_fft", ["True", "False"])
def test_layer_is_the_convolution_with_its_kernel(use_fft):
    layer = make(use_fft=use_fft, horizon="9", init_value=0.4)
    x = torch.randn(2, 3, 13, 10)
    y = layer(x)
    assert layer.conv_kernel.shape[2:] == layer.cropped_size()
    pad = [n // 2 for n in layer.cropped_size()]
    expected = nnf.conv2d(x, layer.conv_kernel, layer.bias, padding=pad)
    assert torch.allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize("use_fft", ["True", "False"])
@pytest.mark.parametrize("dim", [1, 2])
def test_float64_agrees_with_float32(use_fft, dim):
    layer = make(dim=dim, use_fft=use_fft, horizon="17", init_value=0.4)
    x = torch.randn(2, 3, *[20] * dim)
    y = layer(x)
    exact = layer.double()(x.double())
    assert exact.dtype == torch.float64
    assert (y - exact).norm() / exact.norm() < 1e-5


@pytest.mark.parametrize("use_fft", ["True", "False"])
@pytest.mark.parametrize("dim", [1, 2])
def test_autocast_bf16(use_fft, dim):
    layer = make(dim=dim, use_fft=use_fft, horizon="17", init_value=0.4)
    x = torch.randn(2, 3, *[20] * dim)
    exact = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        layer(y.bfloat16()[:, :3])  # a half-precision input, as it comes from a layer before
    assert (y.float() - exact).norm() / exact.norm() < 2e-2
    y.float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters())


def test_copies_and_files_give_the_same_layer():
    layer = make(horizon="same")
    x = torch.randn(2, 3, 11, 11)
    y = layer(x)  # leaves a kernel with a graph behind, which must not be in the way
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    for other in (copy.deepcopy(layer), loaded):
        assert torch.equal(other(x), y)
        assert other.mask.sigma is not layer.mask.sigma


@pytest.mark.gpu
@pytest.mark.parametrize("use_fft", ["True", "False", "auto"])
@pytest.mark.parametrize("dim", [1, 2])
def test_cuda_agrees_with_cpu(use_fft, dim):
    layer = make(dim=dim, use_fft=use_fft, horizon="17", init_value=0.4).double()
    x = torch.randn(2, 3, *[20] * dim, dtype=torch.float64)
    y = layer(x)
    moved = layer.cuda()(x.cuda())
    assert moved.is_cuda and torch.allclose(moved.cpu(), y, atol=1e-10)


def test_wrong_input_says_what_fits():
    with pytest.raises(ValueError, match=r"\(2, 5, 8, 8\).*\(B, 3, H, W\)"):
        make()(torch.randn(2, 5, 8, 8))
    with pytest.raises(RuntimeError, match="first input"):
        make().cropped_size()


@pytest.mark.parametrize(
    ("message", "build"),
    [
        ("horizon=16.*15 or 17", lambda: make(horizon="16")),
        ("horizon=big", lambda: make(horizon="big")),
        ("kernel.type=Siren.*SIREN", lambda: make(kernel=KernelConfig(type="Siren"))),
        ("dim=4", lambda: make(dim=4)),
        ("mask.init_value=0", lambda: make(init_value=0.0)),
        ("mask.threshold=1.5", lambda: make(threshold=1.5)),
        ("steerable", lambda: make(dim=1, kernel=KernelConfig(steerable=True))),
        ("use_fft=maybe", lambda: make(use_fft="maybe")),
    ],
)
def test_what_cannot_be_built_is_said(message, build):
    with pytest.raises(UsageError, match=message):
        build()


def test_kept_kernels_follow_the_weights():
    layer = CKConv(3, 4, 2, KernelConfig(), ConvConfig(horizon="9", cache=True)).eval()
    x = torch.randn(1, 3, 9, 9)
    with torch.no_grad():
        first = layer(x)
        kept = layer.in_use.last
        assert torch.equal(layer(x), first) and layer.in_use.last is kept
        layer.generator.output.weight.mul_(2)
        layer.generator.output.bias.mul_(2)
        assert torch.allclose(layer(x), 2 * first, atol=1e-5) and layer.in_use.last is not kept
    layer.train()
    layer(x).sum().backward()  # training samples anew, with a graph
    assert layer.generator.output.weight.grad is not None


def _replace(layer):
    layer.generator.output.bias = torch.nn.Parameter(layer.generator.output.bias + 1)


def _swap_data(layer):
    layer.generator.output.weight.data = 2 * layer.generator.output.weight.data


def _other_generator(layer):
    torch.manual_seed(1)
    layer.generator = make(CKConv, horizon="9").generator


def _write_past_autograd(layer):
    layer.generator.output.weight.data.mul_(2)


def _write_one_number(layer):
    layer.generator.filters[0].mu.data[3, 1] += 0.5


CHANGES = [_replace, _swap_data, _other_generator, _write_past_autograd, _write_one_number]


@pytest.mark.parametrize("change", CHANGES)
def test_kept_kernels_follow_whatever_is_done_to_the_weights(change):
    layer = CKConv(3, 4, 2, conv=ConvConfig(horizon="9", cache=True)).eval()
    x = torch.randn(1, 3, 9, 9)
    with torch.no_grad():
        before = layer(x)
        change(layer)
        found = layer(x)
        fresh = copy.deepcopy(layer)(x)
        assert torch.equal(found, fresh) and not torch.allclose(found, before)
        weights = {n: p * 3 for n, p in layer.named_parameters()}
        tripled = torch.func.functional_call(layer, weights, (x,))
        assert not torch.allclose(tripled, found) and torch.equal(layer(x), found)


@pytest.mark.parametrize("use_fft", ["True", "False"])
def test_kept_kernels_give_the_same_output(use_fft):
    config = ConvConfig(horizon="9", cache=True, use_fft=use_fft)
    layer = FlexConv(3, 4, 2, KernelConfig(), config, MaskConfig(init_value=0.5)).eval()
    x = torch.randn(2, 3, 12, 12)
    expected = layer(x)
    with torch.no_grad():
        for _ in range(2):
            assert torch.allclose(layer(x), expected, atol=1e-5)


@pytest.mark.parametrize("dim", [1, 2])
def test_a_finer_resolution_keeps_the_integral(dim):
    layer = make(dim=dim, horizon="17", init_value=0.5)
    layer(torch.randn(1, 3, *[16] * dim))
    sums = layer.conv_kernel.sum(dim=tuple(range(2, 2 + dim)))
    layer.set_resolution(4)
    layer(torch.randn(1, 3, *[64] * dim))
    assert layer.kernel_size == (65,) * dim
    finer = layer.conv_kernel.sum(dim=tuple(range(2, 2 + dim)))
    assert (finer - sums).norm() / sums.norm() < 0.2
    layer.set_resolution(0.25)
    assert layer.kernel_size == (17,) * dim and layer.sampling_rate_norm == pytest.approx(1)


def test_resolution_per_axis():
    layer = make(horizon="17")
    layer.set_resolution((2.0, 1.0))
    assert layer.kernel_size == (33, 17) and layer.sampling_rate_norm == pytest.approx(0.5)
