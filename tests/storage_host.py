"""A service with one run, whose storage host answers as a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, TypeAlias

import anyio
import httpx

RUN_ID = "01KKDXV2G26BT7NH4ZQR2R4NPZ"
HOST = "https://files.test"
SECRET = "s3cr3t-signature"
FILE = b"title\r\nResult 1\r\n"

Answer: TypeAlias = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


def part(content: bytes | httpx.AsyncByteStream, status: int = 200, **headers: str) -> httpx.Response:
    """An answer with just these headers; their names are written with underscores."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    stream = httpx.ByteStream(content) if isinstance(content, bytes) else content
    return httpx.Response(status, headers=names, stream=stream)


def redirect(location: str, status: int = 307) -> httpx.Response:
    return part(b"elsewhere", status, location=location)


class Pieces(httpx.AsyncByteStream):
    """A body in pieces; at an exception it breaks, and at None it is silent for ever."""

    def __init__(self, *pieces: bytes | Exception | None) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if piece is None:
                await anyio.sleep_forever()
            elif isinstance(piece, Exception):
                raise piece
            else:
                yield piece


class StorageHost(httpx.MockTransport):
    """
    The transport of a client: the API with one run that has ended, and the storage host.

    Attributes:
        seen: The requests to hosts other than the API.
        asked: How many requests the API got.
    """

    def __init__(
        self, answers: Iterable[Answer], *, url: str = f"{HOST}/rows.csv?sign={SECRET}", rows: int | None = 1
    ) -> None:
        super().__init__(self._answer)
        self._left: Iterator[Answer] = iter(answers)
        self._url = url
        self._run: dict[str, Any] = {"slug": RUN_ID, "status": "succeeded", "results": rows}
        self.seen: list[httpx.Request] = []
        self.asked = 0

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if "/api/v2/" in request.url.path:
            self.asked += 1
            data = {"download_url": self._url} if request.url.path.endswith("export") else self._run
            return httpx.Response(200, json={"code": 0, "message": "success", "data": data})
        self.seen.append(request)
        answer = next(self._left)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else answer(request)
