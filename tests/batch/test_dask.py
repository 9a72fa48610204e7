"""A batch on a Dask cluster of real processes: workers, driver and scheduler are killed, and all is paid once."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from batch import dask_driver
from batch.batches import runs_by_key
from waiting import PATIENCE, wait_until

from coreclaw_async import AsyncCoreClaw, BatchIncompleteError, BatchItemState, RunSpec, ShardReport, events
from coreclaw_async.distributed import dask
from coreclaw_async.testing import FakeService, RealClock, RunScript, faults

distributed = pytest.importorskip("distributed")
# Warnings of Dask's own code are not ours to fix.
pytestmark = [
    pytest.mark.endurance,
    pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
# Starts that wait for their answers while the killing is done.
HELD = 3


class Cluster:
    """A scheduler and workers, each a process of its own on a free port."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self.file = folder / "scheduler.json"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        self.file.unlink(missing_ok=True)
        self._start("scheduler", "dask_scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(self.file))
        wait_until(lambda: self.file.exists() and self.file.stat().st_size > 0, "the scheduler is up")
        for name in ("first", "second"):
            self.start_worker(name)

    def start_worker(self, name: str) -> None:
        options = ("--no-nanny", "--nthreads", "3", "--no-dashboard", "--scheduler-file", str(self.file))
        self._start(name, "dask_worker", "--name", name, *options)

    def kill(self, *names: str) -> None:
        for name in names:
            process = self.processes.pop(name)
            process.send_signal(signal.SIGKILL)
            process.wait(PATIENCE)

    def _start(self, name: str, module: str, *options: str) -> None:
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{module}", "--host", "127.0.0.1", *options],
            env=self._environment,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@pytest.fixture
def service() -> FakeService:
    service = FakeService(clock=RealClock(), balance=10_000, default_script=RunScript(rows=1, duration=0.1))
    for path in dask_driver.WORKERS:
        service.add_worker(path)
    return service


@pytest.fixture
def url(service: FakeService) -> Iterator[str]:
    with service.serve() as server:
        yield server.url


@pytest.fixture
def allowed_failures() -> str:
    """How many lost workers Dask allows a task; with 0 it gives the task up at once, and must be asked again."""
    return "0"


@pytest.fixture
def cluster(tmp_path: Path, service: FakeService, url: str, allowed_failures: str) -> Iterator[Cluster]:
    paths = [str(Path(__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "CORECLAW_API_KEY": service.api_key,
        "PYTHONPATH": os.pathsep.join(paths),
        "DASK_LOGGING__DISTRIBUTED": "critical",
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": allowed_failures,
    }
    cluster = Cluster(tmp_path, environment)
    cluster.start()
    yield cluster
    cluster.kill(*cluster.processes)


@pytest.fixture
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if getattr(request, "param", "sqlite") == "postgres":
        return str(request.getfixturevalue("postgres_dsn"))
    return f"sqlite:///{tmp_path / 'runs.db'}"


async def plan(service: FakeService, ledger: str) -> None:
    async with (
        AsyncCoreClaw(service.api_key, transport=service) as client,
        client.batch("on-dask", ledger=ledger) as batch,
    ):
        await batch.plan(
            RunSpec(
                key=f"k{number}",
                worker_id=dask_driver.WORKERS[number % len(dask_driver.WORKERS)],
                input={"keywords": [f"k{number}"]},
            )
            for number in range(dask_driver.KEYS)
        )


@contextlib.contextmanager
def driver(
    cluster: Cluster, ledger: str, folder: Path, url: str, kind: str = "guarded"
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, dask_driver.__file__, str(cluster.file), ledger, str(folder), url, kind],
        env=cluster._environment,
        stderr=None,  # Shown where a test fails.
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)


def hold_starts(service: FakeService, after: int) -> Callable[[], bool]:
    """Have the service accept some starts and not answer them; return what tells that this is so."""
    since = len(service.requests)
    service.faults.add(faults.stall(), operation="runWorker", after=after, times=HELD)

    def is_holding() -> bool:
        return any(one.operation == "runWorker" and one.status is None for one in service.requests[since:])

    return is_holding


async def finished(service: FakeService, ledger: str, folder: Path) -> None:
    """Assert that each key was paid for once, and is done with its rows."""
    async with (
        AsyncCoreClaw(service.api_key, transport=service) as client,
        client.batch("on-dask", ledger=ledger) as batch,
    ):
        report = await batch.report()
    paid = runs_by_key(service)
    assert {key: count for key, count in paid.items() if count > 1} == {}
    assert len(paid) == dask_driver.KEYS
    assert report.counts[BatchItemState.DONE] == dask_driver.KEYS
    assert len(list(folder.glob("part-*.jsonl"))) == dask_driver.KEYS


@pytest.mark.endurance(20)
@pytest.mark.parametrize("ledger", ["sqlite", "postgres"], indirect=True)
async def test_a_worker_is_killed_and_another_goes_on(
    service: FakeService, ledger: str, tmp_path: Path, url: str, cluster: Cluster
) -> None:
    await plan(service, ledger)
    is_holding = hold_starts(service, after=60)

    def crash() -> None:
        with driver(cluster, ledger, tmp_path / "out", url) as process:
            wait_until(is_holding, "starts are held")
            cluster.kill("first", "second")
            service.faults.clear()
            cluster.start_worker("third")
            assert process.wait(PATIENCE) == 0

    await anyio.to_thread.run_sync(crash)

    await finished(service, ledger, tmp_path / "out")
    assert f"'done': {dask_driver.KEYS}" in (tmp_path / "out" / "report").read_text()


@pytest.mark.endurance(30)
async def test_driver_scheduler_and_all_are_killed_one_after_another_and_the_batch_is_finished(
    service: FakeService, ledger: str, tmp_path: Path, url: str, cluster: Cluster
) -> None:
    await plan(service, ledger)

    def crash_all() -> None:
        is_holding = hold_starts(service, after=30)
        with driver(cluster, ledger, tmp_path / "out", url):
            wait_until(is_holding, "starts are held")
        service.faults.clear()  # The driver is dead; its workers are not.
        is_holding = hold_starts(service, after=30)
        with driver(cluster, ledger, tmp_path / "out", url):
            wait_until(is_holding, "starts are held")
            cluster.kill("scheduler")
            cluster.kill("first", "second")
        service.faults.clear()
        cluster.start()
        is_holding = hold_starts(service, after=30)
        with driver(cluster, ledger, tmp_path / "out", url) as process:
            wait_until(is_holding, "starts are held")
            cluster.kill(*cluster.processes)
            process.kill()
        service.faults.clear()
        cluster.start()
        with driver(cluster, ledger, tmp_path / "out", url) as process:
            assert process.wait(PATIENCE) == 0

    await anyio.to_thread.run_sync(crash_all)

    await finished(service, ledger, tmp_path / "out")


@pytest.mark.parametrize("allowed_failures", ["3"])  # What Dask does by itself.
async def test_without_a_ledger_the_same_kill_pays_twice(
    service: FakeService, tmp_path: Path, url: str, cluster: Cluster
) -> None:
    is_holding = hold_starts(service, after=60)

    def crash() -> None:
        with driver(cluster, "none", tmp_path, url, "naive") as process:
            wait_until(is_holding, "starts are held")
            cluster.kill("first", "second")
            service.faults.clear()
            cluster.start_worker("third")
            assert process.wait(PATIENCE) == 0

    await anyio.to_thread.run_sync(crash)

    assert sum(count - 1 for count in runs_by_key(service).values()) > 0


@pytest.fixture
def dask_client(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, service: FakeService) -> Iterator[Any]:
    monkeypatch.setenv("CORECLAW_API_KEY", service.api_key)
    with distributed.Client(scheduler_file=str(cluster.file), set_as_default=False) as client:
        client.wait_for_workers(2, timeout=120)
        yield client


async def test_shards_are_told_as_they_end_also_when_a_worker_dies_and_progress_stands_in_the_dashboard(
    service: FakeService, ledger: str, url: str, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORECLAW_API_KEY", service.api_key)
    await plan(service, ledger)
    reports: list[ShardReport] = []
    heard: list[events.Event] = []
    is_holding = hold_starts(service, after=30)

    def crash() -> None:
        wait_until(is_holding, "starts are held")
        cluster.kill("first")
        service.faults.clear()

    async with distributed.Client(scheduler_file=str(cluster.file), asynchronous=True, set_as_default=False) as client:
        await client.wait_for_workers(2)
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, crash)
            async for report in dask.arun_batch(
                client,
                "on-dask",
                ledger=ledger,
                shard_size=20,
                exclusive=True,
                settle_times=dask_driver.TIMES,
                base_url=url,
                on_event=heard.append,
            ):
                reports.append(report)
        logged = await client.get_events("coreclaw-on-dask")

    assert set(runs_by_key(service).values()) == {1}
    assert sum(report.counts["done"] for report in reports) == dask_driver.KEYS
    assert len(reports) == 12
    assert any("submitted" in event for _, event in logged)
    done = [event.key for event in heard if isinstance(event, events.BatchItemChanged) and event.state == "done"]
    # What the killed worker had not yet reported is missing; the rest came once.
    assert len(set(done)) == len(done) > dask_driver.KEYS * 0.8


async def test_the_loss_of_the_scheduler_is_told_and_the_same_call_goes_on(
    service: FakeService, ledger: str, url: str, cluster: Cluster, dask_client: Any
) -> None:
    await plan(service, ledger)
    service.default_script = RunScript(rows=1, duration=1.0)

    def run(client: Any) -> ShardReport | None:
        return dask.run_batch(
            client, "on-dask", ledger=ledger, shard_size=20, exclusive=True, settle_times=dask_driver.TIMES,
            base_url=url,
        )  # fmt: skip

    def crash() -> None:
        wait_until(lambda: service.runs_created > 20, "runs go on")
        cluster.kill("scheduler")

    with pytest.raises(BatchIncompleteError, match=r"failures: FutureCancelledError: .*scheduler") as caught:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, crash)
            try:
                await anyio.to_thread.run_sync(run, dask_client)
            except BatchIncompleteError as error:
                lost = error
        raise lost
    assert caught.value.counts["planned"] > 0

    def again() -> ShardReport | None:
        cluster.kill("first", "second")
        cluster.start()
        with distributed.Client(scheduler_file=str(cluster.file), set_as_default=False) as client:
            return run(client)

    assert await anyio.to_thread.run_sync(again) is not None
    assert set(runs_by_key(service).values()) == {1}
    assert len(runs_by_key(service)) == dask_driver.KEYS
