"""Workers: the account's own ones, details and input schemas of any, and starting them."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from coreclaw_async._operations.calls import with_call_events
from coreclaw_async._operations.candidates import lost_queue_items, lost_runs
from coreclaw_async._operations.context import Context
from coreclaw_async._operations.lists import WORKERS
from coreclaw_async._operations.start import (
    bind_callbacks,
    create,
    input_members,
    once_request,
    read_created,
    start,
    start_members,
)
from coreclaw_async._operations.wait import RunHook, WaitOptions, start_and_wait
from coreclaw_async._paging.pager import AsyncPager, PagerOptions
from coreclaw_async._wire.converter import read_model
from coreclaw_async._wire.input_schema import read_input_schema
from coreclaw_async._wire.request import Request, build_path, check_worker_id
from coreclaw_async.models import (
    InputCheck,
    InputIssue,
    InputSchema,
    Page,
    QueuedRun,
    Run,
    StartedRun,
    Worker,
    WorkerSummary,
)
from coreclaw_async.progress import ProgressOption

if TYPE_CHECKING:
    from coreclaw_async._operations.once import RunOnce


@with_call_events("workers")
class AsyncWorkers:
    """Workers, and starting them: ``client.workers``."""

    def __init__(self, context: Context, run_once: RunOnce) -> None:
        self._context = context
        self._run_once = run_once

    async def list_page(self, *, keyword: str | None = None, offset: int = 0, limit: int = 20) -> Page[WorkerSummary]:
        """
        Return one page of the account's own workers.

        ``GET /api/v2/workers``. Reads only: retried after a failure.

        Args:
            keyword: Part of a title, id or path.
            offset: 0 to 2**63 - 1, sent as it is. What the service counts with it has changed over time: only 0 is
                certain to be the first page.
            limit: Workers a page, 1 to 100.

        Raises:
            ValueError: *offset* or *limit* is out of range.

        Example::

            page = await client.workers.list_page(limit=10)
            print([worker.path for worker in page])
        """
        return await WORKERS.read(self._context, offset=offset, limit=limit, keyword=keyword)

    def iterate(
        self,
        *,
        keyword: str | None = None,
        page_size: int = 100,
        max_items: int | None = None,
        prefetch: int = 0,
    ) -> AsyncPager[WorkerSummary]:
        """
        Return an iterator over the account's own workers.

        ``GET /api/v2/workers``, once a page. Reads only: retried after a failure.

        Args:
            keyword: Part of a title, id or path.
            page_size: Workers a page, 1 to 100.
            max_items: Most workers in all, 1 or more; None for all.
            prefetch: Has no effect here: the service does not say how many workers there are.

        Raises:
            PaginationError: The pages that came do not add up to one list.
            ValueError: A number is out of range.

        Example::

            async for worker in client.workers.iterate():
                print(worker.path, worker.title)
        """
        options = PagerOptions(page_size=page_size, max_items=max_items, prefetch=prefetch)
        return WORKERS.pager(self._context, options, keyword=keyword)

    async def get(self, worker_id: str) -> Worker:
        """
        Return one worker.

        ``GET /api/v2/workers/{workerId}``. Reads only: retried after a failure.

        Args:
            worker_id: The worker's id, ``owner/name`` or ``owner~name``.

        Raises:
            NotFoundError: There is no such worker.
            ValueError: *worker_id* is empty or cannot stand in a path.

        Example::

            worker = await client.workers.get("coreclaw/google-maps-scraper")
            print(worker.version, worker.readme)
        """
        request = Request(
            operation="getWorker",
            method="GET",
            path=build_path("workers", check_worker_id("worker_id", worker_id)),
        )
        return await self._context.transport.call(request, functools.partial(read_model, model=Worker))

    async def get_input_schema(self, worker_id: str) -> InputSchema:
        """
        Return what a worker takes as input, whichever of its two published shapes the schema has.

        ``GET /api/v2/workers/{workerId}/input-schema``. Needs no key and sends none. Reads only: retried after a
        failure.

        Args:
            worker_id: The worker's id, ``owner/name`` or ``owner~name``.

        Raises:
            NotFoundError: There is no such worker.
            ValueError: *worker_id* is empty or cannot stand in a path.

        Example::

            schema = await client.workers.get_input_schema("coreclaw/google-maps-scraper")
            print([member.name for member in schema.properties if member.required])
        """
        request = Request(
            operation="getWorkerInputSchema",
            method="GET",
            path=build_path("workers", check_worker_id("worker_id", worker_id), "input-schema"),
            is_public=True,
        )
        return await self._context.transport.call(request, read_input_schema)

    async def check_input(
        self, worker_id: str, input: Mapping[str, Any] | None, *, version: str | None = None
    ) -> InputCheck:
        """
        Compare an input with the schema of its worker, before a run is paid for; nothing is started.

        ``GET /api/v2/workers/{workerId}/input-schema``, once. Needs no key and sends none. Reads only: retried after a
        failure.

        Errors are only what fails or is paid for in vain, as far as that is documented: a required member that is
        missing or empty, a value that is no array or object where only that is allowed, a list that cannot be split
        into tasks, an input that is already wrapped as the service takes it. All else is a warning, such as a value
        that is no option, as the service runs many inputs that contradict their schema. Of a very large input only the
        first items are checked, which a note says.

        Args:
            worker_id: The worker's id, ``owner/name`` or ``owner~name``.
            input: The worker's own input, as `start_run` takes it.
            version: The version that is to run; the schema is that of the newest, so with one there are only warnings
                about the input. ``latest`` is an error, as it is refused. None for the newest.

        Returns:
            Issues, and the number of tasks. Without a schema that can be had and read there is no error but a note, or
            a warning when the service knows no such worker, which may be private. A broken answer is asked for again
            until the client's ``timeout``, 60 s, before it counts as one that cannot be read.

        Raises:
            ValueError: *worker_id*, *version* or *input* is what `start_run` refuses before it sends anything.
            TypeError: The same.

        Example::

            checked = await client.workers.check_input("coreclaw/google-maps-scraper", {"keywords": []})
            print(checked.ok, [issue.message for issue in checked.issues])
        """
        from coreclaw_async._wire import input_check

        worker_id = check_worker_id("worker_id", worker_id)
        members = input_members(input, system=None, raw_input=None, version=version)
        given = input_check.sent_input(members["input"])
        schema: InputSchema | InputIssue
        try:
            schema = await self.get_input_schema(worker_id)
        except input_check.NO_SCHEMA as error:
            schema = input_check.no_schema(error)
        return input_check.check_input(worker_id, schema, given, version=version)

    async def input_type(self, worker_id: str) -> str:
        """
        Return a Python module that defines what a worker takes as input, as a ``TypedDict``.

        ``GET /api/v2/workers/{workerId}/input-schema``, once. Needs no key and sends none. Reads only: retried after a
        failure. The type is named after the worker: ``GoogleMapsScraperInput``. Nothing that the schema says can become
        code. Members of an unknown type are ``Any``.

        Args:
            worker_id: The worker's id, ``owner/name`` or ``owner~name``.

        Raises:
            NotFoundError: There is no such worker.
            InvalidResponseError: The service sent no schema that can be read.
            ValueError: *worker_id* is empty or cannot stand in a path.

        Example::

            module = await client.workers.input_type("coreclaw/google-maps-scraper")
            Path("places_input.py").write_text(module, encoding="utf-8")
        """
        from coreclaw_async._wire.input_type import write_input_type

        schema = await self.get_input_schema(worker_id)
        return write_input_type(worker_id, schema)

    async def start_run(
        self,
        worker_id: str,
        input: Mapping[str, Any] | None = None,
        *,
        system: Mapping[str, Any] | None = None,
        raw_input: Any = None,
        version: str | None = None,
        callback_url: str | None = None,
        is_async: bool = True,
        offset: int | None = None,
        limit: int | None = None,
    ) -> StartedRun:
        """
        Start a run, which costs money, and return its id.

        ``POST /api/v2/workers/{workerId}/runs``. Starts at most one run: retried only when the first send certainly did
        nothing (it never left, or was refused for its rate).

        Args:
            worker_id: The worker's id, ``owner/name`` or ``owner~name``.
            input: The worker's own input; sent as ``input.parameters.custom``.
            system: Settings of the platform such as ``{"proxy_region": "US"}``; sent as ``input.parameters.system``.
            raw_input: The whole ``input`` member, sent as it is, instead of *input* and *system*.
            version: A concrete version such as ``v1.2.6``; None for the newest. ``latest`` is refused for real workers.
            callback_url: Where the service posts changes of the run; None for a URL of the client's hub, if it has one.
            is_async: False to have the service wait for the end, five minutes at most; the call may then take 330 s.
            offset: With ``is_async=False``, which rows the answer holds: 0 to 2**63 - 1.
            limit: With ``is_async=False``, how many rows the answer holds: 1 to 100.

        Raises:
            OutcomeUnknownError: A run may have been started, and it is not known which; see its candidates. Also raised
                instead of a cancellation after the request was sent, because the run would be lost otherwise; after
                Ctrl-C in `CoreClaw` it is the ``__cause__`` of the `KeyboardInterrupt`. The look for candidates may
                take five seconds more than the client's ``timeout``.
            InsufficientBalanceError: The balance does not cover the run.
            ConcurrencyLimitError: The plan's number of running runs is reached.
            RunOperationError: The service could not run the worker; a run may exist all the same, see its candidates.
            WorkerUnavailableError: That version cannot be started.
            NotFoundError: There is no such worker.
            InvalidArgumentError: The service refused the input.
            ValueError: An argument is out of range, both *input* and *raw_input* were given, or the input holds a
                number or a string that JSON cannot hold; the message names it, as in ``input.keywords[3]``.
            TypeError: The input holds a key that is not a str, or an object that JSON cannot hold.

        Example::

            started = await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
            print(started.run_id)
        """
        worker_id = check_worker_id("worker_id", worker_id)
        request = once_request(
            "runWorker",
            "workers",
            worker_id,
            "runs",
            **input_members(input, system=system, raw_input=raw_input, version=version),
            **start_members(self._context, callback_url=callback_url, is_async=is_async, offset=offset, limit=limit),
        )
        return await start(self._context, request, lost_runs(self._context, worker_id))

    async def run(
        self,
        worker_id: str,
        input: Mapping[str, Any] | None = None,
        *,
        system: Mapping[str, Any] | None = None,
        raw_input: Any = None,
        version: str | None = None,
        callback_url: str | None = None,
        wait_for_slot: bool = False,
        timeout: float | None = None,
        check: bool = True,
        on_update: RunHook | None = None,
        on_cancel: Literal["leave", "abort"] = "leave",
        progress: ProgressOption = False,
    ) -> Run:
        """
        Start a run, which costs money, and wait for its end.

        Sends what `start_run` sends, once, and then what `runs.wait` sends. Every error after the start has the run's
        id.

        Args:
            worker_id: The worker's id, ``owner/name`` or ``owner~name``.
            input: The worker's own input, as for `start_run`.
            system: Settings of the platform such as ``{"proxy_region": "US"}``.
            raw_input: The whole ``input`` member, sent as it is, instead of *input* and *system*.
            version: A concrete version such as ``v1.2.6``; None for the newest.
            callback_url: Where the service posts changes of the run; None for a URL of the client's hub, if it has one.
            wait_for_slot: Whether a start that the plan has no room for (30003: nothing was started) is retried, at
                the pace of the poll schedule and in the order of the calls, until *timeout*.
            timeout: Seconds for the wait, above 0, and with *wait_for_slot* for the start too. None to wait as long as
                it takes. The run goes on after that.
            check: Whether an end without success is an error; otherwise the run is returned whatever its end.
            on_update: As in `runs.wait`.
            on_cancel: What to do with the run when this call ends before it: ``leave`` it, or ``abort`` it.
            progress: As in `runs.wait`.

        Raises:
            OutcomeUnknownError: A run may have been started, and it is not known which; see its ``candidates``.
            InsufficientBalanceError: The balance does not cover the run.
            ConcurrencyLimitError: The plan has no room for the run; nothing was started.
            RunFailedError: The run failed; the end of its log is in the error.
            RunAbortedError: The run was aborted.
            WaitTimeoutError: *timeout* has passed, and the run goes on.
            CoreClawError: Anything else that `start_run` or `runs.wait` raises. After the start it has the run's id.
            ValueError: An argument is out of range, or both *input* and *raw_input* were given; nothing was sent.
            TypeError: An argument is of the wrong type; nothing was sent.

        Example::

            run = await client.workers.run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]}, timeout=900)
            print(run.status, run.result_count, run.usage)
        """
        return await start_and_wait(
            self._context,
            lambda: self.start_run(
                worker_id, input, system=system, raw_input=raw_input, version=version, callback_url=callback_url
            ),
            WaitOptions(timeout=timeout, check=check, on_update=on_update, on_cancel=on_cancel, progress=progress),
            wait_for_slot=wait_for_slot,
        )

    async def run_once(
        self,
        key: str,
        worker_id: str,
        input: Mapping[str, Any],
        *,
        ledger: str | os.PathLike[str] | None = None,
        system: Mapping[str, Any] | None = None,
        version: str | None = None,
        exclusive: bool = False,
        account: str | None = None,
        wait: bool = True,
        timeout: float | None = None,
        check: bool = True,
        on_update: RunHook | None = None,
        on_cancel: Literal["leave", "abort"] = "leave",
        progress: ProgressOption = False,
    ) -> Run:
        """
        Start a run that belongs to a key, wait for its end and return it; later calls return the same run.

        A notebook cell, a cron line or a web request that is made again pays nothing: a key has one run, even if the
        process was killed in between. Calls at the same time, also in several processes, wait for the one run. It is
        recorded in *ledger* as a batch of one item, named ``once:`` and the key, which `client.batch` can look at. A
        key whose run has failed keeps it, and each call raises its error again without paying: give another key for
        another run. A start that the service has refused cost nothing, so the next call tries it again. Only a ledger
        that is lost, or whose batch was pruned, has forgotten the key: the next call pays then.

        ``POST /api/v2/workers/{workerId}/runs`` once, never retried when it may have had an effect; reads as in a batch
        and in `runs.wait`. While the plan has no room, or the service cannot be used for up to half an hour, the start
        waits. The starts of one worker through one ledger are sent one after another: one that is not answered holds up
        those of other keys, too, for about 80 s, until it is found out what became of it; with a `CallbackHub`, until
        its callback comes to this process. Where somebody waits for the answer, as in a web request, give a *timeout*.

        Args:
            key: What you call the run: printable, 1 to 495 characters.
            worker_id: The worker's id, ``owner/name`` or ``owner~name``.
            input: The worker's own input; sent as ``input.parameters.custom``.
            ledger: Where it is recorded which run the key has: a file, ``sqlite:///FILE``, or ``postgresql://...``.
                None for the variable ``CORECLAW_LEDGER``, else ``runs.db``, as on the command line. A relative path
                counts from the working directory: from another one, the key is another key. Beside a file there are
                its locks, in the folder ``runs.db-lanes``.
            system: Settings of the platform such as ``{"proxy_region": "US"}``.
            version: A concrete version such as ``v1.2.6``; None for the newest.
            exclusive: Whether nobody else starts runs of this worker. A run whose start was not answered, because the
                process was killed, is then found in the list of runs; otherwise somebody must decide whose it is.
            account: Your name for the account, as for `client.batch`, so that a new key of it finds its runs.
            wait: False to return the run as it is as soon as it is known, which a *timeout* limits; *check* and
                *on_update* do nothing then. A run that cannot be seen within ten seconds is returned with its id alone:
                its status is None.
            timeout: Seconds for the start and the run together, above 0; None for no limit. The run goes on after that,
                and another call continues to wait for it. A start that was sent is still given a minute to be answered.
                A ledger that another process locks after it was opened is waited for up to half a minute longer, and
                so is a database server that answers no more.
            check: Whether an end without success is an error; otherwise the run is returned whatever its end.
            on_update: As in `runs.wait`.
            on_cancel: What to do with the run when this call ends before it: ``leave`` it, or ``abort`` it.
            progress: As in `runs.wait`.

        Raises:
            BatchConflictError: The key belongs to a run of another worker, version or input; the message names what
                differs. Or somebody has planned it in its batch with retries or a time limit. Nothing was sent.
            OutcomeUnknownError: A start was never answered, and it cannot be told which run came of it; see its
                candidates. Nothing is started for this key until you decide (``resolve`` of its batch). Where
                *timeout* has passed while a start was unanswered, or the ledger did not tell of one, candidates is
                None, and another call finds out.
            LedgerError: The ledger cannot be used, or the key is another account's.
            WaitTimeoutError: *timeout* has passed. It has the run's id, where there is a run.
            RunFailedError: The run failed.
            RunAbortedError: The run was aborted.
            InsufficientBalanceError: The balance does not cover the run.
            InvalidArgumentError: The service refused the input.
            NotFoundError: There is no such worker, or the run is no longer there.
            ValueError: An argument is out of range, *ledger* is ``memory``, or the input holds a number or a string
                that JSON cannot hold.
            TypeError: The input holds a key that is not a str, or an object that JSON cannot hold.

        Example::

            what = ("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
            run = await client.workers.run_once("coffee in May", *what)
            assert run.run_id == (await client.workers.run_once("coffee in May", *what)).run_id  # Paid for once.
        """
        from coreclaw_async._operations.once import OnceCall, ledger_of

        options = WaitOptions(timeout=timeout, check=check, on_update=on_update, on_cancel=on_cancel, progress=progress)
        call = OnceCall(
            key=key,
            worker_id=worker_id,
            input=input,
            system=system,
            version=version,
            ledger=ledger_of(ledger),
            exclusive=exclusive,
            account=account,
            wait=wait,
            options=options,
        )
        return await self._run_once(self._context, call)

    async def queue_run(
        self,
        worker_id: str,
        input: Mapping[str, Any] | None = None,
        *,
        system: Mapping[str, Any] | None = None,
        raw_input: Any = None,
        version: str | None = None,
        callback_url: str | None = None,
    ) -> QueuedRun:
        """
        Put a run into the queue, where it waits, at no cost, until `run_queue.activate` starts it.

        ``POST /api/v2/workers/{workerId}/queued-runs``. Retried only when the first send certainly did nothing.

        Args:
            worker_id: The worker's id, ``owner/name`` or ``owner~name``.
            input: The worker's own input; sent as ``input.parameters.custom``.
            system: Settings of the platform; sent as ``input.parameters.system``.
            raw_input: The whole ``input`` member, sent as it is, instead of *input* and *system*.
            version: A concrete version; None for the newest.
            callback_url: Where the service posts changes of the run once it has started. None for a URL of the
                client's hub, if it has one; the hub's ``run_id_of`` then tells the run of the item.

        Raises:
            OutcomeUnknownError: An item may have been queued; its candidates are waiting items that no other call of
                this client has queued.
            NotFoundError: There is no such worker.
            ValueError: An argument is out of range, both *input* and *raw_input* were given, or the input holds a
                number or a string that JSON cannot hold; the message names it, as in ``input.keywords[3]``.
            TypeError: The input holds a key that is not a str, or an object that JSON cannot hold.

        Example::

            queued = await client.workers.queue_run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
            print(queued.queue_id)
        """
        request = once_request(
            "queuedRunWorker",
            "workers",
            check_worker_id("worker_id", worker_id),
            "queued-runs",
            **input_members(input, system=system, raw_input=raw_input, version=version),
            **start_members(self._context, callback_url=callback_url),
        )

        read = functools.partial(read_created, model=QueuedRun)
        queued = await create(self._context, request, lost_queue_items(self._context), read)
        self._context.known.add(queued.queue_id)
        bind_callbacks(self._context, request, queue_id=queued.queue_id)
        return queued
