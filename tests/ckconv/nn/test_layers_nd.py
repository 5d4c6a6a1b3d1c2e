"""Layers in 1, 2 and 3 dimensions, made as `nn.Conv1d`, `nn.Conv2d` and `nn.Conv3d` are."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
import torch.nn.functional as nnf
from torch import nn
from torch.nn.utils import skip_init

from ckconv import ConvConfig, KernelConfig, MaskConfig, UsageError
from ckconv import antialiasing as aa
from ckconv.models import FlexNet
from ckconv.nn import (
    MASKS,
    CKConv,
    CKConv1d,
    CKConv2d,
    CKConv3d,
    FlexConv,
    FlexConv1d,
    FlexConv2d,
    FlexConv3d,
    GaussianMask,
    Mask,
    SepFlexConv1d,
    SepFlexConv2d,
    SepFlexConv3d,
    ck,
)
from ckconv.spectra import measure

LAYERS = {
    1: (CKConv1d, FlexConv1d, SepFlexConv1d),
    2: (CKConv2d, FlexConv2d, SepFlexConv2d),
    3: (CKConv3d, FlexConv3d, SepFlexConv3d),
}
PLAIN = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
SMALL = KernelConfig(no_hidden=8)
FFT = ("False", "True")
ALL = [(dim, layer) for dim, layers in LAYERS.items() for layer in layers]


def images(dim, channels=4, n=9, batch=2, **how):
    torch.manual_seed(0)
    return torch.randn(batch, channels, *[n - d for d in range(dim)], **how)


@pytest.mark.parametrize(("dim", "layer"), ALL, ids=str)
def test_arguments_stand_in_the_order_of_torch(dim, layer):
    ours = list(inspect.signature(layer).parameters)
    theirs = list(inspect.signature(PLAIN[dim]).parameters)
    assert ours[: len(theirs)] == theirs


@pytest.mark.parametrize("use_fft", FFT)
@pytest.mark.parametrize(("dim", "layer"), ALL, ids=str)
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"stride": 2, "padding": 0},
        {"padding": 3, "dilation": 2, "groups": 2},
        {"padding": 2, "padding_mode": "circular"},
        {"padding": 1, "padding_mode": "reflect", "stride": 3, "bias": False},
    ],
    ids=str,
)
def test_outputs_are_those_of_torch_with_the_same_kernel(dim, layer, given, use_fft):
    """The kernel is uncropped by zeros, so that padding counts from its full size."""
    if layer in LAYERS[dim][2:] and given.get("groups"):
        return
    made = {"causal": False, "generator": SMALL, "use_fft": use_fft, "dtype": torch.float64}
    layer = layer(4, 6, 5, **given, **made)
    x = images(dim, dtype=torch.float64)
    y = layer(x)
    kernel = layer.conv_kernel
    lost = [(5 - k) // 2 for k in reversed(kernel.shape[2:])]
    kernel = nnf.pad(kernel, [side for side in lost for _ in range(2)])
    out, groups = kernel.shape[0], 4 // kernel.shape[1]
    settings = {"padding": "same", **given, "groups": groups, "bias": False}
    plain = PLAIN[dim](4, out, 5, **settings, dtype=torch.float64)
    plain.weight = nn.Parameter(kernel)
    expected = plain(x)
    if layer.bias is not None:
        expected = expected + layer.bias.view(-1, *[1] * dim)
    if layer.is_depthwise:
        expected = layer.channel_mixer(expected)
    torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-9)


def test_one_form_is_the_other():
    torch.manual_seed(0)
    a = FlexConv2d(4, 6, 9, 2, groups=2, generator=KernelConfig(type="SIREN"), sigma=0.3)
    torch.manual_seed(0)
    conv = ConvConfig(horizon="9", stride=2, groups=2)
    b = FlexConv(4, 6, 2, KernelConfig(type="SIREN"), conv, MaskConfig(init_value=0.3))
    x = images(2)
    assert isinstance(a, FlexConv) and torch.equal(a(x), b(x))
    a.load_state_dict(b.state_dict())


@pytest.mark.parametrize("use_fft", FFT)
@pytest.mark.parametrize("layer", [FlexConv2d, CKConv2d, SepFlexConv2d])
def test_a_circular_layer_commutes_with_roll(layer, use_fft):
    layer = layer(4, 6, 15, padding_mode="circular", generator=SMALL, use_fft=use_fft).double()
    x = images(2, n=12, dtype=torch.float64)
    for shift in ((1, 0), (-3, 5)):
        rolled = layer(x.roll(shift, (2, 3)))
        assert (rolled - layer(x).roll(shift, (2, 3))).abs().max() < 1e-10
    layer, x = layer.float(), x.float()
    assert (layer(x.roll(2, 3)) - layer(x).roll(2, 3)).abs().max() < 1e-5 * layer(x).abs().max()


@pytest.mark.parametrize("use_fft", FFT)
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("mask", [None, *MASKS])
def test_a_layer_of_videos_is_causal_in_time_alone(mask, axis, use_fft):
    layer = FlexConv3d(
        2, 3, (7, 5, 5), causal=True, causal_axis=axis, mask=mask, generator=SMALL, use_fft=use_fft
    ).double()
    x = images(3, 2, 8, dtype=torch.float64).requires_grad_()
    y = layer(x).select(axis + 2, 3)
    (grad,) = torch.autograd.grad(y.sum(), x)
    reached = grad.abs().amax([d for d in range(5) if d != axis + 2])
    assert (reached[4:] < 1e-12).all() and reached[3] > 1e-3
    other = (axis + 1) % 3
    (grad,) = torch.autograd.grad(layer(x).select(other + 2, 3).sum(), x)
    reached = grad.abs().amax([d for d in range(5) if d != other + 2])
    assert reached[2] > 1e-3 and reached[4] > 1e-3


def test_a_centred_sequence_layer_sees_both_sides():
    layer = FlexConv1d(2, 3, 7, causal=False, generator=SMALL)
    x = images(1, 2, 9).requires_grad_()
    (grad,) = torch.autograd.grad(layer(x)[..., 4].sum(), x)
    assert grad[..., 3].abs().max() > 0 and grad[..., 5].abs().max() > 0
    assert layer.mask.mean.tolist() == [0.0]


@pytest.mark.parametrize("generator", ck.GENERATORS)
def test_a_network_of_volumes_trains_a_step(generator):
    torch.manual_seed(0)
    conv = ConvConfig(horizon="5", padding_mode="replicate")
    model = FlexNet(2, 3, 3, kernel=KernelConfig(type=generator, no_hidden=8), conv=conv)
    x, target = images(3, 2, 16, batch=4), torch.tensor([0, 1, 2, 0])
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    losses = []
    for _ in range(3):
        loss = nnf.cross_entropy(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_a_deployed_volume_layer_keeps_its_sum():
    layer = FlexConv3d(1, 1, 9, sigma=0.4, generator="Gabor").double()
    layer.generator.filters[0].linear.weight.data.mul_(0.01)
    before = layer.conv_kernel.sum()
    layer.set_resolution((2, 1, 1))
    assert layer.kernel_size == (17, 9, 9)
    assert abs(layer.conv_kernel.sum() / before - 1) < 0.2


@pytest.mark.parametrize("mask", MASKS)
def test_bounds_and_spectra_know_three_axes_and_every_mask(mask):
    torch.manual_seed(0)
    layer = FlexConv3d(1, 2, 9, mask=mask, sigma=(0.2, 0.3, 0.4), generator="MAGNet")
    share = measure(layer, 9, oversample=2, kernels=1).above(aa.bound(layer, 3.0).item())
    assert share < 0.05
    loss = aa.regularizer(layer, 3, 0.1)
    loss.backward()
    assert layer.mask.sigma.grad.abs().sum() > 0


@pytest.mark.parametrize("mask", MASKS)
def test_a_mask_crops_where_it_falls_to_its_threshold(mask):
    made = MASKS[mask](1, 0.2, threshold=0.1, causal=False)
    line = torch.linspace(-1, 1, 101)
    (start, stop), value = made.crop((101,))[0], made([line])
    assert (value[start:stop] >= 0.1 - 1e-6).all() and (value[:start] < 0.1).all()
    causal = MASKS[mask](1, 0.2, threshold=0.1)
    (start, stop), value = causal.crop((101,))[0], causal([line])
    assert stop == 101 and (value[: max(start, 0)] < 0.1).all() and value[start + 1] >= 0.1 - 1e-6
    assert value[-1] == 1


def test_a_mask_of_ones_own():
    class Steep(GaussianMask):
        """A Gaussian's square."""

        @staticmethod
        def profile(u):
            return torch.exp(-u.square())

        @staticmethod
        def reach(threshold):
            return GaussianMask.reach(threshold) / 2**0.5

    for given in (Steep, Steep(2, 0.3)):
        layer = FlexConv2d(2, 3, 17, mask=given, generator=SMALL)
        assert isinstance(layer.mask, Steep) and layer.cropped_size() < (17, 17)
        layer(images(2, 2)).sum().backward()
        assert layer.mask.sigma.grad.abs().sum() > 0


@pytest.mark.parametrize("given", ["SIREN", SMALL, ck.GaborNet, "instance"])
def test_a_generator_in_every_form(given):
    own = ck.build(SMALL, 2, 6)
    layer = CKConv2d(2, 3, 5, generator=own if given == "instance" else given)
    assert layer(images(2, 2)).shape == (2, 3, 9, 8)
    assert given != "instance" or layer.generator is own


@pytest.mark.parametrize(("dim", "layer"), ALL, ids=str)
def test_made_anywhere_in_any_dtype(dim, layer):
    x = images(dim, 4, 8)
    assert layer(4, 6, 5, dtype=torch.float64)(x.double()).dtype == torch.float64
    for made in (layer(4, 6, 5, device="meta"), _on_meta(layer)):
        assert {p.device.type for p in made.parameters()} == {"meta"}
        assert made(x.to("meta")).shape == (2, 6, *x.shape[2:])
    made = skip_init(layer, 4, 6, 5)
    made.load_state_dict(layer(4, 6, 5).state_dict())
    assert made.kernel_size == (5,) * dim and torch.isfinite(made(x)).all()
    single = made(x[1])
    torch.testing.assert_close(single, made(x)[1])
    assert made(x[:0]).shape == (0, 6, *x.shape[2:])


def _on_meta(layer):
    with torch.device("meta"):
        return layer(4, 6, 5)


@pytest.mark.parametrize("use_fft", FFT)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("horizon", [3, 15, 33])
def test_half_precision_at_every_size(horizon, dtype, use_fft):
    torch.manual_seed(0)
    layer = FlexConv2d(3, 4, horizon, sigma=0.5, generator=KernelConfig(type="SIREN", omega_0=3.0))
    layer.backend = {"False": "direct", "True": "fft"}[use_fft]
    x = images(2, 3, 20)
    expected = layer(x)
    got = layer.to(dtype)(x.to(dtype))
    assert got.dtype == dtype
    assert (got.float() - expected).norm() < 20 * torch.finfo(dtype).eps * expected.norm()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: FlexConv(3, 24, 33), r"dim=33.*FlexConv2d\(3, 24, 33\)"),
        (lambda: CKConv(3, 4, KernelConfig(), ConvConfig()), r"dim=KernelConfig.*CKConv\(in_ch"),
        (lambda: FlexConv(3, 24, kernel_size=33), r"kernel_size=33.*FlexConv2d\(3, 24, 33\)"),
        (lambda: FlexConv(3, 24, 3)(images(2, 3)), r"FlexConv2d\(3, 24, kernel_size\)"),
        (lambda: FlexConv2d(3, 4, kernel=KernelConfig()), r"kernel=.*generator=.*FlexConv\(in_"),
        (lambda: FlexConv2d(3, 4, KernelConfig(), ConvConfig()), r"kernel_size=KernelConfig"),
        (lambda: FlexConv2d(3, 4, dim=2), r"dim=2.*FlexConv2d\(in_channels, out"),
        (lambda: FlexConv2d(3, 4, 4), "kernel_size=4.*3 or 5"),
        (lambda: FlexConv2d(3, 4, (3, 5, 7)), "^kernel_size="),
        (lambda: FlexConv2d(3, 4, 5, groups=2), "groups=2.*in_channels=3"),
        (lambda: FlexConv2d(3, 4, 5, sigma=(0.1, 0.2, 0.3)), "sigma="),
        (lambda: FlexConv2d(3, 4, 5, sigma=0.0), "sigma=0.0"),
        (lambda: FlexConv2d(3, 4, 5, mask="gausian"), "mask=gausian.*did you mean gaussian"),
        (lambda: FlexConv2d(3, 4, 5, mask=GaussianMask(1)), "mask=.*2 axes"),
        (lambda: FlexConv2d(3, 4, 5, generator="Siren"), "generator=Siren.*SIREN"),
        (lambda: FlexConv2d(3, 4, 5, generator=ck.build(SMALL, 2, 5)), "12 values"),
        (lambda: FlexConv2d(3, 4, 5, padding_mode="mirror"), "padding_mode=mirror"),
        (lambda: FlexConv2d(3, 4, 5, padding="full"), "padding=full"),
        (lambda: FlexConv2d(3, 4, 5, padding=-1), "padding=-1"),
        (lambda: FlexConv2d(3, 4, 5, dilation=(1, 2, 3)), "dilation="),
        (lambda: FlexConv1d(3, 4, 5, padding=2), "padding=2.*future"),
        (lambda: FlexConv2d(3.0, 4, 5), "in_channels=3.0"),
        (lambda: FlexConv2d(3, 0, 5), "out_channels=0"),
        (lambda: FlexConv(3, 4, 2, {"type": "SIREN"}), r"SIREN.*write FlexConv\(in_channels"),
        (lambda: FlexConv2d(3, 4, 5, generator=nn.Linear(2, 2)), "Linear"),
        (lambda: FlexConv3d(1, 1, 3, causal=True, causal_axis=3), "causal_axis=3"),
        (lambda: FlexConv3d(1, 1, 3, causal_axis=1), "^causal_axis=1: .*causal=True too"),
        (lambda: FlexConv(1, 1, 2, mask=False), "^mask=False: write FlexConv"),
        (lambda: SepFlexConv2d(1, 1, 3, mask=False), "^mask=False: .*None for none"),
        (lambda: FlexConv2d(1, 1, 3, mask=nn.Linear), "^mask=.*Linear.*gaussian"),
        (lambda: FlexConv2d(1, 1, 3, mask=Mask), "^mask=.*base.Mask.*gaussian"),
        (lambda: FlexConv2d(1, 1, 3, generator=3), "^generator=3: give one of .*SIREN"),
        (lambda: FlexConv2d(1, 1, 3, generator=nn.Linear), "^generator=.*Linear.*SIREN"),
        (lambda: FlexConv2d(1, 1, 3, generator=ck.Generator), "^generator=.*Generator.*SIREN"),
        (lambda: CKConv2d(1, 1, 3, sigma=0.1), "^sigma=0.1: there is no mask"),
        (lambda: FlexConv2d(1, 1, 3, sigma=0.1, mask=None), "^sigma=0.1: there is no mask"),
        (lambda: FlexConv2d(1, 1, 3, sigma=torch.tensor(0.1)), "^sigma=0.1.*: give a number"),
        (lambda: FlexConv2d(1, 1, 3, padding_mode=None), "^padding_mode=None: unknown"),
        (lambda: FlexConv2d(1, 1, 3, dtype=torch.complex64), "^dtype=torch.complex64: give a real"),
        (lambda: SepFlexConv2d(4, 4, 3, groups=2), "^groups=2: SepFlexConv2d is depthwise"),
    ],
)
def test_what_belongs_elsewhere_is_said(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize("use_fft", FFT)
def test_numbers_may_be_those_of_numpy(use_fft):
    two, five = np.int64(2), np.int32(5)
    given = {"groups": two, "padding": (two, two), "dilation": two, "generator": SMALL}
    layer = FlexConv2d(two, 2 * two, five, two, use_fft=use_fft, **given)
    plain = nn.Conv2d(2, 4, 5, 2, groups=2, padding=2, dilation=2)
    x = images(2, 2, 12)
    assert layer(x).shape == plain(x).shape


def test_what_no_layer_takes_is_refused():
    layer = FlexConv2d(3, 4, 5)
    with pytest.raises(RuntimeError, match="uint8"):
        layer(torch.full((1, 3, 8, 8), 200, dtype=torch.uint8))
    with pytest.raises(TypeError, match="ndarray"):
        layer(np.zeros((1, 3, 8, 8)))
    with pytest.raises(ValueError, match="is empty"):
        FlexConv2d(3, 4)(torch.zeros(1, 3, 0, 8))


@pytest.mark.parametrize("kind", [FlexConv2d, SepFlexConv2d])
def test_complex_inputs_are_right(kind):
    layer = kind(3, 4, 5, generator=SMALL, dtype=torch.float64)
    for bias in (p for n, p in layer.named_parameters() if n in ("bias", "channel_mixer.bias")):
        nn.init.normal_(bias)
    x = images(2, 3, dtype=torch.complex128)
    nothing = layer(torch.zeros_like(x.real))
    expected = torch.complex(layer(x.real), layer(x.imag) - nothing)
    torch.testing.assert_close(layer(x), expected)


def test_ordinary_convolutions_refuse_what_they_would_not_heed():
    for conv in (
        ConvConfig(type="Conv", horizon="3", groups=2),
        ConvConfig(type="SRF", dilation=2),
    ):
        with pytest.raises(UsageError, match="groups=2|dilation=2"):
            FlexNet(2, 3, 2, conv=conv)
    assert (
        FlexNet(2, 3, 2, conv=ConvConfig(type="SepFlexConv", horizon="5"))(images(2, 2)).ndim == 2
    )
