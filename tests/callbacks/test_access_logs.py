"""Callback URLs are as good as passwords, so access logs show them without what makes them so."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest
from uvicorn.logging import AccessFormatter

from coreclaw_async import CallbackHub
from coreclaw_async.callbacks import AccessLogFilter

BASE = "http://127.0.0.1:9/hooks"
SECRET = "A-secret-of-the-backend-which-nobody-knows"
ACCESS_LOGS = ["uvicorn.access", "uvicorn.asgi", "hypercorn.access", "gunicorn.access", "granian.access"]


class Atoms(dict[str, str]):
    """Values as gunicorn and hypercorn have them: a missing one is a dash."""

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name) if name in self else "-"


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def lines_of(logger: logging.Logger) -> Iterator[Lines]:
    handler, level = Lines(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@pytest.fixture(params=[None, SECRET], ids=["plain", "signed"])
def path(request: pytest.FixtureRequest) -> str:
    return CallbackHub(BASE, secret=request.param).new_url().removeprefix("http://127.0.0.1:9")


def hidden(path: str) -> str:
    return f"{path.partition('.')[0]}.<hidden>"


def test_values_of_a_record_are_hidden_and_stay_as_many(path: str) -> None:
    logger = logging.getLogger("uvicorn.access")
    with lines_of(logger) as lines:
        logger.info('%s - "%s %s HTTP/%s" %d', "127.0.0.1:5", "POST", path, "1.1", 204)

    (record,) = lines.records
    assert record.args == ("127.0.0.1:5", "POST", hidden(path), "1.1", 204)
    assert hidden(path) in AccessFormatter("%(request_line)s", use_colors=False).format(record)


def test_what_uvicorn_traces_of_a_connection_is_hidden(path: str) -> None:
    CallbackHub(BASE)
    logger, scope = logging.getLogger("uvicorn.asgi"), {"path": path, "raw_path": path.encode(), "headers": "<...>"}
    with lines_of(logger) as lines:
        logger.info("%s [%d] Started scope=%s", "127.0.0.1:5 - ASGI", 1, scope)

    (record,) = lines.records
    assert path.rpartition(".")[2] not in record.getMessage()
    assert f"'path': '{hidden(path)}'" in record.getMessage()


def test_values_that_granian_names_are_hidden(path: str) -> None:
    CallbackHub(BASE)
    logger = logging.getLogger("granian.access")
    with lines_of(logger) as lines:
        logger.info('%(addr)s - "%(method)s %(path)s %(protocol)s" %(status)d', {
            "addr": "127.0.0.1", "method": "POST", "path": path, "protocol": "HTTP/1.1", "status": 204,
        })  # fmt: skip

    (record,) = lines.records
    assert record.getMessage() == f'127.0.0.1 - "POST {hidden(path)} HTTP/1.1" 204'


@pytest.mark.parametrize("name", ["hypercorn.access", "gunicorn.access"])
def test_named_values_are_hidden_and_keep_their_class(name: str, path: str) -> None:
    logger, atoms = logging.getLogger(name), Atoms(r=f"POST {path} HTTP/1.1", U=path, s="204")
    with lines_of(logger) as lines:
        logger.info('"%(r)s" %(s)s %(U)s "%({x-y}i)s"', atoms)

    (record,) = lines.records
    assert record.getMessage() == f'"POST {hidden(path)} HTTP/1.1" 204 {hidden(path)} "-"'
    assert atoms["U"] == path, "the server's own values are left alone"


@pytest.mark.parametrize("name", ACCESS_LOGS)
def test_a_hub_protects_the_access_logs_of_servers_once(name: str) -> None:
    CallbackHub(BASE)
    CallbackHub(BASE)

    assert [type(found) for found in logging.getLogger(name).filters].count(AccessLogFilter) == 1


@pytest.mark.parametrize(
    "text",
    [
        "/runs/01KKDXV2G26BT7NH4ZQR2R4NPZ",
        "/assets/index-0123456789abcdef.min.js",
        "/a/really-long-file-name.markdown",
        "",
    ],
)
def test_other_paths_are_left_alone(text: str) -> None:
    record = logging.makeLogRecord({"msg": text, "args": (text,)})

    assert AccessLogFilter().filter(record)
    assert (record.msg, record.args) == (text, (text,))


@pytest.mark.parametrize("args", [None, (), (1, None, b"x"), {"a": 1}, ["a"], {1}, 5])
def test_any_record_is_taken(args: Any) -> None:
    record = logging.makeLogRecord({"msg": ValueError("a message may be any object"), "args": args})

    assert AccessLogFilter().filter(record)
    assert record.args == args


class Shown:
    """An object whose text is a URL, as that of an HTTP library."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        if not self.text:
            raise ValueError("it has no text")
        return self.text


@pytest.mark.parametrize(
    "form",
    [
        lambda path: path.replace(".", "%2E"),
        lambda path: path[:-5] + f"%{ord(path[-5]):X}" + path[-4:],
        lambda path: f"/log?u={quote(path, safe='')}",
        lambda path: path.encode(),
        lambda path: [path],
        lambda path: (path,),
        Shown,
    ],
)
def test_a_url_is_hidden_in_whatever_form_it_is_given(form: Callable[[str], Any], path: str) -> None:
    for members in ({"msg": "%s", "args": (form(path),)}, {"msg": Shown(str(form(path))), "args": None}):
        record = logging.makeLogRecord(members)

        assert AccessLogFilter().filter(record)
        assert path[-4:] not in record.getMessage()
        assert "<hidden>" in record.getMessage()


def test_what_has_no_text_stays_as_it_is() -> None:
    silent = Shown("")
    record = logging.makeLogRecord({"msg": silent, "args": (silent,)})

    assert AccessLogFilter().filter(record)
    assert (record.msg, record.args) == (silent, (silent,))


def test_a_url_in_a_message_is_hidden_wherever_it_stands(path: str) -> None:
    record = logging.makeLogRecord({"msg": f"a callback to {BASE[:19]}{path}?a=1, then {path}x", "args": None})

    AccessLogFilter().filter(record)

    assert path.rpartition(".")[2][:8] not in record.getMessage()
    assert record.getMessage().count("<hidden>") == 2


def text_of(record: logging.LogRecord) -> str:
    return logging.Formatter().format(record)


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize(
    ("form", "args", "shown"),
    [
        ("%20s took %5.1f ms: {}", ("GET", 7.25), "                 GET took   7.2 ms: {}"),
        ("%25d of 100%% at {}", (5,), "                        5 of 100% at {}"),
        ("{} %(a)20s", {"a": "x"}, "{}                    x"),
        ("{}?q=100%25", (), "{}?q=100%25"),
        ("{} and %s", (5,), "{} and 5"),
    ],
)
def test_no_line_with_a_url_in_its_format_is_lost(form: str, args: Any, shown: str, times: int, path: str) -> None:
    record = logging.makeLogRecord({"msg": form.format(path), "args": args})

    for _ in range(times):
        assert AccessLogFilter().filter(record)

    assert text_of(record) == shown.format(hidden(path))


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    "form",
    [
        lambda path: path,
        lambda path: f"{path}?q=100%25",
        lambda path: quote(path.replace(".", "%2E"), safe=""),
        lambda path: f"{path} {quote(quote(quote(path, safe=''), safe=''), safe='')}",
    ],
)
def test_a_filter_that_is_there_twice_loses_no_line(form: Callable[[str], Any], times: int, path: str) -> None:
    for msg, args in (("%s - %s", ("1.2.3.4", form(path))), (form(path), None), ("%(a)s", {"a": form(path)})):
        record = logging.makeLogRecord({"msg": msg, "args": args})
        for _ in range(times):
            assert AccessLogFilter().filter(record)

        assert "<hidden>" in text_of(record)
        assert path[-12:-4] not in text_of(record)


def test_what_contains_itself_is_taken(path: str) -> None:
    own: list[Any] = [path]
    own.append(own)
    named: dict[str, Any] = {"path": path}
    named["named"] = named
    for msg, args in (("%s", (own,)), ("%(own)s %(named)s", {"own": own, "named": named}), ("%s", (named, "x")[:1])):
        record = logging.makeLogRecord({"msg": msg, "args": args})

        assert AccessLogFilter().filter(record)
        assert "<hidden>" in text_of(record)
        assert path[-8:] not in text_of(record)


def test_a_url_that_only_the_line_shows_is_hidden(path: str) -> None:
    class Odd:
        def __repr__(self) -> str:
            return path

        def __str__(self) -> str:
            return "odd"

    name, _, proof = path.partition(".")
    for msg, args in (("%s.%s", (name, proof)), ("%r", (Odd(),))):
        record = logging.makeLogRecord({"msg": msg, "args": args})

        assert AccessLogFilter().filter(record)
        assert text_of(record) == hidden(path)


def test_what_a_record_has_beside_its_message_is_hidden(path: str) -> None:
    record = logging.makeLogRecord({"msg": "told", "path": path, "exc_text": f"at {path}", "status": 204})

    assert AccessLogFilter().filter(record)
    assert (record.path, record.exc_text, record.status) == (hidden(path), f"at {hidden(path)}", 204)  # type: ignore[attr-defined]


def test_values_that_cannot_be_read_or_formatted_stop_no_line(path: str) -> None:
    class Broken(dict[str, Any]):
        def items(self) -> Any:
            raise LookupError("no items")

    record = logging.makeLogRecord({"msg": "%(a)s", "args": Broken(a=1)})
    assert AccessLogFilter().filter(record)
    assert text_of(record) == "1"

    too_few = logging.makeLogRecord({"msg": "%s %s", "args": (path,)})
    assert AccessLogFilter().filter(too_few)
    assert too_few.args == (hidden(path),), "logging shows it where it says why the line cannot be written"
