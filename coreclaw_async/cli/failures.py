"""How a failed command says so: a message on standard error, an object for programs, and an exit code."""

from __future__ import annotations

from contextlib import suppress
from enum import IntEnum
from typing import Any

from coreclaw_async import errors
from coreclaw_async.cli._process.receipts import MAY_BE_A_RUN, current
from coreclaw_async.cli._screen.output import print_json
from coreclaw_async.cli._screen.screen import Screen, money


class ExitCode(IntEnum):
    """How a command ended; 0 is success."""

    RUN_FAILED = 1
    USAGE = 2
    """An option, a key, a file or an address is wrong; nothing was done."""
    SERVICE = 3
    """The service refused, could not be reached, or sent an answer that cannot be used."""
    OUTCOME_UNKNOWN = 4
    """It is unknown whether a run was started."""
    WAIT_TIMEOUT = 5
    """The run has not ended."""
    INCOMPLETE = 6
    """A batch has items that are open or held."""
    NOT_WRITTEN = 7
    """The output could not be written; the runs are paid for anyway."""
    INTERRUPTED = 130


_WORST_FIRST = (
    ExitCode.INTERRUPTED,
    ExitCode.OUTCOME_UNKNOWN,
    ExitCode.NOT_WRITTEN,
    ExitCode.SERVICE,
    ExitCode.WAIT_TIMEOUT,
    ExitCode.RUN_FAILED,
)

_WAYS_TO_FIND = {
    50001: ("to find a worker", "coreclaw-async store WORD"),
    70001: ("to find a run", "coreclaw-async runs --since 7d"),
}
"""Commands that help to find the right name, by the service's error code."""


def worst(codes: set[ExitCode]) -> int:
    """Return the most severe of the exit codes of several runs."""
    return next((code for code in _WORST_FIRST if code in codes), 0)


def tell_error(screen: Screen, error: errors.CoreClawError) -> ExitCode:
    """Print what happened and all that is known about runs that may exist; return the exit code."""
    if _may_be_a_run(error):
        screen.complain(error.message)
        _tell_candidates(screen, error)
    else:
        screen.complain(str(error))
        # This one says that something could not be done to a run; only a start may have made one all the same.
        if error.may_have_taken_effect and not isinstance(error, errors.RunOperationError):
            screen.complain("The service may have done it anyway.")
        _hint_next(screen, error)
    if isinstance(error, errors.RunFailedError):
        for line in error.log:
            screen.complain(f"  log: {line}")
    if isinstance(error, errors.RunFailedError | errors.RunAbortedError) and error.run is not None:
        screen.complain(f"It cost {money(error.run.usage)}.")
    return exit_code_of(error)


def _hint_next(screen: Screen, error: errors.CoreClawError) -> None:
    if isinstance(error, errors.AuthenticationError):
        screen.hint("which key that is", "coreclaw-async doctor")
    elif isinstance(error, errors.NotFoundError):
        # In production the code of everything that is not found is 11004.
        code = 70001 if error.code == 11004 and error.run_id is not None else error.code
        if code in _WAYS_TO_FIND:
            screen.hint(*_WAYS_TO_FIND[code])


def _may_be_a_run(error: errors.CoreClawError) -> bool:
    """Return whether a run may have been started; a call that only stops a run can have an unknown outcome too."""
    unknown = isinstance(error, errors.OutcomeUnknownError)
    return unknown or (error.may_have_taken_effect and current().is_unknown)


def _tell_candidates(screen: Screen, error: errors.CoreClawError) -> None:
    screen.complain(f"{MAY_BE_A_RUN}, and may cost money. Look before you start another one:")
    if error.candidates:
        for run_id in error.candidates:
            screen.complain(f"  candidate: run {run_id}")
    elif error.candidates is None:
        screen.complain("  the list of runs was not read")
    else:
        screen.complain("  no matching run was there yet, which does not prove that there is none")
    screen.complain("  to look:  coreclaw-async runs --since 1h")


def tell_failure(screen: Screen, error: errors.CoreClawError, *, name: str | None = None, as_json: bool) -> ExitCode:
    """
    Report the failure of one run of several and return its exit code.

    *name* is the name of the run, in case *error* has none. With *as_json* the failure is printed as an object too.
    """
    code = tell_error(screen, error)
    if as_json:
        with suppress(OSError):  # The other runs still have to be handled; the end of the command checks the stream.
            print_json([failure_object(error, code, name)])
    return code


def failure_object(error: errors.CoreClawError, code: int, name: str | None = None) -> dict[str, Any]:
    """Return a failure as an object for programs."""
    return {
        "run_id": error.run_id or name,
        "exit_code": int(code),
        "error": error.message,
        "type": type(error).__name__,
        "status": error.status_code,
        "code": error.code,
        "request_id": error.request_id,
        "candidates": None if error.candidates is None else list(error.candidates),
    }


def exit_code_of(error: errors.CoreClawError) -> ExitCode:
    """Return the exit code of a command that ended with *error*."""
    if isinstance(error, errors.RunFailedError | errors.RunAbortedError):
        return ExitCode.RUN_FAILED
    if _may_be_a_run(error):
        return ExitCode.OUTCOME_UNKNOWN
    if isinstance(error, errors.WaitTimeoutError | errors.RunNotFinishedError):
        return ExitCode.WAIT_TIMEOUT
    if isinstance(error, errors.BatchIncompleteError):
        return ExitCode.INCOMPLETE
    if isinstance(error, errors.ConfigurationError | errors.LedgerError | errors.BatchConflictError):
        return ExitCode.SERVICE if current().has_paid else ExitCode.USAGE
    return ExitCode.SERVICE
