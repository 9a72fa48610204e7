"""What notebooks show: short tables in which nothing of what the service sent is markup."""

from __future__ import annotations

import datetime as dt
import html
import re
from decimal import Decimal
from typing import Any

import attrs
import pytest

from coreclaw_async import (
    BatchItemState,
    BatchReport,
    Export,
    InputCheck,
    InputIssue,
    IssueSeverity,
    Page,
    ResultHeader,
    ResultPage,
    Run,
    RunTotals,
    Verdict,
)

HOSTILE = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</table></td>&amp;",
    "\ud800 lone",
    "\u202egnp.exe\x1b[2J\x00\r\n",
    "a" * 10_000,
]
ALLOWED = re.compile(r"</?(?:table|caption|tr|th|td)>")


def text_of(shown: Any) -> str:
    """Return what is read, and check that nothing is markup but the table itself."""
    source = shown._repr_html_()
    assert isinstance(source, str)
    source.encode()
    rest = ALLOWED.sub("|", source)
    assert not set(rest) & set("<>\"'"), rest
    assert len(source) < 30_000
    return html.unescape(rest)


def report(name: str = "nightly", **members: Any) -> BatchReport:
    return BatchReport(
        name=name,
        counts=dict.fromkeys(BatchItemState, 0) | {BatchItemState.DONE: 3, BatchItemState.FAILED: 1},
        verdicts=dict.fromkeys(Verdict, 0) | {Verdict.EMPTY: 2},
        runs=4,
        **{
            "result_count": 120,
            "cost": Decimal("1.50"),
            "unknown_rows": 0,
            "unknown_costs": 0,
            "max_spend": None,
            "is_paused": False,
            "is_half_planned": False,
            **members,
        },
        by_worker={"w": RunTotals()},
        by_day={},
        held=(),
        failures=(),
        requests=9,
        wasted=0,
        in_flight_limit=None,
    )


def test_check_of_an_input_is_shown_with_its_issues() -> None:
    issue = InputIssue(path="input.keywords", severity=IssueSeverity.ERROR, message="is required", suggestion="give it")
    check = InputCheck(worker_id="a~b", issues=[issue], task_count=2)

    assert "Input of a~b: 1 issue, 2 tasks" in text_of(check)
    assert "input.keywords||error||is required||give it" in text_of(check)
    assert str(check) == "error: input.keywords is required: give it"
    assert "Input of a~b: 0 issues|" in text_of(InputCheck(worker_id="a~b"))
    assert str(InputCheck(worker_id="a~b")) == "no issues"


def test_run_is_shown_with_what_is_known() -> None:
    started = dt.datetime(2026, 11, 26, 6, 15, tzinfo=dt.UTC)
    run = Run(run_id="01ABC", status="succeeded", result_count=0, usage=Decimal("0.120"), started_at=started)

    assert text_of(run) == (
        "||Run 01ABC|||status||succeeded||||rows||0||||cost in USD||0.120||||started||2026-11-26 06:15:00+00:00|||"
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text_in_every_member(text: str) -> None:
    names = {"run_id", "worker_id", "worker_title", "status", "error_message", "version", "origin"}
    run = Run(**dict.fromkeys(names, text), extra={text: text})  # type: ignore[arg-type]
    for shown in (
        run,
        Page(items=(run, run), extra={text: text}),
        Page(items=(text, (text, {text: text}), [text])),
        ResultPage(items=({text: text, "b": [text]},), headers=(ResultHeader(key="b", label=text),)),
        report(name=text),
    ):
        assert text_of(shown)


def test_long_pages_are_cut_and_say_so() -> None:
    wide = {f"column {number}": number for number in range(40)}
    page = ResultPage(items=tuple(wide for _ in range(100)), count=2_500)

    shown = text_of(page)
    assert "100 of 2500 items; 90 more rows and 28 more columns not shown" in shown
    assert "column 11" in shown
    assert "column 12" not in shown


def test_rows_have_their_labels_and_no_inner_columns() -> None:
    headers = (ResultHeader(key="t", label="Title"), ResultHeader(key="u"))
    page = ResultPage(items=({"t": "a", "__coreclaw_data_id__": "x", "late": {"n": None}},), headers=headers)

    assert text_of(page) == "||1 item|||Title||u||late||||a||||{'n': None}|||"


def test_secrets_of_models_stay_hidden() -> None:
    shown = text_of(Page(items=(Export(download_url="https://h/f?signature=secret"),)))

    assert "https://h/f" in shown
    assert "secret" not in shown


@attrs.frozen
class Failing:
    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "value",
    [10**5_000, Failing(), float("nan"), Decimal("NaN"), None, b"\xff", object()],
    ids=lambda value: type(value).__name__,
)
def test_any_value_can_be_shown(value: Any) -> None:
    assert text_of(ResultPage(items=({"a": value},)))
    assert text_of(Page(items=(value, "text")))


def test_empty_page_is_a_table_without_rows() -> None:
    assert text_of(Page()) == "||0 items||||"
    assert text_of(ResultPage(count=0)) == "||0 of 0 items||||"


def test_report_shows_states_money_and_what_is_unusual() -> None:
    assert text_of(report()) == (
        "||Batch nightly: 4 items|||done||3||||failed||1||||verdict empty||2||||runs||4||||rows||120||||"
        "cost in USD||1.50|||"
    )
    unusual = text_of(
        report(unknown_rows=3, unknown_costs=2, max_spend=Decimal(20), is_paused=True, is_half_planned=True)
    )
    assert "||runs of unknown rows||3||" in unusual
    assert "||unknown costs||2||||budget in USD||20||||paused||True||||half planned||True||" in unusual


def test_report_shows_no_zero_where_nothing_is_known() -> None:
    unknown = text_of(report(result_count=0, unknown_rows=1, cost=Decimal(0), unknown_costs=1))

    assert "||runs||4||||runs of unknown rows||1||||unknown costs||1||" in unknown
    assert "||rows||0||||cost in USD||0|||" in text_of(report(result_count=0, cost=Decimal(0)))
