"""Logging that a program has set up to raise: nothing of it reaches a start that is paid for, or hides its run."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from either_client import AsyncCoreClaw
from raw_server import answering, envelope, serve_sockets

from coreclaw_async._http.log_filter import _guard, failing_by_no_log
from coreclaw_async._logs import logger
from coreclaw_async.testing import FakeService

WORKER = "coreclaw/google-maps-scraper"
INPUT = {"keywords": ["coffee"]}
RUN_ID = "01KZAZ2B7T3Q0R8C784NCRW001"
LIBRARIES = ("httpx", "httpcore.connection", "httpcore.http11")


@contextmanager
def lines_of_libraries(level: int) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in (*LIBRARIES, "coreclaw_async")]
    for each in loggers:
        each.setLevel(level)
    try:
        yield
    finally:
        for each in loggers:
            each.setLevel(logging.NOTSET)


@pytest.fixture
def records_of_a_request_only() -> Iterator[None]:
    """A factory that asks for what is there in a request of the program only, as with a context variable."""
    before = logging.getLogRecordFactory()

    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
        raise LookupError("request_id")

    logging.setLogRecordFactory(make)
    yield
    logging.setLogRecordFactory(before)


@pytest.mark.usefixtures("records_of_a_request_only")
@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG])
async def test_no_start_fails_by_a_record_that_cannot_be_made(level: int) -> None:
    with (
        serve_sockets(answering(lambda request, server: envelope({"run_slug": RUN_ID}))) as server,
        lines_of_libraries(level),
    ):
        async with AsyncCoreClaw("key", base_url=server.url, timeout=10) as client:
            started = await client.workers.start_run(WORKER, INPUT)

    assert started.run_id == RUN_ID
    assert len(server.of("POST")) == 1


@pytest.mark.usefixtures("records_of_a_request_only")
async def test_what_the_program_sends_itself_still_fails_by_its_log(service: FakeService) -> None:
    AsyncCoreClaw(service.api_key)
    with lines_of_libraries(logging.INFO):
        async with httpx.AsyncClient(transport=service) as own:
            with pytest.raises(LookupError):
                await own.get("https://openapi.coreclaw.com/api/v2/store")


PROGRAM = """
import logging

class Raising(logging.Logger):
    broken = None

    def fail(self, name):
        if name == Raising.broken and self.name.partition(".")[0] in ("httpx", "httpcore", "coreclaw_async"):
            raise LookupError(name)

    def isEnabledFor(self, level):
        self.fail("isEnabledFor")
        return super().isEnabledFor(level)

    def debug(self, *args, **options):
        self.fail("debug")
        super().debug(*args, **options)

    def info(self, *args, **options):
        self.fail("info")
        super().info(*args, **options)

    def findCaller(self, *args, **options):
        self.fail("findCaller")
        return super().findCaller(*args, **options)

    def makeRecord(self, *args, **options):
        self.fail("makeRecord")
        return super().makeRecord(*args, **options)

    def handle(self, record):
        self.fail("handle")
        super().handle(record)

logging.setLoggerClass(Raising)

from coreclaw_async import CoreClaw
from coreclaw_async.testing import FakeService

logging.basicConfig(level=logging.DEBUG, stream=open("/dev/null", "w"))
service = FakeService()
for broken in ("isEnabledFor", "debug", "info", "findCaller", "makeRecord", "handle"):
    with service.serve() as server, CoreClaw(service.api_key, base_url=server.url, timeout=10) as client:
        Raising.broken = broken
        try:
            client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
            client.account.get()
        finally:
            Raising.broken = None
        for logger in ("httpx", "httpcore.http11"):
            logging.getLogger(logger).info("fine")
print(service.runs_created)
"""


def test_no_start_fails_by_the_programs_class_of_loggers() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr[-2_000:]) == ("6\n", "")


@pytest.mark.parametrize("is_sending", [True, False])
def test_a_line_of_a_library_is_still_that_of_its_caller(
    is_sending: bool, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    AsyncCoreClaw(service.api_key)
    AsyncCoreClaw(service.api_key)
    with caplog.at_level(logging.INFO, "httpx"):
        if is_sending:
            with failing_by_no_log():
                logging.getLogger("httpx").info("told")
        else:
            logging.getLogger("httpx").info("told", stacklevel=1)

    (record,) = caplog.records
    assert (record.filename, record.funcName) == (
        "test_raising_logs.py",
        "test_a_line_of_a_library_is_still_that_of_its_caller",
    )


@pytest.mark.usefixtures("records_of_a_request_only")
def test_our_own_log_never_raises() -> None:
    with lines_of_libraries(logging.DEBUG):
        logger.error("told %s", "twice")
        logger.exception("told")
        assert logger.is_on(logging.DEBUG)


def test_calls_that_a_class_of_the_program_has_made_its_own_raise_only_to_the_program() -> None:
    class Raising(logging.Logger):
        def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name is logging's
            raise LookupError("tenant")

        def info(self, msg: object, *args: object, **options: Any) -> None:
            raise LookupError("tenant")

    library = Raising("a library")
    _guard(library)
    for call in (lambda: library.isEnabledFor(logging.DEBUG), lambda: library.info("told")):
        with failing_by_no_log():
            assert not call()
        with pytest.raises(LookupError):
            call()


def test_our_own_log_is_off_where_nobody_can_say_whether_it_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(level: int) -> bool:
        raise LookupError("tenant")

    monkeypatch.setattr(logging.getLogger("coreclaw_async"), "isEnabledFor", fail)

    logger.error("told")
    assert not logger.is_on(logging.ERROR)
