"""The list of assumptions at the end of a ``doctor``: each has a line, whatever could be checked."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cli.command_line import in_environment, invoke
from cli.doctor_reports import KEY, TITLE

from coreclaw_async import CoreClaw, InputProperty, InputSchema, RetryPolicy, Run, RunStatus
from coreclaw_async._wire.member_values import read_status
from coreclaw_async.cli.doctor.assumption_list import ASSUMPTIONS, Result, results
from coreclaw_async.cli.doctor.assumptions import check_aborting, check_members, check_times
from coreclaw_async.cli.doctor.findings import DoctorSettings, check_schema, examine
from coreclaw_async.cli.doctor.looks import Examination, Finding, NotingTransport
from coreclaw_async.testing import FakeService, RealClock, faults

WORKER = "someone/worker-0"
CONTRACT = Path(__file__).parent.parent.parent.parent / "shared" / "contract" / "api.md"
NOW = 1_790_000_000

# Sections of the contract that mark something as inferred, and the assumptions of the client that come from there.
SECTIONS = {
    "1.2": {"public", "bearer"},
    "1.3": {"refusals"},
    "1.6": {"refusals"},
    "1.9": {"waiting"},
    "1.10": {"unsent", "repeats"},
    "2": {"last", "ids"},
    "3.0": {"repeats", "window"},
    "3.4": {"none", "last"},
    "3.7": {"queue"},
    "4": {"times", "members", "empty"},
    "4.1": {"times", "members"},
    "4.2": {"echo"},
    "4.5": {"schema", "inputs"},
    "4.8": {"empty"},
    "4.9": {"exports", "log"},
    "5.2": {"paging"},
    "5.4": {"paging", "rows"},
    "5.5": {"echo"},
    "5.6": {"months"},
    "5.7": {"order", "sequence"},
    "6.1": {"statuses", "aborting"},
    "6.6": {"late", "rows", "missing"},
    "6.7": {"aborting"},
    "6.8": {"callbacks"},
    "6.10": {"lost"},
    "7": {"limits"},
}
# Sections whose inferences are advice about how a client should be written, and say nothing about the service.
ADVICE = {"0.1", "1.4", "1.5", "4.6", "9"}


def of_service(service: FakeService) -> dict[str, Result]:
    """Return the results at a service in memory."""
    way = NotingTransport()
    policy = RetryPolicy(max_attempts=1)
    with CoreClaw(KEY, base_url=service.base_url, transport=service, retry=policy, on_event=way.note) as client:
        settings = DoctorSettings(url=httpx.URL(service.base_url), url_source="x", key_source="y")
        return by_name(list(examine(Examination(client=client, way=way), settings)))


def by_name(findings: list[Finding]) -> dict[str, Result]:
    return {result.assumption: result for result in results(findings)}


def verdicts(found: dict[str, Result]) -> dict[str, str]:
    return {name: result.verdict for name, result in found.items()}


@pytest.fixture
def service() -> FakeService:
    service = FakeService(api_key=KEY, clock=RealClock())
    for number in range(6):
        service.add_worker(f"someone/worker-{number}")
    return service


def with_runs(service: FakeService) -> list[str]:
    return [service.add_run(WORKER, rows=5 * (number % 2), age=5.0 - number) for number in range(5)]


def edit(service: FakeService, operation: str, change: Callable[[dict[str, Any]], object]) -> None:
    def edited(answer: dict[str, Any]) -> dict[str, Any]:
        change(answer["data"])
        return answer

    service.faults.add(faults.edit(edited), operation=operation, times=99)


def test_each_assumption_has_one_result_and_says_how_or_why_not(service: FakeService) -> None:
    with_runs(service)
    found = of_service(service)

    assert list(found) == [assumption.name for assumption in ASSUMPTIONS]
    for result in found.values():
        assert result.says
        assert result.why
        assert (result.on is None) is (result.verdict == "not checked")
        assert result.how is not None or result.verdict == "not checked"


def test_what_reads_can_show_holds_at_the_service_in_memory(service: FakeService) -> None:
    with_runs(service)
    found = verdicts(of_service(service))

    assert {name for name, verdict in found.items() if verdict == "does not hold"} <= {"clock"}
    assert {name for name, verdict in found.items() if verdict == "holds"} >= {
        "public", "bearer", "paging", "schema", "echo", "members", "ids", "times", "order", "statuses", "rows",
        "sequence", "empty", "last", "missing",
    }  # fmt: skip
    assert service.runs_created == 0
    assert {request.method for request in service.requests} == {"GET"}


def test_an_account_without_runs_leaves_what_they_would_show(service: FakeService) -> None:
    found = of_service(service)

    assert found["none"].verdict == found["missing"].verdict == "holds"
    for name in ("echo", "ids", "order", "rows", "log", "last"):
        assert (found[name].verdict, found[name].why) == ("not checked", "there is no run this month")


def test_runs_make_it_unknown_how_an_account_without_runs_is_told(service: FakeService) -> None:
    with_runs(service)

    assert of_service(service)["none"].why == "there are runs"


def test_a_last_run_of_another_month_is_no_account_without_runs(service: FakeService) -> None:
    with_runs(service)
    edit(service, "listWorkerRuns", lambda data: data.update(list=[], count=0))
    found = of_service(service)

    assert (found["none"].verdict, found["none"].why) == ("not checked", "not checked: there is a run of another month")


@pytest.mark.parametrize(
    ("code", "verdict"), [(11004, "holds"), (70001, "holds"), (60001, "does not hold"), (11000, "does not hold")]
)
def test_how_a_missing_run_is_told_is_checked(service: FakeService, code: int, verdict: str) -> None:
    service.faults.add(faults.error(code), operation="getWorkerRun", times=9)

    assert of_service(service)["missing"].verdict == verdict


@pytest.mark.parametrize("fault", [faults.error(10000), faults.status(404), faults.error(13000)])
def test_a_failure_does_not_tell_how_a_missing_run_is_told(service: FakeService, fault: Any) -> None:
    service.faults.add(fault, operation="getWorkerRun", times=9)
    result = of_service(service)["missing"]

    assert result.verdict == "not checked"
    assert result.why.startswith("HTTP ")


def test_a_run_that_nobody_has_and_that_can_be_read_is_told(service: FakeService) -> None:
    body = {"code": 0, "message": "", "data": {"slug": "0" * 26, "status": "running"}}
    service.faults.add(faults.reply(json.dumps(body).encode()), operation="getWorkerRun")

    assert of_service(service)["missing"].why == "a run that nobody has can be read"


def test_a_last_run_that_is_old_is_told(service: FakeService) -> None:
    runs = with_runs(service)
    edit(service, "getLastWorkerRun", lambda data: data.update(slug=runs[0]))

    assert of_service(service)["last"].verdict == "does not hold"


def test_a_last_run_that_is_not_there_although_there_are_runs_is_told(service: FakeService) -> None:
    with_runs(service)
    service.faults.add(faults.error(11004), operation="getLastWorkerRun")

    assert of_service(service)["last"].why == "there is no last run, although there are runs"


def test_a_gateway_without_the_last_run_tells_nothing(service: FakeService) -> None:
    with_runs(service)
    service.faults.add(faults.status(404), operation="getLastWorkerRun", times=9)
    result = of_service(service)["last"]

    assert result.verdict == "not checked"
    assert "does not come from the service" in result.why


@pytest.mark.parametrize("code", [11000, 50001, 60001])
def test_a_last_run_that_is_refused_otherwise_is_told_as_a_failure(service: FakeService, code: int) -> None:
    with_runs(service)
    service.faults.add(faults.error(code), operation="getLastWorkerRun", times=9)

    assert of_service(service)["last"].verdict == "not checked"


def test_ids_without_a_time_do_not_tell_the_newest_run(service: FakeService) -> None:
    with_runs(service)
    edit(service, "getLastWorkerRun", lambda data: data.update(slug="run-1"))

    assert of_service(service)["last"].why == "not checked: run ids do not tell which run is the newest"


@pytest.mark.parametrize(
    ("url", "verdict"),
    [
        ("https://files.test/log.txt?q-signature=x", "holds"),
        ("{base}/log.txt", "does not hold"),
        ("{base}:8443/log.txt", "holds"),
        (None, "not checked"),
        ("log.txt", "does not hold"),
        ("http://files.test:x/", "does not hold"),
        ("ftp://files.test/x", "does not hold"),
        ("https://xn--0.test/x", "does not hold"),
    ],
)
def test_the_host_of_the_text_of_a_log_is_looked_at(service: FakeService, url: str | None, verdict: str) -> None:
    with_runs(service)
    told = None if url is None else url.replace("{base}", service.base_url)
    edit(service, "getWorkerRunLog", lambda data: data.update(all_logs_url=told))
    result = of_service(service)["log"]

    assert result.verdict == verdict
    assert "signature" not in result.why


def test_rows_that_come_in_another_order_the_next_time_are_told(service: FakeService) -> None:
    with_runs(service)
    service.faults.add(
        faults.edit(lambda answer: (answer["data"]["list"].reverse(), answer)[1]), operation="listWorkerRunResults"
    )
    result = of_service(service)["sequence"]

    assert (result.verdict, result.on) == ("does not hold", "a small ended run")


@pytest.mark.parametrize("rows", [0, 1])
def test_rows_of_which_there_is_one_at_most_have_no_order(service: FakeService, rows: int) -> None:
    service.add_run(WORKER, rows=rows)

    assert of_service(service)["sequence"].verdict == "not checked"


def test_rows_of_a_run_that_says_that_it_has_none_are_told(service: FakeService) -> None:
    service.add_run(WORKER, rows=0)
    edit(service, "listWorkerRunResults", lambda data: data.update(count=1))

    assert of_service(service)["empty"].verdict == "does not hold"


def test_a_service_that_fails_half_way_leaves_the_rest_unchecked(service: FakeService) -> None:
    with_runs(service)
    for operation in ("listWorkerRunResults", "getWorkerRunLog", "getLastWorkerRun", "getWorkerRun"):
        service.faults.add(faults.status(502), operation=operation, times=99)
    found = of_service(service)

    assert found["order"].verdict == "holds"
    for name in ("rows", "log", "empty", "last", "missing"):
        assert (found[name].verdict, found[name].why[:9]) == ("not checked", "HTTP 502,")


def test_a_list_of_runs_that_fails_is_the_reason(service: FakeService) -> None:
    service.faults.add(faults.status(502), operation="listWorkerRuns", times=99)

    assert of_service(service)["order"].why == "the check of the runs has failed"


def test_a_store_that_is_empty_has_no_schema_to_read(service: FakeService) -> None:
    edit(service, "listStore", lambda data: data.update(scraper=[]))

    assert of_service(service)["schema"].why == "not checked: the store is empty"


SERVICE_FAILED = [Finding("key", "OK", ""), Finding("service", "FAIL", "")]
REASONS = [
    ([Finding("key", "OK", ""), Finding("proxy", "FAIL", "")], "clock", "the check of the proxy has failed"),
    (SERVICE_FAILED, "paging", "the check of the service has failed"),
    (SERVICE_FAILED, "rows", "the check of the service has failed"),
    ([Finding("key", "WARN", ""), Finding("service", "OK", "")], "rows", "there is no key"),
    ([Finding("key", "OK", ""), Finding("account", "FAIL", "")], "rows", "the check of the account has failed"),
    ([Finding("key", "OK", ""), Finding("rest", "WARN", "")], "rows", "the checks so far have taken too long"),
    ([Finding("key", "WARN", ""), Finding("rest", "WARN", "")], "schema", "the checks so far have taken too long"),
    ([Finding("key", "OK", "")], "lost", "only a start shows it, which costs money"),
]


@pytest.mark.parametrize(("findings", "name", "why"), REASONS)
def test_what_was_not_reached_has_its_reason(findings: list[Finding], name: str, why: str) -> None:
    result = by_name(findings)[name]

    assert (result.verdict, result.why, result.on) == ("not checked", why, None)


def test_one_list_that_is_otherwise_outweighs_those_that_hold() -> None:
    findings = [
        Finding("key", "OK", ""),
        Finding("paging", "OK", "a", on="the store"),
        Finding("paging", "WARN", "b", on="the list of runs"),
    ]
    result = by_name(findings)["paging"]

    assert (result.verdict, result.on, result.why) == ("does not hold", "the list of runs", "b")


@pytest.mark.parametrize(
    ("run", "verdict"),
    [
        (Run(run_id="r", status=RunStatus.RUNNING), "holds"),
        (Run(run_id="", status=RunStatus.RUNNING), "does not hold"),
        (Run(run_id="r"), "does not hold"),
    ],
)
def test_runs_need_an_id_and_a_status(run: Run, verdict: str) -> None:
    assert check_members([run]).verdict == verdict


def timed(started_at: float | None = None, finished_at: float | None = None, status: str = "succeeded") -> Run:
    start, end = (
        None if time is None else dt.datetime.fromtimestamp(time, dt.UTC) for time in (started_at, finished_at)
    )
    return Run(run_id="r", status=read_status(status), started_at=start, finished_at=end)


@pytest.mark.parametrize(
    ("run", "verdict"),
    [
        (timed(started_at=NOW - 20, finished_at=NOW - 10), "holds"),
        (timed(), "not checked"),
        (timed(started_at=86_400), "does not hold"),
        (timed(started_at=NOW + 86_400), "does not hold"),
        (timed(started_at=NOW - 10, finished_at=NOW - 20), "does not hold"),
    ],
)
def test_times_of_runs_are_looked_at(run: Run, verdict: str) -> None:
    assert check_times([run], now=NOW).verdict == verdict


@pytest.mark.parametrize(
    ("runs", "verdict"),
    [
        ([timed()], "not checked"),
        ([timed(status="aborted")], "holds"),
        ([timed(NOW - 30, status="aborting")], "holds"),
        ([timed(NOW - 7200, status="aborting")], "does not hold"),
        ([timed(status="aborted"), timed(status="aborting")], "does not hold"),
    ],
)
def test_runs_that_stay_aborting_are_told(runs: list[Run], verdict: str) -> None:
    assert check_aborting(runs, now=NOW).verdict == verdict


@pytest.mark.parametrize(
    ("raw", "verdict"),
    [
        ({"properties": [{"name": "x"}]}, "holds"),
        ({"properties": {"x": {}}}, "holds"),
        ({"properties": []}, "not checked"),
        ({"properties": {}}, "not checked"),
        ({}, "not checked"),
        ({"fields": ["x"]}, "does not hold"),
        ({"properties": "x"}, "does not hold"),
    ],
)
def test_the_shape_of_an_input_schema_is_told(raw: dict[str, Any], verdict: str) -> None:
    properties = [InputProperty(name="x")] if verdict == "holds" else []

    assert check_schema(InputSchema(properties=properties, raw=raw)).verdict == verdict


@pytest.fixture
def served(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    with in_environment(service, monkeypatch):
        yield service


def test_the_lines_of_a_report_fit_and_each_assumption_has_some(served: FakeService) -> None:
    lines = invoke("doctor").stdout.splitlines()
    told = lines[lines.index(TITLE) + 1 : -1]

    assert max(map(len, told)) <= 80
    starts = [line.split()[:2] for line in told if not line.startswith(" ")]
    assert [name for _, name in starts] == [assumption.name for assumption in ASSUMPTIONS]
    assert {mark for mark, _ in starts} <= {"YES", "NO", "?"}
    text = " ".join(line.strip() for line in told)
    assert "checked on the account: read with the key holds: the key is accepted" in text
    assert "not checked: only a start shows it, which costs money" in text


def test_json_has_an_object_an_assumption(served: FakeService) -> None:
    lines = [json.loads(line) for line in invoke("doctor", "--json").stdout.splitlines()]
    told = [line for line in lines if "assumption" in line]

    assert [line["assumption"] for line in told] == [assumption.name for assumption in ASSUMPTIONS]
    assert all(line.keys() == {"assumption", "verdict", "says", "how", "on", "why"} for line in told)


def test_each_inference_of_the_contract_has_an_assumption() -> None:
    if not CONTRACT.exists():
        pytest.skip("the contract is not here")
    section, inferred = "", set[str]()
    for line in CONTRACT.read_text().splitlines():
        heading = re.match(r"#+ (\d+(?:\.\d+)?)\.? ", line)
        if heading is not None:
            section = heading[1]
        if "[inf" in line and section:
            inferred.add(section)

    assert inferred - {"0"} == (SECTIONS.keys() | ADVICE) & inferred - {"0"}
    assert set().union(*SECTIONS.values()) | {"clock"} == {assumption.name for assumption in ASSUMPTIONS}
