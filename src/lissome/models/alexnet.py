"""AlexNet: Krizhevsky, Sutskever, Hinton (NIPS 2012), in the two forms that are in use.

`AlexNet` is the single column of Krizhevsky's "One weird trick" (2014) that torchvision trained: no groups, no local
response normalisation. `AlexNetOriginal` is the network of 2012 as Caffe trained it and Han et al. compress it: filters
in two groups, normalisation across channels (Caffe's offset 1 where the paper has 2), 227×227 pixels.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import nn

from lissome.models.blocks import initialise_


class AlexNet(nn.Module):
    """Input (N, 3, 224, 224) float32; output (N, 1000) logits. Parameters are named as in torchvision."""

    input_shape: Final = (3, 224, 224)

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Linear(4096, 1000),
        )
        initialise_(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.features(x).flatten(1))
        return logits


class AlexNetOriginal(nn.Module):
    """Input (N, 3, 227, 227) float32; output (N, 1000) logits. Layers are named as in Caffe's model zoo."""

    input_shape: Final = (3, 227, 227)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, 11, stride=4)
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=2)
        self.fc6 = nn.Linear(256 * 6 * 6, 4096)
        self.fc7 = nn.Linear(4096, 4096)
        self.fc8 = nn.Linear(4096, 1000)
        self.norm = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        self.pool = nn.MaxPool2d(3, 2)
        self.drop = nn.Dropout()
        initialise_(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.norm(torch.relu(self.conv1(x))))  # (N, 96, 27, 27)
        x = self.pool(self.norm(torch.relu(self.conv2(x))))  # (N, 256, 13, 13)
        x = torch.relu(self.conv4(torch.relu(self.conv3(x))))
        x = self.pool(torch.relu(self.conv5(x)))  # (N, 256, 6, 6)
        x = torch.relu(self.fc6(self.drop(x.flatten(1))))
        logits: torch.Tensor = self.fc8(torch.relu(self.fc7(self.drop(x))))
        return logits
