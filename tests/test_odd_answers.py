"""Any member of any documented answer is any JSON value, or is left out: a result, or a broken answer; nothing else."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
from documented_operations import (
    BY_NAME,
    OPERATIONS,
    PAID_ONCE,
    RUN,
    RUN_ID,
    STARTED,
    STARTS,
    Operation,
    answered,
    envelope,
    example,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from coreclaw_async import (
    AbortedRun,
    AsyncCoreClaw,
    AsyncPager,
    CoreClawError,
    InvalidResponseError,
    OutcomeUnknownError,
    Page,
    PaginationError,
    RetryPolicy,
    Run,
    StartedRun,
)
from coreclaw_async.testing import FakeService, faults

pytestmark = pytest.mark.endurance

WORKER = "coreclaw/google-maps-scraper"
LEFT_OUT = object()
# 13 members of a run, less its identity and its status.
COSMETIC = sorted(RUN.keys() - {"slug", "status"})
# As the text of JSON: some of these have no other form.
ODD_TEXTS = [
    "12.5", "{}", "[]", '""', '"abc"', "true", "false", "1e400", "-1e400", "NaN", "Infinity", "-Infinity", "-1",
    "1" + "0" * 20, "1" + "0" * 5000, "-" + "9" * 5000, "0.1e-999999", '"\\ud800"', '"' + "9" * 5000 + '"',
    '"1e999999"', '{"a": [{"b": null}]}', "[[[]]]", '"NaN"', '"-0"', '"  7  "', "null", '"2026-06-22T00:00:00Z"',
    "9223372036854775808",
]  # fmt: skip
NAMES = ["slug", "list", "count", "a"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
SCALARS |= st.sampled_from([json.loads(text) for text in ODD_TEXTS if len(text) < 4000 and "ud800" not in text])
SCALARS |= st.sampled_from(["9" * 5000, 10**20, -(10**20), 10**4000, "aborted", "succeeded"])


def values_of(scalars: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner),
        max_leaves=4,
    )


VALUES = values_of(SCALARS | st.just("\ud800"))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of *value* and of all that is in it."""
    yield path
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    for name, member in inner:
        yield from places(member, (*path, name))


def changed(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return *data* with another value at *path*, or without that member."""
    if not path:
        return ... if value is LEFT_OUT else value
    data = copy.deepcopy(data)
    holder = data
    for name in path[:-1]:
        holder = holder[name]
    if value is LEFT_OUT:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return data


def outcome(operation: Operation, body: bytes) -> Any:
    """Return what the call returned, or the error that it may end with."""
    broken = OutcomeUnknownError if operation.name in PAID_ONCE else InvalidResponseError
    try:
        return anyio.run(answered, operation, body)
    except CoreClawError as error:
        if isinstance(error, broken):
            return error
        raise


def shows_all(value: Any) -> bool:
    """Return whether a result can be shown and compared: odd values inside must not break that."""
    return bool(repr(value)) and (value == value or "nan" in repr(value))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@given(data=st.data())
@settings(max_examples=15)
def test_any_value_of_any_member_is_read_or_is_a_broken_answer(operation: Operation, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(list(places(operation.data))))
    value = data.draw(st.just(LEFT_OUT) | VALUES)
    found = outcome(operation, envelope(changed(operation.data, path, value)))

    assert shows_all(found)
    if isinstance(found, CoreClawError):
        assert found.message.isprintable()
    if isinstance(found, Run):
        assert found.run_id
        assert found.status
    if isinstance(found, Page):
        assert all(isinstance(item, dict) or item is not None for item in found.items)


@pytest.mark.parametrize("name", sorted(STARTS))
@given(data=st.data())
@settings(max_examples=25)
def test_start_that_names_its_run_is_never_unknown(name: str, data: st.DataObject) -> None:
    odd = data.draw(st.dictionaries(st.sampled_from(sorted(STARTED.keys() - {"run_slug"})), st.just(LEFT_OUT) | VALUES))
    answer = {**STARTED, **odd}
    for member, value in odd.items():
        if value is LEFT_OUT:
            del answer[member]

    started = outcome(BY_NAME[name], envelope(answer))

    assert isinstance(started, StartedRun)
    assert started.run_id == RUN_ID


@pytest.mark.parametrize("name", ["abortWorkerRun", "abortLastWorkerRun", "abortWorkerLastRun"])
@given(data=st.data())
@settings(max_examples=25)
def test_abort_that_was_accepted_is_never_an_error(name: str, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(list(places(STARTED))))
    value = data.draw(st.just(LEFT_OUT) | VALUES)

    assert isinstance(outcome(BY_NAME[name], envelope(changed(STARTED, path, value))), AbortedRun)


@pytest.mark.parametrize("member", COSMETIC)
async def test_odd_member_of_a_run_never_breaks_it_or_the_page_that_it_is_on(member: str) -> None:
    plain = await answered(BY_NAME["getWorkerRun"], envelope(RUN))
    names = {"results": "result_count", "scraper_slug": "worker_id", "scraper_title": "worker_title"}
    attribute = {**names, "err_msg": "error_message"}.get(member, member)

    def body(data: str) -> bytes:
        return b'{"code": 0, "message": "success", "data": ' + data.encode() + b"}"

    for text in ODD_TEXTS:
        record = json.dumps({**RUN, member: "<odd>"}).replace('"<odd>"', text)
        page = json.dumps({"count": 3, "list": [RUN, "<odd>", RUN]}).replace('"<odd>"', record)
        run = await answered(BY_NAME["getWorkerRun"], body(record))
        listed = await answered(BY_NAME["listWorkerRuns"], body(page))

        assert (run.run_id, run.status) == (RUN_ID, "running"), text
        assert repr(listed.items[1]) == repr(run), text
        assert listed.items[0] == listed.items[2] == plain, text
        assert run.extra.keys() <= {member}, text
        assert member not in run.extra or getattr(run, attribute) is None, text


@pytest.mark.parametrize("name", ["usage", "results", "traffic", "duration", "started_at", "finished_at"])
def test_number_that_cannot_be_read_is_unknown_and_not_zero(name: str) -> None:
    run = anyio.run(answered, BY_NAME["getWorkerRun"], envelope({**example("getWorkerRun"), name: {"odd": 1}}))

    assert getattr(run, "result_count" if name == "results" else name) is None
    assert run.extra == {name: {"odd": 1}}


COUNTED = ["listWorkerRuns", "listWorkerTasks", "listRunQueueItems", "listWorkerRunResults"]
LISTS = [*COUNTED, "listStore", "listWorkers"]
# What the service could well have meant: no reader can tell such a value from a true one; the sum of the pages may.
PLAUSIBLE = {"count", "list", "scraper"}


def full_service(size: int) -> tuple[FakeService, str]:
    service = FakeService()
    run_id = service.add_run(WORKER, rows=size, age=0.0)
    for number in range(size - 1):
        service.add_run(WORKER, age=0.0)
        service.add_worker(f"acme/w{number}")
        service.add_task(WORKER, title=f"t{number}", input={})
        service.add_queue_item(WORKER, {"parameters": {"custom": {}}})
    return service, run_id


async def read_list(service: FakeService, run_id: str, operation: str) -> list[Any]:
    policy = RetryPolicy(max_attempts=2, first_delay=0.001)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, retry=policy) as client:
        pagers: dict[str, Callable[[], AsyncPager[Any]]] = {
            "listWorkerRuns": lambda: client.runs.iterate(page_size=10),
            "listWorkerTasks": lambda: client.tasks.iterate(page_size=10),
            "listRunQueueItems": lambda: client.run_queue.iterate(page_size=10),
            "listWorkerRunResults": lambda: client.runs.iterate_results(run_id, page_size=10),
            "listStore": lambda: client.store.iterate(page_size=10),
            "listWorkers": lambda: client.workers.iterate(page_size=10),
        }
        return [item async for item in pagers[operation]()]


@pytest.mark.parametrize("operation", LISTS)
@given(data=st.data())
@settings(max_examples=20)
def test_list_never_ends_early_without_an_error(operation: str, data: st.DataObject) -> None:
    service, run_id = full_service(25)
    whole = len(anyio.run(read_list, service, run_id, operation))
    # The fake writes its answers in UTF-8, which half a pair of surrogates has no form in.
    value = data.draw(st.just(LEFT_OUT) | values_of(SCALARS), label="value")
    chosen = data.draw(st.integers(0, 200), label="place")

    def change(envelope: dict[str, Any]) -> dict[str, Any]:
        paths = [path for path in places(envelope["data"]) if len(path) < 3]
        path = paths[chosen % len(paths)]
        member = path[-1] if path else None
        if member in {None, *PLAUSIBLE} and _is_plausible(member, value):
            return envelope
        if value is LEFT_OUT and path and isinstance(path[-1], int):  # A shorter page is a page of its own.
            return envelope
        told = changed(envelope["data"], path, value)
        kept = {name: member for name, member in envelope.items() if name != "data"}
        return kept if told is ... else {**kept, "data": told}

    service.faults.add(
        faults.edit(change),
        operation=operation,
        after=data.draw(st.integers(0, 2), label="page"),
        # Two entries with one identity are one; without a count nobody could tell that one of them was another.
        times=data.draw(st.sampled_from([1, 99] if operation in COUNTED else [1]), label="times"),
    )
    try:
        items = anyio.run(read_list, service, run_id, operation)
    except (InvalidResponseError, PaginationError):
        return
    assert len(items) >= whole


def _is_plausible(member: Any, value: Any) -> bool:
    if member is None:
        return isinstance(value, dict) and not PLAUSIBLE.isdisjoint(value)
    if member == "count":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, list) or (member == "scraper" and value is None)
