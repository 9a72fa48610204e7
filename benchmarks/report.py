"""What a benchmark prints and writes: where it ran, a table with budgets and verdicts, and the same as JSON."""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import platform
import resource
import time
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
    "uvloop",
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
        key: The name under which `readme.py` finds the row, or nothing.
    """

    what: str
    unit: str = ""
    ours: float | None = None
    peer: float | None = None
    value: float | None = None
    interval: tuple[float, float] | None = None
    budget: Budget | None = None
    note: str = ""
    key: str = ""

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
    what: str,
    comparison: Comparison,
    unit: str,
    scale: float,
    *,
    budget: Budget | None = None,
    note: str = "",
    key: str = "",
) -> Row:
    """Return the row of ours (first) to a peer (second): seconds times *scale*, and by which factor ours costs more."""
    ours, peer = comparison.first_median * scale, comparison.second_median * scale
    return _paired_row(what, comparison, unit=unit, ours=ours, peer=peer, budget=budget, note=note, key=key)


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
        self._began = time.perf_counter()
        self._busy = _busy_seconds()
        self._date = dt.datetime.now(dt.UTC).date().isoformat()

    def add(self, row: Row) -> None:
        """Keep *row*, and say that it is there: some take a while."""
        self._rows.append(row)
        print(f"  {row.what}: {_short(row.value)} {row.verdict}".rstrip(), flush=True)

    def finish(self, path: Path | None) -> None:
        """Print the table and write it to *path*, or to where results are kept."""
        facts = {
            "date": self._date,
            "rounds": self._rounds,
            "seconds": round(time.perf_counter() - self._began),
            "other_cores": self._other_cores(),
        }
        machine, versions = _machine(), _versions()
        listed = ", ".join(f"{name} {value}" for name, value in (facts | machine | versions).items())
        print(f"\n{self._name}: {listed}")
        print(_table([("what", "ours", "peer", "unit", "value", "95 %", "budget", "", "note")], self._rows))
        rows = [attrs.asdict(row) | {"verdict": row.verdict} for row in self._rows]
        made = {"benchmark": self._name, **facts, "machine": machine, "versions": versions, "rows": rows}
        path = _RESULTS / f"{self._name}.json" if path is None else path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(made, indent=1), encoding="utf-8")

    def _other_cores(self) -> float | None:
        """Return how many cores other programs kept busy meanwhile, on average; None where nothing tells."""
        busy = _busy_seconds()
        if busy is None or self._busy is None:
            return None
        return round(max(0.0, busy - self._busy) / (time.perf_counter() - self._began), 2)


def _busy_seconds() -> float | None:
    """Return how long the cores were busy with other processes than this one and those that it has waited for."""
    try:
        columns = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, _idle, _wait, *others = map(int, columns)
    usages = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    return (user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK") - own


def _machine() -> dict[str, Any]:
    """Return what kind of machine this is, and nothing that only this one has."""
    processor, system = platform.machine(), platform.system()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), processor)
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        pass
    return {"processor": processor, "cores": os.cpu_count(), "system": system}


def _versions() -> dict[str, str]:
    versions = {"coreclaw_async": coreclaw_async.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


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
    made.add_argument("--readme", action="store_true", help="measure only what README tells of")
    made.add_argument("--json", type=Path, help="where the figures are written (default benchmarks/results/)")
    return made
