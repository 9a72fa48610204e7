"""The steps of the demo, from the store to the file, and what it says about them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import attrs

from coreclaw_async._client import AsyncCoreClaw
from coreclaw_async._data.counting import counted
from coreclaw_async._operations.exports import ExportFormat
from coreclaw_async._wire.request import shown_worker
from coreclaw_async.cli._screen.bars import RowProgress
from coreclaw_async.cli._screen.output import run_result
from coreclaw_async.cli._screen.screen import Screen, money
from coreclaw_async.errors import RunAbortedError, RunFailedError
from coreclaw_async.models import Row, Run

_STORE_LINES = 3
_ROW_LINES = 5


@attrs.frozen(kw_only=True)
class Scene:
    """
    Where a demo takes place, and its texts.

    Attributes:
        client: The client, which is closed at the end.
        opening: The first line.
        worker_id: The worker to run; None for the first of the store.
        input: Its input; None for the defaults of its schema.
        total_rows: The expected number of rows, or None.
        timeout: Seconds to wait for the run, or None.
        left_run: What happens to a run that has not ended; may have ``{run_id}``.
        next_step: What the code at the end is for.
        next_code: Lines of code; may have ``{worker_id}``, ``{input}`` and ``{run_id}``.
    """

    client: AsyncCoreClaw
    opening: str
    worker_id: str | None = None
    input: Mapping[str, Any] | None = None
    total_rows: int | None = None
    timeout: float | None = None
    left_run: str
    next_step: str
    next_code: Sequence[str]


@attrs.define(kw_only=True)
class Tour:
    """
    One demo.

    Attributes:
        scene: Where it takes place.
        screen: Where it is shown.
        output: The file to write, or None for one in a new temporary folder.
        format: Its format.
        open_run: The run that was started and has not been seen to end.
    """

    scene: Scene
    screen: Screen
    output: Path | None
    format: ExportFormat
    open_run: str | None = attrs.field(default=None, init=False)

    async def take(self) -> None:
        """Go through all steps."""
        scene, screen = self.scene, self.screen
        async with scene.client as client:
            screen.say_heading(scene.opening)
            worker_id, given = await self._choose()
            before = await client.account.get()
            run = await self._run(worker_id, given)
            await self._read_rows(run)
            await self._write_file(run)
            after = await client.account.get()
        screen.say(
            f"{money(run.usage)}; the balance went from {money(before.balance)} to {money(after.balance)}",
            label="Cost",
        )
        screen.say_code(
            scene.next_step,
            (
                line.format(worker_id=repr(worker_id), input=repr(given), run_id=repr(run.run_id))
                for line in scene.next_code
            ),
        )

    def tell_left_run(self) -> None:
        """Report the run that was started and has not been seen to end."""
        if self.open_run is not None:
            self.screen.complain(self.scene.left_run.format(run_id=self.open_run))

    async def _choose(self) -> tuple[str, Mapping[str, Any]]:
        """Show the store, and return the worker to run and its input."""
        client, screen = self.scene.client, self.screen
        store = await client.store.list_page(limit=_STORE_LINES)
        names = [shown_worker(worker.path or worker.worker_id) for worker in store.items]
        for name, worker in zip(names, store.items, strict=True):
            screen.say(f"{name}  {worker.title}", label="Store" if worker is store.items[0] else "")
        worker_id = self.scene.worker_id or names[0]
        screen.say(worker_id, label="Worker")
        if self.scene.input is not None:
            return worker_id, self.scene.input
        schema = await client.workers.get_input_schema(worker_id)
        given = {entry.name: entry.default for entry in schema.properties if entry.required}
        screen.say(json.dumps(given), label="Input")
        return worker_id, given

    async def _run(self, worker_id: str, given: Mapping[str, Any]) -> Run:
        """Start a run and return it at its end."""
        client, screen = self.scene.client, self.screen
        started = await client.workers.start_run(worker_id, given)
        self.open_run = started.run_id
        screen.say(f"{started.run_id} started", label="Run")
        with RowProgress(screen, "started", total=self.scene.total_rows) as progress:
            try:
                run = await client.runs.wait(
                    started,
                    timeout=self.scene.timeout,
                    on_update=lambda now: progress.show(str(now.status or ""), now.result_count or 0),
                )
            except (RunFailedError, RunAbortedError):
                self.open_run = None
                raise
            rows = run.result_count or 0
            progress.show(str(run.status), rows, total=rows)
        self.open_run = None
        screen.say(run_result(run))
        return run

    async def _read_rows(self, run: Run) -> None:
        """Read all rows, page by page, and show the first ones."""
        rows, pages = 0, 0
        first: list[Row] = []
        with RowProgress(self.screen, "reading", total=run.result_count) as progress:
            async for page in self.scene.client.runs.iterate_results(run).pages():
                pages += 1
                rows += len(page.items)
                first += page.items[: _ROW_LINES - len(first)]
                progress.show("reading", rows)
        self.screen.say(f"{rows}, read in {counted(pages, 'page')}; the first of them:", label="Rows")
        self.screen.say_rows(first)

    async def _write_file(self, run: Run) -> None:
        """Export the rows to a file."""
        path = self.output or Path(tempfile.mkdtemp(prefix="coreclaw-demo-")) / f"rows.{self.format}"
        await self.scene.client.runs.download(run, path, format=self.format)
        size = (await anyio.Path(path).stat()).st_size
        self.screen.say(f"{path} ({counted(size, 'byte')})", label="File")
