"""The input of ``batch plan``: one spec a line, as JSON or as a row of CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

import attrs
import typer

from coreclaw_async._data.counting import counted
from coreclaw_async.batch import RunSpec

FORMATS = ("jsonl", "csv")
_MEMBERS = frozenset(attrs.fields_dict(RunSpec))
_JSON = ":json"


def _json_of(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


# The columns that are members of the spec, and how their cells are read; other columns are members of the input.
_CELLS: Mapping[str, Callable[[str], Any]] = {
    "key": str,
    "worker_id": str,
    "version": str,
    "input": _json_of,
    "system": _json_of,
    "retries": int,
    "run_timeout": float,
    "priority": int,
}


@attrs.frozen(kw_only=True)
class SpecReader:
    """
    Reads specs.

    Attributes:
        defaults: Members of specs that lack them.
        key_from: The member of the input that is the key of a spec without a key, or None.
    """

    defaults: Mapping[str, Any]
    key_from: str | None

    def read(self, lines: Iterable[str], format: str) -> Iterator[RunSpec]:
        """
        Yield a spec for each line that is not blank.

        Raises:
            typer.BadParameter: A line is no spec; the message has its number.
        """
        return (spec for _, spec in self.numbered(lines, format))

    def numbered(self, lines: Iterable[str], format: str) -> Iterator[tuple[int, RunSpec]]:
        """Yield what `read` does, with the numbers of the lines."""
        for number, members in (_csv_rows if format == "csv" else _json_lines)(lines):
            try:
                yield number, self._spec(members())
            except (ValueError, TypeError) as error:
                raise typer.BadParameter(f"--input: line {number}: {error}") from None

    def _spec(self, given: Mapping[str, Any]) -> RunSpec:
        if unknown := given.keys() - _MEMBERS:
            raise ValueError(f"it may hold {', '.join(sorted(_MEMBERS))}, not {', '.join(sorted(unknown))}")
        members: dict[str, Any] = {"input": {}, **self.defaults, **given}
        if "key" not in members and self.key_from is not None:
            members["key"] = _key_of(members["input"], self.key_from)
        if "key" not in members or "worker_id" not in members:
            raise ValueError("it must hold a key, and a worker_id where --worker is not given")
        return RunSpec(**members)


def _key_of(given: object, name: str) -> str:
    value = cast("Mapping[str, Any]", given).get(name) if isinstance(given, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ValueError(f"its input has no string or whole number {name!r} that could be its key")
    return str(value)


def _json_lines(lines: Iterable[str]) -> Iterator[tuple[int, Callable[[], Mapping[str, Any]]]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield number, lambda line=line: _object_of(line)  # type: ignore[misc]


def _object_of(line: str) -> Mapping[str, Any]:
    given = _json_of(line)
    if not isinstance(given, dict):
        raise TypeError("it must be a JSON object")
    return cast("dict[str, Any]", given)


def _csv_rows(lines: Iterable[str]) -> Iterator[tuple[int, Callable[[], Mapping[str, Any]]]]:
    reader = csv.reader(lines, strict=True)
    names: list[str] | None = None
    while True:
        try:
            cells = next(reader, None)
            if cells is None:
                return
            if names is None:
                names = _names_of(cells)
                continue
        except (csv.Error, ValueError) as error:
            raise typer.BadParameter(f"--input: line {max(reader.line_num, 1)}: {error}") from None
        if cells:
            yield reader.line_num, lambda names=names, cells=cells: _members_of(names, cells)  # type: ignore[misc]


def _names_of(cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    plain = [name.removesuffix(_JSON) for name in names]
    if "" in plain or len(set(plain)) < len(plain):
        raise ValueError("the first line must name each column, and none twice")
    return names


def _members_of(names: list[str], cells: list[str]) -> Mapping[str, Any]:
    """Return the members of a spec; empty cells are left out."""
    if len(cells) != len(names):
        raise ValueError(
            f"it has {counted(len(cells), 'cell')}, and the first line names {counted(len(names), 'column')}"
        )
    members: dict[str, Any] = {}
    given: dict[str, Any] = {}
    for name, cell in zip(names, cells, strict=True):
        if cell == "":
            continue
        try:
            if name in _CELLS:
                members[name] = _CELLS[name](cell)
            elif name.endswith(_JSON):
                given[name.removesuffix(_JSON)] = _json_of(cell)
            else:
                given[name] = cell
        except ValueError as error:
            raise ValueError(f"column {name}: {error}") from None
    if given and "input" in members:
        raise ValueError(f"its input is in column input, and in {', '.join(given)} too")
    return members if "input" in members else {**members, "input": given}
