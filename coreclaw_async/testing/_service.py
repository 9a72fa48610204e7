"""FakeService: the whole CoreClaw API v2 in memory, or on a socket."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
from attrs import define, field

from coreclaw_async.testing._serving.asgi_app import AsgiApp
from coreclaw_async.testing._serving.backend import Backend
from coreclaw_async.testing._serving.callback_outbox import CallbackOutbox
from coreclaw_async.testing._serving.memory_transport import MemoryTransport
from coreclaw_async.testing._serving.server import RunningServer, run_server
from coreclaw_async.testing._state.arguments import check_mappings, check_number, check_rows, check_type, check_whole
from coreclaw_async.testing._state.clock import DefaultClock
from coreclaw_async.testing._state.identifiers import IdentifierMaker
from coreclaw_async.testing._state.scripts import RunScript, history_script
from coreclaw_async.testing._state.switches import Switches
from coreclaw_async.testing._state.world import EMPTY_INPUT, World

if TYPE_CHECKING:
    from coreclaw_async.testing._serving.fault_plan import FaultPlan
    from coreclaw_async.testing._state.fake_run import FakeRun
    from coreclaw_async.testing._state.records import FakeQueueItem, FakeTask, FakeWorker, RecordedRequest, SentCallback
    from coreclaw_async.testing._state.rows import Row


@define(kw_only=True, eq=False, slots=False)
class FakeService(Switches, httpx.AsyncBaseTransport):
    """
    The CoreClaw service as a state machine, for tests of programs that use it.

    Give it to an httpx client as its transport, or `serve` it on a real socket. It has one Worker in its store,
    ``coreclaw/google-maps-scraper``. All arguments are switches, and may be changed later as attributes.

    Attributes:
        api_key: The one key that is accepted.
        clock: Its clock; None makes a `FakeClock` that follows the real time for as long as it is served.
        offset_dialect: The meaning of ``offset``: ``page`` is a page number from 1, ``row`` a row number from 0,
            ``aligned`` the page that contains the row.
        echo_page_index: Whether lists with ``count`` also have ``page_index`` and ``page_size``.
        run_list_echo: The same for the list of runs alone, which in production has neither; None for the value of
            ``echo_page_index``.
        log_entries: The shape of log entries: ``objects`` with the level as a number, ``words`` with the level as a
            string, ``strings``, or ``mixed``.
        sync_reply: What a synchronous start or abort answers, ``full`` or only the ``slug``.
        detail_err_msg: Whether the detail of a run has ``err_msg``, which it has not in production; lists always have
            it.
        input_schema: The shape of input schemas: a ``list`` of properties, a ``map``, or ``missing``.
        task_shape: The ``production`` members of a task, or the ``small`` documented set.
        worker_path_style: How answers write a Worker's path, ``slash`` or ``tilde``.
        null_lists: Whether empty lists are sent as ``null``.
        abort_requires_body: Whether an abort without a JSON object as its body is refused.
        page_size_cap: A larger ``limit`` is silently cut to this, 1 or more; None turns it off.
        plan_limit: How many runs may be in ``ready`` and ``running``, 0 or more; None for any number.
        rate_limit: API requests per second, above 0; further ones get 429 with 13000. None for any number.
        rate_burst: How many requests may come at once before ``rate_limit`` applies, 1 or more.
        balance: The credit in US dollars, as a decimal; runs started through the API use it up.
        price_per_row: What a row costs in US dollars, as a decimal from 0.
        base_url: The origin of the API.
        files_url: The origin of downloads, which must not get any credential.
        export_lifetime: Seconds for which a download URL is valid, 0 or more.
        default_script: What runs do unless the next script or their Worker says otherwise.
        list_lag: Seconds until a new run is in the list of runs, 0 or more.
        callback_plan: How callbacks are sent.
        callback_transport: The httpx transport that carries callbacks; None uses the network.
        seed: Determines identifiers and shuffles.

    Example::

        import httpx

        service = FakeService()
        service.faults.add(faults.commit_then_drop(), operation="runWorker")
        async with httpx.AsyncClient(transport=service, base_url=service.base_url) as client:
            ...  # The program under test starts a run, and does not get the answer.
        assert service.runs_created <= 1
    """

    tells_what_leaves: ClassVar[bool] = True
    """Says that the ``trace`` extension of httpcore reports a request as sent before anything is processed."""

    _backend: Backend = field(init=False, repr=False)
    _memory: MemoryTransport = field(init=False, repr=False)
    _outbox: CallbackOutbox = field(init=False, repr=False)
    _serving: threading.Lock = field(init=False, repr=False, factory=threading.Lock)
    _file_servers: list[str] = field(init=False, repr=False, factory=list[str])
    _files_url_before: str = field(init=False, repr=False, default="")

    def __attrs_post_init__(self) -> None:
        """Begin with nothing but the Worker in the store."""
        self._memory = MemoryTransport(lambda: self._backend)
        self.reset()

    def __repr__(self) -> str:
        """Show what it holds, without the key."""
        if not hasattr(self, "_backend"):  # A traceback with local variables shows it when `__init__` has failed.
            return "FakeService(...)"
        return f"FakeService(runs={len(self.runs)}, requests={len(self.requests)}, clock={self.clock!r})"

    def reset(self) -> None:
        """
        Forget all that was added and all that happened; switches and clock stay.

        Example::

            service.reset()
            assert not service.runs
        """
        world = World(self, IdentifierMaker(self.seed))
        world.add_store_worker()
        self._backend = Backend(world)
        self._outbox = CallbackOutbox()

    @property
    def runs(self) -> Mapping[str, FakeRun]:
        """All runs by id, in the order in which they were made."""
        return MappingProxyType(self._world.runs)

    @property
    def tasks(self) -> Mapping[str, FakeTask]:
        """All tasks by id."""
        return MappingProxyType(self._world.tasks)

    @property
    def queue_items(self) -> Mapping[str, FakeQueueItem]:
        """All items of the run queue by id, whatever their status."""
        return MappingProxyType(self._world.queue_items)

    @property
    def runs_created(self) -> int:
        """How many runs were started through the API, which a user would have paid for."""
        return self._world.runs_created

    @property
    def tasks_created(self) -> int:
        """How many tasks were created through the API."""
        return self._world.tasks_created

    @property
    def queue_items_created(self) -> int:
        """How many items were put into the queue through the API."""
        return self._world.queue_items_created

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request that arrived, in order, including downloads and requests to unknown hosts."""
        return self._backend.requests

    @property
    def callbacks_sent(self) -> list[SentCallback]:
        """Every callback that was sent, in order."""
        return self._outbox.sent

    @property
    def faults(self) -> FaultPlan:
        """The faults to come; see `FaultPlan.add`."""
        return self._backend.faults

    def add_worker(
        self,
        path: str,
        *,
        title: str | None = None,
        description: str = "",
        schema: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        script: RunScript | None = None,
        in_store: bool = True,
        owned: bool = True,
        version: str = "v1.0.0",
    ) -> str:
        """
        Add a Worker.

        Args:
            path: ``owner/name``.
            title: None takes the name.
            description: Any text.
            schema: The input schema in the developer format, or only its ``properties``.
            script: What its runs do; None takes ``default_script``.
            in_store: Whether the store lists it.
            owned: Whether the list of the caller's own Workers shows it.
            version: The one version that can run.

        Returns:
            Its slug.

        Raises:
            ValueError: The path has another form.
            TypeError: An argument has another type.

        Example::

            service.add_worker("me/prices", schema=[{"name": "url", "type": "string", "required": True}])
            worker = await client.workers.get("me/prices")
        """
        check_type("path", path, str)
        if len(list(filter(None, path.split("/")))) != 2:
            raise ValueError(f"path must be 'owner/name', not {path!r}")
        check_type("script", script, RunScript, or_none=True)
        whole = schema if isinstance(schema, Mapping) else {"properties": () if schema is None else schema}
        properties = whole.get("properties", ())
        check_mappings("schema", properties, kinds="a mapping or a sequence of properties")
        with self._backend.lock:
            worker = self._world.add_worker(
                path,
                title=path.partition("/")[2] if title is None else title,
                description=description,
                properties=properties,
                extra_schema={name: part for name, part in whole.items() if name != "properties"},
                script=script,
                in_store=in_store,
                owned=owned,
                version=version,
            )
        return worker.slug

    def add_run(
        self,
        worker: str,
        *,
        status: str = "succeeded",
        rows: int | Sequence[Row] = 0,
        age: float = 60.0,
        script: RunScript | None = None,
        origin: str = "openapi",
        input: Mapping[str, Any] = EMPTY_INPUT,
        error_message: str = "",
    ) -> str:
        """
        Add a run to the history that nobody paid for through the API.

        Args:
            worker: Slug or path.
            status: Its status now. A run that has not ended stays like that until `finish`.
            rows: Its rows, or how many.
            age: How many seconds ago it was created, 0 or more.
            script: What it does from its creation on, instead of ``status`` and ``rows``.
            origin: Who is said to have started it.
            input: The input it is said to have had.
            error_message: Why it failed.

        Returns:
            The id of the run.

        Raises:
            KeyError: There is no such Worker.
            ValueError: A number is out of range.
            TypeError: An argument has another type.

        Example::

            run_id = service.add_run("coreclaw/google-maps-scraper", rows=[{"title": "Café"}], age=3600)
            assert await client.runs.iterate_results(run_id).first() is not None
        """
        check_type("status", status, str)
        check_number("age", age, unit="seconds")
        check_type("script", script, RunScript, or_none=True)
        with self._backend.lock:
            told = history_script(status, rows=rows, age=age, error_message=error_message)
            run = self._world.create_run(self._worker(worker), input, script=script or told, age=age, origin=origin)
            return run.run_id

    def add_task(
        self,
        worker: str,
        *,
        title: str,
        input: Any,
        description: str = "",
        version: str | None = None,
        schedule: Mapping[str, Any] | None = None,
    ) -> str:
        """
        Add a saved task.

        Args:
            worker: Slug or path.
            title: Any text.
            input: The whole input, ``{"parameters": {"custom": ...}}``; not checked.
            description: Any text.
            version: None takes the Worker's.
            schedule: The ``schedule_*`` members.

        Returns:
            The id of the task.

        Example::

            task_id = service.add_task(
                "coreclaw/google-maps-scraper",
                title="Coffee",
                input={"parameters": {"custom": {"keywords": ["coffee"]}}},
            )
        """
        with self._backend.lock:
            found = self._worker(worker)
            task = self._world.add_task(
                worker_id=found.slug,
                version=found.version if version is None else version,
                title=title,
                description=description,
                input=input,
                schedule=dict(schedule or {}),
            )
            return task.task_id

    def add_queue_item(self, worker: str, input: Any, *, callback_url: str | None = None) -> str:
        """
        Add a waiting item to the run queue and return its ``queue_ref``.

        Args:
            worker: Slug or path.
            input: The whole input, ``{"parameters": {"custom": ...}}``; not checked.
            callback_url: Where callbacks of its run go; None for nowhere.

        Raises:
            KeyError: There is no such Worker.

        Example::

            queue_id = service.add_queue_item(
                "coreclaw/google-maps-scraper", {"parameters": {"custom": {"keywords": ["coffee"]}}}
            )
        """
        with self._backend.lock:
            found = self._worker(worker)
            item = self._world.add_queue_item(
                worker_id=found.slug,
                version=found.version,
                input=input,
                callback_url=callback_url,
            )
            return item.queue_ref

    @property
    def next_script(self) -> RunScript | None:
        """What the next start does, instead of the Worker's script; setting it replaces all that are queued."""
        scripts = self._world.next_scripts
        return scripts[0] if scripts else None

    @next_script.setter
    def next_script(self, script: RunScript | None) -> None:
        check_type("next_script", script, RunScript, or_none=True)
        with self._backend.lock:
            self._world.next_scripts.clear()
            if script is not None:
                self._world.next_scripts.append(script)

    def script_next(self, script: RunScript) -> None:
        """
        Queue ``script`` for a start: the first start takes the first queued script, and so on.

        Raises:
            TypeError: It is no `RunScript`.

        Example::

            service.script_next(RunScript(outcome="failed", error_message="blocked"))
            run = await client.workers.run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]}, check=False)
            assert run.status == "failed"
        """
        check_type("script", script, RunScript)
        with self._backend.lock:
            self._world.next_scripts.append(script)

    def insert_rows(self, run_id: str, rows: int | Sequence[Row], *, at: int = 0) -> None:
        """
        Insert rows into the results of a run.

        Args:
            run_id: The run.
            rows: The rows, or how many to generate.
            at: Before which row, 0 or more; 0 is the first.

        Raises:
            KeyError: No run has this id.
            ValueError: A number is out of range.
            TypeError: An argument has another type.

        Example::

            service.insert_rows(run.run_id, [{"title": "New"}])
        """
        check_rows("rows", rows)
        check_whole("at", at, low=0)
        with self._backend.lock:
            self._world.insert_rows(self._run(run_id), rows, at=at)

    def finish(self, run_id: str, outcome: str = "succeeded") -> None:
        """
        End a run now; a run that has ended before stays as it is.

        Args:
            run_id: The run.
            outcome: Its status from now on. With ``succeeded`` it has all its rows, otherwise those produced so far.

        Raises:
            KeyError: No run has this id.
            TypeError: *outcome* is no str.

        Example::

            started = await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
            service.finish(started.run_id, "failed")
        """
        check_type("outcome", outcome, str)
        with self._backend.lock:
            self._run(run_id).end(outcome)

    def stick(self, run_id: str) -> None:
        """
        Let the run *run_id* never end by itself, and make no more rows; it can still be aborted, or ended by `finish`.

        A run that has ended before stays as it is.

        Raises:
            KeyError: No run has this id.

        Example::

            started = await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
            service.stick(started.run_id)
            with contextlib.suppress(WaitTimeoutError):
                await client.runs.wait(started, timeout=3600)
        """
        with self._backend.lock:
            self._run(run_id).stick()

    @property
    def _world(self) -> World:
        return self._backend.world

    def _worker(self, name: str) -> FakeWorker:
        found = self._world.find_worker(name.replace("/", "~"))
        if found is None:
            raise KeyError(f"no Worker has the slug or path {name!r}")
        return found

    def _run(self, run_id: str) -> FakeRun:
        found = self._world.runs.get(run_id)
        if found is None:
            raise KeyError(f"no run has the id {run_id!r}")
        return found

    @property
    def asgi_app(self) -> AsgiApp:
        """API and file server as one ASGI app, for a server of your own."""
        return self._make_app({})

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request in memory; httpx calls this."""
        return await self._memory.handle(request)

    async def aclose(self) -> None:
        """Do nothing: one service may be the transport of many clients."""

    async def deliver_callbacks(self) -> None:
        """
        Send the callbacks that are due.

        A served service does so by itself.

        Example::

            await service.deliver_callbacks()
            print(service.callbacks_sent)
        """
        with self._backend.lock:
            due = self._outbox.take_due(self._world)
        await self._outbox.send(due, self.callback_transport)

    async def _call_one_site(self) -> None:
        """Send the callbacks that are due to one site; others are called at the same time."""
        with self._backend.lock:
            outbox, due = self._outbox, self._outbox.take_due(self._world, of_one_site=True)
        await outbox.send_to_site(due, self.callback_transport)

    @contextmanager
    def serve(self, host: str = "127.0.0.1", port: int = 0, *, console: bool = False) -> Generator[RunningServer]:
        """
        Listen on real sockets, in a thread, until the ``with`` block ends.

        Needs uvicorn: ``pip install "coreclaw-async[emulator]"``. Inside the block ``files_url`` is the real one, and
        ``clock`` has the real time and date, so that runs end by themselves; runs that are there already keep their
        ages. It may be served several times at once; downloads are at the newest server. A clock that you have given is
        not changed: a `FakeClock` moves only by ``advance``, and while something sleeps by it in the server.

        Args:
            host: Name or IPv4 address to listen on.
            port: Port of the API; 0 for any. Downloads get another port.
            console: Whether ``/`` is a page that shows runs and requests as they come, and has buttons to end runs, to
                advance the clock and to plan faults. It asks for no key: whoever reaches the port can use it. What it
                requests is not in `requests`.

        Raises:
            ImportError: uvicorn is not installed, or broken.
            OSError: The port is taken, or the host cannot be listened on.
            ValueError: The port is out of range.
            TypeError: An argument has another type.

        Example::

            with FakeService(clock=RealClock()).serve() as server:
                print(server.url)
        """
        check_type("host", host, str)
        check_whole("port", port, low=0, high=65_535)
        make_app = partial(self._make_app, console_for=host if console else None)
        with (
            self._in_real_time(),
            run_server(make_app, host=host, port=port) as server,
            self._with_files_at(server.files_url),
        ):
            yield server

    @contextmanager
    def _with_files_at(self, url: str) -> Generator[None]:
        """Have downloads at the newest server that still runs, in whatever order they end."""
        with self._serving:
            if not self._file_servers:
                self._files_url_before = self.files_url
            self._file_servers.append(url)
            self.files_url = url
        try:
            yield
        finally:
            with self._serving:
                self._file_servers.remove(url)
                self.files_url = self._file_servers[-1] if self._file_servers else self._files_url_before

    @contextmanager
    def _in_real_time(self) -> Generator[None]:
        if not isinstance(self.clock, DefaultClock):
            yield
            return
        with self.clock.in_real_time() as later:
            with self._backend.lock:
                self._world.move_dates(later)
            yield

    def _make_app(self, sites: Mapping[int, str], *, console_for: str | None = None) -> AsgiApp:
        if console_for is None:
            return AsgiApp(lambda: self._backend, self._call_one_site, sites)
        from coreclaw_async.testing._console.console import Console  # Which tests that nobody watches do not load.

        console = Console(lambda: self._backend, console_for)
        return AsgiApp(lambda: self._backend, self._call_one_site, sites, console)


def keep_newest_requests(service: FakeService, most: int) -> None:
    """Have *service*, which may be served for days, keep so many requests and forget older ones."""
    service._backend.most_requests = most  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - tests keep all


def count_requests(service: FakeService) -> int:
    """Return how many requests arrived, also those that are forgotten."""
    backend = service._backend  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - tests keep all
    return backend.forgotten + len(backend.requests)
