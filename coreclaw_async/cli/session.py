"""The key, the address and the client of a command."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import attrs
import typer

from coreclaw_async import events
from coreclaw_async._client import DEFAULT_BASE_URL
from coreclaw_async._sync.generated import CoreClaw
from coreclaw_async.cli._process.receipts import current
from coreclaw_async.cli.outage_news import current_news
from coreclaw_async.errors import ConfigurationError

NO_KEY = "there is no key: set CORECLAW_API_KEY, or give --api-key-file FILE"


@attrs.frozen
class Connection:
    """
    The options by which a command reaches the service.

    Attributes:
        key_file: The value of ``--api-key-file``.
        base_url: The value of ``--base-url``.
        needs_key: Whether the service asks for a key.
    """

    key_file: Path | None
    base_url: str | None
    needs_key: bool


CONNECTION: ContextVar[Connection] = ContextVar("coreclaw_async_connection")
"""That of the current command, set by `guard.guarded`."""


@attrs.frozen
class Found:
    """
    A setting and where it came from.

    Attributes:
        value: The setting, or None.
        source: Where it came from, for people.
    """

    value: str | None = attrs.field(repr=False)
    source: str


def find_key(key_file: Path | None, *, may_ask: bool) -> Found:
    """
    Return the key from the file, the environment, or the user at the terminal.

    The key is never an option, because everybody on a machine can read the arguments of a process.

    Raises:
        typer.BadParameter: The file cannot be read, or is empty.
    """
    if key_file is not None:
        try:
            key = key_file.read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(f"--api-key-file: {error}") from None
        if not key:
            raise typer.BadParameter(f"--api-key-file: {key_file} is empty")
        return Found(key, f"the file {key_file}")
    if os.environ.get("CORECLAW_API_KEY", "").strip():
        return Found(os.environ["CORECLAW_API_KEY"], "CORECLAW_API_KEY")
    if may_ask and sys.stdin.isatty() and sys.stderr.isatty():
        return Found(typer.prompt("API key", hide_input=True, err=True), "the prompt")
    return Found(None, "nowhere")


def find_base_url(given: str | None) -> Found:
    """Return the address of the service."""
    if given is not None:
        return Found(given, "--base-url")
    if os.environ.get("CORECLAW_BASE_URL", "").strip():
        return Found(os.environ["CORECLAW_BASE_URL"], "CORECLAW_BASE_URL")
    return Found(DEFAULT_BASE_URL, "the default")


@contextmanager
def open_client(*, needs_key: bool = True) -> Generator[CoreClaw]:
    """Open the client of the current command; *needs_key* is false where an option makes a key unnecessary."""
    connection = CONNECTION.get()
    needs_key = needs_key and connection.needs_key
    key = find_key(connection.key_file, may_ask=needs_key)
    if key.value is None and needs_key:
        raise ConfigurationError(NO_KEY)
    receipts, news = current(), current_news()

    def note(event: events.Event) -> None:
        receipts.note(event)
        news.note(event)

    # The client reads the environment itself, and then names the variable in its errors.
    given = None if key.source == "CORECLAW_API_KEY" else key.value
    with CoreClaw(given, base_url=connection.base_url, on_event=note) as client:
        yield client
