"""README's figures are those that benchmarks have found: nobody has edited them by hand, and none is in prose alone."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
import readme
from readme import Figures


@pytest.fixture
def kept() -> dict[str, Any]:
    return readme.load()


@pytest.fixture
def text() -> str:
    return readme.README.read_text(encoding="utf-8")


def test_readme_has_the_figures_that_are_kept(kept: dict[str, Any], text: str) -> None:
    assert readme.rendered(text, Figures(kept)) == text, "run `python benchmarks/readme.py --render`"


@pytest.mark.parametrize("figure", [r"\d+(?= runs are paid for)", r"(?<=\| apify-client )\d+(?=, )"])
def test_a_figure_that_is_edited_by_hand_is_mended(kept: dict[str, Any], text: str, figure: str) -> None:
    edited, count = re.subn(figure, "99", text)

    assert count == 1
    assert readme.rendered(edited, Figures(kept)) == text


def test_another_figure_changes_the_table_and_the_sentence(kept: dict[str, Any], text: str) -> None:
    for row in kept["bench_lost_reply"]["rows"]:
        row["peer"] += 1000

    changed = readme.rendered(text, Figures(kept))

    assert "apify-client 1,005, openai 1,003" in changed
    assert "1,005 and 1,003 runs are paid for" in changed


@pytest.mark.parametrize("cut", [readme.BEGIN, readme.END])
def test_a_page_without_the_marks_is_refused(kept: dict[str, Any], text: str, cut: str) -> None:
    with pytest.raises(ValueError, match="lacks"):
        readme.rendered(text.replace(cut, ""), Figures(kept))


def test_a_page_without_a_sentence_is_refused(kept: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=r"0 times, not once: .* runs are paid for"):
        readme.rendered(text.replace("runs are paid for", "runs were paid for"), Figures(kept))


def test_figures_of_two_machines_are_refused(kept: dict[str, Any]) -> None:
    kept["bench_waiting"]["machine"]["cores"] += 1

    with pytest.raises(ValueError, match="more than one machine"):
        readme.block(Figures(kept))


def test_a_row_that_was_not_measured_is_named(kept: dict[str, Any]) -> None:
    del kept["bench_waiting"]

    with pytest.raises(ValueError, match="no row 'waiting/200/0'"):
        readme.block(Figures(kept))


def test_what_was_missed_is_named(kept: dict[str, Any]) -> None:
    row = kept["bench_lost_reply"]["rows"][0]
    row.update(value=3, verdict="MISS")
    floor = kept["bench_waiting"]["rows"][0]
    floor.update(value=2.5, verdict="MISS")

    missed = list(Figures(kept).missed())

    assert "bench_lost_reply: paid starts when a reply is lost: 3, to be <= 1" in missed
    assert "bench_waiting: 200 runs, the newest of the account: 2.5, to be >= 40" in missed


def test_days_and_load_are_told_of_all_benchmarks(kept: dict[str, Any]) -> None:
    for place, each in enumerate(kept.values()):
        each.update(date=f"2026-11-{place + 10}", other_cores=place / 10)
    figures = Figures(kept)

    assert figures.days() == f"2026-11-10 to 2026-11-{len(kept) + 9}"
    assert figures.other_cores() == (len(kept) - 1) / 10
    kept["bench_waiting"]["other_cores"] = None
    assert figures.other_cores() is None
    assert "cores busy" not in readme.place(figures)


def test_a_figure_is_kept_for_every_benchmark_that_readme_needs(kept: dict[str, Any]) -> None:
    assert list(kept) == list(readme.ROUNDS)
    assert all((readme.HERE / f"{name}.py").exists() for name in kept)


def test_figures_name_no_host_and_no_path(kept: dict[str, Any]) -> None:
    told = copy.deepcopy(kept)
    for each in told.values():
        each.pop("rows")

    assert not re.search(r"/(home|root|work|tmp|Users)\b", json.dumps(kept))
    assert {name for each in told.values() for name in each["machine"]} == {"processor", "cores", "system"}


@pytest.mark.parametrize(
    ("number", "shown"),
    [(2639, "2,639"), (72.4, "72"), (1.69, "1.7"), (0.674, "0.67"), (5.0, "5"), (10.04, "10"), (-3, "-3")],
)
def test_a_number_has_the_digits_that_mean_something(number: float, shown: str) -> None:
    assert readme.short(number) == shown
