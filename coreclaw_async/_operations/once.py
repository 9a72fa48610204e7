"""A run that belongs to a key: what a caller asks for, and who does it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import attrs

from coreclaw_async._operations.context import Context
from coreclaw_async._operations.wait import WaitOptions
from coreclaw_async._wire.request import check_bool
from coreclaw_async.models import Run

PREFIX = "once:"
"""What the name of the batch begins with; the key follows."""

LEDGER_VARIABLE = "CORECLAW_LEDGER"
LEDGER_FILE = "runs.db"
_MAX_KEY = 495
"""Characters of a key, which is part of the name of its batch."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class OnceCall:
    """
    What a caller of `AsyncWorkers.run_once` asks for; checked before anything is opened or sent.

    Attributes:
        key: What the caller calls the run.
        worker_id: The worker.
        input: The worker's own input.
        system: Settings of the platform, or None.
        version: The worker version, or None.
        ledger: Where it is recorded that the key has a run.
        exclusive: Whether nobody else starts runs of the worker.
        account: The caller's name for the account, or None.
        wait: Whether the end is awaited.
        options: How.
    """

    key: str
    worker_id: str
    input: Mapping[str, Any] = attrs.field(repr=False)
    system: Mapping[str, Any] | None = attrs.field(repr=False)
    version: str | None
    ledger: str | os.PathLike[str] = attrs.field(repr=False)
    exclusive: bool
    account: str | None
    wait: bool
    options: WaitOptions

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.key, str):
            raise TypeError(f"key must be a str, not {type(self.key).__name__}")
        if not 1 <= len(self.key) <= _MAX_KEY or not self.key.isprintable():
            raise ValueError(f"key must be printable and have 1 to {_MAX_KEY} characters, not {self.key!r:.80}")
        if self.ledger == "memory":
            raise ValueError(
                f"ledger (or {LEDGER_VARIABLE}) must be a file or a database, not 'memory': "
                "the next call would pay again"
            )
        check_bool("exclusive", self.exclusive)
        check_bool("wait", self.wait)


def ledger_of(given: str | os.PathLike[str] | None) -> str | os.PathLike[str]:
    """Return the ledger that is meant: the given one, that of the environment, or a file in the working directory."""
    if given is not None:
        return given
    return os.environ.get(LEDGER_VARIABLE) or LEDGER_FILE


RunOnce: TypeAlias = Callable[[Context, OnceCall], Awaitable[Run]]
"""Does it. Batches stand above the groups of endpoints, so the client hands it down."""
