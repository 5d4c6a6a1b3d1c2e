"""FlexConv in place of nn.Conv2d in an ordinary network, trained by an ordinary loop."""

from __future__ import annotations

import torch

from demo.cnn import accuracy, cnn, digits, fit


def test_a_cnn_of_flexconvs_learns_the_digits():
    torch.manual_seed(0)
    train, test = digits()
    model = cnn(width=8)
    before = accuracy(model, test)
    model.train()
    fit(model, train, epochs=8)
    assert before < 0.4 and accuracy(model, test) > 0.9
