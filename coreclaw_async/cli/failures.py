"""How a command that fails says so: a message on standard error, and an exit code by outcome."""

from __future__ import annotations

from enum import IntEnum

from coreclaw_async import errors
from coreclaw_async.cli.screen import Screen, money


class ExitCode(IntEnum):
    """What the end of a command means; 0 is success."""

    RUN_FAILED = 1
    USAGE = 2
    """An option, a key, a file or an address that cannot be right; nothing was done."""
    SERVICE = 3
    """The service refused, could not be reached, or answered something that cannot be used."""
    OUTCOME_UNKNOWN = 4
    """A run may have been started, and nobody can tell."""
    WAIT_TIMEOUT = 5
    """The run goes on."""
    INCOMPLETE = 6
    """A batch has items that are open or held."""
    NOT_WRITTEN = 7
    """The runs are paid for, and what they have found could not be written."""
    INTERRUPTED = 130


def tell_error(screen: Screen, error: errors.CoreClawError) -> ExitCode:
    """Print what happened, with all that is known about runs that may exist, and return the exit code."""
    if error.may_have_taken_effect:
        screen.complain(error.message)
        _tell_candidates(screen, error)
    else:
        screen.complain(str(error))
    if isinstance(error, errors.RunFailedError):
        for line in error.log:
            screen.complain(f"  log: {line}")
    if isinstance(error, errors.RunFailedError | errors.RunAbortedError) and error.run is not None:
        screen.complain(f"It cost {money(error.run.usage)}.")
    return exit_code_of(error)


def _tell_candidates(screen: Screen, error: errors.CoreClawError) -> None:
    screen.complain("A run may have been started, and may cost money. Look before you start another one:")
    if error.candidates:
        for run_id in error.candidates:
            screen.complain(f"  candidate: run {run_id}")
    elif error.candidates is None:
        screen.complain("  no look at the list of runs could be made")
    else:
        screen.complain("  no run was found that could be it, which is no proof that there is none")


def exit_code_of(error: errors.CoreClawError) -> ExitCode:
    """Return the exit code of a command that an error has ended."""
    if isinstance(error, errors.RunFailedError | errors.RunAbortedError):
        return ExitCode.RUN_FAILED
    if isinstance(error, errors.OutcomeUnknownError):
        return ExitCode.OUTCOME_UNKNOWN
    if isinstance(error, errors.WaitTimeoutError | errors.RunNotFinishedError):
        return ExitCode.WAIT_TIMEOUT
    if isinstance(error, errors.BatchIncompleteError):
        return ExitCode.INCOMPLETE
    if isinstance(error, errors.ConfigurationError | errors.LedgerError | errors.BatchConflictError):
        return ExitCode.USAGE
    return ExitCode.SERVICE
