"""Everything the fake service knows: Workers, runs, tasks, queue items and files."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, cast, overload

from attrs import define, field

from coreclaw_async.testing._state.clock import Clock
from coreclaw_async.testing._state.fake_run import FakeRun
from coreclaw_async.testing._state.files import StoredFile
from coreclaw_async.testing._state.identifiers import IdentifierMaker
from coreclaw_async.testing._state.records import FakeQueueItem, FakeTask, FakeWorker
from coreclaw_async.testing._state.rows import Row, RowList
from coreclaw_async.testing._state.scripts import RunScript
from coreclaw_async.testing._state.switches import Switches

EMPTY_INPUT: Mapping[str, Any] = {"parameters": {"custom": {}}}
STORE_WORKER = "coreclaw/google-maps-scraper"
_STORE_WORKER_SCHEMA: Sequence[Mapping[str, Any]] = (
    {
        "name": "keywords",
        "type": "array",
        "editor": "stringList",
        "title": "Keywords",
        "description": "What to search for.",
        "required": True,
        "default": ["coffee"],
    },
    {
        "name": "base_location",
        "type": "string",
        "editor": "input",
        "title": "Location",
        "description": "Where to search.",
        "required": False,
        "default": "New York,USA",
    },
    {
        "name": "max_results",
        "type": "integer",
        "editor": "number",
        "title": "Maximum results",
        "description": "Rows per keyword.",
        "required": False,
        "default": 20,
    },
)


def _created(run: FakeRun) -> float:
    return run.created_at


class _NewestFirst(Sequence[FakeRun]):
    """The runs from `first` up to and without `end` of a list with the oldest first; only what is read is copied."""

    def __init__(self, oldest_first: list[FakeRun], first: int, end: int) -> None:
        self._runs = oldest_first
        self._places = range(first, end)[::-1]

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[FakeRun]:
        return map(self._runs.__getitem__, self._places)

    @overload
    def __getitem__(self, index: int) -> FakeRun: ...

    @overload
    def __getitem__(self, index: slice) -> list[FakeRun]: ...

    def __getitem__(self, index: int | slice) -> FakeRun | list[FakeRun]:
        places = self._places[index]
        return self._runs[places] if isinstance(places, int) else [self._runs[place] for place in places]


@define(eq=False)
class World:
    """The state of one fake service; all times come from the clock of its switches."""

    switches: Switches
    ids: IdentifierMaker
    workers: dict[str, FakeWorker] = field(factory=dict[str, FakeWorker])
    runs: dict[str, FakeRun] = field(factory=dict[str, FakeRun])
    runs_by_age: list[FakeRun] = field(factory=list[FakeRun])
    """Oldest first, also when a run was added with an age."""
    _of_worker: defaultdict[str, list[FakeRun]] = field(factory=lambda: defaultdict[str, list[FakeRun]](list))
    tasks: dict[str, FakeTask] = field(factory=dict[str, FakeTask])
    queue_items: dict[str, FakeQueueItem] = field(factory=dict[str, FakeQueueItem])
    files: dict[str, StoredFile] = field(factory=dict[str, StoredFile])
    next_scripts: deque[RunScript] = field(factory=deque[RunScript])
    calling_back: list[FakeRun] = field(factory=list[FakeRun])
    """Runs that may still owe a callback."""
    runs_created: int = 0
    tasks_created: int = 0
    queue_items_created: int = 0
    _most_spent: Decimal = Decimal(0)
    """An upper bound of what all paid runs can cost, which is cheap to keep."""
    _live: list[FakeRun] = field(factory=list[FakeRun])
    _settled: Decimal = Decimal(0)

    @property
    def clock(self) -> Clock:
        """The clock of the service."""
        return self.switches.clock

    def now(self) -> float:
        """Return the monotonic seconds of the clock that the service has at the time."""
        return self.clock.monotonic()

    def move_dates(self, later: float) -> None:
        """Have runs keep their ages when the clock's date is *later* seconds later at once."""
        for run in self.runs.values():
            run.created_at += later

    def add_worker(self, path: str, **members: Any) -> FakeWorker:
        """Add a Worker under `owner/name`."""
        worker = FakeWorker(slug=self.ids.ulid(self.clock.time()), path=path, **members)
        self.workers[worker.slug] = worker
        return worker

    def add_store_worker(self) -> None:
        """Add the one Worker that is always there."""
        self.add_worker(
            STORE_WORKER,
            title="Google Maps Scraper",
            description="Places that match a keyword.",
            properties=_STORE_WORKER_SCHEMA,
            extra_schema={"concurrency": {"fields": ["keywords"]}},
            script=None,
            in_store=True,
            owned=False,
            version="v1.2.8",
        )

    def find_worker(self, identifier: str) -> FakeWorker | None:
        """Return the Worker with this slug, or this path written as `owner~name`."""
        known = self.workers.get(identifier)
        path = identifier.replace("~", "/")
        if known is not None or "/" in identifier:
            return known
        return next((worker for worker in self.workers.values() if worker.path == path), None)

    def create_run(
        self, worker: FakeWorker, given: Any, *, script: RunScript, age: float = 0.0, **members: Any
    ) -> FakeRun:
        """Create a run of `worker` that is `age` seconds old."""
        clock = self.clock
        created_at = clock.time() - age
        run_id = self.ids.ulid(created_at)
        run = FakeRun(
            run_id=run_id,
            number=self.ids.database_id(),
            worker_id=worker.slug,
            worker_title=worker.title,
            input=given,
            script=script,
            created_at=created_at,
            price_per_row=Decimal(self.switches.price_per_row),
            row_list=_make_rows(run_id, script, given),
            now=self.now,
            born=clock.monotonic() - age,
            version=members.pop("version", worker.version),
            origin=members.pop("origin", "openapi"),
            **members,
        )
        self.runs[run_id] = run
        for runs in (self.runs_by_age, self._of_worker[worker.slug]):
            insort(runs, run, key=_created)
        self._live.append(run)
        if run.task_id in self.tasks:
            self.tasks[run.task_id].run_ids.append(run_id)
        if run.callback_url is not None:
            self.calling_back.append(run)
        if run.paid:
            self.runs_created += 1
            self._most_spent += run.highest_usage
        return run

    def add_task(self, **members: Any) -> FakeTask:
        """Add a saved task."""
        now = self.clock.time()
        task = FakeTask(
            task_id=self.ids.ulid(now),
            number=self.ids.database_id(),
            created_at=int(now),
            updated_at=int(now),
            **members,
        )
        self.tasks[task.task_id] = task
        return task

    def add_queue_item(self, **members: Any) -> FakeQueueItem:
        """Add an item that waits in the queue; it never starts by itself."""
        created_at = int(self.clock.time())
        item = FakeQueueItem(queue_ref=self.ids.queue_ref(), created_at=created_at, **members)
        self.queue_items[item.queue_ref] = item
        return item

    def insert_rows(self, run: FakeRun, rows: int | Sequence[Row], *, at: int) -> None:
        """Insert rows, or a number of generated ones, into the results of `run` before row `at`."""
        before = run.usage
        added = run.row_list.insert(rows, at=at)
        run.inserted += added
        self._most_spent += run.price_per_row * added
        if run.paid and run not in self._live:
            self._settled += run.usage - before

    def script_for(self, worker: FakeWorker) -> RunScript:
        """Return what the next run of `worker` does."""
        if self.next_scripts:
            return self.next_scripts.popleft()
        return worker.script or self.switches.default_script

    def active_runs(self) -> int:
        """Return how many runs count towards the limit of the plan."""
        self._settle()
        return sum(run.status in {"ready", "running"} for run in self._live)

    def balance(self) -> Decimal:
        """Return the credit that is left."""
        self._settle()
        running = sum((run.usage for run in self._live if run.paid), Decimal(0))
        return Decimal(self.switches.balance) - self._settled - running

    def is_out_of_credit(self) -> bool:
        """Return whether no credit is left; looks at the runs only when they may have used it up."""
        return self._most_spent >= Decimal(self.switches.balance) and self.balance() <= 0

    def last_run(self, worker: FakeWorker | None = None) -> FakeRun | None:
        """Return the newest run, of `worker` when one is given."""
        runs = self._runs_of(None if worker is None else worker.slug)
        return runs[-1] if runs else None

    def runs_created_between(
        self, since: float, until: float, worker_id: str | None, *, may_have_ended: bool = True
    ) -> Sequence[FakeRun]:
        """
        Return the runs of a worker, or of all, created from `since` up to and without `until`, newest first.

        Without those that have ended if `may_have_ended` is False: then only the others are looked at.
        """
        runs = self._runs_of(worker_id)
        if not may_have_ended:
            self._settle()
            live = (run for run in self._live if worker_id is None or run.worker_id == worker_id)
            runs = sorted(live, key=_created)
        return _NewestFirst(runs, bisect_left(runs, since, key=_created), bisect_left(runs, until, key=_created))

    def _runs_of(self, worker_id: str | None) -> list[FakeRun]:
        return self.runs_by_age if worker_id is None else self._of_worker[worker_id]

    def call_back(self, run: FakeRun, url: str) -> None:
        """Send the callbacks of `run` to `url` from now on."""
        if run.callback_url is None:
            run.announced = sum(after <= run.age for after, _ in run.changes)
            self.calling_back.append(run)
        run.callback_url = url

    def _settle(self) -> None:
        """Add up the cost of ended runs once, so that later only live runs are looked at."""
        live: list[FakeRun] = []
        ended: list[FakeRun] = []
        for run in self._live:  # Each is looked at once: a real clock goes on meanwhile.
            (ended if run.is_final else live).append(run)
        self._settled += sum((run.usage for run in ended if run.paid), Decimal(0))
        self._live = live


def _make_rows(run_id: str, script: RunScript, given: Any) -> RowList:
    rows = script.rows(custom_input(given)) if callable(script.rows) else script.rows
    made = RowList(run_id, script.row_ids)
    made.insert(rows, at=0)
    return made


def custom_input(given: Any) -> Mapping[str, Any]:
    """Return the Worker's own part of an input; empty when there is none."""
    inner: Any = given
    for name in ("parameters", "custom"):
        if not isinstance(inner, dict):
            return {}
        inner = cast("dict[str, Any]", inner).get(name)
    return cast("dict[str, Any]", inner) if isinstance(inner, dict) else {}
