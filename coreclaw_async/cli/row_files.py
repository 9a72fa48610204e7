"""Rows of a run on standard output or in a file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from coreclaw_async._resources.downloads import ExportFormat
from coreclaw_async._sync_generated import CoreClaw
from coreclaw_async.cli.options import STDIO
from coreclaw_async.cli.output import json_line, whole_file
from coreclaw_async.cli.row_progress import RowProgress
from coreclaw_async.cli.screen import Screen
from coreclaw_async.models import Run, RunRef


def write_rows(client: CoreClaw, run: Run, path: Path, format: ExportFormat | None) -> None:
    """Write the rows of an ended run whole into a file, or as lines of JSON to standard output."""
    screen = Screen()
    if path == STDIO or format is None:
        print_rows(client, run, path)
        return
    written = client.runs.download(run, path, format=format)
    screen.complain(f"{written} ({written.stat().st_size:,} bytes)")


def print_rows(
    client: CoreClaw,
    run: RunRef,
    path: Path,
    *,
    limit: int | None = None,
    fields: Sequence[str] | None = None,
    partial: bool = False,
    follow: bool = False,
) -> None:
    """Write rows as lines of JSON, each page as soon as it is there; into a file whole or not at all."""
    screen = Screen()
    count = 0
    pages = client.runs.iterate_results(run, max_items=limit, partial=partial, follow=follow).pages()
    is_hidden = path == STDIO and sys.stdout.isatty()
    with whole_file(path) as file, RowProgress(screen, "reading", total=limit, is_hidden=is_hidden) as bar:
        for page in pages:
            for row in page.items:
                kept = row if fields is None else {name: row.get(name) for name in fields}
                file.write(json_line(kept) + "\n")
            file.flush()
            count += len(page.items)
            bar.show("reading", count)
    if path != STDIO:
        screen.complain(f"{path} ({count} rows)")
