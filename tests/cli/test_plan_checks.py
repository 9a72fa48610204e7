"""``batch plan --check``: a plan is refused by line when an input would certainly fail, before any of it is planned."""

from __future__ import annotations

import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import typer
from cli.batch_lines import WORKER, batch, complaint, lines, objects

from coreclaw_async import CoreClaw, RetryPolicy, RunSpec
from coreclaw_async.cli.batch.checking import PlanCheck, read_twice
from coreclaw_async.testing import FakeService, faults

GOOD: dict[str, Any] = {"key": "a", "worker_id": WORKER, "input": {"keywords": ["a"]}}


def operations(service: FakeService) -> list[str | None]:
    return [request.operation for request in service.requests]


def test_a_plan_without_a_mistake_is_planned_after_one_request_a_worker(
    served: FakeService, ledger: str, tmp_path: Path
) -> None:
    served.add_worker("me/other", schema=[{"name": "urls", "type": "array"}])
    specs = [{**GOOD, "key": f"k{number}"} for number in range(30)]
    specs += [{"key": f"o{number}", "worker_id": "me/other", "input": {"urls": ["u"]}} for number in range(30)]
    specs += [{**GOOD, "key": "same", "worker_id": WORKER.replace("/", "~")}]

    outcome = batch("plan", "-i", lines(tmp_path, *specs), "--check")

    assert (outcome.exit_code, outcome.stdout) == (0, "61 new items; 61 in all.\n")
    assert outcome.stderr == f"The batch 'nightly' is new in the ledger {ledger}.\n"
    assert operations(served) == ["getWorkerInputSchema"] * 2


def test_a_plan_with_a_mistake_is_refused_by_line(served: FakeService, ledger: str, tmp_path: Path) -> None:
    bad = {**GOOD, "key": "b", "input": {"keyword": ["b"]}}
    given = lines(tmp_path, GOOD, "", bad, {**GOOD, "key": "c", "input": {}})

    outcome = batch("plan", "-i", given, "--check")

    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert outcome.stderr.splitlines() == [
        "line 3: error: input.keywords is required, and missing: is input.keyword meant for it?",
        "line 3: warning: input.keyword is not in the worker's schema: did you mean input.keywords?",
        'line 4: error: input.keywords is required, and missing: the console fills in ["coffee"]',
        "Nothing was planned: the input of 2 lines would certainly fail.",
    ]
    assert not Path(ledger).exists()


def test_programs_get_an_object_for_each_wrong_line(served: FakeService, ledger: str, tmp_path: Path) -> None:
    outcome = batch("plan", "-i", lines(tmp_path, GOOD, {**GOOD, "key": "b", "input": {}}), "--check", "--json")

    (told,) = objects(outcome)
    assert outcome.exit_code == 2
    assert (told["line"], told["key"], told["ok"]) == (2, "b", False)
    assert told["issues"][0]["path"] == "input.keywords"
    assert "the input of 1 line would" in outcome.stderr


def test_many_mistakes_are_counted_and_the_first_told(served: FakeService, ledger: str, tmp_path: Path) -> None:
    specs = [{**GOOD, "key": f"k{number}", "input": {}} for number in range(30)]

    outcome = batch("plan", "-i", lines(tmp_path, *specs), "--check")

    assert outcome.stderr.splitlines()[20:] == [
        "10 more issues are not shown: error.",
        "Nothing was planned: the input of 30 lines would certainly fail.",
    ]


def test_doubts_are_told_and_stop_nothing(served: FakeService, ledger: str, tmp_path: Path) -> None:
    path = tmp_path / "specs.csv"
    path.write_text('\ufeffkey,keywords:json,max_results\r\na,"[""x""]",10\r\n', encoding="utf-8")

    outcome = batch("plan", "-i", str(path), "--worker", WORKER, "--check")

    assert (outcome.exit_code, outcome.stdout) == (0, "1 new item; 1 in all.\n")
    assert "line 2: warning: input.max_results must be of type integer" in outcome.stderr


def test_with_a_version_nothing_is_certain(served: FakeService, ledger: str, tmp_path: Path) -> None:
    outcome = batch("plan", "-i", lines(tmp_path, {**GOOD, "input": {}, "version": "v1.2.6"}), "--check")

    assert outcome.exit_code == 0
    assert "line 1: warning: input.keywords is required" in outcome.stderr


def test_a_plan_on_standard_input_is_checked_too(
    served: FakeService, ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(GOOD)))

    assert batch("plan", "-i", "-", "--check").stdout == "1 new item; 1 in all.\n"


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({**GOOD, "input": None}, "line 1: input must be given"),
        ({**GOOD, "input": ["a"]}, "line 1: input must be a mapping"),
        ({**GOOD, "worker_id": "a/b/c"}, "line 1: worker_id must be an id"),
        ({"key": "a"}, "line 1: it must hold a key, and a worker_id"),
    ],
)
def test_a_line_that_is_no_spec_is_refused(
    served: FakeService, ledger: str, tmp_path: Path, spec: dict[str, Any], why: str
) -> None:
    outcome = batch("plan", "-i", lines(tmp_path, spec), "--check")

    assert outcome.exit_code == 2
    assert why in complaint(outcome)
    assert served.requests == []


def test_a_worker_whose_schema_is_not_there_stops_nothing(served: FakeService, ledger: str, tmp_path: Path) -> None:
    """Nobody knows whether the public operation shows private workers."""
    outcome = batch("plan", "-i", lines(tmp_path, {**GOOD, "worker_id": "me/private"}), "--check")

    assert outcome.exit_code == 0
    told = "worker me/private: worker_id has no schema that is shown"
    assert outcome.stderr.count(told) == outcome.stderr.count("me/private") == 1
    assert "line 1" not in outcome.stderr


def test_a_schema_that_is_refused_stops_nothing(served: FakeService, ledger: str, tmp_path: Path) -> None:
    served.faults.add(faults.error(12001), operation="getWorkerInputSchema", times=9)
    outcome = batch("plan", "-i", lines(tmp_path, {**GOOD, "input": {}}), "--check")

    assert outcome.exit_code == 0
    assert "the service refused to show the worker's schema" in outcome.stderr


def test_a_schema_that_cannot_be_read_stops_nothing(served: FakeService, ledger: str, tmp_path: Path) -> None:
    served.faults.add(
        faults.edit(lambda answer: {**answer, "data": {"input_schema": {"properties": [5]}}}),
        operation="getWorkerInputSchema",
    )
    outcome = batch("plan", "-i", lines(tmp_path, {**GOOD, "input": {}}), "--check")

    assert outcome.exit_code == 0


def test_an_outage_is_no_verdict_on_a_plan(served: FakeService, ledger: str, tmp_path: Path) -> None:
    served.faults.add(faults.error(11000), operation="getWorkerInputSchema")
    outcome = batch("plan", "-i", lines(tmp_path, GOOD), "--check")

    assert outcome.exit_code == 3
    assert not Path(ledger).exists()


def test_a_plan_that_cannot_be_copied_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))

    with pytest.raises(typer.BadParameter, match="could not be copied to a temporary file, and nothing was planned"):
        read_twice(["x" * 1_000_000] * 33).__enter__()


def test_a_broken_answer_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    service = FakeService()
    service.faults.add(faults.edit(lambda answer: {**answer, "data": None}), operation="getWorkerInputSchema")
    retry = RetryPolicy(max_attempts=1)
    with CoreClaw(service.api_key, transport=service, clock=service.clock, retry=retry) as client:
        PlanCheck(client, as_json=False).refuse_wrong([(1, RunSpec(key="a", worker_id=WORKER, input={}))])

    told = "worker coreclaw/google-maps-scraper: input was not checked, because the worker's schema could not be read."
    assert told in capsys.readouterr().err
