"""What a benchmark prints and writes: where it ran, a table with budgets and verdicts, and the same as JSON."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

import attrs
from paired import Comparison

import coreclaw_async

_PACKAGES = (
    "httpx",
    "httpcore",
    "aiohttp",
    "anyio",
    "attrs",
    "cattrs",
    "apify-client",
    "openai",
    "pydantic",
    "orjson",
    "pandas",
    "polars",
    "pyarrow",
)
_RESULTS = Path(__file__).parent / "results"


@attrs.frozen
class Budget:
    """A limit that a value must not exceed, or with *is_floor* must reach."""

    limit: float
    is_floor: bool = False

    def __str__(self) -> str:
        return f"{'>=' if self.is_floor else '<='} {self.limit:g}"

    def verdict(self, value: float) -> str:
        """Return OK or MISS."""
        return "OK" if (value >= self.limit if self.is_floor else value <= self.limit) else "MISS"


def at_most(limit: float) -> Budget:
    """Return a budget that holds up to *limit*."""
    return Budget(limit)


def at_least(limit: float) -> Budget:
    """Return a budget that holds from *limit* on."""
    return Budget(limit, is_floor=True)


@attrs.frozen(kw_only=True)
class Row:
    """
    One line of the table.

    Attributes:
        what: What was measured.
        unit: Of *ours* and *peer*.
        ours: What coreclaw_async needed, or None.
        peer: What the peer needed, or None.
        value: What the budget is about, where there is one: a ratio, or *ours*.
        interval: Where *value* lies with 95 %, or None.
        budget: What was to be reached, or None for a row that only informs.
        note: What else is to be known.
    """

    what: str
    unit: str = ""
    ours: float | None = None
    peer: float | None = None
    value: float | None = None
    interval: tuple[float, float] | None = None
    budget: Budget | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """OK, MISS, or nothing without a budget."""
        return "" if self.budget is None or self.value is None else self.budget.verdict(self.value)

    def cells(self) -> tuple[str, ...]:
        """Return the columns of the table."""
        span = "" if self.interval is None else f"{self.interval[0]:.2f} .. {self.interval[1]:.2f}"
        budget = "" if self.budget is None else str(self.budget)
        numbers = (_short(self.ours), _short(self.peer), self.unit, _short(self.value), span)
        return (self.what, *numbers, budget, self.verdict, self.note)


def _short(number: float | None) -> str:
    if number is None:
        return ""
    return f"{number:,.0f}" if abs(number) >= 100 or number == int(number) else f"{number:.3g}"


def cost_row(
    what: str, comparison: Comparison, unit: str, scale: float, *, budget: Budget | None = None, note: str = ""
) -> Row:
    """Return the row of ours (first) to a peer (second): seconds times *scale*, and by which factor ours costs more."""
    ours, peer = comparison.first_median * scale, comparison.second_median * scale
    return _paired_row(what, comparison, unit=unit, ours=ours, peer=peer, budget=budget, note=note)


def rate_row(what: str, comparison: Comparison, *, budget: Budget | None = None, note: str = "") -> Row:
    """Return the row of a peer (first) to ours (second): requests a second, and by which factor ours makes more."""
    ours, peer = 1 / comparison.second_median, 1 / comparison.first_median
    return _paired_row(what, comparison, unit="req/s", ours=ours, peer=peer, budget=budget, note=note)


def time_row(what: str, comparison: Comparison, *, budget: Budget | None = None, note: str = "") -> Row:
    """Return the row of a peer (first) to ours (second): seconds, and by which factor ours is done sooner."""
    ours, peer = comparison.second_median, comparison.first_median
    return _paired_row(what, comparison, unit="s", ours=ours, peer=peer, budget=budget, note=note)


def _paired_row(what: str, comparison: Comparison, **members: Any) -> Row:
    return Row(what=what, value=comparison.ratio, interval=comparison.interval, **members)


class Report:
    """The rows of one benchmark."""

    def __init__(self, name: str, rounds: int) -> None:
        self._name = name
        self._rounds = rounds
        self._rows: list[Row] = []
        self._heading = ""

    def add(self, row: Row) -> None:
        """Keep *row*, and say that it is there: some take a while."""
        self._rows.append(row)
        print(f"  {row.what}: {_short(row.value)} {row.verdict}".rstrip(), flush=True)

    def finish(self, path: Path | None) -> None:
        """Print the table and write it to *path*, or to where results are kept."""
        place = _place()
        print(f"\n{self._name}, {self._rounds} rounds: " + ", ".join(f"{key} {value}" for key, value in place.items()))
        print(_table([("what", "ours", "peer", "unit", "value", "95 %", "budget", "", "note")], self._rows))
        rows = [attrs.asdict(row) | {"verdict": row.verdict} for row in self._rows]
        path = _RESULTS / f"{self._name}.json" if path is None else path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"benchmark": self._name, "rounds": self._rounds, **place, "rows": rows}, indent=1))


def _place() -> dict[str, Any]:
    place: dict[str, Any] = {
        "coreclaw_async": coreclaw_async.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }
    for package in _PACKAGES:
        try:
            place[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return place


def _table(heading: list[tuple[str, ...]], rows: list[Row]) -> str:
    lines = [*heading, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = {0, 3, 6, 7, 8}
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in text else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def parser(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """Return the command line of a benchmark that measures *rounds* times when nothing is said."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=rounds, help="how often a pair is measured (default %(default)s)")
    made.add_argument("--json", type=Path, help="where the figures are written (default benchmarks/results/)")
    return made
