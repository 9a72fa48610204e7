"""What a command tells about a run before it is paid for, and after it has ended: ``--dry-run`` and ``--assess``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import typer

from coreclaw_async._operations.start import input_members, once_request
from coreclaw_async._sync.generated import CoreClaw
from coreclaw_async._wire.request import check_worker_id
from coreclaw_async.cli._screen.output import print_json
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.cli.failures import ExitCode
from coreclaw_async.models import Assessment, Run

DryRun: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Check the input, and show what would be sent; start nothing. A schema that cannot be read is asked for "
        "again for a minute.",
    ),
]
Assess: TypeAlias = Annotated[
    bool, typer.Option("--assess", help="Wait, and say whether the run brought rows with data; if not, exit with 1.")
]


def dry_run(client: CoreClaw, worker_id: str, given: Mapping[str, Any], *, as_json: bool) -> None:
    """
    Check the input of a start, and print what it would send.

    Raises:
        typer.Exit: The start would certainly fail.
    """
    check = client.workers.check_input(worker_id, given)
    members = input_members(given, system=None, raw_input=None, version=None)
    request = once_request(
        "runWorker", "workers", check_worker_id("worker_id", worker_id), "runs", **members, is_async=True
    )
    body = (request.body or b"").decode()
    if as_json:
        sent = {"method": request.method, "path": request.path, "body": json.loads(body)}
        print_json([{"ok": check.ok, **check.to_dict(), "request": sent}])
    else:
        screen = Screen()
        for issue in check.issues:
            screen.say(str(issue), label=issue.severity.value)
        screen.say("unknown" if check.task_count is None else str(check.task_count), label="tasks")
        screen.say(request.label, label="request")
        screen.say(body, label="body")
        screen.complain("Nothing was started." if check.ok else "Nothing was started: this input would certainly fail.")
    if not check.ok:
        raise typer.Exit(ExitCode.USAGE)


def assess(client: CoreClaw, run: Run, *, as_json: bool, is_quiet: bool) -> None:
    """
    Print the verdict on a run that has ended; *is_quiet* says that standard output is for rows.

    Raises:
        typer.Exit: It is not ``pass``.
    """
    assessment = client.runs.assess(run)
    screen = Screen()
    if as_json:
        print_json([_object_of(assessment)])
    else:
        text = f"Verdict: {assessment.verdict.value}, as {assessment.reason}."
        if is_quiet:
            screen.complain(text)
        else:
            screen.tell(text)
    if not assessment.ok:
        raise typer.Exit(ExitCode.RUN_FAILED)


def _object_of(assessment: Assessment) -> dict[str, Any]:
    """Return an assessment as an object for programs; they have the run already."""
    evidence = {name: value for name, value in assessment.to_dict().items() if name != "run"}
    return {"run_id": assessment.run.run_id, **evidence}
