"""Exports: the URL of the file, and fetching it from a foreign host, whole or not at all."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import anyio.to_thread

from coreclaw_async._operations.context import Context
from coreclaw_async._operations.run_rows import finished_run
from coreclaw_async._operations.runs import errors_about
from coreclaw_async._progress.reporter import Reporter
from coreclaw_async._wire.converter import read_model
from coreclaw_async._wire.request import build_query, check_text
from coreclaw_async._wire.run_paths import RunOperation, run_request
from coreclaw_async.models import Export, RunRef
from coreclaw_async.progress import ProgressOption

ExportFormat: TypeAlias = Literal["csv", "json", "jsonl", "xlsx", "xls", "xml", "html", "rss"]
"""What the service can export rows as."""
# The export of a run that is named by its id is below its results, those of last runs are not (openapi.json).
_EXPORT = RunOperation(
    "exportWorkerRunResults",
    ("result", "export"),
    last=("exportLastWorkerRunResults", "exportWorkerLastRunResults"),
    last_tail=("export",),
)


def _export_query(format: str, fields: Sequence[str] | None) -> str:
    if format not in get_args(ExportFormat):
        raise ValueError(f"format must be one of {', '.join(get_args(ExportFormat))}, not {format!r}")
    if fields is None:
        return build_query(format=format)
    if isinstance(fields, str):
        raise TypeError(f"fields must be a sequence of str, not the str {fields!r}")
    fields = list(fields)
    for field in fields:
        # The service takes the keys joined by commas, so one that holds a comma cannot be asked for.
        if "," in check_text("fields", field):
            raise ValueError(f"fields must not hold commas: {field!r}")
    if not fields:
        raise ValueError("fields must name at least one column, or be None for all")
    return build_query(format=format, filter_keys=",".join(fields))


async def read_export(context: Context, run: RunRef, *, format: str, fields: Sequence[str] | None) -> Export:
    """Return where the run's rows can be fetched."""
    request = run_request(_EXPORT, run, query=_export_query(format, fields))
    with errors_about(run):
        return await context.transport.call(request, functools.partial(read_model, model=Export))


async def download_export(
    context: Context,
    run: RunRef,
    path: Path,
    *,
    format: str,
    fields: Sequence[str] | None,
    progress: ProgressOption,
    partial: bool,
) -> Path:
    """Write the run's rows to *path*; see `AsyncRuns.download`."""
    from coreclaw_async._files.target import FileTarget  # Few programs write files.
    from coreclaw_async._http.download import Download

    _export_query(format, fields)
    target = await anyio.to_thread.run_sync(FileTarget, path)
    state = await finished_run(context, run, partial=partial)
    run_id = state.run_id
    reporter = Reporter(progress, "download", context.clock.monotonic)

    def tell(done: int, total: int | None) -> None:
        of_all = "" if total is None else f" of {total:,}"
        reporter.tell(f"{path.name}: {done:,}{of_all} bytes", done=done, total=total, bytes=done)

    download = Download(
        transport=context.transport,
        run_id=run_id,
        fresh_export=lambda: read_export(context, run_id, format=format, fields=fields),
        target=target,
        format=format,
        expected_rows=state.result_count if state.is_finished else None,
        on_progress=tell if reporter.is_on else None,
    )
    with errors_about(run_id), reporter:
        await download.run()
    reporter.end()
    return path
