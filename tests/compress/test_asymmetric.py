"""factorize.Asymmetric against NumPy: the auxiliary variable, reduced-rank regression, and that both parts help."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lissome.compress.apply import compress_
from lissome.compress.factorize import PCA, Asymmetric
from lissome.compress.factorize.asymmetric import auxiliary, relu_error, through_relu
from lissome.compress.factorize.responses import reduced_rank
from lissome.compress.recipe import Recipe

numbers = st.floats(-5, 5)


@given(numbers, numbers, st.sampled_from([0.01, 1.0]))
def test_the_auxiliary_variable_is_the_least_of_a_fine_grid(y, made, penalty):
    """(r(y) − r(z))² + λ (z − made)²: no z of a grid is cheaper than the closed form."""

    def cost(z):
        return (max(y, 0) - np.maximum(z, 0)) ** 2 + penalty * (z - made) ** 2

    z = float(auxiliary(torch.tensor([max(y, 0.0)]), torch.tensor([made]), penalty))
    assert cost(z) <= cost(np.linspace(-12, 12, 4801)).min() + 1e-4


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 5), st.integers(0, 50))
def test_reduced_rank_regression_against_its_textbook_form(rank, seed):
    """Whitened: M = [Z Yᵀ (Y Yᵀ)^(−1/2)]_r (Y Yᵀ)^(−1/2), [·]_r the truncated decomposition (the paper's GSVD)."""
    rng = np.random.default_rng(seed)
    z, y = rng.normal(size=(40, 5)) @ rng.normal(size=(5, 5)) + 2, rng.normal(size=(40, 5)) @ rng.normal(size=(5, 5))
    zc, yc = z - z.mean(0), y - y.mean(0)
    lean = (yc**2).sum() / 40 * np.eye(5)  # one sample's worth of white inputs that pass as they are
    values, vectors = np.linalg.eigh(yc.T @ yc + lean)
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    u, s, vh = np.linalg.svd((zc.T @ yc + lean) @ root)
    expected = (u[:, :rank] * s[:rank]) @ vh[:rank] @ root
    found = reduced_rank(torch.from_numpy(z), torch.from_numpy(y), rank)
    assert np.allclose((found.left @ found.right.T).numpy(), expected, atol=1e-6)
    assert np.allclose(found.bias.numpy(), z.mean(0) - expected @ y.mean(0), atol=1e-6)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 50))
def test_the_solver_for_relu_is_ahead_of_the_linear_one(seed):
    """Σ‖r(y) − r(My + b)‖² falls below that of the best linear projection, never above."""
    rng = np.random.default_rng(seed)
    y = torch.from_numpy(rng.normal(size=(200, 6)) - 0.5)
    start = reduced_rank(y, y, 2)
    found = through_relu(y, y, start)
    wanted = y.clamp(min=0)
    assert found.left.shape == (6, 2)
    assert relu_error(wanted, found(y)) < 0.99 * relu_error(wanted, start(y))


def deep(seed=0):
    """Five convolutions with batch norms and ReLUs."""
    torch.manual_seed(seed)
    layers = []
    for _ in range(5):
        norm = nn.BatchNorm2d(8)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
        layers += [nn.Conv2d(8, 8, 3, padding=1, bias=False), norm, nn.ReLU()]
    model = nn.Sequential(*layers).train()
    with torch.no_grad():
        for _ in range(30):
            model(torch.randn(16, 8, 6, 6))
    return model.eval()


def test_each_part_of_the_paper_lowers_the_error_of_the_network():
    """PCA, then the ReLU, then the asymmetric target too: the error of the output falls with each, on held-out data."""
    torch.manual_seed(1)
    x, held = torch.randn(60, 8, 6, 6), torch.randn(60, 8, 6, 6)
    expected = deep()(held)
    errors = []
    for method in (
        PCA(rank=4),
        Asymmetric(rank=4, asymmetric=False),
        Asymmetric(rank=4),
    ):
        model = deep()
        compress_(model, Recipe([("*", [method])]), inputs=x)
        errors.append(float((model(held) - expected).detach().square().mean()))
    assert errors[0] > errors[1] > errors[2]


def test_without_both_parts_it_is_pca():
    """The linear, symmetric case is the same projection."""
    torch.manual_seed(1)
    x = torch.randn(30, 8, 6, 6)
    made = []
    for method in (PCA(rank=3), Asymmetric(rank=3, nonlinear=False, asymmetric=False)):
        model = deep()
        compress_(model, Recipe([("0|3", [method])]), inputs=x)
        made.append(model(x))
    assert torch.equal(made[0], made[1])


class Residual(nn.Module):
    """A convolution whose ReLU comes after a sum."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        return torch.relu(self.conv(x) + x)


def test_a_relu_behind_a_sum_is_not_reconstructed_through():
    """Of a residual branch the linear response is the target: the option makes no difference there."""
    x = torch.randn(30, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    made = []
    for nonlinear in (False, True):
        model = Residual()
        compress_(model, Recipe([("conv", [Asymmetric(rank=2, nonlinear=nonlinear)])]), inputs=x)
        made.append(model(x))
    assert torch.equal(made[0], made[1])
