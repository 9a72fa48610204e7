"""The log: facts of each record for formatters that write JSON, no secret among them, and CORECLAW_LOG."""

from __future__ import annotations

import ast
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from either_client import AsyncCoreClaw

from coreclaw_async import AsyncCoreClaw as AsyncClient
from coreclaw_async import CoreClawError, NotFoundError, OutcomeUnknownError, RetryPolicy
from coreclaw_async import errors as errors_module
from coreclaw_async._logs import _handler, facts, logger
from coreclaw_async.testing import FakeService, RunScript, faults

PACKAGE = Path(errors_module.__file__).parent
WORKER = "coreclaw/google-maps-scraper"
INPUT = {"keywords": ["coffee"]}
USUAL = {*vars(logging.makeLogRecord({})), "message", "asctime"}


class JsonLines(logging.Handler):
    """Writes each record as JSON, with all that ``extra=`` has put into it, as formatters for machines do."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        extra = {name: value for name, value in vars(record).items() if name not in USUAL}
        self.lines.append(json.dumps({"level": record.levelname, "message": record.getMessage(), **extra}))

    def about(self, message: str) -> list[dict[str, Any]]:
        return [line for line in map(json.loads, self.lines) if message in line["message"]]


@pytest.fixture
def log() -> Iterator[JsonLines]:
    logger, handler = logging.getLogger("coreclaw_async"), JsonLines()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


async def test_a_request_is_one_record_with_its_facts(service: FakeService, log: JsonLines) -> None:
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        await client.account.get()

    (line,) = log.about("GET /api/v2/users/account")
    assert line.pop("message").startswith("GET /api/v2/users/account: success, HTTP 200")
    assert line.pop("request_id").startswith("req-")
    assert line.pop("elapsed") >= 0
    assert line == {
        "level": "DEBUG",
        "operation": "getAccount",
        "method": "GET",
        "path": "/api/v2/users/account",
        "status_code": 200,
        "code": 0,
        "attempt": 1,
        "server_address": "openapi.coreclaw.com",
        "server_port": 443,
    }


async def test_a_failure_and_its_retry_say_what_it_was(service: FakeService, log: JsonLines) -> None:
    service.faults.add(faults.status(503), operation="getAccount")
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        await client.account.get()

    (failed,) = log.about("ServiceError, HTTP 503")
    (retried,) = log.about("is retried in")
    assert (failed["error"], failed["status_code"], failed["attempt"]) == ("ServiceError", 503, 1)
    assert (retried["operation"], retried["attempt"], retried["error"]) == ("getAccount", 1, "ServiceError")
    assert retried["wait"] > 0


@pytest.mark.async_client_only
async def test_the_runs_of_a_wait_that_was_left_are_named(service: FakeService, log: JsonLines) -> None:
    service.next_script = RunScript(duration=1e6)
    async with AsyncClient(service.api_key, transport=service, clock=service.clock) as client:
        run_id = (await client.workers.start_run(WORKER, INPUT)).run_id
        with anyio.CancelScope() as scope:
            await client.runs.wait(run_id, on_update=lambda _: scope.cancel())

    (line,) = log.about("the wait for run")
    assert (line["level"], line["run_ids"]) == ("INFO", [run_id])


@pytest.mark.parametrize("auth", ["bearer", "api-key", "query"])
async def test_no_fact_is_a_secret(service: FakeService, log: JsonLines, auth: Literal["bearer", "query"]) -> None:
    service.faults.add(faults.status(503), operation="getWorkerRun")
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    key, url = service.api_key, "http://127.0.0.1:9/hooks/as-good-as-a-password"
    policy = RetryPolicy(max_attempts=2)
    async with AsyncCoreClaw(key, transport=service, clock=service.clock, auth=auth, retry=policy) as client:
        with pytest.raises(CoreClawError):
            await client.runs.get(key)  # Mixed-up arguments put the key into a path.
        with pytest.raises(NotFoundError):
            await client.runs.get("another")
        with pytest.raises(OutcomeUnknownError):
            await client.workers.start_run(WORKER, {"keywords": ["a-password"]}, callback_url=url)

    assert log.about("is retried in")[0]["operation"] == "getWorkerRun"
    for secret in (key, "a-password", "as-good-as"):
        assert secret not in "".join(log.lines)


def test_facts_leave_out_what_is_not_known() -> None:
    error = NotFoundError("no such run", status_code=404, run_id="run")

    (told,) = facts(error, run_id="other", batch=None).values()
    assert told == {"error": "NotFoundError", "status_code": 404, "run_id": "other"}
    assert facts(ValueError("odd"), key="k") == {"coreclaw_facts": {"error": "ValueError", "key": "k"}}
    assert facts() == {"coreclaw_facts": {}}


@pytest.fixture
def records_with_request_ids() -> Iterator[None]:
    before = logging.getLogRecordFactory()

    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = before(*args, **kwargs)
        record.request_id = record.run_id = "of the program"
        return record

    logging.setLogRecordFactory(make)
    yield
    logging.setLogRecordFactory(before)


@pytest.mark.usefixtures("records_with_request_ids")
async def test_facts_leave_attributes_alone_that_a_program_gives_its_records(
    service: FakeService, log: JsonLines
) -> None:
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        await client.account.get()

    (line,) = log.about("GET /api/v2/users/account")
    assert (line["request_id"], line["operation"]) == ("of the program", "getAccount")


class Broken(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise ValueError("I/O operation on closed file")


async def test_no_call_fails_by_a_log_that_is_broken(service: FakeService, log: JsonLines) -> None:
    logger, broken = logging.getLogger("coreclaw_async"), Broken()
    logger.addHandler(broken)
    try:
        async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
            started = await client.workers.start_run(WORKER, INPUT)
    finally:
        logger.removeHandler(broken)

    assert started.run_id in service.runs


@pytest.mark.parametrize("place", ["handler", "filter of a handler", "filter of httpx"])
async def test_no_call_fails_by_what_happens_to_the_lines_of_httpx(service: FakeService, place: str) -> None:
    def refuse(record: logging.LogRecord) -> bool:
        raise KeyError("user")

    library, root, fine, broken = logging.getLogger("httpx"), logging.getLogger(), JsonLines(), Broken()
    broken_filter = logging.Filter()
    broken_filter.filter = refuse  # type: ignore[method-assign]
    library.setLevel(logging.INFO)
    library.addHandler(fine)
    if place == "handler":
        root.addHandler(broken)
    elif place == "filter of a handler":
        fine.addFilter(broken_filter)
    else:
        library.addFilter(broken_filter)
    try:
        async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
            run = await client.workers.run(WORKER, INPUT)
    finally:
        library.setLevel(logging.NOTSET)
        library.removeFilter(broken_filter)
        library.removeHandler(fine)
        root.removeHandler(broken)

    assert run.run_id in service.runs
    assert bool(fine.about("/workers/")) == (place == "handler")


async def test_filters_of_the_program_see_the_lines_of_httpx(service: FakeService) -> None:
    library, fine = logging.getLogger("httpx"), JsonLines()
    without_post = logging.Filter()
    without_post.filter = lambda record: "POST" not in record.getMessage()  # type: ignore[method-assign]
    library.setLevel(logging.INFO)
    library.addHandler(fine)
    library.addFilter(without_post)
    try:
        async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
            await client.workers.run(WORKER, INPUT)
    finally:
        library.setLevel(logging.NOTSET)
        library.removeFilter(without_post)
        library.removeHandler(fine)

    assert fine.about("GET")
    assert not fine.about("POST")


def test_a_record_is_that_of_the_line_that_logged_it(log: JsonLines) -> None:
    seen: list[logging.LogRecord] = []
    log.emit = seen.append  # type: ignore[method-assign, assignment]
    logger.warning("told")
    try:
        raise ValueError("odd")
    except ValueError:
        logger.exception("told")
        logger.error("told")

    assert {(record.filename, record.funcName) for record in seen} == {
        ("test_logs.py", "test_a_record_is_that_of_the_line_that_logged_it")
    }
    assert [record.exc_info is None for record in seen] == [True, False, True]


def logging_calls() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text("utf-8")
        for node in ast.walk(ast.parse(text if "logger." in text else "")):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="logger"), attr=level)) if level not in {
                    "is_on",
                    "addHandler",
                    "setLevel",
                }:
                    yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node


def test_each_record_about_something_has_its_facts() -> None:
    calls = dict(logging_calls())
    told = {place for place, call in calls.items() if any(keyword.arg == "extra" for keyword in call.keywords)}
    about = {place for place, call in calls.items() if len(call.args) > 1 and "_logs.py" not in place}

    assert about - told == set()
    assert len(told) > 25


@contextmanager
def bare_log() -> Iterator[logging.Logger]:
    """Take away the handlers that pytest has put in place: a program that has set up no log."""
    loggers = [logging.getLogger(), logging.getLogger("coreclaw_async")]
    before = [each.handlers[:] for each in loggers]
    for each in loggers:
        each.handlers.clear()
    try:
        yield loggers[1]
    finally:
        for each, handlers in zip(loggers, before, strict=True):
            each.handlers[:] = handlers
        loggers[1].setLevel(logging.NOTSET)
        _handler.told = None


def test_the_log_is_turned_on_once_by_the_first_client(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with bare_log() as logger:
        for value in ("debug", "debug", "INFO "):
            monkeypatch.setenv("CORECLAW_LOG", value)
            AsyncClient("key")
            logger.debug("one")
            logger.info("two")

    told = [line.partition(" coreclaw_async: ") for line in capsys.readouterr().err.splitlines()]
    assert [text for _, _, text in told] == ["one", "two", "one", "two", "two"]
    assert told[0][0].endswith(" DEBUG")


@pytest.mark.parametrize("name", ["", "coreclaw_async"])
def test_another_handler_that_takes_a_record_is_enough(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CORECLAW_LOG", "debug")
    own = JsonLines()
    own.setLevel(logging.INFO)
    with bare_log() as logger:
        AsyncClient("key")
        for handler in (own, logging.NullHandler()):
            logging.getLogger(name).addHandler(handler)
        logger.debug("one")
        logger.info("two")

    assert capsys.readouterr().err.endswith(": one\n")
    assert [line["message"] for line in own.about("")] == ["two"]


def test_a_record_that_cannot_be_written_is_reported_as_by_any_handler(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CORECLAW_LOG", "debug")
    with bare_log() as logger:
        AsyncClient("key")
        logger.info("%d", "no number")

    assert "--- Logging error ---" in capsys.readouterr().err


@pytest.mark.parametrize(("value", "shown"), [("verbose", "'verbose'"), ("10", "'10'"), ("key", "<hidden>")])
def test_another_value_is_told_once_and_changes_nothing(
    value: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORECLAW_LOG", value)
    own = JsonLines()
    with bare_log() as logger:
        logger.addHandler(own)
        AsyncClient("key")
        AsyncClient("key")

        assert (logger.handlers, logger.level) == ([own], logging.NOTSET)

    (line,) = own.about("")
    assert line["message"] == f"CORECLAW_LOG must be debug or info, not {shown}; the log stays as it is"


CALL = """
import logging, sys
from coreclaw_async import CoreClaw
from coreclaw_async.testing import FakeService
{before}
service = FakeService()
for _ in range(2):
    with CoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        {after}
        client.account.get()
logging.getLogger("httpx").debug("of another library")
"""


def run_with(value: str, *, before: str = "", after: str = "pass") -> list[str]:
    """Return what a program that makes two clients and a call with each writes to standard error."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("CORECLAW_")}
    done = subprocess.run(
        [sys.executable, "-c", CALL.format(before=before, after=after)],
        env={**environment, "CORECLAW_LOG": value},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


@pytest.mark.endurance
@pytest.mark.parametrize("value", ["debug", " DEBUG\n"])
def test_the_environment_turns_the_log_on(value: str) -> None:
    lines = run_with(value)

    assert len(lines) == 2
    assert all(" DEBUG coreclaw_async: GET /api/v2/users/account: success" in line for line in lines)


@pytest.mark.endurance
@pytest.mark.parametrize("value", ["", "  ", "info"])
def test_nothing_is_written_where_nothing_is_asked_for(value: str) -> None:
    assert run_with(value) == []


@pytest.mark.endurance
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_program_with_a_log_of_its_own_gets_each_line_once(when: Literal["before", "after"]) -> None:
    lines = run_with("debug", **{when: "logging.basicConfig(format='own %(name)s %(message)s')"})

    assert [line[:33] for line in lines] == ["own coreclaw_async GET /api/v2/us"] * 2


@pytest.mark.endurance
def test_a_handler_that_takes_no_such_record_is_no_reason_for_silence() -> None:
    quiet = "handler = logging.StreamHandler(); handler.setLevel(50); logging.getLogger().addHandler(handler)"
    null = "logging.getLogger('coreclaw_async').addHandler(logging.NullHandler())"

    assert len(run_with("debug", before=f"{quiet}; {null}")) == 2


@pytest.mark.endurance
def test_another_value_stops_nothing() -> None:
    assert run_with("verbose") == ["CORECLAW_LOG must be debug or info, not 'verbose'; the log stays as it is"]


async def test_info_tells_of_a_run_its_start_its_retries_and_its_end(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    service.faults.add(faults.status(502), operation="getWorkerRun")
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        with caplog.at_level(logging.INFO, "coreclaw_async"):
            run = await client.workers.run(WORKER, INPUT)

    told = [record.getMessage() for record in caplog.records if record.name == "coreclaw_async"]
    assert told[0] == f"run {run.run_id} was started (runWorker)"
    assert told[-1] == f"run {run.run_id} has ended: succeeded"
    assert len(told) >= 2
