"""Reading the body of an answer within a limit, even if its compression hides a thousand times its size."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import httpx

_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_MAX_DRAINED = 16
_PIECE = 65_536


class BodyTooLargeError(Exception):
    """The body holds more bytes than the limit; the connection is closed."""


class BodyEncodingError(Exception):
    """The body has a content encoding that was not asked for, or it is broken."""


class WholeBody(httpx.AsyncByteStream):
    """
    A body in memory; not an async generator, which trio would warn about after a cancellation.

    Args:
        content: It.
        on_piece: Called with each piece that is asked for, when the one before has left; None to give out all at once.
    """

    def __init__(self, content: bytes, on_piece: Callable[[], object] | None = None) -> None:
        self._content = content
        self._on_piece = on_piece

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Pieces(self._content, self._on_piece)


class _Pieces(AsyncIterator[bytes]):
    def __init__(self, content: bytes, on_piece: Callable[[], object] | None) -> None:
        self._content = content
        self._on_piece = on_piece
        self._next = 0

    async def __anext__(self) -> bytes:
        start = self._next
        if start >= len(self._content):
            raise StopAsyncIteration
        if self._on_piece is None:
            self._next = len(self._content)
        else:
            self._on_piece()
            self._next += _PIECE
        return self._content[start : self._next]


class Chunks:
    """
    The raw body of a response, chunk by chunk, as a context: leaving it closes the response.

    httpx reads through nested async generators, and trio warns about one that is abandoned. So what is left of the
    stream is read to its end: with the connection closed, that is an error at once.
    """

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        # A hook of the caller's client may have read it already.
        stream: Any = WholeBody(response.content) if response.is_stream_consumed else response.stream
        self._iterator: Any = aiter(stream)
        self._is_exhausted = False

    async def __aenter__(self) -> Self:
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._iterator)
        except BaseException:
            self._is_exhausted = True
            raise

    async def __aexit__(self, *_: object) -> None:
        await self._response.aclose()
        if not self._is_exhausted:
            with contextlib.suppress(Exception):
                for _chunk in range(_MAX_DRAINED):
                    await anext(self._iterator)
                await self._iterator.aclose()  # The stream ignores that it was closed.


def raw_header(response: httpx.Response, wanted: bytes) -> str:
    """Return the header *wanted* (in lower case) or ``""``, in a third of the time that httpx needs."""
    for name, value in response.headers.raw:
        if name.lower() == wanted:
            return value.decode("latin-1").strip()
    return ""


class Unpacker:
    """
    Unpacks a body as it comes, up to a limit.

    httpx and aiohttp would unpack each chunk whole, and 64 KiB of gzip can hold 64 MiB.

    Args:
        encoding: The ``Content-Encoding``, or an empty string.
        limit: Most bytes that the unpacked body may hold.
        parts: What has come, unpacked; still there after an error.

    Raises:
        BodyEncodingError: *encoding* was not asked for.
    """

    __slots__ = ("_encoding", "_limit", "_packed", "_parts", "_size", "_unpack")

    def __init__(self, encoding: str, limit: int, parts: list[bytes]) -> None:
        self._encoding = encoding.lower()
        self._limit = limit
        self._packed = 0
        self._parts = parts
        self._size = 0
        self._unpack = None
        if self._encoding in {"gzip", "x-gzip", "deflate"}:
            self._unpack = zlib.decompressobj(_GZIP_OR_ZLIB)
        elif self._encoding not in {"", "identity"}:
            raise BodyEncodingError(f"content-encoding {encoding[:40]!r} was not asked for")

    def feed(self, chunk: bytes) -> None:
        """
        Take the next bytes.

        Raises:
            BodyEncodingError: They cannot be unpacked.
            BodyTooLargeError: The body is larger than the limit.
        """
        self._packed += len(chunk)
        if self._unpack is not None:
            if self._unpack.eof:  # zlib would keep what follows, and copy all of it with each chunk.
                if self._packed > self._limit:
                    raise self._too_large()
                return
            try:
                chunk = self._unpack.decompress(chunk, self._limit - self._size + 1)
            except zlib.error as error:
                raise BodyEncodingError(f"the {self._encoding} packing is broken: {error}") from None
        self._size += len(chunk)
        self._parts.append(chunk)
        if self._size > self._limit:
            raise self._too_large()

    def _too_large(self) -> BodyTooLargeError:
        return BodyTooLargeError(f"the body holds more than {self._limit} bytes")

    def finish(self) -> bytes:
        """
        Return the whole body.

        Raises:
            BodyEncodingError: Its packing ends too early.
        """
        if self._unpack is not None and not self._unpack.eof and self._packed:
            raise BodyEncodingError(f"the {self._encoding} packing ends too early")
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)


async def read_body(
    response: httpx.Response, limit: int, parts: list[bytes], on_chunk: Callable[[bytes], object]
) -> bytes:
    """
    Return the unpacked body of *response*, at most *limit* bytes, and close the response.

    What came is left in *parts*, also after an error. *on_chunk* is called with each chunk, as it came.
    """
    if response.is_stream_consumed:
        # A hook of the caller's client has read and unpacked it, and given the connection back.
        parts.append(response.content)
        if len(response.content) > limit:
            raise BodyTooLargeError(f"the body holds more than {limit} bytes")
        return response.content
    async with Chunks(response) as chunks:
        unpacker = Unpacker(raw_header(response, b"content-encoding"), limit, parts)
        async for chunk in chunks:
            on_chunk(chunk)
            unpacker.feed(chunk)
    return unpacker.finish()
