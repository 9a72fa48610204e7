"""Headers of the caller's: added to each request to the API and to no other, whatever sends it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from either_client import AsyncCoreClaw
from raw_server import RawRequest, RawServer, answering, envelope, http, serve_sockets

import coreclaw_async
from coreclaw_async import CoreClaw, RetryPolicy
from coreclaw_async._version import __version__
from coreclaw_async.testing import FakeService

WORKER = "coreclaw/google-maps-scraper"
RUN_ID = "01KZAZ2B7T3Q0R8C784NCRW001"
ACCOUNT = envelope({"balance": "1.00"})
ONCE = RetryPolicy(max_attempts=1)
MAKERS: list[Callable[..., Any]] = [coreclaw_async.AsyncCoreClaw, CoreClaw]


def shown_by(error: BaseException) -> str:
    """Return the text of an error, and the local variables of all frames of the package that it has passed."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    ours = [frame.f_locals for frame in frames if "/coreclaw_async/" in frame.f_code.co_filename]
    assert ours
    # A client that is not ready has no repr.
    return f"{error!r} {[value for each in ours for name, value in each.items() if name != 'self']!r}"


def headers_of(request: RawRequest) -> list[tuple[str, str]]:
    """Return the names in lower case and the values, as they came."""
    lines = request.head.decode().split("\r\n")[1:]
    return [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]


@pytest.mark.both_backends
async def test_headers_and_the_suffix_are_in_reads_in_starts_and_in_public_operations() -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        return envelope({"balance": "1.00", "run_slug": RUN_ID, "list": []})

    with serve_sockets(answering(answer)) as server:
        async with AsyncCoreClaw(
            "key",
            base_url=server.url,
            headers={"X-Team": "a b\t~", "X-Empty": "", "Cookie": "gate=1"},
            user_agent_suffix="my-backend/1.2 (+https://me.test)",
            retry=ONCE,
        ) as client:
            await client.account.get()
            await client.workers.start_run(WORKER, {})
            await client.runs.abort(RUN_ID)
            await client.proxies.list_regions()

    assert len(server.requests) == 4
    for request in server.requests:
        found = headers_of(request)
        assert ("x-team", "a b\t~") in found
        assert ("x-empty", "") in found
        assert ("cookie", "gate=1") in found
        assert ("user-agent", f"coreclaw-async/{__version__} my-backend/1.2 (+https://me.test)") in found
        assert len(dict(found)) == len(found), "none is there twice"
    assert "authorization" not in dict(headers_of(server.requests[3]))


@pytest.mark.both_backends
async def test_a_copy_may_add_others_or_none() -> None:
    with serve_sockets(answering(lambda request, server: ACCOUNT)) as server:
        async with AsyncCoreClaw("key", base_url=server.url, headers={"x-a": "1"}, user_agent_suffix="me") as client:
            for copy in (client, client.with_options(timeout=5), client.with_options(headers={"x-b": "2"})):
                await copy.account.get()
            await client.with_options(headers={"x-b": "2"}).with_options(headers={}).account.get()

    seen = [{name: value for name, value in headers_of(each) if name[:2] == "x-"} for each in server.requests]
    assert seen == [{"x-a": "1"}, {"x-a": "1"}, {"x-b": "2"}, {}]
    assert {dict(headers_of(each))["user-agent"] for each in server.requests} == {f"coreclaw-async/{__version__} me"}


async def test_a_storage_host_gets_none_of_them(service: FakeService, tmp_path: Path) -> None:
    options: dict[str, Any] = {"headers": {"x-team": "a"}, "user_agent_suffix": "me"}
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, **options) as client:
        await client.runs.download(service.add_run(WORKER, rows=1), tmp_path / "rows.csv")

    for request in service.requests:
        is_api = request.operation != "download"
        assert ("x-team" in request.headers) == is_api
        assert request.headers["user-agent"].endswith(" me") == is_api
    assert [request.operation for request in service.requests][-1] == "download"


async def test_a_redirect_takes_them_nowhere() -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        return http(302, b"", f"Location: {server.url}/elsewhere")

    with serve_sockets(answering(answer)) as server:
        async with AsyncCoreClaw("key", base_url=server.url, headers={"x-team": "a"}, retry=ONCE) as client:
            with pytest.raises(coreclaw_async.CoreClawError):
                await client.account.get()

    assert {request.target for request in server.requests} == {"/api/v2/users/account"}


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "a line break": ({"x-a": "1\r\nEvil: 1"}, ValueError, r"headers\['x-a'\] must be printable ASCII on one line"),
    "a line feed at the end": ({"x-a": "1\n"}, ValueError, "one line"),
    "a NUL": ({"x-a": "1\0"}, ValueError, "printable"),
    "no ASCII": ({"x-a": "caf\xe9"}, ValueError, "printable ASCII"),
    "no latin-1": ({"x-a": "\u5496"}, ValueError, "printable ASCII"),
    "half a surrogate pair": ({"x-a": "\ud800"}, ValueError, "printable ASCII"),
    "a space at the end": ({"x-a": "1 "}, ValueError, "without spaces around"),
    "a number": ({"x-a": 1}, TypeError, r"headers\['x-a'\] must be a str, not int"),
    "None": ({"x-a": None}, TypeError, "not NoneType"),
    "bytes": ({"x-a": b"1"}, TypeError, "not bytes"),
    "a line break in a name": ({"x\r\nEvil": "1"}, ValueError, "must have names"),
    "a colon in a name": ({"x:": "1"}, ValueError, "must have names"),
    "a line feed behind a name": ({"x-a\n": "1"}, ValueError, "must have names"),
    "a name with an accent": ({"x-\xe9": "1"}, ValueError, "must have names"),
    "an empty name": ({"": "1"}, ValueError, "must have names"),
    "a long name": ({"x" * 201: "1"}, ValueError, "must have names of 1 to 200"),
    "a number as a name": ({1: "1"}, TypeError, "must have str keys, not int"),
    "two capitals": ({"X-a": "1", "x-A": "2"}, ValueError, "must not hold 'X-a' twice"),
    "pairs": ([("x-a", "1")], TypeError, "must be a mapping, not list"),
    "a string": ("x-a: 1", TypeError, "must be a mapping, not str"),
    "the key": ({"x-a": "Bearer scraper_api_mine"}, ValueError, "must not hold the API key"),
    "the key in a name": ({"scraper_api_mine": "1"}, ValueError, "must not hold the API key"),
    "the user agent": ({"User-Agent": "me"}, ValueError, "must not hold User-Agent.*user_agent_suffix"),
    **{
        name: ({name: "x"}, ValueError, f"must not hold {name}, which the client writes itself")
        for name in ("AUTHORIZATION", "api-key", "Host", "Content-Length", "Transfer-Encoding", "Proxy-Authorization")
    },
    "X-HTTP-Method-Override": ({"X-HTTP-Method-Override": "DELETE"}, ValueError, "must not hold X-HTTP"),
}


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(("headers", "kind", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_a_header_is_refused_at_once_and_not_shown(
    make: Callable[..., Any], headers: Any, kind: type[Exception], said: str
) -> None:
    sets: Any = {**headers, "x-secret": "hunter2"} if isinstance(headers, dict) else headers
    for call in (make, make("scraper_api_mine").with_options):
        with pytest.raises(kind, match=said) as caught:
            call(api_key="scraper_api_mine", headers=sets)
        assert "hunter2" not in shown_by(caught.value)
        assert "scraper_api_mine" not in str(caught.value)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("suffix", ["", " ", "a\r\nb", "caf\xe9", "x" * 201, " me", "\ud800"])
def test_what_cannot_end_a_user_agent_is_refused_at_once(make: Callable[..., Any], suffix: str) -> None:
    with pytest.raises(ValueError, match="user_agent_suffix must be 1 to 200"):
        make("key", user_agent_suffix=suffix)
    with pytest.raises(TypeError, match="user_agent_suffix must be a str, not int"):
        make("key", user_agent_suffix=1)


@pytest.mark.parametrize("suffix", ["scraper_api_mine", "by scraper_api_mine", "scraper_api_mine\n"])
@pytest.mark.parametrize("make", MAKERS)
def test_no_user_agent_holds_the_key_and_no_error_shows_it(make: Callable[..., Any], suffix: str) -> None:
    with pytest.raises(ValueError, match="user_agent_suffix must") as caught:
        make("scraper_api_mine", user_agent_suffix=suffix)

    assert "scraper_api_mine" not in str(caught.value)


def test_no_repr_shows_a_value() -> None:
    client = coreclaw_async.AsyncCoreClaw("key", headers={"x-secret": "hunter2"})

    settings = client._context.transport.settings
    assert "hunter2" not in f"{client!r} {settings!r} {client._options!r}"
    assert "x-secret" in repr(settings)
