"""Compress a model of your own in a training loop of your own: python examples/own_loop.py digits.liss

Trains a small network on scikit-learn's digits, prunes it gradually while it trains on, shares what is left, and packs
it. Only the lines with `ls.` and `ramp` are lissome's; everything else is a plain torch program.
"""

import sys

import torch
from torch import nn

import lissome as ls
from lissome import data, prune, schedule, share


def train(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, epochs: int, ramp: schedule.Cubic | None = None
) -> None:
    """An ordinary loop; `ramp.step()` stands beside `optimizer.step()`."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for chosen in torch.randperm(len(labels)).split(32):
            loss = nn.functional.cross_entropy(model(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if ramp is not None:
                ramp.step()


def main(path: str) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)  # a network this small gains nothing from more
    digits = data.load("digits")
    images, labels = torch.from_numpy(digits.train.inputs()), torch.from_numpy(digits.train.labels)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
    train(model, images, labels, epochs=10)

    ls.compress_(model, ls.Recipe([("*", [prune.Magnitude(sparsity=0.9), share.KMeans(bits=4)])]))
    steps = 10 * -(-len(labels) // 32)
    train(model, images, labels, epochs=15, ramp=schedule.Cubic(model, end_step=steps, every=20))

    net = ls.freeze(model, example=images[:1])
    size = ls.save(net, path)
    scores = ls.compile(path)(digits.test.inputs())
    right = 100 * (scores.argmax(axis=1) == digits.test.labels).mean()
    print(net.summary())
    print(f"{path}: {size:,} bytes, {net.dense_bytes / size:.0f} times smaller, {right:.1f} % right")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "digits.liss")
