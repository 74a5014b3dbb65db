"""Graph rewrites keep the meaning, and leave alone what they must not touch."""

import copy

import pytest
import torch
from torch import nn

from lissome.graph.passes import fold_batch_norm
from lissome.graph.trace import export
from meaning import evaluate


def traced(model, shape):
    """Graph and float32 arrays of `model` with all batch norms away from their initial state."""
    torch.manual_seed(5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    found = export(copy.deepcopy(model), torch.zeros(1, *shape))
    return found.graph, {name: value.numpy() for name, value in found.values.items()}


CHAINS = {
    "conv": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), (3, 6, 6)),
    "no-bias": (nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, eps=0.1)), (3, 6, 6)),
    "grouped": (nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.BatchNorm2d(8)), (4, 6, 6)),
    "linear": (nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Tanh()), (6,)),
    "twice": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)), (3, 8, 8)),
    "norm-after-norm": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4)), (3, 6, 6)),
}


@pytest.mark.parametrize("name", CHAINS)
def test_folding_keeps_the_meaning(name):
    """The folded graph has fewer nodes and gives the same results within the rounding of the new weights."""
    model, shape = CHAINS[name]
    graph, values = traced(model, shape)
    folded, arrays = fold_batch_norm(graph, values)
    assert len(folded.nodes) < len(graph.nodes)
    assert set(folded.parameters) == set(arrays)
    x = torch.randn(3, *shape)
    (before,), (after,) = evaluate(graph, values, x), evaluate(folded, arrays, x)
    # Weights are rounded once (2**-24 relative); fewer than 64 products a sum, twice in a row, values below 100.
    torch.testing.assert_close(after, before, rtol=0, atol=100 * 64 * 2 * 2**-24)


def test_no_batch_norm_is_left_after_a_layer():
    """Every norm that follows a layer with known weights is gone, and its parameters with it."""
    graph, arrays = fold_batch_norm(*traced(*CHAINS["twice"]))
    assert [node.op for node in graph.nodes] == ["Conv", "Conv"]
    assert set(arrays) == {"0.weight", "0.bias", "2.weight", "2.bias"}


def test_a_layer_without_bias_gets_one():
    """The new bias is named beside the weight."""
    graph, arrays = fold_batch_norm(*traced(*CHAINS["no-bias"]))
    assert graph.nodes[0].inputs[1:] == ("0.weight", "0.bias")
    assert arrays["0.bias"].shape == (4,)


@pytest.mark.parametrize("kept", ["0.weight", "1.running_var"])
def test_values_that_may_not_change_are_not_changed(kept):
    """A weight that is not handed in (a coded one) stays as it is, and the norm with it."""
    graph, values = traced(*CHAINS["conv"])
    offered = {name: value for name, value in values.items() if name != kept}
    folded, arrays = fold_batch_norm(graph, offered)
    assert folded == graph
    assert arrays == offered


class Shared(nn.Module):
    """A convolution whose result is used before and after its norm, or which runs twice."""

    def __init__(self, twice):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.twice = twice

    def forward(self, x):
        if self.twice:
            x = self.conv(x)
        y = self.conv(x)
        return self.norm(y) if self.twice else self.norm(y) + y


@pytest.mark.parametrize("twice", [False, True])
def test_shared_weights_and_results_are_left_alone(twice):
    """Folding would change what the other user sees."""
    graph, values = traced(Shared(twice), (3, 6, 6))
    assert fold_batch_norm(graph, values)[0] == graph
