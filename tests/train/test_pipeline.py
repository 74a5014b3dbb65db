"""The staged run: a kill at any point costs time and never a bit; a foreign folder is refused; errors come first."""

import numpy as np
import pytest
import torch

from lissome.compress.apply import groups
from lissome.compress.prune import Magnitude
from lissome.compress.quantize import RateDistortion
from lissome.compress.recipe import Recipe, Stage
from lissome.compress.share import KMeans, StraightThrough
from lissome.data import Dataset
from lissome.errors import DataError, FormatError, RecipeError
from lissome.train import pipeline

BATCH = {"batch": 16, "lr": 0.01}
DENSE = Stage(epochs=2, shift=1, **BATCH)
SHARE = Stage(settle="share", epochs=2, distill=0.5, **BATCH)
STAGES = {
    "one-shot": Stage(settle="prune", epochs=2, **BATCH),
    "cubic": Stage(settle="prune", schedule="cubic", ramp=0.6, epochs=3, distill=0.5, shift=1, **BATCH),
    "iterative": Stage(settle="prune", schedule="iterative", rounds=3, epochs=3, **BATCH),
}


def recipe_with(prune_stage, share=KMeans):
    """Dense training, the given pruning, sharing, and a last fine-tuning."""
    rules = [("*", [Magnitude(sparsity=0.6), share(clusters=4)])]
    return Recipe(rules, [DENSE, prune_stage, SHARE, Stage(epochs=1, **BATCH)], seed=3)


class Killed(Exception):
    """Stands for kill -9 at the moment when it is raised: nothing of the run survives but its files."""


def run_killed(recipe, make_network, dataset, work, *, at):
    """The run, killed at the `at`-th moment (ends of epochs and of stages, from 0), with a fresh start after that.

    Returns the outcome of the second run, or None when the run ended before that moment came.
    """
    moments = iter(range(1000))

    def moment(*_):
        if next(moments) == at:
            raise Killed

    try:
        pipeline.run(recipe, make_network(), dataset, work=work, on_epoch=moment, on_stage=moment)
    except Killed:
        torch.manual_seed(at)  # nothing may depend on torch's own generator
        return pipeline.run(recipe, make_network(), dataset, work=work)
    return None


def assert_same_bits(found, wanted):
    """Equal state dicts, bit for bit, and the same accuracies on the way."""
    left, right = found.model.state_dict(), wanted.model.state_dict()
    assert list(left) == list(right)
    for name in right:
        assert torch.equal(left[name], right[name]), name
    for name, tensor in wanted.reference.state_dict().items():
        assert torch.equal(found.reference.state_dict()[name], tensor), name
    assert found.accuracies == wanted.accuracies


@pytest.mark.parametrize("kind", STAGES)
def test_a_run_killed_anywhere_ends_as_if_left_alone(kind, make_network, quadrants, tmp_path):
    """After every epoch and every stage: kill, start again, and the weights, masks and codes are the same bits."""
    recipe = recipe_with(STAGES[kind], StraightThrough if kind == "one-shot" else KMeans)
    undisturbed = pipeline.run(recipe, make_network(), quadrants)
    epochs = sum(stage.epochs for stage in recipe.stages)
    for at in range(epochs + len(recipe.stages)):
        resumed = run_killed(recipe, make_network, quadrants, tmp_path / str(at), at=at)
        assert resumed is not None
        assert_same_bits(resumed, undisturbed)
    assert run_killed(recipe, make_network, quadrants, tmp_path / "end", at=epochs + len(recipe.stages)) is None


def test_a_run_killed_twice_ends_as_if_left_alone(make_network, quadrants, tmp_path):
    """A resumed run can be killed again, in a later stage."""
    recipe = recipe_with(STAGES["cubic"])
    for at in (3, 4):

        def killer(progress, at=at):
            if progress.stage == 2 and progress.epoch == at - 2:
                raise Killed

        with pytest.raises(Killed):
            pipeline.run(recipe, make_network(), quadrants, work=tmp_path, on_epoch=killer)
    resumed = pipeline.run(recipe, make_network(), quadrants, work=tmp_path)
    assert_same_bits(resumed, pipeline.run(recipe, make_network(), quadrants))


def test_a_finished_run_is_read_from_its_folder(make_network, quadrants, tmp_path):
    """The same command again trains nothing and returns the same networks and accuracies."""
    recipe = recipe_with(STAGES["cubic"])
    first = pipeline.run(recipe, make_network(), quadrants, work=tmp_path)

    def never(*_):
        pytest.fail("an epoch was trained again")

    assert_same_bits(pipeline.run(recipe, make_network(), quadrants, work=tmp_path, on_epoch=never), first)


def test_each_stage_does_its_part(make_network, quadrants):
    """Dense weights are all there after the first stage; pruning reaches its sparsity; sharing its few values; order
    holds: nothing is shared before its stage.
    """
    seen = []

    def look(stage, model):
        weight = model[6].weight.detach()
        seen.append((stage.settle, int((weight == 0).sum()), weight[weight != 0].unique().numel()))

    outcome = pipeline.run(recipe_with(STAGES["cubic"]), make_network(), quadrants, on_stage=look)
    assert [name for name, _ in outcome.accuracies] == ["train", "prune", "share", "train"]
    removed = 108 - round(0.4 * 108)
    assert seen[0] == ("", 0, 108)
    assert seen[1] == ("prune", removed, 108 - removed)
    assert seen[2][:2] == ("share", removed)
    assert seen[2][2] <= 4
    assert seen[3][:2] == ("", removed)
    assert not groups(outcome.reference)
    assert (outcome.reference[6].weight != 0).all()
    assert not outcome.model.training


def test_iterative_pruning_goes_round_by_round(make_network, quadrants):
    """Rounds=3 removes a third of the sparsity before each third of the epochs: prune, retrain, again."""
    recipe, found = recipe_with(STAGES["iterative"]), []
    model = make_network()

    def look(progress):
        if progress.name == "prune":
            found.append(int((model[6].weight == 0).sum()))

    pipeline.run(recipe, model, quadrants, on_epoch=look)
    # After the last step of a round's epoch the next round's pruning has been done, except after the last.
    assert found == [108 - round((1 - 0.4) * 108), 108 - round(0.4 * 108), 108 - round(0.4 * 108)]


def test_trained_weights_skip_the_dense_stage(make_network, quadrants):
    """With trained=True the leading stages without a family are left out, and the reference is what was given."""
    model = make_network()
    given = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    outcome = pipeline.run(recipe_with(STAGES["one-shot"]), model, quadrants, trained=True)
    assert [name for name, _ in outcome.accuracies] == ["prune", "share", "train"]
    assert all(torch.equal(outcome.reference.state_dict()[name], given[name]) for name in given)


def test_calibrated_methods_see_images_when_their_stage_begins(make_network, quadrants):
    """The stage "quantize" calibrates on training images: every weight is on its layer's grid, what was pruned is 0."""
    rules = [("*", [Magnitude(sparsity=0.5), RateDistortion(rate=1e-5)])]
    stages = [Stage(settle="prune", epochs=1, **BATCH), Stage(settle="quantize", epochs=1, **BATCH)]
    model = make_network()
    outcome = pipeline.run(Recipe(rules, stages), model, quadrants, trained=True)
    assert [name for name, _ in outcome.accuracies] == ["prune", "quantize"]
    kept = model[6].weight.detach()
    assert int((kept == 0).sum()) >= 54
    assert 1 < kept.unique().numel() < 54


def test_progress_tells_where_the_run_is(make_network, quadrants):
    """Every epoch is reported once, counted from 1, with a finite loss, a percentage and the time left (0 at last)."""
    reports = []
    recipe = recipe_with(STAGES["cubic"])
    pipeline.run(recipe, make_network(), quadrants, on_epoch=reports.append)
    expected = [(s, e) for s, stage in enumerate(recipe.stages, 1) for e in range(1, stage.epochs + 1)]
    assert [(p.stage, p.epoch) for p in reports] == expected
    assert all(np.isfinite(p.loss) and 0 <= p.accuracy <= 100 and p.left_s >= 0 for p in reports)
    assert reports[-1].left_s == 0
    assert reports[0].stages == 4


def test_the_folder_of_another_run_is_refused(make_network, quadrants, tmp_path):
    """Another recipe, network, data set or holdout: one error that says so, and the folder is untouched."""
    recipe = recipe_with(STAGES["one-shot"])
    pipeline.run(recipe, make_network(), quadrants, work=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = Dataset("quadrants", 4, quadrants.test, quadrants.train)
    attempts = [
        lambda: pipeline.run(recipe_with(STAGES["cubic"]), make_network(), quadrants, work=tmp_path),
        lambda: pipeline.run(recipe, make_network(seed=1), quadrants, work=tmp_path),
        lambda: pipeline.run(recipe, make_network(), other, work=tmp_path),
        lambda: pipeline.run(recipe, make_network(), quadrants, work=tmp_path, holdout=8),
        lambda: pipeline.run(recipe, make_network(), quadrants, work=tmp_path, trained=True),
    ]
    for attempt in attempts:
        with pytest.raises(RecipeError, match="holds the checkpoints of another recipe, network or data set; delete"):
            attempt()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["state.safetensors", "reference.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "empty", "gone"])
def test_a_damaged_checkpoint_is_one_clear_error(name, damage, make_network, quadrants, tmp_path):
    """A checkpoint that is cut short, empty or missing is named, with the remedy; a missing state is a fresh start."""
    recipe = recipe_with(STAGES["one-shot"])
    pipeline.run(recipe, make_network(), quadrants, work=tmp_path)
    path = tmp_path / name
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:100] if damage == "cut" else b"")
    if (name, damage) == ("state.safetensors", "gone"):
        assert_same_bits(
            pipeline.run(recipe, make_network(), quadrants, work=tmp_path),
            pipeline.run(recipe, make_network(), quadrants),
        )
        return
    with pytest.raises(FormatError, match=rf"{name} is missing or damaged .*; delete .* to start again"):
        pipeline.run(recipe, make_network(), quadrants, work=tmp_path)


def test_no_file_but_the_checkpoints_is_left(make_network, quadrants, tmp_path):
    """The folder holds two files at the end, and no temporary one."""
    pipeline.run(recipe_with(STAGES["one-shot"]), make_network(), quadrants, work=tmp_path / "new" / "folder")
    names = sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    assert names == ["reference.safetensors", "state.safetensors"]


@pytest.mark.parametrize(
    ("recipe", "options", "error", "message"),
    [
        (Recipe(), {}, RecipeError, r"the recipe has no stage to run; add \[\[stage\]\]"),
        (Recipe(stages=[DENSE]), {"trained": True}, RecipeError, "has no stage to run"),
        (Recipe([("9", [Magnitude(sparsity=0.5)])], [DENSE]), {}, RecipeError, "rule 1 of 1 selects '9', which match"),
        (
            Recipe([("*", []), ("6", [Magnitude(sparsity=0.5)])], [DENSE, STAGES["cubic"]]),
            {},
            RecipeError,
            "a stage settles 'prune', but every rule with such a method is hidden",
        ),
        (
            Recipe([("*", [KMeans(bits=6)])], [DENSE]),
            {},
            RecipeError,
            "on '0.weight': a codebook of 64 entries is larger",
        ),
        (Recipe(stages=[DENSE]), {"holdout": 0}, DataError, "0 images to validate on; at least 1"),
        (Recipe(stages=[DENSE]), {"holdout": 96}, DataError, "no images to train on"),
        (Recipe(stages=[Stage(epochs=1, distill=0.5)]), {}, RecipeError, "no dense network yet to learn from"),
    ],
)
def test_what_cannot_work_fails_before_any_training(*, recipe, options, error, message, make_network, quadrants):
    """A recipe that does not fit is refused at once, not after the dense network has been trained for hours."""

    def never(*_):
        pytest.fail("an epoch was trained first")

    with pytest.raises(error, match=message):
        pipeline.run(recipe, make_network(), quadrants, on_epoch=never, **options)


def test_the_same_run_twice_gives_the_same_bits(make_network, quadrants):
    """Nothing but recipe, network and data decides the result."""
    recipe = recipe_with(STAGES["cubic"])
    first = pipeline.run(recipe, make_network(), quadrants)
    torch.manual_seed(99)
    assert_same_bits(pipeline.run(recipe, make_network(), quadrants), first)
