"""Starting a run: its id is reported at once, then it is followed, and its rows are written."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Self, TypeAlias

import attrs
import typer

from coreclaw_async._sync.generated import CoreClaw
from coreclaw_async.cli._process import streams
from coreclaw_async.cli._process.receipts import current
from coreclaw_async.cli._screen.output import STDIO, print_json
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.cli.failures import ExitCode, failure_object, worst
from coreclaw_async.cli.options import check_writable, format_of, row_format_of
from coreclaw_async.cli.rows.files import write_rows
from coreclaw_async.cli.runs.checking import assess
from coreclaw_async.cli.runs.following import Following, next_command
from coreclaw_async.errors import CoreClawError
from coreclaw_async.models import Run, StartedRun

_LEAST_TIMEOUT = 0.001

Waits: TypeAlias = Annotated[bool, typer.Option("--wait", "-w", help="Wait for the end of the run.")]
Output: TypeAlias = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Wait, and write the rows to this file; - for lines of JSON."),
]


@attrs.frozen(kw_only=True)
class Starting:
    """
    What is done with a run after its start.

    Attributes:
        waits: Whether its end is awaited.
        output: Where its rows go, or None.
        format: The format of a file, or None.
        timeout: Seconds for the wait, or None.
        abort: Whether it is aborted when the wait ends before it does.
        as_json: Whether programs read standard output.
        assesses: Whether its verdict is told at the end.
    """

    waits: bool
    output: Path | None
    format: str | None
    timeout: float | None
    abort: bool
    as_json: bool
    assesses: bool = False
    _screen: Screen = attrs.field(factory=Screen, init=False)

    @classmethod
    def of(
        cls,
        *,
        wait: bool,
        output: Path | None,
        format: str | None,
        timeout: float | None,
        abort: bool,
        as_json: bool,
        assesses: bool = False,
    ) -> Self:
        """
        Check the options of a command before anything is paid for.

        Raises:
            typer.BadParameter: The rows could not be written, or options do not fit together.
        """
        if output is None and format is not None:
            raise typer.BadParameter("--format is for --output FILE")
        check_writable(output)
        waits = wait or output is not None or assesses
        if not waits and (timeout is not None or abort):
            raise typer.BadParameter("--timeout and --abort-on-interrupt are for a wait: give --wait or --output")
        # Only rows go to a standard output that was asked for rows.
        return cls(
            waits=waits,
            output=output,
            format=_format_of(output, format),
            timeout=timeout,
            abort=abort,
            as_json=as_json and output != STDIO,
            assesses=assesses,
        )

    def perform_once(self, client: CoreClaw, key: str, run_once: Callable[..., Run]) -> None:
        """
        Follow the run of a key, which is started if the key has none.

        Args:
            client: The client.
            key: The key.
            run_once: Does what `AsyncWorkers.run_once` does, with the arguments that say how to wait.
        """
        began = time.monotonic()
        receipts = current()
        receipts.is_starting = True
        found = run_once(wait=False, timeout=self.timeout)
        receipts.is_starting = False
        if found.run_id != receipts.run_id:
            self._screen.complain(f"Key {key!r} has run {found.run_id}: nothing was started.")
        else:
            self._tell_started(StartedRun(run_id=found.run_id))
        left = None if self.timeout is None else max(self.timeout - (time.monotonic() - began), _LEAST_TIMEOUT)
        self._follow(client, found.run_id, timeout=left, wait_once=run_once)

    def perform(self, client: CoreClaw, start: Callable[[], StartedRun]) -> None:
        """Start a run, which costs money, and follow it as the options say."""
        receipts = current()
        receipts.is_starting = True
        started = start()
        receipts.is_starting = False
        if not self.waits:
            if self.as_json:
                print_json([started])
            else:
                self._screen.tell(started.run_id)
            self._screen.hint("to wait for it", next_command("wait", started.run_id))
            return
        self._tell_started(started)
        self._follow(client, started.run_id, timeout=self.timeout)

    def _follow(
        self, client: CoreClaw, run_id: str, *, timeout: float | None, wait_once: Callable[..., Run] | None = None
    ) -> None:
        following = Following(
            client=client,
            timeout=timeout,
            abort=self.abort,
            as_json=self.as_json,
            is_quiet=self.output is not None,
            wait_once=wait_once,
        )
        try:
            succeeded, codes = following.follow([run_id])
        except typer.Exit:  # It was interrupted.
            self._tell_unwritten(run_id, "--follow")
            raise
        if codes:
            self._tell_unwritten(run_id, *(["--follow"] if ExitCode.WAIT_TIMEOUT in codes else []))
            for failed in following.failed:
                self._assess(client, failed)
            raise typer.Exit(worst(codes))
        (ended,) = succeeded
        if self.output is None:
            self._screen.hint("its rows", next_command("rows", ended.run_id, "-o", "rows.csv"))
        else:
            self._write(client, ended, self.output)
        self._assess(client, ended)

    def _assess(self, client: CoreClaw, run: Run) -> None:
        if self.assesses:
            assess(client, run, as_json=self.as_json, is_quiet=self.output is not None)

    def _tell_started(self, started: StartedRun) -> None:
        """Report the id at once, as it must not be lost with the terminal."""
        if self._screen.complain(f"Run {started.run_id} started."):
            return
        if self.as_json:
            with contextlib.suppress(OSError):  # The run is still awaited; the end of the command checks the stream.
                print_json([started])
        else:
            current().tell_left(is_stdout_free=self.output != STDIO)

    def _tell_unwritten(self, run_id: str, *options: str) -> None:
        """Report that there is no file, and how to get one."""
        if self.output is not None:
            self._screen.complain(f"Its rows were not written to {self.output}.")
            self._tell_again(run_id, self.output, *options)

    def _write(self, client: CoreClaw, run: Run, path: Path) -> None:
        try:
            write_rows(client, run, path, self.format)
        except (CoreClawError, OSError) as error:
            if streams.failure_of("stdout") is not None:
                raise
            self._tell_not_written(run, path, error)
            raise typer.Exit(ExitCode.NOT_WRITTEN) from None
        except KeyboardInterrupt:
            self._screen.complain(f"Run {run.run_id} has ended, and its rows were not written whole.")
            self._tell_again(run.run_id, path)
            raise

    def _tell_not_written(self, run: Run, path: Path, error: CoreClawError | OSError) -> None:
        self._screen.complain(f"Run {run.run_id} has succeeded, and its rows could not be written: {error}")
        self._tell_again(run.run_id, path)
        if not self.as_json:
            return
        failure = error if isinstance(error, CoreClawError) else CoreClawError(str(error))
        told = failure_object(failure, ExitCode.NOT_WRITTEN)
        print_json([{**told, "run_id": run.run_id, "type": type(error).__name__}])

    def _tell_again(self, run_id: str, path: Path, *options: str) -> None:
        form = [] if self.format is None else ["--format", self.format]
        command = "rows" if path == STDIO else "export"
        self._screen.complain(f"  to get them:  {next_command(command, run_id, '-o', str(path), *form, *options)}")


def _format_of(output: Path | None, given: str | None) -> str | None:
    if output is None or (output == STDIO and given is None):
        return None
    return row_format_of(output, given) if output == STDIO else format_of(output, given)
