"""What the package offers: complete, sorted, documented, and quick to import."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import client_groups
import pytest
from documented_operations import OPERATIONS

import coreclaw_async
from coreclaw_async import AsyncCoreClaw, errors, events, models
from coreclaw_async._data.frozen import Frozen

OFFERED = {name: getattr(coreclaw_async, name) for name in coreclaw_async.__all__}
CLASSES = [
    kind
    for kind in [*OFFERED.values(), *(value for value in vars(events).values() if value is not models.Run)]
    if inspect.isclass(kind) and kind.__module__.startswith("coreclaw_async")
]
GROUPS = {name: getattr(AsyncCoreClaw, name) for name in client_groups.GROUPS}
CALLS = {
    f"{group_name}.{name}": call
    for group_name, group in GROUPS.items()
    for name, call in inspect.getmembers(group, inspect.isfunction)
    if not name.startswith("_")
}
# Calls that are made of others; their docstrings name those.
COMPOSED = {"workers.run": "start_run", "tasks.run": "start_run", "runs.download": "export"}
ENDPOINT = re.compile(r"``(?:(GET|POST|PUT|DELETE) )?(/api/v2/[\w/{}-]+)``")
REPEATING = re.compile(r"retried|Looks that fail do not end the wait", re.IGNORECASE)


def endpoints_of(call: Callable[..., Any]) -> set[str]:
    """Return the operations that a docstring names; a path without a method has that of the one before it."""
    method = ""
    named: set[str] = set()
    for found in ENDPOINT.finditer(inspect.getdoc(call) or ""):
        method = found[1] or method
        named.add(f"{method} {found[2].removeprefix('/api/v2')}")
    return named


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_signatures_show_types_as_they_are_written(kind: type) -> None:
    assert "ForwardRef" not in str(inspect.signature(kind))


def test_names_are_sorted_and_all_there() -> None:
    tree = ast.parse(Path(coreclaw_async.__file__).read_text("utf-8"))
    late = [node for block in tree.body if isinstance(block, ast.If) for node in block.body]
    imported = {alias.name for node in [*tree.body, *late] if isinstance(node, ast.ImportFrom) for alias in node.names}

    assert coreclaw_async.__all__ == sorted(coreclaw_async.__all__) == dir(coreclaw_async)
    assert imported - {"TYPE_CHECKING", "late_names"} == set(coreclaw_async.__all__)


def test_a_name_that_is_not_offered_is_an_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'batches'"):
        coreclaw_async.batches  # type: ignore[attr-defined]  # noqa: B018 - it is looked up


@pytest.mark.parametrize("name", ["callbacks", "errors", "events", "models", "progress"])
def test_a_module_of_public_names_is_there_without_an_import_of_its_own(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delattr(coreclaw_async, name, raising=False)

    assert getattr(coreclaw_async, name) is importlib.import_module(f"coreclaw_async.{name}")


def test_every_model_and_error_is_offered_at_the_top() -> None:
    public_errors = {
        name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, errors.CoreClawError)
    }

    assert set(models.__all__) <= set(OFFERED)
    assert {name for name in public_errors if not name.startswith("_")} <= set(OFFERED)


@pytest.mark.parametrize("module", [module.name for module in pkgutil.iter_modules(models.__path__)])
def test_every_class_of_models_is_offered_there(module: str) -> None:
    name = f"{models.__name__}.{module}"
    members = inspect.getmembers(importlib.import_module(name), inspect.isclass)
    own = {kind.__name__ for _, kind in members if kind.__module__ == name}

    assert own - set(models.__all__) == set(), f"these are in {name} and not in models.__all__"


def test_every_annotation_of_a_public_call_can_be_had() -> None:
    for call in CALLS.values():
        assert inspect.signature(call, eval_str=True).return_annotation is not inspect.Signature.empty


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_class_and_its_methods_are_documented(kind: type) -> None:
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}("), "a docstring of its own"
    for name, member in vars(kind).items():
        if name.startswith("_") or issubclass(kind, Enum):
            continue
        function = member.fget if isinstance(member, property) else member
        if inspect.isfunction(function):
            assert function.__doc__, f"{kind.__name__}.{name}"


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_members_of_a_model_are_described_by_name(kind: Any) -> None:
    if kind is events.RunStarted:
        return
    members, _, _ = (inspect.getdoc(kind) or "").partition("\nRaises:")
    described = set(re.findall(r"^ {4}(\w+): ", members, re.MULTILINE))
    if issubclass(kind, Frozen):
        assert vars(kind()).keys() == described
    elif hasattr(kind, "__attrs_attrs__"):
        assert {field.name for field in kind.__attrs_attrs__ if not field.inherited} == described


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_group_is_documented_and_named_by_the_client(group: str) -> None:
    assert GROUPS[group].__doc__
    assert f"    {group}: " in (inspect.getdoc(AsyncCoreClaw) or "")


@pytest.mark.parametrize(
    "name",
    CALLS,
)
def test_call_names_its_endpoint_and_says_whether_it_is_retried(name: str) -> None:
    doc = inspect.getdoc(CALLS[name]) or ""

    if name in COMPOSED:
        assert f"`{COMPOSED[name]}`" in doc
    else:
        assert endpoints_of(CALLS[name])
        assert REPEATING.search(doc)


@pytest.mark.parametrize("name", CALLS)
def test_call_describes_every_argument(name: str) -> None:
    doc = inspect.getdoc(CALLS[name]) or ""
    arguments = [argument for argument in inspect.signature(CALLS[name]).parameters if argument != "self"]
    described = re.findall(r"^ {4}(\w+): ", doc.partition("Args:\n")[2].partition("Raises:\n")[0], re.MULTILINE)

    assert name in COMPOSED or described == arguments


def test_every_operation_is_named_by_some_call() -> None:
    named = set().union(*(endpoints_of(call) for call in CALLS.values()))
    published = {operation.endpoint for operation in OPERATIONS}

    assert named - published == set(), "these are in docstrings and not in tests/documented_operations.py"
    assert published - named == set(), "these are in tests/documented_operations.py and in no docstring"


def test_import_needs_no_extra_and_loads_nothing_that_can_wait() -> None:
    extras = ["aiohttp", "click", "pandas", "polars", "pyarrow", "pytest", "rich", "trio", "typer", "uvicorn"]
    late = ["backoff", "cattrs", "coreclaw_async.cli", "coreclaw_async.testing"]
    # For models and batches; to load attrs takes a fifth of the time that httpx takes.
    records = ["attr", "attrs", "cattrs", "dataclasses", "decimal"]
    # What a program needs that waits for runs, reads lists, starts batches, listens, or has a hub.
    used = ["_frames", "_paging.listing", "_polling.round", "_resources.runs", "batch", "events", "models.runs"]
    used += ["_data.plain", "_data.record", "_wire.any_request", "callbacks", "models.replies"]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({extras})); from coreclaw_async import AsyncCoreClaw; "
        f"client = AsyncCoreClaw('key'); print([name for name in {records} if name in sys.modules]); "
        f"print([name for name in {used} if 'coreclaw_async.' + name in sys.modules]); "
        f"from coreclaw_async import CoreClaw; print([name for name in {late} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert (done.stdout.split(), done.stderr) == (["[]", "[]", "[]"], "")


def test_reading_runs_loads_no_models_of_other_groups() -> None:
    others = ["account", "input_checks", "queue", "replies", "tasks", "workers"]
    program = (
        "import sys; from coreclaw_async import AsyncCoreClaw; AsyncCoreClaw('key').runs; "
        f"print([name for name in {others} if 'coreclaw_async.models.' + name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_import_compiles_no_pattern() -> None:
    program = (
        "import re, sys; from coreclaw_async import AsyncCoreClaw; AsyncCoreClaw('key'); "
        "print([f'{module}.{name}' for module, loaded in sorted(sys.modules.items()) "
        "if module.startswith('coreclaw_async') "
        "for name, value in vars(loaded).items() if isinstance(value, re.Pattern)])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert (done.stdout.strip(), done.stderr) == ("[]", ""), "`re` compiles a string at its first use"
