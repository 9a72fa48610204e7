"""The emulator with planned faults, used by a program that knows nothing of this package: curl."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from cli.command_line import LIMIT, first_line, running

CURL = shutil.which("curl") or ""
pytestmark = [pytest.mark.endurance, pytest.mark.skipif(not CURL, reason="curl is not installed")]

WORKER = "coreclaw~google-maps-scraper"
INPUT = json.dumps({"input": {"parameters": {"custom": {"keywords": ["coffee"]}}}})
OUTAGE_MINUTES = 0.1
PLAN = [
    {"fault": "outage", "minutes": OUTAGE_MINUTES, "operation": "getAccount"},
    {"fault": "outage", "minutes": 60, "operation": "listProxyRegions", "failure": {"fault": "stall"}},
    {"fault": "commit_then_drop", "operation": "runWorker", "times": 2},
    {"fault": "truncate", "keep": 15, "operation": "listStore"},
    {"fault": "refuse_connection", "operation": "listWorkers", "times": 3},
    {"fault": "error", "code": 14000, "status": 500, "operation": "listWorkerTasks", "probability": 0.5, "seed": 4},
]
RESET, CUT_SHORT, TIMED_OUT = 56, 18, 28
"""What curl exits with."""


@frozen
class Reply:
    exit_code: int
    status: int
    body: str

    @property
    def data(self) -> Any:
        return json.loads(self.body)["data"]


@frozen
class Curl:
    url: str

    def __call__(self, path: str, *options: str) -> Reply:
        words = [CURL, "--silent", "--noproxy", "*", "--max-time", "20", "--write-out", "\n%{http_code}", *options]
        key = [] if path.startswith("http") else ["--header", "Authorization: Bearer test-key"]
        url = path if path.startswith("http") else f"{self.url}/api/v2{path}"
        ended = subprocess.run([*words, *key, url], capture_output=True, text=True, timeout=LIMIT, check=False)
        body, _, status = ended.stdout.rpartition("\n")
        return Reply(ended.returncode, int(status), body)

    def start(self, *options: str) -> Reply:
        sent = ("--header", "Content-Type: application/json", "--data", INPUT)
        return self(f"/workers/{WORKER}/runs", *sent, *options)


@pytest.fixture
def curl(tmp_path: Path) -> Iterator[Curl]:
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(PLAN))
    with running("emulate", "--port", "0", "--chaos", str(plan), "--run-seconds", "0.5", "--rows", "7") as process:
        line = first_line(process)
        assert "ready at http://" in line, line
        yield Curl(line.split()[-1])


def test_a_start_whose_answer_is_lost_is_paid_for(curl: Curl) -> None:
    reply = curl.start()

    assert (reply.exit_code, reply.status) == (RESET, 0)
    assert curl("/worker-runs").data["count"] == 1


def test_a_client_that_sends_everything_again_pays_again(curl: Curl) -> None:
    reply = curl.start("--retry", "5", "--retry-all-errors", "--retry-delay", "1")

    assert reply.status == 200
    assert curl("/worker-runs").data["count"] == 3


def test_an_outage_ends_by_real_time(curl: Curl) -> None:
    began = time.monotonic()
    first = curl("/users/account")
    assert (first.status, "502 Bad Gateway" in first.body) == (502, True)

    later = curl("/users/account", "--retry", "30", "--retry-delay", "1")

    assert (later.exit_code, later.status) == (0, 200)
    assert time.monotonic() - began < LIMIT


def test_a_silent_service_answers_nothing(curl: Curl) -> None:
    assert curl("/proxy/region", "--max-time", "0.3").exit_code == TIMED_OUT


def test_an_answer_is_cut_short_and_connections_are_lost(curl: Curl) -> None:
    short = curl("/store")
    lost = [curl("/workers").exit_code for _ in range(4)]

    assert (short.exit_code, len(short.body)) == (CUT_SHORT, 15)
    assert lost == [RESET, RESET, RESET, 0]


def test_chance_takes_the_same_requests_each_time(curl: Curl) -> None:
    statuses = [curl("/worker-tasks").status for _ in range(12)]

    assert statuses == [500, 200, 200, 200, 500, 200, 500, 200, 200, 200, 200, 500]


def test_a_run_ends_by_itself_and_its_rows_can_be_downloaded(curl: Curl) -> None:
    for _ in range(2):
        assert curl.start().exit_code == RESET
    run_id = curl.start().data["run_slug"]
    give_up = time.monotonic() + LIMIT
    while curl(f"/worker-runs/{run_id}").data["status"] != "succeeded":
        assert time.monotonic() < give_up
    rows = curl(f"/worker-runs/{run_id}/result?limit=5")
    export = curl(f"/worker-runs/{run_id}/result/export?format=csv&filter_keys=title,address")

    file = curl(export.data["download_url"])

    assert (rows.data["count"], len(rows.data["list"])) == (7, 5)
    assert file.body.split("\n")[0].strip() == "title,address"
    assert len(file.body.strip().split("\n")) == 8
