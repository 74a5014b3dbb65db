"""The field's networks as torch modules, one file each. A new network is one file and one line in `_HOME`.

>>> from lissome import models
>>> model = models.build("lenet-300-100")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from lissome.errors import LissomeError, MissingExtra

if TYPE_CHECKING:
    from torch import nn

_HOME: Final = {
    "lenet-300-100": ("lissome.models.lenet_300_100", "LeNet300100"),
    "lenet-5": ("lissome.models.lenet_5", "LeNet5"),
    "alexnet": ("lissome.models.alexnet", "AlexNet"),
    "alexnet-original": ("lissome.models.alexnet", "AlexNetOriginal"),
    "nin": ("lissome.models.nin", "NetworkInNetwork"),
    "vgg-16": ("lissome.models.vgg", "vgg_16"),
    "vgg-19": ("lissome.models.vgg", "vgg_19"),
    "googlenet": ("lissome.models.googlenet", "googlenet"),
    "googlenet-original": ("lissome.models.googlenet", "googlenet_original"),
    "inception-v3": ("lissome.models.inception_v3", "InceptionV3"),
    "inception-resnet-v2": ("lissome.models.inception_resnet_v2", "InceptionResNetV2"),
    "resnet-18": ("lissome.models.resnet", "resnet_18"),
    "resnet-34": ("lissome.models.resnet", "resnet_34"),
    "resnet-50": ("lissome.models.resnet", "resnet_50"),
    "resnet-101": ("lissome.models.resnet", "resnet_101"),
    "resnet-152": ("lissome.models.resnet", "resnet_152"),
    "cifar-resnet-20": ("lissome.models.cifar_resnet", "resnet_20"),
    "cifar-resnet-32": ("lissome.models.cifar_resnet", "resnet_32"),
    "cifar-resnet-56": ("lissome.models.cifar_resnet", "resnet_56"),
    "densenet-121": ("lissome.models.densenet", "densenet_121"),
    "xception": ("lissome.models.xception", "Xception"),
    "squeezenet-1.0": ("lissome.models.squeezenet", "squeezenet_1_0"),
    "squeezenet-1.1": ("lissome.models.squeezenet", "squeezenet_1_1"),
    "mobilenet-v1": ("lissome.models.mobilenet_v1", "MobileNetV1"),
    "mobilenet-v2": ("lissome.models.mobilenet_v2", "MobileNetV2"),
    "shufflenet-v1": ("lissome.models.shufflenet_v1", "ShuffleNetV1"),
    "shufflenet-v2": ("lissome.models.shufflenet_v2", "ShuffleNetV2"),
    "efficientnet-lite0": ("lissome.models.efficientnet_lite0", "EfficientNetLite0"),
}


def names() -> tuple[str, ...]:
    """Names that `build` knows."""
    return tuple(_HOME)


def build(name: str) -> nn.Module:
    """A new network of this name, initialised from torch's current random state, in training mode.

    Raises LissomeError for an unknown name (listing the known ones), MissingExtra without torch.
    """
    if name not in _HOME:
        raise LissomeError(f"unknown network {name!r}; known: {', '.join(_HOME)}")
    home, kind = _HOME[name]
    try:
        module = importlib.import_module(home)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtra.of("torch", extra="train", needed_by=f"models.build({name!r})") from error
    model: nn.Module = getattr(module, kind)()
    return model
