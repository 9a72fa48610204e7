"""How many rows an exported file holds, and whether it is complete; read in pieces, whatever its size."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

import attrs

_CHUNK_BYTES = 1 << 18
_TAIL_BYTES = 65_557  # The end of a workbook with the longest comment a zip file may have.
_BOM = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_WORKBOOK_END = b"PK\x05\x06"
_MARKUP = frozenset({"xml", "rss", "html"})


@attrs.frozen
class Contents:
    """
    What was found in a file.

    Attributes:
        rows: How many rows it holds, or None if that cannot be told.
        is_closed: Whether it ends as a complete file of its format does; True for formats without a visible end.
    """

    rows: int | None
    is_closed: bool


class _Scanner(Protocol):
    def feed(self, data: bytes) -> None: ...

    def finish(self) -> Contents: ...


def read_contents(path: Path, format: str) -> Contents:
    """
    Read through the file at *path*.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        make_scanner = _SCANNERS.get(format)
        if make_scanner is None:
            return Contents(None, _is_closed(_tail_of(file), format))
        scanner = make_scanner()
        head = file.read(len(_BOM))
        if head.startswith(_UTF_16):
            return Contents(None, is_closed=True)
        for data in _chunks(head.removeprefix(_BOM), file):
            scanner.feed(data)
    return scanner.finish()


def _chunks(head: bytes, file: BinaryIO) -> Iterator[bytes]:
    data = head + file.read(_CHUNK_BYTES)
    while data:
        yield data
        data = file.read(_CHUNK_BYTES)


def _tail_of(file: BinaryIO) -> bytes:
    size = file.seek(0, 2)
    file.seek(max(0, size - _TAIL_BYTES))
    return file.read()


def _is_closed(tail: bytes, format: str) -> bool:
    if format == "xlsx":
        return _WORKBOOK_END in tail
    return format not in _MARKUP or tail.rstrip().endswith(b">")


class CsvScanner:
    """
    Counts the rows below the header as `csv.reader` does, but holds no field, so that none can be too long.

    A blank line is no row. But with one column, it may be a row with an empty field, which some writers do not quote;
    then the number of rows cannot be told.
    """

    _IN_FIELD = re.compile(rb'[\r\n]|,"')
    _IN_HEADER = re.compile(rb"[\r\n,]")

    def __init__(self) -> None:
        self._records = 0
        self._has_columns = False
        self._has_blanks = False
        self._is_after_return = False
        self._scan = self._at_record

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the file."""
        position = 0
        while position < len(data):
            position = self._scan(data, position)

    def finish(self) -> Contents:
        """Return what was found, at the end of the file."""
        is_closed = self._scan == self._at_record
        records = self._records + (not is_closed)
        is_known = self._has_columns or not self._has_blanks
        return Contents(max(0, records - 1) if is_known else None, is_closed)

    # Each of these is a state: it reads bytes from *position* on, sets the next state, and returns the position where
    # that continues.

    def _at_record(self, data: bytes, position: int) -> int:
        byte = data[position]
        if byte in b"\r\n":
            if not (byte == ord("\n") and self._is_after_return):
                self._has_blanks = True
            self._is_after_return = byte == ord("\r")
            return position + 1
        self._scan = self._at_field
        return position

    def _at_field(self, data: bytes, position: int) -> int:
        if data[position] == ord('"'):
            self._scan = self._in_quotes
            return position + 1
        self._scan = self._in_field
        return position

    def _in_field(self, data: bytes, position: int) -> int:
        stop = (self._IN_FIELD if self._records else self._IN_HEADER).search(data, position)
        if stop is None:
            if data.endswith(b","):
                self._scan = self._at_field
            return len(data)
        return self._end_field(data, stop.start())

    def _end_field(self, data: bytes, position: int) -> int:
        byte = data[position]
        if byte == ord(","):
            self._has_columns = self._has_columns or self._records == 0
            self._scan = self._at_field
        else:
            self._records += 1
            self._is_after_return = byte == ord("\r")
            self._scan = self._at_record
        return position + 1

    def _in_quotes(self, data: bytes, position: int) -> int:
        end = data.find(b'"', position)
        if end < 0:
            return len(data)
        self._scan = self._after_quote
        return end + 1

    def _after_quote(self, data: bytes, position: int) -> int:
        byte = data[position]
        if byte == ord('"'):
            self._scan = self._in_quotes
            return position + 1
        if byte in b",\r\n":
            return self._end_field(data, position)
        self._scan = self._in_field
        return position


class JsonLinesScanner:
    """Counts the lines that are not blank."""

    def __init__(self) -> None:
        self._rows = 0
        self._has_content = False
        self._is_closed = True

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the file."""
        *ended, rest = data.split(b"\n")
        for line in ended:
            self._rows += self._has_content or not _is_blank(line)
            self._has_content = False
        self._has_content = self._has_content or not _is_blank(rest)
        self._is_closed = not rest and (self._is_closed or bool(ended))

    def finish(self) -> Contents:
        """Return what was found, at the end of the file."""
        return Contents(self._rows + self._has_content, self._is_closed)


class JsonScanner:
    """
    Counts the elements of a JSON document that is a list, or an object with exactly one list among its members.

    For any other document the number of rows cannot be told.
    """

    _BRACKET = re.compile(rb"[\[\]{}]")
    _ESCAPE = re.compile(rb"\\.", re.DOTALL)
    _SPACE = b" \t\r\n"

    def __init__(self) -> None:
        self._depth = 0
        self._is_in_string = False
        self._has_backslash = False
        self._is_object = False
        self._lists = 0
        self._elements = 0
        self._has_element = False
        self._list_depth: int | None = None
        self._has_ended = False
        self._is_odd = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the file."""
        outside = self._without_strings(data).translate(None, self._SPACE)
        position = 0
        for bracket in self._BRACKET.finditer(outside):
            self._pass(outside[position : bracket.start()])
            position = bracket.end()
            if bracket[0] in b"[{":
                self._open(is_list=bracket[0] == b"[")
            else:
                self._close()
        self._pass(outside[position:])

    def finish(self) -> Contents:
        """Return what was found, at the end of the file."""
        is_closed = self._has_ended and not self._is_odd
        is_known = is_closed and self._lists == 1
        return Contents(self._elements if is_known else None, is_closed)

    def _without_strings(self, data: bytes) -> bytes:
        """Return *data* with one quotation mark in place of each string, which the end of the data may cut."""
        if self._has_backslash:
            data = b"\\" + data
        # Escapes stand in strings only, so they are dropped; one that is cut waits for its rest.
        data = self._ESCAPE.sub(b"", data)
        self._has_backslash = data.endswith(b"\\")
        pieces = data.removesuffix(b"\\").split(b'"')
        was_in_string = self._is_in_string
        self._is_in_string = was_in_string != (len(pieces) % 2 == 0)
        return (b'"' if was_in_string else b"") + b'"'.join(pieces[int(was_in_string) :: 2])

    def _open(self, *, is_list: bool) -> None:
        self._note_element()
        if self._depth == 0:
            self._is_odd = self._is_odd or self._has_ended
            self._is_object = not is_list
        self._depth += 1
        if is_list and self._list_depth is None and self._depth == 1 + self._is_object:
            self._lists += 1
            self._list_depth = self._depth
            self._has_element = False

    def _close(self) -> None:
        if self._depth == self._list_depth:
            self._elements += self._has_element
            self._list_depth = None
        self._depth -= 1
        self._is_odd = self._is_odd or self._depth < 0
        self._has_ended = self._has_ended or self._depth == 0

    def _pass(self, between: bytes) -> None:
        """Read what stands between two brackets."""
        if not between:
            return
        if self._depth <= 0:
            self._is_odd = True
        elif self._depth == self._list_depth:
            # A comma ends an element; another one follows the last comma.
            self._elements += between.count(b",")
            self._has_element = self._has_element or between.strip(b",") != b""

    def _note_element(self) -> None:
        if self._depth == self._list_depth:
            self._has_element = True


def _is_blank(line: bytes) -> bool:
    return not line or line.isspace()


_SCANNERS: dict[str, type[_Scanner]] = {"csv": CsvScanner, "jsonl": JsonLinesScanner, "json": JsonScanner}
