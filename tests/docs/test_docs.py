"""The documentation is checked: its programs run, its links lead somewhere, the files and tests it names exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TUTORIALS = sorted((ROOT / "docs/tutorial").glob("*.md"))


def name_of(path):
    """A page's path in the repository."""
    return str(path.relative_to(ROOT))


def programs(page):
    """The Python blocks of a page, each padded so that a traceback shows the page's own line."""
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield "\n" * text[: match.start(1)].count("\n") + match[1]


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=name_of)
def test_tutorial_runs(page, tmp_path, monkeypatch):
    """Every block of a tutorial runs, in order, in one namespace, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    blocks = list(programs(page))
    assert blocks
    namespace = {"__name__": "__main__"}
    for block in blocks:
        exec(compile(block, str(page), "exec"), namespace)  # noqa: S102, our own pages


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_on_a_page_is_python(page):
    """Blocks that are not run (they name a user's own model) are at least valid Python."""
    for block in programs(page):
        ast.parse(block)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    """A relative link on a page is a file of the repository."""
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{target} does not exist"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_named_on_a_page_exist(page):
    """A path written as code that begins in one of the source folders is a file or a folder."""
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"`((?:src|native|tests|bench|docs|examples|tools)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), f"{path} does not exist"


def test_papers_that_pages_cite_are_listed():
    """Every [@key] on a page is an entry of papers.bib, and each entry is cited somewhere."""
    entries = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "docs/papers.bib").read_text(encoding="utf-8"), re.MULTILINE))
    cited = {key for page in PAGES for key in re.findall(r"\[@(\w+)\]", page.read_text(encoding="utf-8"))}
    assert cited == entries


def test_decisions_are_numbered_without_gaps():
    """Decision records are 0001, 0002, …, and each has its four parts."""
    records = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert [int(record.name[:4]) for record in records] == list(range(1, len(records) + 1))
    for record in records:
        text = record.read_text(encoding="utf-8")
        for part in ("## Context", "## Choice", "## Alternatives", "## Consequences"):
            assert part in text, f"{record.name} lacks {part}"
