"""
Requests a second of `client.runs.get` with the extra ``[speed]``, beside those of others, 1 to 1,000 at once.

All clients take turns in one process, and the order changes from round to round. Each setting has a process of its own:
asyncio as it is, a service that takes 20 ms, uvloop, TLS on kept and on new connections, and other Pythons that are
here, for which environments are made in ``benchmarks/results/``.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import attrs
import callers
import trustme
from load import AtOnce
from paired import Comparison, take_turns
from report import Report, Row, at_least, parser, rate_row
from stub_server import Stub, forget_proxies

_ROUNDS = 9
_ROOT = Path(__file__).resolve().parent.parent
_SPEED = "[speed]"
_NULL = "itself (null test)"
_CLIENTS: dict[str, callers.Client] = {
    _SPEED: callers.ours_with_speed,
    "default": callers.ours,
    "apify-client": callers.apify,
    "raw aiohttp": callers.raw_aiohttp,
    "raw httpx": callers.raw_httpx,
    "openai": callers.openai_sdk,
    _NULL: callers.ours_with_speed,
}
_TOTALS = {1: 120, 10: 200, 100: 300, 1_000: 1_000}
_BUDGETS = {
    ("default", 1): at_least(2.2),
    ("default", 10): at_least(2.5),
    ("default", 100): at_least(2.8),
    ("default", 1_000): at_least(3),
    ("apify-client", 100): at_least(0.85),
}
_OTHER_PYTHONS = ("3.12", "3.13", "3.14")


@attrs.frozen(kw_only=True)
class Setting:
    """
    How the service is reached, and by what.

    Attributes:
        name: What the table calls it.
        widths: How many calls are under way at a time, one after another.
        latency: Seconds that the service takes.
        connections: Whether the service keeps them: ``keep`` or ``close``.
        has_tls: Whether it is reached over TLS, with a certificate of a local authority.
        loop: asyncio or uvloop.
        python: The version that is needed, or None for this one.
        is_in_readme: Whether it is measured for README, which should not take long.
    """

    name: str
    widths: tuple[int, ...] = (100,)
    latency: float = 0.0
    connections: str = "keep"
    has_tls: bool = False
    loop: str = "asyncio"
    python: str | None = None
    is_in_readme: bool = True


SETTINGS = (
    Setting(name="asyncio", widths=(1, 10, 100, 1_000)),
    Setting(name="20 ms", widths=(1_000,), latency=0.02, is_in_readme=False),
    Setting(name="uvloop", loop="uvloop"),
    Setting(name="TLS", has_tls=True),
    Setting(name="TLS, new connections", has_tls=True, connections="close"),
    *(Setting(name=f"Python {version}", python=version) for version in _OTHER_PYTHONS),
)


class SkippedError(Exception):
    """A setting cannot be measured here, for the reason that it says."""


def python_of(setting: Setting) -> str:
    """
    Return the interpreter for a setting, with all clients.

    Raises:
        SkippedError: There is none.
    """
    if setting.loop == "uvloop" and importlib.util.find_spec("uvloop") is None:
        raise SkippedError("uvloop is not installed")
    if setting.python is None:
        return sys.executable
    if setting.python == f"{sys.version_info[0]}.{sys.version_info[1]}":
        raise SkippedError("it is the Python that measures the others")
    command = shutil.which(f"python{setting.python}")
    # A version manager may have commands that only say that it does not have this one.
    if command is None or subprocess.run([command, "-c", ""], capture_output=True, check=False).returncode:
        raise SkippedError("it is not here")
    return environment(command, _ROOT / "benchmarks" / "results" / f"python{setting.python}")


def environment(command: str, folder: Path) -> str:
    """
    Return the interpreter of an environment in *folder* that has this project and its peers.

    Raises:
        SkippedError: They cannot be installed.
    """
    python = str(folder / "bin" / "python")
    peers = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]["bench"]
    steps = ([command, "-m", "venv", str(folder)], [python, "-m", "pip", "install", "-qq", f"{_ROOT}[speed]", *peers])
    if any(subprocess.run(step, check=False).returncode for step in steps):
        raise SkippedError("its environment could not be made")
    return python


async def measure_widths(setting: Setting, rounds: int, certificate: str | None) -> dict[str, Any]:
    """Return seconds for each answer, and failures of so many calls, by width and client."""
    found: dict[str, Any] = {}
    with Stub(setting.latency, connections=setting.connections, certificate=certificate) as stub:
        for width in setting.widths:
            async with AsyncExitStack() as stack:
                blocks = {
                    name: AtOnce(
                        await stack.enter_async_context(open_client(stub.url)),
                        width=width, total=_TOTALS[width], counts_failures=True,
                    )
                    for name, open_client in _CLIENTS.items()
                }  # fmt: skip
                costs = await take_turns(blocks, rounds if width < 1_000 else max(3, rounds // 2))
            found[str(width)] = {
                name: {"costs": costs[name], "failures": block.failures, "made": block.made}
                for name, block in blocks.items()
            }
    return found


def measure_here(setting: Setting, rounds: int, certificate: str | None) -> None:
    """Measure a setting in this process, and print the figures as JSON."""
    make_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
    if setting.loop == "uvloop":
        import uvloop

        make_loop = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=make_loop) as runner:
        print(json.dumps(runner.run(measure_widths(setting, rounds, certificate))))


def measure_apart(setting: Setting, rounds: int, folder: Path) -> dict[str, Any]:
    """
    Measure a setting in a process of its own.

    Raises:
        SkippedError: It cannot be measured here.
    """
    command = [python_of(setting), __file__, "--setting", setting.name, "--rounds", str(rounds)]
    variables = dict(os.environ)
    if setting.has_tls:
        authority, chain = folder / "ca.pem", folder / "server.pem"
        made = trustme.CA()
        made.cert_pem.write_to_path(str(authority))
        made.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(chain))
        variables["SSL_CERT_FILE"] = str(authority)
        command += ["--certificate", str(chain)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, env=variables, check=True)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def add_rows(report: Report, setting: Setting, found: dict[str, Any]) -> None:
    """Add a row for each width and peer: a ratio where nothing has failed, else how much has."""
    for width in setting.widths:
        ours = found[str(width)].pop(_SPEED)
        for name, peer in found[str(width)].items():
            where = f"{setting.name}, {width:,} at once"
            key = f"{setting.name}/{width}/{name}"
            if ours["failures"] or peer["failures"]:
                failed = [100 * each["failures"] / each["made"] for each in (ours, peer)]
                what = f"{where}, calls that failed, to {name}"
                report.add(Row(what=what, unit="%", ours=failed[0], peer=failed[1], key=f"failed/{key}"))
                continue
            compared = Comparison(peer["costs"], ours["costs"])
            budget = _BUDGETS.get((name, width)) if setting == SETTINGS[0] else None
            what = f"{where}, times as fast as {name}"
            report.add(attrs.evolve(rate_row(what, compared, budget=budget), key=f"rates/{key}"))


if __name__ == "__main__":
    command_line = parser(__doc__, _ROUNDS)
    by_name = {setting.name: setting for setting in SETTINGS}
    command_line.add_argument("--setting", choices=by_name, help="measure this here, and print JSON")
    command_line.add_argument("--certificate", help="what the service of that setting shows")
    options = command_line.parse_args()
    forget_proxies()
    if options.setting:
        measure_here(by_name[options.setting], options.rounds, options.certificate)
    else:
        table = Report("bench_rates", options.rounds)
        with tempfile.TemporaryDirectory() as place:
            for each in SETTINGS:
                if options.readme and not each.is_in_readme:
                    continue
                try:
                    add_rows(table, each, measure_apart(each, options.rounds, Path(place)))
                except SkippedError as reason:
                    table.add(Row(what=f"{each.name}: skipped", note=str(reason), key=f"skipped/{each.name}"))
        table.finish(options.json)
