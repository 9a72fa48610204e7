"""The examples, each run as a process of its own against a service on a socket."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from ports import reserved_port
from uvicorn_process import backend_in

from coreclaw_async.testing import FakeService, RealClock, RunScript, faults

EXAMPLES = Path(__file__).parent
LIMIT = 120.0

pytestmark = pytest.mark.endurance


@pytest.fixture
def service() -> FakeService:
    return FakeService(clock=RealClock(), default_script=RunScript(rows=250, duration=0))


@pytest.fixture
def environment(service: FakeService) -> Iterator[dict[str, str]]:
    with service.serve() as server:
        yield {**os.environ, "CORECLAW_API_KEY": service.api_key, "CORECLAW_BASE_URL": server.url}


def output_of(arguments: list[str], folder: Path, environment: dict[str, str]) -> str:
    """Run Python in *folder*, and return what it writes."""
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture
def example(environment: dict[str, str], tmp_path: Path) -> Callable[..., str]:
    """Return what runs an example in an empty folder, and returns its output."""

    def run(name: str, *arguments: str) -> str:
        return output_of([str(EXAMPLES / name), *arguments], tmp_path, environment)

    return run


def test_the_tool_of_an_agent_returns_the_rows_of_a_run_that_ends_in_time(
    example: Callable[..., str], service: FakeService
) -> None:
    first = json.loads(example("agent_tool.py", "scrape", "call_1", "coffee"))
    again = json.loads(example("agent_tool.py", "scrape", "call_1", "coffee"))

    (run_id,) = service.runs
    assert first == again
    assert (first["run_id"], first["status"], first["rows_in_all"], len(first["rows"])) == (run_id, "succeeded", 250, 5)


def test_the_tool_of_an_agent_hands_back_the_id_at_its_limit_and_reads_the_rows_from_another_process(
    example: Callable[..., str], service: FakeService
) -> None:
    service.default_script = RunScript(rows=3, duration=8)
    started = json.loads(example("agent_tool.py", "scrape", "call_1", "coffee", "--seconds", "0.5"))
    (run_id,) = service.runs
    ended = json.loads(example("agent_tool.py", "fetch", run_id))

    assert started["run_id"] == run_id
    assert started["status"] == "running"
    assert (ended["status"], len(ended["rows"])) == ("succeeded", 3)


def test_the_job_of_a_night_pays_for_each_of_its_runs_once(
    example: Callable[..., str], service: FakeService, tmp_path: Path
) -> None:
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    service.default_script = RunScript(rows=3, duration=0)
    first = json.loads(example("night_job.py", "2026-11-26", str(tmp_path)))
    again = example("night_job.py", "2026-11-26", str(tmp_path))

    assert (first["counts"]["done"], first["runs"], first["result_count"]) == (20, 20, 60)
    assert again == "nothing was left to do\n"
    assert len(service.runs) == 20
    assert sum(len(path.read_text().splitlines()) for path in (tmp_path / "rows").glob("part-*.jsonl")) == 60


def test_the_line_for_cron_pays_once_a_day(environment: dict[str, str], service: FakeService, tmp_path: Path) -> None:
    places = tmp_path / "places"
    (places / ".venv" / "bin").mkdir(parents=True)
    command = places / ".venv" / "bin" / "coreclaw-async"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m coreclaw_async "$@"\n')
    command.chmod(0o755)
    (places / "input.json").write_text('{"keywords": ["cafe"]}')
    (places / "key").write_text(service.api_key)
    (line,) = [one for one in (EXAMPLES / "crontab").read_text().splitlines() if not one.startswith("#")]
    job = line.split(None, 5)[5].replace("\\%", "%")  # Cron takes a bare % for the end of a line.
    kept = ("CORECLAW_BASE_URL", "PYTHONPATH")
    small = {"PATH": "/usr/bin:/bin", **{name: environment[name] for name in kept if name in environment}}

    for _ in range(2):
        ended = subprocess.run(["/bin/sh", "-c", job], cwd=tmp_path, env=small, timeout=LIMIT, check=False)
        assert ended.returncode == 0, (places / "log").read_text()

    assert len(service.runs) == 1
    assert len((places / "rows.csv").read_text().splitlines()) == 251
    assert (places / "log").read_text().count(next(iter(service.runs))) >= 2


def test_the_rows_of_a_run_in_frames(example: Callable[..., str], service: FakeService, tmp_path: Path) -> None:
    for name in ("pandas", "polars", "pyarrow"):
        pytest.importorskip(name, reason=f"the extra of {name} is not installed")
    lines = example("frames.py", "rows.parquet").splitlines()

    assert any(line.split() == ["title", "string"] or line.startswith("title ") for line in lines)
    assert lines[-2:] == ["250 titles", "250 rows in rows.parquet"]
    assert len(service.runs) == 1


def test_the_cells_of_the_notebook_run_twice_and_pay_once(
    environment: dict[str, str], service: FakeService, tmp_path: Path
) -> None:
    pytest.importorskip("nbclient", reason="nbclient is not installed")
    shutil.copy(EXAMPLES / "notebook.ipynb", tmp_path)
    texts = [execute(tmp_path / "notebook.ipynb", environment) for _ in range(2)]

    (run_id,) = service.runs
    assert all(run_id in text for text in texts)
    assert "250 rows" in texts[0] or "[250" in texts[0] or "title" in texts[0]


def execute(path: Path, environment: dict[str, str]) -> str:
    """Run all cells in a fresh kernel and return all that they show."""
    script = (
        "import sys, json, nbformat, nbclient\n"
        "notebook = nbformat.read(sys.argv[1], as_version=4)\n"
        "notebook.metadata.pop('kernelspec', None)\n"
        "nbclient.NotebookClient(notebook, timeout=60).execute()\n"
        "json.dump([cell.get('outputs', []) for cell in notebook.cells], sys.stdout)\n"
    )
    return output_of(["-c", script, str(path)], path.parent, environment)


@pytest.fixture
def backend(environment: dict[str, str], tmp_path: Path) -> Iterator[httpx.Client]:
    with reserved_port() as port:
        paths = os.pathsep.join([str(EXAMPLES), environment.get("PYTHONPATH", "")])
        with backend_in(tmp_path, port, {**environment, "PYTHONPATH": paths}) as client:
            yield client


def test_the_backend_answers_with_runs_as_json(backend: httpx.Client, service: FakeService) -> None:
    started = backend.post("/orders/7/run", params={"keyword": "coffee"})
    again = backend.post("/orders/7/run", params={"keyword": "coffee"})
    (run_id,) = service.runs
    run: dict[str, Any] = backend.get(f"/runs/{run_id}").json()
    rows = backend.get(f"/runs/{run_id}/rows", params={"limit": 7})
    missing = backend.get("/runs/01M8B1QYTYP0TYP0TYP0TYP0TY", params={"seconds": 0.5})

    assert (started.status_code, again.status_code) == (202, 202)
    assert started.json()["run_id"] == again.json()["run_id"] == run_id
    assert (run["run_id"], run["status"], run["result_count"]) == (run_id, "succeeded", 250)
    assert len(rows.json()) == 7
    assert missing.status_code == 404


def test_the_backend_says_why_an_order_has_no_run(backend: httpx.Client, service: FakeService) -> None:
    empty = backend.post("/orders/8/run", params={"keyword": ""})
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    lost = backend.post("/orders/9/run", params={"keyword": "coffee", "seconds": 2})
    behind_it = backend.post("/orders/10/run", params={"keyword": "tea", "seconds": 0.5})

    assert (empty.status_code, lost.status_code, behind_it.status_code) == (422, 502, 503)
    assert "no non-empty fields" in empty.json()["detail"]
    assert service.runs_created == 1


def test_the_backend_describes_runs_in_its_openapi_page(backend: httpx.Client) -> None:
    page = backend.get("/openapi.json").json()

    answer = page["paths"]["/runs/{run_id}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    name = answer["$ref"].rpartition("/")[2]
    assert {"run_id", "status", "result_count", "usage"} <= set(page["components"]["schemas"][name]["properties"])
