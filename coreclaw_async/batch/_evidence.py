"""What the list of runs proves about starts that were never answered. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

import attrs

from coreclaw_async._wire.request import check_seconds
from coreclaw_async._wire.timestamps import creation_time
from coreclaw_async.batch._items import BatchItem
from coreclaw_async.models import Run

# How long a start of another account may take from its intent to its run, whatever its settle times are.
_MAX_START = 3_600.0
# Bytes a second: what a large input needs at least to leave in time.
_SLOWEST = 65_536


def _seconds(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    # A start that may not take any time never leaves.
    check_seconds(attribute.name, value, allow_zero=attribute.name not in {"send_window", "post_timeout"})


@attrs.frozen(kw_only=True)
class SettleTimes:
    """
    After how many seconds it is settled whether a start that was never answered has created a run.

    All are 0 or more, the first two above 0. Shorter times settle sooner and prove less. At most one run is paid for
    each item if a run is in the list *list_lag* after it was created, and if the service accepts no start later than
    *post_timeout* and *list_lag* after it may leave. The service documents neither.

    A start leaves within *send_window* or never, even if its process is stopped meanwhile: the end of its body is held
    back. A large input takes longer, so its end may leave later, by a second for each 64 KiB and by half of
    *post_timeout* at most; the service then has the other half to accept it. Give a longer *post_timeout* for
    connections that are too slow for that. After a start was given up, the kernel may still deliver data that it has
    buffered: Linux tries for about 100 seconds after the first byte while the network fails. If your network may fail
    that long, *post_timeout* and *list_lag* together must exceed it; the defaults, 70 seconds, do not.

    Attributes:
        send_window: How long after its intent a start may leave.
        post_timeout: How long to wait for the answer to a start.
        skew: How far the clock of the service and the time in a run's id may be apart.
        list_lag: How long a new run may be missing in the list.
        callback_patience: How much longer to wait for callbacks, where starts carry URLs of their own.

    Raises:
        ValueError: A number is out of range.
        TypeError: Something is no number.

    Example::

        batch = client.batch(
            "careful", ledger="sqlite:///runs.db", settle_times=SettleTimes(post_timeout=120, list_lag=60)
        )
    """

    send_window: float = attrs.field(default=5.0, validator=_seconds)
    post_timeout: float = attrs.field(default=60.0, validator=_seconds)
    skew: float = attrs.field(default=5.0, validator=_seconds)
    list_lag: float = attrs.field(default=10.0, validator=_seconds)
    callback_patience: float = attrs.field(default=60.0, validator=_seconds)


def leaves_within(times: SettleTimes, size: int) -> float:
    """Return how many seconds after its intent a start of *size* bytes has left completely, or never will."""
    return times.send_window + min(size / _SLOWEST, times.post_timeout / 2)


def settled_at(times: SettleTimes, intent_at: float) -> float:
    """Return from when on the list proves something about a start, on the service's clock."""
    return intent_at + times.send_window + times.post_timeout + times.skew + times.list_lag


class Decision(Enum):
    """What is to be done with starts whose answer was lost."""

    NOT_ACCEPTED = auto()
    ADOPT = auto()
    HOLD = auto()
    LOOK_AGAIN = auto()


@attrs.frozen
class ListEvidence:
    """
    What one look at the list of a start queue shows, against the starts that are open in it.

    Attributes:
        candidates: Runs that belong to nothing else and that one of the starts may have created.
        is_foreign: Whether there are runs that no item and no open start can explain.
        is_whole: Whether each entry of the list says which run it is; one that does not may be any run.
        rivals: When those starts of other accounts were about to leave that may have brought a candidate about.
    """

    candidates: tuple[str, ...]
    is_foreign: bool
    is_whole: bool = True
    rivals: tuple[float, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it is certain that none of the starts has created a run."""
        return self.is_whole and not self.candidates


def evidence_of(
    runs: Sequence[Run],
    explained: set[str],
    items: Sequence[BatchItem],
    times: SettleTimes,
    *,
    skew: float,
    rivals: Sequence[float] = (),
) -> ListEvidence:
    """
    Return what the list shows; the time in a run's id rules a run out that is older than all starts, and nothing else.

    Args:
        runs: The list.
        explained: Those of them that have nothing to do with the items.
        items: The open starts of the start queue.
        times: When they are settled.
        skew: How far the clocks by which the items and the runs are dated may be apart, in seconds.
        rivals: When the starts were about to leave that other accounts have open in the start queue.
    """
    first = min(_intent_at(item) for item in items) - skew
    last = max(_intent_at(item) for item in items) + times.send_window + times.post_timeout + skew
    candidates: list[str] = []
    is_foreign = False
    named = [run for run in runs if run.run_id]
    for run in named:
        if run.run_id in explained or run.run_id in candidates:
            continue
        created = creation_time(run.run_id)
        if created is not None and created < first:
            continue
        is_by_hand = run.origin == "web"
        # No start was under way any more, unless the clock by which they are dated was behind: the machine may have
        # stood still before. So such a run is foreign, and nevertheless no proof that there is none of these starts.
        is_foreign = is_foreign or is_by_hand or (created is not None and created > last)
        if not is_by_hand:
            candidates.append(run.run_id)
    rivals = tuple(at for at in rivals if any(_may_be_of(run_id, at, skew) for run_id in candidates))
    is_foreign = is_foreign or len(candidates) > len(items) + len(rivals)
    return ListEvidence(tuple(candidates), is_foreign, is_whole=len(named) == len(runs), rivals=rivals)


def _may_be_of(run_id: str, intent_at: float, skew: float) -> bool:
    """Return whether a start of another account may have brought the run about."""
    created = creation_time(run_id)
    return created is None or intent_at - skew <= created <= intent_at + _MAX_START + skew


def decide(
    evidence: ListEvidence, items: Sequence[BatchItem], *, is_exclusive: bool, was_empty: bool, may_wait: bool
) -> Decision:
    """
    Return what follows from a look that was made when all starts had settled.

    Args:
        evidence: What the list shows.
        items: The open starts of the start queue.
        is_exclusive: Whether nobody else starts runs of this worker.
        was_empty: Whether the look before this one, a list lag ago, found no candidates either.
        may_wait: Whether callbacks may still name the runs, or other accounts may still tell whose they are.
    """
    if evidence.is_empty:
        return Decision.NOT_ACCEPTED if was_empty else Decision.LOOK_AGAIN
    if evidence.rivals:  # Nobody can tell whose run a candidate is.
        is_exclusive = False
    is_only = len(items) == 1 and len(evidence.candidates) == 1 and evidence.is_whole and not evidence.is_foreign
    if is_only and is_exclusive:
        return Decision.ADOPT
    return Decision.LOOK_AGAIN if may_wait else Decision.HOLD


def _intent_at(item: BatchItem) -> float:
    assert item.intent_at is not None, "an open start has a time"
    return item.intent_at
