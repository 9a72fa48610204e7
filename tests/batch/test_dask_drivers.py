"""Calls that run a batch on Dask: their arguments, their reports, and that they do not disturb each other."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.to_thread
import pytest
from batch.batches import opened, runs_by_key, specs
from waiting import wait_until

from coreclaw_async import (
    BatchIncompleteError,
    BatchStoppedError,
    ConfigurationError,
    LedgerError,
    ShardReport,
    events,
)
from coreclaw_async.distributed import dask
from coreclaw_async.testing import FakeService, RealClock, RecordedRequest, RunScript, faults

distributed = pytest.importorskip("distributed")
# Warnings of Dask's own code are not ours to fix.
pytestmark = [
    pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
ONE, TWO = "me/one", "me/two"
ROWS = "listWorkerRunResults"


@pytest.fixture
def service() -> FakeService:
    service = FakeService(clock=RealClock(), balance=10_000, default_script=RunScript(rows=1, usage="1", duration=0.0))
    for path in (ONE, TWO):
        service.add_worker(path)
    return service


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'runs.db'}"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two workers in this process."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=3, processes=False, protocol="tcp://", dashboard_address=":0", silence_logs=50
    ) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def _environment(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with service.serve() as server:
        monkeypatch.setenv("CORECLAW_API_KEY", service.api_key)
        monkeypatch.setenv("CORECLAW_BASE_URL", server.url)
        yield


@pytest.fixture
def dask_client(cluster: Any) -> Iterator[Any]:
    with distributed.Client(cluster, set_as_default=False) as client:
        yield client


async def plan(service: FakeService, ledger: str, count: int = 6, first: int = 0) -> None:
    """Plan items of two workers each."""
    async with opened(service, ledger) as batch:
        await batch.plan(specs(count, ONE, first=first))
        await batch.plan(specs(count, TWO, first=first + count))


async def run(client: Any, ledger: str | Path, **options: Any) -> ShardReport | None:
    options = {"shard_size": 4, **options}
    return await anyio.to_thread.run_sync(lambda: dask.run_batch(client, "nightly", ledger=ledger, **options))


def is_of(path: str) -> Callable[[RecordedRequest], bool]:
    return lambda request: path.rpartition("/")[2] in request.path


async def test_the_sums_of_all_shards_come_back(service: FakeService, ledger: str, dask_client: Any) -> None:
    await plan(service, ledger)
    report = await run(dask_client, ledger)

    assert report is not None
    assert report.is_finished
    assert (report.counts["done"], report.runs, report.cost, report.result_count) == (12, 12, Decimal(12), 12)
    assert set(runs_by_key(service).values()) == {1}
    assert await run(dask_client, ledger) is None
    assert dask_client.futures == {}


@pytest.mark.endurance
async def test_two_calls_at_once_each_see_to_the_whole_batch(
    service: FakeService, ledger: str, dask_client: Any, cluster: Any
) -> None:
    service.default_script = RunScript(rows=1, usage="1", duration=1.0)
    await plan(service, ledger, 3)
    reports: dict[str, ShardReport | None] = {}

    async def call(name: str, client: Any) -> None:
        reports[name] = await run(client, ledger)

    with distributed.Client(cluster, set_as_default=False) as other:
        async with anyio.create_task_group() as group:
            group.start_soon(call, "first", dask_client)
            await anyio.to_thread.run_sync(wait_until, lambda: service.runs_created, "a start")
            await plan(service, ledger, 3, first=6)
            group.start_soon(call, "same client", dask_client)
            group.start_soon(call, "other client", other)

    assert all(report is not None and report.is_finished for report in reports.values())
    done = {name: report.counts["done"] for name, report in reports.items() if report is not None}
    # Items that others finished before a call looked are not among its items.
    assert done["first"] >= 6
    assert done["same client"] > 6 < done["other client"]
    assert set(runs_by_key(service).values()) == {1}
    assert len(runs_by_key(service)) == 12


@pytest.mark.endurance
async def test_a_call_after_a_failure_is_a_call_of_its_own(service: FakeService, ledger: str, dask_client: Any) -> None:
    await plan(service, ledger)
    service.faults.add(faults.error(12002, 401), times=1_000, operation="runWorker")
    with pytest.raises(BatchIncompleteError, match=r"AuthenticationError.*12002") as caught:
        await run(dask_client, ledger)
    service.faults.clear()
    report = await run(dask_client, ledger)

    assert caught.value.counts == {"planned": 12}  # The error is still referred to, and so is all that it refers to.
    assert report is not None
    assert report.counts["done"] == 12


async def test_what_is_planned_meanwhile_is_run_too(service: FakeService, ledger: str, cluster: Any) -> None:
    await plan(service, ledger, 2)
    done = 0
    async with distributed.Client(cluster.scheduler_address, asynchronous=True, set_as_default=False) as client:
        async for report in dask.arun_batch(client, "nightly", ledger=ledger, shard_size=2):
            done += report.counts["done"]
            if done == 4:  # A shard that ends while a plan is made says that the plan is incomplete.
                await plan(service, ledger, 2, first=4)

    assert done == 8


async def test_the_failure_of_one_shard_leaves_the_others_alone_and_is_told_at_the_end(
    service: FakeService, ledger: str, dask_client: Any
) -> None:
    await plan(service, ledger)
    service.faults.add(faults.error(12002, 401), operation="runWorker", times=1_000, match=is_of(TWO))
    with pytest.raises(BatchIncompleteError, match=r"6 planned; AuthenticationError: .*; 6 items are done") as caught:
        await run(dask_client, ledger)

    assert caught.value.counts == {"planned": 6}
    assert set(runs_by_key(service)) == {f"k{number}" for number in range(6)}


async def test_an_exception_of_a_shard_is_the_cause_of_what_is_told_at_the_end(
    service: FakeService, ledger: str, dask_client: Any
) -> None:
    """A worker without a key: it cannot even open the batch."""
    await plan(service, ledger)
    client = Changed(dask_client, lambda number: without_key if number == 0 else None)
    with pytest.raises(BatchIncompleteError, match=r"4 planned; 1 failure: ConfigurationError") as caught:
        await run(client, ledger)

    assert isinstance(caught.value.__cause__, ConfigurationError)
    assert len(runs_by_key(service)) == 8


async def test_a_call_whose_shards_have_all_failed_tells_what_the_ledger_has(
    service: FakeService, ledger: str, dask_client: Any
) -> None:
    await plan(service, ledger, 1)
    with pytest.raises(BatchIncompleteError, match=r"2 planned; 2 failures: ConfigurationError") as caught:
        await run(Changed(dask_client, lambda number: without_key), ledger)

    assert caught.value.counts == {"planned": 2}


async def test_a_call_that_is_left_keeps_no_shard(service: FakeService, ledger: str, cluster: Any) -> None:
    await plan(service, ledger, 3)
    async with distributed.Client(cluster.scheduler_address, asynchronous=True, set_as_default=False) as client:
        reports = dask.arun_batch(client, "nightly", ledger=ledger, shard_size=1)
        assert (await anext(reports)).counts["done"] == 1
        await reports.aclose()
        with anyio.fail_after(120):
            while client.futures:
                await anyio.sleep(0.01)
    with distributed.Client(cluster, set_as_default=False) as again:
        await run(again, ledger)  # Shards that have begun keep running, and must end before the service does.


async def test_a_shard_whose_workers_keep_dying_is_given_up_in_the_end(
    service: FakeService, ledger: str, dask_client: Any
) -> None:
    await plan(service, ledger, 2)
    client = Changed(dask_client, lambda number: die if number != 1 else None)
    with pytest.raises(BatchIncompleteError, match="1 failure: KilledWorker") as caught:
        await run(client, ledger)

    assert isinstance(caught.value.__cause__, distributed.KilledWorker)
    assert len(client.keys) == len(set(client.keys)) == 1 + 5
    assert len(runs_by_key(service)) == 2


async def test_a_shard_whose_worker_has_died_is_submitted_again(
    service: FakeService, ledger: str, dask_client: Any
) -> None:
    await plan(service, ledger, 2)
    client = Changed(dask_client, lambda number: die if number < 3 else None)
    report = await run(client, ledger)

    assert report is not None
    assert (report.counts["done"], len(client.keys)) == (4, 5)


class Changed:
    """A Dask client some of whose tasks do something else; *change* says what, by the number of the task."""

    def __init__(self, client: Any, change: Callable[[int], Callable[..., Any] | None]) -> None:
        self._client = client
        self._change = change
        self.keys: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def submit(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        changed = self._change(len(self.keys))
        self.keys.append(options["key"])
        return self._client.submit(function if changed is None else changed, *arguments, **options)


def die(*arguments: object) -> None:
    raise distributed.KilledWorker("task", SimpleNamespace(address="tcp://127.0.0.1:9"), 3)


def without_key(*arguments: object) -> None:
    raise ConfigurationError("a batch needs an API key")


async def test_rows_that_cannot_be_read_are_told_at_the_end(
    service: FakeService, ledger: str, dask_client: Any, tmp_path: Path
) -> None:
    await plan(service, ledger, 2)
    service.faults.add(faults.error(12002, 403), operation=ROWS, times=1)
    with pytest.raises(BatchIncompleteError, match="submitted") as caught:
        await run(dask_client, ledger, output=tmp_path / "out")
    assert caught.value.counts.get("submitted")
    report = await run(dask_client, ledger, output=tmp_path / "out")

    assert report is not None
    assert report.is_finished
    assert len(list((tmp_path / "out").glob("part-*.jsonl"))) == 4
    assert service.runs_created == 4


async def test_rows_that_nobody_has_written_are_written_by_a_later_call(
    service: FakeService, ledger: str, dask_client: Any, tmp_path: Path
) -> None:
    await plan(service, ledger, 2)
    await run(dask_client, ledger)
    report = await run(dask_client, ledger, output=tmp_path / "out")

    assert report is not None
    assert report.counts["done"] == 4
    assert len(list((tmp_path / "out").glob("part-*.jsonl"))) == 4
    manifest = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert [(one["key"], one["rows"]) for one in manifest] == [(f"k{number}", 1) for number in range(4)]
    assert await run(dask_client, ledger, output=tmp_path / "out") is None


async def test_a_manifest_that_cannot_be_written_is_told(
    service: FakeService, ledger: str, dask_client: Any, tmp_path: Path
) -> None:
    await plan(service, ledger, 2)
    (tmp_path / "out" / "manifest.jsonl" / "in-the-way").mkdir(parents=True)
    with pytest.raises(BatchIncompleteError, match=r"a part of it has failed; 1 failure: .*manifest") as caught:
        await run(dask_client, ledger, output=tmp_path / "out")

    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.counts == {}


@pytest.mark.endurance
async def test_a_budget_is_that_of_all_shards_and_may_be_changed_in_the_ledger(
    service: FakeService, ledger: str, dask_client: Any
) -> None:
    await plan(service, ledger)
    with pytest.raises(BatchStoppedError, match="the budget does not cover another run") as caught:
        await run(dask_client, ledger, max_spend=Decimal(5))
    assert (caught.value.left, caught.value.spent, service.runs_created) == (7, Decimal(5), 5)

    service.default_script = RunScript(rows=1, usage="1", duration=0.5)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: run(dask_client, ledger, max_spend=Decimal(7)))
        await anyio.to_thread.run_sync(wait_until, lambda: service.runs_created > 5, "six starts")
        async with opened(service, ledger, max_spend=Decimal(100)):
            pass
    assert service.runs_created == 12


@pytest.mark.endurance
async def test_paths_are_those_of_the_caller(
    service: FakeService, dask_client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers have folders of their own: a ledger beside them would be an empty one."""
    monkeypatch.chdir(tmp_path)
    await plan(service, "runs.db", 1)
    await plan(service, "other.db", 1)
    for ledger, batch in (("sqlite:///runs.db", "nightly"), (Path("other.db"), "nightly")):
        client = Changed(dask_client, lambda number: in_another_folder)
        reports = await run(client, ledger, output="out")
        assert reports is not None
        assert reports.counts["done"] == 2, batch
    assert len(list((tmp_path / "out").glob("part-*.jsonl"))) == 4


def in_another_folder(spec: Any, topic: str | None) -> ShardReport:
    assert Path(spec.output).is_absolute()
    assert Path(spec.ledger).is_absolute()
    return dask._run_on_worker(spec, topic)


async def test_events_of_items_reach_the_caller_before_the_shard_has_ended(
    service: FakeService, ledger: str, cluster: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await plan(service, ledger)
    heard: list[events.Event] = []
    done = 0

    def hear(event: events.Event) -> None:
        heard.append(event)
        if len(heard) == 1:
            raise RuntimeError("a fault of the hook")

    async with distributed.Client(cluster.scheduler_address, asynchronous=True, set_as_default=False) as client:
        async for report in dask.arun_batch(client, "nightly", ledger=ledger, shard_size=4, on_event=hear):
            done += report.counts["done"]
            assert sum(isinstance(e, events.BatchItemChanged) and e.state == "done" for e in heard) >= done

    assert done == 12
    assert len(heard) == 36
    assert {type(event) for event in heard} == {events.BatchItemChanged}
    assert "the on_event hook failed on BatchItemChanged" in caplog.text


@pytest.mark.endurance
async def test_two_calls_of_one_client_hear_their_own_events(
    service: FakeService, ledger: str, dask_client: Any
) -> None:
    await plan(service, ledger)
    heard: dict[str, list[events.Event]] = {"one": [], "two": []}

    async def call(name: str) -> None:
        await run(dask_client, ledger, on_event=heard[name].append)

    async with anyio.create_task_group() as group:
        group.start_soon(call, "one")
        group.start_soon(call, "two")

    changes = [event for both in heard.values() for event in both]
    assert len(changes) == len(set(changes)) == 36


@pytest.mark.endurance
async def test_a_call_that_is_left_takes_back_what_nobody_has_begun(
    service: FakeService, ledger: str, cluster: Any
) -> None:
    service.default_script = RunScript(rows=1, usage="1", duration=0.3)
    await plan(service, ledger, 20)
    async with distributed.Client(cluster.scheduler_address, asynchronous=True, set_as_default=False) as client:
        reports = dask.arun_batch(client, "nightly", ledger=ledger, shard_size=2)
        assert (await anext(reports)).counts["done"] == 2
        await reports.aclose()
        with anyio.fail_after(120):
            while client.futures:
                await anyio.sleep(0.01)
        processing = await client.processing()
    assert sum(len(keys) for keys in processing.values()) <= 6  # What the threads of the workers have begun.
    assert service.runs_created < 40
    with distributed.Client(cluster, set_as_default=False) as again:
        await run(again, ledger)
    assert set(runs_by_key(service).values()) == {1}


async def test_what_cannot_be_run_is_refused_before_anything_is_sent(
    service: FakeService, ledger: str, dask_client: Any, cluster: Any, tmp_path: Path
) -> None:
    wrong: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ConfigurationError, "a ledger in memory cannot be shared", {"ledger": "memory"}),
        (ValueError, "ledger must be 'sqlite:///file.db'", {"ledger": "mysql://db/x"}),
        (LedgerError, "Postgres cannot be used", {"ledger": "postgresql://127.0.0.1:9/x", "patience": 0.0}),
        (LedgerError, r"new\.db has no items of batch 'nightly', so nothing was run", {"ledger": tmp_path / "new.db"}),
        (ValueError, "shard_size must be 1 or more, not 0", {"shard_size": 0}),
        (ValueError, "max_in_flight must be 1 or more, not 0", {"max_in_flight": 0}),
        (ValueError, "on_ambiguous must be one of hold, fail, resubmit", {"on_ambiguous": "guess"}),
        (ValueError, "patience must be a finite number of seconds", {"patience": -1.0}),
        (TypeError, "max_spend must be a Decimal", {"max_spend": 1.5}),
        (TypeError, "run_batch has no option 'width'; it has on_event, shard_size, account, base_url", {"width": 8}),
    ]
    await plan(service, ledger)
    before = len(service.requests)
    for kind, words, options in wrong:
        with pytest.raises(kind, match=words):
            await run(dask_client, **{"ledger": ledger, **options})
    with pytest.raises(TypeError, match="run_batch needs ledger=, the ledger in which"):
        dask.run_batch(dask_client, "nightly")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="on_event must be a plain function"):
        dask.run_batch(dask_client, "nightly", ledger=ledger, on_event=anyio.sleep)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="arun_batch an asynchronous one"):
        dask.arun_batch(dask_client, "nightly", ledger=ledger)
    async with distributed.Client(cluster.scheduler_address, asynchronous=True, set_as_default=False) as client:
        with pytest.raises(TypeError, match="run_batch takes a blocking Dask client"):
            dask.run_batch(client, "nightly", ledger=ledger)
    assert len(service.requests) == before
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize("is_asynchronous", [False, True])
async def test_a_file_is_refused_where_workers_are_on_other_machines(
    service: FakeService, ledger: str, cluster: Any, is_asynchronous: bool
) -> None:
    await plan(service, ledger)
    words = r"there are some on 192\.0\.2\.7, 2001:db8::7"
    if is_asynchronous:
        async with distributed.Client(cluster.scheduler_address, asynchronous=True, set_as_default=False) as client:
            with pytest.raises(ConfigurationError, match=words):
                async for _ in dask.arun_batch(Elsewhere(client), "nightly", ledger=ledger):
                    pass
    else:
        with (
            distributed.Client(cluster, set_as_default=False) as client,
            pytest.raises(ConfigurationError, match=words),
        ):
            await run(Elsewhere(client), ledger)


class Elsewhere:
    """A client of a cluster whose workers are on other machines."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.scheduler = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def identity(self, n_workers: int) -> dict[str, Any]:
        assert n_workers == -1
        hosts = ("127.0.0.1", "192.0.2.7", "2001:db8::7")
        return {"workers": {host: {"host": host} for host in hosts}}


async def test_an_asynchronous_client_knows_all_workers(service: FakeService, cluster: Any) -> None:
    """`Client.scheduler_info` without waiting shows none of them."""
    async with distributed.Client(cluster.scheduler_address, asynchronous=True, set_as_default=False) as client:
        assert len((await client.scheduler.identity(n_workers=-1))["workers"]) == 2


async def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    for function in (dask.run_batch, dask.arun_batch):
        with pytest.raises(ConfigurationError, match=r"coreclaw-async\[dask\]"):
            function(None, "b", ledger="x")


async def test_files_of_rows_are_in_parquet_if_that_is_asked_for(
    service: FakeService, ledger: str, dask_client: Any, tmp_path: Path
) -> None:
    await plan(service, ledger, 2)
    folder = tmp_path / "rows"
    report = await run(dask_client, ledger, output=folder, output_format="parquet")
    async with opened(service, ledger) as batch:
        rows = await batch.rows().collect()

    assert report is not None
    assert report.is_finished
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_bytes().splitlines()]
    assert {line["file"] for line in lines} == {path.name for path in folder.glob("part-*.parquet")}
    assert len(rows) == 4


async def test_a_worker_without_what_parquet_needs_starts_nothing(
    service: FakeService, ledger: str, dask_client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await plan(service, ledger, 2)
    with pytest.raises(ValueError, match="output_format must be 'jsonl' or 'parquet', not 'csv'"):
        await run(dask_client, ledger, output=tmp_path / "rows", output_format="csv")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BatchIncompleteError, match="output_format='parquet' needs pyarrow") as caught:
        await run(dask_client, ledger, output=tmp_path / "rows", output_format="parquet")

    assert isinstance(caught.value.__cause__, ConfigurationError)
    assert service.runs_created == 0


async def test_progress_is_told_once_a_second_at_most() -> None:
    logged: list[tuple[str, Any]] = []
    hook = dask._progress("b", lambda topic, event: logged.append((topic, event)))
    for number in range(2_000):
        hook(events.BatchItemChanged(batch="b", key=str(number), state="intent", previous="planned", attempt=1))

    assert 1 <= len(logged) <= 5
    assert logged[0] == ("coreclaw-b", {"intent": 1})
