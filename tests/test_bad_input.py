"""A caller's mistakes are named before anything is sent."""

from __future__ import annotations

import datetime as dt
import inspect
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from coreclaw_async import AsyncBatch, AsyncCoreClaw, AsyncPager, CoreClaw, LastRun, Run
from coreclaw_async.testing import FakeService

NAIVE = dt.datetime(2026, 8, 1)  # noqa: DTZ001 - the mistake
AWARE = dt.datetime(2026, 8, 1, tzinfo=dt.UTC)
LONG_AGO = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
BEFORE_1970 = dt.datetime(1969, 12, 31, tzinfo=dt.UTC)
RUN = "01KKDXV2G26BT7NH4ZQR2R4NPZ"
WORKER = "owner/name"


NAN = float("nan")


class Endless:
    """Something that JSON has no form for."""


CYCLE: dict[str, Any] = {}
CYCLE["self"] = CYCLE
DEEP: Any = []
for _ in range(100_000):
    DEEP = [DEEP]

MISTAKES: list[tuple[Callable[[Any], Any], list[str]]] = [
    (lambda c: c.runs.get(""), ["run", "''"]),
    (lambda c: c.runs.get("   "), ["run"]),
    (lambda c: c.runs.get("last"), ["run", "'last'", "LastRun()"]),
    (lambda c: c.runs.get("LAST"), ["run", "'LAST'"]),
    (lambda c: c.runs.get(".."), ["run", "'..'"]),
    (lambda c: c.runs.get("a/b"), ["run", "'a/b'"]),
    (lambda c: c.runs.get("a?b=1"), ["run"]),
    (lambda c: c.runs.get("a#b"), ["run"]),
    (lambda c: c.runs.get("a\nb"), ["run"]),
    (lambda c: c.runs.get("a\\b"), ["run"]),
    (lambda c: c.runs.get(7), ["run", "7"]),
    (lambda c: c.runs.get(None), ["run", "None"]),
    (lambda c: c.runs.get("a" * 70_000), ["run", "1,000 characters", "70,000"]),
    (lambda c: c.tasks.get("a" * 1_001), ["task", "1,000 characters", "1,001"]),
    (lambda c: c.workers.start_run("a" * 70_000, {}), ["worker_id", "1,000 characters", "70,000"]),
    (lambda c: c.store.list_page(keyword="\u5496" * 8_000), ["keyword", "16,000 characters", "72,000"]),
    (lambda c: c.runs.export(RUN, fields=["f" * 70_000]), ["16,000 characters", "70,000"]),
    (lambda c: c.runs.get(Run()), ["run", "''"]),
    (lambda c: c.runs.get(LastRun("")), ["worker_id"]),
    (lambda c: c.runs.get(LastRun("../x")), ["worker_id", "'../x'"]),
    (lambda c: c.runs.iterate_results("last"), ["run"]),
    (lambda c: c.runs.wait("last"), ["run"]),
    (lambda c: c.runs.download("last", "rows.csv"), ["run"]),
    (lambda c: c.runs.list_page(limit=0), ["limit", "1 to 100", "0"]),
    (lambda c: c.runs.list_page(limit=101), ["limit", "1 to 100", "101"]),
    (lambda c: c.runs.list_page(limit=True), ["limit", "True"]),
    (lambda c: c.runs.list_page(limit="5"), ["limit", "'5'"]),
    (lambda c: c.runs.list_page(offset=-1), ["offset", "0 to 9223372036854775807", "-1"]),
    *(
        (call, ["offset", "0 to 9223372036854775807", "9223372036854775808"])
        for call in (
            lambda c: c.runs.list_page(offset=2**63),
            lambda c: c.runs.list_results_page(RUN, offset=2**63),
            lambda c: c.runs.abort(RUN, offset=2**63),
            lambda c: c.runs.rerun(RUN, offset=2**63),
            lambda c: c.workers.list_page(offset=2**63),
            lambda c: c.workers.start_run(WORKER, {}, offset=2**63),
            lambda c: c.tasks.list_page(offset=2**63),
            lambda c: c.tasks.start_run(RUN, offset=2**63),
            lambda c: c.store.list_page(offset=2**63),
            lambda c: c.run_queue.list_page(offset=2**63),
        )
    ),
    (lambda c: c.runs.list_page(status="done"), ["status", "'done'", "succeeded"]),
    (lambda c: c.runs.list_page(worker_id="a/b/c"), ["worker_id", "'a/b/c'"]),
    (lambda c: c.runs.list_page(start_time=AWARE), ["start_time", "end_time", "together"]),
    (lambda c: c.runs.list_page(start_time=NAIVE, end_time=AWARE), ["start_time", "aware"]),
    (lambda c: c.runs.list_page(start_time=AWARE, end_time=7), ["end_time", "7"]),
    (lambda c: c.runs.iterate(since=NAIVE), ["since", "aware"]),
    (lambda c: c.runs.iterate(until=AWARE), ["until", "since"]),
    (lambda c: c.runs.iterate(since=AWARE, until=AWARE), ["until", "since"]),
    (lambda c: c.runs.iterate(page_size=0), ["page_size", "1 to 100", "0"]),
    (lambda c: c.runs.iterate(max_items=0), ["max_items", "1 or more", "0"]),
    (lambda c: c.runs.iterate(prefetch=-1), ["prefetch", "0 to 100", "-1"]),
    (lambda c: c.runs.iterate(worker_id=""), ["worker_id"]),
    (lambda c: c.tasks.iterate(worker_id="./x"), ["worker_id"]),
    (lambda c: c.runs.find_started(since=NAIVE), ["since", "aware"]),
    (lambda c: c.runs.find_started(since=AWARE, until=NAIVE), ["until", "aware"]),
    (lambda c: c.runs.export(RUN, format="pdf"), ["format", "'pdf'", "csv"]),
    (lambda c: c.runs.export(RUN, fields=["a,b"]), ["fields", "'a,b'"]),
    (lambda c: c.runs.export(RUN, fields=[""]), ["fields"]),
    (lambda c: c.runs.export(RUN, fields=[]), ["fields"]),
    (lambda c: c.runs.export(RUN, fields="title"), ["fields", "'title'"]),
    (lambda c: c.runs.download(RUN, "rows.csv", format="pdf"), ["format", "'pdf'"]),
    (lambda c: c.runs.rerun(RUN, limit=101), ["limit", "101"]),
    (lambda c: c.runs.rerun(RUN, offset=-1), ["offset", "-1"]),
    (lambda c: c.runs.rerun(RUN, is_async="no"), ["is_async", "'no'"]),
    (lambda c: c.runs.rerun(RUN, callback_url="client.example.com"), ["callback_url"]),
    (lambda c: c.runs.rerun(RUN, callback_url="https://[x"), ["callback_url"]),
    (
        lambda c: c.runs.rerun(RUN, callback_url=f"https://x.test/{FakeService().api_key}"),
        ["callback_url", "the API key"],
    ),
    (lambda c: c.runs.abort(RUN, callback_url="ftp://x.test"), ["callback_url", "ftp"]),
    (lambda c: c.runs.list_page(start_time=BEFORE_1970, end_time=AWARE), ["start_time", "1970-01-01", "1969"]),
    (lambda c: c.runs.list_page(start_time=BEFORE_1970, end_time=BEFORE_1970), ["start_time", "1970-01-01"]),
    (lambda c: c.runs.list_page(start_time=AWARE, end_time=LONG_AGO), ["end_time", "start_time", "2026-01-01"]),
    (lambda c: c.runs.iterate(since=AWARE, until=LONG_AGO).first(), ["until", "since", "2026-01-01"]),
    (lambda c: c.runs.iterate(since=AWARE, until=AWARE).first(), ["until", "since"]),
    (lambda c: c.workers.get("owner/"), ["worker_id", "'owner/'"]),
    (lambda c: c.workers.get("a/../b"), ["worker_id"]),
    (lambda c: c.workers.get("two words"), ["worker_id"]),
    (lambda c: c.workers.start_run(WORKER), ["input", "raw_input"]),
    (lambda c: c.workers.start_run(WORKER, {"a": 1}, raw_input={}), ["input", "raw_input"]),
    (lambda c: c.workers.start_run(WORKER, system={}, raw_input={}), ["input", "raw_input"]),
    (lambda c: c.workers.start_run(WORKER, [1]), ["input", "list"]),
    (lambda c: c.workers.start_run(WORKER, {1: 2}), ["input", "1"]),
    (lambda c: c.workers.start_run(WORKER, {}, system=[]), ["system", "list"]),
    (lambda c: c.workers.start_run(WORKER, {"a": float("nan")}), ["input"]),
    (lambda c: c.workers.start_run(WORKER, {"a": float("inf")}), ["input"]),
    (lambda c: c.workers.start_run(WORKER, {"a": Decimal(1)}), ["input", "Decimal"]),
    (lambda c: c.workers.start_run(WORKER, {"a": Endless()}), ["input", "Endless"]),
    (lambda c: c.workers.start_run(WORKER, CYCLE), ["input"]),
    (lambda c: c.workers.start_run(WORKER, {"a": DEEP}), ["input", "deep"]),
    (lambda c: c.workers.start_run(WORKER, {"a": [1, {"b": {1}}]}), ["input.a[1].b", "set"]),
    (lambda c: c.workers.start_run(WORKER, {"a": {1: 2, "1": 3}}), ["input.a", "key 1"]),
    (lambda c: c.workers.start_run(WORKER, {"a": ["\ud83d"]}), ["input.a[0]", "surrogate"]),
    (lambda c: c.workers.start_run(WORKER, {}, system={"a": {1}}), ["system.a", "set"]),
    (lambda c: c.workers.start_run(WORKER, raw_input=[{"a": {1}}]), ["raw_input[0].a", "set"]),
    (lambda c: c.workers.run(WORKER, {"a": [NAN]}), ["input.a[0]", "nan"]),
    (lambda c: c.workers.queue_run(WORKER, {"a": [NAN]}), ["input.a[0]", "nan"]),
    (lambda c: c.tasks.create(worker_id=WORKER, title="t", input={"a": [NAN]}), ["input.a[0]", "nan"]),
    (lambda c: c.tasks.create(worker_id=WORKER, title="\ud83d", input={}), ["title", "surrogate"]),
    (lambda c: c.tasks.update_input(RUN, {"a": [NAN]}), ["input.a[0]", "nan"]),
    (lambda c: c.tasks.update_input(RUN, raw_input={"a": {None: 1}}), ["raw_input.a", "None"]),
    (lambda c: c.tasks.update(RUN, description="\ud83d"), ["description", "surrogate"]),
    (lambda c: c.run_queue.release("1", reason="\ud83d"), ["reason", "surrogate"]),
    (lambda c: c.workers.start_run(WORKER, raw_input={"a": {1, 2}}), ["input", "set"]),
    (lambda c: c.workers.start_run(WORKER, {}, version=""), ["version"]),
    (lambda c: c.workers.start_run(WORKER, {}, limit=0), ["limit", "0"]),
    (lambda c: c.workers.run(WORKER, {}, timeout=0), ["timeout", "0"]),
    (lambda c: c.workers.run(WORKER, {}, on_cancel="stop"), ["on_cancel", "stop"]),
    (lambda c: c.workers.run(WORKER, {}, on_update=5), ["on_update", "5"]),
    (lambda c: c.tasks.run(RUN, timeout=-1), ["timeout", "-1"]),
    (lambda c: c.runs.iterate(since=dt.datetime.max.replace(tzinfo=dt.UTC)), ["since"]),
    (lambda c: c.workers.queue_run(WORKER), ["input"]),
    (lambda c: c.tasks.get("last"), ["task_id"]),
    (lambda c: c.tasks.start_run("a/b"), ["task_id", "'a/b'"]),
    (lambda c: c.tasks.create(worker_id=WORKER, title=" ", input={}), ["title"]),
    (lambda c: c.tasks.create(worker_id=WORKER, title="t"), ["input"]),
    (lambda c: c.tasks.update(RUN), ["nothing"]),
    (lambda c: c.tasks.update(RUN, schedule_type=5), ["schedule_type", "1 to 4", "5"]),
    (lambda c: c.tasks.update(RUN, schedule_time="25:00"), ["schedule_time", "25:00"]),
    (lambda c: c.tasks.update(RUN, schedule_time="9:00"), ["schedule_time", "HH:mm"]),
    (lambda c: c.tasks.update(RUN, schedule_weekday=0), ["schedule_weekday", "1 to 7", "0"]),
    (lambda c: c.tasks.update(RUN, schedule_day=32), ["schedule_day", "1 to 31", "32"]),
    (lambda c: c.tasks.update(RUN, schedule_once_date="2026-02-30"), ["schedule_once_date", "2026-02-30"]),
    (lambda c: c.tasks.update(RUN, schedule_once_date="20260201"), ["schedule_once_date", "YYYY-MM-DD"]),
    (lambda c: c.tasks.update(RUN, schedule_enabled=1), ["schedule_enabled", "1"]),
    (lambda c: c.run_queue.activate([]), ["queue_ids"]),
    (lambda c: c.run_queue.release([]), ["queue_ids"]),
    (lambda c: c.run_queue.release("last"), ["queue_ids", "'last'"]),
    (lambda c: c.run_queue.release(["1", "a/b"]), ["queue_ids", "'a/b'"]),
    (lambda c: c.run_queue.release("1", reason=" "), ["reason"]),
    (lambda c: c.proxies.list_regions(""), ["language"]),
    (lambda c: c.store.list_page(limit=101), ["limit", "101"]),
    (lambda c: c.runs.iterate().collect(0), ["max_items", "1 or more", "0"]),
]


@pytest.mark.parametrize(("make", "words"), MISTAKES, ids=[f"{n}-{words[0]}" for n, (_, words) in enumerate(MISTAKES)])
async def test_a_mistake_names_parameter_and_value_and_sends_nothing(
    client: AsyncCoreClaw, service: FakeService, make: Callable[[Any], Awaitable[Any]], words: list[str]
) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        await make(client)

    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert service.requests == []


async def test_flags_and_empty_texts_are_sent_and_none_is_not(client: AsyncCoreClaw, service: FakeService) -> None:
    task_id = service.add_task("coreclaw/google-maps-scraper", title="t", input={})

    await client.tasks.update(task_id, description="", schedule_enabled=False)

    assert service.requests[0].body == {"description": "", "schedule_enabled": 0}


NEEDED = {
    "input": {"keywords": ["coffee"]},
    "key": "coffee",
    "path": "rows.csv",
    "queue_ids": ["Q"],
    "run": RUN,
    "runs": [RUN],
    "size": 1,
    "task_id": "T",
    "title": "Coffee",
    "worker_id": WORKER,
}
FLAGS = [
    (group, method, name)
    for group in ("batch", "pager", "proxies", "run_queue", "runs", "store", "tasks", "workers")
    for method, function in inspect.getmembers(
        {"batch": AsyncBatch, "pager": AsyncPager}.get(group) or getattr(AsyncCoreClaw, group), inspect.isfunction
    )
    for name, parameter in inspect.signature(function).parameters.items()
    if isinstance(parameter.default, bool) and not method.startswith("_")
]


@pytest.mark.parametrize(("group", "method", "name"), FLAGS)
async def test_a_flag_must_be_a_bool(
    client: AsyncCoreClaw, service: FakeService, group: str, method: str, name: str
) -> None:
    async with client.batch("nightly", ledger="memory") as batch:
        owner: Any = {"batch": batch, "pager": client.runs.iterate_results(RUN)}.get(group) or getattr(client, group)
        function = getattr(owner, method)
        given = {each: value for each, value in NEEDED.items() if each in inspect.signature(function).parameters}

        with pytest.raises(TypeError, match=name):
            result = function(**given | {name: "no"})
            if inspect.isawaitable(result):
                await result

    assert not service.requests


def test_whether_a_batch_is_exclusive_must_be_a_bool() -> None:
    with CoreClaw("no-key") as client, pytest.raises(TypeError, match="exclusive must be a bool, not 'no'"):
        client.batch("nightly", ledger="memory", exclusive="no")  # type: ignore[arg-type]
