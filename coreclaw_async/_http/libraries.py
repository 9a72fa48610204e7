"""httpx, and httpx2, which a caller's client may be of: their types differ, their interface does not."""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple, Protocol

import httpx


class HttpClient(Protocol):
    """What is used of a caller's client, which is an `httpx.AsyncClient` or an ``httpx2.AsyncClient``."""

    @property
    def is_closed(self) -> bool:
        """Whether it sends nothing any more."""
        ...

    @property
    def headers(self) -> Any:
        """What it adds to the headers of each request."""
        ...

    @property
    def params(self) -> Any:
        """What it adds to the query of each request."""
        ...

    @property
    def cookies(self) -> Any:
        """Its cookies."""
        ...

    @property
    def event_hooks(self) -> dict[str, list[Any]]:
        """What it calls with each request, and with each response before that is returned."""
        ...

    async def aclose(self) -> None:
        """Close its connections."""
        ...

    async def send(self, request: Any, *, stream: bool = ..., auth: Any = ..., follow_redirects: Any = ...) -> Any:
        """Send a request that was made with the types of its library."""
        ...


class _Masked:
    def __str__(self: Any) -> str:
        return f"{self.scheme}://{self.netloc.decode('ascii')}{self.path}?<hidden>"

    def __repr__(self) -> str:
        return f"URL({str(self)!r})"


class MaskedURL(_Masked, httpx.URL):
    """A URL that hides its query when it is shown: the query is secret, and httpx logs URLs."""


class Library(NamedTuple):
    """
    One of the libraries.

    Attributes:
        module: It.
        masked_url: A class of its URLs that hide their query.
        stream: Returns the body of a request as it takes one.
    """

    module: Any
    masked_url: Any
    stream: Callable[[httpx.AsyncByteStream], Any]


def _as_it_is(body: httpx.AsyncByteStream) -> Any:
    return body


HTTPX = Library(httpx, MaskedURL, _as_it_is)


@functools.cache
def _wrapped(module: Any) -> Library:
    class Stream(module.AsyncByteStream):  # type: ignore[misc]
        """A body of ours."""

        def __init__(self, body: httpx.AsyncByteStream) -> None:
            self._body = body

        def __aiter__(self) -> AsyncIterator[bytes]:
            return aiter(self._body)

    return Library(module, type("MaskedURL", (_Masked, module.URL), {}), Stream)


def _loaded() -> list[Any]:
    """Return the libraries that are imported; nobody has a client of another."""
    return [httpx, *filter(None, [sys.modules.get("httpx2")])]


def kinds(*names: str) -> tuple[Any, ...]:
    """Return the classes of these names, of each library that is imported."""
    found = (getattr(module, name, None) for module in _loaded() for name in names)  # Another thread may import it now.
    return tuple(kind for kind in found if kind is not None)


def library_of(thing: object, name: str) -> Library | None:
    """Return the library whose class *name* a thing is of, or None."""
    for module in _loaded():
        if isinstance(thing, getattr(module, name, ())):
            return HTTPX if module is httpx else _wrapped(module)
    return None
