"""LeNet-5 in the form that Caffe trained and Han et al. compress (20-50-500-10), not LeCun's original.

Two 5×5 convolutions, each followed by 2×2 max pooling and by no activation; ReLU only after the first linear layer.
431,080 parameters, 1,724,320 bytes as float32, "1720 KB" in Han et al. (ICLR 2016, table 1).
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import nn


class LeNet5(nn.Module):
    """Input (N, 1, 28, 28) float32, pixels in 0..1; output (N, 10) logits."""

    input_shape: Final = (1, 28, 28)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(800, 500)
        self.fc2 = nn.Linear(500, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(self.conv1(x), 2)  # (N, 20, 12, 12)
        x = F.max_pool2d(self.conv2(x), 2)  # (N, 50, 4, 4)
        x = torch.relu(self.fc1(torch.flatten(x, 1)))
        logits: torch.Tensor = self.fc2(x)
        return logits
