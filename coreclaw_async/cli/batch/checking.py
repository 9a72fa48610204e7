"""``batch plan --check``: the inputs of a plan are compared with the schemas of their workers before any is planned."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from tempfile import SpooledTemporaryFile
from typing import TextIO, cast

import attrs
import typer

from coreclaw_async._data.counting import counted
from coreclaw_async._sync.generated import CoreClaw
from coreclaw_async._wire.input_check import NO_SCHEMA, check_input, no_schema, sent_input
from coreclaw_async._wire.request import check_worker_id, shown_worker, worker_input
from coreclaw_async.batch import RunSpec
from coreclaw_async.cli._screen.output import print_json
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.cli.failures import ExitCode
from coreclaw_async.models import InputCheck, InputIssue, InputSchema, IssueSeverity

_MAX_TOLD = 20
_MAX_IN_MEMORY = 32_000_000


@contextmanager
def read_twice(lines: Iterable[str]) -> Generator[TextIO]:
    """
    Copy *lines*, which may come from a pipe, into a file that can be read again after ``seek(0)``.

    Raises:
        typer.BadParameter: They could not be copied, as when the disk is full.
    """
    try:
        copy = _copy_of(lines)
    except OSError as error:
        why = f"the plan could not be copied to a temporary file, and nothing was planned: {error}"
        raise typer.BadParameter(f"--check: {why}") from None
    with copy:
        yield cast(TextIO, copy)


def _copy_of(lines: Iterable[str]) -> SpooledTemporaryFile[str]:
    with ExitStack() as stack:
        copy = stack.enter_context(SpooledTemporaryFile(_MAX_IN_MEMORY, "w+", encoding="utf-8", newline=""))
        copy.writelines(lines)
        copy.seek(0)
        stack.pop_all()
    return copy


@attrs.define
class PlanCheck:
    """
    Checks the specs of one plan, with one request for each worker.

    Attributes:
        client: The client.
        as_json: Whether programs read standard output.
    """

    client: CoreClaw
    as_json: bool = attrs.field(kw_only=True)
    _schemas: dict[str, InputSchema | InputIssue] = attrs.field(factory=dict[str, InputSchema | InputIssue], init=False)
    _counts: dict[str, int] = attrs.field(factory=dict[str, int], init=False)
    _screen: Screen = attrs.field(factory=Screen, init=False)

    def refuse_wrong(self, specs: Iterable[tuple[int, RunSpec]]) -> None:
        """
        Report what is wrong with *specs*, which come with the numbers of their lines.

        Raises:
            typer.BadParameter: A spec is none that could be planned.
            typer.Exit: The runs of some would certainly fail.
        """
        wrong = 0
        for number, spec in specs:
            try:
                check = self._check(spec)
            except (TypeError, ValueError) as error:
                raise typer.BadParameter(f"--input: line {number}: {error}") from None
            wrong += not check.ok
            self._tell(number, spec, check)
        for severity, count in self._counts.items():
            if count > _MAX_TOLD:
                self._screen.complain(
                    f"{counted(count - _MAX_TOLD, 'more issue is', 'more issues are')} not shown: {severity}."
                )
        if wrong:
            self._screen.complain(f"Nothing was planned: the input of {counted(wrong, 'line')} would certainly fail.")
            raise typer.Exit(ExitCode.USAGE)

    def _check(self, spec: RunSpec) -> InputCheck:
        given = sent_input(worker_input(spec.input, spec.system, None))
        worker_id = check_worker_id("worker_id", spec.worker_id)
        if worker_id not in self._schemas:
            self._schemas[worker_id] = self._schema_of(worker_id)
        return check_input(worker_id, self._schemas[worker_id], given, version=spec.version)

    def _schema_of(self, worker_id: str) -> InputSchema | InputIssue:
        """Return the schema of a worker, or what was told instead of it, once for all its lines."""
        try:
            return self.client.workers.get_input_schema(worker_id)
        except NO_SCHEMA as error:
            found = no_schema(error)
            self._screen.complain(f"worker {shown_worker(worker_id)}: {found}.")
            return attrs.evolve(found, severity=IssueSeverity.NOTE)

    def _tell(self, number: int, spec: RunSpec, check: InputCheck) -> None:
        if self.as_json and not check.ok:
            print_json([{"line": number, "key": spec.key, "ok": False, **check.to_dict()}])
        for issue in check.issues:
            if issue.severity is IssueSeverity.NOTE:
                continue
            told = self._counts[issue.severity] = self._counts.get(issue.severity, 0) + 1
            if told <= _MAX_TOLD:
                self._screen.complain(f"line {number}: {issue.severity.value}: {issue}")
