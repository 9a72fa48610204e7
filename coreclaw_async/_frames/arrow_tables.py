"""
Rows as Arrow tables, in two steps.

A chunk of rows is kept as it came: each column in the Arrow type of its values, or as JSON where they have several.
Once all rows were seen, the chunks get the final types; each value is then converted from what it was.
"""

from __future__ import annotations

import importlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs

from coreclaw_async._frames.columns import Column, ColumnKey, Columns
from coreclaw_async._frames.shapes import NESTED, Kind, Shape, Target, normalised
from coreclaw_async._frames.values import Rows, json_text, plain, text_of

pa: Any = importlib.import_module("pyarrow")  # It has no types of its own.

_GROUP_ROWS = 1 << 16
_GROUP_BYTES = 1 << 26
_RAW = "raw"  # No array, but all values as one JSON list, from which each can be had again, NaN included.
_TEXT: Any = pa.string()
_TYPES: dict[str, Any] = {
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "text": _TEXT,
    "time": pa.timestamp("us", "UTC"),
    "json": _TEXT,
}

_dumps = json.JSONEncoder(separators=(",", ":"), default=plain).encode


@attrs.frozen
class Chunk:
    """
    Some rows, by columns.

    Attributes:
        count: How many rows.
        columns: For each column that has a value, what its array holds, and the array; for ``raw`` JSON in bytes.
    """

    count: int
    columns: dict[ColumnKey, tuple[Kind | str, Any]]

    def to_bytes(self) -> Any:
        """Return a buffer that `from_bytes` reads."""
        names = [[key, kind] for key, (kind, _) in self.columns.items()]
        metadata = {b"count": str(self.count).encode(), b"names": json.dumps(names).encode()}
        arrays: list[Any] = []
        for place, (kind, values) in enumerate(self.columns.values()):
            if kind == _RAW:
                metadata[str(place).encode()] = values
            else:
                arrays.append(values)
        batch = pa.record_batch(arrays, names=[str(place) for place in range(len(arrays))])
        sink: Any = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema.with_metadata(metadata)) as writer:
            writer.write_batch(batch)
        return sink.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Chunk:
        """Return the chunk in *data*."""
        with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
            batch = reader.read_next_batch()
        metadata = batch.schema.metadata
        arrays = iter(batch.columns)
        columns: dict[ColumnKey, tuple[Kind | str, Any]] = {}
        for place, (key, kind) in enumerate(json.loads(metadata[b"names"])):
            columns[key] = (kind, metadata[str(place).encode()] if kind == _RAW else next(arrays))
        return cls(int(metadata[b"count"]), columns)


def chunk_of(columns: Columns, rows: Rows, keys: Sequence[str] | None) -> Chunk:
    """Return a chunk of *rows*, with the keys of a batch's items, and record in *columns* what it holds."""
    is_inside = columns.options.nested == "struct"
    columns.has_rows = True
    values: dict[ColumnKey, Sequence[Any]] = {} if keys is None else {None: keys}
    for key in dict.fromkeys(itertools.chain.from_iterable(rows)):
        values[key] = normalised([row.get(key) for row in rows])
    found: dict[ColumnKey, tuple[Kind | str, Any]] = {}
    for column, its_values in values.items():
        encoded = _encoded(columns.shape_of(column), its_values, is_inside=is_inside)
        if encoded is not None:
            found[column] = encoded
    return Chunk(len(rows), found)


def _encoded(shape: Shape, values: Sequence[Any], *, is_inside: bool) -> tuple[Kind | str, Any] | None:
    """Return what holds *values*, or None when all of them are None."""
    kinds = shape.observe(values, is_inside=is_inside)
    if not kinds:
        return None
    if len(kinds) == 1 and NESTED.isdisjoint(kinds):
        (kind,) = kinds
        try:
            return kind, _scalars(kind, values)
        except UnicodeEncodeError:
            shape.has_surrogates = True
        except (OverflowError, pa.ArrowInvalid):  # An integer of more than 64 bits.
            pass
    if not is_inside and NESTED.issuperset(kinds):
        return "json", pa.array([None if value is None else json_text(value) for value in values], _TEXT)
    return _RAW, _dumps(values).encode()


def _scalars(kind: Kind, values: Sequence[Any]) -> Any:
    if kind == "decimal":
        return pa.array([None if value is None else str(value) for value in values], _TEXT)
    return pa.array(values, _TYPES[kind])


def tables(columns: Sequence[Column], chunks: Iterable[Chunk]) -> Iterator[Any]:
    """Yield the rows of *chunks* as tables with the final types, in pieces of a size that suits Parquet."""
    schema = schema_of(columns)
    batches: list[Any] = []
    rows = size = 0
    for chunk in chunks:
        batch = _batch(schema, columns, chunk)
        batches.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield pa.Table.from_batches(batches, schema).combine_chunks()
            batches = []
            rows = size = 0
    if batches:
        yield pa.Table.from_batches(batches, schema).combine_chunks()


def schema_of(columns: Sequence[Column]) -> Any:
    """Return the Arrow schema of a frame."""
    return pa.schema([pa.field(column.name, _type_of(column)) for column in columns])


def _type_of(column: Column) -> Any:
    target = column.type.target
    if target == "nested":
        return _nested_type(column.shape)
    if target == "decimal":
        return pa.decimal128(38, column.shape.scale)
    return _TYPES[target]


def _nested_type(shape: Shape) -> Any:
    """Return the type of nested values that have one."""
    if "object" in shape.kinds:
        return pa.struct([pa.field(name, _nested_type(member)) for name, member in shape.members.items()])
    if "array" in shape.kinds:
        assert shape.element is not None, "arrays were seen"
        return pa.list_(_nested_type(shape.element))
    if len(shape.kinds) > 1:
        return _TYPES["number"]
    return _TYPES[next(iter(shape.kinds), "text")]


def _batch(schema: Any, columns: Sequence[Column], chunk: Chunk) -> Any:
    arrays: list[Any] = []
    for column, field in zip(columns, schema, strict=True):
        kind, array = chunk.columns.get(column.key, (None, None))
        arrays.append(
            pa.nulls(chunk.count, field.type) if kind is None else _converted(column, field.type, kind, array)
        )
    return pa.record_batch(arrays, schema=schema)


def _converted(column: Column, type: Any, kind: str, array: Any) -> Any:
    """Return an array of a chunk in its final type."""
    target = column.type.target
    if kind == target:
        return array
    if kind == "integer" and target == "number":
        return array.cast(type)
    values = json.loads(array) if kind == _RAW else array.to_pylist()
    if kind == "json":
        values = [None if value is None else json.loads(value) for value in values]
    elif kind == "decimal":
        values = [None if value is None else Decimal(value) for value in values]
    change = _CHANGES.get(target)
    if change is not None:
        values = [None if value is None else change(value) for value in values]
    return pa.array(values, type)


_CHANGES: Mapping[Target, Callable[[Any], Any]] = {"text": text_of, "json": json_text, "number": float}
