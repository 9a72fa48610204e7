"""
A service of canned answers, in a process of its own, so that only the clients are measured.

It speaks just enough HTTP/1.1 for the clients here, in one `asyncio.Protocol`. A POST is counted and the connection
dropped without an answer, as when a reply is lost on its way, or answered as a start where that is asked for.

``python stub_server.py SECONDS [lost | started] [keep | close] [CERTIFICATE]`` serves with that latency until its
standard input is closed, keeps connections or closes each after one answer, and serves over TLS when it is given a file
with a key and a certificate; `Stub` starts it.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import ssl
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs

import samples

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\n"
COUNTS_PATH = "/stub/counts"


class Stub:
    """A running stub, as a context."""

    def __init__(
        self, latency: float = 0.0, *, posts: str = "lost", connections: str = "keep", certificate: str | None = None
    ) -> None:
        self._arguments = [str(latency), posts, connections, *([] if certificate is None else [certificate])]
        self._scheme = "http" if certificate is None else "https"

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__, *self._arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self.url = f"{self._scheme}://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.communicate()

    def counts(self) -> dict[str, int]:
        """Return how many ``connections``, ``GET`` and ``POST`` there have been, without those of this question."""
        with urllib.request.urlopen(self.url + COUNTS_PATH) as answer:
            counts: dict[str, int] = json.load(answer)
        return counts


def forget_proxies() -> None:
    """Leave out the proxies of the environment: nothing that is measured leaves this machine."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]


@functools.lru_cache(maxsize=512)
def _answer(path: str, query: str) -> bytes:
    """Return the whole answer to a GET."""
    segments = path.split("/")
    if path.endswith("/result"):
        return _whole(_results(segments[-2], query))
    if path.endswith("/items"):
        return _apify_items(segments[-2], query)
    if segments[-2] == "actor-runs":
        return _whole(samples.apify_run())
    if segments[-2] == "models":
        return _whole(samples.openai_model())
    if segments[-1] == "worker-runs":
        return _whole(samples.run_page(20))
    if segments[-2] == "worker-runs" and segments[-1].isdecimal():  # A run whose id says how many rows it has.
        return _whole(samples.envelope({**samples.run_record(0), "slug": segments[-1], "results": int(segments[-1])}))
    return _whole(samples.envelope(samples.run_record(1)))


_BEGAN = time.monotonic()


def _followed(path: str, query: str) -> bytes | None:
    """Return the answer about runs that end while they are followed, or None when it is about something else."""
    elapsed, last = time.monotonic() - _BEGAN, path.rpartition("/")[2]
    if last == "worker-runs" and "limit=100" in query:
        return _whole(samples.followed_page(max(1, int(parse_qs(query)["offset"][0])), elapsed))
    if "FOLLOWED" in last:
        return _whole(samples.envelope(samples.followed_record(int(last[-8:]), elapsed)))
    return None


def _whole(body: bytes, head: bytes = b"") -> bytes:
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (_HEAD, head, len(body), body)


_STARTED = _whole(samples.envelope({"run_slug": "01KKDXV2G26BT7NH0000000001"}))


def _results(run_id: str, query: str) -> bytes:
    """Return a page by its number, as the service takes ``offset``; the run's id says how many rows there are."""
    members = parse_qs(query)
    return samples.result_page(max(1, int(members["offset"][0])), int(members["limit"][0]), count=int(run_id))


def _apify_items(dataset_id: str, query: str) -> bytes:
    """Return the same rows as Apify does: by their number, and the counts in headers."""
    members = parse_qs(query)
    count = int(dataset_id)
    start = int(members.get("offset", ["0"])[0])
    limit = int(members["limit"][0])
    found = samples.rows(start, min(start + limit, count))
    numbers = {"total": count, "offset": start, "count": len(found), "limit": limit}
    head = "".join(f"X-Apify-Pagination-{name.title()}: {number}\r\n" for name, number in numbers.items())
    return _whole(samples.encode(found), f"{head}X-Apify-Pagination-Desc: false\r\n".encode())


class _Connection(asyncio.Protocol):
    """One connection; requests on it are answered in turn."""

    def __init__(self, latency: float, counts: Counter[str], *, loses_posts: bool, closes: bool) -> None:
        self._latency = latency
        self._closes = closes
        self._loses_posts = loses_posts
        self._counts = counts
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._counts["connections"] += 1

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, rest = self._received.partition(b"\r\n\r\n")
            length = _body_length(head)
            if len(rest) < length:
                return
            self._received = rest[length:]
            self._take(*head.split(b" ", 2)[:2])

    def _take(self, method: bytes, target: bytes) -> None:
        path, _, query = target.decode().partition("?")
        if path == COUNTS_PATH:
            self._counts["connections"] -= 1
            self._transport.write(_whole(json.dumps(self._counts).encode()))
            return
        self._counts[method.decode()] += 1
        followed = _followed(path, query)
        if followed is not None:
            self._transport.write(followed)
        elif method == b"POST" and self._loses_posts:
            self._transport.close()
        elif method == b"POST":
            self._transport.write(_STARTED)
        elif self._closes:
            self._transport.write(_answer(path, query).replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            self._transport.close()
        elif self._latency:
            asyncio.get_running_loop().call_later(self._latency, self._transport.write, _answer(path, query))
        else:
            self._transport.write(_answer(path, query))


def _body_length(head: bytes) -> int:
    _, found, value = head.lower().partition(b"\r\ncontent-length:")
    return int(value.split(b"\r\n", 1)[0]) if found else 0


async def _serve(latency: float, posts: str, connections: str, certificate: str | None = None) -> None:
    loop = asyncio.get_running_loop()
    counts = Counter(connections=0, GET=0, POST=0)
    tls = None
    if certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    connect = functools.partial(
        _Connection, latency, counts, loses_posts=posts == "lost", closes=connections == "close"
    )
    server = await loop.create_server(connect, "127.0.0.1", 0, backlog=4096, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    is_over = asyncio.Event()
    loop.add_reader(sys.stdin, is_over.set)
    await is_over.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1]), *sys.argv[2:]))
