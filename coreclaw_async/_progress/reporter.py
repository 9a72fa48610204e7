"""Reporter: what a call uses to tell how far it is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Self

from coreclaw_async._concurrency.calls import call_hook
from coreclaw_async._data.counting import counted
from coreclaw_async._logs import logger
from coreclaw_async._wire.request import check_hook
from coreclaw_async.models import Run
from coreclaw_async.progress import Progress, ProgressHook, ProgressKind, ProgressOption

if TYPE_CHECKING:
    from coreclaw_async._progress.lines import Line


def check_progress(progress: ProgressOption) -> ProgressOption:
    """
    Return *progress* if it can be told to.

    Raises:
        TypeError: It is neither a bool nor a function, or a coroutine function, which nobody would await.
    """
    if not isinstance(progress, bool) and not callable(progress):
        raise TypeError(f"progress must be True, False or a function, not {progress!r}")
    return progress if isinstance(progress, bool) else check_hook("progress", progress)


class Reporter:
    """
    Tells how far one call is: ``with reporter:`` while something is awaited, and `end` after the last block.

    Nothing that goes wrong in telling ends the call, which may have paid for a run.

    Args:
        progress: Where to.
        kind: What is under way.
        now: Returns the seconds of a clock.

    Attributes:
        is_on: Whether anybody is told.
    """

    def __init__(self, progress: ProgressOption, kind: ProgressKind, now: Callable[[], float]) -> None:
        self._kind: ProgressKind = kind
        self._now = now
        self._began = now()
        self._line: Line | None = None
        self._hook: ProgressHook | None = None if isinstance(progress, bool) else progress
        if progress is True:
            self._attempt(self._find_line)

    @property
    def is_on(self) -> bool:
        return self._hook is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the line away: what the caller does next may write where it is."""
        if self._line is not None:
            self._attempt(self._line.hide)

    def end(self) -> None:
        """Show the last state where lines stay."""
        if self._line is not None:
            self._attempt(self._line.end)

    def tell(
        self,
        text: str,
        *,
        done: int,
        total: int | None = None,
        rows: int | None = None,
        bytes: int | None = None,  # noqa: A002
    ) -> None:
        """Tell how far the call is; the arguments are members of `Progress`."""
        hook = self._hook
        if hook is None:
            return
        progress = Progress(
            kind=self._kind,
            done=done,
            total=total,
            rows=rows,
            bytes=bytes,
            elapsed=self._now() - self._began,
            text="".join(letter if letter.isprintable() else " " for letter in text),
        )
        self._attempt(lambda: call_hook("progress", hook, progress))

    def tell_wait(self, run_ids: Sequence[str]) -> None:
        """Tell that a wait for runs has begun: their ids are seen, whatever becomes of it."""
        named = (
            f"run {run_ids[0]}" if len(run_ids) == 1 else counted(len(run_ids), "run") if run_ids else "the last run"
        )
        self.tell(f"waiting for {named}", done=0, total=max(len(run_ids), 1))

    def tell_run(self, run: Run) -> None:
        """Tell how far a run is."""
        self.tell(_about(run), done=int(run.is_finished), total=1, rows=run.result_count)

    def _find_line(self) -> None:
        from coreclaw_async._progress.lines import find_line

        self._line = find_line()
        self._hook = None if self._line is None else self._line.show

    def _attempt(self, function: Callable[[], object]) -> None:
        try:
            function()
        except Exception:  # noqa: BLE001 - it is logged
            line, self._hook, self._line = self._line, None, None
            if line is not None:  # Otherwise it would be shown beside those of later calls.
                with contextlib.suppress(Exception):
                    line.hide()
            logger.exception("progress could not be told, and is not told any more; the call goes on")


def _about(run: Run) -> str:
    parts = [str(run.status or "not seen yet")]
    if run.result_count is not None:
        parts.append(counted(run.result_count, "row"))
    if run.usage is not None:
        parts.append(dollars(run.usage))
    return f"run {run.run_id}: {', '.join(parts)}"


def dollars(amount: Decimal) -> str:
    """Return an amount of US dollars as people read it."""
    return f"${amount:f}"
