"""Outages and rate limits on a virtual clock: requests of many waits, and refusals of many callers."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence

import attrs
from report import Report, Row, at_most, parser

from coreclaw_async import AsyncCoreClaw, CoreClawError
from coreclaw_async.events import Event, RequestSent
from coreclaw_async.testing import FakeService, RunScript, faults
from coreclaw_async.testing.faults import Fault

_ROUNDS = 1
_WORKER = "coreclaw/google-maps-scraper"
_MINUTE = 60.0
_BEGIN = 90.0
_LONGEST = 45 * _MINUTE
_RUNS = (1, 5, 30, 200, 1_000)
_IN_README = 200
_SEED = 7
_TOO_FAST = 13_000
_CALLERS = ((300, 50.0, 20), (500, 50.0, 20), (200, 20.0, 5))
# An end that could not be seen any more before the outage: the slow end of the schedule, with its jitter.
_ONE_LOOK = 18.0


@attrs.frozen
class Outage:
    """
    What fails, and for how long.

    Attributes:
        what: What the table calls it.
        fault: What each request is answered with meanwhile.
        seconds: How long.
    """

    what: str
    fault: Fault
    seconds: float

    @property
    def end(self) -> float:
        """When the service is back."""
        return _BEGIN + self.seconds

    def visible(self, life: float) -> float:
        """Return when the end of a run can be seen at the earliest."""
        return self.end if _BEGIN - _ONE_LOOK <= life < self.end else life


OUTAGES = (
    Outage("20 minutes of 502", faults.status(502), 20 * _MINUTE),
    Outage("5 minutes of 429", faults.rate_limited(), 5 * _MINUTE),
    Outage("5 minutes of 429 with Retry-After: 7", faults.rate_limited(retry_after=7), 5 * _MINUTE),
    Outage("20 minutes without a connection", faults.drop_before_commit(), 20 * _MINUTE),
    Outage("20 minutes of silence", faults.stall(), 20 * _MINUTE),
)


def lives(runs: int) -> list[float]:
    """Return how long each of the runs lives: some end before, some in, and some after an outage."""
    dice = random.Random(_SEED)
    return [dice.uniform(1, _LONGEST) for _ in range(runs)]


async def wait(ends: Sequence[float], outage: Outage | None) -> tuple[int, list[float]]:
    """Return the requests that it takes to wait for runs with these ends, and how late each end was seen."""
    service = FakeService()
    ids = {service.add_run(_WORKER, script=RunScript(duration=end), age=0.0): end for end in ends}
    if outage is not None:
        service.faults.add(outage.fault, times=10**9, match=lambda _: _BEGIN <= service.clock.monotonic() < outage.end)
    late: list[float] = []
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        async for run in client.runs.wait_many(ids):
            end = ids[run.run_id]
            late.append(service.clock.monotonic() - (end if outage is None else outage.visible(end)))
    assert len(late) == len(ids)
    return len(service.requests), late


async def compare(report: Report, runs: int, outage: Outage) -> None:
    """Compare the requests, and how late ends are seen, with those of a service that is never out of sight."""
    ours, late = await wait(lives(runs), outage)
    # The healthy service is asked for as long: until the end that can be seen.
    healthy, _ = await wait([outage.visible(life) for life in lives(runs)], None)
    report.add(
        Row(
            what=f"{runs:,} runs, {outage.what}",
            unit="requests",
            ours=ours,
            peer=healthy,
            value=ours / healthy,
            budget=at_most(2),
            note=f"peer: the same without failures; ends seen {max(late):.0f} s late at most",
            key=f"outage/{runs}/{outage.what}",
        )
    )


async def call_at_once(report: Report, callers: int, rate: float, burst: int) -> None:
    """Count what is refused, and what fails, of calls at once to a service that limits the rate."""
    service = FakeService(rate_limit=rate, rate_burst=burst)
    refusals = failures = 0

    def count(event: Event) -> None:
        nonlocal refusals
        refusals += isinstance(event, RequestSent) and event.code == _TOO_FAST

    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=count) as client:

        async def call() -> None:
            nonlocal failures
            try:
                await client.account.get()
            except CoreClawError:
                failures += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(call())
    seconds, least = service.clock.monotonic(), (callers - burst) / rate
    report.add(
        Row(
            what=f"{callers} calls at once, {rate:g} a second, burst of {burst}",
            unit="refusals",
            ours=refusals,
            value=refusals,
            budget=at_most(40),
            note=f"{failures} failed; {seconds:.1f} s, where {least:.1f} s is the least",
        )
    )


async def _main(report: Report, *, is_for_readme: bool) -> None:
    if is_for_readme:
        await compare(report, _IN_README, OUTAGES[0])
        return
    for callers, rate, burst in _CALLERS:
        await call_at_once(report, callers, rate, burst)
    for outage in OUTAGES:
        for runs in _RUNS:
            await compare(report, runs, outage)


if __name__ == "__main__":
    options = parser(__doc__, _ROUNDS).parse_args()
    logging.getLogger("coreclaw_async").setLevel(logging.ERROR)  # The waits warn that they see nothing.
    table = Report("bench_outage", options.rounds)
    asyncio.run(_main(table, is_for_readme=options.readme))
    table.finish(options.json)
