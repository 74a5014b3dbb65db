"""In-place calls: replaced where that is plain to see, left to torch elsewhere, and right either way."""

import copy

import pytest
import torch
from torch import nn

import lissome as ls
from lissome.errors import TraceError
from lissome.graph import functional
from lissome.graph.aten import OPERATORS
from lissome.graph.trace import export
from lissome.network import Network
from lissome.runtime.reference import run
from lissome.weights import Dense


class Module(nn.Module):
    """Two convolutions and a norm, used as a function says."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.conv, self.other = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        return self.function(self, x)


def _written_view(m, x):
    y = m.conv(x)
    y.flatten(1).relu_()
    return y


def _written_twice_read(m, x):
    y = m.conv(x)
    z = y * 2
    y.relu_()
    return y + z


def _written_after(m, x):
    y = m.conv(x)
    z = y.relu_()
    return y - z * 0.5


# function of module and input; whether nobody could see the difference
CASES = {
    "activation": (lambda m, x: torch.relu_(m.conv(x)), True),
    "residual": (lambda m, x: torch.relu_(m.norm(m.conv(x)).add_(m.other(x))), True),
    "residual of the input": (lambda m, x: m.norm(m.conv(x)).add_(x), True),
    "clipped": (lambda m, x: nn.functional.hardtanh_(m.conv(x), -0.2, 0.3), True),
    "scaled": (lambda m, x: (m.conv(x) + x).mul_(0.5).sub_(1.0), True),
    "a view": (_written_view, False),
    "read before too": (_written_twice_read, False),
    "read after": (_written_after, True),  # torch.export lets later readers read the call's result
    "by itself": (lambda m, x: (y := m.conv(x)).mul_(y), False),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_written_in_place_means_the_same(name):
    """The graph computes what the module does, whoever made it functional; where nobody can see it, that is us."""
    function, plain = CASES[name]
    torch.manual_seed(0)
    module = Module(function).eval()
    module.norm.running_mean.normal_()
    x = torch.randn(2, 3, 5, 5)
    told = []
    real = functional.rewrite_
    try:
        functional.rewrite_ = lambda *given: told.append(real(*given)) or told[-1]
        traced = export(copy.deepcopy(module), x)
    finally:
        functional.rewrite_ = real
    assert told == [plain]
    net = Network(traced.graph, {name: Dense(value.numpy()) for name, value in traced.values.items()})
    found = torch.from_numpy(run(net, {traced.graph.inputs[0].name: x.numpy()})["y"].copy())
    torch.testing.assert_close(found, module.double()(x.double()), rtol=0, atol=1e-12)


def several(m, x):
    """Layers of each sort, with residuals, a concatenation and a local response norm."""
    y = torch.relu_(m.norm(m.conv(x)).add_(x))
    z = nn.functional.local_response_norm(nn.functional.relu6(m.other(y)), 3)
    z = nn.functional.dropout(torch.cat([y, z], 1), 0.5, m.training)
    return nn.functional.max_pool2d(z, 2).mean((2, 3)).flatten(1)


def test_both_ways_give_the_same_graph(monkeypatch):
    """Names, order and attributes do not tell which way was taken."""
    for module in (Module(several).eval(), ls.models.build("squeezenet-1.1").eval()):
        x = torch.zeros(1, *getattr(module, "input_shape", (3, 8, 8)))
        with monkeypatch.context() as patch:
            ours = export(module, x).graph
            patch.setattr(functional, "rewrite_", lambda *_: False)
            assert export(module, x).graph == ours


def test_what_changes_the_input_is_refused():
    """A forward that writes to its input, or to a part of a tensor, is one clear error either way."""
    for function in (lambda m, x: torch.relu_(x) + m.conv(x), lambda m, x: m.conv(x)[:, :2].relu_()):
        with pytest.raises(TraceError):
            export(Module(function).eval(), torch.zeros(1, 3, 5, 5))


def test_a_graph_that_is_not_rewritten_is_not_touched():
    """One call without a counterpart, and every call stays as it was."""
    module = Module(lambda m, x: torch.cumsum(torch.relu_(m.conv(x)), 1)).eval()
    graph = torch.export.export(module, (torch.zeros(2, 3, 4, 4),)).graph
    before = [node.target for node in graph.nodes]
    assert not functional.rewrite_(graph, OPERATORS)
    assert [node.target for node in graph.nodes] == before


def test_freezing_leaves_the_module_as_it_is():
    """Freezing looks at the module's own memory, and changes neither values nor layout nor mode."""
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True)).train()
    module = module.to(memory_format=torch.channels_last)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    strides = {name: value.stride() for name, value in module.state_dict().items()}
    net = ls.freeze(module, example=torch.zeros(1, 3, 8, 8))
    after = module.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert {name: value.stride() for name, value in after.items()} == strides
    assert module.training
    kept = {name: weight.to_dense().copy() for name, weight in net.weights.items()}
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert all((net.weights[name].to_dense() == value).all() for name, value in kept.items())
