"""The window in which a request may leave, and the body that holds back its end when the window is over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Self

import httpx

from coreclaw_async._concurrency.clock import Clock

_PIECE = 65_536


class TooLateError(Exception):
    """The window was over before the request had left whole."""


class SendWindow:
    """
    How many seconds after its opening the first and the last byte of a request may still leave.

    Both clocks count: the monotonic one stops while a machine is suspended, and the wall clock can be set back.

    Attributes:
        first: Seconds for the first byte.
        last: Seconds for the last byte.
    """

    def __init__(self, clock: Clock, first: float, last: float) -> None:
        self.first = first
        self.last = last
        self._clock = clock
        self._monotonic = clock.monotonic()
        self._time = clock.time()

    @classmethod
    def open(cls, clock: Clock, *, first: float, last: float) -> Self:
        """Return a window that opens now."""
        return cls(clock, first, last)

    @property
    def first_by(self) -> float:
        """The latest time for the first byte, on the client's monotonic clock."""
        return self._monotonic + self.first

    def passed(self) -> float:
        """Return the seconds since it opened, by the clock that shows more of them."""
        return max(self._clock.monotonic() - self._monotonic, self._clock.time() - self._time)


class FencedBody(httpx.AsyncByteStream):
    """
    A body in pieces, each of which is given out within the window or never.

    A transport asks for a piece when it has handed the one before to the operating system. The last piece is one byte,
    which leaves at once: a process that was stopped meanwhile has nothing left to send when it continues. A server that
    has not received the last byte cannot have accepted the request.

    Attributes:
        is_whole: Whether the last byte was given out.
        withheld: Why something was not given out, or None.
        window: When the pieces may leave.
    """

    def __init__(self, content: bytes, window: SendWindow) -> None:
        self.is_whole = False
        self.withheld: str | None = None
        self._content = content
        self.window = window
        self._has_begun = False

    def begin(self) -> None:
        """
        Record that the first byte is about to leave.

        Raises:
            TooLateError: It is too late for that.
        """
        if not self._has_begun:
            self._check(self.window.first, "it was too late:")
            self._has_begun = True

    def piece(self, start: int) -> bytes:
        """
        Return the piece that begins at *start*, which is before the end.

        Raises:
            TooLateError: It is too late for that, or the last byte has left before.
        """
        self.begin()
        self._check(self.window.last, f"its {len(self._content)} bytes had not left in time:")
        last = len(self._content) - 1
        if start == last:
            if self.is_whole:  # A transport that retries by itself would have the request accepted twice.
                raise TooLateError("its last byte has left once, and does not leave again")
            self.is_whole = True
            return self._content[start:]
        return self._content[start : min(start + _PIECE, last)]

    def __len__(self) -> int:
        return len(self._content)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Pieces(self)

    def _check(self, seconds: float, what: str) -> None:
        passed = self.window.passed()
        if self.withheld is None and passed > seconds:
            self.withheld = f"{what} {passed:.3g} s have passed, of {seconds:.3g} s"
        if self.withheld is not None:
            raise TooLateError(self.withheld)


class _Pieces(AsyncIterator[bytes]):
    def __init__(self, body: FencedBody) -> None:
        self._body = body
        self._next = 0

    async def __anext__(self) -> bytes:
        if self._next == len(self._body):
            raise StopAsyncIteration
        piece = self._body.piece(self._next)
        self._next += len(piece)
        return piece
