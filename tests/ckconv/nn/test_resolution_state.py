"""What decides a layer's numbers, size and resolution, is in its state dict."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from ckconv import ConvConfig, KernelConfig, MaskConfig
from ckconv.nn import CKConv, FlexConv, NJet


def make(kind: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    kernel = KernelConfig(no_hidden=8, no_layers=1)
    if kind == "NJet":
        return NJet(1, 2)
    if kind == "CKConv":
        return CKConv(1, 2, 2, kernel)
    return FlexConv(1, 2, 2, kernel, ConvConfig(horizon="9"), MaskConfig(init_value=0.5))


KINDS = ("FlexConv", "CKConv", "NJet")


def deployed(kind: str, *ratios: float) -> tuple[nn.Module, torch.Tensor]:
    layer, x = make(kind), torch.randn(1, 1, 9, 9)
    layer(x)
    for ratio in ratios:
        layer.set_resolution(ratio)
    return layer.eval(), torch.randn(1, 1, 18, 18)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("before", [(), (3.0,), (0.5, 2.0)])
@pytest.mark.parametrize("ratios", [(), (2.0,), (1.75,), (1 / 3, 3.0, 2.0)])
def test_a_state_dict_gives_the_same_numbers_in_whatever_it_is_loaded(kind, before, ratios):
    a, x = deployed(kind, *ratios)
    b, _ = deployed(kind, *before)
    b.load_state_dict(a.state_dict())
    assert torch.equal(a(x), b(x))
    fresh = make(kind, seed=5).eval()
    fresh.load_state_dict(a.state_dict())
    assert torch.equal(a(x), fresh(x))
    for layer in (a, fresh):  # and goes on from there
        layer.set_resolution(2)
    assert torch.equal(a(x), fresh(x))


@pytest.mark.parametrize("kind", KINDS)
def test_copies_files_and_dtypes_keep_it(kind):
    a, x = deployed(kind, 1.75)
    file = io.BytesIO()
    torch.save(a, file)
    file.seek(0)
    y = a(x)
    assert torch.equal(copy.deepcopy(a)(x), y)
    assert torch.equal(torch.load(file, weights_only=False)(x), y)
    assert torch.allclose(copy.deepcopy(a).half().float()(x), y, atol=0.05 * y.abs().max().item())


@pytest.mark.parametrize("kind", ("FlexConv", "CKConv"))
def test_files_from_before_resolutions_were_kept_still_load(kind):
    a, x = deployed(kind)
    old = {name: value for name, value in a.state_dict().items() if name != "resolution"}
    b, _ = deployed(kind, 2.0)
    b.load_state_dict(old)
    assert torch.equal(a(x), b(x))


def test_a_given_horizon_stands_over_a_file_s_size():
    kernel = KernelConfig(no_hidden=8, no_layers=1)
    small, large = (CKConv(1, 2, 2, kernel, ConvConfig(horizon=h)) for h in ("9", "17"))
    large.load_state_dict(small.state_dict())
    assert large.kernel_size == (17, 17)


def test_a_given_scale_of_an_njet_stands_over_a_file_of_the_trained_resolution():
    trained, wide = NJet(1, 1), NJet(1, 1, scale=2.0)
    wide.load_state_dict(trained.state_dict())
    assert wide.resolution_ratio == 2.0
    again = NJet(1, 1, scale=2.0)
    again.load_state_dict(wide.state_dict())
    assert again.resolution_ratio == 2.0


def test_an_average_of_weights_has_the_model_s_size_and_resolution():
    model = nn.Sequential(make("CKConv"), CKConv(2, 1, 2)).eval()
    average = torch.optim.swa_utils.AveragedModel(model)  # before the first input
    x = torch.randn(1, 1, 12, 12)
    model(torch.randn(1, 1, 9, 9))
    model[0].set_resolution(2)
    average.update_parameters(model)
    assert torch.equal(average(x), model(x))


@pytest.mark.parametrize("how", ["copy_", "data.copy_", "in inference mode"])
@pytest.mark.parametrize("kind", KINDS)
def test_buffers_written_by_hand_count_at_once(kind, how):
    """As averages of weights write them, also in ways that PyTorch does not count as a change."""
    a, x = deployed(kind, 1.75)
    b, _ = deployed(kind, 3.0)
    b(x)
    with torch.inference_mode(how == "in inference mode"), torch.no_grad():
        for mine, its in zip((*b.parameters(), *b.buffers()), (*a.parameters(), *a.buffers())):
            (mine.data if how == "data.copy_" else mine).copy_(its)
    assert torch.equal(b(x), a(x))


def test_compiled_layers_know_them_after_a_pass_of_the_layer_itself():
    (a, x), (b, _) = deployed("FlexConv", 2.0), deployed("FlexConv")
    torch._dynamo.reset()
    compiled = torch.compile(b, backend="eager")
    before = compiled(x)
    with torch.no_grad():
        for mine, its in zip(b.buffers(), a.buffers()):
            mine.copy_(its)
    torch.testing.assert_close(compiled(x), before)  # whole as it was, size and resolution
    torch.testing.assert_close(b(x), a(x))
    torch.testing.assert_close(compiled(x), a(x))


def test_replicas_of_data_parallel_have_no_parameters_of_their_own():
    """As `nn.parallel.replicate` makes them."""
    layer, x = deployed("FlexConv")
    replica = layer._replicate_for_data_parallel()
    modules = {layer: replica}
    for module in layer.modules():
        modules.setdefault(module, module._replicate_for_data_parallel())
    for module, twin in modules.items():
        for name, child in module._modules.items():
            if child is not None:
                twin._modules[name] = modules[child]
        twin._former_parameters = {}
        for name, parameter in module._parameters.items():
            if parameter is not None:
                setattr(twin, name, parameter * 1)
    assert not list(replica.parameters())
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            assert torch.allclose(replica(x), layer(x), atol=1e-6)
