"""Starting a run: its id is reported at once, then it is followed, and its rows are written."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import attrs
import typer

from coreclaw_async._operations.once import PREFIX
from coreclaw_async._sync.generated import CoreClaw
from coreclaw_async.cli._process import streams
from coreclaw_async.cli._process.receipts import current
from coreclaw_async.cli._screen.output import STDIO, print_json
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.cli.batch.session import batch_command
from coreclaw_async.cli.failures import ExitCode, failure_object, tell_failure, worst
from coreclaw_async.cli.options import check_writable, format_of, row_format_of
from coreclaw_async.cli.rows.files import write_rows
from coreclaw_async.cli.runs.checking import assess
from coreclaw_async.cli.runs.following import Following, next_command
from coreclaw_async.errors import CoreClawError, OutcomeUnknownError
from coreclaw_async.models import Run, StartedRun

Waits: TypeAlias = Annotated[bool, typer.Option("--wait", "-w", help="Wait for the end of the run.")]
Output: TypeAlias = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Wait, and write the rows to this file; - for lines of JSON."),
]


@attrs.define(kw_only=True)
class Starting:
    """
    What is done with a run after its start; the options of a command are checked here, before anything is paid for.

    Attributes:
        waits: Whether its end is awaited, as it also is where its rows are written or its verdict is told.
        output: Where its rows go, or None.
        format: The format of a file; None for standard output, or where no rows are written.
        timeout: Seconds for the wait, or None.
        abort: Whether it is aborted when the wait ends before it does.
        as_json: Whether programs read standard output; never where that was asked for rows.
        assesses: Whether its verdict is told at the end.

    Raises:
        typer.BadParameter: The rows could not be written, or options do not fit together.
    """

    waits: bool
    output: Path | None
    format: str | None
    timeout: float | None
    abort: bool
    as_json: bool
    assesses: bool = False
    _screen: Screen = attrs.field(factory=Screen, init=False)

    def __attrs_post_init__(self) -> None:
        if self.output is None and self.format is not None:
            raise typer.BadParameter("--format is for --output FILE")
        check_writable(self.output)
        self.waits = self.waits or self.output is not None or self.assesses
        if not self.waits and (self.timeout is not None or self.abort):
            raise typer.BadParameter("--timeout and --abort-on-interrupt are for a wait: give --wait or --output")
        self.format = _format_of(self.output, self.format)
        self.as_json = self.as_json and self.output != STDIO

    def perform_once(
        self, client: CoreClaw, key: str, ledger: str, account: str | None, run_once: Callable[..., Run]
    ) -> None:
        """
        Follow the run of a key, which is started if the key has none.

        Args:
            client: The client.
            key: The key.
            ledger: Where its run is recorded.
            account: The name of the account, if it has one there.
            run_once: Does what `AsyncWorkers.run_once` does, with the arguments that say how to wait.
        """
        receipts, known = current(), dict[str, None]()
        first: list[str] = []

        def tell(run_id: str) -> None:
            if first:
                return
            first.append(run_id)
            known[run_id] = None
            receipts.is_starting = False
            if run_id == receipts.run_id:
                self._tell_started(StartedRun(run_id=run_id))
            else:
                self._screen.complain(f"Key {key!r} has run {run_id}: nothing was started.")

        receipts.is_starting, receipts.on_run = True, tell
        try:
            self._follow(client, first, lambda following: following.follow_once(run_once, known, tell))
        except OutcomeUnknownError as error:
            code = tell_failure(self._screen, error, as_json=self.as_json)
            if error.candidates is not None:  # It is held until somebody decides.
                named = () if account is None else ("--account", shlex.quote(account))
                options = (*named, shlex.quote(key), "--adopt", _only(error.candidates))
                self._screen.complain(f"  to decide:  {batch_command('resolve', PREFIX + key, ledger, *options)}")
            raise typer.Exit(code) from None

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
        self._follow(client, [started.run_id], lambda following: following.follow([started.run_id]))

    def _follow(
        self, client: CoreClaw, run_ids: Sequence[str], follow: Callable[[Following], tuple[list[Run], set[ExitCode]]]
    ) -> None:
        """Follow the one run, whose id may be among *run_ids* only then, and write its rows."""
        following = Following(
            client=client,
            timeout=self.timeout,
            abort=self.abort,
            as_json=self.as_json,
            is_quiet=self.output is not None,
        )
        try:
            succeeded, codes = follow(following)
        except typer.Exit:  # It was interrupted.
            self._tell_unwritten(run_ids[0], "--follow")
            raise
        (run_id,) = run_ids
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


def _only(candidates: Sequence[str]) -> str:
    return candidates[0] if len(candidates) == 1 else "RUN"


def _format_of(output: Path | None, given: str | None) -> str | None:
    if output is None or (output == STDIO and given is None):
        return None
    return row_format_of(output, given) if output == STDIO else format_of(output, given)
