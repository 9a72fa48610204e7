"""What a fake service is told that cannot be: the error names the parameter, the range and the value."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from coreclaw_async.testing import CallbackPlan, FakeService, RunScript

MAPS = "coreclaw/google-maps-scraper"
SWITCHES: list[tuple[str, Any, str]] = [
    ("api_key", "", "printable ASCII without spaces, 1 letter or more"),
    ("api_key", "a b", "printable ASCII without spaces"),
    ("api_key", None, "must be a string"),
    ("clock", 3, "must be a clock such as FakeClock, not 3"),
    ("offset_dialect", "x", "must be one of page, row, aligned, not 'x'"),
    ("log_entries", [], r"must be one of objects, words, strings, mixed, not \[\]"),
    ("echo_page_index", "no", "must be of type bool, not 'no'"),
    ("run_list_echo", 1, "must be of type bool or None, not 1"),
    ("detail_err_msg", None, "must be of type bool, not None"),
    ("null_lists", 0, "must be of type bool, not 0"),
    ("abort_requires_body", "", "must be of type bool, not ''"),
    ("page_size_cap", 0, "must be a whole number, 1 or more or None, not 0"),
    ("plan_limit", -1, "must be a whole number, 0 or more or None, not -1"),
    ("plan_limit", "3", "must be a whole number, 0 or more or None, not '3'"),
    ("rate_limit", 0, "must be a finite number of requests a second, above 0, not 0"),
    ("rate_limit", math.nan, "must be a finite number of requests a second, above 0, not nan"),
    ("rate_burst", 0, "must be a whole number, 1 or more, not 0"),
    ("balance", "abc", "must be a finite decimal, not 'abc'"),
    ("balance", "NaN", "must be a finite decimal, not 'NaN'"),
    ("balance", None, "must be a finite decimal, not None"),
    ("balance", True, "must be a finite decimal, not True"),
    ("price_per_row", "-1", "must be a finite decimal, 0 or more, not '-1'"),
    ("base_url", "nope", "must be an http or https URL of a host, without path and query, not 'nope'"),
    ("base_url", "https://host/api", "without path and query, not 'https://host/api'"),
    ("base_url", "https://host:x", "must be an http or https URL of a host"),
    ("base_url", "https://[host", "must be an http or https URL of a host"),
    ("files_url", None, "must be of type str, not None"),
    ("files_url", "ftp://host", "must be an http or https URL of a host"),
    ("export_lifetime", -1, "must be a finite number of seconds, 0 or more, not -1"),
    ("default_script", None, "must be of type RunScript, not None"),
    ("list_lag", math.nan, "must be a finite number of seconds, 0 or more, not nan"),
    ("callback_plan", {}, "must be of type CallbackPlan, not {}"),
    ("seed", "x", "must be of type int, not 'x'"),
]


@pytest.mark.parametrize(("name", "value", "told"), SWITCHES)
def test_a_switch_that_cannot_be_is_refused_when_it_is_made_and_when_it_is_set(
    name: str, value: Any, told: str
) -> None:
    service = FakeService()
    before = getattr(service, name)

    for attempt in (lambda: FakeService(**{name: value}), lambda: setattr(service, name, value)):
        with pytest.raises((TypeError, ValueError), match=f"^{name} .*{told}"):
            attempt()

    assert getattr(service, name) is before


ACTIONS: dict[str, tuple[Callable[[FakeService], object], str]] = {
    "worker path": (lambda s: s.add_worker(None), "path must be of type str, not None"),  # type: ignore[arg-type]
    "worker schema": (lambda s: s.add_worker("a/b", schema="x"), "schema must be a mapping or a sequence"),  # type: ignore[arg-type]
    "schema of a number": (lambda s: s.add_worker("a/b", schema=5), "schema must be a mapping or a sequence"),  # type: ignore[arg-type]
    "properties": (lambda s: s.add_worker("a/b", schema={"properties": 0}), "schema must be a mapping or a sequence"),
    "worker property": (lambda s: s.add_worker("a/b", schema=[1]), r"schema\[0\] must be of type Mapping, not 1"),  # type: ignore[list-item]
    "worker script": (lambda s: s.add_worker("a/b", script=3), "script must be of type RunScript or None, not 3"),  # type: ignore[arg-type]
    "run age": (lambda s: s.add_run(MAPS, age=-1), "age must be a finite number of seconds, 0 or more, not -1"),
    "run age without end": (lambda s: s.add_run(MAPS, age=math.inf), "age must be a finite number of seconds"),
    "run status": (lambda s: s.add_run(MAPS, status=3), "status must be of type str, not 3"),  # type: ignore[arg-type]
    "run rows": (lambda s: s.add_run(MAPS, rows=-1), "rows must be a whole number, 0 or more, not -1"),
    "run script": (lambda s: s.add_run(MAPS, script="x"), "script must be of type RunScript or None, not 'x'"),  # type: ignore[arg-type]
    "next script": (lambda s: setattr(s, "next_script", 3), "next_script must be of type RunScript or None, not 3"),
    "queued script": (lambda s: s.script_next(None), "script must be of type RunScript, not None"),  # type: ignore[arg-type]
    "fewer rows": (lambda s: s.insert_rows("x", -1), "rows must be a whole number, 0 or more, not -1"),
    "no rows": (lambda s: s.insert_rows("x", None), "rows must be a whole number or a sequence of rows, not None"),  # type: ignore[arg-type]
    "row before the first": (lambda s: s.insert_rows("x", 1, at=-1), "at must be a whole number, 0 or more, not -1"),
    "outcome": (lambda s: s.finish("x", None), "outcome must be of type str, not None"),  # type: ignore[arg-type]
    "port": (lambda s: s.serve(port=65_536).__enter__(), "port must be a whole number, 0 to 65535, not 65536"),
    "host": (lambda s: s.serve(None).__enter__(), "host must be of type str, not None"),  # type: ignore[arg-type]
    "script rows": (lambda _: RunScript(rows="ab"), "rows must be a whole number, a sequence of rows or a function"),  # type: ignore[arg-type]
    "script row": (lambda _: RunScript(rows=[{}, 1]), r"rows\[1\] must be of type Mapping, not 1"),  # type: ignore[list-item]
    "script number": (lambda _: RunScript(rows=True), "rows must be a whole number, a sequence of rows or a function"),
    "late rows": (lambda _: RunScript(rows_late=-1), "rows_late must be a whole number, 0 or more, not -1"),
    "abort": (lambda _: RunScript(abort="x"), "abort must be one of aborted, failed, stuck, not 'x'"),  # type: ignore[arg-type]
    "copies": (lambda _: CallbackPlan(copies=0), "copies must be a whole number, 1 or more, not 0"),
    "generation": (lambda _: CallbackPlan(generation="v3"), "generation must be one of run_slug, run_id, v1, not 'v3'"),  # type: ignore[arg-type]
    "statuses": (lambda _: CallbackPlan(statuses="x"), "statuses must be one of all, final, not 'x'"),  # type: ignore[arg-type]
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIONS)
def test_an_argument_that_cannot_be_is_refused_and_changes_nothing(name: str) -> None:
    service = FakeService()
    action, told = ACTIONS[name]

    with pytest.raises((TypeError, ValueError), match=f"^{told}"):
        action(service)

    assert not service.runs
    assert service.next_script is None


@pytest.mark.parametrize("action", [FakeService.finish, FakeService.stick, lambda s, run: s.insert_rows(run, 1)])
def test_a_run_that_there_is_not_is_told(action: Callable[[FakeService, str], object]) -> None:
    with pytest.raises(KeyError, match="no run has the id 'R'"):
        action(FakeService(), "R")


def test_a_worker_that_there_is_not_is_told() -> None:
    with pytest.raises(KeyError, match="no Worker has the slug or path 'a/b'"):
        FakeService().add_run("a/b")


def test_a_schema_without_properties_has_none() -> None:
    service = FakeService()
    slug = service.add_worker("a/b", schema={"description": "No input."})

    assert service.add_run(slug) in service.runs


def test_amounts_are_taken_as_numbers_too() -> None:
    service = FakeService(balance=-1, price_per_row=0.5)

    assert (service.balance, service.price_per_row) == (Decimal(-1), Decimal("0.5"))
