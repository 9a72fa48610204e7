"""Which exit code an error has, and that all that is known about runs is shown."""

from __future__ import annotations

import contextlib
import io
from decimal import Decimal

import pytest
from cli.command_line import Terminal

from coreclaw_async import (
    AuthenticationError,
    BatchIncompleteError,
    ConfigurationError,
    CoreClawError,
    DownloadError,
    NotFoundError,
    OutcomeUnknownError,
    RequestNotSentError,
    Run,
    RunAbortedError,
    RunFailedError,
    RunOperationError,
    ServiceError,
    WaitTimeoutError,
)
from coreclaw_async.cli._process.receipts import UNDER_WAY, Receipts, current
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.cli.failures import ExitCode, exit_code_of, tell_error
from coreclaw_async.events import StartUnknown

RUN_ID = "01K2M0000000000000000000AB"
ENDED = Run(run_id=RUN_ID, status="failed", usage=Decimal("0.125"))


def told(error: CoreClawError, err: io.StringIO | None = None) -> tuple[int, str]:
    err = io.StringIO() if err is None else err
    with contextlib.redirect_stderr(err):
        code = tell_error(Screen(), error)
    return code, err.getvalue()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RunFailedError("x", run_id=RUN_ID), 1),
        (RunAbortedError("x", run_id=RUN_ID), 1),
        (ConfigurationError("x"), 2),
        (NotFoundError("x"), 3),
        (ServiceError("x"), 3),
        (RequestNotSentError("x"), 3),
        (DownloadError("x"), 3),
        (OutcomeUnknownError("x"), 4),
        (WaitTimeoutError("x", run_id=RUN_ID), 5),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, CoreClawError) else None,
)
def test_exit_code_tells_the_outcome(error: CoreClawError, code: int) -> None:
    assert told(error)[0] == code


@pytest.mark.parametrize("kind", [OutcomeUnknownError, RunOperationError])
def test_candidates_are_named_when_a_run_may_have_been_started(kind: type[CoreClawError]) -> None:
    error = kind("lost", candidates=[RUN_ID, "other"])
    error.may_have_taken_effect = True
    before = UNDER_WAY.set(Receipts())
    current().note(StartUnknown(operation="runWorker", candidates=[RUN_ID, "other"]))

    code, text = told(error)
    UNDER_WAY.reset(before)

    assert code == 4
    assert "lost" in text
    assert f"candidate: run {RUN_ID}" in text
    assert "candidate: run other" in text


def test_a_call_that_starts_nothing_and_is_uncertain_is_not_told_as_a_start() -> None:
    code, text = told(ServiceError("abortWorkerRun: busy", may_have_taken_effect=True))

    assert code == 3
    assert text == "abortWorkerRun: busy\nThe service may have done it anyway.\n"


def test_a_run_that_cannot_be_aborted_is_not_told_as_perhaps_aborted() -> None:
    refused = RunOperationError("it has ended", code=70002, may_have_taken_effect=True)

    assert told(refused) == (3, "it has ended (code 70002)\n")


def test_reader_is_told_when_no_look_for_candidates_was_made() -> None:
    assert "the list of runs was not read" in told(OutcomeUnknownError("lost"))[1]


def test_reader_is_told_that_no_candidate_is_no_proof() -> None:
    assert "does not prove" in told(OutcomeUnknownError("lost", candidates=[]))[1]


def test_refusal_says_nothing_about_candidates() -> None:
    assert told(NotFoundError("no such worker", status_code=404, code=50001)) == (
        3,
        "no such worker (HTTP 404; code 50001)\n",
    )


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (NotFoundError("worker not found", code=50001), "to find a worker:  coreclaw-async store WORD"),
        (NotFoundError("run not found", code=70001), "to find a run:  coreclaw-async runs --since 7d"),
        (NotFoundError("not found", code=11004, run_id=RUN_ID), "to find a run:  coreclaw-async runs --since 7d"),
        (AuthenticationError("invalid token", code=12002), "which key that is:  coreclaw-async doctor"),
    ],
    ids=["worker", "run", "run in production", "key"],
)
def test_whoever_looks_is_told_how_to_find_out_more(error: CoreClawError, hint: str) -> None:
    assert told(error, Terminal())[1].endswith(f"\n  {hint}\n")
    assert hint not in told(error)[1]


def test_nothing_is_hinted_at_where_nothing_lists_what_was_not_found() -> None:
    assert "coreclaw-async" not in told(NotFoundError("task not found", code=60001), Terminal())[1]


def test_failed_run_comes_with_its_log_and_its_cost() -> None:
    text = told(RunFailedError("failed", run_id=RUN_ID, run=ENDED, log=["first", "last"]))[1]

    assert text.splitlines()[1:] == ["  log: first", "  log: last", "It cost $0.125."]


def test_aborted_run_comes_with_its_cost() -> None:
    assert "It cost $0.125." in told(RunAbortedError("aborted", run_id=RUN_ID, run=ENDED))[1]


def test_run_id_is_named_when_the_wait_was_too_short() -> None:
    assert RUN_ID in told(WaitTimeoutError("too short", run_id=RUN_ID))[1]


def test_a_batch_that_is_not_complete_is_six() -> None:
    error = BatchIncompleteError("open", counts={"planned": 1}, reasons={})

    assert exit_code_of(error) is ExitCode.INCOMPLETE
    assert int(ExitCode.INCOMPLETE) == 6
