"""``coreclaw-async emulate``: the service on a socket of this machine, for clients in any language."""

from __future__ import annotations

import json
import math
import shlex
import signal
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from ipaddress import ip_address
from socket import inet_aton
from types import FrameType
from typing import Annotated, Literal, TypeAlias

import typer

from coreclaw_async import testing
from coreclaw_async._data.counting import counted
from coreclaw_async._wire.credentials import Credentials
from coreclaw_async.cli.options import amount_of, read_text
from coreclaw_async.errors import ConfigurationError

# As in `testing._state.switches`, which no other command should have to load. A test compares them.
OffsetDialect = Literal["page", "row", "aligned"]
LogShape = Literal["objects", "words", "strings", "mixed"]

_MAX_REQUESTS = 1_000
"""Requests that are kept, of which the console shows the newest 100; older ones are only counted."""
_LOOK_EVERY = 0.1
"""Seconds between two checks for a signal to stop."""


def _key(text: str) -> str:
    try:
        Credentials(text)
    except ConfigurationError as error:
        raise typer.BadParameter(error.message) from None
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise typer.BadParameter(f"{text!r} is no number of seconds from 0")
    return seconds


PortOption: TypeAlias = Annotated[
    int, typer.Option(min=0, max=65535, metavar="PORT", help="Port of the API; 0 takes a free one.")
]
ApiKey: TypeAlias = Annotated[
    str, typer.Option(parser=_key, metavar="KEY", help="The one key that is accepted; it is no secret.")
]
RunSeconds: TypeAlias = Annotated[
    float, typer.Option(parser=_seconds, metavar="SECONDS", help="How long each run takes.")
]
OffsetDialectOption: TypeAlias = Annotated[
    OffsetDialect,
    typer.Option(
        metavar="DIALECT",
        help="What `offset` counts: pages from 1 (`page`), rows from 0 (`row`), or rows, cut to whole pages "
        "(`aligned`). The service has had all three.",
    ),
]
NoPageIndex: TypeAlias = Annotated[
    bool, typer.Option("--no-page-index", help="Leave `page_index` and `page_size` out of lists.")
]
LogEntries: TypeAlias = Annotated[
    LogShape,
    typer.Option(metavar="SHAPE", help="The form of log entries: `objects`, `words`, `strings` or `mixed`."),
]
PlanLimit: TypeAlias = Annotated[
    int | None,
    typer.Option(min=0, metavar="COUNT", help="Most runs at the same time; a further start gets code 30003."),
]
RateLimit: TypeAlias = Annotated[
    float | None, typer.Option(min=0.001, metavar="RATE", help="Requests a second; a further one gets code 13000.")
]
Chaos: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|-",
        help='Faults to show, a JSON list such as `[{"fault": "outage", "minutes": 20}]`; the names are those of '
        "`coreclaw_async.testing.faults`.",
    ),
]
AnyConsole: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--console",
        help="Show the console on any `--host`. It asks for no key, and whoever reaches the port can use it. "
        "Without this it is shown on addresses of this machine alone.",
    ),
]
NoConsole: TypeAlias = Annotated[bool, typer.Option("--no-console", help="Show no console.")]
Balance: TypeAlias = Annotated[
    Decimal, typer.Option(parser=amount_of, metavar="AMOUNT", help="The credit; at 0 a start gets code 30001.")
]


def emulate(
    *,
    host: Annotated[str, typer.Option(metavar="NAME", help="Name or IPv4 address to listen on.")] = "127.0.0.1",
    port: PortOption = 8790,
    api_key: ApiKey = "test-key",
    rows: Annotated[int, typer.Option(min=0, metavar="COUNT", help="Rows that each run produces.")] = 25,
    run_seconds: RunSeconds = 3.0,
    offset_dialect: OffsetDialectOption = "page",
    no_page_index: NoPageIndex = False,
    log_entries: LogEntries = "objects",
    plan_limit: PlanLimit = None,
    rate_limit: RateLimit = None,
    balance: Balance = Decimal("100.00"),
    chaos: Chaos = None,
    console: AnyConsole = False,
    no_console: NoConsole = False,
) -> None:
    """
    Serve the CoreClaw API from this machine, until Ctrl-C.

    It has all operations and keeps everything in memory: nothing leaves this machine, and nothing costs money. Its
    console is a page that shows runs and requests as they come, ends runs, advances the clock and plans faults. When it
    is stopped, the exit code is 0.
    """
    if console and no_console:
        raise typer.BadParameter("--console and --no-console exclude each other")
    shows_console = console or (not no_console and _is_loopback(host))
    from coreclaw_async.testing._service import count_requests, keep_newest_requests  # Late, as `testing` itself is.

    service = testing.FakeService(
        api_key=api_key,
        clock=testing.RealClock(),
        offset_dialect=offset_dialect,
        echo_page_index=not no_page_index,
        log_entries=log_entries,
        plan_limit=plan_limit,
        rate_limit=rate_limit,
        rate_burst=1 if rate_limit is None else max(1, math.ceil(rate_limit)),
        balance=balance,
        default_script=testing.RunScript(rows=rows, duration=run_seconds),
    )
    keep_newest_requests(service, _MAX_REQUESTS)
    if chaos is not None:
        _plan_faults(service, chaos)
    with ExitStack() as stack:
        signals = stack.enter_context(_noted_signals())
        try:
            server = stack.enter_context(service.serve(host, port, console=shows_console))
        except (OSError, UnicodeError) as error:
            raise typer.BadParameter(f"cannot listen on {host}, port {port}: {error}") from None
        _say_ready(server.url, api_key, service.faults.pending)
        if shows_console:
            everywhere = "" if _is_loopback(host) else ", and at the IP addresses of this machine"
            typer.echo(f"Console: {server.url}/{everywhere}")
        elif not no_console:
            typer.echo(f"No console, as others may reach {host or 'all addresses'}; --console shows one all the same.")
        typer.echo("Ctrl-C stops.")
        while not signals:
            time.sleep(_LOOK_EVERY)
    typer.echo(
        f"Stopped after {counted(count_requests(service), 'request')} and {counted(service.runs_created, 'run')}."
    )


def _plan_faults(service: testing.FakeService, name: str) -> None:
    where, source = read_text("--chaos", name)
    try:
        plan = json.loads(source)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"--chaos: {where} is not JSON: {error}") from None
    try:
        service.faults.load(plan)
    except ValueError as error:
        raise typer.BadParameter(f"--chaos: {where}: {error}") from None


def _is_loopback(host: str) -> bool:
    try:
        # As the system reads it, for which 127.1 is an address too.
        return host.lower() == "localhost" or ip_address(inet_aton(host)).is_loopback
    except (OSError, ValueError):
        return False


def _say_ready(url: str, api_key: str, planned: int) -> None:
    header = shlex.quote(f"Authorization: Bearer {api_key}")
    typer.echo(
        f"CoreClaw emulator ready at {url}\n"
        "\n"
        f"  export CORECLAW_BASE_URL={url}\n"
        f"  export CORECLAW_API_KEY={shlex.quote(api_key)}\n"
        "\n"
        f"  curl -H {header} {url}/api/v2/users/account\n"
        "\n"
        f"Worker to run: coreclaw/google-maps-scraper.{f' Planned faults: {planned}.' if planned else ''}"
    )


@contextmanager
def _noted_signals() -> Generator[list[int]]:
    """Record signals that ask for an end; a second signal cannot disturb the end either."""
    # A list that is checked again and again, as an event has a lock, on which a signal handler may wait for ever.
    noted: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        noted.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
