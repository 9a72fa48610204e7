"""A caller's own client of httpx or httpx2 keeps what is its own, gets nothing of ours, and starts no run twice."""

from __future__ import annotations

import gzip
import logging
import sys
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from either_client import AsyncCoreClaw
from ports import reserved_port
from raw_server import RawRequest, RawServer, answering, envelope, http, serve_sockets

import coreclaw_async
from coreclaw_async import (
    AuthenticationError,
    CoreClawError,
    DownloadError,
    NoReplyError,
    OutcomeUnknownError,
    RequestNotSentError,
    ResponseTooLargeError,
    RetryPolicy,
)
from coreclaw_async._version import __version__

httpx2: Any = pytest.importorskip("httpx2")

KEY = "scraper_api_S3cr3tOfMine"
WORKER = "coreclaw/google-maps-scraper"
RUN_ID = "01KZAZ2B7T3Q0R8C784NCRW001"
QUICK = RetryPolicy(max_attempts=2, first_delay=0.01, max_delay=0.01)
ONCE = RetryPolicy(max_attempts=1)
ANSWER = envelope({"balance": "1.00", "run_slug": RUN_ID, "list": [], "scraper": [], "count": 0})

pytestmark = pytest.mark.async_client_only
by_each = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


def headers_of(request: RawRequest) -> list[tuple[str, str]]:
    """Return the names in lower case and the values, as they came."""
    lines = request.head.decode().split("\r\n")[1:]
    return [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]


def own_client(library: Any) -> Any:
    headers = {"X-Gateway": "g1", "User-Agent": "mine/1", "Authorization": "Basic x", "Content-Type": "text/odd"}
    return library.AsyncClient(
        headers={
            **headers,
            "Accept-Encoding": "br",
            "Transfer-Encoding": "chunked",
            "Proxy-Authorization": "Basic pr0xy",
            "X-HTTP-Method-Override": "POST",
        },
        params={"gw": "s3cr3t gw", "limit": "7"},
        cookies={"session": "c1"},
        auth=("me", "pa55"),
        follow_redirects=True,
        verify=False,  # Making a context takes long.
    )


@by_each
@pytest.mark.parametrize("mode", ["bearer", "api-key", "query"])
async def test_its_headers_parameters_cookies_and_user_agent_are_sent_and_ours_win(
    library: Any, mode: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with serve_sockets(answering(lambda request, server: ANSWER)) as server:
        async with own_client(library) as own:
            before = dict(own.headers), str(own.params), dict(own.cookies)
            client = AsyncCoreClaw(
                KEY,
                base_url=server.url,
                http_client=own,
                auth=mode,
                headers={"x-a": "1"},
                user_agent_suffix="end",
                retry=ONCE,
            )
            await client.workers.list_page(limit=20)
            await client.workers.start_run(WORKER, {})
            await client.store.list_page()
            assert (dict(own.headers), str(own.params), dict(own.cookies)) == before
            shown = f"{own.headers!r} {own.params!r} {vars(own)!r}"
            await client.aclose()
            assert not own.is_closed

    assert KEY not in shown
    listed, started, public = server.requests
    key = {"query": f"token={KEY}&"}.get(mode, "")
    assert listed.target == f"/api/v2/workers?offset=0&limit=20&{key}gw=s3cr3t+gw".replace("&&", "&")
    assert started.target == f"/api/v2/workers/coreclaw~google-maps-scraper/runs?{key}gw=s3cr3t+gw&limit=7"
    assert public.target == "/api/v2/store?offset=0&limit=20&gw=s3cr3t+gw"
    for request in server.requests:
        found = headers_of(request)
        sent = dict(found)
        assert len(sent) == len(found), "none is there twice"
        assert (sent["x-gateway"], sent["x-a"], sent["cookie"]) == ("g1", "1", "session=c1")
        assert sent["user-agent"] == "mine/1 end"
        assert (sent["accept"], sent["accept-encoding"]) == ("application/json", "gzip")
        assert sent.keys().isdisjoint({"transfer-encoding", "proxy-authorization", "x-http-method-override"})
        own_key = {"bearer": f"Bearer {KEY}"}.get(mode, "Basic x")
        assert sent.get("authorization") == (None if mode == "bearer" and request is public else own_key)
        assert sent.get("api-key") == (KEY if mode == "api-key" and request is not public else None)
    assert dict(headers_of(started))["content-type"] == "application/json"
    assert "content-type" not in dict(headers_of(listed))
    assert KEY not in caplog.text
    assert "s3cr3t" not in caplog.text


@by_each
async def test_what_the_caller_changes_on_it_counts_from_then_on(library: Any) -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        return envelope({"balance": "1.00"}, 0, 200, f"Set-Cookie: seen={len(server.requests)}")

    with serve_sockets(answering(answer)) as server:
        async with library.AsyncClient(verify=False) as own:
            client = AsyncCoreClaw(KEY, base_url=server.url, http_client=own, retry=ONCE)
            await client.account.get()
            own.headers["x-token"] = "new"
            own.params = {"p": "1"}
            await client.account.get()

    first, second = (dict(headers_of(request)) for request in server.requests)
    assert first["user-agent"] == f"coreclaw-async/{__version__}", "not the default of the library"
    assert ("cookie" in first, second["cookie"]) == (False, "seen=1")
    assert second["x-token"] == "new"
    assert [request.target for request in server.requests] == ["/api/v2/users/account", "/api/v2/users/account?p=1"]


@by_each
async def test_a_storage_host_gets_nothing_of_it_and_no_key(library: Any, tmp_path: Path) -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        if request.target.startswith("/rows"):
            return http(200, b"title\r\nA\r\n")
        url = f"http://localhost:{server.port}/rows.csv?sig=abc123"
        return envelope({"slug": RUN_ID, "status": "succeeded", "results": 1, "download_url": url})

    with serve_sockets(answering(answer)) as server:
        async with own_client(library) as own:
            client = AsyncCoreClaw(KEY, base_url=server.url, http_client=own, retry=ONCE)
            await client.runs.download(RUN_ID, tmp_path / "rows.csv")

    assert (tmp_path / "rows.csv").read_bytes() == b"title\r\nA\r\n"
    fetched = server.requests[-1]
    assert fetched.target == "/rows.csv?sig=abc123"
    assert set(dict(headers_of(fetched))) == {"host", "accept-encoding", "user-agent"}


FAILURES: dict[str, tuple[Callable[..., Any], type[CoreClawError]]] = {
    "a refusal": (answering(lambda request, server: envelope(None, 12001, 401)), AuthenticationError),
    "a close": (answering(lambda request, server: b""), NoReplyError),
    "too much": (answering(lambda request, server: http(200, b"x" * 10_000)), ResponseTooLargeError),
    "a gzip bomb": (
        answering(lambda request, server: http(200, gzip.compress(b" " * 10_000), "Content-Encoding: gzip")),
        ResponseTooLargeError,
    ),
}


@by_each
@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("mode", ["bearer", "query"])
async def test_a_failure_is_the_same_error_and_shows_no_key(library: Any, name: str, mode: Any) -> None:
    handle, kind = FAILURES[name]
    with serve_sockets(handle) as server:
        async with own_client(library) as own:
            client = AsyncCoreClaw(
                KEY,
                base_url=server.url,
                http_client=own,
                auth=mode,
                retry=ONCE,
                timeout=10,
                max_response_bytes=1_000,
            )
            with pytest.raises(kind) as caught:
                await client.account.get()
            with pytest.raises(AuthenticationError if name == "a refusal" else OutcomeUnknownError) as paid:
                await client.workers.start_run(WORKER, {})

    assert len(server.of("POST")) <= 1
    for error in (caught.value, paid.value):
        step: BaseException | None = error
        while step is not None:
            frames = [frame for frame, _ in traceback.walk_tb(step.__traceback__)]
            ours = [frame.f_locals for frame in frames if "/tests/" not in frame.f_code.co_filename]
            request = getattr(step, "_request", None)
            assert KEY not in f"{step!r} {vars(step)!r} {ours!r} {vars(request) if request else ''!r}"
            step = step.__cause__ or step.__context__


@by_each
@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"X-Gateway-Token": "hunter2\n"}},
        {"headers": {"X-Gateway-Token": "it's hunter2\n"}},
        {"cookies": {"session": "hunter2\n"}},
    ],
)
async def test_a_header_of_it_that_cannot_be_sent_is_not_quoted(
    library: Any, options: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with serve_sockets(answering(lambda request, server: ANSWER)) as server:
        async with library.AsyncClient(**options, verify=False) as own:
            client = AsyncCoreClaw(KEY, base_url=server.url, http_client=own, retry=ONCE)
            with pytest.raises(NoReplyError, match="LocalProtocolError: the request cannot be sent as it is") as caught:
                await client.account.get()
            with pytest.raises(OutcomeUnknownError) as paid:
                await client.workers.start_run(WORKER, {})

    for error in (caught.value, paid.value):
        assert "hunter2" not in "".join(traceback.format_exception(error))
    assert "Illegal header value <hidden>" in caplog.text
    assert "hunter2" not in caplog.text


@by_each
async def test_what_opens_a_session_is_in_no_log(library: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answer = envelope({"balance": "1.00"}, 0, 200, "Set-Cookie: session=hunter2", "X-Other: seen")
    with serve_sockets(answering(lambda request, server: answer)) as server:
        async with library.AsyncClient(verify=False) as own:
            await AsyncCoreClaw(KEY, base_url=server.url, http_client=own, retry=ONCE).account.get()
        async with AsyncCoreClaw(KEY, base_url=server.url, retry=ONCE, backend="httpx") as client:
            await client.account.get()
            logging.getLogger("hpack.hpack").debug("Adding %s", (b"cookie", b"session=hunter2"))

    assert "hunter2" not in caplog.text
    assert "(b'Set-Cookie', <hidden>), (b'X-Other', b'seen')" in caplog.text


@by_each
async def test_a_start_that_could_not_be_sent_is_retried(library: Any) -> None:
    with reserved_port() as port:
        async with library.AsyncClient(verify=False) as own:
            client = AsyncCoreClaw(KEY, base_url=f"http://127.0.0.1:{port}", http_client=own, retry=QUICK)
            for call in (client.account.get, lambda: client.workers.start_run(WORKER, {})):
                with pytest.raises(RequestNotSentError) as caught:
                    await call()
                assert not caught.value.may_have_taken_effect


@by_each
async def test_a_file_that_cannot_be_fetched_tells_no_signature(library: Any, tmp_path: Path) -> None:
    with reserved_port() as dead:

        def answer(request: RawRequest, server: RawServer) -> bytes:
            url = f"http://127.0.0.1:{dead}/rows.csv?sig=abc123"
            return envelope({"slug": RUN_ID, "status": "succeeded", "results": 1, "download_url": url})

        with serve_sockets(answering(answer)) as server:
            async with library.AsyncClient(verify=False) as own:
                client = AsyncCoreClaw(KEY, base_url=server.url, http_client=own, retry=ONCE)
                with pytest.raises(DownloadError, match="ConnectError: ") as caught:
                    await client.runs.download(RUN_ID, tmp_path / "rows.csv")

    assert caught.value.reason == "unreachable"
    assert "abc123" not in repr(caught.value)


async def test_a_library_that_is_imported_only_in_part_is_none_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may be about to import it."""
    monkeypatch.setitem(sys.modules, "httpx2", types.ModuleType("httpx2"))
    with reserved_port() as port:
        async with httpx.AsyncClient(verify=False) as own:
            client = AsyncCoreClaw(KEY, base_url=f"http://127.0.0.1:{port}", http_client=own, retry=ONCE)
            with pytest.raises(RequestNotSentError):
                await client.account.get()
            with pytest.raises(TypeError, match="http_client must be of type AsyncClient"):
                AsyncCoreClaw(KEY, http_client=httpx2.AsyncClient(verify=False))


@by_each
async def test_a_client_that_is_closed_or_that_blocks_is_told(library: Any) -> None:
    own = library.AsyncClient(verify=False)
    client = AsyncCoreClaw(KEY, http_client=own)
    await own.aclose()
    with pytest.raises(coreclaw_async.ConfigurationError, match="http_client is closed"):
        await client.account.get()
    with library.Client() as blocking, pytest.raises(TypeError, match="http_client must be of type AsyncClient"):
        AsyncCoreClaw(KEY, http_client=blocking)
