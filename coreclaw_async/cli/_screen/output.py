"""Output of results: as text for people or as JSON for programs, to a stream or a whole file."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import os
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from coreclaw_async._data.counting import counted
from coreclaw_async._data.plain import JSON_OR_TEXT, PYTHON, as_plain, to_text
from coreclaw_async._files.target import naming, replaced_file
from coreclaw_async.cli._process.receipts import current
from coreclaw_async.cli._screen.screen import Screen, escaped, money
from coreclaw_async.models import Run

STDIO = Path("-")
"""Standard input or output in the place of a file."""

# A lone surrogate, which UTF-8 cannot encode, becomes its JSON escape.
_JSON_ENCODING, _JSON_ERRORS = "utf-8", "backslashreplace"

# Members that this version does not know.
_NOT_SHOWN = frozenset({"extra", "raw"})


def _is_not_shown(_: Any, name: str, __: Any) -> bool:
    return name in _NOT_SHOWN


def json_line(value: Any) -> str:
    """Return a model or a row as one line of JSON; amounts are strings, times are ISO 8601."""
    return to_text(as_plain(value, JSON_OR_TEXT, leaves_out=_is_not_shown))


def print_json(values: Iterable[Any]) -> None:
    """Print one line of JSON for each of *values*, as soon as it arrives."""
    stream = _json_stream()
    show: Callable[[str], str] = escaped if stream.isatty() else str
    for value in values:
        line = show(json_line(value))
        stream.write(line + "\n")
        stream.flush()
        current().was_written(line)


def _json_stream() -> TextIO:
    """Return standard output, switched to UTF-8 whatever the terminal's encoding is."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)  # A replacement may not have it.
    if reconfigure is not None:
        reconfigure(encoding=_JSON_ENCODING, errors=_JSON_ERRORS)
    return sys.stdout


def show_one(value: Any, *, as_json: bool) -> None:
    """Print one model as a line of JSON, or as one line for each member that is set."""
    if as_json:
        print_json([value])
        return
    screen = Screen()
    plain = as_plain(value, PYTHON, leaves_out=_is_not_shown)
    members = {name: member for name, member in plain.items() if member not in (None, "", (), {}, [])}
    width = max(map(len, members), default=0)
    for name, member in members.items():
        screen.say(cell(member), label=f"{name:{width}}  ")


def cell(value: object) -> str:
    """Return a value as people read it."""
    if value is None:
        return ""
    if isinstance(value, dt.datetime):
        try:
            return f"{value.astimezone():%Y-%m-%d %H:%M:%S}"
        except OverflowError:  # The date is beyond the calendar.
            return value.isoformat()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str | int):
        return str(value)
    return json_line(value)


def run_sentence(run: Run) -> str:
    """Return how a run ended and what it cost, in a line."""
    return f"Run {run.run_id} {run_result(run)}; it cost {money(run.usage)}."


def run_result(run: Run) -> str:
    """Return how a run ended; an unknown number is not 0."""
    rows = "an unknown number of rows" if run.result_count is None else counted(run.result_count, "row")
    lasted = "an unknown time" if run.duration is None else f"{run.duration:g} s"
    return f"{run.status} after {lasted} with {rows}"


@contextmanager
def whole_file(path: Path) -> Generator[TextIO]:
    """
    Write a file that takes the place of *path* when the block has ended well; standard output for ``-``.

    Raises:
        OSError: It cannot be written.
    """
    if path == STDIO:
        stream = _json_stream()
        yield stream
        stream.flush()
        return
    with naming(path), replaced_file(path) as raw:
        file = io.TextIOWrapper(raw, encoding=_JSON_ENCODING, errors=_JSON_ERRORS, newline="\n")
        yield file
        file.detach()


def is_terminal(path: Path) -> bool:
    """Return whether *path* is a terminal."""
    if path == STDIO:
        return sys.stdout.isatty()
    if path.is_char_device():
        with contextlib.suppress(OSError):  # Writing to it fails with a message later.
            descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
            try:
                return os.isatty(descriptor)
            finally:
                os.close(descriptor)
    return False
