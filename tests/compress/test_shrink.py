"""Shrinking: what is coupled goes together, the smaller network computes what the masked one does, targets are met."""

import copy
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lissome import models
from lissome.compress.apply import bake_, compress_
from lissome.compress.prune import GroupLasso, Magnitude
from lissome.compress.shrink import _cut, removable, shrink
from lissome.errors import RecipeError


class Residual(nn.Module):
    """Two branches into one sum, with batch norms and a PReLU."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.left, self.right = nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.act = nn.PReLU(6)
        self.head = nn.Linear(6 * 4 * 4, 5)

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        x = self.act(self.left(x) + self.right(x) + x)
        return self.head(x.flatten(1))


class Concat(nn.Module):
    """Branches side by side, an average over pixels, a gate of one number a channel."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 5, 3, padding=1)
        self.join = nn.Conv2d(9, 7, 1)
        self.gate = nn.Linear(7, 7)
        self.head = nn.Linear(7, 5)

    def forward(self, x):
        x = torch.relu(self.join(torch.cat([torch.relu(self.one(x)), self.two(x)], 1)))
        gate = torch.sigmoid(self.gate(x.mean((2, 3))))
        return self.head((x * gate[:, :, None, None]).mean((2, 3)))


class Depthwise(nn.Module):
    """Expand, depthwise, project, with a skip around; a grouped convolution and a channel shuffle."""

    def __init__(self):
        super().__init__()
        self.stem, self.expand = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 1)
        self.depth = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.project = nn.Conv2d(12, 8, 1)
        self.grouped = nn.Conv2d(8, 12, 1, groups=2)
        self.head = nn.Conv2d(12, 5, 1)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = x + self.project(torch.relu(self.depth(torch.relu(self.expand(x)))))
        x = self.grouped(x)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.head(torch.relu(x))


class Halves(nn.Module):
    """Halves of the channels that go different ways and come back, after ShuffleNet v2."""

    def __init__(self):
        super().__init__()
        self.stem, self.work = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Conv2d(8, 5, 1)

    def forward(self, x):
        a, b = torch.relu(self.stem(x)).chunk(2, 1)
        return self.head(torch.cat([a, torch.relu(self.work(b))], 1))


class Tied(nn.Module):
    """One convolution used twice, in a row: its filters are its channels."""

    def __init__(self):
        super().__init__()
        self.stem, self.again, self.head = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 5, 1)

    def forward(self, x):
        return self.head(torch.relu(self.again(torch.relu(self.again(torch.relu(self.stem(x)))))))


NETWORKS = (Residual, Concat, Depthwise, Halves, Tied)
EXAMPLE = torch.zeros(1, 3, 4, 4)


def built(kind, seed):
    torch.manual_seed(seed)
    model = kind().double().eval().float()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
        for name, buffer in model.named_buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5)
            del name
    return model


def coupled(model, example=EXAMPLE):
    return removable(model, example)[2]


@cache
def coupled_of(kind):
    """Coupling depends on shapes alone, and tracing takes a second."""
    return coupled(built(kind, 0))


def masked(model, gone):
    """`model` with every entry that `gone` would cut at zero: the same function as without them."""
    model = copy.deepcopy(model)
    state = model.state_dict(keep_vars=True)
    with torch.no_grad():
        for channel in gone:
            for cut in channel.cuts:
                state[cut.name].index_fill_(cut.axis, torch.tensor(cut.indices), 0.0)
    return model


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(NETWORKS), st.integers(0, 2**16), st.data())
def test_the_smaller_network_computes_what_the_masked_one_does(kind, seed, data):
    """Whatever channels go, zeroing them and cutting them out give the same result."""
    model = built(kind, seed)
    found = coupled_of(kind)
    keep = {channel.family: index for index, channel in enumerate(found)}  # one of each layer stays
    free = [index for index in range(len(found)) if index not in keep.values()]
    gone = [found[index] for index in data.draw(st.sets(st.sampled_from(free), min_size=1))]
    small = copy.deepcopy(model)
    _cut(small, gone)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(small(x), masked(model, gone)(x), rtol=1e-4, atol=1e-4)


def test_a_residual_sum_ties_what_it_adds():
    """In Residual every inner channel is one channel of the stem, both branches, the norm, the PReLU and 16 columns."""
    found = coupled(built(Residual, 0))
    assert len(found) == 6
    cuts = {(cut.name, cut.axis): cut.indices for cut in found[2].cuts}
    assert cuts["stem.weight", 0] == cuts["left.weight", 1] == cuts["right.weight", 0] == cuts["norm.running_mean", 0]
    assert cuts["head.weight", 1] == tuple(range(32, 48))


def test_a_concatenation_moves_channels_and_ties_none():
    """In Concat the second branch's channel j is input 4 + j of what reads it."""
    found = coupled(built(Concat, 0))
    assert len(found) == 4 + 5 + 7
    second = next(c for c in found if c.cuts[0].name == "two.weight" and c.cuts[0].indices == (1,))
    assert {(cut.name, cut.axis): cut.indices for cut in second.cuts}["join.weight", 1] == (5,)


def test_groups_stay_equal():
    """In Depthwise the grouped layer's filters go in pairs, one from each group, and so do the channels it reads."""
    found = coupled(built(Depthwise, 0))
    grouped = [c for c in found for cut in c.cuts if cut.name == "grouped.weight" and cut.axis == 0]
    assert len(grouped) == 6
    assert all(len(cut.indices) == 2 for c in grouped for cut in c.cuts if cut.name == "head.weight")


def test_counted_channels_stay():
    """Channels padded to a number stay, in CIFAR ResNets those between the blocks; those within the blocks go."""
    with torch.device("meta"):
        model = models.build("cifar-resnet-20")
        found = coupled(model, torch.zeros(1, 3, 32, 32))
    assert len(found) == 3 * (16 + 32 + 64)
    assert all(cut.name.split(".")[-2] in {"conv1", "bn1", "conv2"} for channel in found for cut in channel.cuts)


@pytest.mark.parametrize("norm", [nn.LocalResponseNorm(3), nn.LayerNorm([6, 4, 4]), nn.Softmax(1)])
def test_what_counts_channels_keeps_them(norm):
    """Local response norm, layer norm and softmax over channels depend on all of them: none may go."""
    assert not coupled(nn.Sequential(nn.Conv2d(3, 6, 1), norm, nn.Conv2d(6, 5, 1)))


def operations(model, example):
    """Floating-point operations of one image, counted by torch."""
    with FlopCounterMode(display=False) as counter:
        model(example)
    return counter.get_total_flops()


@pytest.mark.slow
@pytest.mark.parametrize("name", models.names())
def test_every_network_stays_valid(name):
    """Each network of models/ still runs without a third of its multiply-adds, which are really gone."""
    with torch.device("meta"):
        model = models.build(name).eval()
        example = torch.zeros(1, *model.input_shape)
        small = shrink(model, example=example, macs=2 / 3, saliency="random")
        assert type(small) is type(model)
        assert operations(small, example) <= 2 / 3 * operations(model, example)
        assert small(torch.cat([example, example])).shape == (2, *model(example).shape[1:])


def test_the_least_salient_filters_go():
    """With a share of channels to keep, each layer loses the filters of the smallest norms; the rest is untouched."""
    model = built(Concat, 3)
    norms = model.one.weight.detach().square().sum((1, 2, 3))
    small = shrink(model, example=EXAMPLE, channels=0.5)
    assert small.one.out_channels == 2
    kept = norms.argsort()[2:].sort().values
    torch.testing.assert_close(small.one.weight, model.one.weight[kept], rtol=0, atol=0)
    assert small.join.in_channels == small.one.out_channels + small.two.out_channels


def test_taylor_ranks_by_what_the_loss_would_lose():
    """Σ (g w)² of a filter: a large filter whose gradient is zero goes before a small one that matters."""
    model = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(), nn.Conv2d(2, 5, 1))
    with torch.no_grad():
        model[0].weight[0], model[0].weight[1] = 10.0, 0.1
    with pytest.raises(RecipeError, match="has no gradient"):
        shrink(model, example=EXAMPLE, channels=0.5, saliency="taylor")
    model[0].weight.grad = torch.zeros_like(model[0].weight)
    model[0].weight.grad[1] = 1.0
    model[2].weight.grad = torch.ones_like(model[2].weight)
    small = shrink(model, example=EXAMPLE, channels=0.5, saliency="taylor")
    torch.testing.assert_close(small[0].weight, torch.full((1, 3, 1, 1), 0.1))


def test_multiples_are_kept():
    """With multiple=4 each layer keeps a multiple of four channels, never fewer than asked."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 1), nn.ReLU(), nn.Conv2d(16, 24, 1), nn.ReLU(), nn.Conv2d(24, 5, 1))
    small = shrink(model, example=EXAMPLE, channels=0.4, multiple=4)
    assert (small[0].out_channels, small[2].out_channels) == (8, 12)


def test_the_model_itself_is_left_alone_and_the_copy_trains():
    """Values, shapes and mode of the original stay; the copy's parameters get gradients."""
    model = built(Depthwise, 1).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    small = shrink(model, example=EXAMPLE, macs=0.5)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert small.training
    small(torch.randn(2, 3, 4, 4)).sum().backward()
    assert all(parameter.grad.shape == parameter.shape for parameter in small.parameters())


def test_unreachable_targets_say_how_far_it_goes():
    """A share below what one channel a layer costs is an error that names the least possible share."""
    with pytest.raises(RecipeError, match=r"% of the multiply-adds remain; ask for that or more"):
        shrink(built(Residual, 0), example=EXAMPLE, macs=0.01)


def test_networks_of_fixed_channels_are_refused():
    """Where input and output fix every channel there is nothing to remove."""
    with pytest.raises(RecipeError, match="no channel can go"):
        shrink(nn.Sequential(nn.Conv2d(3, 5, 1)), example=EXAMPLE, channels=0.5)


def test_parametrized_models_are_refused():
    """A mask has the weight's shape: shrinking comes before it."""
    model = built(Residual, 0)
    compress_(model, [Magnitude(sparsity=0.5)])
    with pytest.raises(RecipeError, match="carries parametrizations: shrink first"):
        shrink(model, example=EXAMPLE, macs=0.5)


def test_nan_weights_are_refused():
    """A NaN in a filter is named before anything is chosen by it."""
    model = built(Residual, 0)
    with torch.no_grad():
        model.left.weight[0] = float("nan")
    with pytest.raises(RecipeError, match=r"'left.weight' or its gradient holds NaN"):
        shrink(model, example=EXAMPLE, macs=0.5)


class Counted(nn.Module):
    """Its code names a number of channels."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 5, 1)

    def forward(self, x):
        x = self.one(x)
        return self.two(x.view(x.shape[0], 6, 2, 8).reshape(x.shape))


def test_code_that_counts_channels_is_named():
    """A module whose code fixes a number of channels fails here, with its name, and not later in training."""
    with pytest.raises(RecipeError, match="Counted: its own code fixes a number of channels"):
        shrink(built(Counted, 0), example=EXAMPLE, channels=0.5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"macs": 0.5, "channels": 0.5},
        {"macs": 0.0},
        {"macs": 1.0},
        {"channels": float("nan")},
        {"macs": 0.5, "least": 0},
        {"macs": 0.5, "multiple": 0},
        {"macs": 0.5, "saliency": "hope"},
    ],
)
def test_impossible_options_are_refused(options):
    """Every option out of its range is one RecipeError that names the option."""
    with pytest.raises(RecipeError, match=r"shrink"):
        shrink(built(Residual, 0), example=EXAMPLE, **options)


def emptied(model, x, *, made, every=3):
    """Every third removable channel zeroed: what makes it (made, with its biases and batch norms), or what reads it."""
    found = removable(model, x)[2]
    state = model.state_dict(keep_vars=True)
    for channel in found[::every]:
        for cut in channel.cuts:
            value = state[cut.name].detach()
            if cut.made == made and (made or value.dim() > 1) and "running_var" not in cut.name:
                value.index_fill_(cut.axis, torch.tensor(cut.indices), 0.0)


@pytest.mark.parametrize("kind", [Residual, Concat, Depthwise, Halves])
@pytest.mark.parametrize("made", [True, False])
def test_channels_of_zeros_are_cut_and_the_function_stays(kind, made):
    """Filters of zeros, and channels read by zeros alone, go; what is left computes the same."""
    torch.manual_seed(0)
    model, x = kind().eval(), torch.randn(2, 3, 4, 4)
    emptied(model, x, made=made)
    small = shrink(model, example=x, zeros=True)
    assert sum(value.numel() for value in small.parameters()) < 0.9 * sum(value.numel() for value in model.parameters())
    torch.testing.assert_close(small(x), model(x), rtol=1e-5, atol=1e-5)


def test_zeros_leave_one_channel_in_a_layer_and_nothing_to_cut_is_said():
    """A layer of zeros keeps one channel; a network without zeros is a RecipeError."""
    model, x = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 1)), torch.randn(2, 3, 4, 4)
    with pytest.raises(RecipeError, match="every channel is made and read"):
        shrink(model, example=x, zeros=True)
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.zero_()
    small = shrink(model, example=x, zeros=True)
    assert small[0].weight.shape == (1, 3, 3, 3)
    torch.testing.assert_close(small(x), model(x))


def test_group_lasso_trained_baked_and_shrunk():
    """Two hidden units are needed: the others die in training, and the shrunk network computes what was trained."""
    torch.manual_seed(0)
    x = torch.randn(64, 8)
    wanted = torch.relu(x[:, :2])
    model = nn.Sequential(nn.Linear(8, 6, bias=False), nn.ReLU(), nn.Linear(6, 2, bias=False))
    compress_(model, [GroupLasso(filters=0.01, channels=0.01)])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.04)
    for _ in range(150):
        optimizer.zero_grad()
        (model(x) - wanted).square().mean().backward()
        optimizer.step()
    bake_(model)
    small = shrink(model, example=x[:1], zeros=True)
    assert small[0].weight.shape[0] == small[2].weight.shape[1] < 6
    torch.testing.assert_close(small(x), model(x), rtol=1e-5, atol=1e-6)
    assert (small(x) - wanted).square().mean() < 0.01 * wanted.square().mean()
