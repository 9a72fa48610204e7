"""The blocking client in a notebook: a kernel without a window executes cells, and one is interrupted."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from waiting import wait_until

from coreclaw_async.testing import FakeService, RealClock, RunScript

jupyter_client = pytest.importorskip("jupyter_client", reason="ipykernel is not installed")

LIMIT = 120.0
# Warnings of the notebook libraries' own code are not ours to fix.
pytestmark = [pytest.mark.endurance, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def service() -> FakeService:
    return FakeService(clock=RealClock(), default_script=RunScript(rows=250, duration=0))


class Notebook:
    """A kernel and its cells."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self._client = manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=LIMIT)

    def begin(self, cell: str) -> str:
        return str(self._client.execute(cell))

    def output_of(self, cell: str) -> str:
        """Return what a cell that was begun prints, or its error, when it has ended."""
        text = ""
        while True:
            message = self._client.get_iopub_msg(timeout=LIMIT)
            if message["parent_header"].get("msg_id") != cell:
                continue
            content = message["content"]
            if message["msg_type"] == "stream":
                text += content["text"]
            elif message["msg_type"] == "error":
                text += f"{content['ename']}\n" + "\n".join(content["traceback"])
            elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                return text

    def run(self, cell: str) -> str:
        return self.output_of(self.begin(cell))

    def interrupt(self) -> None:
        self._manager.interrupt_kernel()

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()


@pytest.fixture
def notebook(service: FakeService) -> Iterator[Notebook]:
    with service.serve() as server:
        manager = jupyter_client.KernelManager()
        # No kernel needs to be registered on the machine.
        manager.kernel_spec.argv[:] = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        settings = {"CORECLAW_API_KEY": service.api_key, "CORECLAW_BASE_URL": server.url}
        manager.start_kernel(env=os.environ | settings)
        notebook = Notebook(manager)
        yield notebook
        notebook.close()


def test_cells_call_iterate_and_are_interrupted(service: FakeService, notebook: Notebook) -> None:
    begin = """
import asyncio
from coreclaw_async import CoreClaw
asyncio.get_running_loop()  # A notebook has one, and blocking calls work all the same.
client = CoreClaw()
run = client.workers.run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
print(run.status, len(list(client.runs.iterate_results(run))))
"""
    assert notebook.run(begin) == "succeeded 250\n"

    service.default_script = RunScript(duration=600)
    start = 'run = client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["tea"]}); print(run.run_id)'
    run_id = notebook.run(start).strip()
    asked = len(service.requests)
    waiting = notebook.begin("client.runs.wait(run)")
    wait_until(lambda: any(one.operation == "getWorkerRun" for one in service.requests[asked:]), "a look at the run")
    notebook.interrupt()

    assert "KeyboardInterrupt" in notebook.output_of(waiting)
    assert notebook.run("print(client.runs.get(run).status, client.connections_in_use)") == "running 0\n"
    assert run_id in service.runs
