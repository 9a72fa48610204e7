"""Counting rows by the csv module's own rules, and those of lines and documents in JSON, in pieces of any size."""

from __future__ import annotations

import csv
import io
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coreclaw_async._files.contents import Contents, CsvScanner, JsonLinesScanner, JsonScanner, read_contents

Scanner = CsvScanner | JsonLinesScanner | JsonScanner


def scan(scanner: Scanner, data: bytes, cuts: list[int]) -> Contents:
    """Feed *data* in pieces that end at *cuts*."""
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, stop in itertools.pairwise(places):
        scanner.feed(data[start:stop])
    return scanner.finish()


FEW = settings(max_examples=30)
# Not all of Unicode, whose tables take longer to make than the tests.
TEXTS = st.text(st.sampled_from('ab"\\[]{},: \r\n\x00\u00e4\u20ac\u2028\U0001f600\ud800'), max_size=9)
CUTS = st.lists(st.integers(0, 60), max_size=5)
CSV_TEXTS = st.text(st.sampled_from("ab\",\r\n \t\x00\u00e4\u2028;'"), max_size=60)


def rows_by_csv(text: str) -> int | None:
    """Return the rows that the csv module finds below the header; None for a header of one column and blank lines."""
    read = list(csv.reader(io.StringIO(text, newline="")))
    records = [record for record in read if record]
    is_known = len(records) == len(read) or any(len(record) > 1 for record in records[:1])
    return max(0, len(records) - 1) if is_known else None


@FEW
@given(CSV_TEXTS, CUTS)
@example('"', [])
@example('a,b\r\n"x', [3])
@example("a\r\n\r\nb\r\n", [2])
@example('a,b\r"",\r"""x"""z,"\r\n"\n', [8, 9, 10])
def test_csv_rows_are_those_of_the_csv_module(text: str, cuts: list[int]) -> None:
    assert scan(CsvScanner(), text.encode(), cuts).rows == rows_by_csv(text)


@FEW
@given(
    st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6),
    # A writer that quotes what it must knows of no other line ends than its own.
    st.sampled_from([("\r\n", csv.QUOTE_MINIMAL), ("\n", csv.QUOTE_ALL), ("\r", csv.QUOTE_ALL)]),
    CUTS,
)
def test_rows_that_the_csv_module_wrote_are_all_counted(
    records: list[tuple[str, str]], style: tuple[str, Any], cuts: list[int]
) -> None:
    file = io.StringIO()
    end, quoting = style
    csv.writer(file, lineterminator=end, quoting=quoting).writerows(records)

    found = scan(CsvScanner(), file.getvalue().encode("utf-8", "surrogatepass"), cuts)

    assert found == Contents(len(records) - 1, is_closed=True)


@pytest.mark.parametrize(
    ("data", "rows", "is_closed"),
    [
        (b"", 0, True),
        (b"a,b\r\n", 0, True),
        (b"a,b\r\n1,2\r\n", 1, True),
        (b"a,b\r\n1,2", 1, False),
        (b'a,b\r\n1,"2\r\n', 1, False),
        (b'\xef\xbb\xbf"a\r\n",b\r\n1,2\r\n', 1, True),
        (b"\xef\xbb\xbf", 0, True),
        (b"\r\n\r\na,b\r\n\r\n\n\r1,2\r\n\r\n", 1, True),
        (b"a,b\r\n" + b"," * 300_000 + b"\r\n", 1, True),
        (b"a,b\r\n" + b'"' + b"x\r\n" * 300_000 + b'",\r\n', 1, True),
        # One column: a blank line may be a row whose field is empty.
        (b"a\r\n1\r\n2\r\n", 2, True),
        (b'a\r\n""\r\n2\r\n', 2, True),
        (b"a\r\n\r\n2\r\n", None, True),
        ("a,b\r\n1,2\r\n".encode("utf-16"), None, True),
    ],
)
def test_csv_files(tmp_path: Path, data: bytes, rows: int | None, *, is_closed: bool) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(data)

    assert read_contents(path, "csv") == Contents(rows, is_closed=is_closed)


@FEW
@given(st.lists(st.sampled_from(["{}", '{"a": "\\n"}', "", "  ", "\t\r"])), st.booleans(), CUTS)
def test_lines_of_json_are_counted_without_the_blank_ones(
    lines: list[str],
    is_ended: bool,
    cuts: list[int],
) -> None:
    text = "\n".join(lines) + ("\n" if is_ended else "")

    found = scan(JsonLinesScanner(), text.encode(), cuts)

    assert found.rows == len([line for line in lines if line.strip()])
    assert found.is_closed == (text == "" or text.endswith("\n"))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=9,
)


def rows_by_json(value: Any) -> int | None:
    if isinstance(value, list):
        return len(value)
    lists = [member for member in value.values() if isinstance(member, list)]
    return len(lists[0]) if len(lists) == 1 else None


@FEW
@given(
    st.lists(JSON_VALUES, max_size=4) | st.dictionaries(TEXTS, JSON_VALUES, max_size=4),
    st.booleans(),
    st.sampled_from([None, 1]),
    CUTS,
)
def test_elements_of_a_json_document_are_counted(
    value: Any,
    is_ascii: bool,
    indent: int | None,
    cuts: list[int],
) -> None:
    data = json.dumps(value, ensure_ascii=is_ascii, indent=indent).encode("utf-8", "surrogatepass")

    assert scan(JsonScanner(), data, cuts) == Contents(rows_by_json(value), is_closed=True)


@FEW
@given(
    st.lists(JSON_VALUES, min_size=1, max_size=4) | st.dictionaries(TEXTS, JSON_VALUES, min_size=1, max_size=4),
    st.data(),
)
def test_a_json_document_that_is_cut_is_not_closed(value: Any, data: st.DataObject) -> None:
    whole = json.dumps(value).encode()
    stop = data.draw(st.integers(0, len(whole) - 1))

    assert scan(JsonScanner(), whole[:stop], []) == Contents(None, is_closed=False)


@FEW
@given(st.binary() | st.text(st.sampled_from('[]{}",\\1 ')).map(str.encode), CUTS)
def test_no_bytes_are_too_odd_for_a_scanner(data: bytes, cuts: list[int]) -> None:
    for scanner in (CsvScanner(), JsonLinesScanner(), JsonScanner()):
        scan(scanner, data, cuts)


@pytest.mark.parametrize("data", [b"", b"5", b'"text"', b"[1],", b"[1][2]", b"]", b"[]]", b"{}[1]", b'{"a":[1]}{'])
def test_what_is_no_json_document_has_no_number_of_rows(data: bytes) -> None:
    assert scan(JsonScanner(), data, []) == Contents(None, is_closed=False)


@pytest.mark.parametrize(
    ("format", "data", "is_closed"),
    [
        ("xlsx", b"PK\x03\x04" + b"x" * 100_000 + b"PK\x05\x06" + b"\0" * 18 + b"c" * 65_535, True),
        ("xlsx", b"PK\x03\x04 PK\x05\x06" + b"x" * 100_000, False),
        ("xml", b"<rows></rows>" + b"\r\n" * 1000, True),
        ("rss", b"<rss><chan", False),
        ("html", b"", False),
        ("xls", b"\xd0\xcf\x11\xe0", True),
    ],
)
def test_formats_that_are_not_counted_show_their_end(
    tmp_path: Path, format: str, data: bytes, *, is_closed: bool
) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)

    assert read_contents(path, format) == Contents(None, is_closed=is_closed)
