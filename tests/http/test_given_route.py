"""``proxy=`` and ``verify=``: for all that is sent, by both backends, and without showing the password."""

from __future__ import annotations

import base64
import logging
import os
import pickle
import socket
import ssl
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from either_client import AsyncCoreClaw
from ports import reserved_port
from raw_server import RawRequest, RawServer, answering, envelope, http, read_request, reset, serve_sockets
from tls_tunnel import HOST, tls_server_context, tunnel_to

import coreclaw_async
from coreclaw_async import (
    ConfigurationError,
    CoreClaw,
    CoreClawError,
    DownloadError,
    OutcomeUnknownError,
    RequestNotSentError,
    RetryPolicy,
)
from coreclaw_async.events import Event
from coreclaw_async.testing import FakeService, RealClock, faults

WORKER = "coreclaw/google-maps-scraper"
RUN_ID = "01KZAZ2B7T3Q0R8C784NCRW001"
QUICK = RetryPolicy(max_attempts=2, first_delay=0.01, max_delay=0.01)
ONCE = RetryPolicy(max_attempts=1)
ENDED = {"slug": RUN_ID, "status": "succeeded", "results": 1}
SECRET = "pa55/w\xf6rd"
IN_URL = "pa55%2Fw%C3%B6rd"
PACKED = base64.b64encode(f"me:{SECRET}".encode()).decode()
MAKERS: list[Callable[..., Any]] = [coreclaw_async.AsyncCoreClaw, CoreClaw]


def with_password(url: str) -> str:
    return url.replace("//", f"//me:{IN_URL}@")


def assert_hides(error: BaseException) -> None:
    """Check that neither an error nor any local variable of the package that it shows holds the password."""
    step: BaseException | None = error
    while step is not None:
        shown = [repr(step), str(step), repr(vars(step))]
        shown += [repr(pickle.dumps(step))] if isinstance(step, CoreClawError) else []
        for frame, _ in traceback.walk_tb(step.__traceback__):
            if "/tests/" not in frame.f_code.co_filename:
                # A client that is not ready has no repr.
                shown += [repr(value) for name, value in frame.f_locals.items() if name != "self"]
        for form in (SECRET, IN_URL, PACKED, "pa55"):
            assert form not in "".join(shown)
        step = step.__cause__ or step.__context__


# A proxy.


@pytest.mark.both_backends
async def test_a_given_proxy_is_used_for_all_even_for_this_machine_and_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        return envelope({"balance": "1.00", "run_slug": RUN_ID})

    caplog.set_level(logging.DEBUG)
    for name in ("coreclaw_async", "httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, logger=name)
    events: list[Event] = []
    with reserved_port() as dead, serve_sockets(answering(answer)) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{dead}")
        monkeypatch.setenv("NO_PROXY", "*")
        async with AsyncCoreClaw(
            "key", base_url="http://127.0.0.1:9/v", proxy=with_password(proxy.url), retry=ONCE, on_event=events.append
        ) as client:
            await client.account.get()
            await client.with_options(timeout=5).workers.start_run(WORKER, {})
            assert "pa55" not in repr(client)

    assert [request.target for request in proxy.requests] == [
        "http://127.0.0.1:9/v/api/v2/users/account",
        "http://127.0.0.1:9/v/api/v2/workers/coreclaw~google-maps-scraper/runs",
    ]
    for request in proxy.requests:
        assert f"proxy-authorization: basic {PACKED}".lower() in request.head.decode().lower()
    assert not any(form in f"{caplog.text} {events!r}" for form in ("pa55", PACKED))


@pytest.mark.endurance
@pytest.mark.both_backends
async def test_behind_a_given_proxy_a_start_whose_answer_is_lost_is_paid_for_once(
    authority: trustme.CA, tmp_path: Path
) -> None:
    certificate = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(certificate))
    service = FakeService(clock=RealClock())
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    with service.serve() as server, serve_sockets(tunnel_to(int(server.url.rpartition(":")[2]), authority)) as proxy:
        async with AsyncCoreClaw(
            service.api_key,
            base_url=f"https://{HOST}",
            proxy=with_password(proxy.url),
            verify=certificate,
            retry=QUICK,
            timeout=20,
        ) as client:
            with pytest.raises(OutcomeUnknownError) as caught:
                await client.workers.start_run(WORKER, {"keywords": ["coffee"]})

    assert service.runs_created == 1
    assert list(caught.value.candidates or ()) == list(service.runs)
    assert {request.target for request in proxy.requests} == {f"{HOST}:443"}
    assert_hides(caught.value)


@pytest.mark.both_backends
@pytest.mark.parametrize("said", [http(407, b"who?"), b"", b"SSH-2.0\r\n\r\n"], ids=["407", "close", "garbage"])
@pytest.mark.parametrize("url", [f"https://{HOST}", "http://api.coreclaw.test"])
async def test_no_error_of_a_proxy_shows_its_password(url: str, said: bytes) -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        read_request(connection, number)
        connection.sendall(said)

    with serve_sockets(handle) as proxy:
        async with AsyncCoreClaw("key", base_url=url, proxy=with_password(proxy.url), retry=ONCE) as client:
            for call in (client.account.get, lambda: client.workers.start_run(WORKER, {})):
                with pytest.raises(CoreClawError) as caught:
                    await call()
                assert_hides(caught.value)


@pytest.mark.both_backends
async def test_a_given_proxy_that_cannot_be_reached_means_that_nothing_was_sent() -> None:
    with reserved_port() as port:
        proxy = with_password(f"http://127.0.0.1:{port}")
        async with AsyncCoreClaw("key", base_url=f"https://{HOST}", proxy=proxy, retry=ONCE) as client:
            for call in (client.account.get, lambda: client.workers.start_run(WORKER, {})):
                with pytest.raises(RequestNotSentError) as caught:
                    await call()
                assert_hides(caught.value)


async def test_files_are_fetched_through_the_given_proxy_too(tmp_path: Path) -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        if "files.test" in request.target:
            return http(200, b"title\r\nA\r\n", "Content-Type: text/csv")
        return envelope({**ENDED, "download_url": "http://files.test/rows.csv?sig=abc"})

    with serve_sockets(answering(answer)) as proxy:
        async with AsyncCoreClaw(
            "key",
            base_url="http://api.coreclaw.test",
            proxy=with_password(proxy.url),
            headers={"x-team": "a"},
            retry=ONCE,
        ) as client:
            path = await client.runs.download(RUN_ID, tmp_path / "rows.csv")

    assert path.read_bytes() == b"title\r\nA\r\n"
    asked, fetched = proxy.requests[0], proxy.requests[-1]
    assert fetched.target == "http://files.test/rows.csv?sig=abc"
    assert b"x-team" in asked.head.lower()
    assert b"x-team" not in fetched.head.lower()
    assert b"authorization: bearer" not in fetched.head.lower()


async def test_a_proxy_that_is_reached_by_https_is_trusted_as_verify_says(
    authority: trustme.CA, tmp_path: Path
) -> None:
    context = tls_server_context(authority)
    certificate = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(certificate))

    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            answering(lambda request, server: envelope({"balance": "1.00"}))(tls, number, server)

    with serve_sockets(handle) as proxy:
        url = with_password(f"https://localhost:{proxy.port}")
        options: dict[str, Any] = {"base_url": "http://api.coreclaw.test", "proxy": url, "retry": ONCE}
        async with AsyncCoreClaw("key", verify=str(certificate), **options) as client:
            assert (await client.account.get()).balance == 1
        async with AsyncCoreClaw("key", **options) as client:
            with pytest.raises(RequestNotSentError, match="certificate") as caught:
                await client.account.get()

    assert_hides(caught.value)
    assert [request.target for request in proxy.requests] == ["http://api.coreclaw.test/api/v2/users/account"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_given_proxy_that_aiohttp_cannot_use_leaves_reads_to_httpx(anyio_backend: str) -> None:
    pytest.importorskip("aiohttp")
    url = f"https://me:{IN_URL}@127.0.0.1:9"

    assert coreclaw_async.AsyncCoreClaw("key", proxy=url).backend == "httpx"
    with pytest.raises(ConfigurationError, match="given as proxy is a proxy of scheme 'https'") as caught:
        _ = coreclaw_async.AsyncCoreClaw("key", proxy=url, backend="aiohttp").backend
    assert_hides(caught.value)


BAD_PROXIES = [
    "",
    " ",
    "pa55",
    "127.0.0.1:8080",
    "http://",
    "http:///pa55",
    f"ftp://me:{IN_URL}@127.0.0.1:9",
    "http://me:pa55@127.0.0.1:99999",
    "http://me:pa55@127.0.0.1:port",
    "http://me:pa55@127.0.0.1:9/path",
    "http://me:pa55@127.0.0.1:9?pa55",
    "http://me:pa55@127.0.0.1:9#pa55",
    "http://me:pa#55/pa55@127.0.0.1:9",
    "http://me:pa55 @127.0.0.1:9",
    "http://me:pa55@[::1",
    "http://me:pa55\r\nEvil: 1@127.0.0.1:9",
    "http://me:pa55\ud800@127.0.0.1:9",
    "http://" + "pa55" * 20_000,
    "http://me:pa55@xn--0.test",
]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("proxy", BAD_PROXIES, ids=range(len(BAD_PROXIES)))
def test_what_is_no_proxy_is_refused_at_once_and_not_shown(make: Callable[..., Any], proxy: str) -> None:
    with pytest.raises(
        ConfigurationError, match="proxy must be a URL such as http://user:password@host:8080"
    ) as caught:
        make("key", proxy=proxy)

    assert_hides(caught.value)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("proxy", [5, b"http://me:pa55@127.0.0.1:9", httpx.URL("http://me:pa55@127.0.0.1:9"), {}])
def test_a_proxy_of_another_type_is_refused_and_not_shown(make: Callable[..., Any], proxy: Any) -> None:
    with pytest.raises(TypeError, match="proxy must be a str, not ") as caught:
        make("key", proxy=proxy)

    assert_hides(caught.value)


def test_a_socks_proxy_without_its_package_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(ConfigurationError, match=r"SOCKS proxy given as proxy needs socksio.*httpx\[socks\]") as caught:
        coreclaw_async.AsyncCoreClaw("key", proxy=f"socks5h://me:{IN_URL}@127.0.0.1:1080")

    assert_hides(caught.value)


# Certificates.


@pytest.mark.both_backends
@pytest.mark.parametrize("how", ["file", "path", "folder", "context", "nobody", "usual", "another"])
async def test_certificates_are_trusted_as_verify_says(how: str, authority: trustme.CA, tmp_path: Path) -> None:
    certificate = tmp_path / "ca.pem"
    (authority if how != "another" else trustme.CA()).cert_pem.write_to_path(str(certificate))
    context = ssl.create_default_context(cafile=certificate)
    folder = tmp_path / "folder"
    folder.mkdir()
    verify: Any = {
        "file": str(certificate),
        "path": certificate,
        "folder": folder,
        "context": context,
        "nobody": False,
        "usual": True,
        "another": certificate,
    }[how]
    is_trusted = how not in {"usual", "another", "folder"}
    server_context = tls_server_context(authority)

    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        with server_context.wrap_socket(connection, server_side=True) as tls:
            answering(lambda request, server: envelope({"balance": "1.00", "run_slug": RUN_ID}))(tls, number, server)

    with serve_sockets(handle) as server:
        url = f"https://{'127.0.0.1' if how == 'nobody' else 'localhost'}:{server.port}"
        async with AsyncCoreClaw("key", base_url=url, verify=verify, retry=ONCE) as client:
            for call in (client.account.get, lambda: client.workers.start_run(WORKER, {})):
                if is_trusted:
                    await call()
                    continue
                with pytest.raises(RequestNotSentError, match="certificate"):
                    await call()

    assert len(server.requests) == (2 if is_trusted else 0)


async def test_a_storage_host_is_trusted_as_verify_says(authority: trustme.CA, tmp_path: Path) -> None:
    certificate = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(certificate))
    server_context = tls_server_context(authority)

    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        def answer(request: RawRequest, server: RawServer) -> bytes:
            if request.target.startswith("/rows"):
                return http(200, b"title\r\nA\r\n")
            return envelope({**ENDED, "download_url": f"https://localhost:{server.port}/rows.csv"})

        with server_context.wrap_socket(connection, server_side=True) as tls:
            answering(answer)(tls, number, server)

    with serve_sockets(handle) as server:
        options: dict[str, Any] = {"base_url": f"https://localhost:{server.port}", "retry": ONCE}
        async with AsyncCoreClaw("key", verify=certificate, **options) as client:
            await client.runs.download(RUN_ID, tmp_path / "rows.csv")

    assert (tmp_path / "rows.csv").read_bytes() == b"title\r\nA\r\n"


@pytest.mark.parametrize("make", MAKERS)
def test_what_certificates_cannot_be_read_from_is_refused_at_once(make: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_bytes(b"")
    (tmp_path / "text.pem").write_text("no certificate")
    for path in ("", "nowhere.pem", "nul\0", "\ud800", tmp_path / "empty.pem", str(tmp_path / "text.pem"), os.devnull):
        with pytest.raises(ConfigurationError, match=r"verify=.*: no certificates can be read there: "):
            make("key", verify=path)
    with pytest.raises(ConfigurationError, match="verify=<hidden>"):
        make("scraper_api_mine", verify="scraper_api_mine")
    with pytest.raises(ValueError, match="for clients, not one for servers"):
        make("key", verify=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    for other in (None, 1, b"ca.pem", ["ca.pem"], float("nan")):
        with pytest.raises(TypeError, match=f"verify must be a bool, an .*, not {type(other).__name__}"):
            make("key", verify=other)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("options", [{"proxy": "http://me:pa55@127.0.0.1:9"}, {"verify": False}, {"verify": "ca.pem"}])
async def test_they_are_refused_beside_a_client_or_transport_of_the_callers(
    make: Callable[..., Any], options: dict[str, Any], service: FakeService
) -> None:
    with pytest.raises(ConfigurationError, match="proxy and verify exclude transport: set them where") as caught:
        make("key", transport=service, **options)
    assert_hides(caught.value)
    async with httpx.AsyncClient() as http_client:
        with pytest.raises(ConfigurationError, match="exclude http_client: set them where") as caught:
            make("key", http_client=http_client, **options)
        make("key", http_client=http_client, verify=True)
    assert_hides(caught.value)


async def test_a_download_that_fails_behind_a_proxy_shows_no_password(tmp_path: Path) -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        request = read_request(connection, number)
        while request is not None and "files.test" not in request.target:
            connection.sendall(envelope({**ENDED, "download_url": "http://files.test/rows.csv?sig=abc"}))
            request = read_request(connection, number)
        if request is not None:
            reset(connection)

    with serve_sockets(handle) as proxy:
        async with AsyncCoreClaw(
            "key", base_url="http://api.coreclaw.test", proxy=with_password(proxy.url), retry=ONCE, timeout=2
        ) as client:
            with pytest.raises(DownloadError) as caught:
                await client.runs.download(RUN_ID, tmp_path / "rows.csv")

    assert_hides(caught.value)
