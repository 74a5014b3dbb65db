"""Prints, for each network whose weights others publish, a digest of the names and shapes of its parameters there.

Needs torchvision, timm and efficientnet-lite-pytorch, which lissome does not: the digests are kept in
tests/models/published.py. With --outputs also loads random weights of ours into theirs and compares the results.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Mapping

import torch
from torch import nn

from lissome import models


def digest(state: Mapping[str, torch.Tensor], training_only: tuple[str, ...]) -> str:
    """The begin of the SHA-256 of all "name shape" lines in order, without counters and what only training uses."""
    lines = [
        f"{name} {tuple(value.shape)}\n"
        for name, value in sorted(state.items())
        if not name.endswith("num_batches_tracked") and not name.startswith(training_only)
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def _torchvision(name: str, **options: bool) -> nn.Module:
    import torchvision

    model: nn.Module = getattr(torchvision.models, name)(**options)
    return model


def _timm(name: str) -> nn.Module:
    import timm

    model: nn.Module = timm.create_model(name)
    return model


def _efficientnet_lite0() -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    model: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    return model


PUBLISHED: Mapping[str, Callable[[], nn.Module]] = {
    "alexnet": lambda: _torchvision("alexnet"),
    "vgg-16": lambda: _torchvision("vgg16"),
    "vgg-19": lambda: _torchvision("vgg19"),
    "googlenet": lambda: _torchvision("googlenet", init_weights=False),
    "inception-v3": lambda: _torchvision("inception_v3", init_weights=False),
    "inception-resnet-v2": lambda: _timm("inception_resnet_v2"),
    "resnet-18": lambda: _torchvision("resnet18"),
    "resnet-34": lambda: _torchvision("resnet34"),
    "resnet-50": lambda: _torchvision("resnet50"),
    "resnet-101": lambda: _torchvision("resnet101"),
    "resnet-152": lambda: _torchvision("resnet152"),
    "densenet-121": lambda: _torchvision("densenet121"),
    "xception": lambda: _timm("legacy_xception"),
    "squeezenet-1.0": lambda: _torchvision("squeezenet1_0"),
    "squeezenet-1.1": lambda: _torchvision("squeezenet1_1"),
    "mobilenet-v1": lambda: _timm("mobilenetv1_100"),
    "mobilenet-v2": lambda: _torchvision("mobilenet_v2"),
    "shufflenet-v2": lambda: _torchvision("shufflenet_v2_x1_0"),
    "efficientnet-lite0": _efficientnet_lite0,
}


def difference(name: str) -> float:
    """Largest difference of the results of our network and theirs with the same random weights, relative."""
    torch.manual_seed(0)
    ours, theirs = models.build(name).eval(), PUBLISHED[name]().eval()
    for module in ours.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
    theirs.load_state_dict(ours.state_dict(), strict=False)
    with torch.inference_mode():
        x = torch.randn(1, *ours.input_shape)  # type: ignore[misc]
        y, z = ours(x), theirs(x)
    return float((y - z).abs().max() / z.abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outputs", action="store_true", help="compare the results too")
    options = parser.parse_args()
    for name, make in PUBLISHED.items():
        with torch.device("meta"):
            theirs = make().state_dict()
            skipped = getattr(models.build(name), "training_only", ())
        compared = f"  relative difference {difference(name):.1e}" if options.outputs else ""
        sys.stdout.write(f"{name:20} {digest(theirs, skipped)}{compared}\n")


if __name__ == "__main__":
    main()
