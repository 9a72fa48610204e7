"""
What a client tells its ``on_event`` hook: typed events, plain data without secrets, also as ``to_dict``.

``AsyncCoreClaw(on_event=function)`` calls a function with each: calls, requests, retries, started runs, unknown
starts, polls, changes of runs, pages, items, and columns of Parquet files that became strings. With the extra
``otel``, ``AsyncCoreClaw(on_event=OpenTelemetryHook())`` makes OpenTelemetry spans of them, one for each call and
each item of a batch with its requests and runs below it, and metrics, among them ``coreclaw.runs.cost`` in US
dollars.

The log needs no hook. ``logging.getLogger("coreclaw_async")`` writes one line per request at DEBUG.
``CORECLAW_LOG=debug`` (or ``info``) shows it on standard error, where the program itself has no handler for it. Its
records carry their facts for formatters that write JSON: ``operation``, ``method``, ``path``, ``status_code``,
``code``, ``request_id``, ``attempt``, ``elapsed``, ``error``, ``run_id`` and so on, and no secrets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import attrs

from coreclaw_async._data.record import Record
from coreclaw_async.models import Run


@attrs.frozen(kw_only=True, repr=False)
class RequestSent(Record):
    """
    One attempt at a request has ended, with an answer or without.

    Attributes:
        operation: operationId of the published specification.
        method: HTTP method.
        path: Path without the query.
        attempt: Number of the attempt, from 1.
        elapsed: Seconds, the wait for a free connection included.
        status_code: HTTP status, or None without an answer.
        code: Application code, or None without one.
        request_id: The service's name for the request, or None.
        error: Name of the error class, ``Cancelled`` where the call was cancelled, or None for a success.
        server_address: Host of the service.
        server_port: Port of the service.

    Example::

        def on_event(event: Event) -> None:
            if isinstance(event, RequestSent) and event.error:
                print(event.operation, event.attempt, event.error)


        await client.with_options(on_event=on_event).account.get()
    """

    operation: str
    method: str
    path: str
    attempt: int
    elapsed: float
    status_code: int | None = None
    code: int | None = None
    request_id: str | None = None
    error: str | None = None
    server_address: str | None = None
    server_port: int | None = None


@attrs.frozen(kw_only=True, repr=False)
class RetryScheduled(Record):
    """
    A request will be retried.

    Attributes:
        operation: operationId of the published specification.
        attempt: Number of the attempt that failed, from 1.
        wait: Seconds until the next one.
        error: Name of the error class.

    Example::

        def on_event(event: Event) -> None:
            if isinstance(event, RetryScheduled):
                print(event.operation, "again in", event.wait, "s")


        await client.with_options(on_event=on_event).account.get()
    """

    operation: str
    attempt: int
    wait: float
    error: str


@attrs.frozen(kw_only=True, repr=False)
class RunStarted(Record):
    """
    A start was answered with a run id.

    Attributes:
        operation: operationId of the published specification.
        run_id: The run, which is paid for.

    Example::

        paid = []
        seen = client.with_options(on_event=lambda event: paid.append(event) if isinstance(event, RunStarted) else None)
        started = await seen.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
        assert [event.run_id for event in paid] == [started.run_id]
    """

    operation: str
    run_id: str


@attrs.frozen(kw_only=True, repr=False)
class StartUnknown(Record):
    """
    A call that starts, queues or creates something may have taken effect, and is not retried.

    Attributes:
        operation: operationId of the published specification.
        candidates: Ids of what it may have made; None when no look could be made.
        run_id: The run itself, when the broken answer still named it.

    Example::

        def on_event(event: Event) -> None:
            if isinstance(event, StartUnknown):
                print("look at", event.candidates)


        with contextlib.suppress(OutcomeUnknownError):
            await client.with_options(on_event=on_event).workers.start_run(
                "coreclaw/google-maps-scraper", {"keywords": ["a"]}
            )
    """

    operation: str
    candidates: Sequence[str] | None = attrs.field(hash=False)
    run_id: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class StartReconciled(Record):
    """
    A callback named the run of a start whose outcome had been unknown.

    Attributes:
        run_id: The run.

    Example::

        def on_event(event: Event) -> None:
            if isinstance(event, StartReconciled):
                print("it was", event.run_id)


        hub = CallbackHub("https://backend.example.com/callbacks")
        client = AsyncCoreClaw(callbacks=hub, on_event=on_event)
    """

    run_id: str


@attrs.frozen(kw_only=True, repr=False)
class RunsPolled(Record):
    """
    Runs that are waited for were looked at together.

    Attributes:
        due: Runs that were due.
        seen: Runs that were seen, including awaited ones that were not due but stood in a list that was read.
        details: Requests for one run each.
        pages: Pages of lists of runs.
        failures: Requests of both kinds that failed.

    Example::

        def on_event(event: Event) -> None:
            if isinstance(event, RunsPolled):
                print(event.due, "runs in", event.details + event.pages, "requests")


        seen = client.with_options(on_event=on_event)
        run = await seen.workers.run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
    """

    due: int
    seen: int
    details: int
    pages: int
    failures: int


@attrs.frozen(kw_only=True, repr=False)
class RunChanged(Record):
    """
    A run that is waited for was seen in another state.

    Attributes:
        run: The run as it is now.
        previous: Its status before, or None at the first look.

    Example::

        def on_event(event: Event) -> None:
            if isinstance(event, RunChanged):
                print(event.run.run_id, event.previous, event.run.status)


        seen = client.with_options(on_event=on_event)
        run = await seen.workers.run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
    """

    run: Run
    previous: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class PageRead(Record):
    """
    A page of a listing was read while iterating.

    Attributes:
        operation: operationId of the published specification.
        offset: The offset that was asked for.
        items: Items on the page.
        count: Items in the whole listing, or None when the service does not say.

    Example::

        def on_event(event: Event) -> None:
            if isinstance(event, PageRead):
                print(event.operation, event.offset, event.items, event.count)


        rows = await client.with_options(on_event=on_event).runs.iterate_results(run).collect()
    """

    operation: str
    offset: int
    items: int
    count: int | None = None


@attrs.frozen(kw_only=True, repr=False)
class BatchItemChanged(Record):
    """
    An item of a batch has another state, which its ledger has recorded.

    Attributes:
        batch: Name of the batch.
        key: The item's key.
        state: A value of ``coreclaw_async.batch.BatchItemState``.
        previous: The state before.
        attempt: Number of the attempt, from 1; 0 before the first.
        run_id: Its run, or None.

    Example::

        def on_event(event: Event) -> None:
            if isinstance(event, BatchItemChanged):
                print(event.key, event.previous, event.state, event.run_id)


        seen = client.with_options(on_event=on_event)
        async with seen.batch("weekly", ledger="sqlite:///runs.db") as batch:
            await batch.plan(
                [RunSpec(key="mate", worker_id="coreclaw/google-maps-scraper", input={"keywords": ["mate"]})]
            )
            async for outcome in batch.run():
                print(outcome.key)
    """

    batch: str
    key: str
    state: str
    previous: str
    attempt: int
    run_id: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class BatchColumnsChanged(Record):
    """
    In the Parquet file of an item's rows, columns have another type than their values, which are strings there.

    Attributes:
        batch: Name of the batch.
        key: The item's key.
        run_id: Its run.
        path: The file.
        columns: The columns, each with the reason, such as ``integer, then text``.

    Example::

        def on_event(event: Event) -> None:
            if isinstance(event, BatchColumnsChanged):
                print(event.path, dict(event.columns))


        seen = client.with_options(on_event=on_event)
    """

    batch: str
    key: str
    run_id: str
    path: Path
    columns: Mapping[str, str] = attrs.field(hash=False)


@attrs.frozen(kw_only=True, repr=False)
class CallStarted(Record):
    """
    A call of a method of the client has begun; an iterator begins with the first item that is asked for.

    What such a call calls itself is a part of it and told by no event of its own.

    Attributes:
        call: A number that no other call of this process has.
        name: Group and method, such as ``workers.run``. Of a batch: ``batch.run`` for its work, ``batch.rows`` for the
            reading of rows, also into files and frames, ``batch.resolve`` and ``batch.cancel``.

    Example::

        def on_event(event: Event) -> None:
            if isinstance(event, CallStarted):
                print(event.call, event.name)


        await client.with_options(on_event=on_event).account.get()
    """

    call: int
    name: str


@attrs.frozen(kw_only=True, repr=False)
class CallEnded(Record):
    """
    A call of a method of the client has ended.

    An iterator that fails ends its call; iterating further is another one. The call of an iterator that is left before
    its end ends when nothing refers to the iterator any more, which is told with the next call, or when a client is
    closed.

    Attributes:
        call: Its number, as in `CallStarted`.
        name: Its name, as in `CallStarted`.
        elapsed: Seconds since it began.
        error: Name of the class of the error that it ended with, or None for a success. That of a cancellation is
            ``CancelledError`` on asyncio and ``Cancelled`` on trio.

    Example::

        def on_event(event: Event) -> None:
            if isinstance(event, CallEnded):
                print(event.name, event.elapsed, event.error)


        await client.with_options(on_event=on_event).account.get()
    """

    call: int
    name: str
    elapsed: float
    error: str | None = None


Event: TypeAlias = (
    CallStarted
    | CallEnded
    | RequestSent
    | RetryScheduled
    | RunStarted
    | StartUnknown
    | StartReconciled
    | RunsPolled
    | RunChanged
    | PageRead
    | BatchItemChanged
    | BatchColumnsChanged
)
EventHook: TypeAlias = Callable[[Event], None]
