"""
Every way out of every command that may have paid for a run: the exit code, and where the run is told of.

Real processes against a service on a socket. The tables are the promise: a cell is an exit code and the places where
the id of the run stands when the command has ended: ``out`` and ``err`` are the standard streams, ``tty`` the terminal,
``file`` is the file of last resort, ``may`` says that a run may have been started of which no id is known, ``-`` says
that nothing was paid for, so that there is nothing to tell. A dot is a pair that is not tried, because others show the
same: each command, each way out and each stage is tried with others, and those that differ from their neighbours are.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs
import pytest
from cli.command_line import command

from coreclaw_async import RunSpec
from coreclaw_async._sync.generated import CoreClaw
from coreclaw_async.testing import FakeService, RealClock, RunScript, faults

pytestmark = [
    pytest.mark.endurance,
    pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full"),
]

WORKER = "coreclaw/google-maps-scraper"
INPUT = '{"keywords": ["coffee"]}'
_AT_ONCE = 3  # More would only slow down the tests that run beside them.
LIMIT = 100.0
"""Seconds; a start is tried for 60 where the service cannot be reached."""
TRIES = pytest.mark.endurance(60)

# Each has no terminal: `setsid` has taken it away. The shell returns what the command did, whatever comes behind it.
SHELL = {
    "|cat": "{} | cat; exit ${{PIPESTATUS[0]}}",
    "|head": "{} | head -n 1; exit ${{PIPESTATUS[0]}}",
    "|true": "{} | true; exit ${{PIPESTATUS[0]}}",
    ">&-": "{} >&-",
    "2>&-": "{} 2>&-",
    "both-": "{} >&- 2>&-",
    ">full": "{} >/dev/full",
    "2>full": "{} 2>/dev/full",
    "bothfull": "{} >/dev/full 2>/dev/full",
}

PAYING = """
command              |cat       |head      |true      >&-        2>&-       both-      >full      2>full     bothfull
run                  0:out      .          .          7:err      .          7:file     .          .          7:file
run --json           .          .          7:err      .          0:out      .          7:err      0:out      .
run -w               0:out+err  0:out+err  7:err      7:err      0:out      7:file     7:err      0:out      7:file
run -w --json        .          0:out+err  .          7:err      .          7:file     .          .          .
run -o -             0:out+err 0:out+err|7:out+err 7:err 7:err 7:out+file 7:file 7:err 7:out+file 7:file
run -o F             0:err      .          0:err      0:err      .          7:file     .          .          7:file
run -o F --json      .          0:out+err  .          7:err      0:out      .          .          .          .
rerun                .          .          .          7:err      .          7:file     .          .          .
rerun -w --json      0:out+err  .          .          .          .          .          7:err      .          7:file
tasks run            .          .          7:err      .          .          .          .          .          7:file
tasks run -w         .          0:out+err  .          7:err      .          .          .          .          .
run bad              .          .          1:err      .          .          1:file     .          .          .
run bad --json       1:out+err  .          .          1:err      1:out      .          .          .          .
run slow             .          5:err      .          .          .          5:file     .          .          .
run slow --json      .          .          .          5:err      .          .          .          5:out      5:file
run lost             4:err      .          .          .          .          4:file     .          .          .
run lost --json      .          .          4:err      .          4:out      .          4:err      .          .
run blind            .          .          .          4:may/err  4:may/out  4:may/file .          .          4:may/file
"""

# Nothing is paid for by these, or a ledger knows of what.
READING = """
command              |cat       |head      |true      >&-        2>&-       both-      >full      2>full     bothfull
runs                 0          0          0          7          0          7          7          0          7
runs --json          .          .          .          .          0          7          .          .          .
show                 .          .          0          7          .          .          .          .          .
rows                 .          .          0          .          .          .          .          .          7
rows -o F            .          .          .          0          .          .          .          .          .
export               .          .          .          0          .          .          .          .          .
log                  .          .          .          .          0          7          .          .          .
wait                 0          .          .          .          .          .          7          .          .
wait --json          .          .          0          .          .          .          .          .          7
wait bad good        .          .          .          1          .          .          .          1          .
wait bad good --json .          .          1          .          .          1          .          .          .
abort                .          .          .          0          .          0          .          .          .
abort ended --json   .          .          .          3          .          .          .          .          3
store                .          .          0          .          .          .          .          .          7
workers list         .          .          .          7          .          .          .          0          .
workers show --json  .          0          .          7          .          .          .          .          .
workers input        .          .          .          .          0          7          .          .          .
tasks list           0          .          .          .          .          .          7          .          .
queue list           .          .          0          .          .          .          .          .          7
account --json       .          .          .          7          .          .          .          0          .
batch run            .          0|7        .          7          .          7          .          .          .
batch run --json     .          .          7          7          .          .          .          .          7
--help               .          .          0          7          .          .          .          .          7
run --help           .          0          .          .          .          7          7          .          .
no such command      .          .          .          .          2          2          .          .          .
run no worker        .          .          2          .          .          .          .          .          2
no such option       .          .          .          .          .          2          .          .          .
run no folder        .          .          .          .          .          .          2          .          .
no key               .          .          .          .          .          .          .          .          2
no key --json        .          .          .          2          .          .          .          .          .
wrong key            .          .          .          3          .          .          .          .          .
wrong key --json     .          .          .          .          .          3          .          .          .
no network           .          .          .          .          .          .          3          .          .
wait no network      .          .          .          .          .          .          .          .          5
"""

# Ctrl-C, Ctrl-C twice, SIGTERM, SIGHUP; each when the command has come to a certain point.
SIGNALS = """
command              when       INT         INT+INT               TERM        HUP
run                  input      130:-       130:-                 .           .
run --json           input      .           .                     143:-       129:-
run                  unsent     130:-       130:-|4:may/err       143:-       129:-
run                  unanswered 4:err       4:err|4:may/err       .           .
run --json           unanswered .           4:out+err|4:err|4:may/err 4:out+err .
run -w               unanswered .           4:err|4:may/err       .           4:err
run                  blind      .           4:may/err             4:may/err   .
run --json           blind      4:may/err   4:may/err             .           4:may/err
run -w               waiting    130:err     .                     143:err     .
run -w --json        waiting    .           130:out+err|130:err   .           129:out+err
run -w --abort       waiting    130:err     130:err               .           .
run -o F             waiting    .           130:err               143:err     .
rerun -w --json      waiting    130:out+err 130:out+err|130:err   .           .
tasks run -w         waiting    .           130:err               .           129:err
run -o -             rows       130:err     130:err               143:err     129:err
run -o F             file       130:err     130:err               .           .
run -o F --json      file       .           130:out+err|130:err   143:out+err 129:out+err
"""

TYPED = {"INT": [signal.SIGINT], "INT+INT": [signal.SIGINT] * 2, "TERM": [signal.SIGTERM], "HUP": [signal.SIGHUP]}


@attrs.frozen
class Row:
    """A row of a table: a command, and what is expected in each column."""

    name: str
    cells: Mapping[str, str]

    @property
    def id(self) -> str:
        return f"{self.name} {self.cells.get('when', '')}".strip()


def rows_of(table: str) -> list[Row]:
    """Return the rows of a table; the columns begin where their names do, but for what is too long."""
    head, *lines = table.strip().splitlines()
    width = head.index(head.split()[1])
    columns = head.split()[1:]
    rows = []
    for line in lines:
        cells = zip(columns, line[width:].split(), strict=True)
        rows.append(Row(line[:width].strip(), {column: cell for column, cell in cells if cell != "."}))
    return rows


@attrs.define
class Process:
    """A command under way, and the folder in which its file of last resort would be."""

    popen: subprocess.Popen[bytes]
    state: Path
    heard: bytes = b""

    def hear(self, words: bytes) -> None:
        """Wait until *words* stand on standard error."""
        assert self.popen.stderr is not None
        while words not in self.heard:
            ready, _, _ = select.select([self.popen.stderr], [], [], LIMIT)
            piece = os.read(self.popen.stderr.fileno(), 4096) if ready else b""
            assert piece, self.heard
            self.heard += piece

    def end(self) -> tuple[int, str, str, str]:
        out, err = self.popen.communicate(timeout=LIMIT)
        err = self.heard + err
        path = self.state / "coreclaw-async" / "untold-runs.txt"
        return self.popen.returncode, out.decode(), err.decode(), path.read_text() if path.exists() else ""


@attrs.frozen
class Bench:
    """A service on a socket, and the commands that are tried on it."""

    service: FakeService
    folder: Path
    env: dict[str, str]
    processes: list[Process] = attrs.field(factory=list[Process])
    opened: list[int] = attrs.field(factory=list[int])
    numbers: Iterator[int] = attrs.field(factory=itertools.count)

    def begin(self, argv: Sequence[str], name: str) -> Process:
        number = len(self.processes)
        state = self.folder / f"state-{number}"
        popen = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**self.env, **SETTINGS.get(name.removesuffix(" --json"), {}), "XDG_STATE_HOME": str(state)},
            start_new_session=True,
        )
        self.processes.append(Process(popen, state))
        return self.processes[-1]

    def arguments(self, name: str) -> list[str]:
        """Return the arguments of a command of the tables."""
        number = next(self.numbers)
        name, is_json = name.removesuffix(" --json"), name.endswith(" --json")
        made = COMMANDS[name](self, str(self.folder / f"rows-{number}.csv"))
        return [*made, "--json"] if is_json else made


def run_with(*options: str) -> Callable[[Bench, str], list[str]]:
    return lambda _, path: ["run", WORKER, "-i", INPUT, *(path if one == "F" else one for one in options)]


def of_run(*words: str, script: RunScript | None = None) -> Callable[[Bench, str], list[str]]:
    """Return a command about a run that is there already."""

    def arguments(bench: Bench, path: str) -> list[str]:
        run_id = bench.service.add_run(WORKER, script=script or RunScript(rows=3, duration=0))
        return [run_id if word == "RUN" else path if word == "F" else word for word in words]

    return arguments


def of_task(*options: str) -> Callable[[Bench, str], list[str]]:
    return lambda bench, _: [
        "tasks",
        "run",
        bench.service.add_task(WORKER, title="Coffee", input={"parameters": {"custom": INPUT_OF_TASK}}),
        *options,
    ]


def of_worker(*words: str) -> Callable[[Bench, str], list[str]]:
    def arguments(bench: Bench, path: str) -> list[str]:
        bench.service.add_worker(f"me/{Path(path).stem}")
        return list(words)

    return arguments


def of_tasks(*words: str) -> Callable[[Bench, str], list[str]]:
    def arguments(bench: Bench, _: str) -> list[str]:
        bench.service.add_task(WORKER, title="Coffee", input=INPUT_OF_TASK)
        return list(words)

    return arguments


def of_item(*words: str) -> Callable[[Bench, str], list[str]]:
    def arguments(bench: Bench, _: str) -> list[str]:
        bench.service.add_queue_item(WORKER, INPUT_OF_TASK)
        return list(words)

    return arguments


def words(*arguments: str) -> Callable[[Bench, str], list[str]]:
    return lambda *_: list(arguments)


def bad_and_good(bench: Bench, _: str) -> list[str]:
    bad = bench.service.add_run(WORKER, script=RunScript(rows=3, duration=0, outcome="failed"))
    return ["wait", bad, bench.service.add_run(WORKER, script=RunScript(rows=3, duration=0))]


def batch_run(bench: Bench, path: str) -> list[str]:
    ledger = f"{path}.db"
    with (
        CoreClaw(bench.service.api_key, base_url=bench.env["CORECLAW_BASE_URL"]) as client,
        client.batch("nightly", ledger=ledger) as batch,
    ):
        batch.plan([RunSpec(key="a", worker_id=WORKER, input=INPUT_OF_TASK)])
    return ["batch", "run", "nightly", "--ledger", ledger]


INPUT_OF_TASK = {"keywords": ["coffee"]}
COMMANDS: dict[str, Callable[[Bench, str], list[str]]] = {
    "run": run_with(),
    "run -w": run_with("-w"),
    "run -w --abort": run_with("-w", "--abort-on-interrupt"),
    "run -o -": run_with("-o", "-"),
    "run -o F": run_with("-o", "F"),
    "run bad": run_with("-w"),
    "run slow": run_with("-w", "--timeout", "1"),
    "run lost": run_with("-w"),
    "run blind": run_with("-w"),
    "rerun": of_run("rerun", "RUN"),
    "rerun -w": of_run("rerun", "RUN", "-w"),
    "tasks run": of_task(),
    "tasks run -w": of_task("-w"),
    "runs": of_run("runs"),
    "show": of_run("show", "RUN"),
    "rows": of_run("rows", "RUN"),
    "rows -o F": of_run("rows", "RUN", "-o", "F"),
    "export": of_run("export", "RUN", "-o", "F"),
    "log": of_run("log", "RUN"),
    "wait": of_run("wait", "RUN"),
    "wait bad good": bad_and_good,
    "abort": of_run("abort", "RUN", script=RunScript(duration=600)),
    "abort ended": of_run("abort", "RUN"),
    "store": words("store"),
    "workers list": of_worker("workers", "list"),
    "workers show": words("workers", "show", WORKER),
    "workers input": words("workers", "input", WORKER),
    "tasks list": of_tasks("tasks", "list"),
    "queue list": of_item("queue", "list"),
    "account": words("account"),
    "batch run": batch_run,
    "--help": words("--help"),
    "run --help": words("run", "--help"),
    "no such command": words("scrape"),
    "run no worker": words("run"),
    "no such option": words("runs", "--all"),
    "run no folder": run_with("-o", "/nowhere/rows.csv"),
    "no key": run_with("-w"),
    "wrong key": run_with("-w"),
    "no network": run_with("-w"),
    "wait no network": words("wait", "01M8B1QYTYP0TYP0TYP0TYP0TY", "--timeout", "3"),
}
SETTINGS = {
    "no key": {"CORECLAW_API_KEY": ""},
    "wrong key": {"CORECLAW_API_KEY": "wrong"},
    "no network": {"CORECLAW_BASE_URL": "http://127.0.0.1:9"},
    "wait no network": {"CORECLAW_BASE_URL": "http://127.0.0.1:9"},
}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    service = FakeService(clock=RealClock(), default_script=RunScript(rows=3, duration=0.0))
    kept = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
    with service.serve() as server:
        keys = {"CORECLAW_API_KEY": service.api_key, "CORECLAW_BASE_URL": server.url, "COLUMNS": "200"}
        bench = Bench(service, tmp_path, {**kept, **keys})
        yield bench
        for process in bench.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.popen.pid, signal.SIGKILL)
            process.popen.communicate(timeout=LIMIT)
        for number in bench.opened:
            os.close(number)


def prepare(service: FakeService, name: str) -> None:
    """Have the service fail as the name of a row says."""
    if "bad" in name:
        service.default_script = RunScript(rows=3, duration=0.0, outcome="failed")
    elif "slow" in name:
        service.default_script = RunScript(rows=3, duration=600.0)
    elif "lost" in name or "blind" in name:
        service.faults.add(faults.commit_then_drop(), operation="runWorker", times=99)
        if "blind" in name:
            service.faults.add(faults.status(400), operation="listWorkerRuns", times=99)


def cell(process: Process, service: FakeService, there: Sequence[str]) -> tuple[str, str, list[str]]:
    """Return how a process ended, as a cell, what it wrote, and the runs that it names."""
    code, out, err, file = process.end()
    written = {"out": out, "err": err, "file": file}
    assert "Traceback" not in err, err
    assert "Exception ignored" not in err, err
    new = [run_id for run_id in service.runs if run_id not in there]
    named = [run_id for run_id in new if any(run_id in text for text in written.values())]
    places = [place for place, text in written.items() if any(run_id in text for run_id in named)]
    may = [place for place, text in written.items() if "A run may have been started" in text]
    where = "+".join(places) or ("may/" + "+".join(may) if may else "-")
    return f"{code}:{where}", f"--- {process.popen.args!r}\n{out}{err}{file}", named


def compare(row: Row, got: Mapping[str, str], details: Sequence[str]) -> None:
    """Compare a row with what happened, and show both as a table."""
    expected = {column: row.cells[column] for column in got}
    columns = [f"{column:13}" for column in got]
    shown = [
        f"{row.id}",
        "          " + "".join(columns),
        "expected  " + "".join(f"{one:13}" for one in expected.values()),
        "found     " + "".join(f"{one:13}" for one in got.values()),
        *details,
    ]
    assert all(got[column] in expected[column].split("|") for column in got), "\n".join(shown)


def tried(bench: Bench, row: Row) -> tuple[dict[str, str], list[str], set[str], list[str]]:
    """Run a command in all ways, a few at once; return the cells, what was written, the runs named, and those made."""
    prepare(bench.service, row.name)
    made = {column: bench.arguments(row.name) for column in row.cells}
    there = list(bench.service.runs)
    got, details, named = dict[str, str](), list[str](), set[str]()
    left = list(made.items())
    many = len(left) if "no network" in row.name else _AT_ONCE  # Those only wait.
    while left:
        few, left = left[:many], left[many:]
        shells = {column: SHELL[column].format(shlex.join(command(*arguments))) for column, arguments in few}
        begun = {column: bench.begin(["bash", "-c", shell], row.name) for column, shell in shells.items()}
        for column, process in begun.items():
            got[column], written, runs = cell(process, bench.service, there)
            details.append(written)
            named.update(runs)
    return got, details, named, [run_id for run_id in bench.service.runs if run_id not in there]


@pytest.mark.parametrize("row", rows_of(PAYING), ids=lambda row: row.id)
def test_a_run_that_was_paid_for_is_told_of_whatever_becomes_of_the_streams(bench: Bench, row: Row) -> None:
    got, details, named, paid = tried(bench, row)

    compare(row, got, details)
    assert len(paid) == len(got)
    assert named == set(paid) or "blind" in row.name


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=TRIES if row.name == "no network" else (), id=row.id) for row in rows_of(READING)],
)
def test_a_command_that_pays_for_nothing_says_what_was_not_written(bench: Bench, row: Row) -> None:
    got, details, _, _ = tried(bench, row)

    compare(row, {column: one.partition(":")[0] for column, one in got.items()}, details)


def requests_of(service: FakeService, operation: str) -> int:
    return len({request.path for request in service.requests if request.operation == operation})


def fault_until(service: FakeService, when: str) -> Callable[[Sequence[Process]], bool]:
    """Have commands stop at a point, and return what says that all of them are there."""
    there = len(service.runs)
    if when in {"unanswered", "blind"}:
        service.faults.add(faults.delay(60), operation="runWorker", times=99)
        if when == "blind":
            service.faults.add(faults.delay(60), operation="listWorkerRuns", times=99)
        return lambda processes: len(service.runs) - there == len(processes)
    if when == "waiting":
        service.default_script = RunScript(rows=3, duration=600.0)
        return lambda processes: requests_of(service, "getWorkerRun") >= len(processes)
    operation = "listWorkerRunResults" if when == "rows" else "download"
    service.faults.add(faults.drip(16, 0.1), operation=operation, times=99)
    return lambda processes: requests_of(service, operation) >= len(processes)


def begin_all(bench: Bench, row: Row, columns: Sequence[str]) -> tuple[dict[str, Process], list[str]]:
    """Begin a command for each column, and return them, when each is where the row says, and the runs of before."""
    when, begun = row.cells["when"], dict[str, Process]()
    made = {column: bench.arguments(row.name) for column in columns}
    there = list(bench.service.runs)
    are_there = None if when in {"input", "unsent"} else fault_until(bench.service, when)
    for column, arguments in made.items():
        fifo = bench.folder / f"input-{column}"
        if when == "input":
            os.mkfifo(fifo)
            arguments[arguments.index("-i") + 1] = str(fifo)
        begun[column] = bench.begin(command(*arguments), "no network" if when == "unsent" else row.name)
    for column, process in begun.items():
        if when == "input":  # Which is opened when it is read.
            bench.opened.append(os.open(bench.folder / f"input-{column}", os.O_WRONLY))
        elif when == "unsent":
            process.hear(b"still trying")
    until = time.monotonic() + LIMIT
    while are_there is not None and not are_there(list(begun.values())) and time.monotonic() < until:
        time.sleep(0.01)
    return begun, there


@pytest.mark.parametrize("row", rows_of(SIGNALS), ids=lambda row: row.id)
def test_a_signal_at_any_point_leaves_no_run_untold(bench: Bench, row: Row) -> None:
    columns = [column for column in row.cells if column != "when"]
    begun, there = begin_all(bench, row, columns)
    for column, process in begun.items():
        for number in TYPED[column]:
            process.popen.send_signal(number)
            time.sleep(0.02)

    got, details = dict[str, str](), list[str]()
    for column, process in begun.items():
        got[column], written, _ = cell(process, bench.service, there)
        details.append(written)
    compare(row, got, details)
