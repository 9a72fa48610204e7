"""No local variable of any frame of any error holds the key, nor does anything that can be reached from one."""

from __future__ import annotations

import contextlib
import functools
import logging
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import httpx
import pytest
from either_client import AsyncCoreClaw
from interrupting import cancelling_once
from quick_cases import slowly
from raw_server import RawRequest, RawServer, answering, http, serve_sockets, silent

import coreclaw_async
from coreclaw_async import CoreClaw, CoreClawError, OutcomeUnknownError, RetryPolicy
from coreclaw_async._http.headers import PreparedHeaders
from coreclaw_async._wire.credentials import Credentials
from coreclaw_async.testing import FakeService, faults
from coreclaw_async.testing.faults import Fault

KEY = "scraper_api_S3cr3tOfMine"
WORKER = "coreclaw/google-maps-scraper"
INPUT = {"keywords": ["coffee"]}
EACH_MODE = slowly("mode", "query", "bearer", "api-key")
ONCE = RetryPolicy(max_attempts=1)

# The two objects that may hold the key, and what the test itself gave it to.
MAY_HOLD_IT = (Credentials, PreparedHeaders, FakeService)
NO_DATA = (type, types.ModuleType, types.BuiltinFunctionType, logging.Logger)


def parts_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what *value* consists of, as a debugger or an error report would unfold it."""
    if isinstance(value, Mapping):
        for key, member in list(value.items()):
            yield "a key", key
            yield f"[{key!r}]", member
        return
    if isinstance(value, list | tuple | set | frozenset):
        yield from ((f"[{place}]", member) for place, member in enumerate(list(value)))
        return
    if isinstance(value, functools.partial):
        yield from (("func", value.func), ("args", value.args), ("keywords", value.keywords))
        return
    if isinstance(value, types.MethodType):
        yield "__self__", value.__self__
        value = value.__func__
    if isinstance(value, types.FunctionType):
        for cell in value.__closure__ or ():
            try:
                yield "a closure", cell.cell_contents
            except ValueError:
                continue
        return
    for kind in type(value).__mro__:
        for name in getattr(kind, "__slots__", ()) if isinstance(getattr(kind, "__slots__", ()), tuple) else ():
            try:
                yield f".{name}", object.__getattribute__(value, name)
            except AttributeError:
                continue
    yield from ((f".{name}", member) for name, member in list(getattr(value, "__dict__", {}).items()))


def find_key(value: Any, path: str, seen: set[int], depth: int = 0) -> list[str]:
    """Return the paths below *value* at which the key stands."""
    if isinstance(value, str | bytes | bytearray):
        text = value if isinstance(value, str) else bytes(value).decode("latin-1")
        return [path] if KEY in text else []
    if id(value) in seen or depth > 12 or isinstance(value, (*MAY_HOLD_IT, *NO_DATA, int, float, types.NoneType)):
        return []
    seen.add(id(value))
    shown = [f"repr of {path}"] if KEY in _repr_of(value) else []
    return shown + [
        found for name, part in parts_of(value) for found in find_key(part, f"{path}{name}", seen, depth + 1)
    ]


def _repr_of(value: Any) -> str:
    try:
        return repr(value)
    except Exception:
        return ""


def leaks_of(error: BaseException | None) -> list[str]:
    """Return where the key can be found in *error*, its causes and contexts, and in all frames but those of tests."""
    leaks: list[str] = []
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    known: set[int] = set()
    while pending:
        step = pending.pop()
        if step is None or id(step) in known:
            continue
        known.add(id(step))
        pending += [step.__cause__, step.__context__]
        leaks += find_key((step.args, vars(step)), type(step).__name__, seen)
        trace = step.__traceback__
        while trace is not None:
            frame, trace = trace.tb_frame, trace.tb_next
            if "/tests/" in frame.f_code.co_filename or "coreclaw_async/testing" in frame.f_code.co_filename:
                continue
            for name, value in frame.f_locals.items():
                where = f"{frame.f_code.co_filename}:{frame.f_lineno} {name}"
                leaks += find_key(value, where, seen)
    return leaks


FAULTS: dict[str, Fault] = {
    "refused with the key in it": faults.error(12002, status=401, message=f"bad token {KEY}", details=[KEY]),
    "not found": faults.error(70001, status=404),
    "503 with the key in it": faults.status(503, body=f"upstream said {KEY}".encode()),
    "a page with the key in it": faults.reply(f"<html>{KEY}".encode()),
    "data that repeats the key": faults.edit(lambda envelope: {**envelope, "data": [KEY]}),
    "a redirect": faults.redirect(f"https://elsewhere.test/?token={KEY}"),
    "too large": faults.gzip_bomb(3_000_000),
    "no answer": faults.commit_then_drop(),
    "no connection": faults.refuse_connection(),
    "no end": faults.stall(),
    "429": faults.rate_limited(retry_after=500),
}
CALLS: dict[str, Callable[[Any, str], Any]] = {
    "runWorker": lambda client, run_id: client.workers.start_run(WORKER, INPUT),
    "getWorkerRun": lambda client, run_id: client.runs.get(run_id),
    "listWorkerRuns": lambda client, run_id: client.runs.iterate().collect(),
    "getWorkerInputSchema": lambda client, run_id: client.workers.get_input_schema(WORKER),
    "exportWorkerRunResults": lambda client, run_id: client.runs.export(run_id),
    "abortWorkerRun": lambda client, run_id: client.runs.abort(run_id),
    "createWorkerTask": lambda client, run_id: client.tasks.create(worker_id=WORKER, title="t", input=INPUT),
}


@EACH_MODE
@pytest.mark.parametrize("kind", FAULTS)
@slowly("operation", *CALLS)
async def test_no_frame_of_a_failed_call_shows_the_key(
    operation: str, kind: str, mode: Literal["bearer", "api-key", "query"]
) -> None:
    service = FakeService(api_key=KEY)
    run_id = service.add_run(WORKER, rows=3)
    service.faults.add(FAULTS[kind], operation=operation, times=99)
    async with AsyncCoreClaw(
        KEY, transport=service, clock=service.clock, auth=mode, retry=ONCE, timeout=0.1, max_response_bytes=1_000_000
    ) as client:
        with pytest.raises(CoreClawError) as caught:
            await CALLS[operation](client, run_id)

    assert leaks_of(caught.value) == []


@EACH_MODE
@pytest.mark.parametrize("kind", sorted(FAULTS.keys() - {"data that repeats the key"}))  # Any data is an answer.
async def test_no_frame_of_a_failed_request_that_the_caller_wrote_shows_the_key(
    kind: str, mode: Literal["bearer", "api-key", "query"]
) -> None:
    service = FakeService(api_key=KEY)
    path = "/api/v2/workers/coreclaw~google-maps-scraper/runs"
    for operation in ("listWorkers", "runWorker"):
        service.faults.add(FAULTS[kind], operation=operation, times=99)
    async with AsyncCoreClaw(
        KEY, transport=service, clock=service.clock, auth=mode, retry=ONCE, timeout=0.1, max_response_bytes=1_000_000
    ) as client:
        with pytest.raises(CoreClawError) as caught:
            await client.request("GET", "/api/v2/workers", query={"limit": 1})
        assert leaks_of(caught.value) == []
        with pytest.raises(CoreClawError) as caught:
            await client.request("POST", path, body={"input": {"parameters": {"custom": INPUT}}}, safety="once")
        assert leaks_of(caught.value) == []


@EACH_MODE
@slowly("way", "own connections", "a caller's client")
@slowly("end", "401", "close", "garbage", "silence")
@pytest.mark.async_client_only
@pytest.mark.both_backends
async def test_no_frame_of_a_call_that_failed_on_a_socket_shows_the_key(
    end: str, way: str, mode: Literal["bearer", "api-key", "query"]
) -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        said = {"close": b"", "garbage": b"SSH-2.0\r\n", "401": http(401, f"who is {KEY}?".encode())}
        return said[end]

    def handle(connection: Any, number: int, server: RawServer) -> None:
        if end == "silence":
            silent(connection, number, server)
        else:
            answering(answer)(connection, number, server)

    with serve_sockets(handle) as server:
        async with httpx.AsyncClient() as http_client:
            given = {} if way == "own connections" else {"http_client": http_client}
            client = AsyncCoreClaw(KEY, base_url=server.url, auth=mode, retry=ONCE, timeout=0.3, **given)  # type: ignore[arg-type]
            for call in (client.account.get, lambda: client.workers.start_run(WORKER, INPUT)):
                with pytest.raises(CoreClawError) as caught:
                    await call()
                assert leaks_of(caught.value) == []
            await client.aclose()


class MuteError(Exception):
    """An error that cannot be written down."""

    def __repr__(self) -> str:
        raise ZeroDivisionError

    __str__ = __repr__


class Quoting(httpx.AsyncBaseTransport):
    """A transport that fails in its own way, with all that it knows in the error."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        sent = httpx.Request(request.method, request.url, headers=request.headers)
        if self.kind == "HTTPStatusError":
            response = httpx.Response(500, request=sent)
            raise httpx.HTTPStatusError("500 of mine", request=sent, response=response)
        if self.kind == "RequestError with a copy":
            raise httpx.ReadError("gone", request=sent)
        if self.kind == "a note":
            error = OSError("gone")
            error.add_note(f"headers {request.headers.raw}")
            raise error
        if self.kind == "an attribute":
            error = OSError("gone")
            error.headers = request.headers.raw  # type: ignore[attr-defined]
            raise error
        if self.kind == "a text that fails":
            raise MuteError
        if self.kind == "a group":
            raise ExceptionGroup("many", [OSError(f"{request.headers.raw}")])
        if self.kind == "a context":
            try:
                raise ValueError(f"{request.headers.raw} {request.url.query!r}")
            except ValueError:
                raise OSError("gone")  # noqa: B904 - what is tested
        error = OSError("gone")
        for _ in range(30):
            outer = OSError("gone")
            outer.__cause__ = error
            error = outer
        raise error


@EACH_MODE
@pytest.mark.parametrize(
    "kind",
    [
        "HTTPStatusError",
        "RequestError with a copy",
        "a note",
        "an attribute",
        "a group",
        "a context",
        "a long chain",
        "a text that fails",
    ],
)
async def test_no_cause_of_a_callers_own_transport_shows_the_key(
    kind: str, mode: Literal["bearer", "api-key", "query"]
) -> None:
    async with AsyncCoreClaw(KEY, transport=Quoting(kind), auth=mode, retry=ONCE) as client:
        with pytest.raises(CoreClawError) as caught:
            await client.account.get()
        assert leaks_of(caught.value) == []
        with pytest.raises(CoreClawError) as caught:
            await client.workers.start_run(WORKER, INPUT)
        assert leaks_of(caught.value) == []


@pytest.mark.endurance
@pytest.mark.async_client_only
@pytest.mark.both_backends
@EACH_MODE
async def test_no_frame_of_a_cancellation_shows_the_key(mode: Literal["bearer", "api-key", "query"]) -> None:
    caught: list[BaseException] = []
    with serve_sockets(silent) as server:
        async with AsyncCoreClaw(KEY, base_url=server.url, auth=mode) as client:
            for call in (client.account.get, lambda: client.workers.start_run(WORKER, INPUT)):
                count = len(caught) + 1
                async with cancelling_once(lambda count=count: len(server.requests) == count) as scope:  # type: ignore[misc]
                    with contextlib.suppress(OutcomeUnknownError), scope:
                        try:
                            await call()
                        except BaseException as error:
                            caught.append(error)
                            raise
                assert leaks_of(caught[-1]) == []

    assert [isinstance(error, OutcomeUnknownError) for error in caught] == [False, True]


BAD_SETTINGS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "the key has a space": ((f"{KEY} x",), {}),
    "the key is bytes": ((KEY.encode(),), {}),
    "the mode is unknown": ((KEY,), {"auth": "basic"}),
    "the timeout is negative": ((KEY,), {"timeout": -1}),
    "the base URL is none": ((KEY,), {"base_url": "nowhere"}),
    "the dialect is unknown": ((KEY,), {"offset_dialect": "column"}),
    "both ways out": ((KEY,), {"transport": object(), "http_client": object()}),
    "the hook cannot be called": ((KEY,), {"on_event": 1}),
}


@pytest.mark.parametrize("make", [coreclaw_async.AsyncCoreClaw, CoreClaw])
@pytest.mark.parametrize(("args", "options"), BAD_SETTINGS.values(), ids=BAD_SETTINGS.keys())
def test_no_frame_of_a_failed_constructor_shows_the_key(
    make: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        make(*args, **options)

    assert leaks_of(caught.value) == []


@pytest.mark.parametrize("make", [coreclaw_async.AsyncCoreClaw, CoreClaw])
def test_no_frame_shows_the_key_of_the_environment(make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORECLAW_API_KEY", f"{KEY} x")
    with pytest.raises(ValueError, match="printable") as caught:
        make()

    assert leaks_of(caught.value) == []


@pytest.mark.parametrize("make", [coreclaw_async.AsyncCoreClaw, CoreClaw])
@pytest.mark.parametrize("options", [{"api_key": f"{KEY} x"}, {"api_key": KEY, "timeout": -1}, {"auth": "basic"}])
def test_no_frame_of_failed_options_shows_the_key(make: Callable[..., Any], options: dict[str, Any]) -> None:
    client = make(KEY)
    with pytest.raises((ValueError, TypeError)) as caught:
        client.with_options(**options)

    assert leaks_of(caught.value) == []


async def test_no_frame_of_a_warning_that_is_an_error_shows_the_module_of_the_caller() -> None:
    pytest.importorskip("pyarrow")
    service = FakeService(api_key=KEY)  # Which is a name of this module.
    run_id = service.add_run(WORKER, rows=[{"a": 1}, {"a": "x"}])
    async with AsyncCoreClaw(KEY, transport=service, clock=service.clock) as client:
        with pytest.raises(UserWarning, match="no common type: 'a'") as caught:
            await client.runs.iterate_results(run_id).to_arrow()

    assert leaks_of(caught.value) == []


async def test_the_search_finds_a_key_that_is_there() -> None:
    def fail(secret: Any) -> None:
        kept = functools.partial(print, secret)
        raise OSError(len(kept.args))

    code = fail.__code__.replace(co_filename="elsewhere.py")
    with pytest.raises(OSError, match="1") as caught:
        types.FunctionType(code, globals())({"a": [KEY.encode()]})

    assert len(leaks_of(caught.value)) > 1
