"""Response hooks of a caller's own client that raise: no answer is lost to them, least of all that to a start."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import anyio
import httpx
import pytest
from either_client import AsyncCoreClaw
from raw_server import RawRequest, RawServer, answering, envelope, http, serve_sockets

from coreclaw_async import (
    ConcurrencyLimitError,
    NoReplyError,
    OutcomeUnknownError,
    RateLimitedError,
    ResponseTooLargeError,
    RetryPolicy,
)

httpx2: Any = pytest.importorskip("httpx2")

WORKER = "coreclaw/google-maps-scraper"
RUN_ID = "01KZAZ2B7T3Q0R8C784NCRW001"
ONCE = RetryPolicy(max_attempts=1)
ANSWER = envelope({"run_slug": RUN_ID, "balance": "1.00", "count": 0, "list": []})

pytestmark = pytest.mark.async_client_only
by_each = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])

Hook = Callable[[Any], Awaitable[None]]


async def fail(response: Any) -> None:
    raise LookupError("no metric for s3cr3t")


async def raise_for_status(response: Any) -> None:
    response.raise_for_status()


async def read_and_fail(response: Any) -> None:
    assert (await response.aread()).startswith(b"{")
    raise LookupError("odd")


async def read_a_piece_and_fail(response: Any) -> None:
    async with aclosing(response.aiter_raw()) as pieces:
        await anext(pieces)
    raise LookupError("odd")


def client_of(own: Any, server: RawServer, **options: Any) -> AsyncCoreClaw:
    return AsyncCoreClaw("key", base_url=server.url, http_client=own, retry=ONCE, timeout=10, **options)


@by_each
@pytest.mark.parametrize("hook", [fail, read_and_fail, read_a_piece_and_fail])
@pytest.mark.parametrize("packing", ["plain", "gzip"])
async def test_a_hook_that_raises_changes_nothing(
    library: Any, hook: Hook, packing: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = ANSWER.partition(b"\r\n\r\n")[2]
    packed = http(200, gzip.compress(body), "Content-Encoding: gzip")
    with serve_sockets(answering(lambda request, server: packed if packing == "gzip" else ANSWER)) as server:
        async with library.AsyncClient(event_hooks={"response": [hook]}, verify=False) as own:
            client = client_of(own, server)
            with caplog.at_level(logging.WARNING, "coreclaw_async"):
                assert (await client.workers.start_run(WORKER, {})).run_id == RUN_ID
                assert (await client.account.get()).balance == 1

    assert [request.method for request in server.requests] == ["POST", "GET"]
    assert [record.getMessage() for record in caplog.records] == [
        f"LookupError was raised when the answer to {what} had come, and changes nothing; does a hook of http_client?"
        for what in ("POST /api/v2/workers/coreclaw~google-maps-scraper/runs", "GET /api/v2/users/account")
    ]


@by_each
async def test_a_refusal_is_the_services_word_and_not_that_of_a_hook(library: Any) -> None:
    with serve_sockets(answering(lambda request, server: envelope(None, 30003, 402))) as server:
        async with library.AsyncClient(event_hooks={"response": [raise_for_status]}, verify=False) as own:
            with pytest.raises(ConcurrencyLimitError) as caught:
                await client_of(own, server).workers.start_run(WORKER, {})

    assert not caught.value.may_have_taken_effect


@by_each
async def test_hooks_that_are_given_later_count_too_and_see_the_answer(library: Any) -> None:
    seen: list[tuple[int, bytes]] = []

    async def look(response: Any) -> None:
        seen.append((response.status_code, await response.aread()))

    with serve_sockets(answering(lambda request, server: ANSWER)) as server:
        async with library.AsyncClient(verify=False) as own:
            client = client_of(own, server)
            await client.account.get()
            own.event_hooks = {"response": [look, fail]}
            await client.account.get()
            own.event_hooks["response"].append(fail)
            await client.account.get()
            assert len(own.event_hooks["response"]) == 4, "one more than those of the caller"
            own.event_hooks["response"].remove(fail)
            own.event_hooks["response"].remove(fail)
            assert (await own.get(server.url)).status_code == 200, "his own requests have them as ever"

    assert seen == [(200, ANSWER.partition(b"\r\n\r\n")[2])] * 3


@by_each
async def test_a_hook_that_is_put_first_later_loses_no_run(library: Any) -> None:
    with serve_sockets(answering(lambda request, server: ANSWER)) as server:
        async with library.AsyncClient(verify=False) as own:
            client = client_of(own, server)
            await client.account.get()
            own.event_hooks["response"].insert(0, fail)
            assert (await client.workers.start_run(WORKER, {})).run_id == RUN_ID
            own.event_hooks["response"] = (fail,)
            assert (await client.workers.start_run(WORKER, {})).run_id == RUN_ID
            assert len(own.event_hooks["response"]) == 2, "one more than those of the caller"


@by_each
async def test_a_hook_that_is_set_while_a_start_is_under_way_loses_no_run(library: Any) -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        own.event_hooks = {"response": [fail]}
        return ANSWER

    with serve_sockets(answering(answer)) as server:
        async with library.AsyncClient(verify=False) as own:
            client = client_of(own, server)
            assert (await client.workers.start_run(WORKER, {})).run_id == RUN_ID
            assert (await client.tasks.start_run("task")).run_id == RUN_ID
            assert own.event_hooks["response"][1:] == [fail]

    assert len(server.requests) == 2


async def hear(event: str, info: dict[str, Any]) -> None:
    pass


async def set_another_trace(request: Any) -> None:
    request.extensions["trace"] = hear


async def set_other_extensions(request: Any) -> None:
    request.extensions = {"sni_hostname": "api.test"}


async def set_no_extensions(request: Any) -> None:
    request.extensions = None


async def empty_the_extensions(request: Any) -> None:
    request.extensions.clear()


@by_each
@pytest.mark.parametrize(
    "hook",
    [set_another_trace, set_other_extensions, set_no_extensions, empty_the_extensions],
    ids=lambda hook: hook.__name__,
)
async def test_a_start_is_sent_once_where_a_request_hook_takes_away_what_tells_how_far_it_has_come(
    library: Any, hook: Hook
) -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        return b"" if request.method == "POST" else ANSWER

    with serve_sockets(answering(answer)) as server:
        async with library.AsyncClient(event_hooks={"request": [hook]}, verify=False) as own:
            client = AsyncCoreClaw("key", base_url=server.url, http_client=own, timeout=3)
            with pytest.raises(OutcomeUnknownError):
                await client.workers.start_run(WORKER, {})

    assert len(server.of("POST")) == 1


async def set_another_status(response: Any) -> None:
    response.status_code = 500


async def change_the_headers(response: Any) -> None:
    response.headers.clear()
    response.headers["Retry-After"] = "60"


async def remove_the_headers(response: Any) -> None:
    del response.headers


async def remove_the_body(response: Any) -> None:
    response.stream = None


@by_each
@pytest.mark.parametrize("hook", [set_another_status, change_the_headers, remove_the_headers, remove_the_body])
async def test_a_hook_that_changes_the_answer_changes_nothing(library: Any, hook: Hook) -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        if request.method == "POST":
            return ANSWER
        return envelope({"balance": "1"}, 13000, 429, "Retry-After: 1")

    with serve_sockets(answering(answer)) as server:
        async with library.AsyncClient(event_hooks={"response": [hook]}, verify=False) as own:
            client = client_of(own, server)
            assert (await client.workers.start_run(WORKER, {})).run_id == RUN_ID
            with pytest.raises(RateLimitedError) as caught:
                await client.account.get()

    assert (caught.value.status_code, caught.value.retry_after) == (429, 1)


@by_each
async def test_a_hook_that_ends_the_program_leaves_the_run_in_the_error(library: Any) -> None:
    async def leave(response: Any) -> None:
        raise SystemExit(3)

    with serve_sockets(answering(lambda request, server: ANSWER)) as server:
        async with library.AsyncClient(event_hooks={"response": [leave]}, verify=False) as own:
            with pytest.raises(OutcomeUnknownError) as caught:
                await client_of(own, server).workers.start_run(WORKER, {})

    assert (caught.value.run_id, caught.value.candidates) == (RUN_ID, (RUN_ID,))


@by_each
async def test_a_call_that_is_cancelled_in_a_hook_names_the_run(library: Any) -> None:
    async def wait(response: Any) -> None:
        scope.cancel()
        await anyio.sleep_forever()

    with serve_sockets(answering(lambda request, server: ANSWER)) as server:
        async with library.AsyncClient(event_hooks={"response": [wait]}, verify=False) as own:
            with anyio.CancelScope() as scope, pytest.raises(OutcomeUnknownError) as caught:
                await client_of(own, server).workers.start_run(WORKER, {})

    assert caught.value.run_id == RUN_ID


@by_each
async def test_an_answer_that_breaks_off_or_is_too_large_is_none(library: Any) -> None:
    cut = ANSWER.replace(b"Content-Length: ", b"Content-Length: 9")
    for answer, limit, kind in ((cut, 10**6, NoReplyError), (ANSWER, 10, ResponseTooLargeError)):

        def handle(connection: Any, number: int, server: RawServer, answer: bytes = answer) -> None:
            connection.recv(65_536)
            connection.sendall(answer)

        with serve_sockets(handle) as server:
            async with library.AsyncClient(event_hooks={"response": [fail]}, verify=False) as own:
                with pytest.raises(kind):
                    await client_of(own, server, max_response_bytes=limit).account.get()


async def test_a_client_that_sends_in_its_own_way_returns_what_it_returns() -> None:
    class Retrying(httpx.AsyncClient):
        async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
            await super().send(request, **options)
            return await super().send(request, **options)

    def answer(request: httpx.Request) -> httpx.Response:
        answers.append(f'{{"code": 0, "data": {{"balance": "{len(answers)}"}}}}')
        return httpx.Response(200, text=answers[-1])

    answers: list[str] = []
    async with Retrying(transport=httpx.MockTransport(answer)) as own:
        client = AsyncCoreClaw("key", http_client=own, retry=ONCE)
        assert (await client.account.get()).balance == 1


async def test_a_client_that_returns_another_answer_is_believed() -> None:
    class Caching(httpx.AsyncClient):
        async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
            await super().send(request, **options)
            return httpx.Response(200, text='{"code": 0, "data": {"balance": "7"}}', request=request)

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text='{"code": 0}')

    async with Caching(transport=httpx.MockTransport(answer)) as own:
        assert (await AsyncCoreClaw("key", http_client=own, retry=ONCE).account.get()).balance == 7
        limited = AsyncCoreClaw("key", http_client=own, retry=ONCE, max_response_bytes=36)
        with pytest.raises(ResponseTooLargeError, match="more than 36 bytes"):
            await limited.account.get()
