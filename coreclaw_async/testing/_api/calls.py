"""What a handler gets (`Call`), and what it returns when its answer must wait for a run (`Pending`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from attrs import frozen

from coreclaw_async.testing._api.answer_style import shown_list
from coreclaw_async.testing._api.answers import RefusedError
from coreclaw_async.testing._api.paging import PageWindow, window_of
from coreclaw_async.testing._state.fake_run import FakeRun
from coreclaw_async.testing._state.records import FakeTask, FakeWorker
from coreclaw_async.testing._state.switches import Switches
from coreclaw_async.testing._state.world import World

T = TypeVar("T")

SYNC_LIMIT = 300.0
"""Seconds after which a synchronous start or abort answers although the run has not ended."""


@frozen
class Pending:
    """
    An answer that waits for the end of a run, for `SYNC_LIMIT` seconds at most.

    Attributes:
        run: The run to wait for.
        render: Returns the data of the answer once the waiting is over.
    """

    run: FakeRun
    render: Callable[[], Any]


@frozen(kw_only=True)
class Call:
    """
    A request that has passed the checks of key, query and body.

    Attributes:
        parameters: The decoded path parameters.
        query: The known query parameters, converted.
        body: The checked body; empty when the operation takes none.
    """

    world: World
    parameters: Mapping[str, str]
    query: Mapping[str, Any]
    body: Mapping[str, Any]

    @property
    def switches(self) -> Switches:
        """The service's switches."""
        return self.world.switches

    @property
    def window(self) -> PageWindow:
        """The requested page."""
        return window_of(self.query, self.switches)

    def page_of(self, items: Sequence[T], show: Callable[[T], Any], *, echo: bool | None = None) -> dict[str, Any]:
        """Return one page of `items` with their count; `echo` stands for `echo_page_index` where it is not None."""
        window = self.window
        page = [show(item) for item in items[window.start : window.stop]]
        echoed = window.echo if (self.switches.echo_page_index if echo is None else echo) else {}
        return {"count": len(items), "list": shown_list(page, self.switches), **echoed}

    @property
    def wanted_worker_id(self) -> str | None:
        """The slug of the Worker that the query asks for, by slug or path; None for any."""
        return self.worker_named(self.query["worker_id"]).slug if "worker_id" in self.query else None

    def worker(self) -> FakeWorker:
        """Return the Worker of the path."""
        return self.worker_named(self.parameters["workerId"])

    def worker_named(self, identifier: str) -> FakeWorker:
        """
        Return the Worker with this slug or `owner~name`.

        Raises:
            RefusedError: 404 with 11004, as production answers for every kind of thing.
        """
        worker = self.world.find_worker(identifier)
        if worker is None:
            raise RefusedError(404, 11004)
        return worker

    def task(self) -> FakeTask:
        """
        Return the task of the path.

        Raises:
            RefusedError: 404 with 11004.
        """
        task = self.world.tasks.get(self.parameters["workerTaskId"])
        if task is None:
            raise RefusedError(404, 11004)
        return task

    def run(self, *, reading: bool = True) -> FakeRun:
        """
        Return the run of the path, or the last one when the path says `last`.

        Args:
            reading: Whether a run that is still hidden counts as missing.

        Raises:
            RefusedError: 404 with 11004.
        """
        if "runId" in self.parameters:
            run = self.world.runs.get(self.parameters["runId"])
            hidden = reading and run is not None and run.age < run.script.hidden_for
            run = None if hidden else run
        else:
            run = self.world.last_run(self.worker() if "workerId" in self.parameters else None)
        if run is None:
            raise RefusedError(404, 11004)
        return run
