"""What there is among the runs: how many of each status, what they cost, and those that the page shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from anyio.lowlevel import checkpoint
from attrs import define, field, frozen

from coreclaw_async.testing._console.excerpts import cut, excerpt, shown_or
from coreclaw_async.testing._console.guard import RefusedError
from coreclaw_async.testing._state.fake_run import FakeRun
from coreclaw_async.testing._state.world import EMPTY_INPUT, custom_input

if TYPE_CHECKING:
    from coreclaw_async.testing._serving.backend import Backend
    from coreclaw_async.testing._state.world import World

WINDOW = 50
"""How many runs the page shows at a time."""

_SLICE = 200
"""How many runs are looked at before other requests get their turn."""

_SEARCHED = 2000
"""How many characters of an input are searched."""

_SHOWN = 160
_MAX_STATUS = 40
_MAX_PATH = 200
_MAX_NUMBER = 30
_MAX_SEARCH = 200
_MAX_DIGITS = 9


@frozen
class RunWindow:
    """
    Which runs a page wants to see, newest first.

    Attributes:
        offset: How many newer ones that fit are left out.
        status: Their status; empty for any.
        text: What their id, Worker, or input contains, in lower case; empty for anything.
    """

    offset: int
    status: str
    text: str


def read_window(query: Mapping[str, str]) -> RunWindow:
    """
    Return the window that a query asks for.

    Raises:
        RefusedError: 400, with what is wrong.
    """
    offset, text = query.get("offset", "0"), query.get("text", "")
    if not (offset.isascii() and offset.isdigit() and len(offset) <= _MAX_DIGITS):
        raise RefusedError(400, f"'offset' must be a number of at most {_MAX_DIGITS} digits.")
    if len(text) > _MAX_SEARCH:
        raise RefusedError(400, f"'text' must have at most {_MAX_SEARCH} characters.")
    return RunWindow(int(offset), query.get("status", ""), text.strip().lower())


@frozen
class RunWords:
    """
    What is written about a run, and does not change.

    Attributes:
        worker: The path of its Worker.
        input: The beginning of its input.
        searched: What a search looks at, in lower case.
    """

    worker: str
    input: str
    searched: str


@define
class Survey:
    """
    What was found.

    Attributes:
        counts: How many runs there are of each status.
        cost: What those cost that were started through the API.
        fitting: How many fit the window, also before and after it.
        runs: Those in it.
    """

    counts: Counter[str] = field(factory=Counter[str])
    cost: Decimal = Decimal(0)
    fitting: int = 0
    runs: list[dict[str, Any]] = field(factory=list[dict[str, Any]])


@define(eq=False)
class Surveyor:
    """Looks at the runs of a service, as many as there are, without holding up its event loop."""

    _words: WeakKeyDictionary[FakeRun, RunWords] = field(factory=WeakKeyDictionary[FakeRun, RunWords])

    async def look(self, backend: Backend, window: RunWindow) -> Survey:
        """Return what there is now; the lock of `backend` is held for a few runs at a time."""
        found = Survey()
        with backend.lock:
            now = backend.world.now()
            runs = backend.world.runs_by_age[::-1]
        for first in range(0, len(runs), _SLICE):
            with backend.lock:
                for run in runs[first : first + _SLICE]:
                    self._add(found, backend.world, run, window, now)
            await checkpoint()
        return found

    def words_for(self, world: World, run: FakeRun) -> RunWords:
        """Return what is written about `run`; made only once, as its input may be big."""
        known = self._words.get(run)
        if known is None:
            worker = cut(world.workers[run.worker_id].path, _MAX_PATH)
            given = shown_or(lambda: excerpt(_own_input(run.input), _SEARCHED), str)
            known = RunWords(
                worker, cut(given.removeprefix("{").removesuffix("}"), _SHOWN), f"{run.run_id} {worker} {given}".lower()
            )
            self._words[run] = known
        return known

    def _add(self, found: Survey, world: World, run: FakeRun, window: RunWindow, now: float) -> None:
        age = round(now - run.born, 6)
        status = _status_of(run, age)
        found.counts[status] += 1
        if run.paid:
            found.cost += _known_cost(run, age)
        if window.status not in {"", status}:
            return
        if window.text and window.text not in self.words_for(world, run).searched:
            return
        if window.offset <= found.fitting < window.offset + WINDOW:
            found.runs.append(self.show(world, run))
        found.fitting += 1

    def show(self, world: World, run: FakeRun) -> dict[str, Any]:
        """Return a run as a line of the page; a run that a test has given an impossible script is among the others."""
        words = self.words_for(world, run)
        about = {
            "id": run.run_id,
            "worker": words.worker,
            "input": words.input,
            "status": _status_of(run, run.age),
            "created_at": run.created_at,
        }
        unknown = {"is_final": False, "is_stuck": False, "rows": None, "cost": None, "seconds": None}
        return about | shown_or(lambda: _state_of(run), lambda reason: {**unknown, "input": reason})


def _own_input(given: Any) -> Any:
    """Return what the Worker is told; the whole input where that is nothing, as it may have another form."""
    return custom_input(given) or ({} if given == EMPTY_INPUT else given)


def _status_of(run: FakeRun, age: float) -> str:
    return cut(run.status_after(age), _MAX_STATUS)


def _state_of(run: FakeRun) -> dict[str, Any]:
    return {
        "is_final": run.is_final,
        "is_stuck": run.ended_after is None and run.changes[-1][0] <= run.age,
        "rows": run.result_count,
        "cost": write_amount(run.usage),
        "seconds": int(run.duration),
    }


def _known_cost(run: FakeRun, age: float) -> Decimal:
    """Return what a run has cost; nothing where its script names no amount."""
    usage = shown_or(lambda: run.usage_after(age), lambda _: Decimal("NaN"))
    return usage if _is_amount(usage) else Decimal(0)


def write_amount(amount: Decimal) -> str:
    """Return an amount as a decimal number, or as it is where that would be none or a very long one."""
    return f"{amount:f}" if _is_amount(amount) else cut(amount, _MAX_NUMBER)


def _is_amount(amount: Decimal) -> bool:
    exponent = amount.as_tuple().exponent
    return isinstance(exponent, int) and abs(exponent) < _MAX_NUMBER and amount.adjusted() < _MAX_NUMBER
