"""The fast path for a run gives the same run as the converter, or leaves it to the converter."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wire.exchanges import request_of

from coreclaw_async._wire.converter import read_models
from coreclaw_async._wire.response import Answer
from coreclaw_async._wire.run_records import structure_run
from coreclaw_async.models import Run, RunStatus

RECORD: dict[str, Any] = {
    "slug": "01KKDXV2G26BT7NH4ZQR2R4NPZ",
    "scraper_slug": "demo-worker",
    "scraper_title": "Demo Worker",
    "version": "v1.2.8",
    "status": "running",
    "results": 1,
    "usage": "1.00",
    "traffic": 0,
    "origin": "openapi",
    "started_at": 1782091200,
    "finished_at": 1782091210,
    "duration": 10,
    "err_msg": "",
}
ANY = (
    st.none()
    | st.booleans()
    | st.integers(-(10**13), 10**13)
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.integers(), max_size=1)
    | st.sampled_from(["NaN", "sNaN", "Infinity", "1e-7", " 2 ", "1_0", "1e9999999999999999999", "", "aborted", 0, 1])
)
TYPICAL = {
    str: st.text(max_size=5) | st.sampled_from([status.value for status in RunStatus]) | st.decimals().map(str),
    int: st.integers(0, 10**12),
}


def general_way(record: dict[str, Any]) -> Run:
    """Return the run as the converter reads it: a member it does not know keeps it from the fast path."""
    (run,) = read_models(Answer(request_of(), None), Run, [{**record, "unknown": True}])
    assert run.extra.pop("unknown")
    return run


def shown(run: Run) -> list[tuple[str, type, str]]:
    return [(field.name, type(getattr(run, field.name)), str(getattr(run, field.name))) for field in attrs.fields(Run)]


def assert_same(record: dict[str, Any]) -> None:
    short = structure_run(record)
    general = general_way(record)
    if short is not None:
        assert shown(short) == shown(general)
        assert short == general


@given(changes=st.dictionaries(st.sampled_from(sorted(RECORD)), ANY, max_size=3))
@example(changes={"status": []})
@example(changes={"started_at": 10**11, "finished_at": 10**11 - 1})
@example(changes={"finished_at": 10**11})
@example(changes={"usage": "\ud800"})
@example(changes={"usage": "1e15"})
@example(changes={"usage": "1e-31"})
@example(changes={"usage": "0e-999999"})
def test_both_ways_agree_when_members_are_of_any_type(changes: dict[str, Any]) -> None:
    assert_same({**RECORD, **changes})


@given(st.fixed_dictionaries({name: TYPICAL[type(value)] for name, value in RECORD.items()}))
def test_both_ways_agree_when_members_are_of_the_documented_types(record: dict[str, Any]) -> None:
    assert_same(record)


@given(
    st.sets(st.sampled_from(sorted(RECORD)), min_size=1),
    st.dictionaries(st.sampled_from(["queue_ref", "extra"]), ANY),
)
def test_record_is_left_to_the_general_way_when_members_are_missing_or_new(
    missing: set[str], added: dict[str, Any]
) -> None:
    assert structure_run({name: value for name, value in RECORD.items() if name not in missing} | added) is None
    assert structure_run({**RECORD, "new": 1}) is None


def test_record_of_the_contract_goes_the_short_way() -> None:
    run = structure_run(RECORD)

    assert run is not None
    assert (run.run_id, run.status, run.usage) == ("01KKDXV2G26BT7NH4ZQR2R4NPZ", RunStatus.RUNNING, Decimal("1.00"))
    assert (run.duration, run.extra, run.error_message) == (10.0, {}, "")
    assert run.finished_at is not None
    assert run.finished_at.timestamp() == 1782091210
    assert hash(run) == hash(attrs.evolve(run))


def test_times_are_none_when_they_are_not_set() -> None:
    run = structure_run({**RECORD, "started_at": 0, "finished_at": 0})

    assert run is not None
    assert (run.started_at, run.finished_at) == (None, None)


@pytest.mark.parametrize("record", [None, 5, "thirteen here", list(range(13)), [], {}])
def test_what_is_no_record_is_left_to_the_general_way(record: Any) -> None:
    assert structure_run(record) is None


@pytest.mark.parametrize("usage", ["NaN", "Infinity", "", "free", "-sNaN"])
def test_record_is_left_to_the_general_way_when_the_cost_is_no_amount(usage: str) -> None:
    assert structure_run({**RECORD, "usage": usage}) is None


def test_record_is_left_to_the_general_way_when_no_float_holds_the_duration() -> None:
    assert structure_run({**RECORD, "duration": 10**400}) is None
