"""The output of a command at a terminal: plain text and tables, safe whatever the service sends."""

from __future__ import annotations

import io
import json
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from decimal import Decimal
from typing import Any

from rich.console import Console, ConsoleDimensions
from rich.text import Text

from coreclaw_async.cli._process import streams
from coreclaw_async.cli._process.receipts import current
from coreclaw_async.cli._screen.table_layout import CellKind, LaidColumn, Layout, lay_out
from coreclaw_async.models import Row

_LABEL_WIDTH = 8
_MIN_WIDTH = 20


class _Console(Console):
    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False)
        width, height = self.size
        if width < _MIN_WIDTH or height < 1:  # With COLUMNS=0 rich would print nothing at all.
            self.size = ConsoleDimensions(max(width, _MIN_WIDTH), max(height, 1))

    def on_broken_pipe(self) -> None:
        """Raise the error again: rich would end the process before the command can report its runs."""
        raise  # noqa: PLE0704 - rich calls this while it handles the error


class Screen:
    """
    Standard output for results, standard error for progress and complaints.

    Text is printed as it is: markup in it is not read, and nothing in it can control the terminal. A failed write to
    standard output is an OSError.
    """

    def __init__(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A character that the terminal lacks must not end a command that has paid for a run.
                stream.reconfigure(errors="replace")
        self._out = _Console()
        self.err = ERR.get() or error_console()

    @property
    def shows_progress(self) -> bool:
        """Whether standard error is a terminal."""
        return sys.stderr.isatty()

    def say(self, text: str, *, label: str = "") -> None:
        """Print a line with a *label*, or indented like the lines that have one."""
        line = Text.assemble((f"{label:{_LABEL_WIDTH}}", "bold"), plain(text))
        self._out.print(line, soft_wrap=True)
        current().was_written(text)

    def tell(self, text: str) -> None:
        """Print a line; at a terminal it is wrapped between words."""
        shown = plain(text)
        if self.is_looked_at:
            shown = _broken_between_words(shown, self.width)
        self._out.print(Text(shown), soft_wrap=True)
        current().was_written(text)

    def say_log(self, moment: str, level: str, text: str) -> None:
        """Print an entry of a log, which may have several lines."""
        style = {"error": "red", "warn": "magenta", "debug": "dim"}.get(level, "")
        for line in text.splitlines() or [""]:
            words = Text.assemble((f"{moment} ", "dim"), (f"{plain(level):5} ", style), plain(line))
            self._out.print(words, soft_wrap=True)

    @property
    def is_looked_at(self) -> bool:
        """Whether standard output is a terminal, whatever the environment says about colours."""
        return sys.stdout.isatty()

    @property
    def width(self) -> int:
        """Columns of the terminal."""
        return self._out.width

    def tell_cells(self, cells: Iterable[str]) -> None:
        """Print a line of cells for programs, separated by tabs."""
        sys.stdout.write("\t".join(map(plain, cells)) + "\n")

    def say_layout(self, layout: Layout, *, hint: str = "", indent: int = 0) -> None:
        """Print a table; at a terminal, standard error says what was left out."""
        for style, line in (("bold", layout.header), *(("", line) for line in layout.lines)):
            self._out.print(Text(" " * indent + line, style=style), soft_wrap=True)
        parts = [("Not shown", layout.missing), ("Shortened", layout.shortened)]
        left_out = [f"{what}: {', '.join(names)}." for what, names in parts if names]
        if left_out and self.is_looked_at:
            self.complain(" ".join([*left_out, hint]).rstrip(), style="dim")

    def say_heading(self, text: str) -> None:
        """Print a line that stands out."""
        self._out.print(Text(plain(text), style="bold"), soft_wrap=True)

    def say_code(self, heading: str, lines: Iterable[str]) -> None:
        """Print lines of code as they can be pasted, under a heading."""
        self._out.line()
        self.say_heading(heading)
        for line in lines:
            self._out.print(Text(plain(line)), soft_wrap=True)

    def say_rows(self, rows: Sequence[Row]) -> None:
        """Print *rows* as a table, with as many columns as fit."""
        names = dict.fromkeys(name for row in rows for name in row if name[:2] != "__")
        columns = [
            LaidColumn(plain(name), _kind(rows, name), [[_cell(row.get(name))] for row in rows]) for name in names
        ]
        if columns:
            self.say_layout(lay_out(columns, self.width - _LABEL_WIDTH), indent=_LABEL_WIDTH)

    def complain(self, text: str, *, style: str = "") -> bool:
        """
        Print a line to standard error, and return whether that worked; a failure must not end the command.

        At a terminal a sentence is wrapped between words. An indented line stays whole, as it holds a command to paste.
        """
        shown = plain(text)
        if self.shows_progress:
            shown = _broken_between_words(shown, self.err.width)
        try:
            self.err.print(Text(shown, style=style), soft_wrap=True)
        except OSError:
            streams.give_up("stderr")
            return False
        current().was_written(text)
        return True

    def hint(self, what: str, command: str) -> None:
        """Show the next command, if standard error is a terminal."""
        if self.shows_progress:
            self.complain(f"  {what}:  {command}")


def _broken_between_words(text: str, width: int) -> str:
    if text.startswith(" "):  # It holds a command to paste.
        return text
    return "\n".join(textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False))


def error_console() -> Console:
    """Return a console for standard error: one per command, so that its bar and its messages do not mix."""
    return _Console(stderr=True)


ERR: ContextVar[Console | None] = ContextVar("coreclaw_async_error_console", default=None)
"""The console of the current command."""


def plain(text: str) -> str:
    """Return *text* without line breaks and control characters, which could control a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def escaped(line: str) -> str:
    """Return a line of JSON in which characters that could control a terminal are escaped."""
    if line.isprintable():
        return line
    return "".join(json.dumps(one)[1:-1] if _controls(one) else one for one in line)


def _controls(character: str) -> bool:
    # Two invisible characters are harmless: they join or separate letters, as some scripts and emoji need.
    return unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp"} and character not in "\u200c\u200d"


def money(amount: Decimal | None) -> str:
    """Return an amount as people read it."""
    if amount is None:
        return "an unknown amount"
    cents = f"{amount:.2f}"
    return f"${cents}" if Decimal(cents) == amount else f"${amount:f}"


def _kind(rows: Sequence[Row], name: str) -> CellKind:
    """Return how a column of rows is laid out: numbers to the right."""
    cells = [row.get(name) for row in rows]
    return "number" if all(type(value) in {int, float, type(None)} for value in cells) else "text"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return plain(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
