"""The headers that all requests to the API carry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from coreclaw_async._http.settings import Settings
from coreclaw_async._wire.request import Request

H = TypeVar("H")


class PreparedHeaders(Generic[H]):
    """
    The headers of API requests with and without the key, prepared once; in slots, so that no repr shows them.

    Args:
        make: Turns raw headers into those of an HTTP library.
        host: The ``Host``.
        settings: They hold the key, and what the caller adds.
        more: Headers for a proxy.

    Attributes:
        names: Their names, in lower case.
        public: Those without the key.
    """

    __slots__ = ("_with_key", "names", "public")

    def __init__(
        self,
        make: Callable[[list[tuple[bytes, bytes]]], H],
        host: bytes,
        settings: Settings,
        more: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        common = [
            (b"Host", host),
            (b"Accept", b"application/json"),
            (b"Accept-Encoding", b"gzip"),
            (b"User-Agent", settings.user_agent.encode()),
            *settings.headers.raw,
            *more,
        ]
        self.names = frozenset(name.lower() for name, _ in (*common, *settings.credentials.headers()))
        self.public = make(common)
        self._with_key = make([*common, *settings.credentials.headers()])

    def of(self, request: Request) -> H:
        """Return the headers of *request* but for those of its body; no frame that an error passes may hold them."""
        return self.public if request.is_public else self._with_key
