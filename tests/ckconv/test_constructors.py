"""What is built of numbers that cannot be says so in one sentence, whatever is built."""

from __future__ import annotations

import pytest

from ckconv import ConvConfig, KernelConfig, MaskConfig, NetConfig, UsageError
from ckconv.models import FlexNet, FlexTCN
from ckconv.nn import CKConv, FlexConv, FlexConv1d, FlexConv2d, NJet, SepFlexConv, ck
from models.cifar_resnet import CIFARResNet
from models.original_resnet import original_resnet

COUNTS = {  # what is built of a count, by the name in the sentence
    "in_channels": [
        lambda n: CKConv(n, 2),
        lambda n: FlexConv(n, 2),
        lambda n: SepFlexConv(n, 2),
        lambda n: FlexConv2d(n, 2, 9),
        lambda n: NJet(n, 2),
        lambda n: FlexNet(n, 2, 2),
        lambda n: FlexTCN(n, 2),
        lambda n: CIFARResNet(n, 2, 20),
        lambda n: original_resnet(n, 2, 18),
    ],
    "out_channels": [
        lambda n: CKConv(2, n),
        lambda n: FlexConv(2, n, 1),
        lambda n: SepFlexConv(2, n),
        lambda n: FlexConv1d(2, n, 9),
        lambda n: NJet(2, n),
        lambda n: FlexNet(2, n, 2),
        lambda n: FlexTCN(2, n),
        lambda n: CIFARResNet(2, n, 20),
        lambda n: original_resnet(3, n, 18),
    ],
    "dim": [lambda n: ck.build(KernelConfig(), n, 3), lambda n: ck.MAGNet(n, 3)],
    "out_features": [lambda n: ck.build(KernelConfig(), 2, n), lambda n: ck.SIREN(2, n)],
    "in_features": [lambda n: ck.PointwiseLinear(n, 3)],
    "stride": [lambda n: FlexConv2d(2, 2, 9, stride=n)],
    "dilation": [lambda n: FlexConv2d(2, 2, 9, dilation=n)],
    "groups": [lambda n: FlexConv2d(2, 2, 9, groups=n)],
    "kernel.no_hidden": [lambda n: FlexConv(2, 2, 2, KernelConfig(no_hidden=n))],
    "net.no_blocks": [lambda n: FlexNet(2, 2, 2, NetConfig(no_blocks=n))],
}


@pytest.mark.parametrize("given", [0, -1, 1.5, True, "3", None])
@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_whole_numbers_of_at_least_one(name, given):
    for make in COUNTS[name]:
        with pytest.raises(UsageError, match=rf"^(conv\.)?{name}={given}: give a whole number"):
            make(given)


@pytest.mark.parametrize(
    "argument, given", [("order", -1), ("order", 1.5), ("init_k", "3"), ("init_scale", 99)]
)
def test_n_jets_of_impossible_numbers_are_refused(argument, given):
    with pytest.raises(UsageError, match=f"^{argument}={given}: give a"):
        NJet(2, 2, **{argument: given})


@pytest.mark.parametrize(
    "sentence, check",
    [
        ("conv.horizon=SAME: unknown; capitals matter, write conv.horizon=same", ConvConfig),
        ("mask.init_value=AUTO: unknown; capitals matter, write mask.init_value=auto", MaskConfig),
        ("conv.padding=Valid: unknown; capitals matter, write conv.padding=valid", ConvConfig),
        ("mask.init_value=wide: give a number over 0 to 1000, or auto", MaskConfig),
        ("mask.temperature=-1: give a number of at least 0", MaskConfig),
        ("mask.init_value=None: give a number over 0 to 1000, or auto", MaskConfig),
    ],
)
def test_words_of_another_case_and_numbers_out_of_range_say_so(sentence, check):
    field, value = sentence.partition(":")[0].split(".")[1].split("=")
    given = {"-1": -1, "None": None}.get(value, value)
    with pytest.raises(UsageError, match=f"^{sentence}$"):
        check.check(check(**{field: given}))
