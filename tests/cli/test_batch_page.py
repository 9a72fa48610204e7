"""The page about a batch: one file that fetches nothing, and in which no foreign text becomes markup."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import attrs
import pytest
from cli.batch_lines import batch, objects, plan

from coreclaw_async import BatchItem, BatchItemState, BatchReport, Verdict
from coreclaw_async.batch._totals import RunsAlike, Totals
from coreclaw_async.cli.batch.page import page_of
from coreclaw_async.cli.batch.timeline import BatchTimeline
from coreclaw_async.testing import FakeService, RunScript

NOW = dt.datetime(2026, 11, 26, 12, tzinfo=dt.UTC).timestamp()
EMPTY_TAGS = {"meta", "rect", "line", "polyline", "polygon"}
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></title></svg><h1>big</h1>",
    "x" * 10_000,
    "a\x00b\x1b[2Jc\u202ed\ud800e",
    "&lt;b&gt; & caf\u00e9",
)


class Page(HTMLParser):
    """What a browser would make of a page: its elements, which must be nested, and its texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.cells: list[tuple[str, str]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert len(dict(attributes)) == len(attributes), tag
        self.elements.append((tag, dict(attributes)))
        if tag not in EMPTY_TAGS:
            self.open.append(tag)
        if tag in {"td", "th"}:
            self.cells.append((tag, ""))
            list(self.tables.values())[-1][-1].append("")
        elif tag == "tr":
            list(self.tables.values())[-1].append([])

    def handle_endtag(self, tag: str) -> None:
        if tag not in EMPTY_TAGS:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data))
            if {"td", "th"} & set(self.open):
                tag, text = self.cells[-1]
                self.cells[-1] = (tag, text + data)
                list(self.tables.values())[-1][-1][-1] += data
            elif self.open and self.open[-1] == "caption":
                self.tables[data] = []

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text_of(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]


def item(number: int, state: BatchItemState, **members: Any) -> BatchItem:
    return BatchItem(
        **{
            "batch": "b",
            "key": f"k{number}",
            "position": number,
            "worker_id": "me/maps",
            "input_sha256": "",
            "state": state,
            **members,
        }
    )


def ended(
    number: int, state: BatchItemState = BatchItemState.DONE, *, lasted: float = 60.0, **members: Any
) -> BatchItem:
    at = NOW - 7_200 + number * 100
    times = {"submitted_at": at, "ended_at": at + lasted, "run_id": f"R{number}", "cost": Decimal("0.125")}
    return item(number, state, **{"result_count": 4, **times, **members})


def report(items: list[BatchItem], **members: Any) -> BatchReport:
    groups = [
        RunsAlike(
            worker_id=one.worker_id,
            day=dt.datetime.fromtimestamp(one.ended_at or NOW, dt.UTC).date().isoformat(),
            state=one.state,
            cost=one.cost,
            count=1,
            result_count=one.result_count or 0,
            counted=int(one.result_count is not None),
        )
        for one in items
        if one.run_id
    ]
    totals = Totals.of(groups)
    counts = Counter(one.state for one in items)
    failures = [one for one in items if one.state in {BatchItemState.FAILED, BatchItemState.REJECTED}]
    given: dict[str, Any] = {
        "name": "nightly",
        "counts": {state: counts[state] for state in BatchItemState},
        "verdicts": {verdict: sum(one.verdict is verdict for one in items) for verdict in Verdict},
        "runs": totals.all.runs,
        "result_count": totals.all.result_count,
        "cost": totals.all.cost,
        "unknown_rows": totals.all.unknown_rows,
        "unknown_costs": totals.all.unknown_costs,
        "max_spend": None,
        "by_worker": totals.by_worker,
        "by_day": totals.by_day,
        "held": [one for one in items if one.state is BatchItemState.AMBIGUOUS][:100],
        "failures": failures[:100],
        "is_paused": False,
        "is_half_planned": False,
        "requests": 0,
        "wasted": 0,
        "in_flight_limit": None,
    }
    return BatchReport(**{**given, **members})


def page(items: list[BatchItem], **members: Any) -> Page:
    return Page(page_of(report(items, **members), BatchTimeline.of(items), NOW))


def some_of_each() -> list[BatchItem]:
    return [
        ended(0),
        ended(1, lasted=4_000.0),
        ended(2, BatchItemState.FAILED, error="the site was down", lasted=600.0),
        item(3, BatchItemState.REJECTED, error="no such member"),
        item(4, BatchItemState.AMBIGUOUS, candidates=("RA", "RB"), error="one of them"),
        item(5, BatchItemState.SUBMITTED, run_id="R5", submitted_at=NOW - 900),
        item(6, BatchItemState.PLANNED),
        item(7, BatchItemState.CANCELLED),
        item(8, BatchItemState.INTENT),
    ]


def test_a_page_tells_all_about_a_batch() -> None:
    shown = page(some_of_each(), max_spend=Decimal(2))

    assert shown.text_of("title")[0] == "Batch nightly"
    assert shown.text_of("h1") == ["Batch nightly"]
    assert shown.text_of("h2") == [
        "States",
        "Verdicts",
        "Spending",
        "Progress over time",
        "Failed and refused items",
        "Held items",
        "Slowest items",
        "Longest running items",
        "Workers",
        "Days (UTC)",
    ]
    texts = [text for _, text in shown.texts]
    assert "$0.375 of $2.00: 19% of the budget." in texts
    cells = [text for _, text in shown.cells]
    for text in ("the site was down", "no such member", "RA, RB", "1 h 6 min", "10 min 0 s", "15 min 0 s", "60.0 s"):
        assert text.replace("60.0 s", "1 min 0 s") in cells


def test_verdicts_are_counted_and_told_of_each_item() -> None:
    verdicts = (Verdict.PASS, Verdict.ERROR_ROWS, None, None)
    items = [ended(number, verdict=verdict) for number, verdict in enumerate(verdicts)]
    items.append(ended(4, BatchItemState.FAILED, verdict=Verdict.ABORTED, error="it took too long"))
    tables = page(items).tables

    assert tables["Items of each verdict"] == [
        ["Verdict", "Items", "Share", "Meaning"],
        ["pass", "1", "20.0%", "It has rows, and none of them is an error row."],
        ["error_rows", "1", "20.0%", "Some of its rows hold an error, such as a captcha, instead of data."],
        ["aborted", "1", "20.0%", "Its run was aborted."],
        ["(not looked at)", "2", "40.0%", "Its rows are in no file of this batch."],
    ]
    assert tables["Failed and refused items"][1:] == [["k4", "it took too long", "failed", "aborted", "R4"]]
    slowest = {row[0]: row[3] for row in tables["Slowest items"]}
    assert slowest == {"Key": "Verdict", "k0": "pass", "k1": "error_rows", "k2": "", "k3": "", "k4": "aborted"}


def test_each_verdict_has_a_meaning() -> None:
    items = [ended(number, verdict=verdict) for number, verdict in enumerate(Verdict)]

    assert {verdict.value for verdict in Verdict} <= {text for _, text in page(items).cells}


def test_held_items_tell_all_their_candidates() -> None:
    ids = tuple(f"{number:026}" for number in range(100))
    shown = page([item(0, BatchItemState.AMBIGUOUS, candidates=ids)])

    assert ", ".join(ids) in [text for _, text in shown.cells]


def test_each_chart_has_a_name_and_a_description() -> None:
    shown = page(some_of_each(), max_spend=Decimal(2))
    charts = shown.all("svg")
    ids = Counter(attributes["id"] for _, attributes in shown.elements if "id" in attributes)

    assert len(charts) == 6
    assert max(ids.values()) == 1
    for chart in charts:
        assert chart["role"] == "img"
        assert set((chart["aria-labelledby"] or "").split()) <= set(ids)
    descriptions = shown.text_of("desc")
    assert descriptions[0].startswith("done: 2, submitted: 1, intent: 1, planned: 1, ambiguous: 1, failed: 1")
    assert "4 started, 2 done, 1 failed, of 9" in descriptions[2]


def test_tables_have_headers_and_can_be_scrolled_by_keyboard() -> None:
    shown = page(some_of_each())
    scopes = Counter(attributes["scope"] for attributes in shown.all("th"))

    assert len(shown.all("table")) == len(shown.all("caption")) == len(shown.all("thead")) == 8
    assert scopes["row"] == len(shown.all("tr")) - 8
    for region in shown.all("div"):
        if region.get("class") == "scroll":
            assert (region["tabindex"], region["role"]) == ("0", "region")
            assert region["aria-label"]


def test_nothing_is_fetched_and_nothing_runs() -> None:
    shown = page(some_of_each())

    assert {tag for tag, _ in shown.elements}.isdisjoint({"script", "link", "img", "iframe", "object", "base", "form"})
    for _, attributes in shown.elements:
        assert attributes.keys().isdisjoint({"src", "href", "xlink:href", "style", "action"})
        assert not any(name.startswith("on") for name in attributes)
    (policy,) = (one["content"] for one in shown.all("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert "url(" not in "".join(shown.text_of("style"))


@pytest.mark.parametrize("text", HOSTILE, ids=["script", "image", "ends", "long", "controls", "entities"])
def test_no_text_of_anybodys_is_more_than_a_text(text: str) -> None:
    items = [
        ended(0, BatchItemState.FAILED, key=text, error=text, worker_id=text, run_id=text),
        item(1, BatchItemState.AMBIGUOUS, key=text, candidates=(text,), error=text),
        item(2, BatchItemState.SUBMITTED, key=text, run_id=text, submitted_at=NOW - 9, worker_id=text),
    ]
    hostile = page_of(report(items, name=text), BatchTimeline.of(items), NOW)
    tame = page(
        [attrs.evolve(one, key="k", worker_id="w", error="e", run_id=one.run_id and "r") for one in items], name="n"
    )
    shown = Page(hostile)

    assert Counter(tag for tag, _ in shown.elements) == Counter(tag for tag, _ in tame.elements)
    hostile.encode("utf-8")
    assert not any(letter < " " and letter != "\n" for letter in hostile)
    assert "\u202e" not in hostile
    if len(text) < 100 and text.isprintable():
        assert shown.text_of("h1") == [f"Batch {text}"]
        assert [cell for _, cell in shown.cells].count(text) >= 8
    elif len(text) > 400:
        assert len(hostile) < 30_000
        assert any(cell.endswith("\u2026 (10,000 letters)") for _, cell in shown.cells)


def test_a_page_of_very_many_items_stays_small() -> None:
    items = [ended(number, BatchItemState.FAILED if number % 3 else BatchItemState.DONE) for number in range(5_000)]
    text = page_of(report(items), BatchTimeline.of(items), NOW + 500_000)

    assert len(text) < 60_000
    assert "And 3,233 more: <code>coreclaw-async batch items NAME --state failed --state rejected</code>" in text


def test_many_workers_are_not_all_shown() -> None:
    items = [ended(number, worker_id=f"me/w{number:03}") for number in range(70)]
    shown = page(items)

    assert sum(text.startswith("me/w") for _, text in shown.cells) == 60
    assert "And 10 more: " in [text for _, text in shown.texts]


def test_an_empty_batch_has_a_page_too() -> None:
    shown = page([])
    texts = [text for _, text in shown.texts]

    for text in ("$0.00. The batch has no budget.", "Too little has happened yet.", "None.", "No run has ended yet."):
        assert text in texts
    assert texts.count("No run has been started yet.") == 2


@pytest.mark.parametrize(
    "items",
    [
        [item(0, BatchItemState.SUBMITTED, run_id="R", submitted_at=NOW)],
        [ended(0, lasted=0.0)],
        [ended(0, cost=None)],
        [ended(0, cost=Decimal(0))],
        [ended(0, cost=Decimal("1E+59"))],
        [ended(0, submitted_at=None)],
        [ended(0, submitted_at=NOW + 9_999)],
        [ended(0, ended_at=None)],
        [item(0, BatchItemState.FAILED)],
    ],
    ids=["one start", "no time", "unknown cost", "free", "dear", "no start", "end before start", "no end", "no reason"],
)
def test_odd_items_make_a_page_all_the_same(items: list[BatchItem]) -> None:
    for max_spend in (None, Decimal("0.01")):
        assert page(items, max_spend=max_spend).text_of("h1") == ["Batch nightly"]


def test_what_is_unknown_paused_or_half_planned_is_said() -> None:
    shown = page([ended(0, cost=None, result_count=None)], is_paused=True, is_half_planned=True)
    texts = [text for _, text in shown.texts]

    assert "The batch is paused: nothing is started." in texts
    assert "The last plan did not finish: items may be missing." in texts
    assert [text for _, text in shown.cells].count("1 unknown") == 4
    assert texts.count("unknown") == 2
    assert "An unknown amount, as 1 run has an unknown cost. The batch has no budget." in texts


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([ended(0), ended(1)], "$0.25 of $1.00: 25% of the budget."),
        (
            [ended(0), ended(1, cost=None)],
            "At least $0.125 of $1.00, as 1 run has an unknown cost: at least 12% of the budget.",
        ),
        (
            [ended(0, cost=None), ended(1, cost=None)],
            "An unknown amount of $1.00, as 2 runs have an unknown cost: an unknown part of the budget.",
        ),
    ],
    ids=["known", "known in part", "unknown"],
)
def test_the_share_of_the_budget_is_told_as_far_as_it_is_known(items: list[BatchItem], words: str) -> None:
    assert words in [text for _, text in page(items, max_spend=Decimal(1)).texts]


def test_the_story_of_a_batch_counts_what_had_happened_by_then() -> None:
    story = BatchTimeline.of(some_of_each())
    first, *_, last = story.points()

    assert (first.started, first.done, first.failed, first.cost) == (1, 0, 0, 0.0)
    assert (last.started, last.done, last.failed, last.cost) == (4, 2, 1, 0.375)
    assert [one.key for _, one in story.slowest] == ["k1", "k2", "k0"]
    assert [one.key for _, one in story.oldest] == ["k5"]


def test_only_the_slowest_are_kept() -> None:
    story = BatchTimeline.of(ended(number, lasted=float(number * 37 % 101)) for number in range(101))

    assert [seconds for seconds, _ in story.slowest] == [float(number) for number in range(100, 90, -1)]


@pytest.mark.usefixtures("ledger")
def test_the_command_writes_a_page_and_still_reports(served: FakeService, tmp_path: Path) -> None:
    served.detail_err_msg = True
    served.script_next(RunScript(outcome="failed", error_message=HOSTILE[0], duration=0.0))
    plan(tmp_path)
    batch("run", "--max-in-flight", "1", "--max-spend", "1")
    path = tmp_path / "report.html"
    path.write_text("old")
    path.chmod(0o640)
    told = batch("report", "--html", str(path), "--json")
    printed = batch("report", "--html", "-")
    shown = Page(path.read_text("utf-8"))

    assert objects(told)[0]["counts"]["done"] == 2
    assert f"{path} ({path.stat().st_size:,} bytes)" in told.stderr
    assert path.stat().st_mode & 0o777 == 0o640
    assert HOSTILE[0] in [text for _, text in shown.cells]
    assert Page(printed.stdout).text_of("h1") == ["Batch nightly"]


@pytest.mark.usefixtures("ledger", "served")
def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    plan(tmp_path)
    for path in (tmp_path, tmp_path / "none" / "report.html"):
        outcome = batch("report", "--html", str(path))
        assert outcome.exit_code == 2
        assert "--html" in outcome.stderr
