"""Answers into models: a page of 100 runs, a page of 100 rows, and the memory that runs take."""

from __future__ import annotations

import asyncio
import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import orjson
import samples
from paired import Measure, compare
from peer_models import PEER_RUNS
from report import Report, Row, at_most, cost_row, parser

from coreclaw_async._wire.credentials import Credentials
from coreclaw_async._wire.pages import read_page, read_result_page
from coreclaw_async._wire.request import Request
from coreclaw_async._wire.response import Answer, HttpReply, read_answer
from coreclaw_async.models import Run

_ROUNDS = 60
_PAGES = 100
_SIZE = 100
_KEPT = 2_000
_MICROSECONDS = 1e6
_MILLISECONDS = 1e3

_CREDENTIALS = Credentials("key")
_REQUEST = Request(operation="listWorkerRuns", method="GET", path="/api/v2/worker-runs")


def _answer(body: bytes) -> Answer:
    return read_answer(_REQUEST, HttpReply(status_code=200, headers={}, body=body, received_at=0.0), _CREDENTIALS)


def ours(body: bytes) -> object:
    """Read a page of runs as the client does."""
    return read_page(_answer(body), Run, offset=0, limit=_SIZE)


def ours_with_orjson(body: bytes) -> object:
    """Read it with another JSON parser in front, which the client cannot be told to use."""
    parsed = orjson.loads(body)
    return read_page(Answer(_REQUEST, parsed["data"], parsed["request_id"]), Run, offset=0, limit=_SIZE)


def peer(body: bytes) -> object:
    """Read the same with pydantic."""
    return PEER_RUNS.validate_python(json.loads(body)["data"]["list"])


def peer_with_orjson(body: bytes) -> object:
    """Read the same with pydantic behind orjson."""
    return PEER_RUNS.validate_python(orjson.loads(body)["data"]["list"])


def our_rows(body: bytes) -> object:
    """Read a page of rows as the client does."""
    return read_result_page(_answer(body), offset=0, limit=_SIZE)


def repeated(read: Callable[[bytes], object], body: bytes) -> Measure:
    """Return a block that measures the CPU seconds of reading *body* once."""

    async def block() -> float:
        started = time.process_time()
        for _ in range(_PAGES):
            read(body)
        return (time.process_time() - started) / _PAGES

    return block


def bytes_kept(make: Callable[[dict[str, Any]], object]) -> float:
    """Return the bytes that one of many objects takes which *make* makes of parsed records."""
    text = samples.encode([samples.run_record(number) for number in range(_KEPT)])
    make(samples.run_record(0))
    tracemalloc.start()
    kept = [make(record) for record in json.loads(text)]
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return taken / len(kept)


def _make_ours(record: dict[str, Any]) -> object:
    return read_page(Answer(_REQUEST, {"list": [record]}), Run, offset=0, limit=_SIZE).items[0]


def _make_peer(record: dict[str, Any]) -> object:
    return PEER_RUNS.validate_python([record])[0]


def _keep(record: dict[str, Any]) -> object:
    return record


async def _main(report: Report, rounds: int) -> None:
    page = samples.run_page(_SIZE)
    started = time.process_time()
    ours(page)
    first = (time.process_time() - started) * _MILLISECONDS
    what = f"page of {_SIZE} runs, {len(page):,} bytes, "
    for name, way, other, budget, note in (
        ("json, to models", ours, peer, at_most(1.1), "peer: json + pydantic"),
        ("json, to models (null test)", ours, ours, None, "peer: the same"),
        ("json, to models", ours, peer_with_orjson, None, "peer: orjson + pydantic"),
        ("orjson, to models", ours_with_orjson, peer, None, "peer: json + pydantic; extra [speed] not built"),
        ("json, to models", ours, json.loads, None, "peer: json.loads alone"),
    ):
        found = await compare(repeated(way, page), repeated(other, page), rounds)
        report.add(cost_row(what + name, found, "us", _MICROSECONDS, budget=budget, note=note))
    report.add(Row(what="the first answer of a process", unit="ms", ours=first, note="builds the converter"))
    rows = samples.result_page(1, _SIZE, _SIZE, texts=11)
    found = await compare(repeated(our_rows, rows), repeated(json.loads, rows), rounds)
    what = f"page of {_SIZE} rows, {len(rows):,} bytes"
    report.add(cost_row(what, found, "us", _MICROSECONDS, note="peer: json.loads alone"))
    for name, make in (("pydantic", _make_peer), ("a dict", _keep)):
        kept, theirs = bytes_kept(_make_ours), bytes_kept(make)
        what = "memory of a run that is kept"
        report.add(Row(what=what, unit="bytes", ours=kept, peer=theirs, value=kept / theirs, note=f"peer: {name}"))


if __name__ == "__main__":
    options = parser(__doc__, _ROUNDS).parse_args()
    table = Report("bench_decoding", options.rounds)
    asyncio.run(_main(table, options.rounds))
    table.finish(options.json)
