"""
How long a program takes to start: `from coreclaw_async import AsyncCoreClaw`, and to the first answer.

Each is measured in interpreters that have just started. What a user has is an environment with the package and what it
requires, and nothing else: ``--minimal`` makes one in a temporary folder. Otherwise the current one is used.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Mapping
from pathlib import Path

from report import Report, Row, at_most, parser
from stub_server import Stub, forget_proxies

_ROUNDS = 15
_MILLISECONDS = 1e3

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


class Starts:
    """Programs in new interpreters; *folder* is where they find and leave their bytecode, and where they run."""

    def __init__(self, python: str, folder: Path, *, is_isolated: bool) -> None:
        self._python = python
        self._folder = folder
        left_out = {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH"} if is_isolated else {"PYTHONDONTWRITEBYTECODE"}
        kept = {name: value for name, value in os.environ.items() if name not in left_out}
        self._environment = kept | {"PYTHONPYCACHEPREFIX": str(folder)}

    def best_times(self, programs: Mapping[str, str], rounds: int) -> dict[str, float]:
        """Return the shortest time in milliseconds that each program took; they take turns."""
        times: dict[str, list[float]] = {name: [] for name in programs}
        for number in range(rounds + 1):
            for name, program in programs.items():
                started = time.perf_counter()
                command = [self._python, "-c", program]
                subprocess.run(command, check=True, env=self._environment, cwd=self._folder)
                if number:  # The first round writes the bytecode.
                    times[name].append((time.perf_counter() - started) * _MILLISECONDS)
        return {name: min(measured) for name, measured in times.items()}


def minimal_python(folder: Path) -> str:
    """Return the interpreter of a new environment that holds this project and what it requires."""
    venv.create(folder, with_pip=True)
    python = str(folder / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    root = Path(__file__).parent.parent
    subprocess.run([python, "-m", "pip", "install", "-qq", str(root)], check=True)
    return python


def measure_starts(report: Report, starts: Starts, where: str, rounds: int) -> None:
    """Add what matters: our import beside that of httpx, and the whole way to the first answer."""
    best = starts.best_times(_IMPORTS, rounds)
    nothing = best["nothing"]
    report.add(Row(what="python with nothing imported", unit="ms", ours=nothing, note=where))
    ours, peer = best["ours"] - nothing, best["httpx"] - nothing
    report.add(
        Row(
            what="import, beyond the bare interpreter",
            unit="ms",
            ours=ours,
            peer=peer,
            value=ours / peer,
            budget=at_most(1.6),
            note="peer: httpx",
            key="import/httpx",
        )
    )
    with Stub() as stub:
        programs = {name: program.format(url=stub.url) for name, program in _FIRST_ANSWER.items()}
        best = starts.best_times(programs, rounds)
    ours, peer = best["ours"], best["httpx"]
    what = "a program from its start to its first answer"
    report.add(Row(what=what, unit="ms", ours=ours, peer=peer, value=ours / peer, note="peer: httpx"))


def measure_others(report: Report, starts: Starts, rounds: int) -> None:
    """Add how long others take to import, in the current environment."""
    best = starts.best_times(_INFORMATION, rounds)
    for name in ("apify_client", "openai"):
        ours, peer = best["ours"] - best["nothing"], best[name] - best["nothing"]
        what = "import, beyond the bare interpreter"
        note = f"peer: {name}; in the current environment"
        key = f"import/{name}"
        report.add(Row(what=what, unit="ms", ours=ours, peer=peer, value=ours / peer, note=note, key=key))


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
        measure_others(table, current, max(3, options.rounds // 3))
    table.finish(options.json)
