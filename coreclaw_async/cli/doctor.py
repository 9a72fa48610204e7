"""``coreclaw-async doctor``: what is used, where it came from, and whether it works."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Literal

import attrs
import httpx
import typer

from coreclaw_async._sync_generated import CoreClaw
from coreclaw_async._version import __version__
from coreclaw_async._wire.moments import date_of
from coreclaw_async.cli.failures import ExitCode
from coreclaw_async.cli.options import AsJson, BaseUrl, KeyFile
from coreclaw_async.cli.output import print_json
from coreclaw_async.cli.screen import Screen, money
from coreclaw_async.cli.session import Found, find_base_url, find_key, guarded
from coreclaw_async.errors import CoreClawError

_SECONDS = 15.0
_SKEW_TO_MENTION = 30.0


@attrs.frozen
class Finding:
    """
    One thing that was looked at.

    Attributes:
        check: What it is.
        state: Whether it is as it should be.
        detail: What was found, and what to do about it.
    """

    check: str
    state: Literal["OK", "WARN", "FAIL"]
    detail: str


@guarded
def doctor(*, json: AsJson = False, api_key_file: KeyFile = None, base_url: BaseUrl = None) -> None:
    """
    Say which key and address are used and where they came from, and whether the service can be used with them.

    Reads only, starts nothing, and never shows the key. Exit code 3 when something fails.
    """
    key, address = find_key(api_key_file, may_ask=False), find_base_url(base_url)
    screen, has_failed = Screen(), False
    with CoreClaw(key.value, base_url=address.value, timeout=_SECONDS) as client:
        for finding in _look(client, key, address):
            has_failed = has_failed or finding.state == "FAIL"
            if json:
                print_json([finding])
            else:
                screen.tell(f"{finding.state:5} {finding.check:9} {finding.detail}")
    if has_failed:
        raise typer.Exit(ExitCode.SERVICE)


def _look(client: CoreClaw, key: Found, address: Found) -> Iterator[Finding]:
    libraries = ", ".join(f"{name} {version(name)}" for name in ("httpx", "anyio", "attrs", "cattrs"))
    yield Finding("versions", "OK", f"coreclaw_async {__version__}, Python {platform.python_version()}, {libraries}")
    yield Finding("address", "OK", f"{address.value} (from {address.source})")
    if key.value is None:
        yield Finding("key", "WARN", "there is none: set CORECLAW_API_KEY, or give --api-key-file FILE")
    else:
        yield Finding("key", "OK", f"there is one (from {key.source})")
    began = time.perf_counter()
    try:
        answer = httpx.get(f"{address.value}/api/v2/store", params={"limit": 1}, timeout=_SECONDS)
    except httpx.HTTPError as error:
        yield Finding("service", "FAIL", f"cannot be reached: {type(error).__name__} {error}")
        return
    yield Finding("service", "OK", f"answered with HTTP {answer.status_code} in {time.perf_counter() - began:.2f} s")
    yield check_clock(answer.headers.get("date"))
    yield _dialect(client)
    if key.value is not None:
        yield _account(client)


def check_clock(date: str | None) -> Finding:
    """Compare the ``Date`` of an answer with this machine's clock."""
    there = date_of({"date": date or ""})
    if there is None:
        return Finding("clock", "WARN", "the service's answer holds no time to compare with")
    skew = time.time() - there
    if abs(skew) < _SKEW_TO_MENTION:
        return Finding("clock", "OK", "agrees with the service's, as far as whole seconds tell")
    way = "ahead of" if skew > 0 else "behind"
    return Finding("clock", "WARN", f"{abs(skew):.0f} s {way} the service's; the client allows for that, logs do not")


def _dialect(client: CoreClaw) -> Finding:
    """Look at what the store makes of an offset of 3 with two a page: row 3, page 3, or the page that row 3 is on."""
    try:
        ids = [worker.worker_id for worker in client.store.list_page(limit=6).items]
        asked = [worker.worker_id for worker in client.store.list_page(offset=3, limit=2).items]
    except CoreClawError as error:
        return Finding("paging", "FAIL", str(error))
    if len(ids) < 6:
        return Finding("paging", "OK", "the store is too short to tell what an offset counts; the client finds out")
    meanings = {tuple(ids[3:5]): "rows", tuple(ids[4:6]): "pages", tuple(ids[2:4]): "rows, down to the page's first"}
    found = meanings.get(tuple(asked))
    if found is None:
        return Finding("paging", "WARN", "an offset counts neither rows nor pages; lists may be refused")
    return Finding("paging", "OK", f"an offset counts {found}")


def _account(client: CoreClaw) -> Finding:
    try:
        account = client.account.get()
    except CoreClawError as error:
        return Finding("account", "FAIL", str(error))
    if account.balance is not None and account.balance <= 0:
        return Finding("account", "WARN", f"the balance is {money(account.balance)}: no run can be started")
    return Finding("account", "OK", f"the key is accepted; the balance is {money(account.balance)}")
