"""What a caller's own client adds to the requests to the API that go through it, and what its hooks may not lose."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from coreclaw_async._http.body import WholeBody
from coreclaw_async._http.extra_headers import NEVER_SENT, USER_AGENT
from coreclaw_async._http.libraries import HTTPX, HttpClient, library_of
from coreclaw_async._http.pool import Trace
from coreclaw_async._http.settings import Settings

_TAKE_FIRST = "coreclaw_take_first"
_DEFAULT_AGENT = "python-httpx"
# A content type is about a body, and the client has no bodies of ours.
_LEFT = frozenset(name.encode() for name in {"content-type", *NEVER_SENT})


TakeAnswer = Callable[[Any], Awaitable[None]]
"""Takes the response to a request before the caller's hooks do."""


async def _take_first(response: Any) -> None:
    """Give a response to whom its request says: a hook, which does nothing about requests of others."""
    take: TakeAnswer | None = response.request.extensions.get(_TAKE_FIRST)
    if take is not None:
        await take(response)


class GivenClient:
    """
    A caller's client, asked for what it adds at each request: the caller may change it.

    Nothing is set on it but one more hook, least of all the key, which would then go to other hosts.

    Args:
        client: The client.
        settings: They hold the end of the ``User-Agent``.

    Attributes:
        library: The library that it is of.
    """

    def __init__(self, client: HttpClient, settings: Settings) -> None:
        self._client = client
        self.library = library_of(client, "AsyncClient") or HTTPX
        self._suffix = settings.user_agent.removeprefix(USER_AGENT)

    def with_headers(self, ours: list[tuple[bytes, bytes]], reserved: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
        """
        Return our headers and its own.

        Args:
            ours: What we send. Its ``User-Agent`` is replaced if the caller has given the client one.
            reserved: Names, in lower case, of all that we may send, which are not taken from the client.
        """
        found: list[tuple[bytes, bytes]] = []
        for name, value in self._client.headers.raw:
            if name.lower() == b"user-agent" and not value.decode("latin-1").startswith(_DEFAULT_AGENT):
                ours = [each for each in ours if each[0].lower() != b"user-agent"]
                found.append((name, value + self._suffix.encode()))
            elif name.lower() not in reserved | _LEFT:
                found.append((name, value))
        return [*ours, *found]

    def query(self, ours: str) -> str:
        """Return the encoded parameters of the client, without those that stand in our query."""
        items = self._client.params.multi_items()
        if not items:
            return ""
        taken = {name for name, _ in parse_qsl(ours, keep_blank_values=True)}
        return str(self.library.module.QueryParams([item for item in items if item[0] not in taken]))

    def add_cookies(self, request: object) -> None:
        """Add those of its cookies that are for the host and path of *request*."""
        if len(self._client.cookies):
            self.library.module.Cookies(self._client.cookies).set_cookie_header(request)

    def take_first(self, request: Any, take: TakeAnswer) -> None:
        """Have *take* called with the response to *request* before the caller's response hooks, which may raise."""
        request.extensions[_TAKE_FIRST] = take
        trace = request.extensions.get("trace")
        if trace is not None:  # The caller may set other hooks while a request is under way.
            request.extensions["trace"] = functools.partial(self._be_first_and, trace)
        self._be_first()

    async def _be_first_and(self, trace: Trace, event: str, info: dict[str, Any]) -> None:
        self._be_first()
        await trace(event, info)

    def _be_first(self) -> None:
        hooks = self._client.event_hooks
        if hooks["response"][:1] != [_take_first]:
            theirs = [hook for hook in hooks["response"] if hook is not _take_first]
            hooks["response"] = [_take_first, *theirs]  # Another request may be going through the list.

    def give_back(self, response: Any, packed: list[bytes]) -> None:
        """Have a response whose body was read, and came as *packed*, be read once more, by the caller's hooks."""
        response.stream = self.library.stream(WholeBody(b"".join(packed)))
        response.is_closed = False
