"""A page about a batch for a browser: one file without scripts that loads nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from html import escape
from pathlib import Path

from coreclaw_async._data.counting import counted
from coreclaw_async._sync.generated import Batch
from coreclaw_async._version import __version__
from coreclaw_async._wire.timestamps import moment_of
from coreclaw_async.batch import BatchItem, BatchItemState, BatchReport, RunTotals
from coreclaw_async.cli._screen.output import whole_file
from coreclaw_async.cli._screen.screen import money, plain
from coreclaw_async.cli.batch.page_charts import ChartIds, Curve, Part
from coreclaw_async.cli.batch.page_style import STYLE
from coreclaw_async.cli.batch.state_tables import (
    NOT_LOOKED_AT,
    at_least,
    cost_in_short,
    rows_in_short,
    spent,
    verdict_counts,
)
from coreclaw_async.cli.batch.timeline import BatchTimeline, Point
from coreclaw_async.models import Verdict

_MAX_LETTERS = 400
_MAX_LETTERS_OF_TITLE = 100
_MAX_ROWS = 60
_MINUTE, _HOUR = 60.0, 3600.0
_STATES: Mapping[BatchItemState, str] = {
    BatchItemState.DONE: "Its run succeeded.",
    BatchItemState.SUBMITTED: "Its run is still running, or its rows were not read yet.",
    BatchItemState.INTENT: "Its start is being sent, or no answer has arrived.",
    BatchItemState.PLANNED: "It waits to be started.",
    BatchItemState.AMBIGUOUS: "It is held: a person must decide whether it has a run.",
    BatchItemState.FAILED: "Its run ended without success.",
    BatchItemState.REJECTED: "The service refused it; there is no run.",
    BatchItemState.CANCELLED: "It was taken out before it was started.",
}
_VERDICTS: Mapping[str, str] = {
    Verdict.PASS: "It has rows, and none of them is an error row.",
    Verdict.EMPTY: "Its run succeeded without rows.",
    Verdict.ERROR_ROWS: "Some of its rows hold an error, such as a captcha, instead of data.",
    Verdict.FAILED: "Its run failed.",
    Verdict.ABORTED: "Its run was aborted.",
    Verdict.UNKNOWN: "The service does not tell enough about its run.",
    NOT_LOOKED_AT: "Its rows are in no file of this batch.",
}


def write_page(batch: Batch, told: BatchReport, path: Path) -> None:
    """
    Write a page about a batch, whole or not at all.

    Raises:
        LedgerError: The ledger cannot be read.
        OSError: It cannot be written.
    """
    page = page_of(told, BatchTimeline.of(batch.items()), time.time())
    with whole_file(path) as file:
        file.write(page)
        file.flush()


def page_of(told: BatchReport, story: BatchTimeline, now: float) -> str:
    """Return the page as text, as it is at *now*."""
    charts = ChartIds()
    name = _text(told.name, _MAX_LETTERS_OF_TITLE)
    sections = [
        _summary(told),
        _section("States", _states(told, charts)),
        _section("Verdicts", _verdicts(told)),
        _section("Spending", _spending(told, charts)),
        _section("Progress over time", _progress(told, story.points(), charts)),
        _section("Failed and refused items", _failures(told)),
        _section("Held items", _held(told)) if told.held else "",
        _section("Slowest items", _slowest(story)),
        _section("Longest running items", _oldest(story, now)) if story.oldest else "",
        _section("Workers", _sums("Worker", told.by_worker, charts)),
        _section("Days (UTC)", _sums("Day", dict(sorted(told.by_day.items(), reverse=True)), charts)),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        # Nothing is fetched and nothing runs, whatever strings the service sends.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>Batch {name}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>Batch {name}</h1>\n{''.join(sections)}</main>\n"
        f"<footer>As of {_moment(now)}, by coreclaw-async {escape(__version__)}.</footer>\n</body>\n</html>\n"
    )


def _summary(told: BatchReport) -> str:
    open_items = sum(count for state, count in told.counts.items() if state.is_open)
    facts = [
        ("Items", f"{told.total:,}"),
        ("Done", f"{told.counts[BatchItemState.DONE]:,}"),
        ("Open", f"{open_items:,}"),
        ("Failed or refused", f"{_failed(told):,}"),
        ("Held", f"{told.counts[BatchItemState.AMBIGUOUS]:,}"),
        ("Runs", f"{told.runs:,}"),
        ("Rows", at_least(f"{told.result_count:,}", told.result_count, told.unknown_rows)),
        ("Cost", at_least(money(told.cost), told.cost, told.unknown_costs)),
    ]
    cells = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    notes = ""
    if told.is_paused:
        notes += '<p class="note">The batch is paused: nothing is started.</p>\n'
    if told.is_half_planned:
        notes += '<p class="note">The last plan did not finish: items may be missing.</p>\n'
    return f'{notes}<dl class="facts">{cells}</dl>\n'


def _states(told: BatchReport, charts: ChartIds) -> str:
    parts = [Part(state.value, told.counts[state], state.value, f"{told.counts[state]:,}") for state in _STATES]
    rows = [
        (_swatch(state.value) + state.value, f"{count:,}", _share(count, told.total), _text(meaning))
        for state, meaning in _STATES.items()
        if (count := told.counts[state])
    ]
    bar = charts.stacked_bar("Items in each state", parts)
    return bar + _table("Items in each state", ("State", "Items", "Share", "Meaning"), rows, numbers=(1, 2), short=(0,))


def _verdicts(told: BatchReport) -> str:
    counts = verdict_counts(told)
    if not counts:
        return "<p>No run has ended yet.</p>\n"
    of_all = sum(count for _, count in counts)
    rows = [(verdict, f"{count:,}", _share(count, of_all), _VERDICTS[verdict]) for verdict, count in counts]
    heads = ("Verdict", "Items", "Share", "Meaning")
    return _table("Items of each verdict", heads, rows, numbers=(1, 2), short=(0,))


def _spending(told: BatchReport, charts: ChartIds) -> str:
    words = escape(spent(told))
    words = words[:1].upper() + words[1:]
    if told.max_spend is None:
        return f"<p>{words}. The batch has no budget.</p>\n"
    share = float(told.cost / told.max_spend)
    colour = "failed" if share >= 1 else "done"
    part = at_least(f"{share:.0%}", told.cost, told.unknown_costs, if_unknown="an unknown part")
    described = f"{spent(told)}: {part} of the budget"
    return charts.meter("Spent of the budget", described, share, colour) + f"<p>{words}: {part} of the budget.</p>\n"


def _progress(told: BatchReport, points: Sequence[Point], charts: ChartIds) -> str:
    if not points:
        return "<p>Too little has happened yet.</p>\n"
    done = [float(point.done) for point in points]
    ended = [float(point.done + point.failed) for point in points]
    first, last = points[0], points[-1]
    between = f"from {_moment(first.at)} to {_moment(last.at)}"
    items = charts.over_time(
        "Items started, done and failed over time",
        f"{between}: {last.started} started, {last.done} done, {last.failed} failed, of {told.total}",
        [
            Curve(done, "done", below=[0.0] * len(done)),
            Curve(ended, "failed", below=done),
            Curve([float(point.started) for point in points], "stroke-submitted"),
        ],
        float(told.total),
    )
    legend = "".join(
        f"<li>{_swatch(colour)}{name}</li>"
        for colour, name in (("done", "done"), ("failed", "failed"), ("submitted", "started"))
    )
    return (
        f'<ul class="legend">{legend}</ul>\n'
        + _framed(items, counted(told.total, "item"), first, last)
        + _money_chart(told, points, between, charts)
    )


def _money_chart(told: BatchReport, points: Sequence[Point], between: str, charts: ChartIds) -> str:
    first, last = points[0], points[-1]
    if not last.cost:
        return ""
    budget = None if told.max_spend is None else float(told.max_spend)
    highest = max(last.cost, budget or 0.0)
    lines = [Curve([point.cost for point in points], "cost", below=[0.0] * len(points))]
    if budget is not None:
        lines.append(Curve([budget] * len(points), "limit"))
    limit = "" if told.max_spend is None else f", with a budget of {money(told.max_spend)}"
    chart = charts.over_time(
        "Cost over time", f"{between}: up to {_dollars(last.cost)} for the last run of each item{limit}", lines, highest
    )
    heading = "Cost of the last run of each item" + (", against the budget (dashed)" if budget is not None else "")
    return f"<h3>{heading}</h3>\n" + _framed(chart, _dollars(highest), first, last)


def _framed(chart: str, top: str, first: Point, last: Point) -> str:
    return (
        f'<div class="framed"><p class="top" aria-hidden="true">{escape(top)}</p>{chart}'
        f'<p class="axis" aria-hidden="true"><span>{_moment(first.at)}</span><span>{_moment(last.at)}</span></p>'
        "</div>\n"
    )


def _failures(told: BatchReport) -> str:
    if not told.failures:
        return "<p>None.</p>\n"
    rows = [
        (_text(item.key), _text(item.error or "unknown"), item.state.value, item.verdict or "", _run(item))
        for item in told.failures
    ]
    table = _table("Failed and refused items", ("Key", "Reason", "State", "Verdict", "Run"), rows, short=(2, 3, 4))
    return table + _more(_failed(told) - len(told.failures), "--state failed --state rejected")


def _held(told: BatchReport) -> str:
    rows = [
        (_text(item.key), ", ".join(map(_text, item.candidates)) or "none", _text(item.error or ""))
        for item in told.held
    ]
    table = _table("Held items", ("Key", "Candidates", "Reason"), rows)
    return table + _more(told.counts[BatchItemState.AMBIGUOUS] - len(told.held), "--state ambiguous")


def _more(count: int, states: str) -> str:
    return f"<p>And {count:,} more: <code>coreclaw-async batch items NAME {states}</code></p>\n" if count > 0 else ""


def _slowest(story: BatchTimeline) -> str:
    if not story.slowest:
        return "<p>No run has ended yet.</p>\n"
    rows = [
        (_text(item.key), _lasted(seconds), item.state.value, item.verdict or "", _run(item))
        for seconds, item in story.slowest
    ]
    heads = ("Key", "From start to end", "State", "Verdict", "Run")
    return _table("Slowest items", heads, rows, numbers=(1,), short=(2, 3, 4))


def _oldest(story: BatchTimeline, now: float) -> str:
    rows = [(_text(item.key), _lasted(max(now - since, 0)), _moment(since), _run(item)) for since, item in story.oldest]
    return _table("Longest running items", ("Key", "For", "Since", "Run"), rows, numbers=(1,), short=(2, 3))


def _sums(name: str, sums: Mapping[str, RunTotals], charts: ChartIds) -> str:
    if not sums:
        return "<p>No run has been started yet.</p>\n"
    dearest = max((total.cost for total in sums.values()), default=Decimal(0))
    rows = [
        (
            _text(key),
            escape(cost_in_short(total)),
            f"{total.runs:,}",
            f"{total.done:,}",
            f"{total.empty:,}",
            f"{total.failed:,}",
            rows_in_short(total),
            charts.meter(
                f"Cost: {_cut(key, _MAX_LETTERS_OF_TITLE)}",
                cost_in_short(total),
                float(total.cost / dearest) if dearest else 0.0,
                "cost",
            ),
        )
        for key, total in list(sums.items())[:_MAX_ROWS]
    ]
    caption = f"Runs, rows and cost of each {name.lower()}"
    heads = (name, "Cost", "Runs", "Done", "Empty", "Failed", "Rows", "Compared")
    more = len(sums) - len(rows)
    left = f"<p>And {more:,} more: <code>coreclaw-async batch report NAME --json</code></p>\n" if more > 0 else ""
    return _table(caption, heads, rows, numbers=(1, 2, 3, 4, 5, 6)) + left


def _table(
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: Sequence[int] = (),
    short: Sequence[int] = (),
) -> str:
    """Return a table of HTML cells. Columns in *numbers* are right-aligned, and those in *short* are never wrapped."""

    def kind(column: int) -> str:
        names = [name for name, columns in (("number", numbers), ("short", short)) if column in columns]
        return f' class="{" ".join(names)}"' if names else ""

    head = "".join(f'<th scope="col"{kind(column)}>{text}</th>' for column, text in enumerate(heads))
    body = "".join(
        f'<tr><th scope="row"{kind(0)}>{cells[0]}</th>'
        + "".join(f"<td{kind(column)}>{text}</td>" for column, text in enumerate(cells[1:], 1))
        + "</tr>\n"
        for cells in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}"><table><caption>{caption}</caption>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<section>\n<h2>{title}</h2>\n{content}</section>\n"


def _text(text: str, most: int = _MAX_LETTERS) -> str:
    """Return any string as HTML without control characters, cut if it is very long."""
    return escape(_cut(text, most))


def _cut(text: str, most: int) -> str:
    shown = plain(text[:most])
    cut = f" \N{HORIZONTAL ELLIPSIS} ({counted(len(text), 'letter')})" if len(text) > most else ""
    return shown + cut


def _swatch(colour: str) -> str:
    return f'<span class="swatch fill-{colour}" aria-hidden="true"></span>'


def _run(item: BatchItem) -> str:
    return "" if item.run_id is None else f"<code>{_text(item.run_id)}</code>"


def _failed(told: BatchReport) -> int:
    return told.counts[BatchItemState.FAILED] + told.counts[BatchItemState.REJECTED]


def _share(count: int, total: int) -> str:
    return f"{count / total:.1%}"


def _dollars(amount: float) -> str:
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4g}"


def _moment(at: float) -> str:
    return f"{moment_of(int(at)):%Y-%m-%d %H:%M} UTC"


def _lasted(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    if seconds < _HOUR:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600):,} h {int(seconds % 3600 // 60)} min"
