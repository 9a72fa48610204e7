"""The body of an answer as it is sent: whole, cut short, or in small pieces."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from coreclaw_async.testing._api.answers import Answer
    from coreclaw_async.testing.faults import Fault


def body_pieces(answer: Answer, fault: Fault) -> Iterator[bytes]:
    """Yield the part of the body that `fault` lets through; a truncated body lacks at least one byte."""
    keep = min(fault.keep, answer.length - 1) if fault.ending == "truncate" else math.inf
    return _split(_cut(answer.chunks, keep), fault.chunk)


def _cut(chunks: Iterable[bytes], keep: float) -> Iterator[bytes]:
    for chunk in chunks:
        if keep <= len(chunk):
            yield chunk[: int(keep)]
            return
        yield chunk
        keep -= len(chunk)


def _split(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    for chunk in chunks:
        step = size or len(chunk) or 1
        for start in range(0, len(chunk), step):
            yield chunk[start : start + step]
