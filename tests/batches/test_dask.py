"""A batch on a Dask cluster of real processes: workers, driver and scheduler are killed, and all is paid once."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from batches import dask_driver
from batches.batches import opened, runs_by_key, specs

from coreclaw_async import (
    AsyncCoreClaw,
    BatchItemState,
    ConfigurationError,
    LedgerError,
    RunSpec,
    Shard,
    ShardReport,
    ShardSpec,
)
from coreclaw_async.distributed import dask
from coreclaw_async.testing import FakeService, RealClock, RunScript, faults

distributed = pytest.importorskip("distributed")
# What Dask itself warns of is its own affair.
pytestmark = [
    pytest.mark.endurance,
    pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
PATIENCE = 30.0
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


def wait_until(holds: Callable[[], object], what: str) -> None:
    give_up = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < give_up, f"not in time: {what}"
        time.sleep(0.005)


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
    """With how many workers a task may go down; with none, Dask gives it up at once and has to be asked again."""
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
        client.wait_for_workers(2, timeout=30)
        yield client


async def test_shards_are_told_as_they_end_also_when_a_worker_dies_and_progress_stands_in_the_dashboard(
    service: FakeService, ledger: str, url: str, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORECLAW_API_KEY", service.api_key)
    await plan(service, ledger)
    reports: list[ShardReport] = []
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
            ):
                reports.append(report)
        logged = await client.get_events("coreclaw-on-dask")

    assert set(runs_by_key(service).values()) == {1}
    assert sum(report.counts["done"] for report in reports) == dask_driver.KEYS
    assert len(reports) == 12
    assert any("submitted" in event for _, event in logged)


async def test_a_ledger_that_the_workers_cannot_share_is_refused(
    service: FakeService, ledger: str, url: str, dask_client: Any
) -> None:
    with pytest.raises(ConfigurationError, match="a ledger in memory cannot be shared"):
        dask.run_batch(dask_client, "b", ledger="memory")
    with pytest.raises(ConfigurationError, match=r"there are some on 192\.0\.2\.7, 2001:db8::7"):
        dask.run_batch(Elsewhere(), "b", ledger=ledger)
    with pytest.raises(LedgerError, match="Postgres cannot be used"):
        dask.run_batch(Elsewhere(), "b", ledger="postgresql://127.0.0.1:9/x", base_url=url)
    assert dask.run_batch(dask_client, "b", ledger=ledger, base_url=url) is None


class Elsewhere:
    """A client of a cluster whose workers are on other machines."""

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        assert n_workers == -1
        hosts = ("127.0.0.1", "192.0.2.7", "2001:db8::7")
        return {"workers": {host: {"host": host} for host in hosts}}


async def test_a_shard_that_fails_is_told(service: FakeService, ledger: str, url: str, dask_client: Any) -> None:
    await plan(service, ledger)
    service.faults.add(faults.error(12002, 401), operation="runWorker", times=1_000)

    with pytest.raises(Exception, match="12002"):
        await anyio.to_thread.run_sync(
            lambda: dask.run_batch(dask_client, "on-dask", ledger=ledger, shard_size=1_000, base_url=url)
        )


class DyingCluster:
    """Futures of workers that die again and again, as Dask tells of it."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def submit(self, function: object, spec: object, *, key: str, pure: bool) -> Any:
        assert not pure
        self.keys.append(key)
        return type("Future", (), {"key": key})()


async def test_a_shard_whose_workers_keep_dying_is_given_up_in_the_end() -> None:
    cluster = DyingCluster()
    work = dask._Work(distributed, cluster, [Shard()], ShardSpec(batch="b", ledger="x"))
    (future,) = work.submit_all()
    killed = distributed.KilledWorker("task", None, 3)
    while (again := work.ended(future, killed)) is not None:
        future = again

    assert cluster.keys == [f"cc-b-0-{number}" for number in range(5)]
    assert work.ended(future, ValueError("another error")) is None


async def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)

    with pytest.raises(ConfigurationError, match=r"coreclaw-async\[dask\]"):
        dask.run_batch(None, "b", ledger="x")


async def test_progress_is_told_once_a_second_at_most(service: FakeService) -> None:
    logged: list[tuple[str, Any]] = []
    hook = dask._progress("b", lambda topic, event: logged.append((topic, event)))
    async with opened(service, "memory", on_event=hook) as batch:
        await batch.plan(specs(20, dask_driver.WORKERS[0]))
        async for _ in batch.run():
            pass

    assert 1 <= len(logged) <= 5
    assert logged[0] == ("coreclaw-b", {"intent": 1})
