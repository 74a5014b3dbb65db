"""quantize.LSQ and FakeQuantized: gradients against the papers' formulas, training, and integers in the engine."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import lissome as ls
from lissome.compress.apply import bake_, coded_parameters, uncompress_
from lissome.compress.quantize import LSQ, FakeQuantized
from lissome.compress.quantize.lsq import stepped
from lissome.errors import RecipeError
from methods import after_steps

METHODS = (
    LSQ(bits=4, activation_bits=4),
    LSQ(bits=8, scope="filter"),
    FakeQuantized(),
    FakeQuantized(bits=4, scope="tensor"),
)


def network():
    """Convolutions, batch norms that have seen data, a linear layer; and inputs."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    layers += [nn.Conv2d(8, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(72, 5)]
    model, x = nn.Sequential(*layers), torch.randn(32, 3, 8, 8)
    model(x)
    return model, x


def trained(method, steps=8):
    """The network after some steps with the method on it, in evaluation mode."""
    model, x = network()
    ls.compress_(model, [method])
    return after_steps(model, x, steps), x


def test_the_gradient_of_a_step_is_equation_3():
    """Against the formula written out for each number: inside, below and above; and the numbers' own gradient."""
    v = torch.tensor([-5.0, -1.2, -0.3, 0.4, 1.7, 9.0], requires_grad=True)
    s = torch.tensor([0.5], requires_grad=True)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    (stepped(v, s, -4, 3, 0.25) * weights).sum().backward()
    slopes, passes = [], []
    for each in v.detach().tolist():
        ratio = each / 0.5
        slopes.append(-4.0 if ratio <= -4 else 3.0 if ratio >= 3 else round(ratio) - ratio)
        passes.append(float(-4 <= ratio <= 3))
    assert s.grad.item() == pytest.approx(0.25 * float(np.dot(weights.numpy(), slopes)), rel=1e-6)
    assert torch.equal(v.grad, weights * torch.tensor(passes))


def test_steps_begin_and_learn_at_the_papers_pace():
    """s₀ = 2 ⟨|v|⟩ / √Qp; the gradient of a weight's step is scaled by 1 / √(N Qp)."""
    layer = nn.Linear(6, 4, bias=False)
    weight = layer.weight.detach().clone()
    ls.compress_(layer, [LSQ(bits=3, activation_bits=0)])
    part = layer.parametrizations.weight[0]
    assert part.step.item() == pytest.approx(2 * weight.abs().mean().item() / 3**0.5, rel=1e-6)
    layer.weight.sum().backward()
    ratio = (weight / part.step.detach()).clamp(-4, 3)
    inside = weight / part.step.detach() == ratio
    slope = torch.where(inside, ratio.round() - ratio, ratio.round()).sum() / (24 * 3) ** 0.5
    assert part.step.grad.item() == pytest.approx(slope.item(), rel=1e-4)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_trained_on_codes_it_runs_on_codes(method, tmp_path):
    """After training: weights are codes × scales, inputs of layers are codes; packed, the engine runs int8 kernels and
    gives torch's answers; batch norms have gone into the scales.
    """
    model, x = trained(method)
    coded = coded_parameters(model)["3.weight"]
    assert np.array_equal(coded.to_dense(), model[3].weight.detach().numpy())
    seen = []
    handle = model[3].register_forward_hook(lambda _, given, __: seen.append(given[0]))
    want = model(x).detach().numpy()
    handle.remove()
    assert seen[0].unique().numel() <= 1 << method.activation_bits
    net = ls.freeze(model, example=x[:1])
    assert "BatchNormalization" not in {node.op for node in net.graph.nodes}
    ls.save(net, tmp_path / "net.liss")
    engine = ls.compile(tmp_path / "net.liss")
    assert sum("_i8_" in line for line in str(engine.explain()).splitlines()) >= 3
    error = np.abs(engine(x.numpy()) - want)
    assert np.quantile(error, 0.75) < 0.01 * np.ptp(
        want
    )  # biases are whole there, so that a rounding may fall elsewhere
    assert error.max() < 0.1 * np.ptp(want)


def test_copies_and_removal_take_the_inputs_along():
    """A deep copy computes the same on its own; bake_ keeps the codes of inputs; uncompress_ takes them off."""
    model, x = trained(FakeQuantized(activation_bits=3))
    want = model(x)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin[3].parametrizations.weight[0].around.scale.mul_(3)
    assert torch.equal(model(x), want)
    assert not torch.equal(twin(x), want)
    other = copy.deepcopy(model)
    bake_(other)
    torch.testing.assert_close(other(x), want)
    plain = copy.deepcopy(model)
    uncompress_(plain)
    assert not plain[0]._forward_pre_hooks
    assert not torch.allclose(plain(x), want)


def test_state_dicts_carry_what_was_learned():
    """Steps and ranges are in state_dict: another model with the same method computes the same after loading it."""
    for method in METHODS:
        model, x = trained(method, steps=3)
        other, _ = network()
        ls.compress_(other, [method])
        other.load_state_dict(model.state_dict())
        assert torch.equal(other.eval()(x), model(x))


def test_bare_options_are_refused():
    """Each option outside its range is named."""
    for wrong in ({"bits": 1}, {"activation_bits": 9}, {"scope": "row"}):
        with pytest.raises(RecipeError, match="LSQ"):
            LSQ(**wrong)
    with pytest.raises(RecipeError, match="decay"):
        FakeQuantized(decay=1.0)
