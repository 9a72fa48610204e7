"""`callback_backend.py`: started with uvicorn, used over HTTP, called back by the emulator."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from ports import reserved_port
from uvicorn_process import backend_in, process_in
from waiting import wait_until

from coreclaw_async import Page, Run, callbacks
from coreclaw_async.testing import FakeService, RealClock, RunScript

BACKEND = (Path(__file__).parent / "callback_backend.py").read_text(encoding="utf-8")

pytestmark = pytest.mark.endurance


@pytest.fixture(scope="module")
def service() -> FakeService:
    return FakeService(clock=RealClock(), default_script=RunScript(rows=3, duration=2.5))


@contextmanager
def served(service: FakeService, folder: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the port and the environment of the backend, whose module is in *folder*."""
    (folder / "backend.py").write_text(BACKEND, encoding="utf-8")
    with reserved_port() as port, service.serve() as server:
        url = f"http://127.0.0.1:{port}"
        yield port, {"CORECLAW_API_KEY": service.api_key, "CORECLAW_BASE_URL": server.url, "PUBLIC_URL": url}


@pytest.fixture(scope="module")
def backend(service: FakeService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("backend")
    with served(service, folder) as (port, environment), backend_in(folder, port, environment) as client:
        yield client


def test_a_run_is_started_with_a_callback_and_reported(backend: httpx.Client, service: FakeService) -> None:
    started = backend.post("/runs", params={"keyword": "coffee"})
    run_id = started.json()["run_id"]
    began = time.monotonic()
    reported = backend.get(f"/runs/{run_id}")
    took = time.monotonic() - began

    assert started.status_code == 202
    run = Run.from_dict(reported.json())
    assert (run.run_id, run.status, run.result_count) == (run_id, "succeeded", 3)
    assert run_id in [one.run_id for one in Page[Run].from_dict(backend.get("/runs").json(), item_type=Run)]
    assert took < 6.5, "the schedule alone would look 2 and 7 seconds after the beginning"
    assert [callback.response_status for callback in service.callbacks_sent if callback.run_id == run_id] == [204, 204]


def test_the_openapi_page_describes_the_answers(backend: httpx.Client) -> None:
    described = backend.get("/openapi.json").json()
    schemas = described["components"]["schemas"]
    answer = described["paths"]["/runs/{run_id}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]

    assert answer == {"$ref": "#/components/schemas/Run"}
    assert schemas["Run"]["properties"]["usage"]["description"].startswith("What the run cost, in US dollars")
    assert schemas["Page_Run_"]["properties"]["items"]["items"] == answer


def test_a_run_that_goes_on_is_reported_as_it_is(backend: httpx.Client, service: FakeService) -> None:
    service.next_script = RunScript(duration=600)
    run_id = backend.post("/runs", params={"keyword": "tea"}).json()["run_id"]

    await_status(backend, run_id, {"ready", "running"})


@pytest.mark.endurance(15)
def test_it_stops_soon_although_requests_wait_for_runs_which_go_on(service: FakeService, tmp_path: Path) -> None:
    (options,) = set(re.findall(r"--timeout-graceful-shutdown \d+", BACKEND + (callbacks.__doc__ or "")))
    with (
        (tmp_path / "log").open("wb") as log,
        served(service, tmp_path) as (port, environment),
        process_in(tmp_path, port, environment, *options.split(), log=log) as (process, client),
        ThreadPoolExecutor() as pool,
    ):
        service.next_script = RunScript(duration=600)
        run_id = client.post("/runs", params={"keyword": "long"}).json()["run_id"]
        waiting = pool.submit(client.get, f"/runs/{run_id}", params={"seconds": 25})
        await_wait(service, run_id)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        answered = waiting.result()
        process.wait(20)
        took = time.monotonic() - began
    logged = (tmp_path / "log").read_text("utf-8")

    assert 2.5 < took < 20
    assert answered.status_code == 500
    assert f"the wait for run {run_id} was left" in logged
    assert "Application shutdown complete" in logged
    assert service.api_key not in logged
    assert not re.search(r"POST /coreclaw/[\w-]+\.\w", logged), "callback URLs are hidden"
    assert service.runs[run_id].status == "running"
    with served(service, tmp_path) as (port, environment), backend_in(tmp_path, port, environment) as again:
        await_status(again, run_id, {"running"})
        assert again.get(f"/runs/{run_id}", params={"seconds": 900}).status_code == 422


def await_wait(service: FakeService, run_id: str) -> None:
    """Return once the run is looked at, so that a request waits for it."""
    wait_until(lambda: any(request.path.endswith(run_id) for request in service.requests), "a look at the run")


def await_status(client: httpx.Client, run_id: str, statuses: set[str]) -> None:
    """Return once a short wait tells one of *statuses*; on a busy machine it may end before the run is seen."""
    wait_until(
        lambda: client.get(f"/runs/{run_id}", params={"seconds": 0.5}).json()["status"] in statuses, "the status"
    )
