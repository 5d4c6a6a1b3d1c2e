"""`ckconv.convert`: continuous kernels in other people's networks."""

from __future__ import annotations

import copy
import re

import pytest
import torch
import torch.nn.functional as nnf
from torch import nn

from ckconv import CKConv, FlexConv, KernelConfig, SepFlexConv, UsageError, convert, freeze
from ckconv.nn import CKConv2d, FlexConv1d, FlexConv2d, FlexConv3d, SepFlexConv2d

SMALL = {"generator": KernelConfig(no_hidden=8), "kernel_size": 9}
PLAIN = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=4),
        nn.Conv2d(8, 16, 1),
        nn.Conv2d(16, 16, 2, stride=2),
        nn.Conv2d(16, 16, 3, padding=2, dilation=2, padding_mode="circular"),
    )


def test_what_is_replaced_and_what_stays():
    model, told = network(), []
    new = convert(model, say=told.append, **SMALL)
    kinds = [type(module) for module in new]
    assert kinds == [
        *(FlexConv2d, nn.BatchNorm2d, nn.ReLU, FlexConv2d, nn.Conv2d, nn.Conv2d),
        FlexConv2d,
    ]
    assert type(model[0]) is nn.Conv2d and new[4] is not model[4]
    assert torch.equal(new[4].weight, model[4].weight)
    assert new[0].bias is None and new[0].stride == (2, 2) and new[3].groups == 4
    assert new[6].dilation == (2, 2) and new[6].padding_mode == "circular"
    count = [sum(p.numel() for p in m.parameters()) for m in (model, new)]
    (text,) = told
    assert re.search(r"^0 +Conv2d, 7x7 -> FlexConv2d\(3, 8, 9\)  1,176 -> [\d,]+$", text, re.M)
    assert "4           kept: a 1x1 kernel" in text and "5           kept: a 2x2 kernel" in text
    assert text.endswith(f"{count[0]:,} -> {count[1]:,}")


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("like", [FlexConv, CKConv, SepFlexConv])
@pytest.mark.parametrize(
    "given",
    [
        *({}, {"padding": 1}, {"padding": 2, "dilation": 2}, {"padding": "same"}),
        *({"padding": 3, "stride": 2}, {"padding": "valid", "stride": 3}),
        {"padding": 1, "padding_mode": "reflect", "groups": 2},
    ],
    ids=str,
)
def test_outputs_keep_their_sizes_and_places(dim, like, given):
    torch.manual_seed(0)
    conv = PLAIN[dim](2, 4, 3, **given).double()
    new = convert(nn.Sequential(conv), like, say=None, **SMALL)
    x = torch.randn(2, 2, *[13 + d for d in range(dim)], dtype=torch.float64)
    y = new(x)
    assert y.shape == conv(x).shape and y.dtype == torch.float64
    # A kernel that is one in its middle, in an ordinary convolution and in the new one.
    layer = new[0]
    if like is CKConv and dim < 3:
        conv.weight.data.zero_()[(slice(None), 0, *[1] * dim)] = 1
        conv.bias.data.zero_()
        expected = conv(x)
        layer.in_use.take = lambda layer: _impulse(layer)
        torch.testing.assert_close(layer(x), expected)


def _impulse(layer):
    kernel = layer.sample_kernel()
    middle = (slice(None), *[n // 2 for n in kernel.size])
    kernel.basis = torch.zeros_like(kernel.basis)
    kernel.basis[middle] = 1 / len(kernel.basis)
    kernel.weight = torch.zeros_like(kernel.weight)
    kernel.weight[:, 0] = 1
    return kernel


def test_what_stays_is_said():
    class Mine(nn.Conv2d):
        pass

    class Scaled(nn.Conv2d):
        def forward(self, x):
            return 2 * super().forward(x)

    how = {"padding": 1}
    layers = Mine(2, 2, 3, **how), Scaled(2, 2, 3, **how), nn.ConvTranspose2d(2, 2, 2, stride=2)
    told = []
    new = convert(nn.Sequential(*layers, nn.LazyConv2d(2, 3)), say=told.append, **SMALL)
    kinds = [type(module) for module in new]
    assert kinds == [FlexConv2d, Scaled, nn.ConvTranspose2d, nn.LazyConv2d]
    for sentence in ("kept: a forward pass of Scaled", "kept: a transposed 2x2", "kept: no number"):
        assert sentence in told[0]
    with pytest.raises(UsageError, match="only=2: 2 has a transposed"):
        convert(nn.Sequential(*layers), only="2")


def test_only_what_is_asked_for():
    for only in ("0", ["0", "1"], lambda name, conv: conv.bias is None):
        new = convert(network(), only=only, say=None, **SMALL)
        assert [n for n, m in new.named_modules() if isinstance(m, CKConv)] == ["0"]
    every = convert(network(), only="*", like=CKConv, say=None, **SMALL)
    assert sum(type(module) is CKConv2d for module in every) == 3


def test_dense_convolutions_become_separable_by_choice():
    dense = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.Conv2d(64, 64, 3, groups=64))
    new = convert(dense, SepFlexConv, say=None)
    assert type(new[0]) is SepFlexConv2d and type(new[1]) is FlexConv2d and new[1].groups == 64
    counts = [sum(p.numel() for p in m.parameters()) for m in (dense[0], new[0])]
    assert counts[1] < counts[0]


def test_modes_places_and_shared_layers():
    conv = nn.Conv1d(2, 2, 5, padding=2)
    new = convert(nn.ModuleList([conv, nn.Sequential(conv)]).eval(), say=None)
    assert type(new[0]) is FlexConv1d and new[0] is new[1][0] and not new[0].training
    assert new[0].causal_axis is None  # as the one before it
    assert convert(nn.Conv2d(2, 2, 3, device="meta"), say=None).extent.is_meta


def test_a_learned_size_that_follows_the_input():
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 3))
    new = convert(model, only="0", kernel_size="same", say=None)
    new(torch.randn(1, 2, 15, 11))
    assert new[0].kernel_size == (15, 11)


@pytest.mark.parametrize(
    ("sentence", "do"),
    [
        ("like=Conv2d: choose one of", lambda: convert(network(), nn.Conv2d)),
        ("Linear has no nn.Conv1d", lambda: convert(nn.Linear(2, 2))),
        ("only=stem.*there are 0, 3", lambda: convert(network(), only="stem*")),
        ("only=5: 5 has a 2x2", lambda: convert(network(), only="5")),
        ("to be replaced: 4 has a 1x1", lambda: convert(network(), only=["4*"])),
        ("takes a number", lambda: convert(nn.Conv2d(2, 2, 3), kernel_size="same")),
        ("larger than kernel_size=1", lambda: convert(nn.Conv2d(2, 2, 3), kernel_size=1)),
        ("horizon=8.*7 or 9", lambda: convert(network(), kernel_size=8)),
        ("generator=Siren", lambda: convert(network(), generator="Siren")),
    ],
)
def test_what_cannot_be_converted_is_said(sentence, do):
    with pytest.raises(UsageError, match=sentence):
        do()


def _train(model, x, target, steps=1):
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    for _ in range(steps):
        loss = nnf.cross_entropy(model.train()(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss


def test_a_converted_network_trains_and_is_frozen():
    model = nn.Sequential(*network(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = convert(model, say=None, **SMALL)
    x, target = torch.randn(8, 3, 24, 24), torch.arange(8)
    first, last = _train(model, x, target), _train(model, x, target, 10)
    assert last < first
    frozen = freeze(model)
    torch.testing.assert_close(frozen(x), model.eval()(x), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "like", "size"),
    [
        ("resnet18", SepFlexConv, (64, 64)),
        ("convnext_tiny", FlexConv, (64, 64)),
        ("mobilenet_v3_small", FlexConv, (64, 64)),
        ("efficientnet_b0", SepFlexConv, (64, 64)),
        ("r3d_18", SepFlexConv, (4, 24, 24)),
    ],
)
def test_networks_of_torchvision_from_training_to_onnx_runtime(name, like, size, tmp_path):
    torchvision = pytest.importorskip("torchvision")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    model = convert(torchvision.models.get_model(name, num_classes=10), like)
    x = torch.randn(4, 3, *size)
    assert _train(model, x, torch.arange(4)).isfinite()
    expected = model.eval()(x)
    frozen = freeze(model)
    scale = expected.abs().max()
    assert (frozen(x) - expected).abs().max() < 1e-5 * scale
    exact, exact_x = copy.deepcopy(model).double(), x.double()  # in which rounding is no excuse
    assert (freeze(exact)(exact_x) - exact(exact_x)).abs().max() < 1e-12 * scale
    path = str(tmp_path / f"{name}.onnx")
    torch.onnx.export(frozen, (x,), path, dynamo=True, verbose=False)
    session = runtime.InferenceSession(path)
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    print(name, "largest difference", (torch.from_numpy(y) - expected).abs().max() / scale)
    assert (torch.from_numpy(y) - expected).abs().max() < 1e-5 * scale


def test_volumes():
    model = convert(nn.Sequential(nn.Conv3d(1, 2, 3, padding=1)), kernel_size=5, say=None)
    assert type(model[0]) is FlexConv3d and model(torch.randn(1, 1, 6, 6, 6)).shape[1:] == (
        *(2, 6, 6),
        6,
    )
