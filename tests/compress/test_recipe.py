"""Recipes: what a rule selects, the round trip through TOML, and one clear error for everything that can be wrong."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lissome.compress.prune import Lamp, Magnitude
from lissome.compress.recipe import FAMILIES, SCHEDULES, Recipe, Stage, Teacher
from lissome.compress.share import KMeans, StraightThrough
from lissome.compress.share.lloyd import INITS
from lissome.errors import RecipeError
from lissome.weights.formats import FORMATS

WEIGHTS = [
    (("conv1.weight",), 4),
    (("conv1.bias",), 1),
    (("norm.weight",), 1),
    (("block.fc1.weight",), 2),
    (("block.fc1.bias",), 1),
]
shares = st.floats(0, 1, exclude_max=True)
positive = st.floats(1e-6, 1e6)
seeds = st.integers(0, 2**63 - 1)

prunings = st.one_of(
    st.builds(Magnitude, sparsity=shares, scope=st.sampled_from(["layer", "global"])),
    st.builds(Magnitude, threshold=positive),
    st.builds(Magnitude, quality=positive),
    st.builds(Lamp, sparsity=shares, rate=st.booleans()),
)
shared = {"init": st.sampled_from(INITS), "format": st.sampled_from(FORMATS), "seed": seeds}
sharings = st.one_of(
    st.builds(KMeans, bits=st.integers(1, 16), **shared),
    st.builds(StraightThrough, clusters=st.integers(1, 65_536), **shared),
)
selectors = st.text(min_size=1, max_size=20).filter(lambda text: all(text.split("|")))
training = {
    "epochs": st.integers(0, 500),
    "batch": st.integers(1, 4096),
    "lr": positive,
    "distill": st.floats(0, 1),
    "temperature": positive,
    "shift": st.integers(0, 16),
}
stage_options = {"rounds": st.integers(1, 20), "ramp": st.floats(0.01, 1), **training}


@st.composite
def recipes(draw):
    """A valid recipe: rules with each family at most once, stages that settle families the rules have, in order."""
    chain = st.tuples(st.none() | prunings, st.none() | sharings).map(lambda pair: [m for m in pair if m is not None])
    rules = draw(st.lists(st.tuples(selectors, chain), max_size=4))
    known = {method.family for _, methods in rules for method in methods}
    stages = [Stage(**draw(st.fixed_dictionaries(training)))]
    for family in FAMILIES:
        if family in known and draw(st.booleans()):
            how = draw(st.sampled_from(SCHEDULES)) if family == "prune" else "one-shot"
            stages.append(Stage(settle=family, schedule=how, **draw(st.fixed_dictionaries(stage_options))))
    teacher = draw(st.none() | st.builds(Teacher, network=st.text(min_size=1, max_size=9), **training))
    return Recipe(rules, draw(st.sampled_from([[], stages])), draw(seeds), teacher)


@settings(deadline=None, max_examples=60)
@given(recipes())
def test_toml_round_trip(recipe):
    """from_toml(to_toml(r)) == r for every recipe: any selector, any option, every digit of a number."""
    text = recipe.to_toml()
    assert Recipe.from_toml(text) == recipe
    assert Recipe.from_toml(text).to_toml() == text


@settings(deadline=None, max_examples=30)
@given(recipes())
def test_printing_shows_every_rule_stage_and_the_seed(recipe):
    """A recipe prints as a table: a line of heads, one a rule, one a training, one for the seed."""
    printed = str(recipe)
    assert printed.startswith("select")
    assert printed.endswith(str(recipe.seed))
    for _, methods in recipe.rules:
        for method in methods:
            assert str(method) in printed


def test_a_recipe_as_a_person_writes_it(tmp_path):
    """The example of the module's docstring, from a file, is the recipe that Python would build."""
    path = tmp_path / "r.toml"
    path.write_text(
        """
        seed = 7
        [[rule]]
        select = "fc3"
        methods = []
        [[rule]]
        select = "*"
        methods = [{ use = "prune.Magnitude", sparsity = 0.9 }, { use = "share.KMeans", bits = 5 }]
        [teacher]
        network = "lenet-5"
        epochs = 3
        [[stage]]
        epochs = 2
        [[stage]]
        settle = "prune"
        schedule = "cubic"
        epochs = 30
        lr = 1
        """
    )
    assert Recipe.load(path) == Recipe(
        [("fc3", []), ("*", [Magnitude(sparsity=0.9), KMeans(bits=5)])],
        [Stage(epochs=2), Stage(settle="prune", schedule="cubic", epochs=30, lr=1.0)],
        7,
        Teacher(network="lenet-5", epochs=3),
    )


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("*", {"conv1.weight", "block.fc1.weight"}),
        ("conv1", {"conv1.weight"}),
        ("block.*", {"block.fc1.weight"}),
        ("*fc?", {"block.fc1.weight"}),
        ("*.bias", {"conv1.bias", "block.fc1.bias"}),
        ("conv1.bias", {"conv1.bias"}),
        ("norm.weight", {"norm.weight"}),
        ("*.weight", {"conv1.weight", "norm.weight", "block.fc1.weight"}),
        ("conv1|*.bias", {"conv1.weight", "conv1.bias", "block.fc1.bias"}),
        ("*|*.bias", {"conv1.weight", "block.fc1.weight", "conv1.bias", "block.fc1.bias"}),
        ("[cx]onv1", {"conv1.weight"}),
    ],
)
def test_what_a_selector_selects(select, expected):
    """A module glob means the module's matrix or kernel; .bias and .weight name parameters; | joins."""
    chosen = Recipe([(select, [])]).assign(WEIGHTS)
    assert {names[0] for (names, _), rule in zip(WEIGHTS, chosen, strict=True) if rule == 0} == expected


def test_a_bare_layer_is_selected_by_the_star_and_its_parameters_by_name():
    """For one layer on its own, whose parameters have no module path, "*" is its weight and "*.bias" its bias."""
    bare = [(("weight",), 2), (("bias",), 1)]
    assert Recipe([("*", [])]).assign(bare) == [0, None]
    assert Recipe([("*.bias", [])]).assign(bare) == [None, 0]
    assert Recipe([("bias", []), ("weight", [])]).assign(bare) == [1, 0]


def test_first_match_wins():
    """A weight belongs to the first rule that selects it; a later rule that selects only taken ones is no error."""
    recipe = Recipe([("conv1", []), ("*", []), ("block.fc1", [])])
    assert recipe.assign(WEIGHTS) == [0, None, None, 1, None]


def test_a_rule_that_selects_nothing_is_an_error_listing_what_there_is():
    """A misspelt layer is found, with the names to choose from."""
    with pytest.raises(
        RecipeError, match=r"rule 2 of 2 selects 'fc9', which matches no weight; there are: conv1.weight"
    ):
        Recipe([("*", []), ("fc9", [])]).assign(WEIGHTS)
    with pytest.raises(RecipeError, match="there are: none"):
        Recipe([("*", [])]).assign([])


RULE = '[[rule]]\nselect = "*"\nmethods = [{ use = "prune.Magnitude", sparsity = 0.9 }]\n'
METHOD = '[[rule]]\nselect = "*"\nmethods = [{ use = "prune.Magnitude", sparsity = 0.9 }, %s]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rule = [", "the recipe is not TOML: "),
        ("seed = 1\nrule", "the recipe is not TOML: "),
        ('seed = "x"', "seed is a whole number from 0, not 'x'"),
        ("seed = -1", "seed is a whole number from 0, not -1"),
        ("seed = 1.5", "seed is a whole number from 0, not 1.5"),
        ("seed = true", "seed is a whole number from 0, not True"),
        ("speed = 1", "the recipe: unknown key 'speed'; known: rule, seed, shrink, stage"),
        ("rule = 3", r"rule is written as \[\[rule\]\], a list of tables"),
        ("stage = [1]", r"stage is written as \[\[stage\]\]"),
        ("teacher = 1", r"teacher is written as \[teacher\], a table"),
        ("[teacher]\nepochs = 1", "teacher: .*network names the teacher"),
        ("[[rule]]\nmethods = []", "rule 1 of 1 has no selector; use '\\*'"),
        ('[[rule]]\nselect = ""', "rule 1 of 1 has no selector"),
        ('[[rule]]\nselect = "fc1|"', "rule 1 of 1 has no selector"),
        ("[[rule]]\nselect = 5", "rule 1 of 1 has no selector"),
        ('[[rule]]\nselect = "*"\nmethod = []', "rule 1: unknown key 'method'; known: methods, select"),
        ('[[rule]]\nselect = "*"\nmethods = "prune"', "rule 1: methods is a list of tables such as"),
        ('[[rule]]\nselect = "*"\nmethods = ["prune"]', "rule 1: methods is a list of tables such as"),
        (
            METHOD % "{ bits = 3 }",
            "rule 1: unknown method ''; known: factorize.CP, .*, prune.Magnitude, .*, share.StraightThrough",
        ),
        (METHOD % '{ use = "share.Median" }', "rule 1: unknown method 'share.Median'; known: factorize.CP"),
        (METHOD % '{ use = "quantise.Affine" }', "rule 1: unknown method 'quantise.Affine'"),
        (METHOD % '{ use = "share.kmeans" }', "rule 1: unknown method 'share.kmeans'"),
        (METHOD % '{ use = "share.KMeans", bit = 3 }', "rule 1, share.KMeans: unknown key 'bit'; known: bits, clust"),
        (METHOD % '{ use = "share.KMeans", bits = "3" }', "rule 1, share.KMeans: bits is int, not '3'"),
        (METHOD % '{ use = "share.KMeans", bits = 3.0 }', "rule 1, share.KMeans: bits is int, not 3.0"),
        (METHOD % '{ use = "share.KMeans", bits = true }', "rule 1, share.KMeans: bits is int, not True"),
        (METHOD % '{ use = "share.KMeans", bits = 99 }', "rule 1, share.KMeans: .*bits is 1 to 16, not 99"),
        (METHOD % '{ use = "prune.Lamp" }', "one method a family, in the order factorize → prune → share"),
        (RULE.replace("0.9", '"much"'), "rule 1, prune.Magnitude: sparsity is float, not 'much'"),
        (RULE.replace("0.9", "nan"), "rule 1, prune.Magnitude: .*sparsity is a share"),
        (RULE.replace("0.9", "1.0"), "rule 1, prune.Magnitude: .*sparsity is a share"),
        ("[[stage]]\nepoch = 3", "stage 1: unknown key 'epoch'; known: batch, distill, epochs"),
        ("[[stage]]\nepochs = 1.5", "stage 1: epochs is int, not 1.5"),
        ("[[stage]]\n[[stage]]\nepochs = -1", "stage 2: .*epochs is 0 or more"),
        ("[[stage]]\nbatch = 0", "stage 1: .*batch is 1 or more"),
        ("[[stage]]\nlr = 0", "stage 1: .*lr is positive"),
        ("[[stage]]\nlr = inf", "stage 1: .*lr is positive"),
        ("[[stage]]\ndistill = 1.1", r"stage 1: .*distill is in \[0, 1\]"),
        ("[[stage]]\ntemperature = 0", "stage 1: .*temperature is positive"),
        ("[[stage]]\nshift = 17", "stage 1: .*shift is 0 to 16 pixels"),
        (
            '[[stage]]\nsettle = "quantise"',
            "stage 1: .*settle is one of shrink, factorize, prune, share, quantize, binarize, or empty",
        ),
        ('[[stage]]\nschedule = "linear"', "stage 1: .*schedule is one of one-shot, iterative, cubic"),
        ('[[stage]]\nschedule = "cubic"', "stage 1: .*only pruning has a gradual schedule"),
        ("[[stage]]\nrounds = 0", "stage 1: .*rounds is 1 or more"),
        ("[[stage]]\nramp = 0.0", r"stage 1: .*ramp is in \(0, 1\]"),
        (RULE + '[[stage]]\nsettle = "share"', "stage 1 of 1 settles 'share', but no rule has a method of that family"),
        (
            RULE + '[[stage]]\nsettle = "prune"\n' * 2,
            "stage 2 of 2 settles 'prune'; once each, in the order shrink → factorize → prune → share",
        ),
    ],
)
def test_bad_toml_is_one_clear_error_that_names_the_place(text, message, tmp_path):
    """Whatever is wrong in the file: a RecipeError with the rule or stage, the key, and what is known or allowed."""
    with pytest.raises(RecipeError, match=message):
        Recipe.from_toml(text)
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"bad\.toml: "):
        Recipe.load(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    """Missing, a folder, or not UTF-8: RecipeError with the path."""
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    for name in ("missing.toml", "binary.toml", "."):
        with pytest.raises(RecipeError, match="cannot read recipe"):
            Recipe.load(tmp_path / name)


@pytest.mark.parametrize(
    ("rules", "stages", "message"),
    [
        ([("*", [KMeans(bits=2), Magnitude(sparsity=0.5)])], [], "not share.KMeans → prune.Magnitude"),
        ([("*", ["prune"])], [], r"rule 1 of 1 \('\*'\): 'prune' is not a method; use for example"),
        ([(None, [])], [], "has no selector"),
        ([], ["prune"], "stage 1 of 1: 'prune' is not a Stage"),
        (
            [("*", [Magnitude(sparsity=0.5), KMeans(bits=2)])],
            [Stage(settle="share"), Stage(settle="prune")],
            "stage 2 of 2 settles 'prune'; once each, in the order shrink → factorize → prune → share",
        ),
    ],
)
def test_a_bad_recipe_in_python_is_refused_when_it_is_made(rules, stages, message):
    """The same checks hold for recipes built in Python: nothing waits for the training."""
    with pytest.raises(RecipeError, match=message):
        Recipe(rules, stages)
