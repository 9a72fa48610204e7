"""Following one run to its end, on a clock that makes hours pass in milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
from interrupting import cancelling_once

from coreclaw_async import (
    AsyncCoreClaw,
    AuthenticationError,
    ConfigurationError,
    InvalidResponseError,
    LastRun,
    NotFoundError,
    PollSchedule,
    Run,
    RunAbortedError,
    RunFailedError,
    RunStatus,
    WaitTimeoutError,
)
from coreclaw_async.events import RunChanged
from coreclaw_async.testing import FakeService, RealClock, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"
INPUT = {"keywords": ["coffee"]}
STEADY = PollSchedule(jitter=0.0)


def looks(service: FakeService) -> int:
    return len([request for request in service.requests if request.operation == "getWorkerRun"])


def aborts(service: FakeService) -> int:
    return len([request for request in service.requests if request.operation == "abortWorkerRun"])


def script(service: FakeService, **options: Any) -> None:
    service.next_script = RunScript(**options)


async def test_a_wait_ends_with_the_run(client: AsyncCoreClaw, service: FakeService) -> None:
    script(service, duration=120, rows=7)

    run = await client.workers.run(WORKER, INPUT)

    assert run.status is RunStatus.SUCCEEDED
    assert run.result_count == 7


async def test_looks_come_at_2_5_10_15_seconds(service: FakeService) -> None:
    script(service, duration=62)
    times: list[float] = []
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, poll_schedule=STEADY) as client:
        started = await client.workers.start_run(WORKER, INPUT)
        begin = service.clock.monotonic()
        await client.runs.wait(started, on_update=lambda run: times.append(service.clock.monotonic() - begin))

    assert looks(service) == 7  # At 0, 2, 7, 17, 32, 47, 62.
    assert times[-1] == 62


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_hour_passes_at_once(client: AsyncCoreClaw, service: FakeService) -> None:
    script(service, duration=3600)

    with anyio.fail_after(20):
        run = await client.workers.run(WORKER, INPUT)

    assert run.duration == 3600


async def test_a_run_that_has_ended_takes_one_look(client: AsyncCoreClaw, service: FakeService) -> None:
    run_id = service.add_run(WORKER)

    await client.runs.wait(run_id)

    assert looks(service) == 1


async def test_a_timeout_carries_the_run_and_leaves_it_alone(client: AsyncCoreClaw, service: FakeService) -> None:
    script(service, duration=100)
    started = await client.workers.start_run(WORKER, INPUT)
    before = service.clock.monotonic()

    with pytest.raises(WaitTimeoutError) as caught:
        await client.runs.wait(started, timeout=30)

    assert isinstance(caught.value, TimeoutError)
    assert caught.value.run_id == started.run_id
    assert caught.value.run is not None
    assert caught.value.run.status is RunStatus.RUNNING
    assert 29 <= service.clock.monotonic() - before <= 30.1
    assert aborts(service) == 0


async def test_a_run_that_ends_just_before_the_timeout_is_not_given_up_on(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    script(service, duration=28)

    run = await client.workers.run(WORKER, INPUT, timeout=30)

    assert run.is_finished


async def test_a_timeout_shorter_than_a_look_is_kept(client: AsyncCoreClaw, service: FakeService) -> None:
    script(service, duration=100)

    with pytest.raises(WaitTimeoutError):
        await client.workers.run(WORKER, INPUT, timeout=0.5)

    assert service.clock.monotonic() <= 0.6


async def test_a_failed_run_is_an_error_with_the_end_of_its_log(client: AsyncCoreClaw, service: FakeService) -> None:
    service.detail_err_msg = True
    script(
        service,
        outcome="failed",
        error_message="login refused",
        log=[("info", "begin"), ("error", "login refused"), ("info", "end")],
    )

    with pytest.raises(RunFailedError, match="ended as failed: login refused") as caught:
        await client.workers.run(WORKER, INPUT)

    assert caught.value.run is not None
    assert caught.value.run.status is RunStatus.FAILED
    assert "login refused" in caught.value.log
    assert "begin" not in caught.value.log


async def test_without_error_lines_the_end_of_the_log_is_given() -> None:
    service = FakeService(log_entries="strings")
    script(service, outcome="failed", log=["one", "two"])
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        with pytest.raises(RunFailedError) as caught:
            await client.workers.run(WORKER, INPUT)

    assert caught.value.log[-2:] == ("one", "two") or "two" in " ".join(caught.value.log)


async def test_a_log_that_cannot_be_read_does_not_hide_the_failure(client: AsyncCoreClaw, service: FakeService) -> None:
    script(service, outcome="failed")
    service.faults.add(faults.error(16000), operation="getWorkerRunLog", times=9)

    with pytest.raises(RunFailedError) as caught:
        await client.workers.run(WORKER, INPUT)

    assert caught.value.log == ()


@pytest.mark.parametrize("word", ["failed", "error", "timeout", "timed_out", "submit_fail", "FAILED"])
async def test_words_of_failure_are_failures(client: AsyncCoreClaw, service: FakeService, word: str) -> None:
    script(service, outcome=word)

    with pytest.raises(RunFailedError) as caught:
        await client.workers.run(WORKER, INPUT)

    assert caught.value.run is not None
    assert caught.value.run.status == word


@pytest.mark.parametrize("word", ["aborted", "abort", "cancelled", "canceled"])
async def test_words_of_abortion_are_aborted(client: AsyncCoreClaw, service: FakeService, word: str) -> None:
    script(service, outcome=word)

    with pytest.raises(RunAbortedError) as caught:
        await client.workers.run(WORKER, INPUT)

    assert caught.value.confirmed


@pytest.mark.parametrize("word", ["success", "finished", "completed"])
async def test_words_of_success_are_a_success(client: AsyncCoreClaw, service: FakeService, word: str) -> None:
    script(service, outcome=word)

    run = await client.workers.run(WORKER, INPUT)

    assert run.status == word


async def test_an_unknown_word_goes_on(client: AsyncCoreClaw, service: FakeService) -> None:
    script(service, statuses=[(0, "pondering"), (20, "dreaming"), (40, "succeeded")])

    run = await client.workers.run(WORKER, INPUT)

    assert run.status is RunStatus.SUCCEEDED


async def test_a_status_that_goes_back_goes_on(client: AsyncCoreClaw, service: FakeService) -> None:
    script(service, statuses=[(0, "running"), (10, "ready"), (20, "aborting"), (25, "running"), (90, "succeeded")])

    run = await client.workers.run(WORKER, INPUT)

    assert run.status is RunStatus.SUCCEEDED


async def test_aborting_for_ever_ends_after_the_grace(client: AsyncCoreClaw, service: FakeService) -> None:
    script(service, duration=1000, abort="stuck")
    started = await client.workers.start_run(WORKER, INPUT)
    await client.runs.abort(started)
    before = service.clock.monotonic()

    with pytest.raises(RunAbortedError) as caught:
        await client.runs.wait(started)

    assert not caught.value.confirmed
    assert 60 <= service.clock.monotonic() - before <= 80


@pytest.mark.parametrize("abort", ["aborted", "failed"])
async def test_an_abort_that_is_confirmed_ends_at_once(client: AsyncCoreClaw, service: FakeService, abort: Any) -> None:
    script(service, duration=1000, abort=abort, abort_after=3)
    started = await client.workers.start_run(WORKER, INPUT)
    await client.runs.abort(started)

    run = await client.runs.wait(started, check=False)

    assert run.status == abort


async def test_without_check_every_end_is_returned(client: AsyncCoreClaw, service: FakeService) -> None:
    script(service, outcome="failed")

    run = await client.workers.run(WORKER, INPUT, check=False)

    assert run.status is RunStatus.FAILED


async def test_a_run_that_is_not_found_for_a_moment_is_waited_for(client: AsyncCoreClaw, service: FakeService) -> None:
    script(service, hidden_for=4, duration=30)

    run = await client.workers.run(WORKER, INPUT)

    assert run.is_finished


async def test_a_run_that_stays_unknown_is_an_error(client: AsyncCoreClaw) -> None:
    with pytest.raises(NotFoundError) as caught:
        await client.runs.wait("01KKDXV2G26BT7NH4ZQR2R4NPZ")

    assert caught.value.run_id == "01KKDXV2G26BT7NH4ZQR2R4NPZ"


async def test_thirty_failed_looks_do_not_end_the_wait(client: AsyncCoreClaw, service: FakeService) -> None:
    script(service, duration=600)
    started = await client.workers.start_run(WORKER, INPUT)
    for fault in (faults.status(503), faults.drop_before_commit(), faults.reply(b"<html>")):
        service.faults.add(fault, operation="getWorkerRun", times=10)
    service.faults.add(faults.rate_limited(retry_after=500), operation="getWorkerRun")

    run = await client.runs.wait(started)

    assert run.is_finished


async def test_a_refused_key_ends_the_wait(client: AsyncCoreClaw, service: FakeService) -> None:
    script(service, duration=600)
    started = await client.workers.start_run(WORKER, INPUT)
    service.faults.add(faults.error(12002, status=401), operation="getWorkerRun", after=2)

    with pytest.raises(AuthenticationError) as caught:
        await client.runs.wait(started)

    assert caught.value.run_id == started.run_id


async def test_a_closed_client_ends_the_wait(service: FakeService) -> None:
    script(service, duration=600)
    client = AsyncCoreClaw(service.api_key, transport=service, clock=service.clock)
    started = await client.workers.start_run(WORKER, INPUT)

    async def close(_: Run) -> None:
        await client.aclose()

    with pytest.raises(ConfigurationError):
        await client.runs.wait(started, on_update=close)


async def test_updates_come_when_something_has_changed(service: FakeService) -> None:
    script(service, duration=20, rows=2)
    seen: list[tuple[str, int]] = []
    events: list[Any] = []

    async def note(run: Run) -> None:
        seen.append((str(run.status), run.result_count or 0))

    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=events.append) as client:
        await client.workers.run(WORKER, INPUT, on_update=note)

    assert seen[0] == ("running", 0)
    assert seen[-1] == ("succeeded", 2)
    assert len(seen) == len(set(seen))
    changes = [event for event in events if isinstance(event, RunChanged)]
    assert [str(event.run.status) for event in changes] == [status for status, _ in seen]
    assert changes[0].previous is None


async def test_an_exception_of_on_update_ends_the_wait(client: AsyncCoreClaw, service: FakeService) -> None:
    def broken(_: Run) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await client.workers.run(WORKER, INPUT, on_update=broken)

    assert aborts(service) == 0


@pytest.mark.parametrize("on_cancel", ["leave", "abort"])
@pytest.mark.parametrize("how", ["timeout", "cancel", "exception"])
async def test_the_run_is_aborted_when_asked_and_only_then(
    client: AsyncCoreClaw, service: FakeService, how: str, on_cancel: Any
) -> None:
    script(service, duration=1000)
    started = await client.workers.start_run(WORKER, INPUT)
    scope = anyio.CancelScope()

    def note(_: Run) -> None:
        if how == "cancel":
            scope.cancel()
        if how == "exception":
            raise ZeroDivisionError

    with scope:
        try:
            await client.runs.wait(started, timeout=30, on_update=note, on_cancel=on_cancel)
        except (WaitTimeoutError, ZeroDivisionError):
            assert how != "cancel"

    assert scope.cancelled_caught == (how == "cancel")
    assert aborts(service) == (1 if on_cancel == "abort" else 0)


async def test_an_abort_that_fails_does_not_hide_why_the_wait_ended(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    script(service, duration=1000)
    service.faults.add(faults.error(70002), operation="abortWorkerRun")

    with pytest.raises(WaitTimeoutError):
        await client.workers.run(WORKER, INPUT, timeout=10, on_cancel="abort")


async def test_a_failed_run_is_not_aborted(client: AsyncCoreClaw, service: FakeService) -> None:
    script(service, outcome="failed")

    with pytest.raises(RunFailedError):
        await client.workers.run(WORKER, INPUT, on_cancel="abort")

    assert aborts(service) == 0


async def test_the_last_run_is_resolved_once(client: AsyncCoreClaw, service: FakeService) -> None:
    script(service, duration=30)
    started = await client.workers.start_run(WORKER, INPUT)

    async def start_another(_: Run) -> None:
        service.add_run(WORKER, age=0.0)

    run = await client.runs.wait(LastRun(), on_update=start_another)

    assert run.run_id == started.run_id
    assert len([request for request in service.requests if request.operation == "getLastWorkerRun"]) == 1


async def test_a_cancelled_wait_leaves_a_note_of_its_run(
    client: AsyncCoreClaw, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="coreclaw_async")
    script(service, duration=1000)
    started = await client.workers.start_run(WORKER, INPUT)

    with anyio.CancelScope() as scope:
        await client.runs.wait(started, on_update=lambda _: scope.cancel())

    assert f"the wait for run {started.run_id} was left" in caplog.text


async def seen_by_caller(call: Coroutine[Any, Any, object], is_time: Callable[[], object]) -> BaseException:
    """Return what leaves a call that is cancelled when it is time."""
    seen: list[BaseException] = []
    async with cancelling_once(is_time) as scope:
        with scope:
            try:
                await call
            except BaseException as error:
                seen.append(error)
                raise
    return seen[0]


async def test_cancelled_while_the_log_of_a_failed_run_is_read_it_is_named(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="coreclaw_async")
    # A clock that is not moved on while the log has no answer.
    service = FakeService(clock=RealClock(), default_script=RunScript(duration=0.0, outcome="failed"))
    service.faults.add(faults.stall(), operation="getWorkerRunLog")

    def reads_log() -> bool:
        return any(request.operation == "getWorkerRunLog" for request in service.requests)

    async with AsyncCoreClaw(service.api_key, transport=service) as client:
        error = await seen_by_caller(client.workers.run(WORKER, INPUT), reads_log)

    (run_id,) = service.runs
    assert error.__notes__ == [f"run {run_id} has ended"]
    (line,) = (record for record in caplog.records if "is not returned because of" in record.getMessage())
    assert (line.levelname, line.getMessage()[: len(run_id) + 4]) == ("WARNING", f"run {run_id}")
    assert aborts(service) == 0


@pytest.mark.parametrize(
    ("what", "on_cancel", "level"),
    [
        ("a new run", "leave", "WARNING"),
        ("a new run", "abort", "INFO"),  # What cannot be aborted is told in a warning of its own.
        ("a run whose id the caller has", "leave", "INFO"),
    ],
)
async def test_a_cancellation_that_is_swallowed_leaves_a_warning_about_a_run_whose_id_nobody_was_told(
    service: FakeService, caplog: pytest.LogCaptureFixture, what: str, on_cancel: Any, level: str
) -> None:
    caplog.set_level("INFO", logger="coreclaw_async")
    service.default_script = RunScript(duration=1e6)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:

        def leave(_: Run) -> None:
            scope.cancel()

        with anyio.CancelScope() as scope:
            if what == "a new run":
                await client.workers.run(WORKER, INPUT, on_update=leave, on_cancel=on_cancel)
            else:
                run_id = (await client.workers.start_run(WORKER, INPUT)).run_id
                await client.runs.wait(run_id, on_update=leave, on_cancel=on_cancel)

    (line,) = (record for record in caplog.records if record.getMessage().startswith("the wait for run"))
    assert line.levelname == level
    assert vars(line)["run_ids"] == list(service.runs)


@pytest.mark.parametrize("on_cancel", ["leave", "abort"])
async def test_cancelled_while_the_last_change_is_told_the_run_is_named(
    client: AsyncCoreClaw, service: FakeService, on_cancel: Any
) -> None:
    told: list[Run] = []

    async def on_update(run: Run) -> None:
        told.append(run)
        if run.is_finished:
            await anyio.sleep_forever()

    call = client.workers.run(WORKER, INPUT, on_update=on_update, on_cancel=on_cancel)
    error = await seen_by_caller(call, lambda: told and told[-1].is_finished)

    assert error.__notes__ == [f"run {told[-1].run_id} has ended"]
    assert aborts(service) == 0


async def test_error_of_the_last_update_names_the_run(client: AsyncCoreClaw, service: FakeService) -> None:
    def on_update(run: Run) -> None:
        if run.is_finished:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        await client.workers.run(WORKER, INPUT, on_update=on_update)

    assert caught.value.__notes__ == [f"run {next(iter(service.runs))} has ended"]


@pytest.mark.parametrize("at", ["first", "last"])
async def test_error_of_the_package_about_something_else_names_the_run(
    client: AsyncCoreClaw, service: FakeService, at: str
) -> None:
    async def on_update(run: Run) -> None:
        if run.is_finished or at == "first":
            await client.tasks.get("nothing")

    with pytest.raises(NotFoundError) as caught:
        await client.workers.run(WORKER, INPUT, on_update=on_update)

    (run_id,) = service.runs
    assert caught.value.run_id is None
    assert caught.value.__notes__ == [
        f"the wait for run {run_id} was left; it may go on and cost money"
        if at == "first"
        else f"run {run_id} has ended"
    ]


@pytest.mark.parametrize("times", [1, 100])
async def test_a_last_run_without_a_usable_id_is_a_broken_answer_and_asked_for_again(
    client: AsyncCoreClaw, service: FakeService, times: int
) -> None:
    run_id = service.add_run(WORKER)
    service.faults.add(
        faults.edit(lambda envelope: {**envelope, "data": {"slug": "last", "status": "running"}}),
        operation="getLastWorkerRun",
        times=times,
    )

    if times == 1:
        assert (await client.runs.wait(LastRun(), timeout=30)).run_id == run_id
    else:
        with pytest.raises(WaitTimeoutError, match="cannot be named") as caught:
            await client.runs.wait(LastRun(), timeout=30)
        assert isinstance(caught.value.__cause__, InvalidResponseError)
        assert caught.value.run_id is None
        assert caught.value.pending == ()


async def test_a_task_is_run_to_its_end(client: AsyncCoreClaw, service: FakeService) -> None:
    task_id = service.add_task(WORKER, title="t", input={"parameters": {"custom": INPUT}})

    run = await client.tasks.run(task_id, timeout=600)

    assert run.is_finished


async def test_a_synchronous_start_waits_in_the_service(service: FakeService) -> None:
    script(service, duration=120, rows=3)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, timeout=5) as client:
        started = await client.workers.start_run(WORKER, INPUT, is_async=False, limit=2)

    assert started.outcome.is_end
    assert started.duration == 120
    assert started.results is not None
    assert len(started.results.items) == 2


async def test_a_synchronous_start_that_is_cut_after_five_minutes_names_its_run(service: FakeService) -> None:
    script(service, duration=900)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, timeout=5) as client:
        started = await client.workers.start_run(WORKER, INPUT, is_async=False)
        run = await client.runs.wait(started)

    assert not started.outcome.is_end
    assert run.is_finished


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"timeout": 0}, ["timeout", "0"]),
        ({"timeout": -3}, ["timeout", "-3"]),
        ({"timeout": float("nan")}, ["timeout", "nan"]),
        ({"on_cancel": "stop"}, ["on_cancel", "stop"]),
    ],
)
async def test_a_wait_with_arguments_that_cannot_be_right_sends_nothing(
    client: AsyncCoreClaw, service: FakeService, arguments: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ValueError) as caught:
        await client.runs.wait("01KKDXV2G26BT7NH4ZQR2R4NPZ", **arguments)

    assert all(word in str(caught.value) for word in words)
    assert service.requests == []


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"delays": ()}, "delays"),
        ({"delays": (0,)}, "delays"),
        ({"jitter": 1.0}, "jitter"),
        ({"jitter": -0.1}, "jitter"),
        ({"jitter": "much"}, "jitter"),
        ({"abort_grace": -1}, "abort_grace"),
        ({"not_found_grace": float("inf")}, "not_found_grace"),
    ],
)
def test_a_schedule_that_cannot_be_right_is_named(options: dict[str, Any], word: str) -> None:
    with pytest.raises((ValueError, TypeError), match=word):
        PollSchedule(**options)
