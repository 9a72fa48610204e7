"""What the fake service keeps besides runs: Workers, tasks, queue items, requests, callbacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field

from coreclaw_async.testing._state.scripts import RunScript


@define(kw_only=True, eq=False)
class FakeWorker:
    """
    A Worker: a scraper that can be run.

    Attributes:
        slug: Its id.
        path: ``owner/name``.
        title: Its name for people.
        description: What it does.
        properties: Its input, one description per property, in the developer format.
        extra_schema: Further members of the input schema, such as ``concurrency``.
        script: What its runs do; None for the ``default_script`` of the service.
        in_store: Whether the store lists it.
        owned: Whether the list of the caller's own Workers shows it.
        version: The one version that can run.

    Example::

        worker_id = service.add_worker("me/prices")
        worker = await client.workers.get(worker_id)
        assert worker.name == "prices"
    """

    slug: str
    path: str
    title: str
    description: str
    properties: Sequence[Mapping[str, Any]]
    extra_schema: Mapping[str, Any]
    script: RunScript | None
    in_store: bool
    owned: bool
    version: str

    @property
    def username(self) -> str:
        """The part of the path before the slash."""
        return self.path.partition("/")[0]

    @property
    def name(self) -> str:
        """The part of the path after the slash."""
        return self.path.partition("/")[2]


@define(kw_only=True, eq=False)
class FakeTask:
    """
    A saved task.

    Attributes:
        task_id: Its slug.
        number: The internal id.
        worker_id: Slug of its Worker.
        title: Its name for people.
        description: Any text.
        version: The Worker version that its runs have.
        input: The stored input, as it was sent.
        schedule: The ``schedule_*`` members that were given.
        created_at: Moment of creation in Unix seconds.
        updated_at: Moment of the last change in Unix seconds.
        run_ids: The runs started from it.

    Example::

        task = service.tasks[task_id]
        await client.tasks.start_run(task_id)
        assert len(task.run_ids) == 1
    """

    task_id: str
    number: int
    worker_id: str
    title: str
    description: str
    version: str
    input: Any = field(repr=False)
    schedule: dict[str, Any]
    created_at: int
    updated_at: int
    run_ids: list[str] = field(factory=list[str])


@define(kw_only=True, eq=False)
class FakeQueueItem:
    """
    A run that waits for its activation.

    Attributes:
        queue_ref: Its id, digits in a string.
        worker_id: Slug of its Worker.
        version: The Worker version that its run will have.
        input: The input as it was sent.
        callback_url: Where callbacks of its run go, or None.
        created_at: Moment of creation in Unix seconds.
        status: ``waiting``, or ``inactive`` once it was activated or released.
        run_id: The run it became, or None.
        release_reason: The reason given for its release.

    Example::

        item = service.queue_items[queue_id]
        await client.run_queue.activate(queue_id)
        assert item.status == "inactive"
    """

    queue_ref: str
    worker_id: str
    version: str
    input: Any = field(repr=False)
    callback_url: str | None
    created_at: int
    status: str = "waiting"
    run_id: str | None = None
    release_reason: str | None = None


@define(kw_only=True, eq=False)
class RecordedRequest:
    """
    One request that reached the fake service or its file server.

    Attributes:
        method: In capitals.
        host: Host, with the port where one is given.
        path: As sent, still percent-encoded, without the query.
        query: Decoded; the last value of a repeated name.
        headers: With names in lower case.
        body: The parsed JSON body; None without one, or if it is no JSON.
        operation: The operation id, ``download`` for the file server, None for unknown paths.
        at: When it arrived, in monotonic seconds of the service's clock.
        status: The HTTP status of the answer; None when none was sent (yet).
        fault: The names of the faults it met; None for none.
        ended_at: When its answer was ready or lost, in monotonic seconds of the service's clock; None until then.

    Example::

        await client.account.get()
        assert service.requests[-1].operation == "getAccount"
        print(service.requests[-1].path, service.requests[-1].status)
    """

    method: str
    host: str
    path: str
    query: dict[str, str] = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    body: Any = field(repr=False)
    operation: str | None
    at: float
    status: int | None = None
    fault: str | None = None
    ended_at: float | None = None


@define(kw_only=True, eq=False)
class SentCallback:
    """
    One callback that was sent.

    Attributes:
        url: Where it went.
        run_id: The run it is about.
        status: The status that it reports.
        payload: The body.
        response_status: The HTTP status of the receiver; None when it could not be reached.

    Example::

        url = "https://backend.example.com/callbacks"
        await client.workers.run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]}, callback_url=url)
        await service.deliver_callbacks()
        for callback in service.callbacks_sent:
            print(callback.run_id, callback.status, callback.response_status)
    """

    url: str
    run_id: str
    status: str
    payload: dict[str, Any]
    response_status: int | None = None
