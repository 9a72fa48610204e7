"""Figures in README, in plots and in tables are those that benchmarks have found: none was edited by hand."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any
from xml.etree import ElementTree as ET

import figures
import paired
import plots
import pytest
import readme
from figures import Figures
from load import AtOnce
from plots import THEMES, Panel, Series


@pytest.fixture
def kept() -> dict[str, Any]:
    return figures.load()


@pytest.fixture
def text() -> str:
    return readme.README.read_text(encoding="utf-8")


def row(**members: Any) -> dict[str, Any]:
    return {"what": "", "verdict": "", "note": "", "key": "", "value": None, "budget": None, **members}


def test_every_file_has_the_figures_that_are_kept(kept: dict[str, Any]) -> None:
    rendered = readme.rendered(Figures(kept))

    edited = [path.name for path, text in rendered.items() if path.read_text(encoding="utf-8") != text]
    assert edited == [], "run `python benchmarks/readme.py --render`"
    assert {path.name for path in rendered} == {
        "README.md", "rates_light.svg", "rates_dark.svg", "growth_light.svg", "growth_dark.svg",
    }  # fmt: skip
    assert len(rendered) == 6


@pytest.mark.parametrize(
    "figure",
    [r"\d+(?= runs are paid for)", r"[\d,]+(?= requests in five)", r"[\d.]+(?= times as many)"],
)
def test_a_figure_in_a_sentence_that_is_edited_by_hand_is_mended(kept: dict[str, Any], text: str, figure: str) -> None:
    edited, count = re.subn(figure, "99", text)

    assert count == 1
    assert readme.with_sentences(edited, Figures(kept)) == text


def test_a_figure_in_the_table_that_is_edited_by_hand_is_mended(kept: dict[str, Any], text: str) -> None:
    edited, count = re.subn(r"(?<=\| apify-client )\d+(?=, )", "99", text)

    assert count == 1
    assert readme.with_part(edited, readme.block(Figures(kept))) == text


def test_another_figure_changes_the_table_and_the_sentence(kept: dict[str, Any], text: str) -> None:
    for each in kept["bench_lost_reply"]["rows"]:
        each["peer"] += 1000

    assert "apify-client 1,005, openai 1,003" in readme.block(Figures(kept))
    assert "1,005 and 1,003 runs are paid for" in readme.with_sentences(text, Figures(kept))


def test_one_process_is_enough_for_a_million_runs_a_day_as_readme_says(kept: dict[str, Any], text: str) -> None:
    told = Figures(kept)
    milliseconds = told.row(f"growth/{told.sizes()[-1]}/seconds")["value"]

    assert "One process is enough for about a million runs a day" in text
    assert milliseconds / 1000 * 1_000_000 < 86_400


@pytest.mark.parametrize("cut", [readme.BEGIN, readme.END])
def test_a_page_without_the_marks_is_refused(text: str, cut: str) -> None:
    with pytest.raises(ValueError, match="lacks"):
        readme.with_part(text.replace(cut, ""), "part")


def test_a_page_without_a_sentence_is_refused(kept: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=r"0 times, not once: .* runs are paid for"):
        readme.with_sentences(text.replace("runs are paid for", "runs were paid for"), Figures(kept))


def test_figures_of_two_machines_are_refused(kept: dict[str, Any]) -> None:
    kept["bench_waiting"]["machine"]["cores"] += 1

    with pytest.raises(ValueError, match="differ in their machine"):
        readme.block(Figures(kept))


def test_a_row_that_was_not_measured_is_named(kept: dict[str, Any]) -> None:
    del kept["bench_waiting"]

    with pytest.raises(ValueError, match="no row 'waiting/200/0'"):
        readme.block(Figures(kept))


def test_what_was_missed_is_named() -> None:
    found = {
        "bench_waiting": {
            "rows": [row(what="requests", value=2.5, verdict="MISS", budget={"limit": 40, "is_floor": True})]
        },
        "bench_calls": {"rows": [row(what="starts", value=3, verdict="MISS", budget={"limit": 1, "is_floor": False})]},
        "bench_sync": {"rows": [row(what="calls", value=1, verdict="OK", budget={"limit": 1, "is_floor": False})]},
    }

    assert list(Figures(found).missed()) == [
        "bench_waiting: requests: 2.5, to be >= 40",
        "bench_calls: starts: 3, to be <= 1",
    ]


def test_days_and_load_are_told_of_all_benchmarks(kept: dict[str, Any]) -> None:
    for place, each in enumerate(kept.values()):
        each.update(date=f"2026-11-{place + 10}", other_cores=place / 10)
    told = Figures(kept)

    assert told.days() == f"2026-11-10 to 2026-11-{len(kept) + 9}"
    assert told.other_cores() == (len(kept) - 1) / 10
    kept["bench_waiting"]["other_cores"] = None
    assert told.other_cores() is None
    assert "cores busy" not in readme.place(told)


@pytest.mark.parametrize(("others", "warns"), [(0.5, False), (0.51, True), (None, False)])
def test_a_busy_machine_is_told_of(kept: dict[str, Any], others: float | None, warns: bool) -> None:
    for each in kept.values():
        each["other_cores"] = others

    assert ("with care" in readme.place(Figures(kept))) is warns


def test_a_figure_is_kept_for_every_benchmark_that_readme_needs(kept: dict[str, Any]) -> None:
    assert list(kept) == list(readme.ROUNDS)
    assert all((readme.HERE / f"{name}.py").exists() for name in kept)


def test_figures_name_no_host_and_no_path(kept: dict[str, Any]) -> None:
    assert not re.search(r"/(home|root|work|tmp|Users)\b", json.dumps(kept))
    assert {name for each in kept.values() for name in each["machine"]} == {"processor", "cores", "system"}


def test_calls_that_fail_have_no_rate_and_their_share_is_told() -> None:
    found = {
        "bench_rates": {
            "rows": [
                row(key="rates/asyncio/1/raw httpx", ours=4000.0, peer=1000.0, value=4.0, interval=[3.9, 4.1]),
                row(key="failed/asyncio/1000/raw httpx", ours=0.0, peer=68.0),
                row(key="skipped/uvloop", note="uvloop is not installed"),
            ]
        }
    }
    told = Figures(found)

    assert readme.rates_of(told, "raw httpx", "peer") == [(1, 1000.0)]
    assert readme.label_of(told, "raw httpx") == "raw httpx: 68 % fail at 1,000"
    assert readme.label_of(told, "openai") == "openai"
    assert readme.ratio(told, "asyncio", 1, "raw httpx") == "4.00 (3.90 to 4.10)"
    assert readme.ratio(told, "asyncio", 1_000, "raw httpx") == "68 % fail"
    assert readme.ratio(told, "asyncio", 10, "raw httpx") == ""
    assert (told.settings(), told.skipped()) == (["asyncio"], {"uvloop": "uvloop is not installed"})


@pytest.mark.parametrize(
    ("number", "shown"),
    [(2639, "2,639"), (72.4, "72"), (1.69, "1.7"), (0.674, "0.67"), (5.0, "5"), (10.04, "10"), (-3, "-3")],
)
def test_a_number_has_the_digits_that_mean_something(number: float, shown: str) -> None:
    assert figures.short(number) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [(159_832, "160,000"), (2639, "2,640"), (45.4, "45"), (1.0, "1"), (0.5, "0.5"), (0.123, "0.12")],
)
def test_a_number_on_a_plot_is_short(number: float, shown: str) -> None:
    assert plots.number(number) == shown


@pytest.mark.parametrize(
    ("low", "high", "named"),
    [(150, 12_000, [200, 500, 1_000, 2_000, 5_000, 10_000]), (22, 216_000, [100, 1_000, 10_000, 100_000])],
)
def test_an_axis_names_round_values(low: float, high: float, named: list[float]) -> None:
    assert plots.ticks(low, high) == named


@pytest.mark.parametrize(
    ("places", "moved"),
    [
        ([100.0, 200.0], [100.0, 200.0]),
        ([100.0, 101.0, 99.0], [116.0, 133.0, 99.0]),
        ([296.0, 299.0], [283.0, 300.0]),
        ([10.0], [20.0]),
        ([], []),
    ],
)
def test_labels_do_not_overlap_and_stay_inside(places: list[float], moved: list[float]) -> None:
    assert plots.spread(places, 20.0, 300.0) == moved


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_a_plot_is_well_formed_and_escapes_its_labels(theme: plots.Theme) -> None:
    series = [Series("a < b & c", [(1, 10.0), (10, 20.0)]), Series("thin", [(1, 5.0)], is_bold=False)]

    drawn = plots.draw(theme, "x > y", [Panel("title", "below", series, (1, 10))], width=300, height=200, margin=80)

    root = ET.fromstring(drawn)
    assert [each.text for each in root.iter() if each.text in {"a < b & c", "thin", "x > y"}] == [
        "x > y",
        "thin",
        "a < b & c",
    ]
    assert root.get("aria-label") == "x > y"


def _brightness(colour: str) -> float:
    """Return the relative luminance, as WCAG has it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(colour: str, paper: str) -> float:
    dark, bright = sorted((_brightness(colour), _brightness(paper)))
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_text_of_a_plot_can_be_read(theme: plots.Theme) -> None:
    colours = (theme.ink, theme.faint, *theme.lines)

    assert [colour for colour in colours if _contrast(colour, theme.paper) < 4.5] == []


def test_the_order_of_the_ways_goes_forwards_backwards_and_begins_with_another() -> None:
    assert paired.turns(["a", "b", "c"], 5) == [
        ["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"], ["a", "c", "b"], ["c", "a", "b"],
    ]  # fmt: skip


async def test_ways_take_turns_and_the_first_block_of_each_does_not_count() -> None:
    done: list[str] = []

    def way(name: str) -> paired.Measure:
        async def block() -> float:
            done.append(name)
            return float(len(done))

        return block

    costs = await paired.take_turns({"a": way("a"), "b": way("b")}, 2)

    assert done == ["a", "b", "a", "b", "b", "a"]
    assert costs == {"a": [3.0, 6.0], "b": [4.0, 5.0]}


@pytest.mark.parametrize(("failing", "calls"), [((1, 2, 3, 4), 4), ((1, 2, 3), 8), ((), 8)])
def test_a_client_all_of_whose_calls_have_failed_is_called_no_more(failing: tuple[int, ...], calls: int) -> None:
    made = 0

    async def call() -> None:
        nonlocal made
        made += 1
        if made in failing:
            raise OSError

    block = AtOnce(call, width=2, total=4, counts_failures=True)
    for _ in range(2):
        asyncio.run(block())

    assert (made, block.made, block.failures) == (calls, calls, len(failing))
