"""The blocking client in processes of their own, over real sockets: exit, Ctrl-C, fork, threads, a running loop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator

import attrs
import pytest
from waiting import next_line, wait_until

from coreclaw_async.testing import FakeService, RealClock, RunScript, faults

pytestmark = pytest.mark.endurance

LIMIT = 60.0
"""Seconds after which a process is taken for stuck."""
SOON = 10.0
"""Seconds in which a process must end."""
BEGINNING = """
import asyncio, os, sys, tempfile, threading
from coreclaw_async import AsyncCoreClaw, CoreClaw, CoreClawError, PollSchedule
client = CoreClaw(poll_schedule=PollSchedule(delays=(0.05,), jitter=0.0))
worker = client.store.iterate().first().worker_id
def start():
    return client.workers.start_run(worker, {"keywords": ["coffee"]})
def say(*words):
    print(*words, flush=True)
def loop_threads():
    return sum(thread.name == "coreclaw_async" for thread in threading.enumerate())
"""


@attrs.frozen
class Outcome:
    """What a process wrote after its first line, its exit code, and how long it took to end."""

    stdout: str
    stderr: str
    exit_code: int
    seconds: float


@attrs.frozen
class Program:
    """A program that runs in a process of its own and has written its first line."""

    process: subprocess.Popen[str]
    first: str

    def end(self, by: signal.Signals | None = None) -> Outcome:
        """Wait for the end, after a signal or by itself."""
        began = time.monotonic()
        if by is not None:
            self.process.send_signal(by)
        stdout, stderr = self.process.communicate(timeout=LIMIT)
        return Outcome(stdout, stderr, self.process.returncode, time.monotonic() - began)


@attrs.frozen
class Machine:
    """Starts programs that use the service."""

    service: FakeService
    url: str
    started: list[subprocess.Popen[str]] = attrs.field(factory=list)

    def start(self, body: str, *options: str) -> Program:
        process = subprocess.Popen(
            [sys.executable, *options, "-c", BEGINNING + textwrap.dedent(body)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"CORECLAW_API_KEY": self.service.api_key, "CORECLAW_BASE_URL": self.url},
        )
        self.started.append(process)
        assert process.stdout is not None
        return Program(process, next_line(process.stdout).strip())

    def wait_for(self, operation: str, times: int = 1) -> None:
        """Return when the service has had so many requests of an operation."""
        requests = self.service.requests
        wait_until(lambda: sum(request.operation == operation for request in requests) >= times, operation)


@pytest.fixture
def machine() -> Iterator[Machine]:
    service = FakeService(clock=RealClock(), default_script=RunScript(rows=300, duration=0.1))
    with service.serve() as server:
        machine = Machine(service, server.url)
        yield machine
        for process in machine.started:
            process.kill()
            process.communicate()


def test_a_client_that_nobody_closed_does_not_hold_the_interpreter_up(machine: Machine) -> None:
    machine.service.default_script = RunScript(duration=600)
    program = machine.start(
        """
        def wait():
            try:
                client.runs.wait(run)
            except CoreClawError:
                pass  # The loop ends before this thread does.
        run = start()
        threading.Thread(target=wait, daemon=True).start()
        client.runs.download(run, tempfile.mkdtemp() + "/rows.csv", partial=True)  # Leaves idle threads.
        say("ready")
        """,
        "-W",
        "error",
    )

    outcome = program.end()

    assert program.first == "ready"
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.seconds < SOON


# aiohttp does not tell how far a connection has come.
@pytest.mark.parametrize(("backend", "error"), [("httpx", "SendTimeoutError"), ("aiohttp", "RequestTimeoutError")])
def test_a_name_server_that_is_silent_does_not_hold_the_interpreter_up(
    machine: Machine, backend: str, error: str
) -> None:
    program = machine.start(
        f"""
        import socket, time
        socket.getaddrinfo = lambda *_, **__: time.sleep(60)
        with CoreClaw(base_url="http://slow.test", timeout=1, backend="{backend}") as lost:
            try:
                lost.account.get()
            except CoreClawError as error:
                say(type(error).__name__)
        """
    )

    outcome = program.end()

    assert program.first == error
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.seconds < SOON


def test_closing_in_an_exit_handler_works_before_the_loop_has_ended_and_after(machine: Machine) -> None:
    program = machine.start(
        """
        import atexit
        from coreclaw_async._sync import runtime
        atexit.register(client.close)
        late = CoreClaw()
        late.account.get()
        atexit.register(lambda: (runtime._PROCESS.exit(), late.close(), client.close()))
        say("ready")
        """
    )

    outcome = program.end()

    assert (outcome.exit_code, outcome.stderr) == (0, "")


def test_ctrl_c_ends_a_wait_soon_and_names_the_run_which_goes_on(machine: Machine) -> None:
    machine.service.default_script = RunScript(duration=600)
    program = machine.start(
        """
        run = start()
        say(run.run_id)
        client.runs.wait(run)
        """
    )
    machine.wait_for("getWorkerRun")

    outcome = program.end(by=signal.SIGINT)

    assert outcome.seconds < SOON
    assert outcome.exit_code == -signal.SIGINT
    assert f"KeyboardInterrupt\nthe wait for run {program.first} was left" in outcome.stderr
    assert machine.service.runs[program.first].status == "running"


def test_ctrl_c_ends_an_iteration_soon_and_gives_the_connection_back(machine: Machine) -> None:
    machine.service.faults.add(faults.delay(60), operation="listWorkerRunResults", after=1)
    program = machine.start(
        """
        run = client.runs.wait(start())
        say(run.run_id)
        rows = client.runs.iterate_results(run)
        count = 0
        try:
            for row in rows:
                count += 1
        except KeyboardInterrupt:
            say(count, client.connections_in_use)
        say(count + len(rows.collect()))
        """
    )
    machine.wait_for("listWorkerRunResults", 2)

    outcome = program.end(by=signal.SIGINT)

    assert outcome.seconds < SOON
    assert outcome.stdout.split() == ["100", "0", "300"]


def test_ctrl_c_during_a_start_ends_soon_and_loses_no_run(machine: Machine) -> None:
    machine.service.faults.add(faults.delay(60), operation="runWorker")
    program = machine.start(
        """
        say("ready")
        start()
        """
    )
    machine.wait_for("runWorker")

    outcome = program.end(by=signal.SIGINT)

    (run_id,) = machine.service.runs
    assert outcome.seconds < SOON
    assert outcome.exit_code == -signal.SIGINT
    last = outcome.stderr.rstrip().splitlines()[-1]
    assert last.startswith("the interrupted call ended with OutcomeUnknownError")
    assert f"candidates {run_id}" in last
    assert sum(request.operation == "runWorker" for request in machine.service.requests) == 1


def test_program_that_ends_itself_on_a_signal_during_a_start_tells_the_run_in_the_log(machine: Machine) -> None:
    """Nobody sees the notes of a SystemExit."""
    machine.service.faults.add(faults.delay(60), operation="runWorker")
    program = machine.start(
        """
        import signal
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
        say("ready")
        start()
        """
    )
    machine.wait_for("runWorker")

    outcome = program.end(by=signal.SIGTERM)

    (run_id,) = machine.service.runs
    assert outcome.seconds < SOON
    assert outcome.exit_code == 3
    (line,) = outcome.stderr.splitlines()
    assert line.startswith("the interrupted call ended with OutcomeUnknownError")
    assert f"candidates {run_id}" in line


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_both_sides_of_a_fork_go_on_also_in_the_middle_of_calls(machine: Machine) -> None:
    """A thread calls all the time, so that the fork finds requests under way."""
    program = machine.start(
        """
        run = client.runs.wait(start())
        is_over = False
        def call_on():
            while not is_over:
                client.account.get()
        noise = threading.Thread(target=call_on)
        noise.start()
        for number in range(3):
            child = os.fork()
            if not child:
                code = 1
                try:
                    assert len(client.runs.iterate_results(run).collect()) == 300
                    assert client.runs.wait(start()).is_finished
                    with CoreClaw() as own:
                        own.account.get()
                    client.close()
                    assert loop_threads() == 0
                    code = 0
                finally:
                    os._exit(code) if code or number % 2 else sys.exit(0)
            client.account.get()
            say(os.waitpid(child, 0)[1])
        is_over = True
        noise.join()
        client.account.get()
        say(client.connections_in_use)
        client.close()
        say(loop_threads())
        """
    )

    outcome = program.end()

    assert [program.first, *outcome.stdout.split()] == ["0"] * 5
    assert outcome.exit_code == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_client_that_was_made_before_the_fork_serves_the_workers_of_a_prefork_server(machine: Machine) -> None:
    program = machine.start(
        """
        import multiprocessing
        def serve(number):
            return client.account.get().balance
        with multiprocessing.get_context("fork").Pool(4) as pool:
            say(len(set(pool.map(serve, range(40)))), serve(0) is not None)
        client.close()
        """
    )

    outcome = program.end()

    assert program.first == "1 True"
    assert outcome.exit_code == 0


def test_eight_threads_call_fifty_times_each_on_a_few_connections(machine: Machine) -> None:
    program = machine.start(
        """
        balances = []
        def work():
            balances.extend(client.account.get().balance for _ in range(50))
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        transport = client._inner._context.transport.connections.client._transport
        say(len(balances), client.connections_in_use, transport.open)
        client.close()
        """
    )

    outcome = program.end()

    calls, in_use, connections = map(int, program.first.split())
    assert (calls, in_use) == (400, 0)
    assert connections <= 8
    assert outcome.exit_code == 0


@pytest.mark.parametrize("run", ["asyncio.run(main())", "__import__('trio').run(main)"])
def test_blocking_calls_work_inside_a_running_loop(machine: Machine, run: str) -> None:
    program = machine.start(
        f"""
        async def main():
            run = client.runs.wait(start())
            async with AsyncCoreClaw() as other:
                rows = [row async for row in other.runs.iterate_results(run)]
            say(rows == list(client.runs.iterate_results(run)), len(rows))
        {run}
        client.close()
        """
    )

    outcome = program.end()

    assert program.first == "True 300"
    assert (outcome.exit_code, outcome.stderr) == (0, "")
