"""The way to a Postgres server, which can be cut or fall silent at any answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class UnreliableWay:
    """
    A port that leads to another one.

    Attributes:
        port: The port.
        answers: Pieces that the server has sent, over all connections.
        cut_at: The piece that does not arrive any more: its connection is cut.
        cut_answer: Bytes in the piece that does not arrive any more: its connection is cut.
        cut_before: What the server does not get any more: the connection over which it is sent is cut.
        silent_at: The piece from which on its connection is silent, and open to the server all the while.
        silent_answer: Bytes in the piece from which on its connection is silent.
        silent: Connections to the server that are silent by now, in both directions.
        goes_on: Set for what is silent to go on.
        is_closed: Whether nobody is let in.
        seen: What the server has sent, piece by piece.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self.port = 0
        self.answers = 0
        self.cut_at: int | None = None
        self.silent_at: int | None = None
        self.cut_before: bytes | None = None
        self.cut_answer: bytes | None = None
        self.silent_answer: bytes | None = None
        self.silent: set[asyncio.StreamWriter] = set()
        self.goes_on = asyncio.Event()
        self.is_closed = False
        self.seen: list[bytes] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def to(cls, target: int) -> AsyncGenerator[UnreliableWay]:
        way = cls(target)
        server = await asyncio.start_server(way._serve, "127.0.0.1", 0)
        way.port = server.sockets[0].getsockname()[1]
        try:
            yield way
        finally:
            server.close()
            for task in list(way._tasks):
                task.cancel()

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres:s3cret@127.0.0.1:{self.port}/postgres"

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            if not self.is_closed:
                server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
                sending = asyncio.create_task(self._send(client, to_server))
                try:
                    await self._answer(server, to_client, to_server)
                finally:
                    sending.cancel()
                    to_server.close()
        to_client.close()
        self._tasks.discard(task)

    async def _send(self, client: asyncio.StreamReader, to_server: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await client.read(65_536):
                if self.cut_before is not None and self.cut_before in data:
                    self.cut_before = None
                    break
                if to_server not in self.silent:
                    to_server.write(data)
                    await to_server.drain()
            if to_server in self.silent:
                await self.goes_on.wait()
            to_server.close()

    async def _answer(
        self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter, to_server: asyncio.StreamWriter
    ) -> None:
        while data := await server.read(65_536):
            self.answers += 1
            self.seen.append(data)
            if self.answers == self.cut_at:
                return
            if self.cut_answer is not None and self.cut_answer in data:
                self.cut_answer = None
                return
            if self.answers == self.silent_at or (self.silent_answer is not None and self.silent_answer in data):
                self.silent_answer = None
                self.silent.add(to_server)
                await self.goes_on.wait()
                self.silent.discard(to_server)
            to_client.write(data)
            await to_client.drain()
