"""FlexConv in somebody else's network: a five-layer CNN, each `nn.Conv2d` replaced.

    python demo/cnn.py                    # handwritten digits that come with scikit-learn
    python demo/cnn.py --mnist data       # MNIST, as torchvision stores it under data/

Nothing here but `FlexConv` itself comes from this project.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ckconv import ConvConfig  # noqa: E402
from ckconv.nn import FlexConv  # noqa: E402

Split = tuple[Tensor, Tensor]


def cnn(width: int = 16, horizon: str = "same") -> nn.Sequential:
    """Five FlexConvs, (B, 1, H, W) -> (B, 10). `FlexConv(a, b)` stands for `nn.Conv2d(a, b, 3)`."""
    layers: list[nn.Module] = []
    for channels in (1, width, width, width, width):
        layers += [FlexConv(channels, width, conv=ConvConfig(horizon=horizon))]
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


def digits() -> tuple[Split, Split]:
    """The 1,797 digits of 8 x 8 pixels inside scikit-learn, a fifth of them held out."""
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    y = torch.tensor(labels)
    train, test = train_test_split(range(len(y)), test_size=0.2, random_state=0, stratify=y)
    return (x[train], y[train]), (x[test], y[test])


def mnist(root: str, samples: int = 10_000) -> tuple[Split, Split]:
    """The first `samples` training digits of MNIST and its 10,000 test digits."""
    from torchvision.datasets import MNIST

    splits = []
    for train in (True, False):
        data = MNIST(root, train=train)
        keep = samples if train else None
        splits.append((data.data[:keep, None].float() / 255, data.targets[:keep]))
    return splits[0], splits[1]


def fit(model: nn.Module, train: Split, epochs: int, lr: float = 0.01) -> None:
    """Plain supervised training, nothing that knows of FlexConv."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    x, y = train
    steps = epochs * -(-len(y) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    for epoch in range(epochs):
        for batch in torch.randperm(len(y)).split(64):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[batch]), y[batch])
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}/{epochs}: loss of the last batch {loss.item():.3f}", flush=True)


@torch.no_grad()
def accuracy(model: nn.Module, test: Split) -> float:
    """The fraction of the test set that the model gets right."""
    model.eval()
    right = sum(
        (model(x).argmax(1) == y).sum().item()
        for x, y in zip(test[0].split(500), test[1].split(500))
    )
    return right / len(test[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", metavar="ROOT", help="folder that holds MNIST/raw")
    parser.add_argument("--epochs", type=int, default=8)
    args = parser.parse_args()
    torch.manual_seed(0)
    train, test = mnist(args.mnist) if args.mnist else digits()
    model = cnn()
    fit(model, train, args.epochs)
    sizes = [layer.cropped_size() for layer in model if isinstance(layer, FlexConv)]
    print(f"test accuracy {100 * accuracy(model, test):.2f} %; learned kernel sizes {sizes}")


if __name__ == "__main__":
    main()
