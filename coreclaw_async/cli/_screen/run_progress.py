"""A progress bar for runs that are waited for: how many are left, their rows, and what they cost, as they come."""

from __future__ import annotations

from decimal import Decimal

from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

from coreclaw_async.cli._screen.bar import Bar
from coreclaw_async.cli._screen.screen import Screen, money, plain
from coreclaw_async.models import Run

_WORD_WIDTH = 10


class RunProgress(Bar):
    """
    A bar for runs.

    Args:
        screen: Where it is shown.
        runs: How many are waited for.
    """

    def __init__(self, screen: Screen, runs: int) -> None:
        super().__init__(
            screen,
            TextColumn(f"{{task.description:{_WORD_WIDTH}}}", markup=False),
            BarColumn(bar_width=20, complete_style="cyan", finished_style="green"),
            TextColumn("{task.fields[found]}", markup=False),
            TimeElapsedColumn(),
            word="waiting",
            total=None if runs == 1 else runs,
            found="",
        )
        self._left = runs
        self._rows: dict[str, int] = {}
        self._costs: dict[str, Decimal] = {}

    def update(self, run: Run) -> None:
        """Show a run as it is now; the client calls this in its own thread."""
        self._rows[run.run_id] = run.result_count or 0
        if run.usage is not None:
            self._costs[run.run_id] = run.usage
        self._show(str(run.status or "") if self._left == 1 else f"{self._left} left")

    def end(self) -> None:
        """Show that one run fewer is waited for."""
        self._left -= 1
        self._bar.advance(self._task)
        self._show(f"{self._left} left")

    def _show(self, word: str) -> None:
        found = f"{sum(list(self._rows.values())):,} rows"
        if self._costs:
            found += f"  {money(sum(list(self._costs.values()), Decimal(0)))}"
        self._bar.update(self._task, description=plain(word), found=found)
