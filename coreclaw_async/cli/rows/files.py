"""The rows of a run: printed, written to a file, or exported by the service."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import cast

from coreclaw_async._data.counting import counted
from coreclaw_async._operations.exports import ExportFormat
from coreclaw_async._sync.generated import CoreClaw
from coreclaw_async.cli._screen.bars import RowProgress, TransferProgress
from coreclaw_async.cli._screen.output import STDIO, is_terminal, whole_file
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.cli.rows.fields import check_columns_exist, checked_rows, columns_of
from coreclaw_async.cli.rows.formats import RowWriter, row_writer
from coreclaw_async.models import Page, Row, Run


def write_rows(client: CoreClaw, run: Run, path: Path, format: str | None) -> None:
    """
    Write the rows of an ended run to standard output, or the service's export of them to a file.

    *format* is one of the service's formats; for standard output it is ``csv``, ``json`` or ``jsonl``, the default.

    Raises:
        OSError: They cannot be written.
    """
    if path == STDIO or format is None:
        print_rows(client, run, path, format=format or "jsonl")
    else:
        write_export(client, run, path, cast("ExportFormat", format))


def write_export(
    client: CoreClaw,
    run: Run,
    path: Path,
    format: ExportFormat,
    *,
    fields: Sequence[str] | None = None,
    partial: bool = False,
) -> None:
    """
    Write the service's export of a run to a file, with a bar.

    Raises:
        OSError: It cannot be written.
    """
    screen = Screen()
    with TransferProgress(screen, path.name) as bar:
        client.runs.download(
            run,
            path,
            format=format,
            fields=fields,
            partial=partial,
            progress=lambda told: bar.show(told.done, told.total),
        )
    size = f" ({counted(path.stat().st_size, 'byte')})" if path.is_file() else ""
    screen.complain(f"{path}{size}")


def print_rows(
    client: CoreClaw,
    run: Run,
    path: Path,
    *,
    format: str,
    limit: int | None = None,
    fields: Sequence[str] | None = None,
    partial: bool = False,
    follow: bool = False,
    timeout: float | None = None,
) -> None:
    """
    Write rows page by page as they arrive; a file is written whole or not at all.

    Args:
        client: The client.
        run: The run.
        path: The file, or ``-``.
        format: ``csv``, ``json`` or ``jsonl``.
        limit: Most rows, or None.
        fields: The columns to write; None for all.
        partial: Whether a run that has not ended gives its rows so far.
        follow: Whether to wait for more rows until the run has ended.
        timeout: Seconds to wait for them, or None.

    Raises:
        typer.BadParameter: There is no such column; nothing was written.
        OSError: They cannot be written.
    """
    screen = Screen()
    is_shown = is_terminal(path)
    pages = client.runs.iterate_results(run, max_items=limit, partial=partial, follow=follow, timeout=timeout).pages()
    count = 0
    with (
        RowProgress(screen, "reading", total=limit, is_hidden=is_shown) as bar,
        whole_file(path) as file,
        row_writer(file, format, fields=fields, is_shown=is_shown) as writer,
    ):
        told = _told(pages, writer, bar, limit=limit, is_whole=not follow)
        for rows in (page.items for page in told) if fields is None else checked_rows(told, fields):
            for row in rows:
                writer.write(row)
                count += 1
            file.flush()
        if not count:
            _name_columns(client, run, writer, fields)
    if path != STDIO:
        screen.complain(f"{path} ({counted(count, 'row')})")


def _told(
    pages: Iterator[Page[Row]], writer: RowWriter, bar: RowProgress, *, limit: int | None, is_whole: bool
) -> Generator[Page[Row]]:
    """Yield the pages, and pass their columns to the writer and their number of rows to the bar."""
    count = 0
    for page in pages:
        count += len(page.items)
        total = page.count if is_whole else None
        bar.show("reading", count, min(filter(None, (limit, total)), default=None))
        writer.name_columns(columns_of(page, with_rows=False))
        yield page


def _name_columns(client: CoreClaw, run: Run, writer: RowWriter, fields: Sequence[str] | None) -> None:
    """Pass the columns of a run without rows to the writer, and check the requested ones."""
    columns = columns_of(client.runs.list_results_page(run, limit=1))
    writer.name_columns(columns)
    if fields is not None and columns:
        check_columns_exist(fields, columns)
    elif fields is not None:
        Screen().complain(f"Run {run.run_id} has no rows and names no columns, so --fields could not be checked.")
