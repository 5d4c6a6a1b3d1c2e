"""The kernel in use: kept only as long as it is right, recorded where it is penalised."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ckconv import ConvConfig, KernelConfig, MaskConfig, penalties, published
from ckconv.functional.kernel import MOST_SPECTRA
from ckconv.models import FlexNet
from ckconv.nn import CKConv, FlexConv, NJet, kept_kernels, recorded_kernels


def make(horizon="17", sigma=0.3, use_fft="auto", kind="MAGNet", **mask):
    torch.manual_seed(0)
    conv = ConvConfig(horizon=horizon, use_fft=use_fft)
    kernel = KernelConfig(type=kind, no_hidden=8)
    return FlexConv(2, 3, 2, kernel, conv, MaskConfig(init_value=sigma, **mask)).eval()


def fresh(layer, x):
    """What the layer gives where nothing is kept."""
    return copy.deepcopy(layer)(x)


def _past_autograd(layer):
    layer.generator.output.weight.data.mul_(2)


def _zeroed(layer):
    for parameter in layer.generator.output.parameters():
        parameter.data.mul_(0)


def _one_number(layer):
    layer.generator.filters[1].mu.data[2, 0] += 0.5


def _new_threshold(layer):
    layer.mask.threshold = 0.5


def _no_cropping(layer):
    layer.mask.dynamic_cropping = False


def _wider_mask(layer):
    layer.mask.sigma.data.mul_(1.5)


def _other_weights(layer):
    torch.manual_seed(1)
    other = make()
    nn.init.normal_(other.generator.output.bias)
    layer.load_state_dict(other.state_dict())


def _finer(layer):
    layer.set_resolution(2)


def _norm(layer):
    layer.sampling_rate_norm = 0.5


def _unmasked(layer):
    layer.mask = None


def _other_generator(layer):
    layer.generator = make(kind="SIREN").generator


CHANGES = [
    *(
        _past_autograd,
        _zeroed,
        _one_number,
        _new_threshold,
        _no_cropping,
        _wider_mask,
        _other_weights,
    ),
    *(_finer, _norm, _unmasked, _other_generator),
]


@pytest.mark.parametrize("use_fft", ["True", "False"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_kept_kernel_follows_every_change(change, use_fft):
    layer, x = make(use_fft=use_fft), torch.randn(2, 2, 20, 20)
    with torch.no_grad(), kept_kernels(layer):
        before = layer(x)
        assert torch.allclose(layer(x), before)
        change(layer)
        after = layer(x)
        assert torch.allclose(after, fresh(layer, x), atol=1e-5)
        assert not torch.allclose(after, before, atol=1e-3)
        assert torch.allclose(layer(x), after)


@torch.no_grad()
def test_many_input_sizes_give_right_numbers_in_bounded_memory():
    layer, kept, least = make(use_fft="True"), [], 24
    with kept_kernels(layer):
        for index in range(200):
            x = torch.randn(1, 2, least + index % 40, least + index // 40)
            assert torch.allclose(layer(x), fresh(layer, x), atol=1e-5)
            spectra = layer.in_use.take(layer).spectra
            kept.append(len(spectra))
    assert max(kept) == MOST_SPECTRA and layer.in_use._kept is None


@torch.no_grad()
def test_blocks_in_each_other_leave_nothing_behind():
    layer, x = make(), torch.randn(1, 2, 8, 8)

    def is_kept():
        layer(x)
        first = layer.in_use.last
        layer(x)
        return layer.in_use.last is first

    with kept_kernels(layer):
        with pytest.raises(KeyError), kept_kernels(nn.Sequential(layer)):
            assert is_kept()
            raise KeyError
        assert is_kept()
        assert layer.train().eval() is layer and is_kept()
        copied = copy.deepcopy(layer)
    assert not is_kept()
    layer = copied
    assert not is_kept()


@torch.no_grad()
def test_a_cache_lasts_from_eval_to_train():
    layer, x = CKConv(2, 3, 2, conv=ConvConfig(horizon="9", cache=True)), torch.randn(1, 2, 8, 8)
    layer.eval()(x)
    kept = layer.in_use._kept
    with kept_kernels(layer):
        layer(x)
    layer(x)
    assert layer.in_use._kept is kept is not None
    layer.train()
    assert layer.in_use._kept is None
    layer(x)
    assert layer.in_use._kept is None


@pytest.mark.parametrize("horizon", ["same", "9"])
def test_many_threads_agree(horizon):
    model = nn.Sequential(make(horizon, sigma=0.05), CKConv(3, 2, 2).eval())
    x = torch.randn(8, 2, 12, 12)
    expected = copy.deepcopy(model)(x).detach()

    def run(_):
        with torch.no_grad(), kept_kernels(model):
            return [model(x) for _ in range(3)]

    with ThreadPoolExecutor(8) as pool:
        for results in pool.map(run, range(8)):
            assert all(torch.allclose(y, expected, atol=1e-5) for y in results)
    assert all(layer.in_use._keepers == 0 for layer in model)


# ----- penalties ----------------------------------------------------------------------------------


def network():
    torch.manual_seed(0)
    return nn.Sequential(make(), CKConv(3, 2, 2), nn.Conv2d(2, 2, 3), NJet(2, 2))


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def test_penalties_take_the_kernels_that_they_are_given():
    model, x = network(), torch.randn(1, 2, 12, 12)
    with recorded_kernels(model) as kernels:
        model(x)
    with torch.no_grad():
        model(x)  # comes between, and leaves kernels without gradients
    layers = [model[0], model[1], model[3]]
    assert list(kernels) == layers and all(k.requires_grad for k in kernels.values())
    given = penalties.kernel_norm(model, kernels)
    anew = penalties.kernel_norm(model)
    decayed = layers[:2]  # not the N-Jet, nor the ordinary convolution between
    expected = sum(layer.conv_kernel.norm() + layer.bias.norm() for layer in decayed)
    assert torch.allclose(given, expected) and torch.allclose(anew, expected)
    first, second = gradients(model, given), gradients(model, anew)
    assert first.keys() == second.keys() >= {"0.mask.sigma", "1.generator.output.weight"}
    for name in first:
        torch.testing.assert_close(first[name], second[name])


def test_kernels_without_gradients_are_not_penalised_in_silence():
    model, x = network(), torch.randn(1, 2, 12, 12)
    with torch.no_grad(), recorded_kernels(model) as kernels:
        model(x)
        value = penalties.kernel_norm(model, kernels)
    with pytest.raises(ValueError, match="without gradients"):
        penalties.kernel_norm(model, kernels)
    assert torch.allclose(value, penalties.kernel_norm(model.requires_grad_(False), kernels))


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_a_penalty_after_a_checkpointed_or_an_evaluating_pass_has_gradients(use_reentrant):
    model, x = network(), torch.randn(1, 2, 12, 12)
    model(x)
    expected = gradients(model, penalties.kernel_norm(model))
    with torch.no_grad():
        model(x)
    without = gradients(model, penalties.kernel_norm(model))
    output = checkpoint(model, x.requires_grad_(), use_reentrant=use_reentrant)
    inside = gradients(model, 0 * output.sum() + penalties.kernel_norm(model))
    for found in (without, inside):
        assert expected.keys() <= found.keys()
        for name, grad in expected.items():
            torch.testing.assert_close(found[name], grad)


def test_what_takes_no_part_is_not_recorded():
    model, x = network(), torch.randn(1, 2, 12, 12)
    model(x)
    earlier = model[1].conv_kernel
    with pytest.raises(KeyError), recorded_kernels(model) as kernels:
        model[0](x)
        raise KeyError
    assert list(kernels) == [model[0]] and model[1].conv_kernel is earlier


@pytest.mark.slow
def test_compiled_layers_are_recorded_and_resized_too():
    """In float64: compiled code transforms otherwise, and rounds otherwise."""
    plain, x = network().double(), torch.randn(1, 2, 12, 12, dtype=torch.float64)
    plain(torch.randn_like(x))
    model = copy.deepcopy(plain)
    compiled = torch.compile(model, backend="eager")
    for _ in range(2):
        found = []
        for net, forward in ((plain, plain), (model, compiled)):
            with recorded_kernels(net) as kernels:
                output = forward(x)
            loss = output.square().sum() + penalties.kernel_norm(net, kernels)
            found.append((output, gradients(net, loss)))
        assert torch.allclose(found[0][0], found[1][0], atol=1e-6)
        for name, grad in found[0][1].items():
            torch.testing.assert_close(found[1][1][name], grad)
        for net in (plain, model):
            net[0].set_resolution(2)


# ----- the mask of a new layer --------------------------------------------------------------------


def test_a_mask_is_widened_once_where_a_new_layers_size_becomes_known():
    given, open_ = make("9", sigma=0.05), make("same", sigma=0.05)
    assert given.mask.sigma.tolist() == [0.25, 0.25]
    assert torch.allclose(open_.mask.sigma, torch.tensor(0.05))
    open_(torch.randn(1, 2, 9, 17))
    assert torch.allclose(open_.mask.sigma, torch.tensor([0.25, 2 / 16]))
    open_.set_resolution(0.25)
    assert torch.allclose(open_.mask.sigma, torch.tensor([0.25, 2 / 16]))


def test_no_resolution_and_no_checkpoint_changes_a_mask():
    layer = make("33", sigma=0.075)
    layer.set_resolution(0.25)
    assert layer.kernel_size == (9, 9) and layer.cropped_size() == (1, 1)
    assert torch.allclose(layer.mask.sigma, torch.tensor(0.075))
    other = make("same", sigma=0.075)
    other.load_state_dict({"extent": layer.extent}, strict=False)
    assert other.kernel_size == (9, 9)
    assert torch.allclose(other.mask.sigma, torch.tensor(0.075))


def test_a_trained_mask_from_where_sizes_are_not_kept():
    state = {k: v for k, v in make("9", sigma=0.05).state_dict().items() if k != "extent"}
    state["mask.sigma"] = torch.tensor([0.01, 0.01])
    layer = make("same")
    layer.load_state_dict(state, strict=False)
    layer(torch.randn(1, 2, 9, 9))
    assert torch.allclose(layer.mask.sigma, torch.tensor(0.01))


def test_a_narrow_mask_is_never_made_narrower():
    layer = make("9", sigma=0.3)
    layer.mask.mean.data.fill_(3.0)
    layer.mask.widen((9, 9))
    assert torch.allclose(layer.mask.sigma, torch.tensor(0.3))


# ----- its size -----------------------------------------------------------------------------------


def test_the_extent_is_the_size_whoever_writes_it():
    """An average of weights that is taken before the first input gets the buffer alone."""
    model = nn.Sequential(make("same", sigma=0.05))
    averaged = torch.optim.swa_utils.AveragedModel(model)
    model(torch.randn(1, 2, 9, 9))
    averaged.update_parameters(model)
    assert averaged.module[0].kernel_size == (9, 9)
    x = torch.randn(1, 2, 30, 30)
    assert torch.equal(averaged(x), model(x))
    assert torch.allclose(averaged.module[0].mask.sigma, torch.tensor(0.25))


# ----- a layer without a mask ---------------------------------------------------------------------


def test_flexconv_is_ckconv_with_a_mask():
    kernel, conv = KernelConfig(no_hidden=8), ConvConfig(horizon="9")
    torch.manual_seed(0)
    flex = FlexConv(2, 3, 2, kernel, conv)
    torch.manual_seed(0)
    masked = CKConv(2, 3, 2, kernel, conv, MaskConfig())
    x = torch.randn(1, 2, 9, 9)
    assert torch.equal(flex(x), masked(x)) and flex.mask is not None
    assert CKConv(2, 3).mask is None and FlexConv(2, 3, mask=MaskConfig(use=False)).mask is None


def test_published_weights_of_a_layer_without_its_mask():
    layer = make("9", use=False)
    state = {f"Kernel.{n}": p for n, p in layer.generator.state_dict().items()}
    state = {name.replace("output.", "output_linear."): p for name, p in state.items()}
    state |= {"bias": torch.ones(3), "mask_threshold": torch.tensor([0.1])}
    published.load_state_dict(layer, state)
    assert layer.mask is None and torch.equal(layer.bias, torch.ones(3))


def test_a_network_that_has_seen_no_input_is_reported_without_kernels():
    from training.report.layers import generated_layers

    model = FlexNet(2, 3, 2)
    assert generated_layers(model) == []
    model(torch.randn(1, 2, 8, 8))
    assert [layer.full_size for layer in generated_layers(model)] == [(9, 9)] * 5
