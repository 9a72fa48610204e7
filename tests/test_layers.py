"""Imports point down the layers and never up or around; libraries are known only where they belong."""

from __future__ import annotations

import ast
import functools
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import coreclaw_async

PACKAGE = Path(__file__).parents[1] / "coreclaw_async"  # Not as it is installed, which lacks `_tools`.
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
# From the lowest to the highest; modules of one layer may know each other, but not in a circle.
LAYERS = [
    {"_data"},
    {"_extras", "_late_names", "_logs", "_tracebacks", "_version", "errors", "events", "models", "progress"},
    {"_wire"},
    {"_concurrency", "_files", "_progress"},
    {"_http", "_frames"},
    {"_access_logs", "_paging", "_polling", "callbacks"},
    {"_operations"},
    {"_resources"},
    {"batch"},
    {"_client"},
    {"_sync"},
    {"distributed"},
    {""},  # The package itself, which offers the names.
    {"__main__", "_tools", "cli", "otel", "testing"},
]
LEVELS = {top: level for level, layer in enumerate(LAYERS) for top in layer}
HTTPX_IS_FOR = {"_http", "testing", "cli"}
HTTPX_IS_FOR |= {"_client", "_sync"}  # Their callers may bring their own httpx client.
ASYNCIO_IS_FOR = {
    "coreclaw_async._http.aiohttp_backend",
    "coreclaw_async._http.aiohttp_connector",
    "coreclaw_async._http.aiohttp_sessions",
    "coreclaw_async._sync.batches",
    "coreclaw_async._sync.loop_thread",
    "coreclaw_async._sync.runtime",
    "coreclaw_async.batch._store.postgres_driver",
}  # aiohttp and asyncpg are for it alone.
FRAMES_ARE_FOR = {"_frames", "_sync", "batch"}  # The last two for the types of what their methods return.
EXTRAS_ARE_FOR = {
    "aiohttp": {"_http"},
    "click": {"cli"},
    "pydantic_core": {"_data"},
    "opentelemetry": {"otel"},
    "pandas": FRAMES_ARE_FOR,
    "polars": FRAMES_ARE_FOR,
    "pyarrow": FRAMES_ARE_FOR,
    "pytest": {"testing"},
    "rich": {"_progress", "cli"},
    "typer": {"_tools", "cli"},
    "uvicorn": {"testing"},
}
MEANINGLESS = {"utils", "helpers", "common", "base"}


def top_of(module: str) -> str:
    return module.partition(".")[2].partition(".")[0]


@functools.cache
def read(module: str) -> tuple[frozenset[str], str]:
    """Return what *module* imports, and its docstring."""
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    return frozenset(_imports_of(module, tree)), ast.get_docstring(tree) or ""


def _imports_of(module: str, tree: ast.Module) -> Iterator[str]:
    """Yield what *module* imports, at its top, late, or for type checkers only."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else str(node.module)


@functools.cache
def own_imports() -> dict[str, set[str]]:
    return {module: {name for name in read(module)[0] if name in MODULES} for module in MODULES}


def foreign_imports(module: str) -> set[str]:
    return {name.partition(".")[0] for name in read(module)[0]} - {"coreclaw_async"}


def test_every_module_stands_in_a_layer() -> None:
    assert {top_of(module) for module in MODULES} == set(LEVELS)


def test_layers_are_those_that_the_package_describes() -> None:
    described = [
        {LEVELS[name] for name in re.findall(r"\b(_?\w+)`", line.partition(": ")[0])}
        for line in (coreclaw_async.__doc__ or "").splitlines()
        if line.startswith("*")
    ]

    assert [len(levels) for levels in described] == [1] * len(described)
    assert described == sorted(described, key=max, reverse=True)


def test_imports_point_down() -> None:
    above = {
        module: [name for name in names if LEVELS[top_of(name)] > LEVELS[top_of(module)]]
        for module, names in own_imports().items()
    }

    assert {module: names for module, names in above.items() if names} == {}


def test_imports_make_no_circle() -> None:
    graphlib.TopologicalSorter(own_imports()).prepare()


@pytest.mark.parametrize(
    ("library", "places"),
    [("trio", set()), ("requests", set()), ("httpcore", {"_http"}), ("httpx", HTTPX_IS_FOR), *EXTRAS_ARE_FOR.items()],
)
def test_library_is_known_only_where_it_belongs(library: str, places: set[str]) -> None:
    knowing = {module for module in MODULES if library in foreign_imports(module)}

    assert {module for module in knowing if top_of(module) not in places} == set()


def test_asyncio_is_known_only_where_it_belongs() -> None:
    assert {module for module in MODULES if "asyncio" in foreign_imports(module)} - ASYNCIO_IS_FOR == set()


def test_fake_service_is_a_second_reading_that_takes_nothing_from_the_first() -> None:
    beyond = {
        (module, name)
        for module, names in own_imports().items()
        for name in names
        if top_of(module) == "testing" and top_of(name) != "testing"
    }

    assert beyond == {("coreclaw_async.testing.pytest_plugin", "coreclaw_async")}


def test_modules_say_what_they_are_for_by_name_and_docstring() -> None:
    assert {module for module in MODULES if module.rpartition(".")[2].strip("_") in MEANINGLESS} == set()
    assert {module for module in MODULES if not read(module)[1]} == set()


def test_nothing_imports_the_scripts_and_those_that_write_code_import_nothing_of_the_package() -> None:
    for module, names in own_imports().items():
        assert {top_of(name) for name in names}.isdisjoint({"_tools"})
        if top_of(module) == "_tools" and not module.startswith("coreclaw_async._tools.docs"):
            assert names == set()


def test_wire_reads_no_clock_and_awaits_nothing() -> None:
    for module, path in MODULES.items():
        if top_of(module) == "_wire":
            assert foreign_imports(module).isdisjoint({"time", "anyio", "socket", "random", "os", "threading"})
            tree = ast.parse(path.read_text("utf-8"))
            assert not any(isinstance(node, ast.Await | ast.AsyncFunctionDef | ast.AsyncFor) for node in ast.walk(tree))


@pytest.mark.parametrize("folder", [module for module, path in MODULES.items() if path.stem == "__init__"][1:])
def test_folder_says_what_may_live_there_and_what_may_not(folder: str) -> None:
    told = read(folder)[1]

    for opening in ("Belongs here: ", "Does not belong here: "):
        assert re.search(f"^{opening}\\S.{{20,}}$", told, re.MULTILINE), f"{MODULES[folder]} has no line '{opening}...'"


def test_package_describes_each_of_its_modules_and_folders_and_none_that_is_not_there() -> None:
    quoted = re.findall(r"`+(?:coreclaw_async\.)?([\w./]+)`+", coreclaw_async.__doc__ or "")
    named = {name for name in quoted if not name[0].isupper()}
    # `testing.FakeService` is a name in a module, `_sync/generated.py` a file.
    tops = {re.split(r"[./]", name)[0] for name in named}

    assert tops - set(LEVELS) == set(), "these are described and not there"
    assert set(LEVELS) - tops == {"", "__main__", "_version"}, "these are there and not described"
    assert [name for name in quoted if name[0].isupper() and name not in coreclaw_async.__all__] == []
    assert [name for name in named if "/" in name and not (PACKAGE / name).exists()] == []
