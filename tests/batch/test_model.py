"""
Batches against a model of the service, drawn at random: losses, list lag, foreign runs, callbacks, deaths, months.

Whatever comes: at most one paid run for each item, no item bound to a run that is not its own, and none forgotten.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from batch.batches import WORKER, key_of, opened, runs_by_key, specs
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from coreclaw_async import BatchItem, BatchItemState, CallbackHub, RunStatus, SettleTimes
from coreclaw_async.batch import IllegalStepError
from coreclaw_async.batch._evidence import Decision, decide, evidence_of, settled_at
from coreclaw_async.batch._item_steps import to_held, to_intent
from coreclaw_async.models import Run
from coreclaw_async.testing import CallbackPlan, FakeService, RunScript, faults

pytestmark = pytest.mark.endurance

KEYS = 6
START = 1_786_766_400.0
# Just before the service's month ends, so that lists are cut in the middle of a recovery.
MONTH_END = dt.datetime(2026, 8, 31, 23, 59, 0, tzinfo=dt.timezone(dt.timedelta(hours=8))).timestamp()
TIMES_OF_START_QUEUES = SettleTimes()
TIMES = SettleTimes(post_timeout=0.3, callback_patience=30.0)
LOSSES = {
    "none": None,
    "committed": faults.commit_then_drop(),
    "not committed": faults.drop_before_commit(),
    "502 after": faults.commit_then_status(502),
    "502 before": faults.status(502),
    "no slug": faults.edit(lambda envelope: {**envelope, "data": {}}),
    "refused": faults.refuse_connection(),
    "too fast": faults.rate_limited(),
}
starts = st.lists(st.sampled_from(sorted(LOSSES)), max_size=8)


@st.composite
def lives(draw: st.DrawFn) -> dict[str, Any]:
    """One process: what happens to the starts that it sends, and after how many outcomes it dies."""
    return {"losses": draw(starts), "outcomes": draw(st.integers(0, KEYS)), "is_stalled": draw(st.booleans())}


@settings(max_examples=25)
@given(
    processes=st.lists(lives(), min_size=1, max_size=3),
    exclusive=st.booleans(),
    foreign=st.lists(st.floats(0.0, 8.0), max_size=6),
    lag=st.floats(0.0, 9.0),
    hub_loses=st.sampled_from([None, 0.0, 0.5, 1.0]),
    begin=st.sampled_from([START, MONTH_END]),
    duration=st.floats(0.0, 300.0),
    dialect=st.sampled_from(["page", "row", "aligned"]),
)
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
def test_each_item_has_one_run_at_most_and_only_its_own(  # noqa: C901 - one story from beginning to end
    anyio_backend: str,
    processes: list[dict[str, Any]],
    exclusive: bool,
    foreign: list[float],
    lag: float,
    hub_loses: float | None,
    begin: float,
    duration: float,
    dialect: Any,
) -> None:
    # exclusive=True is only for accounts without other starts, or a single candidate need not be the item's run.
    exclusive = exclusive and not foreign
    hub = None if hub_loses is None else CallbackHub("http://127.0.0.1:9/hooks")
    service = FakeService(
        list_lag=lag,
        offset_dialect=dialect,
        default_script=RunScript(rows=1, duration=duration),
        callback_transport=None if hub is None else httpx.ASGITransport(app=hub),
        callback_plan=CallbackPlan(delay=0.0 if hub_loses == 0.0 else 40.0 * (hub_loses or 0.0)),
    )
    service.clock.set_time(begin)

    async def live(folder: Path) -> None:
        ledger = f"sqlite:///{folder / 'runs.db'}"
        async with anyio.create_task_group() as group:
            group.start_soon(interfere)
            for process in [*processes, {"losses": [], "outcomes": 10 * KEYS, "is_stalled": False}]:
                await one_process(ledger, process)
            group.cancel_scope.cancel()

    async def interfere() -> None:
        for pause in foreign:
            await service.clock.sleep(pause)
            service.add_run(WORKER, status="running", age=0.0)
        while True:
            await service.clock.sleep(0.5)
            await service.deliver_callbacks()

    async def one_process(ledger: str, process: dict[str, Any]) -> None:
        service.faults.clear()
        for place, loss in enumerate(process["losses"]):
            fault = LOSSES[loss]
            if fault is not None:
                service.faults.add(fault, operation="runWorker", after=place)
        if process["is_stalled"]:
            service.faults.add(faults.stall(), operation="runWorker", after=len(process["losses"]))
        options = {} if hub is None else {"callbacks": hub}
        async with opened(service, ledger, count=KEYS, exclusive=exclusive, settle_times=TIMES, **options) as batch:
            stream = batch.run()
            for _ in range(process["outcomes"]):
                if await anext(stream, None) is None:
                    break
            bound.clear()
            for number in range(KEYS):
                item = await batch.get(f"k{number}")
                states[item.key] = item
                for run in await batch.history(item.key):
                    bound[run.run_id] = item.key

    bound: dict[str, str] = {}
    states: dict[str, BatchItem] = {}
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(live, Path(folder))

    paid = runs_by_key(service)
    assert max(paid.values(), default=0) <= 1
    for run_id, key in bound.items():
        assert service.runs[run_id].paid
        assert key_of(service, run_id) == key
    for key, item in states.items():
        assert item.state in {BatchItemState.DONE, BatchItemState.AMBIGUOUS}, "nothing is forgotten"
        if item.state is BatchItemState.AMBIGUOUS:
            own = {run_id for run_id, run in service.runs.items() if run.paid and key_of(service, run_id) == key}
            assert own <= set(item.candidates)
    if not foreign:
        held = [item for item in states.values() if item.state is BatchItemState.AMBIGUOUS]
        assert not (held and exclusive)


def a_run(run_id: str, origin: str = "openapi") -> Run:
    return Run(run_id=run_id, status=RunStatus.RUNNING, origin=origin)


class StartQueueMachine(RuleBasedStateMachine):
    """One start queue and its list, in which a start is lost at a time; the decisions against what happened."""

    @initialize(exclusive=st.booleans())
    def begin(self, exclusive: bool) -> None:
        self.service = FakeService()
        self.exclusive = exclusive
        self.truth: dict[str, str] = {}
        self.bound: dict[str, str] = {}
        self.item = next(iter(self.planned(0)))
        self.number = 0
        self.accepted: str | None = None
        self.foreign_since_intent = False
        self.was_empty = False

    @staticmethod
    def planned(number: int) -> list[BatchItem]:
        return [
            BatchItem(batch="b", key=spec.key, position=number, worker_id="w", input_sha256="") for spec in specs(1)
        ]

    @rule(is_accepted=st.booleans())
    def lose_a_start(self, is_accepted: bool) -> None:
        if self.item.state is not BatchItemState.PLANNED:
            return
        self.item = to_intent(self.item, at=self.service.clock.time(), callback_url=None)
        self.foreign_since_intent = self.was_empty = False
        self.accepted = self.service.add_run(WORKER, status="running", age=0.0) if is_accepted else None
        if self.accepted is not None:
            self.truth[self.accepted] = f"{self.item.key}-{self.number}"

    @rule(origin=st.sampled_from(["openapi", "web"]))
    def start_a_foreign_run(self, origin: str) -> None:
        if not self.exclusive:
            self.service.add_run(WORKER, status="running", age=0.0, origin=origin)
            self.foreign_since_intent = True

    @rule()
    def accept_the_start_late(self) -> None:
        """As late as the start can still be under way."""
        sent = self.item.intent_at
        if self.item.state is not BatchItemState.INTENT or self.accepted is not None or sent is None:
            return
        if self.service.clock.time() < sent + TIMES_OF_START_QUEUES.send_window + TIMES_OF_START_QUEUES.post_timeout:
            self.accepted = self.service.add_run(WORKER, status="running", age=0.0)
            self.truth[self.accepted] = f"{self.item.key}-{self.number}"

    @rule(seconds=st.sampled_from([1.0, 10.0, 40.0, 85.0]))
    def wait(self, seconds: float) -> None:
        self.service.clock.advance(seconds)

    @rule()
    def look(self) -> None:
        item = self.item
        times = TIMES_OF_START_QUEUES
        settled = settled_at(times, item.intent_at or 0.0)
        if item.state is not BatchItemState.INTENT or self.service.clock.time() < settled:
            return
        runs = [a_run(run_id, run.origin) for run_id, run in self.service.runs.items()]
        look = evidence_of(runs, set(self.bound), [item], times, skew=times.skew)
        decision = decide(look, [item], is_exclusive=self.exclusive, was_empty=self.was_empty, may_wait=False)
        self.was_empty = not look.candidates
        name = f"{item.key}-{self.number}"
        match decision:
            case Decision.NOT_ACCEPTED:
                assert self.accepted is None
                self.next_item()
            case Decision.ADOPT:
                assert self.truth[look.candidates[0]] == name
                self.bound[look.candidates[0]] = name
                self.next_item()
            case Decision.HOLD:
                assert self.accepted is None or self.accepted in look.candidates
                assert self.accepted is not None or self.foreign_since_intent
                with pytest.raises(IllegalStepError):
                    to_intent(to_held(item, look.candidates), at=0.0, callback_url=None)
                for candidate in look.candidates:  # A person decides, after which no item is ambiguous.
                    self.bound.setdefault(candidate, self.truth.get(candidate, "foreign"))
                self.next_item()
            case Decision.LOOK_AGAIN:
                assert self.was_empty

    def next_item(self) -> None:
        self.number += 1
        self.item = self.planned(self.number)[0]
        self.accepted = None

    @invariant()
    def every_binding_is_true(self) -> None:
        for run_id, name in getattr(self, "bound", {}).items():
            assert self.truth.get(run_id, "foreign") == name


TestStartQueue = StartQueueMachine.TestCase
TestStartQueue.settings = settings(max_examples=100, stateful_step_count=50)
