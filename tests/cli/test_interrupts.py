"""Signals at moments in which Python itself would miss them."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.command_line import invoke
from interrupting import interrupt_once
from raw_server import RUN_IDS, RawRequest, RawServer, answering, envelope, serve_sockets
from waiting import join

from coreclaw_async.cli._process import interrupts
from coreclaw_async.cli._process.interrupts import TerminatedError, signals_that_interrupt
from coreclaw_async.testing import FakeService

WORKER = "coreclaw/google-maps-scraper"
LINE = '{"key": "a", "worker_id": "me/one", "input": {"keywords": ["\u00e9"]}}\n'


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A named pipe that is open for writing, in which nothing is."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR)
    yield path, descriptor
    os.close(descriptor)


def is_reading() -> bool:
    """Return whether a thread is in the read itself."""
    tops = [frame.f_code for frame in sys._current_frames().values()]
    return any(top.co_filename.endswith("inputs.py") and "readinto" in top.co_names for top in tops)


@pytest.mark.parametrize("from_stdin", [False, True])
def test_an_interrupt_just_before_the_read_of_an_empty_pipe_is_noticed(
    served: FakeService, pipe: tuple[Path, int], monkeypatch: pytest.MonkeyPatch, from_stdin: bool
) -> None:
    path, _ = pipe
    with path.open("rb", buffering=0) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with interrupt_once(is_reading, is_missed=True):
            ended = invoke("run", WORKER, "-i", "-" if from_stdin else str(path))
        os.write(pipe[1], b"\n")  # Frees the thread that reads.

    assert ended.exit_code == 130
    assert not served.runs


def test_a_plan_is_read_from_a_pipe_as_it_is_from_a_file(served: FakeService, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    text = b"\xef\xbb\xbf" + (LINE * 5000).encode()
    writer = threading.Thread(target=path.write_bytes, args=(text,), daemon=True)
    writer.start()

    ended = invoke("batch", "plan", "nightly", "--ledger", str(tmp_path / "runs.db"), "-i", str(path))
    join(writer)

    assert ended.stdout == "1 new item; 1 in all.\n"


def test_an_input_that_ends_with_an_error_is_a_usage_error(served: FakeService, tmp_path: Path) -> None:
    ended = invoke("run", WORKER, "-i", str(tmp_path))

    assert ended.exit_code == 2
    assert "cannot be read: Is a directory" in ended.stderr


def test_a_standard_input_that_cannot_be_read_is_a_usage_error(
    served: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "written").open("wb") as written:
        monkeypatch.setattr(sys, "stdin", written)
        ended = invoke("run", WORKER, "-i", "-")

    assert ended.exit_code == 2
    assert "standard input cannot be read: Bad file descriptor" in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_within_a_finaliser_is_repeated_after_it(number: int) -> None:
    class Finalised:
        def __del__(self) -> None:
            signal.raise_signal(number)

    with pytest.raises(KeyboardInterrupt) as raised, signals_that_interrupt():
        Finalised()
        for _ in range(500):
            time.sleep(0.01)

    assert isinstance(raised.value, TerminatedError) == (number == signal.SIGTERM)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_other_exceptions_within_a_finaliser_are_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finalised:
        def __del__(self) -> None:
            raise LookupError("lost")

    dropped: list[str] = []

    def note(unraisable: Any) -> None:
        dropped.append(repr(unraisable.exc_value))

    monkeypatch.setattr(sys, "unraisablehook", note)
    with signals_that_interrupt():
        Finalised()

    assert dropped == ["LookupError('lost')"]


class Interrupted(io.StringIO):
    """A stream that is interrupted when it is flushed after the end of a command."""

    def flush(self) -> None:
        if not any(frame.filename.endswith("guard.py") for frame in traceback.extract_stack()):
            signal.raise_signal(signal.SIGINT)


def test_an_interrupt_after_the_end_of_a_command_does_not_change_its_exit_code(served: FakeService) -> None:
    assert invoke("run", WORKER, "-i", '{"keywords": ["coffee"]}', stdout=Interrupted()).exit_code == 0
    assert len(served.runs) == 1


def test_an_interrupt_before_the_end_has_its_own_exit_code() -> None:
    interrupts.begin()

    assert interrupts.code_at_end() == interrupts.code_at_end(KeyboardInterrupt()) == 130
    assert interrupts.code_at_end(TerminatedError(signal.SIGTERM)) == 143


@pytest.mark.endurance
@pytest.mark.parametrize(
    ("run_ids", "words"),
    [
        (RUN_IDS[:1], f"candidate: run {RUN_IDS[0]}"),
        ([], "no matching run was there yet, which does not prove that there is none"),
    ],
    ids=["made later", "not made"],
)
def test_a_run_that_is_made_after_the_signal_is_a_candidate(
    monkeypatch: pytest.MonkeyPatch, run_ids: list[str], words: str
) -> None:
    """The service takes its time to start a run, also one whose caller has gone."""
    main, runs = threading.get_ident(), list[dict[str, str]]()

    def answer(request: RawRequest, server: RawServer) -> bytes:
        if request.method == "POST":
            signal.pthread_kill(main, signal.SIGTERM)
            time.sleep(0.3)
            runs.extend({"slug": run_id, "status": "running"} for run_id in run_ids)
            return b""
        return envelope({"list": runs, "count": len(runs)})

    with serve_sockets(answering(answer)) as server:
        monkeypatch.setenv("CORECLAW_API_KEY", "key")
        monkeypatch.setenv("CORECLAW_BASE_URL", server.url)
        ended = invoke("run", WORKER, "-i", '{"keywords": ["coffee"]}', "--json")

    assert ended.exit_code == 4
    assert words in ended.stderr
    assert json.loads(ended.stdout)["candidates"] == run_ids
    assert len(server.of("POST")) == 1
