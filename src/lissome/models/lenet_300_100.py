"""LeNet-300-100: the multi-layer perceptron of LeCun et al. 1998 (section III-D), as Han et al. compress it.

784-300-100-10 with ReLU (the compression literature's form; the original used tanh): 266,610 parameters, 1,066,440
bytes as float32, "1070 KB" in Han et al. (ICLR 2016, table 1).
"""

from __future__ import annotations

from typing import Final

import torch
from torch import nn


class LeNet300100(nn.Module):
    """Input (N, 1, 28, 28) float32, pixels in 0..1; output (N, 10) logits."""

    input_shape: Final = (1, 28, 28)

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 300)
        self.fc2 = nn.Linear(300, 100)
        self.fc3 = nn.Linear(100, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.fc1(torch.flatten(x, 1)))
        x = torch.relu(self.fc2(x))
        logits: torch.Tensor = self.fc3(x)
        return logits
