"""The eight export formats, written piece by piece so that a big export takes no memory."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coreclaw_async.testing._state.rows import Row, RowList

CONTENT_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "xls": "application/vnd.ms-excel",
    "xml": "application/xml",
    "html": "text/html; charset=utf-8",
    "rss": "application/rss+xml",
}
_ROWS_PER_PIECE = 500

Headers = Sequence[Mapping[str, str]]
_RowWriter = Callable[[int, list[Any], Headers], str]


def write_export(form: str, headers: Headers, rows: RowList, count: int) -> Iterator[bytes]:
    """Yield the first `count` rows in the format `form`, with the columns of `headers` only."""
    opening, write_row, closing = _FORMATS[form]
    yield (opening(headers) if callable(opening) else opening).encode()
    for start in range(0, count, _ROWS_PER_PIECE):
        page = rows.read(start, min(start + _ROWS_PER_PIECE, count))
        lines = (write_row(number, _cells(row, headers), headers) for number, row in enumerate(page, start))
        yield "".join(lines).encode()
    yield closing.encode()


def _cells(row: Row, headers: Headers) -> list[Any]:
    return [row.get(header["key"]) for header in headers]


def _text(cell: Any) -> str:
    """Return a cell as flat formats show it: nested values as JSON, None as an empty string."""
    if cell is None:
        return ""
    return cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False)


def _csv_line(cells: Sequence[Any]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow([_text(cell) for cell in cells])
    return line.getvalue()


def _csv_head(headers: Headers) -> str:
    return _csv_line([header["key"] for header in headers])


def _csv_row(_number: int, cells: list[Any], _headers: Headers) -> str:
    return _csv_line(cells)


def _json_row(number: int, cells: list[Any], headers: Headers) -> str:
    return ("" if number == 0 else ",") + _jsonl_row(number, cells, headers).rstrip("\n")


def _jsonl_row(_number: int, cells: list[Any], headers: Headers) -> str:
    pairs = zip(headers, cells, strict=True)
    return json.dumps({header["key"]: cell for header, cell in pairs}, ensure_ascii=False) + "\n"


def _table_row(_number: int, cells: list[Any], _headers: Headers) -> str:
    return "<tr>" + "".join(f"<td>{escape(_text(cell))}</td>" for cell in cells) + "</tr>\n"


def _table_head(headers: Headers) -> str:
    names = "".join(f"<th>{escape(header['label'])}</th>" for header in headers)
    return f'<!doctype html>\n<html><head><meta charset="utf-8"></head><body><table>\n<tr>{names}</tr>\n'


def _xml_row(_number: int, cells: list[Any], headers: Headers) -> str:
    pairs = zip(headers, cells, strict=True)
    fields = "".join(f'<field name="{escape(h["key"])}">{escape(_text(cell))}</field>' for h, cell in pairs)
    return f"<row>{fields}</row>\n"


def _rss_row(number: int, cells: list[Any], headers: Headers) -> str:
    return f"<item><title>{number + 1}</title>{_xml_row(number, cells, headers).strip()}</item>\n"


_XML_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_TABLE = (_table_head, _table_row, "</table></body></html>\n")
_FORMATS: Mapping[str, tuple[str | Callable[[Headers], str], _RowWriter, str]] = {
    "csv": (_csv_head, _csv_row, ""),
    "json": ("[", _json_row, "]"),
    "jsonl": ("", _jsonl_row, ""),
    # Spreadsheet programs open a table in HTML too, so a fake needs no workbook.
    "xlsx": _TABLE,
    "xls": _TABLE,
    "xml": (f"{_XML_HEAD}<rows>\n", _xml_row, "</rows>\n"),
    "html": _TABLE,
    "rss": (f'{_XML_HEAD}<rss version="2.0"><channel>\n', _rss_row, "</channel></rss>\n"),
}
