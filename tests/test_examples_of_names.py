"""Each public class and function has an example in its docstring, and every line of every example runs."""

from __future__ import annotations

import ast
import contextlib
import inspect
import itertools
import re
import runpy
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import CodeType
from typing import Any

import anyio
import attrs
import httpx
import pytest

import coreclaw_async
from coreclaw_async import AsyncBatch, AsyncCoreClaw, BatchItemState, CoreClaw, RunSpec, events, testing
from coreclaw_async.distributed import dask
from coreclaw_async.testing import FakeService, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"
SCRIPT = Path(__file__).parent.parent / "coreclaw_async" / "_tools" / "docs" / "write_pages.py"
# Their methods are shown on their pages; those of other classes are few, or no user calls them.
WITH_METHODS = {"AsyncCoreClaw", "AsyncPager", "AsyncBatch", "testing.FakeService"}
BLOCKING = {"CoreClaw", "Pager", "Stream", "Batch"}
# What others call: httpx, or the clients.
NOT_FOR_USERS = {"handle_async_request", "aclose"}
# They say whose errors they raise.
ERRORS_ELSEWHERE = {"run_shard_async"}
LIBRARIES = {"to_arrow": "pyarrow", "to_parquet": "pyarrow", "to_pandas": "pandas", "to_polars": "polars"}


def example_of(value: object) -> str:
    """Return the example at the end of a docstring, or nothing."""
    _, _, text = (inspect.getdoc(value) or "").partition("Example::\n")
    return textwrap.dedent(text).strip()


def own_name(path: str) -> str:
    return path.removeprefix("coreclaw_async.").removeprefix("distributed.").replace("testing.faults.", "faults.")


def named() -> Iterator[tuple[str, Any]]:
    """Yield each public class and function, and the methods of the clients, their groups, pagers and batches."""
    tool = runpy.run_path(str(SCRIPT))
    groups = tool["GROUPS"].values()
    for _, _, path in tool["pages"]():
        module, _, last = path.rpartition(".")
        value = getattr(sys.modules[module], last)
        name = own_name(path)
        is_class = inspect.isclass(value) and name not in BLOCKING and path.replace("Sync", "Async") not in groups
        if is_class or inspect.isfunction(value):
            yield name, value
        if path in groups or name in WITH_METHODS:
            for method, function in inspect.getmembers(value, inspect.isfunction):
                if not method.startswith("_") and method not in NOT_FOR_USERS:
                    yield f"{name}.{method}", function


def blocking_twins() -> Iterator[tuple[str, Any]]:
    """Yield the methods of the blocking client and its groups, pagers and batches."""
    with CoreClaw("key") as client:
        kinds: list[type] = [type(value) for name, value in vars(client).items() if not name.startswith("_")]
    for kind in (*kinds, *(getattr(coreclaw_async, name) for name in sorted(BLOCKING))):
        yield kind.__name__, kind
        for method, function in inspect.getmembers(kind, inspect.isfunction):
            if not method.startswith("_") and example_of(function):
                yield f"{kind.__name__}.{method}", function


try:
    NAMED = dict(named())
except ImportError:  # pragma: no cover - the lowest versions, where some extras are missing
    pytest.skip("the pages need all extras", allow_module_level=True)
TWINS = {name: function for name, function in blocking_twins() if example_of(function)}


@attrs.frozen
class Scene:
    """What the examples take for granted: a service with some things in it, and an open client and batch."""

    service: FakeService
    batch: AsyncBatch
    names: dict[str, Any]


async def hold_an_item(scene: Scene) -> None:
    """Have an item whose start was never answered, with two runs that may be its run."""
    scene.service.faults.add(faults.commit_then_drop(), operation="runWorker")
    await scene.batch.plan([RunSpec(key="mate", worker_id=WORKER, input={"keywords": ["mate"]})])
    async for _ in scene.batch.run():
        pass


async def fail_an_abort(scene: Scene) -> None:
    """Have a run that cannot be aborted under way."""
    scene.service.default_script = RunScript(duration=10_000)
    with anyio.CancelScope() as scope:

        async def stop() -> None:
            while not (await scene.batch.report()).counts[BatchItemState.SUBMITTED]:
                await anyio.sleep(0.001)
            scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(stop)
            await anext(scene.batch.run())
            pytest.fail("the run ended before it was seen")
    scene.service.faults.add(faults.error(50002), operation="abortWorkerRun")


def often(fault: testing.Fault, operation: str | None = None) -> Callable[[Scene], None]:
    return lambda scene: scene.service.faults.add(fault, operation=operation, times=10_000)


def once(fault: testing.Fault, operation: str | None = None) -> Callable[[Scene], None]:
    return lambda scene: scene.service.faults.add(fault, operation=operation)


def with_(**switches: Any) -> Callable[[Scene], None]:
    def switch(scene: Scene) -> None:
        for name, value in switches.items():
            setattr(scene.service, name, value)

    return switch


def a_run_of(*rows: dict[str, Any]) -> Callable[[Scene], None]:
    return lambda scene: scene.names.update(run=scene.service.add_run(WORKER, rows=rows))


def miscount(envelope: dict[str, Any]) -> dict[str, Any]:
    envelope["data"]["count"] += 10
    return envelope


# What has to go wrong so that every line of an example runs.
BEFORE: dict[str, Callable[[Scene], Awaitable[None] | None]] = {
    "BatchAbortError": fail_an_abort,
    "ColumnConflictError": a_run_of({"price": 1}, {"price": "one"}),
    "ConcurrencyLimitError": with_(plan_limit=0),
    "CoreClawError": with_(balance=Decimal(0)),
    "DownloadError": often(faults.status(403), "download"),
    "ErrorRow": a_run_of({"title": "Café"}, {"error": "captcha"}),
    "InsufficientBalanceError": with_(balance=Decimal(0)),
    "InvalidResponseError": often(faults.reply(b"<html>")),
    "NoReplyError": often(faults.drop_before_commit()),
    "NotImplementedByServiceError": often(faults.error(16000)),
    "OutcomeUnknownError": once(faults.commit_then_drop(), "runWorker"),
    "PaginationError": often(faults.edit(miscount), "listWorkerRunResults"),
    "RateLimitedError": often(faults.rate_limited(30)),
    "RequestNotSentError": often(faults.refuse_connection()),
    "RequestTimeoutError": often(faults.stall()),
    "RunFailedError": with_(default_script=RunScript(outcome="failed")),
    "SendTimeoutError": often(faults.stall()),
    "ServiceError": often(faults.error(10000, 500)),
    "Verdict": a_run_of({"error": "captcha"}),
    "AsyncBatch.resolve": hold_an_item,
    "BatchReport": hold_an_item,
    "events.RequestSent": once(faults.status(502)),
    "events.RetryScheduled": once(faults.status(502)),
    "testing.SentCallback": with_(callback_transport=httpx.MockTransport(lambda _: httpx.Response(204))),
    "events.StartUnknown": once(faults.commit_then_drop(), "runWorker"),
}
# What a server, a cluster or another process would have to call, or an outage of half an hour would have to show.
UNSEEN = {
    "BatchIncompleteError",
    "CallbackUpdate",
    "events.StartReconciled",
    "events.BatchColumnsChanged",
    "Batch.resolve",
}


class Marked(ast.NodeTransformer):
    """Makes each block of an example say that it has run, apart from functions that others call."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.blocks: set[int] = set()

    def generic_visit(self, node: ast.AST) -> ast.AST:
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if is_function and len(re.findall(rf"\b{getattr(node, 'name', '')}\b", self.text)) == 1:
            return node
        super().generic_visit(node)
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and block and not is_function:
                self.blocks.add(block[0].lineno)
                block.insert(0, ast.parse(f"_ran({block[0].lineno})").body[0])
        return node


async def run_example(name: str, names: dict[str, Any], text: str) -> None:
    """Run an example, every block of it."""
    ran: set[int] = set()
    code, blocks = compiled(name, text)
    result = eval(code, {**names, "_ran": ran.add})
    if inspect.isawaitable(result):
        await result
    assert name in UNSEEN or ran == blocks, "not every line of the example has run"


def compiled(name: str, text: str) -> tuple[CodeType, set[int]]:
    """Return an example as code, and the lines of its blocks, each of which says ``_ran`` with its line."""
    marked = Marked(text)
    tree = ast.fix_missing_locations(marked.visit(ast.parse(text)))
    return compile(tree, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), marked.blocks


def a_service() -> tuple[FakeService, dict[str, Any]]:
    """Return a service with some things in it, and what examples call them."""
    clock = testing.FakeClock(start=time.time())
    service = FakeService(clock=clock, default_script=RunScript(rows=250, duration=60))
    service.add_worker("me/places")
    whole = {"parameters": {"custom": {"keywords": ["coffee"]}}}
    client = {"api_key": service.api_key, "transport": service, "clock": clock}
    names = {name: getattr(coreclaw_async, name) for name in coreclaw_async.__all__}
    names |= {name: value for name, value in vars(events).items() if not name.startswith("_")}
    names |= {"run_batch": dask.run_batch, "arun_batch": dask.arun_batch, "faults": faults}
    names |= {name: getattr(testing, name) for name in testing.__all__ if name != "Clock"}
    names |= {"contextlib": contextlib, "itertools": itertools, "Any": Any, "Decimal": Decimal, "Path": Path}
    names |= {"datetime": datetime, "timedelta": timedelta, "UTC": UTC}
    # As with the variables of the environment.
    names["AsyncCoreClaw"] = lambda *key, **given: AsyncCoreClaw(*key, **(given if key else client | given))
    names["CoreClaw"] = lambda *key, **given: CoreClaw(*key, **(given if key else client | given))
    names["service"] = service
    names["task_id"] = service.add_task(WORKER, title="Coffee", input=whole)
    names["queue_id"] = service.add_queue_item(WORKER, whole)
    return service, names


def spec(word: str) -> RunSpec:
    return RunSpec(key=word, worker_id=WORKER, input={"keywords": [word]})


def needs_library(name: str) -> None:
    _, _, method = name.rpartition(".")
    if method in LIBRARIES:
        pytest.importorskip(LIBRARIES[method])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_each_public_class_and_function_has_an_example() -> None:
    assert len(NAMED) > 200
    assert [name for name, value in NAMED.items() if not example_of(value)] == []
    assert set(TWINS) >= BLOCKING


@pytest.mark.parametrize("name", [name for name, value in NAMED.items() if inspect.isfunction(value)])
def test_a_public_function_says_what_each_argument_is(name: str) -> None:
    text = inspect.getdoc(NAMED[name]) or ""
    arguments = set(inspect.signature(NAMED[name]).parameters) - {"self"}

    unsaid = [each for each in arguments if not re.search(rf"^    [*]*{each}: |[*`]{each}[*`]", text, re.MULTILINE)]
    assert unsaid == []


def test_each_public_function_that_checks_or_raises_says_what_it_raises() -> None:
    silent = []
    for name, function in NAMED.items():
        if inspect.isfunction(function) and name not in ERRORS_ELSEWHERE:
            code = inspect.getsource(inspect.unwrap(function)).rpartition('"""')[2]
            if re.search(r"\braise\b|check_", code) and "Raises:" not in (inspect.getdoc(function) or ""):
                silent.append(name)
    assert silent == []


@pytest.mark.parametrize("name", NAMED)
async def test_an_example_runs_to_its_last_line(name: str) -> None:
    needs_library(name)
    service, names = a_service()
    async with names["AsyncCoreClaw"]() as client, client.batch("nightly", ledger="memory") as batch:
        if re.search(r"\bbatch\b", example_of(NAMED[name])):
            await batch.plan([spec("coffee")])
            async for _ in batch.run():
                pass
            await batch.plan([spec("tea")])
        run = await client.runs.get(service.add_run(WORKER, rows=250))
        names |= {"client": client, "batch": batch, "run": run}
        if name in BEFORE:
            prepared = BEFORE[name](Scene(service, batch, names))
            if prepared is not None:
                await prepared
        await run_example(name, names, example_of(NAMED[name]))


@pytest.mark.parametrize("name", TWINS)
def test_an_example_of_a_blocking_call_runs_to_its_last_line(name: str) -> None:
    needs_library(name)
    service, names = a_service()
    ran: set[int] = set()
    code, blocks = compiled(name, example_of(TWINS[name]))
    with names["CoreClaw"]() as client, client.batch("nightly", ledger="memory") as batch:
        batch.plan([spec("coffee")])
        list(batch.run())
        batch.plan([spec("tea")])
        names |= {"client": client, "batch": batch, "run": client.runs.get(service.add_run(WORKER, rows=250))}
        exec(code, {**names, "_ran": ran.add})
    assert name in UNSEEN or ran == blocks, "not every line of the example has run"
