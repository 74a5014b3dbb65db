"""ResNet-18, 34, 50, 101 and 152: He, Zhang, Ren, Sun, Deep Residual Learning (CVPR 2016).

As torchvision has them: in a bottleneck the 3×3 convolution takes the stride, not the 1×1 before it ("v1.5").
"""

from __future__ import annotations

from typing import Final

import torch
from torch import nn

from lissome.models.blocks import classify, conv_norm, initialise_


class Block(nn.Module):
    """relu(x + norm(conv(… x))), the shortcut projected by a 1×1 convolution where the shape changes.

    Two 3×3 convolutions of k filters, or with `bottleneck` 1×1, 3×3 of k filters and 1×1 of 4·k.
    """

    def __init__(self, c: int, k: int, stride: int, *, bottleneck: bool) -> None:
        super().__init__()
        self.out_channels = 4 * k if bottleneck else k
        sizes = [(k, 1, 1), (k, 3, stride), (4 * k, 1, 1)] if bottleneck else [(k, 3, stride), (k, 3, 1)]
        self.depth, channels = len(sizes), c
        for number, (filters, window, step) in enumerate(sizes, 1):
            conv, norm = conv_norm(channels, filters, window, stride=step)
            self.add_module(f"conv{number}", conv)
            self.add_module(f"bn{number}", norm)
            channels = filters
        changed = stride != 1 or c != channels
        self.downsample = nn.Sequential(*conv_norm(c, channels, stride=stride)) if changed else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for number in range(1, self.depth + 1):
            y = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(y))
            if number < self.depth:
                y = torch.relu(y)
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Input (N, 3, 224, 224) float32; output (N, 1000) logits. Parameters are named as in torchvision.

    repeats: blocks in each of the four stages, of 64, 128, 256 and 512 filters.
    """

    input_shape: Final = (3, 224, 224)

    def __init__(self, *repeats: int, bottleneck: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_norm(3, 64, 7, stride=2)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        channels, stages = 64, []
        for stage, repeat in enumerate(repeats):
            blocks = []
            for number in range(repeat):
                block = Block(channels, 64 << stage, 2 if stage and not number else 1, bottleneck=bottleneck)
                channels = block.out_channels
                blocks.append(block)
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(channels, 1000)
        initialise_(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))  # (N, 64, 56, 56)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # 28, 14 and 7 pixels wide
        return classify(x, self.fc)


def resnet_18() -> ResNet:
    return ResNet(2, 2, 2, 2, bottleneck=False)


def resnet_34() -> ResNet:
    return ResNet(3, 4, 6, 3, bottleneck=False)


def resnet_50() -> ResNet:
    return ResNet(3, 4, 6, 3, bottleneck=True)


def resnet_101() -> ResNet:
    return ResNet(3, 4, 23, 3, bottleneck=True)


def resnet_152() -> ResNet:
    return ResNet(3, 8, 36, 3, bottleneck=True)
