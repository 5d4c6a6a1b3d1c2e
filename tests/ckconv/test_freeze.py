"""`ckconv.freeze`: the same numbers from ordinary convolutions, in a copy."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from ckconv import ConvConfig, KernelConfig, NetConfig, UsageError, freeze
from ckconv.models import FlexNet, FlexTCN
from ckconv.nn import (
    CKConv,
    CKConv1d,
    FlexConv1d,
    FlexConv2d,
    FlexConv3d,
    NJet,
    SepFlexConv1d,
    SepFlexConv2d,
)
from ckconv.nn.constant import SpectralConv

SMALL = KernelConfig(no_hidden=8)
PLAIN = {nn.Conv1d, nn.Conv2d, nn.Conv3d}
LAYERS = {
    "causal": (1, lambda **k: FlexConv1d(2, 4, 9, **k)),
    "longer than its input": (1, lambda **k: CKConv1d(2, 4, 31, **k)),
    "centred": (1, lambda **k: FlexConv1d(2, 4, 9, causal=False, **k)),
    "depthwise": (1, lambda **k: SepFlexConv1d(2, 4, 9, **k)),
    "image": (2, lambda **k: FlexConv2d(2, 4, 9, **k)),
    "groups": (2, lambda **k: FlexConv2d(2, 4, 9, 2, dilation=2, groups=2, bias=False, **k)),
    "numbers": (2, lambda **k: FlexConv2d(2, 4, (9, 7), (1, 2), padding=(1, 3), **k)),
    "valid": (2, lambda **k: FlexConv2d(2, 4, 9, padding="valid", sigma=0.05, **k)),
    "no padding": (2, lambda **k: FlexConv2d(2, 4, 9, padding=0, sigma=0.05, **k)),
    "torus": (2, lambda **k: FlexConv2d(2, 4, 33, padding_mode="circular", sigma=1.0, **k)),
    "mixed": (2, lambda **k: FlexConv2d(2, 4, 9, padding_mode=("reflect", "zeros"), **k)),
    "separable": (2, lambda **k: SepFlexConv2d(2, 4, 9, padding_mode="replicate", **k)),
    "video": (3, lambda **k: FlexConv3d(2, 4, 5, causal=True, **k)),
    "volume": (3, lambda **k: FlexConv3d(2, 4, 5, stride=2, **k)),
}


def data(dim, channels=2, n=12, **how):
    return torch.randn(2, channels, *[n + d for d in range(dim)], **how)


def largest_sum(frozen, x):
    """The largest sum of magnitudes that an output is made of: rounding is in proportion to it."""
    frozen = copy.deepcopy(frozen)
    for parameter in frozen.parameters():
        parameter.abs_()
    return frozen(x.abs()).max()


@pytest.mark.parametrize("use_fft", ["True", "False"])
@pytest.mark.parametrize("name", LAYERS)
def test_the_numbers_are_the_same(name, use_fft):
    torch.manual_seed(0)
    dim, make = LAYERS[name]
    layer = make(generator=SMALL, use_fft=use_fft)
    x = data(dim)
    layer(x)
    for dtype, bound in ((torch.float32, 1e-6), (torch.float64, 1e-14)):
        layer, x = layer.to(dtype), x.to(dtype)
        expected, frozen = layer(x), freeze(layer)
        assert (frozen(x) - expected).abs().max() <= bound * largest_sum(frozen, x)
        assert (frozen(x[0]) - expected[0]).abs().max() <= bound * largest_sum(frozen, x)
    convs = [m for m in frozen.modules() if hasattr(m, "weight")]
    assert {type(conv) for conv in convs} <= PLAIN
    assert not any(p.requires_grad for p in frozen.parameters())


@pytest.mark.parametrize("name", LAYERS)
def test_a_known_spectrum_gives_the_numbers_of_the_layer(name):
    torch.manual_seed(0)
    dim, make = LAYERS[name]
    layer, x = make(generator=SMALL, use_fft="True").double(), data(dim, dtype=torch.float64)
    expected = layer(x)
    frozen = freeze(layer, spectral_for=x)
    assert [type(m) for m in frozen.modules() if type(m) is SpectralConv] == [SpectralConv]
    assert not [*frozen.parameters()] or name in ("depthwise", "separable")
    torch.testing.assert_close(frozen(x), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(frozen(x[0]), expected[0], rtol=1e-12, atol=1e-12)
    other = data(dim, n=15, dtype=torch.float64)
    torch.testing.assert_close(frozen(other), layer(other), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(frozen.half()(x.half()).double(), expected, rtol=0.1, atol=0.1)


def test_layers_are_spectral_where_that_is_faster(monkeypatch):
    long, short = (
        FlexConv1d(8, 8, n, sigma=s, generator=SMALL) for n, s in ((999, 1.0), (33, 0.05))
    )
    model = nn.Sequential(long, short, nn.Flatten())
    x = torch.randn(2, 8, 1000)
    expected = model(x)
    frozen = freeze(model, spectral_for=x)
    assert [type(m) for m in frozen[1].modules()][-1] is nn.Conv1d
    assert type(frozen[0]) is SpectralConv and frozen[0].spectrum is not None
    torch.testing.assert_close(frozen(x), expected, rtol=1e-5, atol=1e-5)
    assert type(freeze(model)[0]) is nn.Sequential  # anywhere, if nothing is said
    program = torch.export.export(frozen, (x,))
    torch.testing.assert_close(program.module()(x), frozen(x))
    for jit in (torch.jit.script, lambda model: torch.jit.trace(model, x)):
        with pytest.raises(UsageError, match="without spectral_for"):
            jit(frozen)
    expected = frozen(x)
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    with pytest.warns(UserWarning, match="exported as an ordinary convolution"):
        assert (frozen(x) - expected).abs().max() <= 1e-5 * expected.abs().max()


NETWORKS = {
    "image": lambda: FlexNet(2, 3, 2, kernel=SMALL, conv=ConvConfig(horizon="9")),
    "sequence": lambda: FlexTCN(2, 3, kernel=SMALL),
    "separable": lambda: FlexNet(2, 3, 2, kernel=SMALL, conv=ConvConfig(type="SepFlexConv")),
    "njet": lambda: FlexNet(2, 3, 2, conv=ConvConfig(type="SRF")),
    "norms of a generator": lambda: FlexNet(2, 3, 2, kernel=KernelConfig("MLP", no_hidden=8)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name):
    torch.manual_seed(0)
    model = NETWORKS[name]()
    x = data(1 if name == "sequence" else 2)
    model(x)
    state = copy.deepcopy(model.state_dict())
    frozen = freeze(model)
    assert model.training and not frozen.training
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert not any(isinstance(module, CKConv | NJet) for module in frozen.modules())
    expected = model.eval()(x)
    torch.testing.assert_close(frozen(x), expected, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    torch.testing.assert_close(frozen(x), expected, rtol=1e-5, atol=1e-6)


def test_one_layer_in_two_places_stays_one():
    layer = FlexConv2d(3, 3, 5, generator=SMALL)
    frozen = freeze(nn.ModuleList([layer, nn.Sequential(layer)]))
    assert frozen[0] is frozen[1][0]


def test_what_cannot_be_frozen_is_said():
    class Doubled(FlexConv2d):
        def forward(self, x):
            return 2 * super().forward(x)

    with pytest.raises(UsageError, match="model.1: its kernel's size.*run the model once"):
        freeze(nn.Sequential(nn.ReLU(), FlexConv2d(3, 4)))
    with pytest.raises(UsageError, match="Doubled has a forward pass of its own"):
        freeze(nn.Sequential(Doubled(3, 4, 5)))


# ----- where a frozen network goes ---------------------------------------------------------------


def network(dim):
    torch.manual_seed(0)
    net = NetConfig(no_hidden=4, no_blocks=1)
    model = FlexNet(2, 3, dim, net, SMALL, ConvConfig(horizon="33"))
    return model.eval(), data(dim)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_torch_export(dim, strict):
    model, x = network(dim)
    frozen = freeze(model)
    program = torch.export.export(frozen, (x,), strict=strict)
    torch.testing.assert_close(program.module()(x), frozen(x))


@pytest.mark.parametrize("name", LAYERS)
def test_torch_jit(name):
    dim, make = LAYERS[name]
    frozen, x = freeze(make(generator=SMALL)), data(dim)
    for jitted in (torch.jit.trace(frozen, x), torch.jit.script(frozen)):
        torch.testing.assert_close(torch.jit.freeze(jitted.eval())(x), frozen(x))


class Several(nn.Module):
    """Layers beside each other, each with the input of its dimension."""

    def __init__(self, layers, dims):
        super().__init__()
        self.layers, self.dims = nn.ModuleList(layers), dims

    def forward(self, *inputs):
        return [layer(inputs[dim - 1]) for layer, dim in zip(self.layers, self.dims)]


@pytest.mark.parametrize("spectral", [False, True])
def test_onnx_runtime(tmp_path, spectral):
    onnx, _ = (pytest.importorskip(package) for package in ("onnx", "onnxscript"))
    runtime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    dims = [dim for dim, _ in LAYERS.values()]
    how = {"use_fft": "True"} if spectral else {}
    layers = Several([make(generator=SMALL, **how) for _, make in LAYERS.values()], dims)
    inputs = data(1), data(2), data(3)
    plain = freeze(layers)
    frozen = freeze(layers, spectral_for=inputs) if spectral else plain
    path = str(tmp_path / "layers.onnx")
    torch.onnx.export(frozen, inputs, path, dynamo=True, verbose=False)
    known = {node.op_type for node in onnx.load(path).graph.node}
    assert not known & {"DFT", "STFT"}
    session = runtime.InferenceSession(path)
    names = [one.name for one in session.get_inputs()]
    found = session.run(None, dict(zip(names, (x.numpy() for x in inputs))))
    for name, y, expected in zip(LAYERS, found, frozen(*inputs)):
        bound = 1e-6 * largest_sum(
            plain.layers[list(LAYERS).index(name)], inputs[LAYERS[name][0] - 1]
        )
        assert (torch.from_numpy(y) - expected).abs().max() <= bound, name


@pytest.mark.parametrize("dim", [1, 2])
def test_any_number_of_samples_after_export(dim):
    model, x = network(dim)
    frozen = freeze(model)
    batch = torch.export.Dim("batch", max=64)
    program = torch.export.export(frozen, (x,), dynamic_shapes=({0: batch},))
    more = torch.cat((x, x, x))
    torch.testing.assert_close(program.module()(more), frozen(more))


EXPORTERS = {
    "export": lambda model, x: torch.export.export(model, (x,)),
    "strict": lambda model, x: torch.export.export(model, (x,), strict=True),
    "onnx": lambda model, x: torch.onnx.export(model, (x,), io.BytesIO(), dynamo=False),
    "script": lambda model, x: torch.jit.script(model),
    "trace": lambda model, x: torch.jit.trace(model, x),
}


@pytest.mark.parametrize("how", EXPORTERS)
def test_without_freeze_a_sentence_names_it(how):
    if how == "onnx":
        pytest.importorskip("onnx")
    if how in ("export", "strict") and not hasattr(torch.compiler, "_is_exporting_flag"):
        pytest.skip("this PyTorch does not tell layers that they are exported")
    with pytest.raises(Exception, match=r"ckconv\.freeze\(model\)"):
        EXPORTERS[how](nn.Sequential(FlexConv2d(2, 4, 9), nn.ReLU()).eval(), data(2))
