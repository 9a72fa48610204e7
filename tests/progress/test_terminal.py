"""Programs with ``progress=True`` in a real terminal, with and without rich, and in pipes."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator

import pytest

from coreclaw_async.testing import FakeService, RealClock, RunScript

pytestmark = pytest.mark.endurance

LIMIT = 120.0
PROGRAM = """
import sys
sys.modules |= {without: None for without in sys.argv[1:]}
from coreclaw_async import CoreClaw, PollSchedule
with CoreClaw(poll_schedule=PollSchedule(delays=(0.2,))) as client:
    run = client.workers.run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]}, progress=True)
    for run in client.runs.wait_many([run.run_id], progress=True):
        print("status:", run.status)
"""


@pytest.fixture
def service() -> FakeService:
    return FakeService(clock=RealClock(), default_script=RunScript(rows=25, duration=1.0))


@pytest.fixture
def env(service: FakeService) -> Iterator[dict[str, str]]:
    with service.serve() as server:
        settings = {"CORECLAW_API_KEY": service.api_key, "CORECLAW_BASE_URL": server.url}
        kept = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
        yield {**kept, **settings, "TERM": "xterm-256color", "COLUMNS": "100"}


def shown_in_terminal(service: FakeService, env: dict[str, str], *without: str) -> str:
    """Return what is shown of a run that ends once it was shown as running."""
    service.default_script = RunScript(rows=25, duration=3_600.0)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", PROGRAM, *without]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    written = bytearray()
    # A terminal whose other end is closed is an error on Linux and an empty read elsewhere.
    with contextlib.suppress(OSError):
        while select.select([ours], [], [], LIMIT)[0] and (chunk := os.read(ours, 65536)):
            written += chunk
            if b": running, " in written:
                for run_id in tuple(service.runs):
                    service.finish(run_id)
    os.close(ours)
    assert process.wait(LIMIT) == 0, written.decode()
    return written.decode()


@pytest.mark.parametrize("without", [(), ("rich",)])
def test_terminal_shows_a_line_that_is_gone_at_the_end(
    service: FakeService, env: dict[str, str], without: tuple[str, ...]
) -> None:
    shown = shown_in_terminal(service, env, *without)

    assert ": running, " in shown
    assert "\x1b[" in shown
    assert ("\x1b[?25l" in shown) == (not without), "only rich hides the cursor"
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")
    assert shown.endswith("status: succeeded\r\n"), "nothing is drawn after what is printed"


def test_pipe_gets_nothing(env: dict[str, str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True, timeout=LIMIT
    )

    assert (ended.stdout, ended.stderr) == ("status: succeeded\n", "")
