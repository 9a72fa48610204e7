"""The figures that are kept in ``figures.json``, for those who write of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).resolve().parent / "figures.json"


def load() -> dict[str, Any]:
    """Return the figures that are kept, by benchmark."""
    found: dict[str, Any] = json.loads(FIGURES.read_text(encoding="utf-8"))
    return found


class Figures:
    """
    What the benchmarks have found.

    Args:
        found: The JSON of each, by its name.
    """

    def __init__(self, found: Mapping[str, Any]) -> None:
        self._found = found
        self._rows = {row["key"]: row for each in found.values() for row in each["rows"] if row["key"]}

    def row(self, key: str) -> Mapping[str, Any]:
        """
        Return the row with this key.

        Raises:
            ValueError: There is none.
        """
        if key not in self._rows:
            raise ValueError(f"no row {key!r} in the figures; run the benchmark that has it")
        row: Mapping[str, Any] = self._rows[key]
        return row

    def has(self, key: str) -> bool:
        """Return whether there is a row with this key."""
        return key in self._rows

    def settings(self) -> list[str]:
        """Return the settings of which there are rates."""
        return list(dict.fromkeys(key.split("/")[1] for key in self._rows if key.startswith("rates/")))

    def sizes(self) -> list[int]:
        """Return the numbers of runs of the batches that were measured, the smallest first."""
        return sorted(int(key.split("/")[1]) for key in self._rows if re.fullmatch(r"growth/\d+/requests", key))

    def skipped(self) -> dict[str, str]:
        """Return the settings that were not measured, with the reasons."""
        return {key.split("/")[1]: row["note"] for key, row in self._rows.items() if key.startswith("skipped/")}

    def text(self, key: str, member: str) -> str:
        """Return a member of a row as README shows it."""
        return short(self.row(key)[member])

    def common(self, member: str) -> Mapping[str, Any]:
        """
        Return what all benchmarks say alike.

        Raises:
            ValueError: They do not.
        """
        told: list[Mapping[str, Any]] = [each[member] for each in self._found.values()]
        if any(other != told[0] for other in told):
            raise ValueError(f"the benchmarks differ in their {member}; measure all of them again")
        return told[0]

    def days(self) -> str:
        """Return when they were found."""
        dates = sorted({each["date"] for each in self._found.values()})
        return " to ".join(dict.fromkeys((dates[0], dates[-1])))

    def other_cores(self) -> float | None:
        """Return the most cores that other programs kept busy during one of them, or None where nothing tells."""
        told = [each["other_cores"] for each in self._found.values()]
        return None if None in told else max(told)

    def missed(self) -> Iterator[str]:
        """Yield what has not reached its budget."""
        for name, each in self._found.items():
            for row in each["rows"]:
                if row["verdict"] == "MISS":
                    sign = ">=" if row["budget"]["is_floor"] else "<="
                    yield f"{name}: {row['what']}: {short(row['value'])}, to be {sign} {row['budget']['limit']:g}"


def short(number: float) -> str:
    """Return *number* with the digits that mean something: 2,639, 72, 1.7, 0.67, 5."""
    if abs(number) >= 10 or number == int(number):
        return f"{number:,.0f}"
    return f"{number:.2f}" if abs(number) < 1 else f"{number:.1f}"
