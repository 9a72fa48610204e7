"""``batch plan``: specs from lines of JSON and from CSV, with defaults, keys of their own, and errors by line."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from cli.batch_lines import WORKER, batch, complaint, lines, objects, plan
from cli.command_line import Outcome

from coreclaw_async import BatchItem, CoreClaw
from coreclaw_async.testing import FakeService

pytestmark = pytest.mark.usefixtures("served")


def planned(ledger: str) -> dict[str, tuple[BatchItem, Any]]:
    """Return the items of the batch by key, each with its input."""
    with CoreClaw() as client, client.batch("nightly", ledger=ledger) as opened:
        records = list(opened.export(with_inputs=True))
    return {record.item.key: (record.item, record.input) for record in records}


def from_csv(tmp_path: Path, *texts: str, options: tuple[str, ...] = ()) -> Outcome:
    return batch("plan", "-i", lines(tmp_path, *texts, name="specs.csv"), *options)


def test_specs_may_come_from_standard_input(ledger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {"key": "a", "worker_id": WORKER, "input": {"keywords": ["a"]}, "system": {"proxy_region": "US"}}
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"\n{json.dumps(spec)}\n\n"))

    assert batch("plan", "-i", "-").stdout == "1 new item; 1 in all.\n"
    assert planned(ledger)["a"][1] == {"parameters": {"custom": {"keywords": ["a"]}, "system": {"proxy_region": "US"}}}


def test_specs_on_standard_input_are_utf_8_whatever_the_terminal_speaks(
    ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {"key": "a", "worker_id": WORKER, "input": {"keywords": ["\u00e9"]}}
    raw = f"\ufeff{json.dumps(spec, ensure_ascii=False)}\n".encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw), encoding="latin-1"))

    assert batch("plan", "-i", "-").exit_code == 0
    assert planned(ledger)["a"][1]["parameters"]["custom"] == {"keywords": ["\u00e9"]}


def test_specs_on_standard_input_that_are_not_utf_8_are_a_usage_error(
    ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO(b'{"key": "a", "worker_id": "me/one", "input": {"keywords": ["\xe9"]}}\n')
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(raw, encoding="latin-1"))

    outcome = batch("plan", "-i", "-")

    assert outcome.exit_code == 2
    assert "standard input is not UTF-8" in " ".join(outcome.stderr.replace("│", " ").split())


def test_a_new_batch_is_told_to_be_new(ledger: str, tmp_path: Path) -> None:
    first = batch("plan", "-i", lines(tmp_path, {"key": "a", "worker_id": WORKER}), "--json")
    again = batch("plan", "-i", lines(tmp_path, {"key": "a", "worker_id": WORKER}))

    assert objects(first) == [{"batch": "nightly", "added": 1, "total": 1}]
    assert first.stderr == f"The batch 'nightly' is new in the ledger {ledger}.\n"
    assert again.stderr == ""


def test_members_and_options_say_how_often_how_long_and_how_soon(ledger: str, tmp_path: Path) -> None:
    given = lines(
        tmp_path,
        {"key": "a", "retries": 3, "run_timeout": 60.5, "priority": -2, "version": "v1.2.6", "worker_id": "me/other"},
        {"key": "b"},
    )
    options = ("--worker", WORKER, "--retries", "1", "--run-timeout", "900", "--priority", "5")
    assert batch("plan", "-i", given, *options).exit_code == 0
    found = planned(ledger)

    for key, members in {
        "a": ("me/other", 3, 60.5, -2, "v1.2.6"),
        "b": (WORKER, 1, 900.0, 5, None),
    }.items():
        item, _ = found[key]
        assert (item.worker_id, item.retries, item.run_timeout, item.priority, item.version) == members


def test_rows_of_csv_are_specs_whose_other_columns_are_the_input(ledger: str, tmp_path: Path) -> None:
    outcome = from_csv(
        tmp_path,
        "\ufeffkey,worker_id,retries,run_timeout,priority,system,zip,keywords:json,note",
        'a,me/one,2,1.5,-3,"{""proxy_region"": ""US""}",00123,"[""coffee"", 1]","two',
        'lines, and a comma"',
        "",
        "b,me/one,,,,,,,",
    )
    found = planned(ledger)

    assert outcome.stdout == "2 new items; 2 in all.\n", outcome.stderr
    item, given = found["a"]
    assert (item.worker_id, item.retries, item.run_timeout, item.priority) == ("me/one", 2, 1.5, -3)
    assert given["parameters"] == {
        "custom": {"zip": "00123", "keywords": ["coffee", 1], "note": "two\nlines, and a comma"},
        "system": {"proxy_region": "US"},
    }
    assert found["b"][1]["parameters"]["custom"] == {}


def test_a_whole_input_may_be_in_one_column(ledger: str, tmp_path: Path) -> None:
    outcome = from_csv(tmp_path, "key,input", 'a,"{""keywords"": [""x""]}"', options=("--worker", WORKER))

    assert outcome.exit_code == 0, outcome.stderr
    assert planned(ledger)["a"][1]["parameters"]["custom"] == {"keywords": ["x"]}


@pytest.mark.parametrize("ending", ["txt", "CSV"])
def test_the_format_is_that_of_the_ending_or_the_option(ledger: str, tmp_path: Path, ending: str) -> None:
    given = lines(tmp_path, "key,url", "a,x", name=f"specs.{ending}")
    options = ("--format", "csv") if ending == "txt" else ()

    assert batch("plan", "-i", given, "--worker", WORKER, *options).stdout == "1 new item; 1 in all.\n"
    assert "--format must be one of jsonl, csv, not 'xml'" in complaint(batch("plan", "-i", given, "--format", "xml"))


def test_keys_may_come_from_the_input(ledger: str, tmp_path: Path) -> None:
    from_csv(tmp_path, "url", "http://a", "http://b", options=("--worker", WORKER, "--key-from", "url"))
    given = lines(tmp_path, {"input": {"url": 7}}, {"key": "own", "input": {"url": 8}})
    batch("plan", "-i", given, "--worker", WORKER, "--key-from", "url")

    assert list(planned(ledger)) == ["http://a", "http://b", "7", "own"]


@pytest.mark.parametrize("value", [None, "", True, 1.5, ["x"], {}])
def test_what_can_be_no_key_is_named(ledger: str, tmp_path: Path, value: object) -> None:
    given = lines(tmp_path, {"input": {"url": value}})
    outcome = batch("plan", "-i", given, "--worker", WORKER, "--key-from", "url")

    assert outcome.exit_code == 2
    assert "line 1: its input has no string or whole number 'url' that could be its key" in complaint(outcome)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2: Expecting property name"),
        ("[" * 100_000, "line 2: it is nested too deeply"),
        ("[1]", "line 2: it must be a JSON object"),
        ('{"input": {}}', "line 2: it must hold a key, and a worker_id"),
        ('{"key": "x", "worker": "w"}', "system, version, worker_id, not worker"),
        ('{"key": "x", "retires": 3, "prio": 1}', "version, worker_id, not prio, retires"),
    ],
)
def test_a_bad_line_is_named(ledger: str, tmp_path: Path, line: str, words: str) -> None:
    given = lines(tmp_path, {"key": "a", "worker_id": WORKER}, line)
    outcome = batch("plan", "-i", given)

    assert outcome.exit_code == 2
    assert words in complaint(outcome)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (("key,key", "a,b"), "line 1: the first line must name each column, and none twice"),
        (("key,x,x:json", "a,b,1"), "line 1: the first line must name each column, and none twice"),
        (("key,", "a,b"), "line 1: the first line must name each column"),
        (("key,url", "a"), "line 2: it has 1 cell, and the first line names 2 columns"),
        (("key,url", "a,b,c"), "line 2: it has 3 cells, and the first line names 2 columns"),
        (("key,retries", "a,many"), "line 2: column retries: invalid literal"),
        (("key,run_timeout", "a,1", "b,long"), "line 3: column run_timeout: could not convert"),
        (("key,x:json", "a,{"), "line 2: column x:json: Expecting property name"),
        (("key,input,url", "a,{},b"), "line 2: its input is in column input, and in url too"),
        (("key,url", '"a'), "line 2: unexpected end of data"),
        (("url", "a"), "line 2: it must hold a key"),
    ],
)
def test_a_bad_row_of_csv_is_named(ledger: str, tmp_path: Path, texts: tuple[str, ...], words: str) -> None:
    outcome = from_csv(tmp_path, *texts, options=("--worker", WORKER))

    assert outcome.exit_code == 2
    assert words in complaint(outcome)


def test_a_csv_without_rows_plans_nothing(ledger: str, tmp_path: Path) -> None:
    assert from_csv(tmp_path, "").stdout == from_csv(tmp_path, "key,url").stdout == "0 new items; 0 in all.\n"


@pytest.mark.parametrize("name", ["specs.jsonl", "specs.csv"])
def test_a_file_in_another_encoding_is_told(ledger: str, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"key,url\n\xff,\xfe\n")
    outcome = batch("plan", "-i", str(tmp_path / name), "--json")

    assert outcome.exit_code == 2
    assert "can't decode byte 0xff" in complaint(outcome)
    assert objects(outcome)[-1]["exit_code"] == 2


def test_a_file_that_is_not_there_makes_no_ledger(ledger: str, tmp_path: Path) -> None:
    outcome = batch("plan", "-i", str(tmp_path / "none.jsonl"))

    assert outcome.exit_code == 2
    assert "none.jsonl cannot be read: No such file" in complaint(outcome)
    assert list(tmp_path.iterdir()) == []


def test_a_worker_must_be_named_somewhere(ledger: str, tmp_path: Path) -> None:
    assert batch("plan", "-i", lines(tmp_path, {"key": "a"})).exit_code == 2


def test_a_conflict_is_the_callers_mistake(ledger: str, tmp_path: Path) -> None:
    plan(tmp_path)
    other = lines(tmp_path, {"key": "k1", "worker_id": WORKER, "input": {}})
    outcome = batch("plan", "-i", other)

    assert outcome.exit_code == 2
    assert "key 'k1' of batch 'nightly' was planned with another" in outcome.stderr


def test_what_was_planned_from_csv_runs(served: FakeService, ledger: str, tmp_path: Path) -> None:
    from_csv(tmp_path, "keywords:json", '"[""a""]"', options=("--worker", WORKER, "--key-from", "none"))
    from_csv(tmp_path, "key,keywords:json", 'a,"[""a""]"', options=("--worker", WORKER))

    assert batch("run").exit_code == 0
    (run,) = served.runs.values()
    assert run.input["parameters"]["custom"] == {"keywords": ["a"]}
