"""Calls that may cost money: sent once, and followed by a look for what they made when the outcome is unknown."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import anyio

from coreclaw_async import errors
from coreclaw_async._concurrency.calls import tell_started
from coreclaw_async._http.fence import SendWindow
from coreclaw_async._logs import facts, logger
from coreclaw_async._operations.context import Context
from coreclaw_async._wire.converter import read_model, read_object
from coreclaw_async._wire.request import (
    Request,
    Safety,
    build_body,
    build_path,
    check_bool,
    check_id,
    check_limit,
    check_offset,
    check_text,
    check_url,
    worker_input,
)
from coreclaw_async._wire.response import Answer, named_run, wrong_shape
from coreclaw_async.events import RunStarted, StartUnknown
from coreclaw_async.models import StartedRun

T = TypeVar("T")

Found = Callable[[str], None]
"""Takes the id of something that a lost answer may be about."""

FindCandidates = Callable[[Found], Awaitable[None]]
"""Reports ids as it finds them, so that they are kept when it breaks; raises when it could not see everything."""

_LOOK_SECONDS = 5.0
_LOOK_SECONDS_WHEN_CANCELLED = 1.0
# A start that waits answers after five minutes at the latest (docs, api/workers/run); half a minute is for the way.
_SYNC_SECONDS = 330.0


def once_request(operation: str, *segments: str, **members: Any) -> Request:
    """Return the request of a call that must not be sent twice."""
    return Request(
        operation=operation,
        method="POST",
        path=build_path(*segments),
        body=build_body(**members),
        safety=Safety.ONCE,
        min_timeout=min_timeout_of(members),
        callback_url=members.get("callback_url"),
    )


def input_members(
    input: Mapping[str, Any] | None, *, system: Mapping[str, Any] | None, raw_input: Any, version: str | None
) -> dict[str, Any]:
    """Return the checked body members that say what a worker is run with."""
    return {
        "input": worker_input(input, system, raw_input),
        "version": None if version is None else check_text("version", version),
    }


def start_members(
    context: Context,
    *,
    callback_url: str | None,
    is_async: bool | None = None,
    offset: int | None = None,
    limit: int | None = None,
) -> dict[str, Any]:
    """Return the checked body members that every start takes; with a hub joined, each has a URL of its own."""
    members = run_members(context, callback_url=callback_url, is_async=is_async, offset=offset, limit=limit)
    if callback_url is None and context.hub_link is not None:
        members["callback_url"] = context.hub_link.hub.new_url()
    return members


def run_members(
    context: Context, *, callback_url: str | None, is_async: bool | None, offset: int | None, limit: int | None
) -> dict[str, Any]:
    """Return the checked body members that starting and aborting take."""
    if callback_url is not None:
        if context.settings.credentials.are_in(check_text("callback_url", callback_url)):
            raise ValueError("callback_url must not hold the API key")
        check_url("callback_url", callback_url)
    return {
        "callback_url": callback_url,
        "is_async": None if is_async is None else check_bool("is_async", is_async),
        "offset": None if offset is None else check_offset(offset),
        "limit": None if limit is None else check_limit(limit),
    }


def min_timeout_of(members: Mapping[str, Any]) -> float:
    """Return how many seconds the answer to a body with *members* may take at least."""
    return _SYNC_SECONDS if members.get("is_async") is False else 0.0


async def start(context: Context, request: Request, find_candidates: FindCandidates) -> StartedRun:
    """
    Send a request that starts a run, at most once as far as the service can tell.

    Raises:
        OutcomeUnknownError: A run may have been started; its candidates are what *find_candidates* finds.
    """
    started = await create(context, request, find_candidates, _read_started)
    note_started(context, request, started.run_id)
    return started


async def send_start(context: Context, request: Request, *, deadline: float, window: SendWindow) -> StartedRun:
    """
    Send a request that starts a run, within *window*; make no look when its answer has not come by *deadline*.

    For callers that look for the run themselves, later and with more knowledge.
    """
    try:
        started = await context.transport.call(request, _read_started, deadline=deadline, window=window)
    except errors.CoreClawError as error:
        _remember(context, request, error.run_id)
        raise
    note_started(context, request, started.run_id)
    return started


async def create(context: Context, request: Request, find_candidates: FindCandidates, read: Callable[[Answer], T]) -> T:
    """Send a request that makes something, once, and return what *read* makes of the answer."""
    try:
        return await context.transport.call(request, read)
    except errors.CoreClawError as error:
        if not error.may_have_taken_effect:
            raise
        _remember(context, request, error.run_id)
        if error.candidates is None:
            await _look_for(context, request, error, find_candidates)
        context.transport.emit(
            StartUnknown(operation=request.operation, candidates=error.candidates, run_id=error.run_id)
        )
        raise


async def _look_for(
    context: Context, request: Request, error: errors.CoreClawError, find_candidates: FindCandidates
) -> None:
    """Put into *error* what may have been made: the one run whose callback came in time, else candidates."""
    is_cancelled = _was_cancelled(error)
    seconds = _LOOK_SECONDS_WHEN_CANCELLED if is_cancelled else _LOOK_SECONDS
    clock = context.clock
    began = clock.monotonic()

    async def pause() -> None:
        await clock.sleep(max(began + seconds / 2 - clock.monotonic(), 0.0))

    error.candidates = await _look_in_time(find_candidates, seconds, pause if is_cancelled else None)
    url, hub_link = request.callback_url, context.hub_link
    if url is None or hub_link is None or not hub_link.hub.owns(url):
        return
    if isinstance(error, errors.OutcomeUnknownError):
        error.callback_url = url
    left = max(seconds - (clock.monotonic() - began), 0.0)
    run_id: str | None = None
    # asyncio may cancel the task again; the error that is being raised says more than that.
    with contextlib.suppress(anyio.get_cancelled_exc_class()), anyio.CancelScope(shield=True):
        run_id = await hub_link.run_started_with(url, seconds=left, tell_later=context.transport.emit)
    if run_id is not None:
        error.run_id, error.candidates = run_id, (run_id,)


def bind_callbacks(
    context: Context, request: Request, *, run_id: str | None = None, queue_id: str | None = None
) -> None:
    """Tell the hub what the start that carried its URL was answered with."""
    if context.hub_link is not None and request.callback_url is not None:
        context.hub_link.hub.bind(request.callback_url, run_id=run_id, queue_id=queue_id)


def read_created(answer: Answer, model: type[T], data: object = ...) -> T:
    """Return the answer (or *data*, read out of it) as *model*, which has a ``request_id``."""
    made = read_model(answer, model, data)
    object.__setattr__(made, "request_id", answer.request_id)  # Nobody has seen the new object yet.
    return made


def _read_started(answer: Answer) -> StartedRun:
    """Return the run that was started; an answer that names it settles the start, whatever else is odd in it."""
    data = read_object(answer)
    run_id = named_run(data)
    if run_id is not None and is_usable_id(run_id):
        return read_created(answer, StartedRun, {**data, "run_slug": run_id})
    problem = "run_slug is missing" if run_id is None else f"run_slug is {run_id!r}, which names no run"
    raise wrong_shape(answer, problem, run_id=run_id)


def note_started(context: Context, request: Request, run_id: str) -> None:
    """Record a run that *request* has started, and tell the log, the event hook, and whoever may be interrupted."""
    try:
        _remember(context, request, run_id)
        tell_started(run_id)
        told = facts(operation=request.operation, run_id=run_id)
        logger.info("run %s was started (%s)", run_id, request.operation, extra=told)
        context.transport.emit(RunStarted(operation=request.operation, run_id=run_id))
    except BaseException as error:  # A hook or Ctrl-C may end the program; the run goes on.
        error.add_note(f"run {run_id} was started")
        raise


def _remember(context: Context, request: Request, run_id: str | None) -> None:
    """Record that the run is known, so that it is no candidate of another call, and tell the hub whose URL it was."""
    if run_id is not None:
        context.known.add(run_id)
        bind_callbacks(context, request, run_id=run_id)


def is_usable_id(run_id: str) -> bool:
    """Return whether an id that the service gave can stand in a path."""
    try:
        check_id("run_slug", run_id)
    except ValueError:
        return False
    return True


def _was_cancelled(error: BaseException) -> bool:
    cause = error.__cause__
    while cause is not None:
        if not isinstance(cause, Exception):  # A cancellation; on trio also Ctrl-C.
            return True
        cause = cause.__cause__
    return False


async def _look_in_time(
    find_candidates: FindCandidates, seconds: float, pause: Callable[[], Awaitable[None]] | None
) -> tuple[str, ...] | None:
    """
    Return what a look found in *seconds*; None when it found nothing and did not see everything.

    After a cancellation the service may be about to start the run: it is looked for again after *pause*, also where
    there was a candidate, which may be another caller's run.
    """
    found: dict[str, None] = {}
    is_whole = False
    try:
        with anyio.move_on_after(seconds, shield=True):
            await find_candidates(found.setdefault)
            is_whole = True
            if pause is not None:
                await pause()
                await find_candidates(found.setdefault)
    except anyio.get_cancelled_exc_class():
        pass  # asyncio may cancel the task again; the error that is being raised says more than that.
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not replace the error of the start
        logger.debug("the look for what a lost answer may be about broke: %s", type(error).__name__, extra=facts(error))
    return tuple(found) if found or is_whole else None
