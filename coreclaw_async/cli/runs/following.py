"""Waiting for runs at a terminal: progress, their ends, and the runs that an interrupted wait leaves behind."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import attrs
import typer

from coreclaw_async._sync.generated import CoreClaw
from coreclaw_async.cli._process.interrupts import exit_code
from coreclaw_async.cli._process.receipts import current
from coreclaw_async.cli._screen.bars import RunProgress
from coreclaw_async.cli._screen.output import print_json, run_sentence
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.cli.failures import ExitCode, failure_object, tell_error, tell_failure
from coreclaw_async.errors import CoreClawError, RunAbortedError, RunFailedError, WaitTimeoutError
from coreclaw_async.models import Run

_LOOK_SECONDS = 5.0


@attrs.frozen(kw_only=True)
class Following:
    """
    How runs are followed to their ends, and where each end is reported.

    Attributes:
        client: The client.
        timeout: Seconds for all of them, or None.
        abort: Whether they are aborted when the wait ends before they do.
        as_json: Whether ends are printed as objects.
        is_quiet: Whether ends are reported on standard error, because standard output is for rows.
        failed: Runs that have ended without success.
    """

    client: CoreClaw
    timeout: float | None
    abort: bool
    as_json: bool
    is_quiet: bool = False
    _screen: Screen = attrs.field(factory=Screen, init=False)
    failed: list[Run] = attrs.field(factory=list[Run], init=False)
    _seen: set[str] = attrs.field(factory=set[str], init=False)

    def follow(self, run_ids: Sequence[str]) -> tuple[list[Run], set[ExitCode]]:
        """
        Wait for runs with a bar, and report each end as it happens.

        Returns:
            The runs that succeeded, and the exit codes of the others.

        Raises:
            typer.Exit: The wait was interrupted, which was reported.
        """
        return self._follow(dict.fromkeys(run_ids), functools.partial(self.client.runs.wait_many, run_ids))

    def follow_once(
        self, run_once: Callable[..., Run], known: dict[str, None], tell: Callable[[str], None]
    ) -> tuple[list[Run], set[ExitCode]]:
        """
        Do the same with the run of a key, in one call, which starts it if the key has none.

        Args:
            run_once: Does what `AsyncWorkers.run_once` does, with the arguments that say how to wait.
            known: Has the run, once it is known.
            tell: Tells which run it is, and notes it there.

        Raises:
            CoreClawError: There is no run, or nobody knows which.
            KeyboardInterrupt: It came before the run was known.
            typer.Exit: The wait was interrupted, which was reported.
        """

        def ends(*, on_update: Callable[[Run], None], **options: Any) -> Iterator[Run]:
            def update(run: Run) -> None:
                tell(run.run_id)
                on_update(run)

            try:
                yield run_once(on_update=update, **options)
            except CoreClawError as error:
                if error.run_id is not None:
                    tell(error.run_id)
                raise

        return self._follow(known, ends)

    def _follow(self, left: dict[str, None], begin: Callable[..., Iterator[Run]]) -> tuple[list[Run], set[ExitCode]]:
        succeeded: list[Run] = []
        codes: set[ExitCode] = set()
        try:
            with RunProgress(self._screen, len(left) or 1) as bar:
                for found in self._ends(begin, bar):
                    if isinstance(found, CoreClawError) and not left:  # It is about no run.
                        raise found
                    left.pop(found.run_id or "", None)
                    bar.end()
                    with bar.aside():
                        if isinstance(found, Run):
                            self._tell_end(found)
                            succeeded.append(found)
                        else:
                            codes.add(self._tell_failure(found))
        except WaitTimeoutError as error:
            if not left:
                raise
            code = tell_error(self._screen, error)
            codes.add(code)
            self._leave(error.pending, failure_object(error, code))
        except KeyboardInterrupt as interrupt:
            if not left:
                raise
            self._screen.complain("Interrupted.")
            self._leave(list(left), {"exit_code": exit_code(interrupt), "error": "interrupted"})
            raise typer.Exit(exit_code(interrupt)) from None
        return succeeded, codes

    def _ends(self, begin: Callable[..., Iterator[Run]], bar: RunProgress) -> Iterator[Run | CoreClawError]:
        """Yield each run that succeeded, and the error of each other run; an error ends the wait for its run alone."""

        def update(run: Run) -> None:
            self._seen.add(run.run_id)
            bar.update(run)

        on_cancel = "abort" if self.abort else "leave"
        stream = begin(timeout=self.timeout, check=True, on_update=update, on_cancel=on_cancel)
        while True:
            try:
                yield next(stream)
            except StopIteration:
                return
            except WaitTimeoutError:
                raise
            except CoreClawError as error:
                yield error

    def _tell_end(self, run: Run) -> None:
        if self.is_quiet and not self.as_json:
            self._screen.complain(run_sentence(run))
            return
        # The other runs are still awaited; the end of the command checks the stream.
        with suppress(OSError):
            if self.as_json:
                print_json([run])
            else:
                self._screen.tell(run_sentence(run))

    def _tell_failure(self, error: CoreClawError) -> ExitCode:
        """Report the end of the run like any other, and then the failure on standard error."""
        run = error.run if isinstance(error, RunFailedError | RunAbortedError) else None
        if run is None:
            return tell_failure(self._screen, error, as_json=self.as_json)
        self.failed.append(run)
        self._tell_end(run)
        code = tell_error(self._screen, error)
        self._screen.hint("its log", next_command("log", run.run_id))
        return code

    def _leave(self, run_ids: Sequence[str], failure: Mapping[str, Any]) -> None:
        """Report the runs that have not been seen to end."""
        if self.as_json:
            with suppress(OSError):
                print_json({**failure, "run_id": run_id} for run_id in run_ids)
        if self.abort:
            for run_id in run_ids:
                self._screen.complain(f"Asked to abort run {run_id}: {self._state(run_id)}.")
            self._screen.complain(f"  to see the end:  {next_command('wait', *run_ids)}")
            return
        unseen = [run_id for run_id in run_ids if run_id not in self._seen and run_id != current().run_id]
        if unseen:
            self._screen.complain(f"Never seen: {', '.join(unseen)}. It is unknown whether that is running.")
        self._tell_going_on([run_id for run_id in run_ids if run_id not in unseen])
        self._screen.complain(f"  to wait again:  {next_command('wait', *run_ids)}")
        self._screen.complain(f"  to stop:        {next_command('abort', *run_ids)}")

    def _tell_going_on(self, run_ids: Sequence[str]) -> None:
        if not run_ids:
            return
        one = len(run_ids) == 1
        state = "is still running and costs money" if one else "are still running and cost money"
        self._screen.complain(f"{'Run' if one else 'Runs'} {', '.join(run_ids)} {state}.")

    def _state(self, run_id: str) -> str:
        """Return the current state of a run, which may not have stopped although the service agreed."""
        try:
            return f"it is {self.client.with_options(timeout=_LOOK_SECONDS).runs.get(run_id).status}"
        except CoreClawError:
            return "its state could not be read"


def next_command(*words: str) -> str:
    """Return a command that can be pasted."""
    return f"coreclaw-async {shlex.join(words)}"
