"""The key is nowhere but in requests to the API's own origin."""

from __future__ import annotations

import copy
import gc
import logging
import pickle
import traceback
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import either_client
import httpx
import pytest
import trustme
from either_client import AsyncCoreClaw
from interrupting import cancelling_once
from quick_cases import slowly
from raw_server import RawRequest, RawServer, answering, http, serve_sockets
from ways import WAYS, client_by

from coreclaw_async import CoreClawError, RetryPolicy
from coreclaw_async.testing import FakeService, RealClock, RunScript, faults
from coreclaw_async.testing.faults import Fault

KEY = "scraper_api_S3cr3t+/=%41~key"
WORKER = "coreclaw/google-maps-scraper"
LIBRARIES = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.socks", "hpack.hpack", "hpack.table")
INPUT = {"keywords": ["coffee"]}
Auth = Literal["bearer", "api-key", "query"]
EACH_MODE = slowly("mode", "query", "bearer", "api-key")


def forms_of_the_key() -> set[str]:
    return {KEY, quote(KEY, safe=""), KEY.encode().hex()}


def assert_is_clean(text: str, where: str) -> None:
    for form in forms_of_the_key():
        assert form not in text, f"the key is in {where}"


def everything_about(error: BaseException | None) -> str:
    """Return all that a program could log about an error and its causes: texts, reprs, attributes, pickles."""
    texts = []
    while error is not None:
        texts += [str(error), repr(error), repr(vars(error)), "".join(traceback.format_exception(error))]
        texts.append(repr(error.args))
        if isinstance(error, CoreClawError):
            texts += [repr(pickle.dumps(error)), repr(copy.copy(error))]
        if isinstance(error, httpx.RequestError):
            texts += [str(error.request.url), repr(error.request.url), repr(dict(error.request.headers))]
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


FAULTS: dict[str, Fault] = {
    "lost": faults.commit_then_drop(),
    "reset": faults.drop_before_commit(),
    "502": faults.commit_then_status(502, body=f"<html>{KEY}</html>".encode()),
    "503": faults.status(503, body=f"upstream said {KEY} {quote(KEY, safe='')}".encode()),
    "refused": faults.error(12002, status=401, message=f"invalid token {KEY}", details=[f"token={KEY}", KEY]),
    "429": faults.rate_limited(retry_after=500),
    "truncated": faults.truncate(keep=5),
    "not json": faults.reply(f"{KEY} is not JSON".encode()),
    "html": faults.reply(f"<html>{quote(KEY, safe='')}".encode(), status=200),
    "array": faults.reply(b"[1]"),
    "echoed request id": faults.edit(lambda envelope: {**envelope, "code": 11000, "request_id": KEY}),
    "redirect": faults.redirect("https://elsewhere.test/steal"),
    "bad redirect": faults.redirect("https://[broken/"),
    "stall": faults.stall(),
    "bomb": faults.gzip_bomb(3_000_000),
    "wrong type": faults.edit(lambda envelope: {**envelope, "data": [KEY]}),
}

CALLS: dict[str, Callable[[AsyncCoreClaw, str], Any]] = {
    "runWorker": lambda client, run_id: client.workers.start_run(WORKER, INPUT),
    "getWorkerRun": lambda client, run_id: client.runs.get(run_id),
    "listWorkerRunResults": lambda client, run_id: client.runs.iterate_results(run_id).collect(),
    "exportWorkerRunResults": lambda client, run_id: client.runs.export(run_id),
    "abortWorkerRun": lambda client, run_id: client.runs.abort(run_id),
    "createWorkerTask": lambda client, run_id: client.tasks.create(worker_id=WORKER, title="t", input=INPUT),
}


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    for name in ("coreclaw_async", "httpx", "httpcore", "hpack"):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


def assert_log_is_clean(log: pytest.LogCaptureFixture) -> None:
    assert any(record.name == "coreclaw_async" for record in log.records), "the log was captured"
    for record in log.records:
        assert_is_clean(f"{record.getMessage()} {record.args!r} {record.exc_text}", f"a line of {record.name}")


@EACH_MODE
@pytest.mark.parametrize("kind", FAULTS)
@slowly("operation", *CALLS)
async def test_no_error_path_shows_the_key(
    operation: str, kind: str, mode: Auth, log: pytest.LogCaptureFixture
) -> None:
    service = FakeService(api_key=KEY)
    run_id = service.add_run(WORKER, rows=3)
    service.faults.add(FAULTS[kind], operation=operation, times=9)
    events: list[Any] = []

    async with AsyncCoreClaw(
        KEY,
        transport=service,
        clock=service.clock,
        auth=mode,
        timeout=0.1,
        max_response_bytes=1_000_000,
        on_event=events.append,
    ) as client:
        with pytest.raises(CoreClawError) as caught:
            await CALLS[operation](client, run_id)
        assert_is_clean(repr(client) + repr(vars(client)), "the client")

    assert_is_clean(everything_about(caught.value), "the error")
    assert_is_clean(repr(events), "an event")
    assert_log_is_clean(log)


async def test_a_key_in_the_place_of_a_run_is_not_shown(log: pytest.LogCaptureFixture) -> None:
    service = FakeService(api_key=KEY)
    service.faults.add(faults.edit(lambda envelope: {**envelope, "data": {"run_slug": KEY}}), operation="runWorker")
    events: list[Any] = []

    async with AsyncCoreClaw(KEY, transport=service, clock=service.clock, on_event=events.append) as client:
        with pytest.raises(CoreClawError) as caught:
            await client.workers.start_run(WORKER, INPUT)

    assert caught.value.candidates == (caught.value.run_id,) == ("<key>",)
    assert_is_clean(everything_about(caught.value), "the error")
    assert_is_clean(repr(events), "an event")
    assert_log_is_clean(log)


@EACH_MODE
@slowly("way", *WAYS)
@slowly("fault", None, faults.commit_then_drop(), faults.truncate(keep=5), faults.stall())
async def test_no_log_line_shows_the_key_over_a_socket(
    fault: Fault | None,
    mode: Auth,
    way: str,
    log: pytest.LogCaptureFixture,
    trusted: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = FakeService(api_key=KEY, clock=RealClock())
    if fault is not None:
        service.faults.add(fault, operation="runWorker")

    async with client_by(way, service, trusted, monkeypatch, auth=mode, timeout=3.0) as client:
        try:
            await client.workers.start_run(WORKER, INPUT)
        except CoreClawError as error:
            assert_is_clean(everything_about(error), "the error")

    assert service.runs_created == 1, "the key was right"
    ours = [record for record in log.records if not record.name.startswith("uvicorn")]
    for record in ours:
        assert_is_clean(f"{record.getMessage()} {record.args!r}", f"a line of {record.name}")


@pytest.mark.parametrize("mode", ["bearer", "api-key"])
async def test_no_url_holds_the_key_unless_it_was_asked_for(service: FakeService, mode: Auth) -> None:
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, auth=mode) as client:
        await client.account.get()

    assert service.requests[0].query == {}


async def test_the_query_mode_sends_the_key_in_the_query_alone(service: FakeService) -> None:
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, auth="query") as client:
        await client.runs.list_page(limit=1)

    assert service.requests[0].query == {"offset": "0", "limit": "1", "token": service.api_key}
    assert not {"authorization", "api-key"} & service.requests[0].headers.keys()


@EACH_MODE
async def test_public_operations_send_no_key(service: FakeService, mode: Auth) -> None:
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, auth=mode) as client:
        await client.store.iterate().collect()
        await client.proxies.list_regions()
        await client.workers.get_input_schema(WORKER)

    assert service.requests
    for request in service.requests:
        assert_is_clean(repr(request.headers) + repr(request.query), "a public request")
        assert not {"authorization", "api-key"} & request.headers.keys()


@EACH_MODE
@slowly("how", "http_client", "own", "transport")
async def test_downloads_send_no_key_to_the_storage_host(mode: Auth, how: str, tmp_path: Path) -> None:
    if either_client.IS_BLOCKING and how == "http_client":
        pytest.skip("the connections would be opened in one loop and closed in another")
    service = FakeService(api_key=KEY, clock=RealClock())
    run_id = service.add_run(WORKER, rows=5)

    with service.serve() as server:
        options: dict[str, Any] = {"base_url": server.url}
        http = httpx.AsyncClient(headers={"X-Own": "mine"}, cookies={"session": "mine"}, auth=("user", "password"))
        if how == "transport":
            options["transport"] = httpx.AsyncHTTPTransport()
        if how == "http_client":
            options["http_client"] = http
        async with http, AsyncCoreClaw(KEY, auth=mode, **options) as client:
            await client.runs.download(run_id, tmp_path / "rows.csv")

    downloads = [request for request in service.requests if request.operation == "download"]
    assert downloads
    for request in downloads:
        assert not {"authorization", "api-key", "cookie", "x-own"} & request.headers.keys()
        assert_is_clean(repr(request), "a foreign request")


async def test_a_redirect_is_not_followed_with_the_key(service: FakeService) -> None:
    service.faults.add(faults.redirect("https://files.coreclaw.test/steal"), operation="getAccount", times=2)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        with pytest.raises(CoreClawError) as caught:
            await client.account.get()

    assert caught.value.status_code == 307
    assert len(service.requests) == 1


async def test_a_redirect_is_not_followed_by_a_callers_own_client(service: FakeService) -> None:
    service.faults.add(faults.redirect("https://files.coreclaw.test/steal"), operation="runWorker")
    async with httpx.AsyncClient(transport=service, follow_redirects=True) as http:
        client = AsyncCoreClaw(service.api_key, http_client=http, clock=service.clock)
        with pytest.raises(CoreClawError):
            await client.workers.start_run(WORKER, INPUT)

    assert len([request for request in service.requests if request.method == "POST"]) == 1


async def test_a_callback_url_with_the_key_is_refused(client: AsyncCoreClaw, service: FakeService) -> None:
    with pytest.raises(ValueError, match="callback_url must not hold the API key") as caught:
        await client.workers.start_run(WORKER, INPUT, callback_url=f"https://me.test/?key={service.api_key}")
    with pytest.raises(ValueError, match="callback_url must not hold the API key"):
        await client.workers.start_run(WORKER, INPUT, callback_url=f"me.test/?key={service.api_key}")

    assert service.api_key not in str(caught.value)
    assert service.requests == []


async def test_signed_urls_and_inputs_are_hidden_in_reprs(client: AsyncCoreClaw, service: FakeService) -> None:
    run_id = service.add_run(WORKER, rows=1)
    task_id = service.add_task(WORKER, title="t", input={"parameters": {"custom": {"password": "hunter2"}}})

    export = await client.runs.export(run_id)
    log = await client.runs.get_log(run_id)
    task = await client.tasks.get(task_id)
    saved = await client.tasks.get_input(task_id)

    signature = export.download_url.partition("?")[2]
    assert signature
    assert signature not in repr(export)
    assert (log.all_logs_url or "").partition("?")[2] not in repr(log)
    assert "hunter2" not in repr(task) + repr(saved)


@pytest.mark.both_backends
async def test_no_log_line_shows_a_signed_url(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    service = FakeService(clock=RealClock())
    run_id = service.add_run(WORKER, rows=1)
    with service.serve() as server:
        async with AsyncCoreClaw(service.api_key, base_url=server.url) as client:
            await client.runs.download(run_id, tmp_path / "rows.csv")

    signed = [request for request in service.requests if request.operation == "download"]
    values = [value for request in signed for value in request.query.values() if len(value) > 6]
    assert values
    for record in log.records:
        if not record.name.startswith("uvicorn"):
            assert not [value for value in values if value in record.getMessage()]


async def test_a_wait_that_fails_shows_no_key(log: pytest.LogCaptureFixture) -> None:
    service = FakeService(api_key=KEY)
    service.next_script = RunScript(outcome="failed", error_message="worker broke")
    service.faults.add(faults.status(503, body=KEY.encode()), operation="getWorkerRun", times=4)
    async with AsyncCoreClaw(KEY, transport=service, clock=service.clock, retry=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(CoreClawError) as caught:
            await client.workers.run(WORKER, INPUT)

    assert_is_clean(everything_about(caught.value), "the error")
    assert_log_is_clean(log)


@pytest.mark.async_client_only
async def test_a_cancelled_start_shows_no_key(log: pytest.LogCaptureFixture) -> None:
    service = FakeService(api_key=KEY)
    service.faults.add(faults.stall(), operation="runWorker")
    async with (
        AsyncCoreClaw(KEY, transport=service, clock=service.clock, auth="query") as client,
        cancelling_once(lambda: service.runs_created) as scope,
    ):
        with scope, pytest.raises(CoreClawError) as caught:
            await client.workers.start_run(WORKER, INPUT)

    assert_is_clean(everything_about(caught.value), "the error")
    assert_log_is_clean(log)


@pytest.mark.parametrize("name", ["hpack.hpack", "httpx"])
async def test_what_a_callers_own_client_logs_holds_no_key(name: str, log: pytest.LogCaptureFixture) -> None:
    """With HTTP/2, hpack writes each header at DEBUG; with hooks of his own, httpx may write more than ours."""
    async with httpx.AsyncClient() as own:
        clients = [AsyncCoreClaw(KEY, http_client=own) for _ in range(2)]
        logging.getLogger(name).debug("Adding %s to the header table", (b"authorization", KEY.encode()))
        logging.getLogger(name).debug("Adding %s to the header table", "another")

    assert_is_clean(log.text, f"a line of {name}")
    assert "<key>" in log.text or "<hidden>" in log.text  # The latter where another client's key is in "<key>".
    assert "another" in log.text
    assert len(clients) == 2


@pytest.mark.async_client_only
async def test_the_filter_hides_addresses_and_passwords_and_breaks_no_record(log: pytest.LogCaptureFixture) -> None:
    client = AsyncCoreClaw(KEY)
    logging.getLogger("hpack.hpack").debug("Adding %s", (b":path", b"/rows?signature=abc123"))
    logging.getLogger("httpcore.socks").debug("setup %s", "auth=(b'user', b'abc123')")
    logging.getLogger("httpcore.socks").debug("setup %s", """auth=(b"us'er", b'in)abc123')""")
    monkey = logging.LogRecord("httpx", logging.INFO, "f.py", 1, "%d of mine", ("many",), None)
    (found,) = [f for f in logging.getLogger("httpx").filters if type(f).__name__ == "_KeyFilter"]

    assert found.filter(monkey)  # type: ignore[union-attr]
    assert "abc123" not in log.text
    assert "<hidden>" in log.text
    await client.aclose()


@pytest.mark.async_client_only
async def test_a_client_that_is_gone_leaves_nothing_of_its_key() -> None:
    before = [len(logging.getLogger(name).filters) for name in LIBRARIES]
    async with httpx.AsyncClient() as own:
        client = AsyncCoreClaw(KEY, http_client=own)
        kept = weakref.ref(client._context.transport.settings.credentials)
        await client.aclose()
        del client
    gc.collect()

    assert kept() is None
    assert [len(logging.getLogger(name).filters) for name in LIBRARIES] == [max(count, 1) for count in before]


SIGNED = "https://files.coreclaw.test/rows.csv?X-Signature=abc123&name=a%20b"
ODD_EXPORTS: dict[str, Fault] = {
    "the code is a text": faults.reply(f'{{"code":"0","data":{{"download_url":"{SIGNED}"}}}}'.encode()),
    "a list": faults.reply(f'["{SIGNED}"]'.encode()),
    "plain text": faults.reply(SIGNED.encode()),
    "escaped slashes": faults.reply(f'["{SIGNED}"]'.replace("/", "\\/").encode()),
    "in the message": faults.error(11000, status=400, message=f"{SIGNED} is gone", details=[SIGNED]),
    "in an error page": faults.status(500, body=f"<a href='{SIGNED}'>".encode()),
}


@pytest.mark.parametrize("fault", ODD_EXPORTS.values(), ids=ODD_EXPORTS.keys())
async def test_no_error_shows_a_signed_url(fault: Fault, service: FakeService) -> None:
    service.faults.add(fault, operation="exportWorkerRunResults", times=99)
    once = RetryPolicy(max_attempts=1)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, retry=once) as client:
        with pytest.raises(CoreClawError) as caught:
            await client.runs.export(service.add_run(WORKER, rows=1))

    assert "abc123" not in f"{caught.value} {caught.value.details!r} {caught.value!r}"
    assert "<hidden>" in f"{caught.value} {caught.value.details!r}"


@pytest.mark.parametrize("name", ["UTF-8''rows.csv", 'a "b" c', "it's"])
async def test_an_address_with_quotes_is_in_no_log(name: str, log: pytest.LogCaptureFixture) -> None:
    client = AsyncCoreClaw(KEY)
    header = (b"Location", f"https://files.test/x?filename={name}&sig=abc123".encode())
    logging.getLogger("httpcore.http11").debug("receive_response_headers.complete return_value=%r", [header])

    assert "abc123" not in log.text
    assert "https://files.test/x?<hidden>" in log.text
    await client.aclose()


@pytest.mark.both_backends
async def test_where_a_redirect_leads_is_in_no_log(log: pytest.LogCaptureFixture) -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        return http(302, b"", f"Location: {request.target}&signature=abc123", f"location: /x?token={KEY}")

    with serve_sockets(answering(answer)) as server:
        async with AsyncCoreClaw(KEY, base_url=server.url, auth="query") as client:
            with pytest.raises(CoreClawError):
                await client.account.get()

    assert "ocation" in log.text or "httpcore" not in log.text  # aiohttp logs no headers.
    assert "abc123" not in log.text
    assert_log_is_clean(log)
