"""Ctrl-C, the prompt, colours, bars and broken pipes: commands as people and shells meet them."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from cli.command_line import LIMIT, command, in_environment, invoke, run_in_terminal, without_escapes
from interrupting import interrupt_once

from coreclaw_async.testing import FakeService, RealClock, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"
RUN = ("run", WORKER, "-i", '{"keywords": ["coffee"]}')


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    service = FakeService(clock=RealClock(), default_script=RunScript(rows=250, duration=600))
    with in_environment(service, monkeypatch):
        yield service


def requests_of(service: FakeService, operation: str) -> int:
    return sum(request.operation == operation for request in service.requests)


@attrs.frozen
class Terminal:
    """A command in a pseudo-terminal."""

    process: subprocess.Popen[bytes]
    ours: int
    written: bytearray = attrs.field(factory=bytearray)

    def read_until(self, words: str) -> str:
        """Return what was written when *words* have come, or at the end."""
        until = time.monotonic() + LIMIT
        while words not in self.text and select.select([self.ours], [], [], max(until - time.monotonic(), 0))[0]:
            try:
                chunk = os.read(self.ours, 65536)
            except OSError:
                break
            if not chunk:
                break
            self.written.extend(chunk)
        return self.text

    @property
    def text(self) -> str:
        return without_escapes(self.written.decode(errors="replace")).replace("\r\n", "\n")

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def end(self) -> tuple[int, str]:
        text = self.read_until("\0")
        return self.process.wait(LIMIT), text


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.process.kill()
        terminal.process.wait(LIMIT)
        os.close(terminal.ours)


def open_terminal(terminals: list[Terminal], *arguments: str) -> Terminal:
    ours, theirs = pty.openpty()
    # Opening it makes it the session's terminal, so that a typed Ctrl-C becomes a signal.
    code = "import os; os.close(os.open(os.ttyname(0), os.O_RDWR)); from coreclaw_async.__main__ import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "100"},
        start_new_session=True,
    )
    os.close(theirs)
    terminals.append(Terminal(process, ours))
    return terminals[-1]


@pytest.mark.endurance
def test_ctrl_c_while_waiting_says_that_the_run_goes_on_and_what_can_be_done(
    service: FakeService, terminals: list[Terminal]
) -> None:
    terminal = open_terminal(terminals, *RUN, "--wait")
    terminal.read_until("running")
    began = time.monotonic()
    terminal.type("\x03")

    code, text = terminal.end()

    (run_id,) = service.runs
    assert code == 130
    assert time.monotonic() - began < 10
    assert f"Run {run_id} is still running and costs money." in text
    assert f"to wait again:  coreclaw-async wait {run_id}" in text
    assert f"to stop:        coreclaw-async abort {run_id}" in text
    assert requests_of(service, "abortWorkerRun") == 0
    assert "Traceback" not in text


@pytest.mark.endurance
def test_the_id_of_a_run_is_on_the_screen_before_the_wait_begins(
    service: FakeService, terminals: list[Terminal]
) -> None:
    service.faults.add(faults.delay(60), operation="getWorkerRun", times=9)
    terminal = open_terminal(terminals, *RUN, "--wait")

    assert re.search(r"Run 01[0-9A-Z]{24} started\.", terminal.read_until("started."))
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end()[0] == 130


@pytest.mark.endurance
def test_a_key_is_asked_for_and_not_shown(
    service: FakeService, terminals: list[Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CORECLAW_API_KEY")
    terminal = open_terminal(terminals, "account")
    assert "API key: " in terminal.read_until("API key: ")
    terminal.type(f"{service.api_key}\n")

    code, text = terminal.end()

    assert code == 0
    assert "balance" in text
    assert service.api_key not in text


@pytest.mark.endurance
def test_a_table_fits_its_terminal_and_keeps_ids_whole(service: FakeService) -> None:
    run_id = service.add_run(WORKER, rows=3)

    code, written = run_in_terminal("runs", COLUMNS="60")

    assert code == 0
    assert run_id in without_escapes(written)
    assert max(map(len, without_escapes(written).splitlines())) <= 60


@pytest.mark.parametrize(("limit", "is_told"), [("2", True), ("3", False)])
def test_whoever_looks_at_a_list_is_told_that_there_may_be_more(
    service: FakeService, limit: str, is_told: bool
) -> None:
    for _ in range(2):
        service.add_run(WORKER, rows=3)
    words = f"These are the first {limit}; --limit shows more."

    assert (words in invoke("runs", "--limit", limit, is_terminal=True).stderr) is is_told
    assert words not in invoke("runs", "--limit", limit).stderr


@pytest.mark.endurance
def test_no_color_means_no_color(service: FakeService) -> None:
    assert re.search(r"\x1b\[[0-9;]*3[0-7]m", run_in_terminal("run", "--help")[1])
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", run_in_terminal("run", "--help", NO_COLOR="1")[1])


@pytest.mark.endurance
def test_a_bar_is_shown_in_a_terminal_only(service: FakeService, tmp_path: Path) -> None:
    run_id = service.add_run(WORKER, rows=3)
    export = ("export", run_id, "-o", str(tmp_path / "rows.csv"))

    code, written = run_in_terminal(*export)

    assert code == 0
    assert "━" in written
    assert "━" not in invoke(*export).stderr


@pytest.mark.endurance
def test_rows_in_a_terminal_are_not_mixed_with_a_bar(service: FakeService) -> None:
    run_id = service.add_run(WORKER, rows=3)

    _, written = run_in_terminal("rows", run_id)

    assert "━" not in written


@pytest.mark.endurance
def test_results_go_where_they_were_sent_while_a_bar_is_shown(service: FakeService) -> None:
    runs = [service.add_run(WORKER, script=RunScript(duration=0)) for _ in range(2)]
    ours, theirs = pty.openpty()
    with subprocess.Popen(command("wait", *runs, "--json"), stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        assert process.stdout is not None
        printed = process.stdout.read().decode()
    os.close(ours)

    assert sorted(json.loads(line)["run_id"] for line in printed.splitlines()) == sorted(runs)


@pytest.mark.endurance
def test_what_is_said_of_each_run_stays_above_the_bar(service: FakeService) -> None:
    runs = [service.add_run(WORKER, script=RunScript(duration=0)) for _ in range(2)]

    code, written = run_in_terminal("wait", *runs)

    assert code == 0
    for run_id in runs:
        assert re.search(rf"(^|\n|\r|\x1b\[2K)Run {run_id} succeeded after 0 s[^\r\n]*\r\n", written)


def test_an_abort_is_followed_by_the_command_that_shows_the_end(service: FakeService) -> None:
    running = service.add_run(WORKER, script=RunScript(duration=600))
    ended = service.add_run(WORKER, script=RunScript(duration=0))

    outcome = invoke("abort", running, ended, "nowhere", is_terminal=True)
    lines = outcome.stderr.splitlines()

    assert outcome.exit_code == 3
    assert f"  to see the end:  coreclaw-async wait {running}" in lines
    assert f"  how it is now:  coreclaw-async show {ended}" in lines
    assert "coreclaw-async show nowhere" not in outcome.stderr


def test_an_interrupted_wait_in_this_process(service: FakeService) -> None:
    """As in a terminal, but in this process, where coverage is measured."""
    with interrupt_once(lambda: requests_of(service, "getWorkerRun")):
        outcome = invoke(*RUN, "--wait")

    assert outcome.exit_code == 130
    assert "is still running and costs money" in outcome.stderr


def test_an_interrupted_wait_can_abort_its_run(service: FakeService) -> None:
    with interrupt_once(lambda: requests_of(service, "getWorkerRun")):
        outcome = invoke(*RUN, "--wait", "--abort-on-interrupt")

    (run_id,) = service.runs
    assert outcome.exit_code == 130
    assert f"Asked to abort run {run_id}: it is abort" in outcome.stderr
    assert requests_of(service, "abortWorkerRun") == 1


@pytest.mark.endurance
def test_an_interrupted_wait_for_several_runs_names_those_that_go_on(service: FakeService) -> None:
    runs = [service.add_run(WORKER, script=RunScript(duration=600)) for _ in range(2)]

    with interrupt_once(lambda: requests_of(service, "getWorkerRun") + requests_of(service, "listWorkerRuns") > 3):
        outcome = invoke("wait", *runs)

    assert outcome.exit_code == 130
    assert f"Runs {', '.join(runs)} are still running and cost money." in outcome.stderr


def test_an_interrupted_start_has_exit_code_4_and_candidates(service: FakeService) -> None:
    service.faults.add(faults.delay(60), operation="runWorker")

    with interrupt_once(lambda: service.runs):
        outcome = invoke(*RUN)

    assert outcome.exit_code == 4
    assert f"candidate: run {next(iter(service.runs))}" in outcome.stderr


@pytest.mark.endurance
@pytest.mark.parametrize(("key", "code", "words"), [("\x03", 130, "Interrupted."), ("\x04", 2, "there is no key")])
def test_who_leaves_the_prompt_for_the_key_has_paid_for_nothing(
    service: FakeService, terminals: list[Terminal], monkeypatch: pytest.MonkeyPatch, key: str, code: int, words: str
) -> None:
    monkeypatch.delenv("CORECLAW_API_KEY")
    terminal = open_terminal(terminals, *RUN)
    terminal.read_until("API key: ")
    terminal.type(key)

    ended, text = terminal.end()

    assert ended == code
    assert words in text
    assert not service.runs


@pytest.mark.endurance
def test_a_run_is_told_of_at_the_terminal_where_both_streams_are_closed(service: FakeService) -> None:
    ours, theirs = pty.openpty()
    code = (
        "import os; os.close(os.open(os.ttyname(0), os.O_RDWR)); os.close(1); os.close(2);"
        "os.execv(os.sys.executable, [os.sys.executable, '-m', 'coreclaw_async', *os.sys.argv[1:]])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, *RUN],
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    terminal = Terminal(process, ours)
    text = terminal.read_until("costs money.")
    ended = process.wait(LIMIT)
    os.close(theirs)
    os.close(ours)

    (run_id,) = service.runs
    assert ended == 7
    assert f"Run {run_id} was started and costs money." in text
