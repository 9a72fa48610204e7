"""
Writes the sources of the documentation: README as the front page, and a page for each public name.

``python coreclaw_async/_tools/docs/write_pages.py FOLDER`` writes them, and ``nox -s docs`` has Sphinx build from them.
All text comes from README, its neighbours and the docstrings, so there is no second place in which to keep it true.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import coreclaw_async
from coreclaw_async import AsyncCoreClaw, batch, callbacks, cli, distributed, errors, events, models, otel, testing
from coreclaw_async._operations.lazy_group import LazyGroup
from coreclaw_async.distributed import dask, shards
from coreclaw_async.testing import faults

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "tests" / "examples"
CHAPTERS = ("Guides", "Clients", "Operations", "Models", "Errors", "Batches", "Events", "Testing", "Examples")
GUIDES = {
    "Batches": batch,
    "Batches on several machines": distributed,
    "The command line": cli,
    "Callbacks and web backends": callbacks,
    "Models as JSON": models,
    "All errors": errors,
    "Events and the log": events,
    "Testing with the fake": testing,
}
"""The modules whose docstrings are guides, by the titles of their pages."""

_FRONT = """

```{{toctree}}
:hidden:
:maxdepth: 1

{pages}
```
"""
_CHAPTER = """\
{title}
{line}

{text}

.. toctree::
   :maxdepth: 1

{pages}
"""
_IN_EXAMPLES = (
    "In the examples, names of the package and of the standard library are imported, ``client`` is an open "
    "``AsyncCoreClaw``, ``run`` a run that has ended, ``batch`` an open batch, and ``task_id`` and ``queue_id`` are "
    "ids. With ``CoreClaw`` they have no ``await`` and ``async``."
)
_TEXTS = {
    "Guides": "How to use the package, by topic.",
    "Testing": f"{_IN_EXAMPLES} ``service`` is a ``FakeService``, which the client talks to.",
    "Examples": "Whole programs. Each of them runs in the tests.",
}
_PAGE = """\
{title}
{line}

.. currentmodule:: {module}

.. {directive}:: {path}
"""
_GUIDE = """\
{title}
{line}

.. automodule:: {module}
"""
_MADE_BY_CLIENTS = {"AsyncBatch", "AsyncPager", "AsyncStream", "Batch", "FaultPlan", "Pager", "Stream"}
_OF_A_CLASS = """\
   :members:
   :inherited-members: Exception,Mapping,Sequence,Iterator,AsyncIterator,Generic,Enum,str,int
"""


def _groups() -> dict[str, str]:
    names = [name for name, member in vars(AsyncCoreClaw).items() if isinstance(member, LazyGroup)]
    groups: dict[str, type[object]] = {name: getattr(AsyncCoreClaw, name) for name in names}
    return {name: f"coreclaw_async.{kind.__name__}" for name, kind in groups.items()}


GROUPS = _groups()


def pages() -> Iterator[tuple[str, str, str]]:
    """Yield chapter, title and import path of each page of the reference."""
    for group, path in GROUPS.items():
        yield "Operations", f"client.{group}", path
    for name in coreclaw_async.__all__:
        if name != "__version__" and f"coreclaw_async.{name}" not in GROUPS.values():
            yield chapter_of(name), name, f"coreclaw_async.{name}"
    for name in testing.__all__:
        if not inspect.ismodule(getattr(testing, name)) and name not in own_names(faults):
            yield "Testing", name, f"{testing.__name__}.{name}"
    yield "Clients", "AccessLogFilter", "coreclaw_async.callbacks.AccessLogFilter"
    for module, chapter in ((dask, "Batches"), (events, "Events"), (otel, "Events"), (faults, "Testing")):
        for name in own_names(module):
            yield chapter, name, f"{module.__name__}.{name}"


def chapter_of(name: str) -> str:
    """Return the chapter of a name that the package itself offers."""
    if hasattr(errors, name):
        return "Errors"
    if name in models.__all__:
        return "Models"
    if name.startswith("Sync"):
        return "Operations"
    if name in {*batch.__all__, "Batch"} or name in own_names(shards):
        return "Batches"
    return "Clients"


def own_names(module: ModuleType) -> list[str]:
    """Return the functions and classes that *module* defines for its users, in its order."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__ and callable(value)
    ]


def page(title: str, path: str) -> str:
    """Return the page of one name."""
    module, _, name = path.rpartition(".")
    value = getattr(sys.modules[module], name)
    directive = "autodata"
    if inspect.isclass(value):
        directive = "autoclass"
    elif inspect.isfunction(value):
        directive = "autofunction"
    is_group = f"{module}.{name.replace('Sync', 'Async')}" in GROUPS.values()
    if is_group or name in _MADE_BY_CLIENTS:
        path = f"{path}()"  # What it takes is nobody's business.
    text = _PAGE.format(title=title, line="=" * len(title), module=module, directive=directive, path=path)
    if directive == "autodata":
        text += f"\n   {text_of_alias(name)}\n"
    if not inspect.isclass(value) or (is_group and name.startswith("Sync")):
        return text  # The methods of a blocking group are those of the async one.
    if issubclass(value, Exception):
        return f"{text}{_OF_A_CLASS}   :exclude-members: add_note, with_traceback\n   :show-inheritance:\n"
    if "Args:" in (value.__init__.__doc__ or ""):
        text += "   :class-doc-from: both\n"
    # Its docstring describes the groups, and each has a page.
    groups = [group for group in GROUPS if group in vars(value)]
    return text + _OF_A_CLASS + (f"   :exclude-members: {', '.join(groups)}\n" if groups else "")


def text_of_alias(name: str) -> str:
    """Return the text below the definition of a type, which Python does not keep."""
    for path in sorted(Path(coreclaw_async.__file__).parent.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if f"\n{name}: TypeAlias = " not in source:
            continue
        text = next(
            text
            for statement, text in pairwise(ast.parse(source).body)
            if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == name
        )
        assert isinstance(text, ast.Expr), f"{name} has no text below it in {path}"
        return inspect.cleandoc(ast.literal_eval(text.value))
    raise LookupError(name)


def write_reference(folder: Path) -> dict[str, list[str]]:
    """Write the pages of the reference to *folder*, and return their names by chapter."""
    chapters: dict[str, list[str]] = {chapter: [] for chapter in CHAPTERS}
    for chapter, title, path in pages():
        chapters[chapter].append(path)
        (folder / f"{path}.rst").write_text(page(title, path), encoding="utf-8")
    return chapters


def write_guides(folder: Path) -> list[str]:
    """Write a page for each guide, and return their names."""
    for title, module in GUIDES.items():
        text = _GUIDE.format(title=title, line="=" * len(title), module=module.__name__)
        (folder / f"{module.__name__}.rst").write_text(text, encoding="utf-8")
    return [module.__name__ for module in GUIDES.values()]


def write_chapters(folder: Path, chapters: Mapping[str, Sequence[str]]) -> None:
    """Write a page for each of the *chapters*, which lists its pages."""
    for chapter, paths in chapters.items():
        listed = "\n".join(f"   {path}" for path in paths)
        text = _TEXTS.get(chapter, _IN_EXAMPLES)
        text = _CHAPTER.format(title=chapter, line="=" * len(chapter), text=text, pages=listed)
        (folder / f"{chapter.lower()}.rst").write_text(text, encoding="utf-8")


def write_examples(folder: Path, names: Iterable[str]) -> None:
    """Write a page for each of the examples *names* to *folder*."""
    for name in names:
        text = (EXAMPLES / name).read_text(encoding="utf-8")
        if name.endswith(".ipynb"):
            body = as_markdown(json.loads(text)["cells"])
        else:
            body = f"```{'python' if name.endswith('.py') else 'text'}\n{text}```"
        (folder / f"{name}.md").write_text(f"# {name}\n\n{body}\n", encoding="utf-8")


def as_markdown(cells: Iterable[dict[str, Any]]) -> str:
    """Return the cells of a notebook as Markdown, their headings one level lower."""
    forms = {"markdown": "#{}", "code": "```python\n{}\n```"}
    return "\n\n".join(forms[cell["cell_type"]].format("".join(cell["source"])) for cell in cells)


def main(folder: Path) -> None:
    """Write everything to *folder*, which is there and empty."""
    front = (ROOT / "README.md").read_text(encoding="utf-8")
    examples = list(dict.fromkeys(re.findall(r"\]\(tests/examples/([\w.]+)\)", front)))
    front = re.sub(r"\]\(tests/examples/([\w.]+)\)", r"](\1.md)", front).replace("](.github/", "](")
    front = front.replace(".github/pictures/", "")  # Sphinx copies the pictures beside the pages.
    neighbours = ("CHANGELOG.md", ".github/CONTRIBUTING.md", ".github/SECURITY.md")
    for path in (ROOT / name for name in neighbours):
        text = path.read_text(encoding="utf-8").replace("](../", "](")
        (folder / path.name).write_text(text, encoding="utf-8")
    write_examples(folder, examples)
    write_chapters(folder, write_reference(folder) | {"Guides": write_guides(folder), "Examples": examples})
    listed = [*(chapter.lower() for chapter in CHAPTERS), "CHANGELOG", "CONTRIBUTING", "SECURITY"]
    (folder / "index.md").write_text(front + _FRONT.format(pages="\n".join(listed)), encoding="utf-8")


if __name__ == "__main__":  # pragma: no cover - `nox -s docs` runs it
    main(Path(sys.argv[1]))
