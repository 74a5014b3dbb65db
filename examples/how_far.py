"""How far can this network be pruned? python examples/how_far.py

Trains once, then prunes the same weights harder and harder, without retraining, and prints file size and accuracy: a
first look at where a recipe should aim. Retraining (examples/own_loop.py, lissome compress) then wins back accuracy.
"""

import copy
import tempfile
from pathlib import Path

import torch
from torch import nn

import lissome as ls
from lissome import data, prune, share
from lissome.evaluate import evaluate


def trained(images: torch.Tensor, labels: torch.Tensor) -> nn.Module:
    torch.manual_seed(0)
    torch.set_num_threads(1)  # a network this small gains nothing from more
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(10):
        for chosen in torch.randperm(len(labels)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[chosen]), labels[chosen]).backward()
            optimizer.step()
    return model


def main() -> None:
    digits = data.load("digits")
    images, labels = torch.from_numpy(digits.train.inputs()), torch.from_numpy(digits.train.labels)
    model = trained(images, labels)
    print("sparsity   bytes  ratio   top-1")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.liss"
        for sparsity in (0.0, 0.5, 0.8, 0.9, 0.95, 0.98):
            pruned = copy.deepcopy(model)
            ls.compress_(pruned, [prune.Magnitude(sparsity=sparsity), share.KMeans(bits=4)])
            ls.save(ls.freeze(pruned, example=images[:1]), path)
            found = evaluate(path, digits.test)
            print(f"{sparsity:8.2f} {found.bytes:7,} {found.ratio:5.0f}× {found.top1:6.2f} %")


if __name__ == "__main__":
    main()
