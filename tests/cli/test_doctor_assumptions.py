"""What the doctor finds out about the assumptions of the client, on services that keep them and on others."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from cli.command_line import in_environment
from cli.doctor_reports import KEY, only, report
from raw_server import RUN_IDS

from coreclaw_async.testing import FakeService, RealClock, faults

WORKER = "someone/worker-0"
LISTS = ["the store", "the list of runs", "the rows of a run"]
ZONE = dt.timezone(dt.timedelta(hours=8))


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    service = FakeService(api_key=KEY, clock=RealClock())
    for number in range(6):
        service.add_worker(f"someone/worker-{number}")
    with in_environment(service, monkeypatch):
        yield service


def with_runs(service: FakeService, count: int = 5) -> list[str]:
    return [service.add_run(WORKER, rows=5, age=count - number) for number in range(count)]


def edit_runs(service: FakeService, change: Callable[[dict[str, Any], int], object], **where: Any) -> None:
    """Change each run in the first answers of the list of runs; *change* also gets the run's place."""

    def edit(answer: dict[str, Any]) -> dict[str, Any]:
        for place, run in enumerate(answer["data"]["list"]):
            change(run, place)
        return answer

    service.faults.add(faults.edit(edit), operation="listWorkerRuns", times=99, **where)


def edit_data(service: FakeService, operation: str, change: Callable[[dict[str, Any]], object], **where: Any) -> None:
    def edit(answer: dict[str, Any]) -> dict[str, Any]:
        change(answer["data"])
        return answer

    service.faults.add(faults.edit(edit), operation=operation, **{"times": 99, **where})


@pytest.mark.parametrize("echo", [True, False])
@pytest.mark.parametrize(
    ("dialect", "words"),
    [("row", "rows"), ("page", "pages"), ("aligned", "rows, down to the first of a page")],
)
def test_the_meaning_of_offset_is_found_in_each_list(
    service: FakeService, dialect: Literal["row", "page", "aligned"], words: str, *, echo: bool
) -> None:
    service.offset_dialect, service.echo_page_index = dialect, echo
    with_runs(service)
    service.add_run(WORKER, rows=40, age=0.5)

    assert report()["paging"] == [("OK", f"{name}: an offset counts {words}") for name in LISTS]


def test_what_is_too_short_tells_nothing_about_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    service = FakeService(api_key=KEY, clock=RealClock())
    monkeypatch.setenv("CORECLAW_API_KEY", KEY)
    service.add_run("coreclaw/google-maps-scraper", rows=2, age=1.0)
    with service.serve() as server:
        found = report("--base-url", server.url)

    words = "is too short to tell what an offset counts; the client finds out"
    assert found["paging"] == [("OK", f"{name} {words}") for name in LISTS]
    assert only(found["order"]) == ("OK", "too few run ids hold a time to check the order")


def test_an_offset_that_counts_nothing_is_warned_of(service: FakeService) -> None:
    service.offset_dialect = "row"
    edit_data(service, "listStore", lambda data: data["scraper"].reverse(), after=1)
    state, detail = report()["paging"][0]

    assert (state, detail) == (
        "WARN",
        "the store: an offset counts neither rows nor pages, or something came in between: try again",
    )


def test_items_without_names_are_warned_of(service: FakeService) -> None:
    service.offset_dialect = "row"

    def rename(data: dict[str, Any]) -> None:
        data["scraper"] = [{"title": "x"} for _ in data["scraper"]]

    edit_data(service, "listStore", rename)

    assert report()["paging"][0] == (
        "WARN",
        "the store: an offset counts neither rows nor pages, its items have no names",
    )


def test_more_on_a_page_than_was_asked_for_is_warned_of(service: FakeService) -> None:
    edit_data(service, "listStore", lambda data: data["scraper"].extend(data["scraper"]))

    assert report()["paging"][0] == ("WARN", "the store: a page holds more than was asked for")


def test_two_meanings_of_offset_are_warned_of(service: FakeService) -> None:
    runs = with_runs(service)

    def shift(data: dict[str, Any]) -> None:
        data["list"] = [{"slug": run_id} for run_id in runs[::-1][2:]]

    edit_data(service, "listWorkerRuns", shift, match=lambda request: request.query.get("offset") == "2")
    found = report()["paging"]

    assert found[0] == ("OK", "the store: an offset counts pages")
    assert found[1] == ("WARN", "the list of runs: an offset counts rows, unlike in another list")


def test_a_page_index_of_another_page_is_warned_of(service: FakeService) -> None:
    with_runs(service)
    edit_data(service, "listWorkerRuns", lambda data: data.update(page_index=7))

    words = "the list of runs: an offset counts pages, and page_index tells another page"
    assert report()["paging"][1] == ("WARN", words)


@pytest.mark.parametrize(
    ("members", "finding"),
    [
        ({}, ("OK", "the list of runs tells count, page_index, page_size")),
        ({"page_index": None}, ("OK", "the list of runs tells count, page_size")),
        ({"page_index": None, "page_size": None}, ("OK", "the list of runs tells count")),
        ({"page_size": 10}, ("WARN", "the list of runs has pages of another size than was asked for")),
        ({"count": None}, ("WARN", "the list of runs has no count, or one below the runs that came")),
        ({"count": "many"}, ("WARN", "the list of runs has no count, or one below the runs that came")),
        ({"count": 1}, ("WARN", "the list of runs has no count, or one below the runs that came")),
    ],
)
def test_what_a_list_tells_of_itself_is_told(
    service: FakeService, members: dict[str, Any], finding: tuple[str, str]
) -> None:
    with_runs(service)
    service.run_list_echo = True
    edit_data(service, "listWorkerRuns", lambda data: data.update(members))

    assert only(report()["echo"]) == finding


def test_a_list_of_runs_without_runs_leaves_what_they_would_show(service: FakeService) -> None:
    found = report()

    assert only(found["runs"]) == ("OK", "there are none this month, so nothing about them is checked")
    assert {"ids", "order", "statuses", "rows", "echo"}.isdisjoint(found)
    assert only(found["months"]) == ("OK", "not checked: there is no run of the month before")


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda run, place: run.update(slug=f"run-{place}"), ("WARN", "no run id tells")),
        (lambda run, place: run.update(slug=None), ("WARN", "no run id tells")),
        (lambda run, place: place or run.update(slug=""), ("WARN", "not all run ids tell")),
        (lambda run, place: run.update(started_at=None), ("OK", "run ids tell a time; no run has started")),
        (lambda run, place: place or run.update(started_at=run["started_at"] - 28_800), ("WARN", "s after the start")),
        (lambda run, place: run.update(started_at=run["started_at"] + 28_800), ("WARN", "s or more before the start")),
        (lambda run, place: place or run.update(started_at=run["started_at"] + 28_800), ("OK", "which fits its start")),
    ],
)
def test_the_time_in_ids_is_compared_with_the_start(
    service: FakeService, change: Callable[[dict[str, Any], int], object], finding: tuple[str, str]
) -> None:
    with_runs(service)
    edit_runs(service, change)
    state, detail = only(report()["ids"])

    assert (state, finding[1] in detail) == (finding[0], True)


def test_a_list_that_is_not_newest_first_is_warned_of(service: FakeService) -> None:
    with_runs(service)
    well = only(report()["order"])
    edit_data(service, "listWorkerRuns", lambda data: data["list"].reverse())

    assert well == ("OK", "the newest run comes first")
    assert only(report()["order"])[0] == "WARN"


def test_statuses_beyond_the_contract_are_listed(service: FakeService) -> None:
    with_runs(service, 8)
    words = ["Aborted", "paused", RUN_IDS[0], KEY, "x" * 30, None, "running", "succeeded"]
    edit_runs(service, lambda run, place: run.update(status=words[place % 8]))

    unknown = "a status that is not shown (taken for going)"
    told = [unknown, "Aborted (taken for aborted)", unknown, "paused (taken for going)", unknown]
    listed = ", ".join([*told, "a run without a status that can be read"])
    assert only(report()["statuses"]) == ("WARN", f"not in the contract: {listed}")


def test_many_statuses_are_not_all_listed(service: FakeService) -> None:
    with_runs(service, 8)
    edit_runs(service, lambda run, place: run.update(status="a" * (place + 1)))

    assert only(report()["statuses"])[1].endswith("aaaaa (taken for going), and more")


@pytest.mark.parametrize(
    ("members", "finding"),
    [
        ({}, ("OK", "a run has as many rows as it says, and as their count says")),
        ({"count": None}, ("WARN", "the rows of a run come without a count")),
        ({"count": 6}, ("WARN", "a run has fewer rows than their count says")),
        ({"count": 4}, ("WARN", "a run has more rows than their count says")),
        ({"count": 1, "list": [{"a": 1}]}, ("WARN", "a run has fewer rows than it says")),
    ],
)
def test_rows_are_compared_with_their_counts(
    service: FakeService, members: dict[str, Any], finding: tuple[str, str]
) -> None:
    with_runs(service)
    edit_data(service, "listWorkerRunResults", lambda data: data.update(members), times=1)

    assert only(report()["rows"]) == finding


def test_rows_are_read_of_a_small_run_that_has_ended_and_has_a_usable_name(service: FakeService) -> None:
    service.add_run(WORKER, rows=101, age=6.0)
    without = service.add_run(WORKER, rows=0, age=5.0)
    service.add_run(WORKER, rows=2, age=4.0)
    wanted = service.add_run(WORKER, rows=4, age=3.0)
    service.add_run(WORKER, rows=3, age=2.0, status="running")
    edit_runs(service, lambda run, place: run.update(slug="../../x", results=3) if place == 0 else None)
    service.add_run(WORKER, rows=3, age=1.0)
    report()

    read = {request.path for request in service.requests if request.operation == "listWorkerRunResults"}
    assert read == {f"/api/v2/worker-runs/{run_id}/result" for run_id in (wanted, without)}


def test_without_such_a_run_rows_are_not_checked(service: FakeService) -> None:
    service.add_run(WORKER, rows=101, age=6.0)

    assert only(report()["rows"]) == ("OK", "not checked: no run of the newest has ended with 1 to 100 rows")


@pytest.mark.parametrize("operation", ["listWorkerRuns", "listWorkerRunResults", "listStore"])
def test_what_is_refused_fails_and_the_rest_is_checked(service: FakeService, operation: str) -> None:
    with_runs(service)
    after = {"listWorkerRuns": 1, "listWorkerRunResults": 0, "listStore": 1}[operation]
    service.faults.add(faults.error(11000, message=f"{KEY} {RUN_IDS[0]}"), operation=operation, after=after)
    found = report()

    refused = [("FAIL", "HTTP 400 and code 11000 (InvalidArgumentError)")]
    failed = {check: states for check, states in found.items() if any(state == "FAIL" for state, _ in states)}
    assert [finding for findings in failed.values() for finding in findings if finding[0] == "FAIL"] == refused
    assert "months" in found


ODD: list[Any] = [None, [], {}, "", "x", 5, -1, 1e300, 10**30, True, [None], {"list": 5}, {"list": [None, 5, []]}]


@pytest.mark.parametrize("operations", [("listStore", "getAccount", "listWorkerRuns"), ("listWorkerRunResults",)])
@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_any_data_can_be_looked_at(service: FakeService, operations: tuple[str, ...], odd: Any) -> None:
    with_runs(service)
    for operation in operations:
        service.faults.add(faults.edit(lambda answer: {**answer, "data": odd}), operation=operation, times=99)

    report()


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_runs_with_any_members_can_be_looked_at(service: FakeService, odd: Any) -> None:
    """Each run has another odd member."""
    members = ["slug", "status", "results", "started_at", "finished_at", "scraper_slug"]
    with_runs(service, len(members))
    edit_runs(service, lambda run, place: run.update({members[place]: odd}) if place < len(members) else None)

    report()


def in_the_middle_of_a_month(service: FakeService) -> float:
    """Set the service's clock to noon of the 15th, in its zone, and return the age of a run of the month before."""
    now = dt.datetime.now(ZONE).replace(day=15, hour=12, minute=0, second=0, microsecond=0)
    service.clock.set_time(now.timestamp())
    return 25 * 86_400.0


def test_a_list_of_the_current_month_is_told(service: FakeService) -> None:
    age = in_the_middle_of_a_month(service)
    with_runs(service)
    service.add_run(WORKER, rows=1, age=age)

    assert only(report()["months"]) == ("OK", "the list of runs without times holds the current month in UTC+8 only")


@pytest.mark.parametrize("is_shown", [True, False])
def test_a_list_of_more_than_the_current_month_is_warned_of(service: FakeService, *, is_shown: bool) -> None:
    age = in_the_middle_of_a_month(service)
    with_runs(service)
    old = service.add_run(WORKER, rows=1, age=age)

    def add(data: dict[str, Any]) -> None:
        data["count"] += 1
        if is_shown:
            data["list"].append({**data["list"][0], "slug": old})

    edit_data(service, "listWorkerRuns", add, match=lambda request: "start_time" not in request.query)
    state, detail = only(report()["months"])

    assert state == "WARN"
    words = "holds other months than the current one" if is_shown else "holds more than the current month in UTC+8"
    assert words in detail


def test_windows_that_keep_nothing_out_are_warned_of(service: FakeService) -> None:
    in_the_middle_of_a_month(service)
    run_id = with_runs(service)[0]

    def show_all(data: dict[str, Any]) -> None:
        data.update(list=[{"slug": run_id}], count=5)

    edit_data(service, "listWorkerRuns", show_all, match=lambda request: "start_time" in request.query)

    words = "the list of runs of the month before holds runs of this month"
    assert only(report()["months"]) == ("WARN", words)


def test_lists_without_counts_tell_nothing_about_months(service: FakeService) -> None:
    in_the_middle_of_a_month(service)
    with_runs(service)

    def hide(data: dict[str, Any]) -> None:
        data.update(count=None, list=data["list"] or [])

    edit_data(service, "listWorkerRuns", hide)

    assert only(report()["months"]) == ("OK", "not checked: the lists of runs have no count")
