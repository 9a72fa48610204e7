"""Files behind signed download URLs: exports and full logs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

from attrs import define


@define(kw_only=True, eq=False, slots=False)
class StoredFile:
    """
    A file that is written when it is read.

    Attributes:
        content_type: Its media type.
        tag: Its version; not a secret.
        signature: What a URL must contain.
        expires_at: Until when the URL is valid, in monotonic seconds of the service's clock.
        write: Yields the content in pieces, the same ones each time.
    """

    content_type: str
    tag: str
    signature: str
    expires_at: float
    write: Callable[[], Iterator[bytes]]

    @cached_property
    def length(self) -> int:
        """The length in bytes."""
        return sum(map(len, self.write()))

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from `start` up to and without `stop`."""
        position = 0
        for piece in self.write():
            first, last = max(start - position, 0), min(stop - position, len(piece))
            position += len(piece)
            if first < last:
                yield piece[first:last]
