"""What a test puts into a fake service: Workers, runs, tasks, queue items, rows and ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, field

from coreclaw_async.testing._serving.backend import Backend
from coreclaw_async.testing._state.identifiers import IdentifierMaker
from coreclaw_async.testing._state.scripts import history_script
from coreclaw_async.testing._state.switches import Switches
from coreclaw_async.testing._state.world import EMPTY_INPUT, World

if TYPE_CHECKING:
    from coreclaw_async.testing._state.records import FakeWorker
    from coreclaw_async.testing._state.rows import Row
    from coreclaw_async.testing._state.scripts import RunScript


@define(kw_only=True, eq=False, slots=False)
class ServiceContents(Switches):
    """The part of `FakeService` with which a test sets the scene, from any thread."""

    _backend: Backend = field(init=False, repr=False)

    def reset(self) -> None:
        """Forget all that was added and all that happened; switches and clock stay."""
        world = World(self, IdentifierMaker(self.seed))
        world.add_store_worker()
        self._backend = Backend(world)

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
            path: `owner/name`.
            title: None takes the name.
            description: Any text.
            schema: The input schema in the developer format, or only its `properties`.
            script: What its runs do; None takes `default_script`.
            in_store: Whether the store lists it.
            owned: Whether the list of the caller's own Workers shows it.
            version: The one version that can run.

        Returns:
            Its slug.

        Raises:
            ValueError: The path has another form.
        """
        if len(list(filter(None, path.split("/")))) != 2:
            raise ValueError(f"path must be 'owner/name', not {path!r}")
        whole = schema if isinstance(schema, Mapping) else {"properties": schema or ()}
        with self._backend.lock:
            worker = self._world.add_worker(
                path,
                title=path.partition("/")[2] if title is None else title,
                description=description,
                properties=whole["properties"],
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
        Add a run that nobody paid for through the API, as a part of the history.

        Args:
            worker: Slug or path.
            status: Its status now. A run that has not ended stays so until `finish`.
            rows: Its rows, or how many.
            age: How many seconds ago it was created, 0 or more.
            script: What it does, counted from its creation, in place of `status` and `rows`.
            origin: Who is said to have started it.
            input: The input it is said to have had.
            error_message: Why it failed.

        Returns:
            The id of the run.
        """
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
            input: The whole input, `{"parameters": {"custom": ...}}`; not checked.
            description: Any text.
            version: None takes the Worker's.
            schedule: The `schedule_*` members.

        Returns:
            The id of the task.
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
        """Add a waiting item to the run queue and return its `queue_ref`."""
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
        """What the next start does, in place of the Worker's script; setting it forgets other ones."""
        scripts = self._world.next_scripts
        return scripts[0] if scripts else None

    @next_script.setter
    def next_script(self, script: RunScript | None) -> None:
        with self._backend.lock:
            self._world.next_scripts.clear()
            if script is not None:
                self._world.next_scripts.append(script)

    def script_next(self, script: RunScript) -> None:
        """Let the next start that has no such script yet follow `script`; several make a queue."""
        with self._backend.lock:
            self._world.next_scripts.append(script)

    def insert_rows(self, run_id: str, rows: int | Sequence[Row], *, at: int = 0) -> None:
        """Put rows, or so many generated ones, into the results of a run in front of row `at`."""
        with self._backend.lock:
            run = self._world.runs[run_id]
            self._world.insert_rows(run, rows, at=at)

    def finish(self, run_id: str, outcome: str = "succeeded") -> None:
        """End a run now; `succeeded` brings all its rows, another outcome those it has."""
        with self._backend.lock:
            self._world.runs[run_id].end(outcome)

    @property
    def _world(self) -> World:
        return self._backend.world

    def _worker(self, name: str) -> FakeWorker:
        found = self._world.find_worker(name.replace("/", "~"))
        if found is None:
            raise KeyError(name)
        return found
