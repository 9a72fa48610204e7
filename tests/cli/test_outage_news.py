"""What a command says while the service cannot be used: about which runs, how soon and how often."""

from __future__ import annotations

import pytest

from coreclaw_async import events
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.cli.outage_news import OutageNews, current_news

FAILURES: list[tuple[str, int | None, int | None, str]] = [
    ("RateLimitedError", 429, 13000, "The service asks for fewer requests"),
    ("RateLimitedError", 200, 13000, "The service asks for fewer requests"),
    ("RequestNotSentError", None, None, "The service cannot be reached"),
    ("SendTimeoutError", None, None, "The service cannot be reached"),
    ("NoReplyError", None, None, "The service does not answer"),
    ("ServiceError", 500, 10000, "The service fails (HTTP 500)"),
    ("ServiceError", 404, None, "The service fails (HTTP 404)"),
    ("InvalidResponseError", 200, 0, "The service's answer cannot be read (HTTP 200)"),
    ("InvalidResponseError", 200, None, "The service's answer cannot be read (HTTP 200)"),
]


def sent(
    error: str | None = None,
    status: int | None = None,
    code: int | None = None,
    *,
    operation: str = "listWorkerRuns",
    path: str = "/api/v2/worker-runs",
) -> events.RequestSent:
    return events.RequestSent(
        operation=operation,
        method="GET",
        path=path,
        attempt=1,
        elapsed=0.1,
        error=error,
        status_code=status,
        code=code,
    )


def unknown(run_id: str) -> events.RequestSent:
    path = f"/api/v2/worker-runs/{run_id}"
    return sent("NotFoundError", 404, 70001, operation="getWorkerRun", path=path)


@pytest.mark.parametrize(("error", "status", "code", "words"), FAILURES)
def test_the_second_failure_in_a_row_is_told(
    capsys: pytest.CaptureFixture[str], error: str, status: int | None, code: int | None, words: str
) -> None:
    news = OutageNews(Screen())

    news.note(sent(error, status, code))
    assert capsys.readouterr().err == ""  # It may be the end of the command, which says why.
    news.note(sent(error, status, code))

    assert capsys.readouterr().err == f"{words}; still trying. Ctrl-C stops it.\n"


def test_it_is_told_once_a_minute_also_where_requests_succeed_in_between(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 100.0
    news = OutageNews(Screen(), lambda: now)
    failure, success = sent("NoReplyError"), sent()

    for event in (failure, failure, failure, success, success, failure, failure, success):
        news.note(event)
    assert capsys.readouterr().err.splitlines() == [
        "The service does not answer; still trying. Ctrl-C stops it.",
        "The service answers again.",
    ]

    now += 60.0
    news.note(failure)
    news.note(failure)
    assert capsys.readouterr().err == "The service does not answer; still trying. Ctrl-C stops it.\n"


def test_what_is_refused_or_was_cancelled_is_no_outage(capsys: pytest.CaptureFixture[str]) -> None:
    news = OutageNews(Screen())

    for event in (
        sent("AuthenticationError", 401, 12002),
        sent("Cancelled"),
        events.RunStarted(operation="x", run_id="y"),
    ):
        news.note(event)
        news.note(event)

    assert capsys.readouterr().err == ""


def test_a_run_that_the_service_does_not_know_is_named_once_and_no_answer_about_another_takes_that_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    news = OutageNews(Screen())

    for event in (unknown("01A"), sent(), unknown("01A"), sent(), unknown("01A"), unknown("01B"), sent()):
        news.note(event)

    assert capsys.readouterr().err == "The service does not know run 01A; trying for a minute, as the run may be new.\n"


def test_outside_a_command_there_are_news_too() -> None:
    assert isinstance(current_news(), OutageNews)
