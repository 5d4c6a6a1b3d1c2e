"""A layer among PyTorch's: copied, averaged, replicated, pruned, compiled, summarised."""

from __future__ import annotations

import copy
import io
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

from ckconv import (
    CKConv2d,
    FlexConv1d,
    FlexConv2d,
    KernelConfig,
    MaskConfig,
    NetConfig,
    SepFlexConv2d,
)
from ckconv.errors import UsageError
from ckconv.models import FlexNet

BACKENDS = ("True", "False")
SMALL = KernelConfig(no_hidden=8)
both = pytest.mark.parametrize("use_fft", BACKENDS)


def make(use_fft="auto", horizon="same", **how):
    torch.manual_seed(0)
    first = FlexConv2d(2, 4, horizon, generator=SMALL, sigma=0.3, use_fft=use_fft, **how)
    last = SepFlexConv2d(4, 3, horizon, generator=SMALL, use_fft=use_fft)
    return nn.Sequential(first, nn.ReLU(), last)


def images(n=9, batch=2):
    torch.manual_seed(1)
    return torch.randn(batch, 2, n, n)


def gradients(model, x, run=None):
    model.zero_grad()
    (model if run is None else run)(x).square().sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def assert_alike(first, second, **bounds):
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], **bounds)


# ----- copies -------------------------------------------------------------------------------------


def _pickled(model):
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


def _averaged(model):
    return AveragedModel(model).module


def _by_hand(model):
    """Parameters and buffers written one by one, as averages of weights do."""
    other = make(*model.made)
    with torch.no_grad():
        for mine, its in zip(other.parameters(), model.parameters()):
            mine.copy_(its)
        for mine, its in zip(other.buffers(), model.buffers()):
            mine.copy_(its)
    return other


def _loaded(model):
    other = make(*model.made)
    other.load_state_dict(model.state_dict())
    return other


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": _pickled,
    "average": _averaged,
    "by hand": _by_hand,
    "state": _loaded,
}


@both
@pytest.mark.parametrize("seen", ["nothing", "an input"])
@pytest.mark.parametrize("how", COPIES)
def test_copies_give_the_same(how, seen, use_fft):
    model, x = make(use_fft), images()
    model.made = (use_fft,)
    if seen != "nothing":
        model(x)
    other = COPIES[how](model)
    y = model(x)
    assert torch.equal(other(x), y)
    assert not {id(p) for p in model.parameters()} & {id(p) for p in other.parameters()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.9)
    assert torch.equal(other(x), y) and not torch.equal(model(x), y)


@both
@pytest.mark.parametrize("first", [False, True])
def test_averages_of_weights(first, use_fft):
    """Before and after the first input, plain and exponential."""
    for multi in (None, get_ema_multi_avg_fn(0.5)):
        model, x = make(use_fft), images()
        if first:
            model(x)
        averaged = AveragedModel(model, multi_avg_fn=multi, use_buffers=multi is None)
        averaged.update_parameters(model)
        start = {n: p.clone() for n, p in model.named_parameters()}
        optimizer = torch.optim.SGD(model.parameters(), 1e-3)
        gradients(model, x)
        optimizer.step()
        averaged.update_parameters(model)
        expected = copy.deepcopy(model)
        if not first:  # the mask was widened between the two, when the size became known
            assert averaged(x).isfinite().all() and averaged(x).shape == (2, 3, 9, 9)
            continue
        with torch.no_grad():
            for name, parameter in expected.named_parameters():
                parameter.copy_((parameter + start[name]) / 2)
        torch.testing.assert_close(averaged(x), expected(x))


# ----- several at once ----------------------------------------------------------------------------


@both
def test_replicas_of_data_parallel(use_fft):
    """What `nn.DataParallel` runs in threads, one replica a device."""
    model, x = make(use_fft), images(batch=4)
    expected = gradients(copy.deepcopy(model), x)
    model(x)
    replicas = [_replica(model) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        y = torch.cat(list(pool.map(lambda pair: pair[0](pair[1]), zip(replicas, x.chunk(2)))))
    y.square().sum().backward()
    assert_alike({n: p.grad for n, p in model.named_parameters()}, expected, rtol=1e-4, atol=1e-4)


def _replica(module):
    """A replica whose parameters are the module's own, as the first device's are."""
    replica = module._replicate_for_data_parallel()
    for name, child in module._modules.items():
        replica._modules[name] = None if child is None else _replica(child)
    replica._parameters = dict(module._parameters)
    return replica


@both
def test_eight_threads_from_the_first_input_on(use_fft):
    model, x = make(use_fft), images()
    expected = copy.deepcopy(model)(x)
    with ThreadPoolExecutor(8) as pool:
        for y in pool.map(lambda _: model(x), range(32)):
            assert torch.equal(y, expected)


# ----- training -----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing(reentrant, use_fft):
    model, x = make(use_fft), images().requires_grad_()
    expected = gradients(model, x)
    found = gradients(model, x, lambda x: checkpoint(model, x, use_reentrant=reentrant))
    assert_alike(found, expected)


@both
def test_autocast_around_forward_and_backward(use_fft):
    model, x = make(use_fft), images()
    expected = gradients(model, x)
    with torch.autocast("cpu", torch.bfloat16):
        found = gradients(model, x)
    assert all(grad.dtype == torch.float32 for grad in found.values())
    exact, rounded = (torch.cat([g.flatten() for g in each.values()]) for each in (expected, found))
    assert (rounded - exact).norm() < 0.05 * exact.norm()


@both
@pytest.mark.parametrize("batch", [0, 1])
def test_empty_batches_and_single_samples_train(batch, use_fft):
    model = make(use_fft, horizon=5).train()
    x = images(batch=batch).requires_grad_()
    y = model(x)
    assert y.shape == (batch, 3, 9, 9)
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@both
def test_pruned_weights_stay_pruned_while_the_others_learn(use_fft):
    model, x = make(use_fft, horizon=5), images()
    generator = model[0].generator
    parts = [(generator.output, "weight"), (generator.linears[0], "weight"), (model[0], "bias")]
    for module, name in parts:
        prune.random_unstructured(module, name, amount=0.5)
    before = model(x)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    for _ in range(2):
        gradients(model, x)
        optimizer.step()
    assert not torch.allclose(model(x), before)
    for module, name in parts:
        assert (getattr(module, name)[getattr(module, f"{name}_mask") == 0] == 0).all()
    optimizer.zero_grad()
    expected = model(x)
    for module, name in parts:
        prune.remove(module, name)
    torch.testing.assert_close(model(x), expected)


@both
def test_parametrized_weights(use_fft):
    model, x = make(use_fft, horizon=5), images()
    generator = model[0].generator
    expected = model(x)
    for linear in (generator.output, generator.linears[0]):
        parametrizations.weight_norm(linear)
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    for _ in range(2):
        gradients(model, x)
        optimizer.step()
    expected = model(x)
    for linear in (generator.output, generator.linears[0]):
        parametrize.remove_parametrizations(linear, "weight")
    torch.testing.assert_close(model(x), expected)


# ----- resolution ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0, -1, float("nan"), float("inf"), "2", True, (2, 0), (1, 2, 3)])
def test_what_is_no_ratio_is_refused(ratio):
    layer = FlexConv2d(2, 3, 5, generator=SMALL)
    before, norm = layer.kernel_size, layer.sampling_rate_norm
    with pytest.raises(UsageError, match="ratio="):
        layer.set_resolution(ratio)
    assert (layer.kernel_size, layer.sampling_rate_norm) == (before, norm)


# ----- summarised ---------------------------------------------------------------------------------


@pytest.mark.parametrize("use", ["before the first input", "by an input"])
def test_torchinfo(use):
    torchinfo = pytest.importorskip("torchinfo")
    models = {
        "open": FlexConv2d(3, 4, generator=SMALL),
        "given": FlexConv2d(3, 4, 9, generator=SMALL),
        "separable": SepFlexConv2d(3, 4, generator=SMALL),
        "network": FlexNet(3, 4, 2, NetConfig(no_hidden=4, no_blocks=1), SMALL),
    }
    for name, model in models.items():
        shape = {"input_size": (2, 3, 8, 8)} if use == "by an input" else {}
        told = torchinfo.summary(model, verbose=0, col_names=("kernel_size", "num_params"), **shape)
        assert told.total_params == sum(p.numel() for p in model.parameters())
        assert ("[9, 9]" in str(told)) == (name == "given")
        assert ("kernel_size=(9, 9)" in repr(model)) == (name == "given" or "input_size" in shape)


# ----- compiled -----------------------------------------------------------------------------------


COMPILED = {
    "no mask": lambda use_fft: CKConv2d(2, 3, 5, generator=SMALL, use_fft=use_fft),
    "no crop": lambda use_fft: FlexConv2d(
        2, 3, 5, generator=SMALL, use_fft=use_fft, mask=MaskConfig(dynamic_cropping=False)
    ),
    "in evaluation": lambda use_fft: FlexConv2d(
        2, 3, 9, generator=SMALL, use_fft=use_fft, sigma=0.2
    ).eval(),
    "causal, in evaluation": lambda use_fft: FlexConv1d(
        2, 3, 9, generator=SMALL, use_fft=use_fft, sigma=0.2
    ).eval(),
}


EVERY = [(name, use_fft) for name in COMPILED for use_fft in ("auto", *BACKENDS)]
QUICK = [("no mask", "False"), ("in evaluation", "auto")]


@pytest.mark.parametrize(
    ("name", "use_fft"),
    [pytest.param(*c, marks=[] if c in QUICK else [pytest.mark.slow]) for c in EVERY],
)
def test_compiled_whole(name, use_fft):
    torch.manual_seed(0)
    layer = copy.deepcopy(COMPILED[name](use_fft))
    layer.cache = True
    x = images()[..., 0] if layer.dim == 1 else images()
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x), rtol=1e-5, atol=1e-5)
    assert_alike(gradients(layer, x, compiled), gradients(layer, x), rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        if layer.mask is not None:
            layer.mask.sigma.mul_(2)  # another crop
        torch.testing.assert_close(compiled(x), layer(x), rtol=1e-5, atol=1e-5)


def test_a_size_that_is_open_says_what_to_do_before_compiling_whole():
    layer, x = FlexConv2d(2, 3, generator=SMALL).eval(), images()
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    with pytest.raises(RuntimeError, match="run the layer once before it is compiled whole"):
        compiled(x)
    expected = layer(x)
    torch.testing.assert_close(compiled(x), expected)


def test_compiled_training_stops_once_a_layer_that_is_cropped():
    """Nothing is compiled anew as sizes change; where no stop is allowed, a sentence says why."""
    model, x = make(horizon=9), images()
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(model, backend="eager")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for width in (0.05, 0.1, 0.2, 0.3):
            with torch.no_grad():
                model[0].mask.sigma.fill_(width)
                model[2].mask.sigma.fill_(width / 2)
            assert_alike(gradients(model, x, compiled), gradients(model, x))
    assert not told
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert graphs <= len(model)  # what lies between the layers
    torch._dynamo.reset()
    with pytest.raises(RuntimeError, match="dynamic_cropping=False"):
        torch.compile(model, backend="eager", fullgraph=True)(x)
