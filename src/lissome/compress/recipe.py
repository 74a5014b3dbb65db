"""Recipe: which methods go onto which weights, and in which stages they are trained. In Python, and as a TOML file.

    seed = 0

    [[rule]]                                # first match wins
    select = "*"
    methods = [
      { use = "prune.Magnitude", sparsity = 0.9 },
      { use = "share.KMeans", bits = 5 },
    ]

    [shrink]                                # channels are cut out, in a stage that settles "shrink"
    macs = 0.5

    [[stage]]                               # for lissome compress; a loop of your own needs none
    settle = "prune"
    schedule = "cubic"
    epochs = 30

A selector is a glob over module paths and concerns the module's weight (``fc1``, ``features.*``, ``*``); one that ends
in ``.bias`` or ``.weight`` concerns that parameter. Alternatives are joined by ``|`` (``*|*.bias``: every weight and
bias).
"""

from __future__ import annotations

import importlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from lissome.compress.method import Method
from lissome.errors import RecipeError

#: families of methods; the public names of package lissome.compress.<family> are its methods
FAMILIES: Final = ("factorize", "prune", "share", "quantize", "binarize")
#: what a stage may settle, in this order
SETTLED: Final = ("shrink", *FAMILIES)
SALIENCIES: Final = ("l1", "l2", "taylor", "random")
SCHEDULES: Final = ("one-shot", "iterative", "cubic")
PREPARATIONS: Final = ("", "fold", "equalise")


@dataclass(frozen=True)
class Fit:
    """How a stage trains. The optimizer is Adam with cosine decay of the learning rate to zero.

    epochs: passes over the training images. batch: images a step. lr: peak learning rate.
    distill: weight in [0, 1] of the distillation loss from the dense network (Hinton 2015; 0 trains on labels alone).
    temperature: of the distillation's softmax. shift: augment by random shifts of up to this many pixels.
    """

    epochs: int = 10
    batch: int = 128
    lr: float = 1e-3
    distill: float = 0.0
    temperature: float = 3.0
    shift: int = 0

    def __post_init__(self) -> None:
        self._check(self.epochs >= 0, "epochs is 0 or more")
        self._check(self.batch >= 1, "batch is 1 or more")
        self._check(0 < self.lr < float("inf"), "lr is positive")
        self._check(0 <= self.distill <= 1, "distill is in [0, 1]")
        self._check(0 < self.temperature < float("inf"), "temperature is positive")
        self._check(0 <= self.shift <= 16, "shift is 0 to 16 pixels")

    def _check(self, holds: bool, rule: str) -> None:
        if not holds:
            raise RecipeError(f"{self}: {rule}")


@dataclass(frozen=True)
class Stage(Fit):
    """One stage of `lissome compress`: settle a family of methods (or none), then train.

    settle: "" (train as it is: the dense network first, or a last fine-tuning), "shrink" (cut channels out, as the
    recipe's `Shrink` says; saliency "taylor" sees the first 500 training images), or a family: "factorize", "prune",
    "share", "quantize". Calibrated methods see the first 500 training images, without their labels. Layers are replaced
    where the first stage that settles begins.
    prepare: what is done to the network before any method goes onto it, where the first stage that settles begins: ""
    (nothing), "fold" (batch norms into the layers before them) or "equalise" (that, and the ranges of channels made
    equal, as quantization after training likes them).
    schedule: "one-shot" (full strength, then train), "iterative" (`rounds` times: a step of strength, then
    train, with a learning rate that starts anew) or
    "cubic" (Zhu and Gupta 2017: strength rises as 1 − (1 − t)³ over the first `ramp` share of the steps, then holds).
    """

    settle: str = ""
    prepare: str = ""
    schedule: str = "one-shot"
    rounds: int = 1
    ramp: float = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(self.settle in ("", *SETTLED), f"settle is one of {', '.join(SETTLED)}, or empty")
        self._check(self.prepare in PREPARATIONS, "prepare is fold or equalise, or empty")
        self._check(not self.prepare or bool(self.settle), "a stage that settles nothing has nothing to prepare for")
        self._check(self.schedule in SCHEDULES, f"schedule is one of {', '.join(SCHEDULES)}")
        self._check(self.schedule == "one-shot" or self.settle == "prune", "only pruning has a gradual schedule")
        self._check(self.rounds >= 1, "rounds is 1 or more")
        self._check(0 < self.ramp <= 1, "ramp is in (0, 1]")


@dataclass(frozen=True)
class Teacher(Fit):
    """A network of lissome.models that is trained first, as `Fit` says, and that the stages then distil from.

    Without a teacher, stages distil from the dense network that they compress.
    """

    network: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(bool(self.network), "network names the teacher, for example 'lenet-5'")


@dataclass(frozen=True)
class Shrink:
    """The options of `lissome.shrink`, checked; their meaning is told there."""

    macs: float | None = None
    channels: float | None = None
    zeros: bool = False
    saliency: str = "l2"
    least: int = 1
    multiple: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        given = [name for name in ("macs", "channels", "zeros") if getattr(self, name) not in (None, False)]
        if len(given) != 1:
            raise RecipeError(f"shrink takes one of macs, channels and zeros, not {' and '.join(given) or 'none'}")
        share = getattr(self, given[0])
        if not self.zeros and not 0 < share < 1:
            raise RecipeError(f"shrink: {given[0]} is the share to keep, in (0, 1), not {share!r}")
        if self.saliency not in SALIENCIES:
            raise RecipeError(f"shrink: saliency is one of {', '.join(SALIENCIES)}, not {self.saliency!r}")
        if self.least < 1 or self.multiple < 1:
            raise RecipeError(f"shrink: least and multiple are 1 or more, not {self.least} and {self.multiple}")


@dataclass(frozen=True)
class Recipe:
    """Ordered (selector, methods) rules, first match wins; a seed; for `lissome compress` stages, a teacher, and how
    the network shrinks. Prints as a table.

    Raises RecipeError for empty selectors, unknown methods, two methods of one family in a rule, a family order other
    than that of FAMILIES (in a rule or over the stages), a stage that settles what no rule names, a `shrink` that no
    stage settles, and one by zeros, which only Python code can place after its training.
    """

    rules: tuple[tuple[str, tuple[Method, ...]], ...] = ()
    stages: tuple[Stage, ...] = ()
    seed: int = 0
    teacher: Teacher | None = None
    shrink: Shrink | None = None

    def __init__(
        self,
        rules: Sequence[tuple[str, Sequence[Method]]] = (),
        stages: Sequence[Stage] = (),
        seed: int = 0,
        teacher: Teacher | None = None,
        shrink: Shrink | None = None,
    ) -> None:
        object.__setattr__(self, "rules", tuple((select, tuple(methods)) for select, methods in rules))
        object.__setattr__(self, "stages", tuple(stages))
        object.__setattr__(self, "seed", seed)
        object.__setattr__(self, "teacher", teacher)
        object.__setattr__(self, "shrink", shrink)
        for number, (select, methods) in enumerate(self.rules, 1):
            where = f"rule {number} of {len(self.rules)} ({select!r})"
            if not isinstance(select, str) or not all(select.split("|")):
                raise RecipeError(f"rule {number} of {len(self.rules)} has no selector; use '*' for every weight")
            for method in methods:
                if not isinstance(method, Method):
                    raise RecipeError(
                        f"{where}: {method!r} is not a method; use for example prune.Magnitude(sparsity=0.9)"
                    )
            order = [FAMILIES.index(method.family) for method in methods]
            if order != sorted(set(order)):
                raise RecipeError(
                    f"{where}: one method a family, in the order {' → '.join(FAMILIES)}, not "
                    f"{' → '.join(method.label for method in methods)}"
                )
        self._check_stages()
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**63:
            raise RecipeError(f"seed is a whole number from 0, not {seed!r}")

    def _check_stages(self) -> None:
        known = {method.family for _, methods in self.rules for method in methods}
        if self.shrink is not None:
            known.add("shrink")
            if self.shrink.zeros:
                raise RecipeError("[shrink] takes macs or channels; zeros go by themselves when the file is packed")
            if all(isinstance(stage, Stage) and stage.settle != "shrink" for stage in self.stages):
                raise RecipeError('the recipe has [shrink], but no stage with settle = "shrink"')
        settled: list[int] = []
        for number, stage in enumerate(self.stages, 1):
            where = f"stage {number} of {len(self.stages)}"
            if not isinstance(stage, Stage):
                raise RecipeError(f"{where}: {stage!r} is not a Stage")
            if stage.settle:
                settled.append(SETTLED.index(stage.settle))
                if stage.prepare and len(settled) > 1:
                    raise RecipeError(f"{where} prepares the network, but only the first stage that settles can")
                if stage.settle not in known:
                    lacking = (
                        "there is no [shrink]" if stage.settle == "shrink" else "no rule has a method of that family"
                    )
                    raise RecipeError(f"{where} settles {stage.settle!r}, but {lacking}")
                if settled != sorted(set(settled)):
                    raise RecipeError(
                        f"{where} settles {stage.settle!r}; once each, in the order {' → '.join(SETTLED)}"
                    )

    def assign(self, weights: Sequence[tuple[tuple[str, ...], int]]) -> list[int | None]:
        """Index of the rule that governs each weight, given (names such as ``fc1.weight``, dimensions); None for no
        rule. A weight with several names is selected by any of them.

        Raises RecipeError when a rule selects nothing at all, listing what there is to select.
        """
        chosen: list[int | None] = []
        matched = [False] * len(self.rules)
        for names, dims in weights:
            winner = None
            for number, (select, _) in enumerate(self.rules):
                if any(_selects(select, where, dims) for where in names):
                    matched[number] = True
                    winner = number if winner is None else winner
            chosen.append(winner)
        for number, hit in enumerate(matched):
            if not hit:
                raise RecipeError(
                    f"rule {number + 1} of {len(self.rules)} selects {self.rules[number][0]!r}, "
                    f"which matches no weight; there are: {', '.join(names[0] for names, _ in weights) or 'none'}"
                )
        return chosen

    def __str__(self) -> str:
        rows = [("select", "methods"), *((select, " → ".join(map(str, methods))) for select, methods in self.rules)]
        width = max(5, *(len(row[0]) for row in rows))
        lines = [f"{select:<{width}}  {methods}".rstrip() for select, methods in rows]
        trainings: list[tuple[str, Fit]] = [("teacher", self.teacher)] if self.teacher is not None else []
        if self.shrink is not None:
            lines.append(f"{'shrink':<{width}}  {', '.join(_pairs(_differing(self.shrink)))}")
        trainings += [(stage.settle or "train", stage) for stage in self.stages]
        lines += [f"{name:<{width}}  {', '.join(_pairs(_differing(options)))}" for name, options in trainings]
        return "\n".join([*lines, f"{'seed':<{width}}  {self.seed}"])

    def to_toml(self) -> str:
        """The recipe as TOML text; `from_toml` is the inverse."""
        lines = [f"seed = {self.seed}"]
        for select, methods in self.rules:
            entries = (", ".join(_pairs({"use": m.label, **m.options()})) for m in methods)
            lines += ["", "[[rule]]", f"select = {_value(select)}", "methods = ["]
            lines += [f"  {{ {entry} }}," for entry in entries]
            lines += ["]"]
        if self.teacher is not None:
            lines += ["", "[teacher]", *_pairs(_differing(self.teacher))]
        if self.shrink is not None:
            lines += ["", "[shrink]", *_pairs(_differing(self.shrink))]
        for stage in self.stages:
            lines += ["", "[[stage]]", *_pairs(_differing(stage))]
        return "\n".join(lines) + "\n"

    @classmethod
    def from_toml(cls, text: str) -> Recipe:
        """Parse TOML text. Raises RecipeError that names the rule or stage and the key at fault."""
        try:
            plain = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(f"the recipe is not TOML: {error}") from error
        _known(plain, {"seed", "rule", "stage", "teacher", "shrink"}, "the recipe")
        rules = []
        for number, rule in enumerate(_tables(plain, "rule"), 1):
            where = f"rule {number}"
            _known(rule, {"select", "methods"}, where)
            methods = rule.get("methods", [])
            if not isinstance(methods, list) or not all(isinstance(item, dict) for item in methods):
                raise RecipeError(
                    f'{where}: methods is a list of tables such as {{ use = "prune.Magnitude", sparsity = 0.9 }}'
                )
            rules.append((rule.get("select", ""), [_method(item, where) for item in methods]))
        stages = [_build(Stage, stage, f"stage {n}") for n, stage in enumerate(_tables(plain, "stage"), 1)]
        teacher, shrink = (
            _build(kind, table, name) if (table := _table(plain, name)) is not None else None
            for name, kind in (("teacher", Teacher), ("shrink", Shrink))
        )
        return cls(rules, stages, plain.get("seed", 0), teacher, shrink)

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Read a TOML file. Raises RecipeError that names the file."""
        try:
            return cls.from_toml(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"cannot read recipe {path}: {error}") from error
        except RecipeError as error:
            raise RecipeError(f"{path}: {error}") from error


def _selects(select: str, where: str, dims: int) -> bool:
    if "|" in select:
        return any(_selects(part, where, dims) for part in select.split("|"))
    if select.endswith((".bias", ".weight")) or select in ("bias", "weight"):
        return fnmatchcase(where, select) or fnmatchcase(where, select.removeprefix("*."))
    module, _, parameter = where.rpartition(".")
    return parameter == "weight" and dims > 1 and fnmatchcase(module, select)


def _method(table: Mapping[str, Any], where: str) -> Method:
    options = dict(table)
    label = options.pop("use", "")
    family, _, name = str(label).partition(".")
    package = importlib.import_module(f"lissome.compress.{family}") if family in FAMILIES else None
    if package is None or name not in package.__all__:
        known = [
            f"{each}.{method}"
            for each in FAMILIES
            for method in importlib.import_module(f"lissome.compress.{each}").__all__
        ]
        raise RecipeError(f"{where}: unknown method {label!r}; known: {', '.join(known)}")
    built = _build(getattr(package, name), options, f"{where}, {label}")
    if not isinstance(built, Method):
        raise RecipeError(f"{where}: {label!r} is not a method")
    return built


def _build(kind: type[Any], options: Mapping[str, Any], where: str) -> Any:
    """`kind(**options)` for a dataclass, with every value's type checked against the field's annotation."""
    known = {item.name: item for item in fields(kind)}
    _known(options, set(known), where)
    for name, value in options.items():
        annotation = str(known[name].type)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = (
            ("int" in annotation and number and isinstance(value, int))
            or ("float" in annotation and number)
            or ("str" in annotation and isinstance(value, str))
            or ("bool" in annotation and isinstance(value, bool))
        )
        if not fits:
            raise RecipeError(f"{where}: {name} is {annotation.replace(' | None', '')}, not {value!r}")
    try:
        return kind(**options)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from error


def _known(table: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise RecipeError(f"{where}: unknown key {key!r}; known: {', '.join(sorted(known))}")


def _tables(plain: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = plain.get(key, [])
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise RecipeError(f"{key} is written as [[{key}]], a list of tables")
    return found


def _table(plain: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    found = plain.get(key)
    if found is not None and not isinstance(found, dict):
        raise RecipeError(f"{key} is written as [{key}], a table")
    return found


def _differing(value: Any) -> dict[str, Any]:
    kept = {}
    for item in fields(value):
        found = getattr(value, item.name)
        if item.name == "epochs" or item.default is MISSING or found != item.default:
            kept[item.name] = found
    return kept


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in table.items()]


def _value(value: object) -> str:
    """A TOML value; JSON's strings and numbers are TOML's too, but for DEL, which TOML wants escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
