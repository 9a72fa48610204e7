"""Tables in a pseudo terminal of 60, 80 and 120 columns, and in a pipe, whatever the service sends."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from cli.batch_lines import batch, hold, lines, plan
from cli.command_line import LIMIT, Terminal, invoke, without_escapes
from rich.cells import cell_len

from coreclaw_async.__main__ import main
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.cli._screen.table_layout import LaidColumn, lay_out, needed
from coreclaw_async.cli._screen.tables import Column, say_table
from coreclaw_async.testing import FakeService, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"
INPUT = {"parameters": {"custom": {"keywords": ["coffee"]}}}
WIDTHS = [60, 80, 120]
LISTS = ["runs", "store", "workers list", "workers input somebody/a-worker", "tasks list", "queue list"]
TEXTS = {
    "long": "The longest title that anybody has given to a worker " * 4,
    "wide": "\u6771\u4eac\u306e\u30ab\u30d5\u30a7\u3092\u96c6\u3081\u308b\u30ef\u30fc\u30ab\u30fc" * 5,
    "emoji": "\U0001f680\U0001f600 maps \U0001f5fa\ufe0f " * 9,
    "escapes": "\x1b[2J\x1b]0;owned\x07\x9b31mred",
    "markup": "[red]sale[/red] [/] :smile:",
    "lines": "one\ntwo\r\nthree\tfour\x0b\u2028five",
    "bidi": "\u202egnp.exe\u2066\u200b",
    "nothing": "",
}


def in_terminal(*arguments: str, columns: int) -> tuple[object, list[str]]:
    """Run a command in this process, with a pseudo terminal as its output; return exit code and lines."""
    ours, theirs = pty.openpty()
    written = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):  # Linux has an error where the other end is closed.
            while chunk := os.read(ours, 65536):
                written.extend(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["coreclaw-async", *arguments])
        patch.setenv("COLUMNS", str(columns))
        patch.setenv("TERM", "xterm-256color")
        with (
            os.fdopen(theirs, "w", encoding="utf-8") as terminal,
            contextlib.redirect_stdout(terminal),
            contextlib.redirect_stderr(terminal),
            pytest.raises(SystemExit) as ended,
        ):
            main()
    reader.join(LIMIT)
    os.close(ours)
    return ended.value.code, lines_of(written.decode())


def lines_of(written: str) -> list[str]:
    """Return what is on the screen; colours are all that a terminal may be told."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", written).replace("\r\n", "\n")
    assert all(character.isprintable() or character == "\n" for character in text), repr(text)
    return text.splitlines()


@pytest.fixture
def titled(served: FakeService) -> Callable[[str], str]:
    """Add one of everything, under a title; return the id of the run."""

    def add(title: str) -> str:
        worker = served.add_worker("somebody/a-worker", title=title, schema=[{"name": "query", "title": title}])
        served.add_task(worker, title=title, input=INPUT)
        served.add_queue_item(worker, INPUT)
        return served.add_run(worker, rows=3)

    return add


@pytest.mark.endurance
@pytest.mark.parametrize(
    ("command", "title", "columns"),
    [
        # Each command with each text, and both with each width.
        (command, title, WIDTHS[(row + column) % len(WIDTHS)])
        for row, command in enumerate(LISTS)
        for column, title in enumerate(TEXTS.values())
    ],
)
def test_no_line_is_wider_than_the_terminal_and_nothing_in_it_controls_it(
    titled: Callable[[str], str], command: str, title: str, columns: int
) -> None:
    titled(title)

    code, lines = in_terminal(*command.split(), columns=columns)

    assert code == 0
    assert max(cell_len(line) for line in lines if not line.startswith("Not shown: ")) <= columns


@pytest.mark.endurance
@pytest.mark.parametrize(("title", "columns"), list(zip(TEXTS.values(), WIDTHS * 3, strict=False)), ids=TEXTS)
def test_ids_of_runs_are_whole_and_rows_stay_one_line(
    served: FakeService, titled: Callable[[str], str], title: str, columns: int
) -> None:
    ids = {titled(title), served.add_run(WORKER, script=RunScript(duration=600))}

    _, lines = in_terminal("runs", columns=columns)

    assert {line[:26] for line in lines[1:3]} == ids
    assert lines[0].split()[:3] == ["run", "status", "rows"]
    assert len(lines) <= 4


def test_runs_show_their_worker_and_cost_in_80_columns_and_say_what_is_left_out(served: FakeService) -> None:
    served.add_run(WORKER, rows=3)

    _, (header, row, aside) = in_terminal("runs", columns=80)

    assert header.split() == ["run", "status", "rows", "cost", "started", "worker"]
    assert re.search(r" succeeded +3 +\$0\.003  \d\d-\d\d \d\d:\d\d  Google Maps S…$", row), row
    assert aside == "Not shown: seconds. Shortened: worker. --wide shows all."


def test_wide_shows_all_columns_whole(served: FakeService, titled: Callable[[str], str]) -> None:
    run_id = titled(TEXTS["long"])

    _, (header, row) = in_terminal("runs", "--wide", columns=60)

    assert header.split() == ["run", "status", "rows", "cost", "started", "worker", "seconds"]
    assert row.startswith(run_id)
    assert TEXTS["long"] in row
    assert re.search(r"  20\d\d-\d\d-\d\d \d\d:\d\d:\d\d  ", row)
    assert in_terminal("store", "--wide", columns=60)[1][0].split() == ["worker", "title", "worker_id"]


def test_numbers_are_at_the_right_edge_of_their_column(served: FakeService) -> None:
    served.add_run(WORKER, rows=3)
    served.add_run(WORKER, rows=1234)

    _, (header, *rows) = in_terminal("runs", columns=120)

    for name, values in (("rows", ("3", "1234")), ("cost", ("$0.003", "$1.234"))):
        edge = header.index(f" {name}") + 1 + len(name)
        assert {row[:edge].split()[-1] for row in rows} == set(values)


@pytest.mark.parametrize("title", [TEXTS["long"], TEXTS["lines"], TEXTS["escapes"]])
def test_a_pipe_gets_every_column_whole_with_tabs_between(
    served: FakeService, titled: Callable[[str], str], title: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # As build servers set it: the output is a pipe all the same.
    run_id = titled(title)

    outcome = invoke("runs")
    header, row = (line.split("\t") for line in outcome.stdout.split("\n")[:-1])

    assert header == ["run", "status", "rows", "cost", "started", "worker", "seconds"]
    assert row[:4] == [run_id, "succeeded", "3", "0.003"]
    assert row[5] == "".join(character if character.isprintable() else " " for character in title)
    assert outcome.stderr == ""


def test_a_time_of_another_year_is_a_date(served: FakeService) -> None:
    _edit_times(served, 1_551_700_800)
    served.add_run(WORKER, rows=3)

    assert "  2019-03-04  " in in_terminal("runs", columns=80)[1][1]


def _edit_times(service: FakeService, moment: int) -> None:
    def edit(envelope: dict[str, object]) -> dict[str, object]:
        data = envelope["data"]
        assert isinstance(data, dict)
        return {**envelope, "data": {**data, "list": [{**entry, "started_at": moment} for entry in data["list"]]}}

    service.faults.add(faults.edit(edit), operation="listWorkerRuns", times=1)


@pytest.mark.endurance
@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.usefixtures("ledger")
def test_keys_and_runs_of_items_are_whole(served: FakeService, tmp_path: Path, columns: int) -> None:
    key = "https://example.com/" + "a/very/long/path/" * 3
    served.detail_err_msg = True
    served.script_next(RunScript(outcome="failed", error_message="no luck " * 30, duration=0))
    plan(tmp_path, 1)
    batch("run")
    specs = tmp_path / "more.csv"
    specs.write_text(f'key,keywords:json\n{key},"[""tea""]"\n')
    batch("plan", "-i", str(specs), "--worker", WORKER)
    batch("run")

    _, (header, *lines) = in_terminal("batch", "items", "nightly", columns=columns)

    assert {"k0", key} <= {line.split()[0] for line in lines}
    assert header.split()[:3] == ["key", "state", "run"]
    assert set(served.runs) <= set(" ".join(lines).split())
    assert max(cell_len(line) for line in lines if line != key) <= columns


@pytest.mark.endurance
@pytest.mark.usefixtures("ledger")
def test_candidates_are_one_below_the_other_and_whole(served: FakeService, ledger: str) -> None:
    served.add_run(WORKER, status="running", age=0.0)
    hold(served, ledger)
    ids = [run_id for run_id in served.runs if run_id in invoke("batch", "items", "nightly").stdout]

    _, lines = in_terminal("batch", "items", "nightly", columns=80)

    assert ids
    assert [line.split()[-1] for line in lines[1:] if set(line.split()) & set(ids)]
    assert set(ids) <= set(" ".join(lines).split())
    assert max(map(cell_len, lines)) <= 80


@pytest.mark.endurance
@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.usefixtures("ledger")
def test_a_report_fits(served: FakeService, tmp_path: Path, columns: int) -> None:
    worker = served.add_worker("somebody-with-a-long-name/a-worker-with-a-name-that-is-longer-than-a-line-should-be")
    plan(tmp_path)
    batch("plan", "-i", lines(tmp_path, {"key": "other", "input": {}}), "--worker", worker)
    batch("run")

    code, shown = in_terminal("batch", "report", "nightly", columns=columns)

    assert code == 0
    assert shown[:2] == ["state  items", "done       4"]
    assert worker in {line.split()[0] for line in shown if line}
    assert max(cell_len(line) for line in shown if not line.startswith("somebody")) <= columns


def test_what_an_action_could_not_do_is_told_whole(served: FakeService) -> None:
    item = served.add_queue_item(WORKER, INPUT)
    invoke("queue", "release", item)

    code, lines = in_terminal("queue", "release", item, columns=60)

    assert code == 3
    assert lines[0].split() == ["item", "done", "reason"]
    assert lines[1].startswith(f"{item}  no")
    assert "…" not in lines[1]


def column(name: str, kind: str, *cells: str | tuple[str, ...]) -> LaidColumn:
    return LaidColumn(name, kind, [(cell,) if isinstance(cell, str) else cell for cell in cells])  # type: ignore[arg-type]


def test_columns_that_do_not_fit_are_left_out_from_the_right() -> None:
    columns = [column("id", "id", "x" * 20), column("one", "text", "y" * 30), column("two", "text", "z" * 30)]

    wide, narrow = lay_out(columns, 60), lay_out(columns, 34)

    assert needed(columns) == 84
    assert (wide.missing, wide.shortened) == ([], ["one", "two"])
    assert wide.lines == [f"{'x' * 20}  {'y' * 17}…  {'z' * 17}…"]
    assert (narrow.missing, narrow.shortened) == (["two"], ["one"])
    assert narrow.lines == [f"{'x' * 20}  {'y' * 11}…"]
    assert lay_out(columns, None).lines == [f"{'x' * 20}  {'y' * 30}  {'z' * 30}"]


def test_an_id_that_is_wider_than_its_column_has_a_line_of_its_own() -> None:
    columns = [column("id", "id", "x" * 50, "short", "u" * 50), column("n", "number", "1", "22", "")]

    assert lay_out(columns, 40).lines == ["x" * 50, " " * 8 + "1", "short  22", "u" * 50]


def test_an_id_has_room_before_a_text() -> None:
    columns = [column("id", "id", "i" * 30, "j" * 60), column("text", "text", "t" * 60, "")]

    assert lay_out(columns, 50).lines[0] == "i" * 30 + "  " + "t" * 17 + "…"


def test_an_id_is_whole_also_where_it_is_wider_than_the_terminal() -> None:
    assert lay_out([column("id", "id", "x" * 50)], 10).lines == ["x" * 50]


def test_a_wide_character_is_not_cut_in_half() -> None:
    columns = [column("id", "id", "x"), column("text", "text", "\u6771" * 20), column("n", "number", "1")]

    for room in range(20, 40):
        layout = lay_out(columns, room)
        assert {cell_len(line) for line in layout.lines} == {room}, layout


def test_a_column_without_cells_is_left_out_in_silence_where_there_is_little_room() -> None:
    columns = [column("key", "id", "k0"), column("none", "text", ""), column("text", "text", "t" * 40)]

    assert lay_out(columns, 80).header.split() == ["key", "none", "text"]
    assert lay_out(columns, 30).header.split() == ["key", "text"]
    assert lay_out(columns, 30).missing == []
    assert lay_out([column("key", "id", ""), column("text", "text", "t" * 40)], 30).header.split() == ["key", "text"]


def test_several_lines_of_a_cell_are_one_below_the_other() -> None:
    columns = [column("key", "id", "k0"), column("run", "id", ("a", "b")), column("n", "number", "1")]

    assert lay_out(columns, None).lines == ["k0   a    1", "     b"]


def test_ids_in_one_cell_are_one_below_the_other_and_in_a_pipe_beside_each_other() -> None:
    columns = [Column("run", lambda ids: ids, "id")]
    shown, piped = Terminal(), io.StringIO()
    for out in (shown, piped):
        with contextlib.redirect_stdout(out):
            say_table(Screen(), [("a", "b"), ()], columns)

    assert without_escapes(shown.getvalue()).split() == ["run", "a", "b"]
    assert piped.getvalue() == "run\na b\n\n"


def test_money_in_a_pipe_is_a_number(served: FakeService) -> None:
    served.add_run(WORKER, rows=3)

    assert Decimal(invoke("runs").stdout.splitlines()[1].split("\t")[3]) == Decimal("0.003")
