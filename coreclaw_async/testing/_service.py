"""FakeService: the whole CoreClaw API v2 in memory, and on a socket when asked."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import httpx
from attrs import define, field

from coreclaw_async.testing._contents import ServiceContents
from coreclaw_async.testing._serving.asgi_app import AsgiApp
from coreclaw_async.testing._serving.callback_outbox import CallbackOutbox
from coreclaw_async.testing._serving.memory_transport import MemoryTransport
from coreclaw_async.testing._serving.server import RunningServer, run_server

if TYPE_CHECKING:
    from coreclaw_async.testing._serving.fault_plan import FaultPlan
    from coreclaw_async.testing._state.fake_run import FakeRun
    from coreclaw_async.testing._state.records import FakeQueueItem, FakeTask, RecordedRequest, SentCallback


@define(kw_only=True, eq=False, slots=False)
class FakeService(ServiceContents, httpx.AsyncBaseTransport):
    """
    The CoreClaw service as a state machine, for tests of programs that use it.

    Give it to an httpx client as its transport, or `serve()` it on a real socket. It has one
    Worker in its store, `coreclaw/google-maps-scraper`. All arguments are switches, described
    in `Switches`, and may be changed later as attributes.

    Example:
        ```python
        service = FakeService()
        service.faults.add(faults.commit_then_drop(), operation="runWorker")
        async with httpx.AsyncClient(transport=service, base_url=service.base_url) as client:
            ...
        assert service.runs_created == 1
        ```
    """

    tells_what_leaves: ClassVar[bool] = True
    """That nothing is processed before httpcore's ``trace`` extension is told that the request was sent."""

    _memory: MemoryTransport = field(init=False, repr=False)
    _outbox: CallbackOutbox = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """Begin empty, but for the one Worker of the store."""
        self._memory = MemoryTransport(lambda: self._backend)
        self.reset()

    def __repr__(self) -> str:
        """Tell what it holds, without the key."""
        return f"FakeService(runs={len(self.runs)}, requests={len(self.requests)}, clock={self.clock!r})"

    def reset(self) -> None:
        """Forget all that was added and all that happened; switches and clock stay."""
        super().reset()
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
        """How many runs were started through the API: what a user would have paid for."""
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
        """Every request that arrived, in order, downloads and requests to strange hosts included."""
        return self._backend.requests

    @property
    def callbacks_sent(self) -> list[SentCallback]:
        """Every callback that was sent, in order."""
        return self._outbox.sent

    @property
    def faults(self) -> FaultPlan:
        """The faults to come; see `FaultPlan.add`."""
        return self._backend.faults

    @property
    def asgi_app(self) -> AsgiApp:
        """An ASGI app of API and file server in one, for a server of one's own."""
        return self._make_app({})

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request in memory; httpx calls this."""
        return await self._memory.handle(request)

    async def aclose(self) -> None:
        """Do nothing: one service may be the transport of many clients."""

    async def deliver_callbacks(self) -> None:
        """
        Send the callbacks that are due by now.

        A served service does so by itself.
        """
        with self._backend.lock:
            due = self._outbox.take_due(self._world)
        await self._outbox.send(due, self.callback_transport)

    @contextmanager
    def serve(self, host: str = "127.0.0.1", port: int = 0) -> Generator[RunningServer]:
        """
        Listen on real sockets, in a thread, until the `with` block ends.

        Needs uvicorn: `pip install "coreclaw-async[emulator]"`. In the block `files_url` is the
        real one. A `FakeClock` still jumps while nothing happens; take a `RealClock` where the
        time between requests matters.

        Args:
            host: Name or IPv4 address to listen on.
            port: Port of the API; 0 for any. Downloads get a port of their own.

        Raises:
            ImportError: uvicorn is not installed.
            OSError: The port is taken.
        """
        with run_server(self._make_app, host=host, port=port) as server:
            before, self.files_url = self.files_url, server.files_url
            try:
                yield server
            finally:
                self.files_url = before

    def _make_app(self, sites: Mapping[int, str]) -> AsgiApp:
        return AsgiApp(lambda: self._backend, self.deliver_callbacks, sites)
