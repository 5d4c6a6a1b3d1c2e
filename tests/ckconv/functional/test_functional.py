"""Every way to convolve gives what a plain direct convolution in float64 gives."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as nnf
from scipy.fft import next_fast_len

import ckconv.functional as F
from ckconv.errors import UsageError
from ckconv.functional.geometry import make_geometry
from ckconv.functional.spectral.frames import Frames, fast_length
from ckconv.functional.spectral.mixing import mix, numbers_at_once
from ckconv.functional.spectral.plan import CostModel, plan_frames, rates
from ckconv.functional.spectral.transform import from_spectrum, spectrum
from ckconv.functional.ways import Ways

SIZES_1D = [(1, 1), (7, 3), (7, 7), (8, 15), (33, 5), (100, 100), (50, 199), (300, 17), (513, 40)]
SIZES_2D = [
    ((5, 5), (3, 3)),
    ((8, 8), (9, 9)),
    ((8, 6), (3, 9)),
    ((16, 9), (33, 5)),
    ((12, 31), (31, 1)),
    ((32, 32), (33, 33)),
]


def factored(out, channels, size, functions=4, dtype=torch.float64):
    weight = torch.randn(out, channels, functions, dtype=dtype)
    return F.FactoredKernel(weight, torch.randn(functions, *size, dtype=dtype))


def reference(x, kernel, bias, causal):
    """What the definition says, by PyTorch's own convolution in float64."""
    size = kernel.shape[2:]
    pad = []
    for k in reversed(size):
        pad += [k - 1, 0] if causal else [(k - 1) // 2, k // 2]
    conv = nnf.conv1d if len(size) == 1 else nnf.conv2d
    return conv(nnf.pad(x.double(), pad), kernel.double(), bias.double())


def error(got, expected):
    return ((got.double() - expected).norm() / expected.norm()).item()


def cases():
    for (n, k), causal in itertools.product(SIZES_1D, (True, False)):
        yield (n,), (k,), causal
    for n, k in SIZES_2D:
        yield n, k, False


@pytest.mark.parametrize("form", ["direct", "fft", "factored direct", "factored fft", "auto"])
@pytest.mark.parametrize(("size", "kernel_size", "causal"), list(cases()))
def test_every_backend_matches_float64(form, size, kernel_size, causal):
    torch.manual_seed(0)
    kernel = factored(5, 3, kernel_size)
    x, bias = torch.randn(2, 3, *size, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    expected = reference(x, kernel.dense(), bias, causal)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        given = F.FactoredKernel(kernel.weight.to(dtype), kernel.basis.to(dtype))
        if not form.startswith("factored"):
            given = given.dense()
        y = F.conv(x.to(dtype), given, bias.to(dtype), causal, form.split()[-1])
        assert y.shape == expected.shape and y.dtype == dtype
        assert error(y, expected) < tolerance


@pytest.mark.parametrize(("size", "kernel_size", "causal"), list(cases()))
def test_gradients_of_the_spectral_path_match(size, kernel_size, causal):
    torch.manual_seed(1)
    kernel = factored(5, 3, kernel_size)
    leaves = [torch.randn(2, 3, *size, dtype=torch.float64), kernel.weight, kernel.basis]
    gradients = []
    for backend in ("direct", "fft"):
        x, weight, basis = (leaf.clone().requires_grad_() for leaf in leaves)
        y = F.conv(x, F.FactoredKernel(weight, basis), None, causal, backend)
        (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum().backward()
        gradients.append((x.grad, weight.grad, basis.grad))
    for direct, spectral in zip(*gradients):
        assert error(spectral, direct) < 1e-10


def test_hand_made_gradient_passes_gradcheck():
    torch.manual_seed(0)
    for groups in (1, 2):
        x = torch.randn(3 * groups, 2, 3, 2, dtype=torch.float64, requires_grad=True)
        basis = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
        weight = torch.randn(2, groups, 3, 2, dtype=torch.float64, requires_grad=True)
        with F.using(chunk=12 * groups):
            assert torch.autograd.gradcheck(mix, (x, basis, weight), check_forward_ad=True)
            assert torch.autograd.gradgradcheck(mix, (x, basis, weight))


@pytest.mark.parametrize("size", [(6,), (7,), (1,), (4, 6), (5, 3)])
def test_real_transform_passes_gradcheck(size):
    x = torch.randn(2, *size, dtype=torch.float64, requires_grad=True)
    rows = spectrum(x.detach(), size).requires_grad_()
    assert error(from_spectrum(rows, size), x) < 1e-12
    for transform, given in ((spectrum, x), (from_spectrum, rows)):
        assert torch.autograd.gradcheck(transform, (given, size), check_forward_ad=True)
        assert torch.autograd.gradgradcheck(transform, (given, size))


def test_chunks_of_frequencies_change_nothing():
    torch.manual_seed(0)
    kernel, x = factored(5, 3, (40,)), torch.randn(2, 3, 64, dtype=torch.float64)
    whole = F.conv(x, kernel, None, True, "fft")
    with F.using(chunk=100):
        assert torch.allclose(F.conv(x, kernel, None, True, "fft"), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("size", "kernel"), [((300,), (300,)), ((32, 32), (17, 17))])
def test_threads_share_longer_runs_of_frequencies_and_change_nothing(size, kernel):
    torch.manual_seed(0)
    made, x = factored(24, 24, kernel), torch.randn(4, 24, *size, dtype=torch.float64)
    at_once, results = [], []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        at_once.append(numbers_at_once(x.device))
        leaves = [t.detach().requires_grad_() for t in (x, made.basis, made.weight)]
        y = F.conv(leaves[0], F.FactoredKernel(leaves[2], leaves[1]), None, len(size) == 1, "fft")
        results.append((y, *torch.autograd.grad(y.square().sum(), leaves)))
    assert at_once[1] == 2 * at_once[0]
    for one, two in zip(*results):
        assert error(two, one) < 1e-12


def test_long_sequences_with_short_kernels_are_cut_into_frames():
    assert plan_frames((4, 30, 16000), (30, 30, 129), ((128, 0),), 33, "cpu").count > 1
    assert plan_frames((4, 30, 1000), (30, 30, 1000), ((999, 0),), 33, "cpu").count == 1


@pytest.mark.parametrize(("length", "step"), [(64, 25), (64, 1), (128, 89)])
def test_frames_of_any_length_give_the_same(length, step):
    torch.manual_seed(0)
    k = length - step + 1
    kernel, x = factored(2, 3, (k,)), torch.randn(2, 3, 100, dtype=torch.float64)
    bias = torch.zeros(2, dtype=torch.float64)
    frames = Frames((length,), (k - 1,), (100,), -(-100 // step), step)
    expected = reference(x, kernel.dense(), bias, causal=True)
    with F.using(frames=length):
        assert plan_frames(x.shape, kernel.shape, [(k - 1, 0)], 5, "cpu") == frames
        assert error(F.conv(x, kernel, bias, True, "fft"), expected) < 1e-12


def test_what_is_used_holds_for_the_block_and_the_thread_alone():
    torch.manual_seed(0)
    x, kernel = torch.randn(2, 3, 40), torch.randn(2, 3, 9)
    asked = []

    def own(x, kernel, bias, **how):
        asked.append(how)
        with F.using(backend="direct"):
            return F.conv(x, kernel, bias, **how)

    with F.using(frames=16, chunk=7), pytest.raises(KeyError), F.using(backend=own):
        assert (F.current().backend, F.current().frames, F.current().chunk) == (own, 16, 7)
        y = F.conv(x, kernel, causal=True, backend="fft")
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(F.current).result() == Ways()
        raise KeyError
    assert F.current() == Ways()
    assert asked == [{"causal": True, "stride": 1, "padding": "same"}]
    assert torch.equal(y, F.conv(x, kernel, causal=True, backend="direct"))


def test_what_cannot_be_used_is_said():
    x, kernel = torch.randn(1, 3, 400), factored(2, 3, (40,))
    with F.using(backend="slow"), pytest.raises(UsageError, match="backend=slow.*direct"):
        F.conv(x, kernel)
    with F.using(frames=32), pytest.raises(ValueError, match="frames=32: a kernel of 40"):
        F.conv(x, kernel, causal=True, backend="fft")


@pytest.mark.parametrize("backend", ["direct", "fft"])
@pytest.mark.parametrize("stride", [2, 3])
def test_stride_keeps_every_nth_output(backend, stride):
    torch.manual_seed(0)
    kernel, x = factored(2, 3, (5, 7)), torch.randn(2, 3, 11, 8, dtype=torch.float64)
    every = F.conv(x, kernel, backend=backend)
    got = F.conv(x, kernel, backend=backend, stride=stride)
    assert torch.allclose(got, every[..., ::stride, ::stride])


@pytest.mark.parametrize("backend", ["direct", "fft"])
def test_valid_padding(backend):
    torch.manual_seed(0)
    kernel, x = factored(2, 3, (5, 3)), torch.randn(2, 3, 9, 9, dtype=torch.float64)
    got = F.conv(x, kernel, backend=backend, padding="valid")
    assert torch.allclose(got, nnf.conv2d(x, kernel.dense()))


def test_norm_of_a_factored_kernel_needs_no_dense_kernel():
    torch.manual_seed(0)
    kernel = factored(5, 3, (9, 9))
    expected = kernel.dense().norm()
    again = F.FactoredKernel(kernel.weight, kernel.basis)
    assert torch.allclose(again.norm(), expected)
    assert again._dense is None


def test_what_does_not_fit_is_said():
    x, kernel = torch.randn(2, 3, 8), torch.randn(4, 5, 3)
    with pytest.raises(ValueError, match=r"\(2, 3, 8\).*\(4, 5, 3\)"):
        F.conv(x, kernel)
    with pytest.raises(UsageError, match="causal=2: give True or False.*by its name"):
        F.conv(x, torch.randn(4, 3, 3), None, 2)  # the stride of `torch.nn.functional.conv1d`
    with pytest.raises(UsageError, match="backend=magic"):
        F.conv(x, torch.randn(4, 3, 3), backend="magic")
    with pytest.raises(ValueError, match="larger than the input"):
        F.conv(x, torch.randn(4, 3, 9), padding="valid")


def test_transforms_are_of_the_lengths_that_scipy_calls_fast():
    for n in (*range(1, 2000), 16_000, 31_999, 99_991):
        assert fast_length(n) == next_fast_len(n, real=True)


def test_circular_padding_takes_no_longer_transforms_than_the_input():
    """The same shape with zeros takes 1.5 times as many samples per axis."""
    shapes = (4, 24, 32, 32), (24, 24, 33, 33), ((16, 16), (16, 16))
    assert plan_frames(*shapes, 33, "cpu", circular=(0, 1)).lengths == (32, 32)
    assert plan_frames(*shapes, 33, "cpu").lengths == (48, 48)
    cost = CostModel("cpu")
    wrapped, padded = (
        cost.spectral(*shapes[:2], plan_frames(*shapes, 33, "cpu", circular), 33)
        for circular in ((0, 1), ())
    )
    assert wrapped < 0.7 * padded


@pytest.mark.parametrize(
    ("x", "kernel", "backend"),
    [
        ((32, 64, 256), (64, 1, 3), "direct"),
        ((32, 64, 256), (64, 1, 129), "fft"),
        ((4, 64, 48, 48), (64, 1, 7, 7), "direct"),
        ((4, 64, 48, 48), (64, 1, 33, 33), "fft"),
        ((2, 16, 12, 12, 12), (16, 16, 3, 3, 3), "direct"),
        ((2, 16, 12, 12, 12), (16, 1, 9, 9, 9), "fft"),
    ],
)
def test_the_choice_for_depthwise_kernels_and_volumes_is_the_measured_one(x, kernel, backend):
    dim = len(x) - 2
    geometry = make_geometry(x[2:], kernel[2:], 1, 1, "same", "zeros", 0 if dim == 1 else None)
    given = F.FactoredKernel(torch.empty(*kernel[:2], 33), torch.empty(33, *kernel[2:]))
    assert F.choose_backend(torch.empty(x), given, geometry) == backend


@pytest.mark.parametrize(
    ("x", "kernel"),
    [
        ((32, 30, 784), (30, 30, 17)),
        ((32, 64, 784), (64, 1, 65)),
        ((16, 48, 32, 32), (48, 48, 5, 5)),
        ((8, 64, 32, 32), (64, 1, 15, 15)),
        ((4, 16, 8, 8, 8), (16, 16, 5, 5, 5)),
    ],
)
def test_kept_kernels_slide_where_only_a_training_step_gains_by_transforms(x, kernel, monkeypatch):
    calls = []
    slide = F.direct_conv
    monkeypatch.setattr(F, "direct_conv", lambda *given: calls.append(given) or slide(*given))
    causal, groups = len(x) == 3, x[1] // kernel[1]
    given = F.FactoredKernel(torch.randn(*kernel[:2], 33), torch.randn(33, *kernel[2:]))
    F.conv(torch.randn(x), given, causal=causal, groups=groups)
    assert not calls
    kept = given.keep()
    F.conv(torch.randn(x), kept, causal=causal, groups=groups)
    assert len(calls) == 1 and len(kept.spectra) == 0


def test_rates_of_kept_kernels_are_those_of_the_device_they_were_measured_on():
    for kind, rate in rates("cuda").items():
        assert rates("cuda", kept=True)[kind] == rate
        assert rates("cpu", kept=True)[kind] <= rates("cpu")[kind]
    assert rates("mps", kept=True) == rates("cpu", kept=True) != rates("cpu")


@pytest.mark.parametrize("groups", [1, 4])
def test_a_compiler_finds_no_graph_break(groups):
    torch.manual_seed(0)
    leaves = [torch.randn(4, 4 // groups, 5), torch.randn(5, 9), torch.randn(2, 4, 300)]
    leaves = [leaf.double().requires_grad_() for leaf in leaves]

    def convolve(weight, basis, x):
        kernel = F.FactoredKernel(weight, basis)
        return F.conv(x, kernel, None, True, "fft", groups=groups).square().sum()

    compiled = torch.compile(convolve, fullgraph=True, backend="aot_eager")
    for ours, theirs in zip(
        torch.autograd.grad(compiled(*leaves), leaves),
        torch.autograd.grad(convolve(*leaves), leaves),
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
