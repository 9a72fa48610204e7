"""Part files hold each number digit by digit as the service sent it, and are JSON whatever it sent."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from batch.batches import finish, opened
from hypothesis import given, settings
from hypothesis import strategies as st

from coreclaw_async import BatchItemState, CoreClawError
from coreclaw_async._wire.credentials import Credentials
from coreclaw_async._wire.exact_numbers import json_lines
from coreclaw_async._wire.request import Request
from coreclaw_async._wire.response import HttpReply, read_answer
from coreclaw_async.testing import FakeService, RunScript, faults

NUMBERS = [
    "0",
    "-0",
    "7",
    "-12",
    "9007199254740993",
    "1" * 5_000,
    "-" + "9" * 4_301,
    "1.5",
    "-0.0",
    "1.0",
    "1.10",
    "0.1000000000000000055511151231257827",
    "12345678901234567890.123456789012345678901234567890",
    "1e400",
    "-1E400",
    "1e-400",
    "1E5",
    "1e05",
    "100000000000000000000000000.0",
    "1e99999999999999999999",
]
REQUEST = Request(operation="listWorkerRunResults", method="GET", path="/api/v2/worker-runs/1/result")
EXACT = Request(operation="listWorkerRunResults", method="GET", path="/api/v2/worker-runs/1/result", keeps_numbers=True)


def envelope(rows: str, *, count: str = "1", code: str = "0") -> bytes:
    head = f'"count":{count},"page_index":1,"page_size":100'
    return f'{{"code":{code},"message":"ok","data":{{{head},"list":{rows}}},"request_id":"r"}}'.encode()


def data_of(body: bytes, request: Request = EXACT) -> Any:
    reply = HttpReply(status_code=200, headers={}, body=body, received_at=0.0)
    return read_answer(request, reply, Credentials("key")).data


def written(rows: str) -> str:
    """Return the lines that a part file gets of rows as the service sends them."""
    return json_lines(data_of(envelope(rows))["list"]).decode("ascii")


async def lines_of_batch(service: FakeService, folder: Path, body: bytes) -> str:
    """Return what a whole batch writes when the page of rows of its only run is *body*."""
    service.script_next(RunScript(rows=1))
    service.faults.add(faults.reply(body), operation="listWorkerRunResults", times=1_000)
    async with opened(service, "memory", count=1) as batch:
        (outcome,) = await finish(batch, output=folder)
    assert outcome.state is BatchItemState.DONE
    assert outcome.path is not None
    return outcome.path.read_text("ascii")


@pytest.mark.endurance
@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:24])
async def test_a_batch_writes_each_number_as_it_was_sent(service: FakeService, tmp_path: Path, number: str) -> None:
    row = f'{{"__coreclaw_data_id__":"1","a":{number},"b":[{{"c":[{number},"{number}"]}}]}}'

    assert await lines_of_batch(service, tmp_path, envelope(f"[{row}]")) == row + "\n"


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity"])
async def test_a_token_that_is_no_json_is_written_as_null(service: FakeService, tmp_path: Path, token: str) -> None:
    row = f'{{"__coreclaw_data_id__":"1","a":{token},"b":["{token}",{token}]}}'

    text = await lines_of_batch(service, tmp_path, envelope(f"[{row}]"))

    assert text == f'{{"__coreclaw_data_id__":"1","a":null,"b":["{token}",null]}}\n'


async def test_rows_without_identity_that_differ_in_the_last_digit_are_two(
    service: FakeService, tmp_path: Path
) -> None:
    rows = '{"a":0.10000000000000000001},{"a":0.10000000000000000002},{"a":1e400},{"a":1e401}'
    service.script_next(RunScript(rows=4))
    service.faults.add(faults.reply(envelope(f"[{rows}]", count="4")), operation="listWorkerRunResults", times=1_000)
    async with opened(service, "memory", count=1) as batch:
        (outcome,) = await finish(batch, output=tmp_path)

    assert outcome.path is not None
    assert outcome.path.read_text("ascii") == rows.replace("},{", "}\n{") + "\n"


@pytest.mark.parametrize("number", ["-0", "1e2", "100.0", "1e400", "NaN", "1" * 5_000])
def test_numbers_around_the_rows_are_read_as_ever(number: str) -> None:
    body = envelope("[]", count=number)
    kept, usual = data_of(body)["count"], data_of(body, REQUEST)["count"]

    assert (type(kept), repr(kept)) == (type(usual), repr(usual))


def test_a_code_is_a_whole_number_however_it_is_written() -> None:
    assert data_of(envelope("[]", code="-0"))["list"] == []


@pytest.mark.parametrize(
    "body",
    [
        b"5e400",
        b"[1e400]",
        b'{"code":0,"data":1e400}',
        b'{"code":0,"data":[1e400]}',
        b'{"code":0,"data":{"headers":[1e400],"lists":[1e400]}}',
        b'{"code":10000,"message":"no","details":[1e400,"a"]}',
        b'{"code":1e400}',
        b'{"code":0,"data":{"list":[1e4',
        b"\xff1e400",
        b"[" * 100_000,
    ],
)
def test_answers_of_another_shape_are_read_as_ever(body: bytes) -> None:
    def outcome(request: Request) -> str:
        try:
            return repr(data_of(body, request))
        except CoreClawError as error:
            return f"{error!r} {error.details}"

    assert outcome(EXACT) == outcome(REQUEST)


def test_texts_are_written_as_before() -> None:
    row: dict[str, Any] = {"a": "\ud83d", "b": 'caf\u00e9 "quoted" \\ \x00', "\u00e4": [True, None, {}], "c": "1e400"}

    assert written(json.dumps([row])) == json.dumps(row, separators=(",", ":")) + "\n"


def test_what_is_no_json_is_never_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        json_lines([{"a": float("inf")}])
    with pytest.raises(TypeError, match="set"):
        json_lines([{"a": set[str]()}])


JSON_NUMBERS = st.from_regex(
    re.compile(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,5})?", re.ASCII), fullmatch=True
)


@settings(max_examples=30)
@given(st.lists(st.dictionaries(st.text(), st.one_of(st.text(), st.booleans(), st.none(), JSON_NUMBERS), max_size=5)))
def test_any_row_comes_out_as_it_went_in(rows: list[dict[str, Any]]) -> None:
    number = re.compile(r"-?[0-9.eE+-]+")

    def member(value: Any) -> str:
        is_number = isinstance(value, str) and number.fullmatch(value) and JSON_NUMBER.fullmatch(value)
        return value if is_number else json.dumps(value)

    lines = ["{" + ",".join(f"{json.dumps(key)}:{member(value)}" for key, value in row.items()) + "}" for row in rows]

    assert written(f"[{','.join(lines)}]") == "".join(line + "\n" for line in lines)


JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)


async def test_rows_of_a_batch_can_be_read_from_its_files_whatever_number_they_hold(
    service: FakeService, tmp_path: Path
) -> None:
    digits = "1" * 5_000
    row = f'{{"__coreclaw_data_id__":"1","a":{digits},"b":1e400,"c":0.10000000000000000001,"d":NaN}}'
    service.script_next(RunScript(rows=1))
    service.faults.add(faults.reply(envelope(f"[{row}]")), operation="listWorkerRunResults", times=1_000)
    async with opened(service, "memory", count=1) as batch:
        await finish(batch, output=tmp_path)
        rows = [row async for row in batch.rows()]

    assert rows == [("k0", {"__coreclaw_data_id__": "1", "a": digits, "b": float("inf"), "c": 0.1, "d": None})]
