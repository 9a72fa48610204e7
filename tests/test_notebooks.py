"""Notebooks run by a real kernel: one line of progress, tables, short tracebacks, and cells that are run again."""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from sync.test_jupyter import Notebook
from waiting import wait_until

from coreclaw_async.testing import FakeService, RealClock, RunScript

jupyter_client = pytest.importorskip("jupyter_client", reason="ipykernel is not installed")

# What the libraries of notebooks warn of is not ours.
pytestmark = [pytest.mark.endurance, pytest.mark.filterwarnings("ignore")]

SETUP = """
from coreclaw_async import AsyncCoreClaw, CoreClaw, PollSchedule, RunSpec
WORKER, INPUT = "coreclaw/google-maps-scraper", {"keywords": ["coffee"]}
often = PollSchedule(delays=(0.2,))
client, aclient = CoreClaw(poll_schedule=often), AsyncCoreClaw(poll_schedule=often)
"""


@pytest.fixture
def service() -> FakeService:
    return FakeService(clock=RealClock(), default_script=RunScript(rows=25, duration=1.0, usage="0.10"))


@pytest.fixture
def manager(service: FakeService, tmp_path: Any) -> Iterator[Any]:
    with service.serve() as server:
        manager = jupyter_client.KernelManager()
        # No kernel needs to be registered on the machine.
        manager.kernel_spec.argv[:] = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        settings = {"CORECLAW_API_KEY": service.api_key, "CORECLAW_BASE_URL": server.url}
        manager.start_kernel(env=os.environ | settings, cwd=str(tmp_path))
        yield manager
        if manager.has_kernel:
            manager.shutdown_kernel(now=True)
            manager.cleanup_resources()
    # Here what they leave open is ignored, and no later test is blamed for it.
    gc.collect()


@pytest.fixture
def notebook(manager: Any) -> Iterator[Notebook]:
    notebook = Notebook(manager)
    assert notebook.run(SETUP) == ""
    yield notebook
    notebook.close()


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


CELLS = [
    SETUP,
    "run = client.workers.run(WORKER, INPUT, progress=True)",
    "arun = await aclient.workers.run(WORKER, INPUT, progress=True)",
    "run",
    "client.runs.list_results_page(run)",
    'once = client.workers.run_once("coffee", WORKER, INPUT, progress=True)',
    """
with client.batch("nightly", ledger="runs.db") as batch:
    batch.plan(RunSpec(key=str(number), worker_id=WORKER, input=INPUT) for number in range(3))
    for outcome in batch.run(progress=True): print(outcome.key, outcome.state)
    report = batch.report()
report
""",
    'client.runs.download(run, "rows.csv", progress=True).name',
    "len(client.runs.iterate_results(run).to_arrow(progress=True))",
    "len(await aclient.runs.iterate_results(arun).to_pandas(progress=True))",
]


def test_executed_notebook_has_one_line_of_progress_for_each_call_and_tables(
    service: FakeService, manager: Any
) -> None:
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    executor = nbclient.NotebookClient(page, km=manager, timeout=120)
    executor.execute()
    executor.kc.stop_channels()
    outputs = [cell.outputs for cell in page.cells]

    expected = dict.fromkeys((1, 2, 5), r"run \w{26}: succeeded, 25 rows, \$0.10, \d+ s")
    expected |= {6: r"3 of 3 items, 0 running, 75 rows, \$0.30, \d+ s", 7: r"rows.csv: ([\d,]+) of \1 bytes, \d+ s"}
    expected |= {8: r"to_arrow: 25 rows read, \d+ s", 9: r"to_pandas: 25 rows read, \d+ s"}
    for number, last in expected.items():
        lines = [output for output in outputs[number] if output.output_type == "display_data"]
        assert len(lines) == 1, f"cell {number} has one line, which was updated"
        assert re.fullmatch(last, lines[0].data["text/plain"])
    assert all(output.output_type != "stream" for number in (1, 2, 5, 7, 8, 9) for output in outputs[number])
    assert outputs[6][-1].data["text/html"].startswith("<table><caption>Batch nightly: 3 items</caption>")
    assert "<th>status</th><td>succeeded</td>" in outputs[3][0].data["text/html"]
    assert "20 of 25 items; 10 more rows not shown" in outputs[4][0].data["text/html"]
    assert service.runs_created == 6


def test_cell_that_is_run_again_with_run_once_pays_nothing(service: FakeService, notebook: Notebook) -> None:
    cell = 'print(client.workers.run_once("coffee", WORKER, INPUT).run_id)'
    acell = 'print((await aclient.workers.run_once("coffee", WORKER, INPUT)).run_id)'

    assert {notebook.run(one).strip() for one in (cell, cell, acell, acell)} == set(service.runs)
    assert service.runs_created == 1


@pytest.mark.parametrize("name", ["client", "await aclient"])
def test_errors_are_short(notebook: Notebook, name: str) -> None:
    for call in (
        'runs.get("01KKDXV2G26BT7NH4ZQR2R4NPZ")',
        'runs.iterate_results("01KKDXV2G26BT7NH4ZQR2R4NPZ").collect()',
    ):
        shown = plain(notebook.run(f"{name}.{call}"))
        assert "NotFoundError: GET /api/v2/worker-runs/01KKDXV2G26BT7NH4ZQR2R4NPZ" in shown
        assert "coreclaw_async/" not in shown
        assert len(shown.splitlines()) <= 8, shown


def test_second_collect_of_a_pager_says_so(notebook: Notebook) -> None:
    cell = (
        "run = client.workers.run(WORKER, INPUT)\nrows = client.runs.iterate_results(run)\nprint(len(rows.collect()))"
    )
    assert notebook.run(cell) == "25\n"

    assert "RuntimeError: this pager was read to its end" in plain(notebook.run("rows.collect()"))


@pytest.mark.parametrize("name", ["client", "await aclient"])
@pytest.mark.parametrize("call", ["run(WORKER, INPUT", 'run_once("k", WORKER, INPUT'])
@pytest.mark.parametrize("progress", ["", ", progress=True"])
def test_interrupted_cell_aborts_nothing_and_tells_the_run(
    service: FakeService, notebook: Notebook, name: str, call: str, progress: str
) -> None:
    service.default_script = RunScript(duration=600.0)
    cell = notebook.begin(f"{name}.workers.{call}{progress})")
    wait_until(lambda: any(request.operation == "getWorkerRun" for request in service.requests), "a look at the run")
    notebook.interrupt()
    shown = plain(notebook.output_of(cell))

    (run_id,) = service.runs
    assert f"the wait for run {run_id} was left" in shown
    assert len(shown.splitlines()) <= 40, shown
    assert notebook.run(f'print(client.runs.get("{run_id}").status, client.connections_in_use)') == "running 0\n"
