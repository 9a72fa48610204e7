"""A batch of one item: the run that belongs to a key, which is started once however often it is asked for."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NoReturn, TypeVar

import anyio
import attrs

from coreclaw_async import errors
from coreclaw_async._data.counting import counted
from coreclaw_async._logs import facts, logger
from coreclaw_async._operations.context import Context
from coreclaw_async._operations.leaving import leave, tell_ended
from coreclaw_async._operations.once import PREFIX, OnceCall
from coreclaw_async._operations.run_streams import Changes
from coreclaw_async._operations.wait import wait_for_run
from coreclaw_async._progress.reporter import Reporter
from coreclaw_async._wire.json_types import is_array, is_object
from coreclaw_async._wire.request import shown_worker
from coreclaw_async.batch._batch import AsyncBatch
from coreclaw_async.batch._item_steps import to_planned
from coreclaw_async.batch._items import BatchItem, BatchItemState, IllegalStepError, ItemOrigin
from coreclaw_async.batch._ledger.plans import add_items
from coreclaw_async.batch._shard import Shard
from coreclaw_async.batch._specs import PlannedSpec, RunSpec
from coreclaw_async.batch._store.address import shown_ledger
from coreclaw_async.models import Run

T = TypeVar("T")

_NO_RUN = (BatchItemState.REJECTED, BatchItemState.CANCELLED)
_LOOK_SECONDS = 10.0
_RECORD_SECONDS = 10.0
# The ledger may take so long in any case: what it says of a start is worth more than a short delay.
_ANSWER_SECONDS = 2.0
_MIN_TIMEOUT = 0.001
_MAX_PLACES = 3


async def run_once(context: Context, call: OnceCall) -> Run:
    """Return the run of a key, and start it if the key has none; see `AsyncWorkers.run_once`."""
    spec = PlannedSpec.of(
        RunSpec(
            key=call.key,
            worker_id=call.worker_id,
            input=call.input,
            system=call.system,
            version=call.version,
        )
    )
    batch = OnceBatch(context, call, spec)
    try:
        async with batch:
            return await batch.perform()
    except BaseException as error:
        await batch.leave(error)
        raise


class OnceBatch(AsyncBatch):
    """
    The batch of one key.

    Its item is added in one step, so it is never half planned, whoever else adds it at the same time.
    """

    def __init__(self, context: Context, call: OnceCall, spec: PlannedSpec) -> None:
        super().__init__(
            context,
            PREFIX + call.key,
            ledger=call.ledger,
            exclusive=call.exclusive,
            on_ambiguous="hold",
            settle_times=None,
            account=call.account,
        )
        self._context = context
        self._call = call
        self._spec = spec
        self._runner.on_follow = self._follow
        self._run_id: str | None = None
        self._is_driven = False
        self._is_waited_for = False
        self._has_ended = False
        self._is_late = False
        self._began = context.clock.monotonic()
        self._failure: Exception | None = None
        self._news = anyio.Event()
        self._ended = anyio.Event()

    async def perform(self) -> Run:
        """Return the run of the key as it ended, or, where nobody waits for its end, as it is."""
        context, options = self._context, self._call.options
        reporter = Reporter(options.progress, "run", context.clock.monotonic)
        with reporter:
            reporter.tell(f"looking for the run of key {self._spec.key!r}", done=0, total=1)
            run_id = self._run_id = await self._find()
        if not self._call.wait:
            run = await self._look(run_id)
            reporter.tell_run(run)
            reporter.end()
            return run
        self._is_waited_for = True
        try:
            run = await wait_for_run(context, run_id, attrs.evolve(options, began=self._began), reporter)
        except (errors.RunFailedError, errors.RunAbortedError):
            self._has_ended = True
            await self._let_end_be_recorded(run_id)
            raise
        self._has_ended = True
        await self._let_end_be_recorded(run_id)
        return run

    async def _open_ledger(self) -> None:
        """Open the ledger within the caller's time: by the real clock, as files and servers know no other."""
        timeout = math.inf if self._call.options.timeout is None else self._call.options.timeout
        end = anyio.current_time() + timeout
        failure: errors.LedgerError | None = None
        with anyio.move_on_after(timeout) as scope:
            try:
                await self._batch_context.ledger.open(self._context.clock, timeout)
            except errors.LedgerError as error:
                if anyio.current_time() < end:
                    raise
                failure = error
        if failure is not None or scope.cancelled_caught:
            why = "it does not answer" if failure is None else failure.message
            raise errors.WaitTimeoutError(
                f"the ledger could not be opened within {timeout:g} s, so nobody knows whether key {self._spec.key!r} "
                f"has a run; nothing was sent: {why}",
                run_id=None,
            ) from failure

    async def leave(self, error: BaseException) -> None:
        """Name the run in *error* which ended the call, and do with it what the caller asked for, if nobody has yet."""
        self._run_id = self._known_run
        if isinstance(error, errors.CoreClawError):
            error.run_id = error.run_id or self._run_id
        if self._run_id is not None and self._has_ended:
            tell_ended(error, self._run_id)
        elif self._run_id is not None and not self._is_waited_for:
            await leave(self._context, error, [self._run_id], self._call.options.on_cancel)

    def _seconds_left(self) -> float | None:
        timeout = self._call.options.timeout
        if timeout is None:
            return None
        return max(timeout - (self._context.clock.monotonic() - self._began), _MIN_TIMEOUT)

    async def _look(self, run_id: str) -> Run:
        """Return the run as it is, or its id alone where it cannot be seen soon: the id must not be held back."""
        left = self._seconds_left()
        seconds = _LOOK_SECONDS if left is None else min(left, _LOOK_SECONDS)
        changes = Changes(self._context, run_id, attrs.evolve(self._call.options, timeout=seconds))
        try:
            run = await changes.next()
        except errors.WaitTimeoutError as error:
            told = facts(error, run_id=run_id)
            logger.warning("run %s is known and cannot be seen yet: %s", run_id, error, extra=told)
            return Run(run_id=run_id)
        assert run is not None, "the first state comes before the end"
        return run

    async def _find(self) -> str:
        """Return the id of the run, once it has one."""
        while True:
            item = await self._ask_ledger(self._plan)
            if not item.state.is_open:
                return self._run_of(item)
            run_id = await self._start(item)
            if run_id is not None:
                return run_id
            item = await self._after_starts()
            # It may have gone through another process, of which this one was told nothing.
            run_id = self._known_run or item.run_id
            if run_id is not None:  # pragma: no cover - another process was quicker, or has locked the ledger
                return run_id
            if self._batch_context.refusal is not None:
                raise self._batch_context.refusal
            if item.state in {BatchItemState.CANCELLED, BatchItemState.AMBIGUOUS, BatchItemState.FAILED}:
                return self._run_of(item)
            if self._is_late:
                raise self._late_start(item)
            if self._failure is not None:
                raise _as_of_a_start(self._failure)
            # Another process was refused, which is told nobody else, or has planned the key again: it is tried here.

    async def _start(self, item: BatchItem) -> str | None:
        """Start the run and return its id; None where nothing more can be done, or the time is up before that."""
        group = self._runner.group
        assert group is not None, "the batch is open"
        self._news, self._ended = anyio.Event(), anyio.Event()
        self._is_driven = True
        group.start_soon(self._drive)
        if item.run_id is not None:
            return item.run_id
        seconds = self._seconds_left()
        if seconds is not None:
            group.start_soon(self._expire, seconds, self._news)
        await self._news.wait()
        if self._is_late:
            self._runner.stop("closed")
            await self._runner.let_starts_end()
        return self._run_id

    async def _after_starts(self) -> BatchItem:
        """Return the item, once no start is under way where the time is up."""
        while True:
            if isinstance(self._failure, errors.LedgerError):  # It names the run that could not be recorded.
                raise self._failure
            item = await self._ask_ledger(functools.partial(self.get, self._spec.key))
            if not (self._is_late and self._batch_context.sending):
                return item
            await self._runner.let_starts_end()  # pragma: no cover - it began in the same moment as the time was up

    async def _ask_ledger(self, ask: Callable[[], Awaitable[T]]) -> T:
        """
        Return what the ledger answers within the caller's time: by the real clock, as files and servers know no other.

        Raises:
            WaitTimeoutError: It does not answer, and the run is known, or nothing was sent.
            OutcomeUnknownError: It does not answer, and a start may have been sent.
        """
        left = self._seconds_left()
        if left is None:
            return await ask()
        with anyio.move_on_after(max(left, _ANSWER_SECONDS)):
            return await ask()
        what = f"the ledger did not answer within {self._call.options.timeout:g} s"
        run_id = self._known_run
        if run_id is not None:
            raise errors.WaitTimeoutError(f"{what}, and run {run_id} of key {self._spec.key!r} goes on", run_id=run_id)
        if self._is_driven:
            raise errors.OutcomeUnknownError(
                f"{what}: a start for key {self._spec.key!r} may have been sent, and a run may cost money; "
                "another call for this key finds out and never pays a second time",
                candidates=None,
            )
        raise errors.WaitTimeoutError(
            f"{what}, so nobody knows whether key {self._spec.key!r} has a run; nothing was sent", run_id=None
        )

    @property
    def _known_run(self) -> str | None:
        """The run, also where the ledger has not taken it."""
        return self._run_id or next(iter(self._batch_context.unrecorded.values()), None)

    def _late_start(self, item: BatchItem) -> errors.CoreClawError:
        """Return the error of a call whose time was up before a run was known."""
        seconds = f"{self._call.options.timeout:g} s"
        if item.state is BatchItemState.INTENT:
            return errors.OutcomeUnknownError(
                f"a start for key {item.key!r} was sent and was not answered within {seconds}: a run may have been "
                "started, and may cost money; another call for this key finds out and never pays a second time",
                candidates=item.candidates or None,
            )
        return errors.WaitTimeoutError(
            f"no run of key {item.key!r} was started within {seconds}; another call continues", run_id=None
        )

    def _run_of(self, item: BatchItem) -> str:
        """
        Return the run of the item.

        Raises:
            CoreClawError: It has none, or nobody knows which.
        """
        if item.run_id is not None:
            return item.run_id
        match item.state:
            case BatchItemState.CANCELLED:
                raise errors.BatchIncompleteError(
                    f"key {item.key!r} was cancelled before its run was started; another call starts it",
                    counts={},
                    reasons={item.key: "cancelled"},
                )
            case BatchItemState.AMBIGUOUS | BatchItemState.FAILED:
                raise errors.OutcomeUnknownError(
                    f"a start for key {item.key!r} was never answered, and it cannot be told which run came of it; "
                    f"nothing is started for this key until you decide: in the block of "
                    f"client.batch({self.name!r}, ledger={shown_ledger(self._call.ledger)!r}), call "
                    f"resolve({item.key!r}, adopt=RUN_ID), or resolve({item.key!r}, resubmit=True) if it has no run; "
                    f"coreclaw-async batch resolve does the same",
                    candidates=item.candidates,
                )
            case _:  # pragma: no cover - others have a run
                raise AssertionError(item.state)

    async def _plan(self) -> BatchItem:
        """Return the item, which is added if it is new, and planned again if its start was refused or cancelled."""
        ledger = self._opened()
        try:
            await add_items(ledger.database, ledger.batch, [self._spec], is_half_planned=False)
        except errors.BatchConflictError as error:
            await self._raise_conflict(error)
        item = await self.get(self._spec.key)
        self._check_pays_once(item)
        ledger.work_on(Shard(first=item.position, last=item.position))  # Others may have planned items beside it.
        while item.state in _NO_RUN:
            try:
                return await self._batch_context.step(item, to_planned(item, ItemOrigin.PERSON))
            except IllegalStepError:  # pragma: no cover - another process was quicker, at one moment only
                item = await self.get(self._spec.key)
        return item

    def _check_pays_once(self, item: BatchItem) -> None:
        """Refuse an item that somebody has planned in the batch of the key so that it may have several runs."""
        if item.retries or item.run_timeout is not None:
            raise errors.BatchConflictError(
                f"key {item.key!r} was planned in batch {self.name!r} with retries={item.retries} and "
                f"run_timeout={item.run_timeout}, and run_once starts one run without a time limit; nothing was sent. "
                "Run that batch, or give another key",
                key=item.key,
                planned=item.input_sha256,
                given=self._spec.input_sha256,
            )

    async def _drive(self) -> None:
        """Start the run if the key has none, and record its end."""
        try:
            async for _ in self.run():
                pass
        except Exception as error:  # noqa: BLE001 - raised by whoever waits, or reported
            self._failure = error
        finally:
            self._news.set()
            self._ended.set()

    async def _expire(self, seconds: float, news: anyio.Event) -> None:
        await self._context.clock.sleep(seconds)
        if not news.is_set():
            self._is_late = True
            news.set()

    def _follow(self, item: BatchItem) -> None:
        self._run_id = item.run_id
        self._news.set()

    async def _let_end_be_recorded(self, run_id: str) -> None:
        """Wait until the ledger has the end of the run, for a short time, as the next call can do that too."""
        if not self._is_driven:  # It had the end before.
            return
        with anyio.move_on_after(_RECORD_SECONDS):
            await self._ended.wait()
        if self._failure is not None:
            told = facts(self._failure, run_id=run_id)
            logger.warning(
                "the end of run %s could not be recorded in the ledger: %s", run_id, self._failure, extra=told
            )

    async def _raise_conflict(self, error: errors.BatchConflictError) -> NoReturn:
        key, given = self._spec.key, self._spec
        item = await self.get(key)
        planned = (await self._opened().inputs([key]))[key]
        what = [
            f"{name} was {before!r} and is {now!r}"
            for name, before, now in (
                ("worker_id", item.worker_id, shown_worker(given.worker_id)),
                ("version", item.version, given.version),
            )
            if before != now
        ]
        places = list(_differences(*(json.loads(text)["parameters"] for text in (planned, given.input))))
        what += [f"{place} has changed" for place in places[:_MAX_PLACES]]
        if len(places) > _MAX_PLACES:
            what.append(counted(len(places) - _MAX_PLACES, "more place has changed", "more places have changed"))
        raise errors.BatchConflictError(
            f"key {key!r} belongs to another run: {', '.join(what)}; nothing was sent. "
            "Give what the first call gave, or another key for another run",
            key=key,
            planned=error.planned,
            given=error.given,
        ) from None


def _as_of_a_start(failure: Exception) -> Exception:
    """Return why nothing was started as the error that a single start raises."""
    if isinstance(failure, errors.BatchStoppedError) and failure.reason == "balance":
        error = errors.InsufficientBalanceError(failure.message, code=30001)
        error.__cause__ = failure
        return error
    return failure


def _differences(before: Any, now: Any, place: str = "") -> Iterator[str]:
    """Yield the places where two inputs differ; not what stands there, which may be confidential."""
    if is_object(before) and is_object(now):
        for name in {**before, **now}:
            step = f"{place}.{name}" if place else {"custom": "input"}.get(name, name)
            if name in before and name in now:
                yield from _differences(before[name], now[name], step)
            else:
                yield step
    elif is_array(before) and is_array(now) and len(before) == len(now):
        for index, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from _differences(one, other, f"{place}[{index}]")
    elif json.dumps(before, sort_keys=True) != json.dumps(now, sort_keys=True):
        yield place
