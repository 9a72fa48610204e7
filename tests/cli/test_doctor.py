"""What the doctor finds, and that it never shows the key."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pytest
from cli.command_line import Outcome, invoke

from coreclaw_async.cli.doctor import Finding, check_clock
from coreclaw_async.testing import FakeService, RealClock, faults

KEY = "a-key-that-nobody-may-see"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    service = FakeService(api_key=KEY, clock=RealClock())
    for number in range(6):
        service.add_worker(f"someone/worker-{number}")
    with service.serve() as server:
        monkeypatch.setenv("CORECLAW_API_KEY", service.api_key)
        monkeypatch.setenv("CORECLAW_BASE_URL", server.url)
        yield service


def findings(outcome: Outcome) -> dict[str, tuple[str, str]]:
    assert KEY not in outcome.stdout + outcome.stderr
    lines = [line.split(maxsplit=2) for line in outcome.stdout.splitlines()]
    return {check: (state, detail) for state, check, detail in lines}


def test_all_is_well(service: FakeService) -> None:
    outcome = invoke("doctor")

    found = findings(outcome)
    assert outcome.exit_code == 0
    assert {state for state, _ in found.values()} == {"OK"}
    assert list(found) == ["versions", "address", "key", "service", "clock", "paging", "account"]
    assert "(from CORECLAW_BASE_URL)" in found["address"][1]
    assert found["key"][1] == "there is one (from CORECLAW_API_KEY)"
    assert found["account"][1] == "the key is accepted; the balance is $100.00"
    assert service.runs_created == 0


def test_json_is_an_object_a_finding(service: FakeService) -> None:
    lines = [json.loads(line) for line in invoke("doctor", "--json").stdout.splitlines()]

    assert {line["state"] for line in lines} == {"OK"}
    assert all(line.keys() == {"check", "state", "detail"} for line in lines)


@pytest.mark.parametrize(
    ("dialect", "words"),
    [("row", "rows"), ("page", "pages"), ("aligned", "rows, down to the page's first")],
)
def test_the_meaning_of_offset_is_found(
    service: FakeService, dialect: Literal["row", "page", "aligned"], words: str
) -> None:
    service.offset_dialect = dialect

    assert findings(invoke("doctor"))["paging"] == ("OK", f"an offset counts {words}")


def test_a_short_store_tells_nothing_about_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    service = FakeService(api_key=KEY, clock=RealClock())
    with service.serve() as server:
        outcome = invoke("doctor", "--base-url", server.url)

    assert findings(outcome)["paging"][1].startswith("the store is too short to tell")
    assert findings(outcome)["address"][1].endswith("(from --base-url)")
    assert findings(outcome)["key"] == ("WARN", "there is none: set CORECLAW_API_KEY, or give --api-key-file FILE")
    assert outcome.exit_code == 0


def test_an_offset_that_counts_nothing_is_warned_of(service: FakeService) -> None:
    def turn_round(answer: dict[str, Any]) -> dict[str, Any]:
        answer["data"]["scraper"].reverse()
        return answer

    service.faults.add(faults.edit(turn_round), operation="listStore", after=2)

    assert findings(invoke("doctor"))["paging"][0] == "WARN"


def test_a_store_that_cannot_be_read_fails(service: FakeService) -> None:
    service.faults.add(faults.error(50000, status=400), operation="listStore", after=1)

    outcome = invoke("doctor")

    assert findings(outcome)["paging"][0] == "FAIL"
    assert outcome.exit_code == 3


def test_a_refused_key_fails(service: FakeService, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("another-key")

    outcome = invoke("doctor", "--api-key-file", str(tmp_path / "key"))

    found = findings(outcome)
    assert found["key"] == ("OK", f"there is one (from the file {tmp_path / 'key'})")
    assert found["account"][0] == "FAIL"
    assert "another-key" not in outcome.stdout
    assert outcome.exit_code == 3


def test_an_empty_balance_is_warned_of(service: FakeService) -> None:
    service.balance = Decimal(0)

    assert findings(invoke("doctor"))["account"] == ("WARN", "the balance is $0.00: no run can be started")


@pytest.mark.parametrize(("ahead", "words"), [(-3600.0, "ahead of"), (3600.0, "behind")])
def test_a_clock_that_is_wrong_is_warned_of(service: FakeService, ahead: float, words: str) -> None:
    service.clock.set_time(service.clock.time() + ahead)

    state, detail = findings(invoke("doctor"))["clock"]

    assert state == "WARN"
    assert f"s {words} the service's" in detail


@pytest.mark.parametrize(
    "date", [None, "", "yesterday", "Fri, 31 Dec 9999 23:59:59 GMT", "Sat, 01 Jan 2000 00:00:00 GMT"]
)
def test_an_answer_without_a_time_tells_nothing_about_the_clock(date: str | None) -> None:
    assert check_clock(date) == Finding("clock", "WARN", "the service's answer holds no time to compare with")


@pytest.mark.parametrize("form", ["%a, %d %b %Y %H:%M:%S -0000", "%a %b %d %H:%M:%S %Y"])
def test_a_time_without_a_zone_is_compared_with_the_clock(form: str) -> None:
    assert check_clock(time.strftime(form, time.gmtime())).state == "OK"


def test_a_service_that_is_not_there_fails_soon() -> None:
    outcome = invoke("doctor", "--base-url", "http://127.0.0.1:9")

    assert findings(outcome)["service"][0] == "FAIL"
    assert outcome.exit_code == 3
