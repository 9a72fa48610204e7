"""
What a program's start costs: `from coreclaw_async import AsyncCoreClaw`, and all up to the first answer.

Each is measured in interpreters that have just started, as CPU and as wall time; ours and its peer take turns. What a
user has is an environment with the package and what it requires, and nothing else: ``--minimal`` makes one in a
temporary folder. Otherwise the current one is used. It needs an operating system that tells the CPU time of a process,
as Linux and macOS do.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Mapping
from pathlib import Path

import attrs
from paired import Comparison
from report import Report, Row, at_most, cost_row, parser
from stub_server import Stub, forget_proxies

_ROUNDS = 21
_MILLISECONDS = 1e3
_BEYOND = "import, beyond the bare interpreter"

_OURS = "from coreclaw_async import AsyncCoreClaw"
_IMPORTS = {"nothing": "pass", "httpx": "import httpx", "ours": _OURS}
_INFORMATION = {
    "nothing": "pass",
    "ours": _OURS,
    "apify_client": "from apify_client import ApifyClientAsync",
    "openai": "from openai import AsyncOpenAI",
}
_FIRST_ANSWER = {
    "ours": """
import asyncio
from coreclaw_async import AsyncCoreClaw
async def main():
    async with AsyncCoreClaw("token", base_url="{url}", backend="httpx") as client:
        await client.runs.get("01KKDXV2G26BT7NH0000000001")
asyncio.run(main())
""",
    "httpx": """
import asyncio, json, httpx
async def main():
    async with httpx.AsyncClient(base_url="{url}") as client:
        json.loads((await client.get("/api/v2/worker-runs/01KKDXV2G26BT7NH0000000001")).content)
asyncio.run(main())
""",
}


@attrs.frozen
class Costs:
    """
    What the rounds of one program cost, in seconds.

    Attributes:
        cpu: Its CPU time, in its own code and in the system's.
        wall: The time from its start to its end.
    """

    cpu: list[float] = attrs.field(factory=list[float])
    wall: list[float] = attrs.field(factory=list[float])

    def beyond(self, other: Costs) -> Costs:
        """Return what each round cost more than the same round of *other*."""
        return Costs(
            [mine - its for mine, its in zip(self.cpu, other.cpu, strict=True)],
            [mine - its for mine, its in zip(self.wall, other.wall, strict=True)],
        )


class Starts:
    """Programs in new interpreters; *folder* is where they find and leave their bytecode, and where they run."""

    def __init__(self, python: str, folder: Path, *, is_isolated: bool) -> None:
        self._python = python
        self._folder = folder
        left_out = {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH"} if is_isolated else {"PYTHONDONTWRITEBYTECODE"}
        self._environment = {name: value for name, value in os.environ.items() if name not in left_out}

    def costs(self, programs: Mapping[str, str], rounds: int, *, has_bytecode: bool = True) -> dict[str, Costs]:
        """Return what each program cost; they take turns. Without bytecode, each compiles all that it imports."""
        cache = {"PYTHONPYCACHEPREFIX": str(self._folder)}
        if not has_bytecode:
            cache = {"PYTHONPYCACHEPREFIX": str(self._folder / "none"), "PYTHONDONTWRITEBYTECODE": "1"}
        costs = {name: Costs() for name in programs}
        for number in range(rounds + 1):
            for name, program in programs.items():
                cpu, started = _cpu_of_children(), time.perf_counter()
                command = [self._python, "-c", program]
                subprocess.run(command, check=True, env=self._environment | cache, cwd=self._folder)
                if number:  # The first round writes the bytecode.
                    costs[name].wall.append(time.perf_counter() - started)
                    costs[name].cpu.append(_cpu_of_children() - cpu)
        return costs


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def minimal_python(folder: Path) -> str:
    """Return the interpreter of a new environment that holds this project and what it requires."""
    venv.create(folder, with_pip=True)
    python = str(folder / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    root = Path(__file__).parent.parent
    subprocess.run([python, "-m", "pip", "install", "-qq", str(root)], check=True)
    return python


def measure_starts(report: Report, starts: Starts, where: str, rounds: int) -> None:
    """Add what matters: our import beside that of httpx, and the whole way to the first answer."""
    costs = starts.costs(_IMPORTS, rounds)
    nothing = statistics.median(costs["nothing"].cpu) * _MILLISECONDS
    report.add(Row(what="python with nothing imported, CPU", unit="ms", ours=nothing, note=where))
    _add(
        report,
        _BEYOND,
        costs["ours"].beyond(costs["nothing"]),
        costs["httpx"].beyond(costs["nothing"]),
        "httpx",
        1.3,
        "import/httpx",
    )
    costs = starts.costs(_IMPORTS, rounds, has_bytecode=False)
    what = f"{_BEYOND}, without bytecode"
    _add(report, what, costs["ours"].beyond(costs["nothing"]), costs["httpx"].beyond(costs["nothing"]), "httpx")
    with Stub() as stub:
        programs = {name: program.format(url=stub.url) for name, program in _FIRST_ANSWER.items()}
        costs = starts.costs(programs, rounds)
    _add(report, "a program from its start to its first answer", costs["ours"], costs["httpx"], "httpx")


def measure_others(report: Report, starts: Starts, rounds: int) -> None:
    """Add what the import of others costs, in the current environment."""
    costs = starts.costs(_INFORMATION, rounds)
    ours = costs["ours"].beyond(costs["nothing"])
    for name in ("apify_client", "openai"):
        _add(
            report,
            _BEYOND,
            ours,
            costs[name].beyond(costs["nothing"]),
            f"{name}; in the current environment",
            key=f"import/{name}",
        )


def _add(
    report: Report, what: str, ours: Costs, peer: Costs, named: str, limit: float | None = None, key: str = ""
) -> None:
    budget = None if limit is None else at_most(limit)
    cpu, wall = Comparison(ours.cpu, peer.cpu), Comparison(ours.wall, peer.wall)
    report.add(cost_row(f"{what}, CPU", cpu, "ms", _MILLISECONDS, budget=budget, note=f"peer: {named}", key=key))
    report.add(cost_row(f"{what}, wall", wall, "ms", _MILLISECONDS, note=f"peer: {named}"))


if __name__ == "__main__":
    command_line = parser(__doc__, _ROUNDS)
    command_line.add_argument("--minimal", action="store_true", help="measure in a new minimal environment")
    options = command_line.parse_args()
    forget_proxies()
    table = Report("bench_imports", options.rounds)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        current = Starts(sys.executable, place, is_isolated=False)
        if options.minimal:
            minimal = Starts(minimal_python(place / "environment"), place, is_isolated=True)
            measure_starts(table, minimal, "in a minimal environment", options.rounds)
        else:
            measure_starts(table, current, "in the current environment", options.rounds)
        measure_others(table, current, options.rounds)
    table.finish(options.json)
