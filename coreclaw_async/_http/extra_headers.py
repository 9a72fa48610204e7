"""What a caller adds to the headers of each request to the API: whole headers, and the end of the ``User-Agent``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Self

from coreclaw_async._version import __version__
from coreclaw_async._wire.credentials import Credentials

USER_AGENT = f"coreclaw-async/{__version__}"

_NAME = r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}"
# Tabs and printable ASCII, without space at either end: more would be sent in different ways by httpx and aiohttp.
_VALUE = r"(?:[!-~](?:[\t -~]*[!-~])?)?"
_SUFFIX = r"[!-~](?:[ -~]{0,198}[!-~])?"
_OURS = {"authorization", "api-key", "accept", "accept-encoding", "content-type", "user-agent", "host"}
# Those that say where a message ends; those of a proxy, which would go to the API; and those that make a read of a
# gateway something else.
NEVER_SENT = frozenset(
    {
        *("content-length", "content-encoding", "transfer-encoding", "connection", "keep-alive", "te", "trailer"),
        *("upgrade", "expect", "http2-settings", "proxy-authorization", "proxy-connection"),
        *("x-http-method", "x-http-method-override", "x-method-override"),
    }
)


class ExtraHeaders:
    """
    What the caller adds to the headers of each API request; its repr shows no value, which may be a secret.

    Attributes:
        raw: Names and values.
    """

    def __init__(self, raw: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self.raw = raw

    def __repr__(self) -> str:
        return f"ExtraHeaders({', '.join(name.decode() for name, _ in self.raw)})"

    @classmethod
    def of(cls, headers: Mapping[str, str] | None, credentials: Credentials) -> Self:
        """
        Return the headers that a caller gave, once they are known to be ones; no error shows a value.

        Raises:
            ValueError: A header is reserved, is there twice, or cannot be sent; or one holds the key.
            TypeError: *headers* is no mapping of strings.
        """
        if headers is None:
            return cls()
        problem = _problem_of(headers, credentials)
        if problem is not None:
            del headers  # A traceback with local variables would show it.
            raise problem
        return cls(tuple((name.encode(), value.encode()) for name, value in headers.items()))


def _problem_of(headers: Any, credentials: Credentials) -> Exception | None:
    """Return why headers cannot be sent, or None."""
    given = headers
    if not isinstance(headers, Mapping):
        return TypeError(f"headers must be a mapping, not {type(headers).__name__}")
    names = [str(name).lower() for name in given]
    for name, value in given.items():
        if not isinstance(name, str):
            return TypeError(f"headers must have str keys, not {type(name).__name__}")
        shown = credentials.shown(name)[:200]
        if not re.fullmatch(_NAME, name):
            return ValueError(f"headers must have names of 1 to 200 letters, digits and signs such as -, not {shown}")
        if name.lower() in _OURS | NEVER_SENT:
            hint = "; see user_agent_suffix" if name.lower() == "user-agent" else ""
            return ValueError(f"headers must not hold {name}, which the client writes itself or never sends{hint}")
        if names.count(name.lower()) > 1:
            return ValueError(f"headers must not hold {shown} twice, whatever the capitals")
        if not isinstance(value, str):
            return TypeError(f"headers[{shown}] must be a str, not {type(value).__name__}")
        if not re.fullmatch(_VALUE, value):
            return ValueError(f"headers[{shown}] must be printable ASCII on one line, without spaces around it")
        if credentials.are_in(value) or credentials.are_in(name):
            return ValueError("headers must not hold the API key")
    return None


def user_agent(suffix: str | None, credentials: Credentials) -> str:
    """
    Return the ``User-Agent``, with what the caller adds to it.

    Raises:
        ValueError: *suffix* cannot be sent, or holds the key.
        TypeError: It is no string.
    """
    if suffix is None:
        return USER_AGENT
    if not isinstance(suffix, str):
        raise TypeError(f"user_agent_suffix must be a str, not {type(suffix).__name__}")
    if not re.fullmatch(_SUFFIX, suffix):
        raise ValueError(
            "user_agent_suffix must be 1 to 200 printable ASCII characters on one line, without spaces around them, "
            f"not {credentials.shown(suffix)[:200]}"
        )
    if credentials.are_in(suffix):
        raise ValueError("user_agent_suffix must not hold the API key")
    return f"{USER_AGENT} {suffix}"
