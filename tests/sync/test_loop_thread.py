"""The parts of the runtime by themselves: exit, fork and the calls that come too early or too late."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Coroutine, Generator, Iterator
from typing import Any

import anyio
import pytest

from coreclaw_async import ConfigurationError
from coreclaw_async._sync.loop_thread import LoopCall, LoopThread, explain
from coreclaw_async._sync.runtime import _Process


@pytest.fixture
def process() -> Iterator[_Process]:
    process = _Process()
    yield process
    process.exit()


async def answer() -> int:
    await anyio.sleep(0)
    return 42


def is_closed(coroutine: Coroutine[Any, Any, Any]) -> bool:
    try:
        coroutine.send(None)
    except (RuntimeError, StopIteration):
        return True
    return False


def test_exit_ends_the_thread_and_nothing_begins_after_it(process: _Process) -> None:
    thread = process.lease()
    assert thread.run(LoopCall(answer())).result() == 42

    process.exit()
    process.exit()

    assert not thread._thread.is_alive()
    assert thread.is_over
    with pytest.raises(ConfigurationError, match="exiting"):
        process.lease()


def test_a_lease_that_comes_back_after_exit_changes_nothing(process: _Process) -> None:
    thread = process.lease()
    process.exit()

    process.release(thread)

    assert thread.leases == 0


def test_a_call_that_comes_too_late_is_an_error(process: _Process) -> None:
    thread = process.lease()
    process.release(thread)
    coroutine = answer()

    with pytest.raises(ConfigurationError, match="closed while this call was under way"):
        thread.run(LoopCall(coroutine))

    assert is_closed(coroutine)


def test_a_call_that_never_began_is_let_go_when_the_loop_ends(process: _Process) -> None:
    thread = process.lease()
    call = LoopCall(answer())
    thread._calls.add(call)

    process.exit()

    assert call.is_over
    assert call.task is None
    assert call.over.acquire(timeout=0)


def test_a_cancelled_call_that_has_not_begun_never_begins(process: _Process) -> None:
    thread = process.lease()
    call = LoopCall(answer())

    call.cancel()
    call.cancel()
    call.begin(thread._loop)

    assert call.task is None
    assert call.over.acquire(timeout=0)


def test_letting_go_twice_at_once_is_no_error() -> None:
    call = LoopCall(answer())
    call.abandon()
    call.is_over = False  # As if another thread had read it just before.

    call.abandon()

    assert call.is_over


def test_a_call_that_ignores_its_end_is_let_go_all_the_same() -> None:
    class OnceMore:
        def __await__(self) -> Generator[None, None, None]:
            try:
                yield
            except GeneratorExit:
                yield

    async def stay() -> None:
        with contextlib.suppress(GeneratorExit):
            await OnceMore()

    coroutine = stay()
    call = LoopCall(coroutine)
    coroutine.send(None)

    call.abandon()

    assert call.is_over
    assert call.over.acquire(timeout=0)


def test_an_interrupt_is_told_of_what_is_worth_telling_only(process: _Process) -> None:
    async def nothing() -> None:
        return

    error = KeyboardInterrupt()

    never_begun, ended = LoopCall(nothing()), LoopCall(nothing())
    never_begun.abandon()
    process.lease().run(ended)
    explain(error, never_begun)
    explain(error, ended)

    assert not hasattr(error, "__notes__")


def test_an_interrupt_of_what_costs_nothing_is_told_in_its_notes_alone(
    process: _Process, caplog: pytest.LogCaptureFixture
) -> None:
    async def read() -> int:
        return 7

    error, ended = KeyboardInterrupt(), LoopCall(read())
    process.lease().run(ended)
    explain(error, ended)

    assert error.__notes__ == ["the interrupted call had just returned 7"]
    assert caplog.records == []


def test_no_loop_is_left_open_when_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch, process: _Process) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    with pytest.raises(RuntimeError, match="can't start new thread"):
        process.lease()


def test_a_loop_without_sniffio_works(monkeypatch: pytest.MonkeyPatch, process: _Process) -> None:
    monkeypatch.setitem(sys.modules, "sniffio", None)

    async def plain() -> int:
        return 1

    assert process.lease().run(LoopCall(plain())).result() == 1


def test_the_loop_holds_still_while_the_process_forks(process: _Process) -> None:
    thread = process.lease()
    steps: list[int] = []

    async def step() -> None:
        steps.append(1)

    process.park()
    caller = threading.Thread(target=lambda: thread.run(LoopCall(step())))
    caller.start()
    assert steps == []
    process.go_on()
    caller.join(20)

    assert steps == [1]


def test_a_fork_without_a_loop_or_in_the_loop_waits_for_nothing(process: _Process) -> None:
    process.park()
    process.go_on()

    async def fork() -> None:
        process.park()
        process.go_on()

    process.lease().run(LoopCall(fork())).result()


def test_a_child_begins_anew(process: _Process) -> None:
    inherited = process.lease()
    process.park()
    parked = process._may_go_on
    process.forget()
    parked.set()  # The loop runs on here, where nothing was forked.

    own = process.lease()

    assert own is not inherited
    assert inherited.is_over
    assert own.run(LoopCall(answer())).result() == 42
    inherited.stop(5)


def test_a_child_of_a_process_without_a_loop_begins_anew(process: _Process) -> None:
    process.park()
    process.forget()

    assert process.lease().run(LoopCall(answer())).result() == 42


def test_stopping_twice_or_in_the_loop_itself_is_fine() -> None:
    thread = LoopThread()

    async def stop() -> None:
        thread.stop(5)
        thread.stop(5)

    with pytest.raises(ConfigurationError):
        thread.run(LoopCall(_then_wait(stop())))
    thread.stop(5)

    assert not thread._thread.is_alive()


async def _then_wait(first: Coroutine[Any, Any, None]) -> None:
    await first
    await anyio.sleep_forever()
