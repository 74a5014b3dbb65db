"""The package as a whole: what is installed, what importing it costs, and the budgets that every source file keeps."""

import ast
import importlib.metadata
import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lissome as ls
from lissome import weights
from lissome.graph import Graph, Node, TensorSpec

ROOT = Path(__file__).parents[1]
INSTALLED = Path(ls.__file__).parent
PYTHON = sorted(p for folder in ("src", "tests", "bench", "examples") for p in (ROOT / folder).rglob("*.py"))
NATIVE = sorted(p for p in (ROOT / "native").rglob("*") if p.suffix in (".cpp", ".h"))
TEXT = {".py", ".cpp", ".h", ".md", ".toml", ".txt", ".yml", ".yaml", ".cff", ".bib", ".sh", ".json", ".cmake", ""}


def name_of(path):
    """A file's path in the repository, to name a test's case by."""
    return str(path.relative_to(ROOT))


def python(program, *arguments):
    """Standard output of a Python program in a process of its own, which must end well."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ls.__all__)
def test_every_public_name_resolves(name):
    """Each name in __all__ is found, listed by dir(), and documented."""
    value = getattr(ls, name)
    assert name in dir(ls)
    assert name == "__version__" or value.__doc__


def test_public_names_are_the_lazy_ones_and_few():
    """__all__ is written out for type checkers, says exactly what resolves lazily, and stays at 31 names or fewer."""
    assert sorted(ls.__all__) == sorted(["__version__", *ls._HOME, *ls._MODULES])
    assert len(ls.__all__) <= 31


def test_an_unknown_name_is_an_attribute_error():
    """Lazy names do not swallow misspelt ones."""
    with pytest.raises(AttributeError, match="module 'lissome' has no attribute 'compres'"):
        ls.compres  # noqa: B018


def test_names_for_type_checkers_are_the_public_names():
    """What __init__ imports under TYPE_CHECKING is what it resolves at run time: no more, no less."""
    tree = ast.parse((INSTALLED / "__init__.py").read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {alias.asname or alias.name for node in guarded.body for alias in node.names}
    assert imported | {"__version__"} == set(ls.__all__)


def test_version_is_the_installed_packages():
    """The module, the package's metadata and the citation file say the same version."""
    assert ls.__version__ == importlib.metadata.version("lissome")
    assert f"\nversion: {ls.__version__}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.parametrize("file", ["py.typed", "_native.pyi"])
def test_types_are_shipped(file):
    """The installed package is marked as typed and carries the stub of its native module."""
    assert (INSTALLED / file).is_file()


def test_stub_describes_every_native_function():
    """The stub is made from the module that is shipped beside it: each public function is in it, with its types."""
    from lissome import _native

    stub = ast.parse((INSTALLED / "_native.pyi").read_text())
    described = {node.name: node for node in stub.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    public = {name for name in vars(_native) if not name.startswith("_")}
    assert public <= set(described)
    for name, node in described.items():
        assert isinstance(node, ast.ClassDef) or node.returns is not None, f"{name} has no return type"


RUN_A_FILE = """
import sys
import numpy as np

allowed = {"numpy", "lissome"} | set(sys.stdlib_module_names)

class NumpyOnly:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            raise ModuleNotFoundError(f"not allowed here: {name}", name=name.partition(".")[0])

sys.meta_path.insert(0, NumpyOnly())
import lissome as ls

before = set(sys.modules)
engine = ls.compile(ls.load(sys.argv[1]))
y = engine(np.array([[1, 2, 3, 4]], np.float32))
print(y.tolist())
ls.inspect(sys.argv[1])
assert "torch" not in sys.modules
"""


def test_running_a_file_needs_numpy_only(tmp_path):
    """import, load, compile, run and inspect in a process where nothing but NumPy and lissome can be imported."""
    weight = weights.Sparse((2, 4), np.array([0, 7]), weights.Dense(np.array([2, 3], np.float32)))
    bias = weights.Dense(np.array([0.5, -0.5], np.float32))
    gemm = Node("Gemm", "fc", ("x", "w", "b"), ("y",), {"transB": 1})
    graph = Graph((gemm,), (TensorSpec("x", ("N", 4)),), ("y",), ("w", "b"))
    path = tmp_path / "tiny.liss"
    ls.save(ls.Network(graph, {"w": weight, "b": bias}), path)
    assert python(RUN_A_FILE, path).strip() == "[[2.5, 11.5]]"


def test_importing_lissome_imports_nothing_heavy():
    """`import lissome` alone loads neither NumPy nor its own subpackages."""
    program = "import sys, lissome; print(sorted({'numpy', 'torch', 'lissome.errors'} & set(sys.modules)))"
    assert python(program).strip() == "[]"


@pytest.mark.parametrize("path", PYTHON, ids=name_of)
def test_python_file_keeps_its_budget(path):
    """At most 600 lines: past that a file holds more than one idea."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 600


@pytest.mark.parametrize("path", NATIVE, ids=name_of)
def test_native_file_keeps_its_rules(path):
    """At most 400 lines, opens with what it is, and knows Python only in bindings/."""
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    if path.suffix == ".h":
        assert text.startswith("//"), "a header opens with a comment that says what it is"
        assert "#pragma once" in text
    if "bindings" not in path.parts:
        assert not re.search(r'#include\s*[<"](Python\.h|nanobind|bindings)', text)


@pytest.mark.parametrize("path", [p for p in PYTHON if "src" in p.parts], ids=name_of)
def test_every_module_and_class_says_what_it_is(path):
    """A reader who opens any file of the package is told what it is, and what each class in it stands for."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the module has no docstring"
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


@pytest.mark.parametrize("name", [n for n in ls.__all__ if not n.startswith("_")])
def test_what_is_public_has_a_docstring(name):
    """Each public class and function, and each one in a public module's own __all__, is documented with its methods."""
    value = getattr(ls, name)
    members = [getattr(value, n) for n in getattr(value, "__all__", ())] if inspect.ismodule(value) else [value]
    for member in members:
        if not callable(member):
            continue
        assert member.__doc__, f"{name}: {member} has no docstring"
        for attribute, method in vars(member).items() if inspect.isclass(member) else ():
            if inspect.isfunction(method) and not attribute.startswith("_"):
                assert inspect.getdoc(getattr(member, attribute)) or name == "weights", f"{member}.{attribute}"


@pytest.mark.parametrize("path", [p for p in PYTHON if p.name.startswith("test_")], ids=name_of)
def test_every_test_says_its_rule(path):
    """Each test function has a docstring: the rule that it checks."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            assert ast.get_docstring(node), f"{node.name} does not say its rule"


def test_one_file_calls_parametrize():
    """Parametrizations are put on and taken off in compress/apply.py alone."""
    callers = {
        name_of(path)
        for path in PYTHON
        if "src" in path.parts and "nn.utils import parametrize" in path.read_text(encoding="utf-8")
    }
    assert callers == {"src/lissome/compress/apply.py"}


def test_no_path_of_one_machine():
    """No tracked text names a folder that only one machine has."""
    pattern = re.compile(rf"(^|[^A-Za-z0-9_.])/({'|'.join(['wo' + 'rk', 'ro' + 'ot', 'ho' + 'me'])})/", re.MULTILINE)
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout, so what is tracked is not known")
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix in TEXT and path.is_file():
            assert not pattern.search(path.read_text(encoding="utf-8")), name
