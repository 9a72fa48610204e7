"""Following many runs to their ends: requests in five minutes on a virtual clock, processor time on a real one."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence

import anyio
from report import Report, Row, at_least, at_most, parser
from samples import FOLLOWED, followed_id
from stub_server import Stub, forget_proxies

from coreclaw_async import AsyncCoreClaw, Clock, PollSchedule
from coreclaw_async.testing import FakeService, RunScript

_ROUNDS = 3
_WORKER = "coreclaw/google-maps-scraper"
_SECONDS = 290.0
_OTHERS = 5_000
_AGES = 500_000.0
_SEED = 7

Follow = Callable[[AsyncCoreClaw, Clock, Sequence[str]], Awaitable[None]]


def scene(runs: int, *, others: int) -> tuple[FakeService, list[str]]:
    """Return a service with *runs* runs to follow, the newest of all, or scattered among *others* that have ended."""
    service = FakeService()
    dice = random.Random(_SEED)
    marks = [True] * runs + [False] * others
    dice.shuffle(marks)
    ids: list[str] = []
    for is_followed in marks:
        age = dice.uniform(0, _AGES) if others else 0.0
        lasts = age + dice.uniform(1, _SECONDS) if is_followed else 0.0
        run_id = service.add_run(_WORKER, script=RunScript(rows=1, duration=lasts), age=age)
        if is_followed:
            ids.append(run_id)
    return service, ids


async def together(client: AsyncCoreClaw, clock: Clock, ids: Sequence[str]) -> None:
    """Wait for all with one iterator."""
    del clock
    seen = [run.run_id async for run in client.runs.wait_many(ids)]
    assert sorted(seen) == sorted(ids)


async def one_by_one(client: AsyncCoreClaw, clock: Clock, ids: Sequence[str]) -> None:
    """Give each run a task and a schedule of its own, as the service's documents show it."""

    async def follow(run_id: str) -> None:
        delays = client._context.schedule.jittered_delays()
        while not (await client.runs.get(run_id)).is_finished:
            await clock.sleep(next(delays))

    async with anyio.create_task_group() as group:
        for run_id in ids:
            group.start_soon(follow, run_id)


async def count_requests(follow: Follow, runs: int, others: int) -> int:
    """Return the requests that it takes to follow *runs* runs for five minutes."""
    service, ids = scene(runs, others=others)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        await follow(client, service.clock, ids)
        return len(service.requests)


async def measure_time(follow: Follow) -> tuple[int, float]:
    """Return the requests and the seconds of processor time to follow 1,000 runs that are looked at each second."""
    ids = [followed_id(place) for place in range(FOLLOWED)]
    schedule = PollSchedule(delays=(1.0,), jitter=0.0)
    with Stub() as stub:
        async with AsyncCoreClaw("key", base_url=stub.url, backend="httpx", poll_schedule=schedule) as client:
            started = time.process_time()
            await follow(client, client._context.transport.clock, ids)
            return stub.counts()["GET"], time.process_time() - started


async def requests(report: Report, runs: int, *, others: int = 0) -> None:
    """Compare the requests for five minutes."""
    where = f"scattered among {others:,} others" if others else "the newest of the account"
    ours = await count_requests(together, runs, others)
    peer = await count_requests(one_by_one, runs, others)
    report.add(
        Row(
            what=f"{runs:,} runs, {where}",
            unit="requests",
            ours=ours,
            peer=peer,
            # One that is scattered has to be asked for at its end, alone.
            value=ours / runs if others else peer / ours,
            budget=at_most(1.3) if others else at_least(40),
            note="value: requests a run" if others else "peer: the documented schedule, a task a run",
            key=f"waiting/{runs}/{others}",
        )
    )


async def processor_time(report: Report, rounds: int) -> None:
    """Compare the processor time of 1,000 runs that end within eight seconds and are looked at each second."""
    ours, peers = [], []
    for _ in range(rounds):
        ours.append(await measure_time(together))
        peers.append(await measure_time(one_by_one))
    for place, unit in enumerate(("requests", "s")):
        mine, theirs = (sorted(found[place] for found in measured)[rounds // 2] for measured in (ours, peers))
        report.add(
            Row(
                what=f"1,000 runs within 8 s, {'processor time' if unit == 's' else 'requests'}",
                unit=unit,
                ours=mine,
                peer=theirs,
                value=theirs / mine,
                budget=at_least(20) if unit == "s" else None,
                note="peer: a task a run, a detail request a second",
            )
        )


async def _main(report: Report, rounds: int, *, is_for_readme: bool) -> None:
    for runs in (200,) if is_for_readme else (200, 1_000):
        for others in (0, _OTHERS):
            await requests(report, runs, others=others)
    if not is_for_readme:
        await processor_time(report, rounds)


if __name__ == "__main__":
    options = parser(__doc__, _ROUNDS).parse_args()
    forget_proxies()
    table = Report("bench_waiting", options.rounds)
    asyncio.run(_main(table, options.rounds, is_for_readme=options.readme))
    table.finish(options.json)
