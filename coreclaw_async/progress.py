"""How far a call is, as ``progress=`` tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import attrs

from coreclaw_async._data.record import Model

ProgressKind: TypeAlias = Literal["run", "wait", "batch", "download", "rows"]


@attrs.frozen(kw_only=True, repr=False)
class Progress(Model):
    """
    How far a call is.

    Attributes:
        kind: What is under way: ``run`` (a start and its wait), ``wait``, ``batch``, ``download``, or ``rows``, which
            are read.
        done: What has been done so far, 0 or more: runs that have ended, items, bytes or rows, depending on *kind*.
        total: How much that is in all, or None when nobody knows.
        rows: Rows found or read so far, or None when not known.
        bytes: Bytes that have been written, or None where none are.
        elapsed: Seconds since the call began.
        text: One printable line for people, without the time.

    Example::

        def show(progress: Progress) -> None:
            print(progress.done, "of", progress.total, progress.text)


        run = await client.workers.run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]}, progress=show)
    """

    kind: ProgressKind
    done: int
    total: int | None = None
    rows: int | None = None
    bytes: int | None = None
    elapsed: float
    text: str


ProgressHook: TypeAlias = Callable[[Progress], None]
"""Takes each `Progress`."""

ProgressOption: TypeAlias = bool | ProgressHook
"""
What ``progress=`` takes.

True shows a line that is updated in place: in a notebook below its cell, in a terminal on standard error, and nowhere
else. A function is called with each `Progress`; it must return soon. When it raises, that is logged once and it is not
called again: the run, and the wait for it, go on. False shows nothing.
"""
