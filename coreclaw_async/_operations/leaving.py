"""Runs that a wait leaves before their end, or does not return: named in the error and in the log, or aborted."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal, TypeAlias

import anyio

from coreclaw_async import errors
from coreclaw_async._concurrency.groups import first_of, task_group
from coreclaw_async._data.counting import counted
from coreclaw_async._logs import facts, logger
from coreclaw_async._operations.context import Context
from coreclaw_async._operations.runs import abort_run
from coreclaw_async._tracebacks import hide_own_frames

OnCancel: TypeAlias = Literal["leave", "abort"]
"""What becomes of the runs of a wait that ends before them."""

# For one run; many get more, so that they fit through a rate limit of 20 a second.
_ABORT_SECONDS = 5.0
_ABORT_SECONDS_PER_RUN = 0.05
_MAX_ABORT_SECONDS = 60.0


async def leave(
    context: Context, error: BaseException, run_ids: Sequence[str], on_cancel: OnCancel, *, is_new: bool = False
) -> None:
    """Leave or abort the runs of a wait that *error* has ended; with *is_new* nobody has seen their ids yet."""
    if run_ids:
        level = _level_of(error, is_new=is_new and on_cancel != "abort")
        _tell_left(error, run_ids, level, may_go_on=on_cancel == "leave")
        if on_cancel == "abort":
            await abort_all(context, error, run_ids)


def _level_of(error: BaseException, *, is_new: bool) -> int:
    """
    Return the level at which the log tells of runs that *error* keeps from the caller.

    A cancellation ends in whoever asked for it, and with it the note that names the run: ``move_on_after`` swallows
    both. Where the caller was never told the id, the log then is all there is. Whoever waits for a run has its id, and
    servers cancel waits all the time.
    """
    return logging.WARNING if is_new and isinstance(error, anyio.get_cancelled_exc_class()) else logging.INFO


def _tell_left(error: BaseException, run_ids: Sequence[str], level: int, *, may_go_on: bool) -> None:
    """Name the runs of a cancelled wait in its note and in the log, as a cancellation carries no ids."""
    if _names_one_of(error, run_ids):
        return
    named = f"{'run' if len(run_ids) == 1 else 'runs'} {', '.join(run_ids)}"
    if not isinstance(error, Exception):  # A cancellation or an interrupt: where it came is of no interest.
        hide_own_frames(error)
    hint = f"; {'it' if len(run_ids) == 1 else 'they'} may go on and cost money" if may_go_on else ""
    error.add_note(f"the wait for {named} was left{hint}")
    told = facts(error, run_ids=list(run_ids))
    logger.log(level, "the wait for %s was left by %s", named, type(error).__name__, extra=told)


def _names_one_of(error: BaseException, run_ids: Sequence[str]) -> bool:
    """Return whether *error* names one of these runs; a hook may raise an error of the package about something else."""
    if not isinstance(error, errors.CoreClawError):
        return False
    named = {error.run_id, *(error.pending if isinstance(error, errors.WaitTimeoutError) else ())}
    return not named.isdisjoint(run_ids)


def tell_ended(error: BaseException, run_id: str, *, is_new: bool = False) -> None:
    """
    Name a run in a note and in the log that was paid for, has ended, and is not returned because of *error*.

    With *is_new* nobody has seen its id yet.
    """
    if _names_one_of(error, [run_id]):
        return
    if not isinstance(error, Exception):
        hide_own_frames(error)
    error.add_note(f"run {run_id} has ended")
    told, level = facts(error, run_id=run_id), _level_of(error, is_new=is_new)
    logger.log(level, "run %s has ended and is not returned because of %s", run_id, type(error).__name__, extra=told)


async def abort_all(context: Context, error: BaseException, run_ids: Sequence[str]) -> None:
    """
    Abort runs in a bounded time that no cancellation shortens, and say in *error* which could not be aborted.

    Five seconds for one run and 0.05 s for each further one, a minute at most. A failure hides neither why the wait
    ended nor the other runs.
    """
    seconds = min(_ABORT_SECONDS + _ABORT_SECONDS_PER_RUN * (len(run_ids) - 1), _MAX_ABORT_SECONDS)
    deadline = context.clock.monotonic() + seconds
    left: dict[str, str] = dict.fromkeys(run_ids, "there was no time left")

    async def abort(run_id: str) -> None:
        # Here again: the scope around the group does not shield from a task that asyncio itself cancels.
        with anyio.move_on_after(seconds, shield=True):
            try:
                await abort_run(context, run_id, deadline=deadline)
            except errors.CoreClawError as failure:
                left[run_id] = str(failure)
            else:
                del left[run_id]

    cancellation: BaseException | None = None
    try:
        with anyio.CancelScope(shield=True):
            async with task_group() as group:
                for run_id in run_ids:
                    group.start_soon(abort, run_id)
    except BaseExceptionGroup as failures:
        raise first_of(failures) from None
    except anyio.get_cancelled_exc_class() as again:
        cancellation = again
    finally:
        _tell_not_aborted(error, left)
    if cancellation is not None and not isinstance(error, type(cancellation)):
        for note in getattr(error, "__notes__", ()):
            cancellation.add_note(note)
        raise cancellation


def _tell_not_aborted(error: BaseException, left: dict[str, str]) -> None:
    if not left:
        return
    if isinstance(error, errors.WaitTimeoutError):
        error.not_aborted = tuple(left)
    number = counted(len(left), "run")
    what = f"{number} not aborted, which may go on and cost money: {', '.join(left)}"
    error.add_note(f"{what} ({next(iter(left.values()))})")
    logger.warning("%s (%s)", what, next(iter(left.values())), extra=facts(run_ids=list(left)))
