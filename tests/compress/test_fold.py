"""fold_batch_norms_: the same function without the norms, and what is left alone."""

import pytest
import torch
from torch import nn

import lissome as ls
from lissome import models
from lissome.compress.fold import fold_batch_norms_
from lissome.compress.prune import Magnitude
from lissome.errors import RecipeError


def lively(module):
    """Every batch norm with statistics and affine values of its own."""
    torch.manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            if norm.affine:
                nn.init.normal_(norm.weight, 1, 0.3)
                nn.init.normal_(norm.bias)
    return module.eval()


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ([nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)], (3, 6, 6)),
        ([nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4, affine=False), nn.ReLU()], (4, 6, 6)),
        ([nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4)], (3, 6)),
        ([nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3, bias=False), nn.BatchNorm1d(3)], (5,)),
    ],
)
def test_the_function_is_the_same_without_norms(layers, shape):
    """model(x) within float32's rounding of sums of a few dozen terms of order 1; no batch norm is left."""
    model = lively(nn.Sequential(*layers))
    x = torch.randn(7, *shape)
    before = model(x)
    norms = [name for name, module in model.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert fold_batch_norms_(model, x) == norms
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    torch.testing.assert_close(model(x), before, rtol=1e-5, atol=1e-5)


def test_a_network_of_the_field():
    """ResNet-20: all 19 norms go, and the packed network has a weight and a bias for each of its 20 layers."""
    model = lively(models.build("cifar-resnet-20"))
    x = torch.randn(2, 3, 32, 32)
    assert len(fold_batch_norms_(model, x)) == 19
    assert len(ls.freeze(model, example=x).weights) == 40


class Branching(nn.Module):
    """A convolution whose result is read before its norm too, and a norm that two convolutions share."""

    def __init__(self):
        super().__init__()
        self.read_twice, self.norm = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)
        self.a, self.b, self.shared = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)

    def forward(self, x):
        y = self.read_twice(x)
        return self.norm(y) + y + self.shared(self.a(x)) + self.shared(self.b(x))


def test_what_others_read_stays():
    """A result with a second reader keeps its norm, a norm with a second place too, and nothing changes."""
    model = lively(Branching())
    x = torch.randn(3, 2, 4, 4)
    before = model(x)
    assert fold_batch_norms_(model, x) == []
    assert torch.equal(model(x), before)


def test_a_layer_with_a_method_is_refused():
    """Codes would not survive the scaling: fold first."""
    model = lively(nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)))
    ls.compress_(model, [Magnitude(sparsity=0.5)])
    with pytest.raises(RecipeError, match="before compress_"):
        fold_batch_norms_(model, torch.randn(1, 2, 4, 4))
