"""Reading the body of an answer within a limit, even if its compression hides a thousand times its size."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Self

import httpx

_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_MAX_DRAINED = 16


class BodyTooLargeError(Exception):
    """The body holds more bytes than the limit; the connection is closed."""


class BodyEncodingError(Exception):
    """The body has a content encoding that was not asked for, or it is broken."""


class WholeBody(httpx.AsyncByteStream):
    """A body in memory; not an async generator, which trio would warn about after a cancellation."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Pieces([self._content] if self._content else [])


class _Pieces(AsyncIterator[bytes]):
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def __anext__(self) -> bytes:
        if not self._pieces:
            raise StopAsyncIteration
        return self._pieces.pop()


class Chunks:
    """
    The raw body of a response, chunk by chunk, as a context: leaving it closes the response.

    httpx reads through nested async generators, and trio warns about one that is abandoned. So what is left of the
    stream is read to its end: with the connection closed, that is an error at once.
    """

    def __init__(self, response: httpx.Response) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self._response = response
        # A hook of the caller's client may have read it already.
        stream = WholeBody(response.content) if response.is_stream_consumed else response.stream
        self._iterator = aiter(stream)
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
                await self._iterator.aclose()  # type: ignore[attr-defined] # The stream ignores that it was closed.


def raw_header(response: httpx.Response, wanted: bytes) -> str:
    """Return the header *wanted* (in lower case) or ``""``, in a third of the time that httpx needs."""
    for name, value in response.headers.raw:
        if name.lower() == wanted:
            return value.decode("latin-1").strip()
    return ""


async def read_body(response: httpx.Response, limit: int, parts: list[bytes], on_chunk: Callable[[], None]) -> bytes:
    """
    Return the unpacked body of *response*, at most *limit* bytes, and close the response.

    What came is left in *parts*, also after an error. *on_chunk* is called after each chunk. httpx would unpack each
    chunk whole, and 64 KiB of gzip can hold 64 MiB; so the unpacking is done here, up to the limit.
    """
    if response.is_stream_consumed:
        # A hook of the caller's client has read and unpacked it, and given the connection back.
        parts.append(response.content)
        if len(response.content) > limit:
            raise BodyTooLargeError(f"the body holds more than {limit} bytes")
        return response.content
    async with Chunks(response) as chunks:
        encoding = raw_header(response, b"content-encoding").lower()
        unpack = None
        if encoding in {"gzip", "x-gzip", "deflate"}:
            unpack = zlib.decompressobj(_GZIP_OR_ZLIB)
        elif encoding not in {"", "identity"}:
            raise BodyEncodingError(f"content-encoding {encoding[:40]!r} was not asked for")
        size = 0
        packed = 0
        async for chunk in chunks:
            packed += len(chunk)
            on_chunk()
            try:
                part = chunk if unpack is None else unpack.decompress(chunk, limit - size + 1)
            except zlib.error as error:
                raise BodyEncodingError(f"the {encoding} packing is broken: {error}") from None
            size += len(part)
            parts.append(part)
            if size > limit:
                raise BodyTooLargeError(f"the body holds more than {limit} bytes")
    if unpack is not None and not unpack.eof and packed:
        raise BodyEncodingError(f"the {encoding} packing ends too early")
    return parts[0] if len(parts) == 1 else b"".join(parts)
