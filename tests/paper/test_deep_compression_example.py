"""The 4×4 example of trained quantization in Deep Compression (Han et al., ICLR 2016, figure 3), digit by digit."""

import numpy as np
import pytest
import torch
from torch import nn

from lissome.compress.apply import coded_parameters, compress_
from lissome.compress.share import KMeans

WEIGHTS = [[2.09, -0.98, 1.48, 0.09], [0.05, -0.14, -1.08, 2.12], [-0.91, 1.92, 0, -1.03], [1.87, 0, 1.53, 1.49]]
# The figure prints gradient (0, 1) as +0.01 in the matrix and as −0.01 in its group; only −0.01 gives the printed sum.
GRADIENTS = [
    [-0.03, -0.01, 0.03, 0.02],
    [-0.01, 0.01, -0.02, 0.12],
    [-0.01, 0.02, 0.04, 0.01],
    [-0.07, -0.02, 0.01, -0.02],
]
INDICES = [[3, 0, 2, 1], [1, 1, 0, 3], [0, 3, 1, 0], [3, 1, 2, 2]]
CENTROIDS = [-1.00, 0.00, 1.50, 2.00]
GROUPED = [-0.03, 0.04, 0.02, 0.04]
AFTER = [-0.97, -0.04, 1.48, 1.96]


def example(zeros_share=True):
    """The example's layer under 2-bit sharing; with `zeros_share` its exact zeros are a cluster's, as in the figure.

    lissome never puts an exact zero into a cluster (it is a pruned weight), and the figure does; a zero of 1e-12 is
    that cluster's without changing a digit.
    """
    weights = np.array(WEIGHTS, np.float32)
    if zeros_share:
        weights[weights == 0] = 1e-12
    module = nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(weights))
    compress_(module, [KMeans(bits=2, format="float32")])
    return module, module.parametrizations.weight[0]


def step(module, centroids):
    """One step of gradient descent, learning rate 1, with the example's gradients arriving at the weights."""
    shared = module.parametrizations.weight[0]
    with torch.no_grad():
        shared.codebook.copy_(torch.tensor(centroids))
    optimizer = torch.optim.SGD([shared.codebook], lr=1.0)
    (module.weight * torch.tensor(GRADIENTS)).sum().backward()
    optimizer.step()


@pytest.mark.paper
def test_clusters_of_the_example():
    """k-means with linear initialisation gives the figure's index matrix, and its centroids to two digits."""
    _, shared = example()
    assert (shared.codes - 1).tolist() == INDICES
    assert np.abs(np.round(shared.codebook.detach().numpy(), 2) - np.array(CENTROIDS, np.float32)).max() <= 1e-6


@pytest.mark.paper
def test_grouped_gradients_of_the_example():
    """The gradient of each centroid is the figure's reduced sum: −0.03, 0.04, 0.02, 0.04.

    At most five gradients below 0.12 are added, each off by half a unit in the last place of float32.
    """
    module, shared = example()
    step(module, CENTROIDS)
    assert np.abs(shared.codebook.grad.numpy() - GROUPED).max() <= 6 * 0.12 * 2.0**-24


@pytest.mark.paper
def test_centroids_and_weights_after_one_step_of_the_example():
    """With learning rate 1 the centroids become 1.96, 1.48, −0.04 and −0.97, and the weights follow them."""
    module, shared = example()
    step(module, CENTROIDS)
    assert np.abs(shared.codebook.detach().numpy() - np.array(AFTER)).max() <= 4 * 2.0**-24 * 2
    assert np.array_equal(np.round(module.weight.detach().numpy(), 2), np.array(AFTER, np.float32)[np.array(INDICES)])
    assert coded_parameters(module)["weight"].codes.tolist() == INDICES


@pytest.mark.paper
def test_exact_zeros_of_the_example_count_as_pruned():
    """Left as they are, the two zeros stay zero through the step, and all other weights move as in the figure.

    Their gradients, 0.04 and −0.02, are then missing from the third group, whose centroid moves to −0.02.
    """
    module, shared = example(zeros_share=False)
    zero = np.array(WEIGHTS) == 0
    step(module, CENTROIDS)
    after = module.weight.detach().numpy()
    assert not after[zero].any()
    expected = np.array([-0.97, -0.02, 1.48, 1.96], np.float32)[np.array(INDICES)]
    assert np.array_equal(np.round(after, 2)[~zero], expected[~zero])
    assert (shared.codes == 0).numpy().tolist() == zero.tolist()
