"""Rows of runs at the command line: their formats, their columns, and which run they are of."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cli.command_line import LIMIT, Outcome, Terminal, first_line, invoke, run_in_terminal, running, without_escapes
from interrupting import interrupt_once

from coreclaw_async.testing import FakeService, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"
ROWS: list[dict[str, Any]] = [
    {"b": 'x,\r"y"', "a": 1, "n": {"k": [1, "\u6771"]}},
    {"a": True, "late": 0.1, "b": None},
]


def ended(service: FakeService, rows: int | Sequence[dict[str, Any]] = ROWS, **script: Any) -> str:
    return service.add_run(WORKER, script=RunScript(rows=rows, duration=0, row_ids=False, **script))


def going(service: FakeService, seconds: float = 1000.0) -> str:
    script = RunScript(rows=50, statuses=[(0.0, "running"), (500.0 + seconds, "succeeded")])
    return service.add_run(WORKER, script=script, age=500.0)


def done(*arguments: str, stdout: io.StringIO | None = None) -> Outcome:
    outcome = invoke(*arguments, stdout=stdout)
    assert outcome.exit_code == 0, outcome.stderr
    return outcome


def complaint(outcome: Outcome) -> str:
    return " ".join(outcome.stderr.replace("│", " ").split())


def with_headers(service: FakeService, change: Callable[[list[Any]], list[Any]]) -> None:
    """Have pages of rows name what *change* makes of their columns."""

    def changed(envelope: dict[str, Any]) -> dict[str, Any]:
        data = envelope["data"]
        return {**envelope, "data": {**data, "headers": change(data["headers"])}}

    service.faults.add(faults.edit(changed), operation="listWorkerRunResults", times=99)


def operations(service: FakeService) -> list[str | None]:
    return [request.operation for request in service.requests]


@pytest.mark.parametrize("options", [("-o", "rows.csv"), ("-o", "rows.CSV"), ("-o", "rows", "--format", "csv")])
def test_rows_as_csv_have_all_columns_and_nested_values_as_json(
    served: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = done("rows", ended(served), *options)

    with Path(options[1]).open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["b", "a", "n", "late"],
            ['x,\r"y"', "1", '{"k": [1, "\u6771"]}', ""],
            ["", "true", "", "0.1"],
        ]
    assert outcome.stderr == f"{options[1]} (2 rows)\n"


def test_columns_of_csv_are_those_of_the_service_and_then_others_in_the_order_seen(served: FakeService) -> None:
    run_id = served.add_run(WORKER, rows=150)
    with_headers(served, lambda headers: headers[::-1])

    lines = list(csv.reader(io.StringIO(done("rows", run_id, "--format", "csv").stdout)))

    assert lines[0] == ["details", "url", "rank", "address", "title", "__coreclaw_data_id__"]
    assert [line[2] for line in lines[1:]] == [str(rank) for rank in range(1, 151)]


def test_rows_as_json_are_one_array(served: FakeService, tmp_path: Path) -> None:
    run_id = ended(served)

    done("rows", run_id, "-o", str(tmp_path / "x.json"))

    assert json.loads((tmp_path / "x.json").read_text("utf-8")) == ROWS
    assert json.loads(done("rows", run_id, "--format", "json").stdout) == ROWS
    assert done("rows", ended(served, []), "--format", "json").stdout == "[]\n"


@pytest.mark.parametrize("name", ["x.jsonl", "x.ndjson", "x"])
def test_rows_are_lines_of_json_unless_the_ending_says_otherwise(
    served: FakeService, tmp_path: Path, name: str
) -> None:
    done("rows", ended(served), "-o", str(tmp_path / name))

    assert [json.loads(line) for line in (tmp_path / name).read_text("utf-8").splitlines()] == ROWS


def test_numbers_beyond_a_float_are_null_in_every_format(served: FakeService) -> None:
    run_id = ended(served, [{"n": 0, "m": [0]}])
    body = b'{"code": 0, "message": "ok", "data": {"count": 1, "list": [{"n": 1e999, "m": [-1e999]}]}}'
    served.faults.add(faults.reply(body), operation="listWorkerRunResults", times=99)

    assert done("rows", run_id).stdout == '{"n": null, "m": [null]}\n'
    assert done("rows", run_id, "--format", "csv").stdout == "n,m\n,[null]\n"


@pytest.mark.parametrize("options", [("-o", "rows.xlsx"), ("-o", "rows.xml"), ("--format", "xlsx")])
def test_formats_that_only_the_service_writes_are_named_with_the_command_for_them(
    served: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = invoke("rows", "R", *options)

    target = options[1] if options[0] == "-o" else "FILE"
    assert outcome.exit_code == 2
    assert f"coreclaw-async export R -o {target}" in complaint(outcome).replace("export RUN", "export R")
    assert served.requests == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [("rows", "R"), ("batch", "rows", "b", "--ledger", "x.db")])
def test_an_ending_that_names_no_format_asks_for_one(served: FakeService, command: tuple[str, ...]) -> None:
    outcome = invoke(*command, "-o", "rows.csv.gz")

    assert outcome.exit_code == 2
    assert "not as 'gz'; give --format" in complaint(outcome)


def test_lines_of_json_have_a_second_ending_for_exports_too(served: FakeService, tmp_path: Path) -> None:
    done("export", ended(served), "-o", str(tmp_path / "x.ndjson"))

    assert len((tmp_path / "x.ndjson").read_text().splitlines()) == 2


def test_an_export_is_no_stream(served: FakeService) -> None:
    outcome = invoke("export", "R", "-o", "-", "--format", "csv")

    assert outcome.exit_code == 2
    assert "coreclaw-async rows RUN --format csv" in complaint(outcome)
    assert not Path("-").exists()


@pytest.mark.parametrize(
    "command", [("rows",), ("rows", "-o"), ("rows", "--format", "csv"), ("export", "-o"), ("export", "--url")]
)
def test_a_misspelt_column_is_an_error_that_names_those_there_are(
    served: FakeService, tmp_path: Path, command: tuple[str, ...]
) -> None:
    run_id = served.add_run(WORKER, rows=150)
    path = (str(tmp_path / "rows.csv"),) if command[-1] == "-o" else ()

    outcome = invoke(command[0], run_id, *command[1:], *path, "--fields", "titel,rank")

    assert outcome.exit_code == 2
    assert "no column is called titel; the columns are title, address, rank, url, details" in complaint(outcome)
    assert outcome.stdout == ""
    assert list(tmp_path.iterdir()) == []
    assert operations(served).count("listWorkerRunResults") == 1
    assert "exportWorkerRunResults" not in operations(served)


@pytest.mark.parametrize("command", ["rows", "export"])
@pytest.mark.parametrize(
    ("given", "told"), [("a,,b", "a name is empty"), ("a,b, a", "a is named more than once"), ("", "a name is empty")]
)
def test_columns_are_named_once_each(served: FakeService, command: str, given: str, told: str) -> None:
    outcome = invoke(command, "R", "-o", "rows.csv", "--fields", given)

    assert outcome.exit_code == 2
    assert told in complaint(outcome)
    assert served.requests == []


def test_a_column_that_only_later_rows_have_is_cut_out_where_the_service_names_no_columns(served: FakeService) -> None:
    run_id = ended(served, [*({"a": number} for number in range(150)), {"a": 150, "b": 1}])
    with_headers(served, lambda _: [])

    lines = [json.loads(line) for line in done("rows", run_id, "--fields", "b").stdout.splitlines()]
    table = list(csv.DictReader(io.StringIO(done("rows", run_id, "--fields", "b,a", "--format", "csv").stdout)))

    assert lines == [*[{"b": None}] * 150, {"b": 1}]
    assert [row["a"] for row in table] == [str(number) for number in range(151)]


@pytest.mark.parametrize("output", ["-", "rows.json"])
def test_a_column_of_no_row_at_all_writes_nothing_where_the_service_names_no_columns(
    served: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    monkeypatch.chdir(tmp_path)
    run_id = ended(served, [{"a\x9b": number} for number in range(150)])
    with_headers(served, lambda _: [])

    outcome = invoke("rows", run_id, "--fields", "b,c", "-o", output)

    assert outcome.exit_code == 2
    assert "no column is called b or c; the columns are a" in complaint(outcome)
    assert "\x9b" not in outcome.stderr
    assert outcome.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_columns_of_a_run_without_rows_are_checked_where_the_service_names_them(served: FakeService) -> None:
    run_id = ended(served, [])
    with_headers(served, lambda _: [{"key": "title"}, {"key": ""}, {"key": "rank"}])

    assert done("rows", run_id, "--format", "csv").stdout == "title,rank\n"
    assert done("rows", run_id, "--format", "csv", "--fields", "rank").stdout == "rank\n"
    assert "no column is called titel; the columns are title, rank" in complaint(
        invoke("rows", run_id, "--fields", "titel")
    )


def test_columns_of_a_run_without_rows_that_names_none_are_told_to_be_unchecked(served: FakeService) -> None:
    run_id = ended(served, [])

    outcome = done("rows", run_id, "--fields", "title")

    assert outcome.stdout == ""
    assert outcome.stderr == f"Run {run_id} has no rows and names no columns, so --fields could not be checked.\n"
    assert done("rows", run_id, "--format", "csv").stdout == ""


def test_the_service_judges_columns_of_a_run_that_names_none(served: FakeService, tmp_path: Path) -> None:
    outcome = invoke("export", ended(served, []), "--fields", "title", "-o", str(tmp_path / "rows.csv"))

    assert outcome.exit_code == 3
    assert list(tmp_path.iterdir()) == []


def test_more_columns_than_anybody_reads_are_counted(served: FakeService) -> None:
    outcome = invoke("rows", ended(served, [{f"c{number}": 1 for number in range(60)}]), "--fields", "c99")

    assert "c48, c49 and 10 more" in complaint(outcome)


@pytest.mark.parametrize(
    "command",
    [
        ("rows", "last"),
        ("rows", "last", "-o", "rows.csv"),
        ("rows", WORKER),
        ("rows", "last", "--partial"),
        ("rows", "last", "--follow", "--format", "csv"),
        ("export", "last", "--url"),
        ("export", "last", "--url", "--partial", "--fields", "title"),
        ("export", "last", "-o", "rows.csv", "--partial"),
        ("export", "last", "-o", "rows.csv", "--follow", "--fields", "title"),
        ("log", "last", "--follow"),
        ("log", "last"),
        ("show", "last"),
        ("wait", "last"),
    ],
    ids=" ".join,
)
def test_what_the_last_run_is_is_asked_once(
    served: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    served.add_run(WORKER, rows=120)

    done(*command)

    assert sum("Last" in str(operation) for operation in operations(served)) == 1


def test_an_account_without_runs_has_no_last_one(served: FakeService) -> None:
    outcome = invoke("rows", "last")

    assert outcome.exit_code == 3
    assert operations(served) == ["getLastWorkerRun"]


@pytest.mark.parametrize(
    "command", [("rows",), ("rows", "-o", "a b.csv"), ("export", "-o", "a b.csv"), ("export", "--url")]
)
def test_rows_of_a_run_that_goes_on_are_refused_with_what_can_be_done(
    served: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    run_id = going(served)

    outcome = invoke(command[0], "last", *command[1:])

    target = " -o 'a b.csv'" if "-o" in command else "" if command == ("rows",) else " --url"
    assert outcome.exit_code == 5
    assert outcome.stderr.splitlines() == [
        f"Run {run_id} has not ended (its status is running), so it may still produce rows.",
        f"  to wait:  coreclaw-async wait {run_id}",
        f"  all:      coreclaw-async {command[0]} {run_id}{target} --follow",
        f"  so far:   coreclaw-async {command[0]} {run_id}{target} --partial",
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.endurance
def test_an_export_that_has_waited_says_that_the_run_failed(served: FakeService, tmp_path: Path) -> None:
    script = RunScript(rows=5, statuses=[(0.0, "running"), (500.7, "failed")])
    run_id = served.add_run(WORKER, script=script, age=500.0)

    outcome = done("export", run_id, "-o", str(tmp_path / "rows.jsonl"), "--follow")

    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 5
    assert f"Run {run_id} failed" in outcome.stderr


@pytest.mark.parametrize(
    "command", [("rows", "-o", "rows.csv"), ("rows",), ("export", "-o", "rows.csv"), ("export", "--url"), ("log",)]
)
def test_following_ends_when_the_time_is_up(
    served: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    run_id = going(served)

    outcome = invoke(command[0], "last", *command[1:], "--follow", "--timeout", "0.4")

    target = " -o rows.csv" if "-o" in command else " --url" if "--url" in command else ""
    assert outcome.exit_code == 5
    assert f"run {run_id} has not ended within 0.4 s; it goes on" in outcome.stderr
    assert f"to go on:    coreclaw-async {command[0]} {run_id}{target} --follow" in outcome.stderr
    assert f"coreclaw-async abort {run_id}" in outcome.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["rows", "export", "log"])
def test_a_time_is_for_following(served: FakeService, command: str) -> None:
    options = ("-o", "rows.csv") if command == "export" else ()
    outcome = invoke(command, "R", *options, "--timeout", "3")

    assert outcome.exit_code == 2
    assert "--timeout is for --follow" in complaint(outcome)
    assert served.requests == []


def test_partial_and_following_exclude_each_other(served: FakeService) -> None:
    assert invoke("rows", "R", "--partial", "--follow").exit_code == 2
    assert invoke("export", "R", "-o", "rows.csv", "--partial", "--follow").exit_code == 2
    assert served.requests == []


@pytest.mark.parametrize("command", ["rows", "log"])
def test_following_that_is_interrupted_says_how_to_go_on_with_this_run(served: FakeService, command: str) -> None:
    run_id = going(served)

    with interrupt_once(lambda: operations(served).count("getWorkerRun")):
        outcome = invoke(command, "last", "--follow")

    assert outcome.exit_code == 130
    first, *between, last = outcome.stderr.splitlines()
    assert (first, last) == ("Interrupted.", f"  to try again:  coreclaw-async {command} {run_id} --follow")
    assert all("the interrupted call had just returned" in line for line in between)


CONTROLS = "\x1b[8m\x9b8m\x7f\u2028\u202e\u2066\U000e0041"


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (("rows",), r"\u001b[8m\u009b8m\u007f\u2028\u202e\u2066\udb40\udc41é👩\u200d💻"),
        (("rows", "--format", "json"), r"\u001b[8m\u009b8m\u007f\u2028\u202e\u2066\udb40\udc41é👩\u200d💻"),
        (("rows", "--format", "csv"), " [8m 8m     é"),
        (("log", "--json"), r"\u001b[8m\u009b8m\u007f\u2028\u202e\u2066\udb40\udc41é"),
        (("log",), " 8m"),
    ],
    ids=["lines", "array", "csv", "log lines", "log"],
)
def test_a_terminal_is_not_controlled_by_what_the_service_sends(
    served: FakeService, command: tuple[str, ...], shown: str
) -> None:
    text = f"{CONTROLS}é👩\u200d💻"
    run_id = ended(served, [{text: text}], log=[text])

    stdout = Terminal()
    done(command[0], run_id, *command[1:], stdout=stdout)

    written = stdout.getvalue()
    assert shown.replace(r"\u200d", "\u200d") in without_escapes(written)
    assert not set("\x9b\x7f\u2028\u202e\u2066\U000e0041") & set(written)
    assert "\x1b[8m" not in written


@pytest.mark.parametrize("format", ["jsonl", "json", "csv"])
def test_what_the_service_sends_is_as_it_was_where_nobody_looks(
    served: FakeService, tmp_path: Path, format: str
) -> None:
    run_id = ended(served, [{"a": "\x9b\u2028\u202e"}])

    assert "\x9b\u2028\u202e" in done("rows", run_id, "--format", format).stdout
    done("rows", run_id, "--format", format, "-o", str(tmp_path / "rows"))
    assert "\x9b\u2028\u202e" in (tmp_path / "rows").read_text("utf-8")


def test_a_run_that_is_started_prints_its_rows_in_the_format_asked_for(served: FakeService) -> None:
    run = ("run", WORKER, "-i", '{"keywords": ["coffee"]}', "-o", "-", "--format")

    assert done(*run, "csv").stdout.splitlines()[0].startswith("title,address,rank,")
    assert len(json.loads(done(*run, "json").stdout)) == 2
    assert invoke(*run, "xlsx").exit_code == 2
    assert served.runs_created == 2


def test_a_log_that_is_followed_for_too_long_tells_programs(served: FakeService) -> None:
    run_id = going(served)

    outcome = invoke("log", run_id, "--follow", "--timeout", "0.4", "--json")

    assert outcome.exit_code == 5
    told = json.loads(outcome.stdout.splitlines()[-1])
    assert (told["run_id"], told["exit_code"], told["type"]) == (run_id, 5, "WaitTimeoutError")


@pytest.mark.endurance
@pytest.mark.parametrize(
    "command", [("rows", "-o", "/dev/stdout"), ("rows", "--format", "csv"), ("export", "--with-inputs")]
)
def test_a_terminal_is_not_controlled_by_rows_and_inputs_of_a_batch(
    served: FakeService, ledger: str, tmp_path: Path, command: tuple[str, ...]
) -> None:
    assert ledger
    served.default_script = RunScript(rows=[{"a": CONTROLS}], duration=0)
    (tmp_path / "specs.jsonl").write_text(json.dumps({"key": "k", "input": {"keywords": [CONTROLS]}}))
    done("batch", "plan", "nightly", "-i", str(tmp_path / "specs.jsonl"), "--worker", WORKER)
    done("batch", "run", "nightly")

    code, written = run_in_terminal("batch", command[0], "nightly", *command[1:], COLUMNS="300")

    assert code == 0
    assert "8m" in written
    assert not set("\x9b\x7f\u2028\u202e\u2066\U000e0041") & set(written)
    assert "\x1b[8m" not in written


@pytest.mark.endurance
@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_a_reader_that_has_had_enough_of_rows_is_no_failure(served: FakeService, format: str) -> None:
    run_id = served.add_run(WORKER, rows=2000)

    with running("rows", run_id, "--format", format) as process:
        assert first_line(process)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(LIMIT) == 0


@pytest.mark.endurance
def test_a_terminal_shows_how_many_of_how_many_rows_were_read(served: FakeService, tmp_path: Path) -> None:
    run_id = served.add_run(WORKER, rows=1250)
    served.faults.add(faults.delay(0.5), operation="listWorkerRunResults", after=2)

    code, written = run_in_terminal("rows", run_id, "-o", str(tmp_path / "rows.csv"), COLUMNS="80")

    assert code == 0
    assert "200 of 1,250 rows" in without_escapes(written)
    assert "rows.csv (1,250 rows)" in " ".join(without_escapes(written).split())
