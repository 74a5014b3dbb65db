"""What the literature says of the networks in models/: parameters, multiply-adds and names of published weights.

Also the data of docs/models.md, which `python tools/models_table.py --write` brings up to date.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """Figures of one network, as printed: with `digits` decimals of a billion (G), million (M) or one.

    note: why a figure is not the network's own, if it is not; the figures then agree within `tolerance` only.
    """

    source: str
    parameters: str
    macs: str
    tolerance: float = 0.0
    note: str = ""


TORCHVISION = "torchvision's metadata (V1 weights)"
CIFAR = "He et al. (CVPR 2016), table 6; MACs derived"

FIGURES = {
    "lenet-300-100": Published("Han et al. (ICLR 2016), table 2; exact numbers derived", "266,610", "266,200"),
    "lenet-5": Published("Han et al. (ICLR 2016), table 3; exact numbers derived", "431,080", "2.293 M"),
    "alexnet": Published(TORCHVISION, "61,100,840", "0.714 G"),
    "alexnet-original": Published(
        "Caffe's bvlc_alexnet; derived, layer by layer as SkimCaffe prints",
        "60,965,224",
        "0.724 G",
        note="convnet-burden prints 0.727 G",
    ),
    "nin": Published("Caffe's model zoo, from memory", "7.6 M", "1.1 G"),
    "vgg-16": Published(TORCHVISION, "138,357,544", "15.47 G"),
    "vgg-19": Published(TORCHVISION, "143,667,240", "19.632 G"),
    "googlenet": Published(TORCHVISION, "6,624,904", "1.498 G"),
    "googlenet-original": Published(
        "Howard et al. (2017), table 8",
        "6.8 M",
        "1.55 G",
        tolerance=0.03,
        note="2.9 % and 2.1 % above; Deep Compression's 28 MB agrees: 27.99 MB",
    ),
    "inception-v3": Published(
        TORCHVISION,
        "23,834,568",
        "5.713 G",
        note="27,161,264 with the auxiliary classifier's 3,326,696, which only training uses",
    ),
    "inception-resnet-v2": Published(
        "Keras's model list, from memory", "55.87 M", "13.2 G", tolerance=0.004, note="parameters 0.05 % below"
    ),
    "resnet-18": Published(TORCHVISION, "11,689,512", "1.814 G"),
    "resnet-34": Published(TORCHVISION, "21,797,672", "3.664 G"),
    "resnet-50": Published(TORCHVISION, "25,557,032", "4.089 G", note="the paper's 3.8 G strides in the 1×1"),
    "resnet-101": Published(TORCHVISION, "44,549,160", "7.801 G", note="the paper's 7.6 G strides in the 1×1"),
    "resnet-152": Published(TORCHVISION, "60,192,808", "11.514 G", note="the paper's 11.3 G strides in the 1×1"),
    "cifar-resnet-20": Published(CIFAR, "269,722", "40.6 M"),
    "cifar-resnet-32": Published(CIFAR, "464,154", "68.9 M"),
    "cifar-resnet-56": Published(CIFAR, "853,018", "125.5 M"),
    "densenet-121": Published(TORCHVISION, "7,978,856", "2.834 G"),
    "xception": Published("Keras's model list, from memory", "22.9 M", "8.4 G"),
    "squeezenet-1.0": Published(TORCHVISION, "1,248,424", "0.819 G", note="convnet-burden prints 0.837 G"),
    "squeezenet-1.1": Published(TORCHVISION, "1,235,496", "0.349 G", note="convnet-burden prints 0.360 G"),
    "mobilenet-v1": Published(
        "Howard et al. (2017), table 1; exact number derived", "4,231,976", "0.569 G", note="printed as 4.2 M"
    ),
    "mobilenet-v2": Published(TORCHVISION, "3,504,872", "0.301 G"),
    "shufflenet-v1": Published("Zhang et al. (CVPR 2018), table 1, from memory", "1.9 M", "0.137 G"),
    "shufflenet-v2": Published(TORCHVISION, "2,278,604", "0.145 G"),
    "efficientnet-lite0": Published(
        "tensorflow/tpu, efficientnet/lite",
        "4.7 M",
        "0.407 G",
        tolerance=0.055,
        note="MACs 5.4 % below what is printed, though the module computes what the package's does, bit for bit",
    ),
}

# Whose weights a network takes, and a digest of the names and shapes of theirs (tools/published_names.py).
NAMES = {
    "alexnet": ("torchvision 0.28", "dc636a6fd56d98e3"),
    "vgg-16": ("torchvision 0.28", "d246562dac8f4a2f"),
    "vgg-19": ("torchvision 0.28", "fc0886ed4e002209"),
    "googlenet": ("torchvision 0.28", "82507ffc7375aed4"),
    "inception-v3": ("torchvision 0.28", "3b0fb784588d9d48"),
    "inception-resnet-v2": ("timm 1.0.31", "e7585642a2d403cb"),
    "resnet-18": ("torchvision 0.28", "09d30cf75c256d8a"),
    "resnet-34": ("torchvision 0.28", "29330baac9d84762"),
    "resnet-50": ("torchvision 0.28", "0c65d9b17e2b4651"),
    "resnet-101": ("torchvision 0.28", "f564a86209ce95f1"),
    "resnet-152": ("torchvision 0.28", "bbf4a97bbdd25588"),
    "densenet-121": ("torchvision 0.28", "0413a20a11d892ff"),
    "xception": ("timm 1.0.31", "9e24a8cb8c39ebf7"),
    "squeezenet-1.0": ("torchvision 0.28", "f34216bd7670b31d"),
    "squeezenet-1.1": ("torchvision 0.28", "76804435529d0d16"),
    "mobilenet-v1": ("timm 1.0.31", "3613ae11d7697578"),
    "mobilenet-v2": ("torchvision 0.28", "0767f5edd689d2fe"),
    "shufflenet-v2": ("torchvision 0.28", "f700b24b426c0d8b"),
    "efficientnet-lite0": ("efficientnet-lite-pytorch 0.1.0", "6712efaec3b19d25"),
}
