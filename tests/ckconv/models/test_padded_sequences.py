"""Sequences padded to one length give what each gives alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from ckconv import ConvConfig, MaskConfig, NetConfig
from ckconv.models import FlexNet, FlexTCN

LENGTHS = (23, 9, 1, 30)
NORMS = ("BatchNorm", "LayerNorm")


def network(kind: str, norm: str, per_step: bool = False, **conv: object) -> nn.Module:
    torch.manual_seed(1)
    net = NetConfig(no_hidden=5, no_blocks=2, norm=norm)
    parts = {"net": net, "mask": MaskConfig(init_value=0.5), "conv": ConvConfig(**conv)}
    if kind == "FlexTCN":
        return FlexTCN(2, 3, per_step=per_step, **parts)
    return FlexNet(2, 3, 1, per_step=per_step, **parts)


def batch(padding: float = 7.5) -> tuple[Tensor, Tensor]:
    x = torch.randn(len(LENGTHS), 2, 30, generator=torch.Generator().manual_seed(0))
    for row, length in zip(x, LENGTHS):
        row[:, length:] = padding
    return x, torch.tensor(LENGTHS)


@pytest.mark.parametrize("kind", ["FlexNet", "FlexTCN"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("padding", [7.5, float("nan")])
def test_a_padded_sequence_gives_what_it_gives_alone(kind, norm, padding):
    model = network(kind, norm)
    x, lengths = batch(padding)
    model(*batch())  # statistics, and the kernels' sizes
    model.eval()
    alone = [model(row[None, :, :length]) for row, length in zip(x, LENGTHS)]
    assert torch.allclose(model(x, lengths), torch.cat(alone), atol=1e-5)
    if norm == "BatchNorm":
        assert model(x[:1]).isnan().any() == (padding != padding)  # padding counts without lengths


@pytest.mark.parametrize("use_fft", ["True", "False"])
def test_every_step_of_a_padded_sequence_is_its_own(use_fft):
    model = network("FlexTCN", "LayerNorm", per_step=True, use_fft=use_fft)
    x, lengths = batch()
    y = model(x, lengths)
    for row, length, given in zip(x, LENGTHS, y):
        assert torch.allclose(given[:, :length], model(row[None, :, :length])[0], atol=1e-5)


@pytest.mark.parametrize("kind", ["FlexNet", "FlexTCN"])
@pytest.mark.parametrize("norm", NORMS)
def test_in_training_nothing_depends_on_the_padding(kind, norm):
    """Outputs, gradients and running statistics."""
    first = network(kind, norm)
    first(*batch())
    second = copy.deepcopy(first)
    lengths = torch.tensor(LENGTHS)
    x = torch.nn.functional.pad(batch()[0], (0, 11), value=-3.0)
    outputs = first(*batch()), second(x, lengths)
    assert torch.allclose(*outputs, atol=1e-5)
    for output in outputs:
        output.square().sum().backward()
    for (name, a), (_, b) in zip(first.named_parameters(), second.named_parameters()):
        assert torch.allclose(a.grad, b.grad, atol=1e-3, rtol=1e-3), name
    for (name, a), (_, b) in zip(first.named_buffers(), second.named_buffers()):
        assert torch.allclose(a, b, atol=1e-5), name


def test_batch_norm_s_statistics_are_those_of_the_sequences_own_steps():
    model = network("FlexNet", "BatchNorm")
    x, lengths = batch()
    seen = []
    model.stem_norm.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    model(x, lengths)
    steps = torch.cat([model.stem(row[None, :, :n])[0].T for row, n in zip(x, LENGTHS)])
    assert torch.allclose(seen[0], steps, atol=1e-5)


def test_whole_lengths_change_nothing():
    for norm in NORMS:
        model = network("FlexNet", norm).eval()
        x = torch.randn(3, 2, 30)
        assert torch.allclose(model(x, torch.full((3,), 30)), model(x), atol=1e-6)


@pytest.mark.parametrize(
    ("lengths", "sentence"),
    [([1, 2], "needs 4 whole numbers"), ([0, 1, 2, 3], "from 1 to 30"), ([1, 2, 3, 31], "1 to 30"),
     ([1.0, 2.0, 3.0, 4.0], "float")],
)  # fmt: skip
def test_lengths_that_do_not_fit(lengths, sentence):
    with pytest.raises(ValueError, match=sentence):
        network("FlexTCN", "BatchNorm")(batch()[0], torch.tensor(lengths))


def test_lengths_of_images():
    with pytest.raises(ValueError, match="sequences"):
        FlexNet(1, 2, 2)(torch.zeros(2, 1, 5, 5), torch.tensor([5, 5]))
