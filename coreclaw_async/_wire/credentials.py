"""The key and how it travels: as a header or in the query, and never in a repr."""

from __future__ import annotations

import hashlib
import json
from typing import Literal, TypeAlias, get_args
from urllib.parse import quote

from coreclaw_async.errors import ConfigurationError

# What keys of the service have been seen to begin with (coreclaw-cli, secret scan).
_KEY_PREFIX = "scraper_api_"


def shown(value: object, key: str | None) -> str:
    """Return what an error may show of a setting: not the key, which arguments that were mixed up can put anywhere."""
    text = repr(value)
    return "<hidden>" if _KEY_PREFIX in text or (key and key.strip() in text) else text


AuthMode: TypeAlias = Literal["bearer", "api-key", "query"]


class Credentials:
    """
    A key and one of the three ways to send it.

    Bearer is the service's recommendation; the other two are documented for older programs (docs, api/index). A key in
    the query ends up in the logs of whatever stands between.
    """

    __slots__ = ("_key", "mode")

    def __init__(self, key: str | None, mode: AuthMode = "bearer") -> None:
        if mode not in get_args(AuthMode):
            raise ConfigurationError(f"auth must be one of {', '.join(get_args(AuthMode))}, not {shown(mode, key)}")
        if key is not None:
            if not isinstance(key, str):
                raise TypeError(f"api_key must be a str, not {type(key).__name__}")
            key = key.strip()
            if not key:
                raise ConfigurationError("api_key must not be empty")
            if not (key.isascii() and key.isprintable()) or " " in key:
                raise ConfigurationError("api_key must hold printable ASCII without spaces or line breaks")
        self._key = key
        self.mode: AuthMode = mode

    def __repr__(self) -> str:
        return f"Credentials(mode={self.mode!r}, key={'<none>' if self._key is None else '<hidden>'})"

    def __reduce__(self) -> str:
        raise TypeError("credentials are not pickled: a pickle would hold the key")

    @property
    def is_missing(self) -> bool:
        """Whether there is no key."""
        return self._key is None

    @property
    def account(self) -> str:
        """What tells the account from others and does not give its key away; empty without a key."""
        return "" if self._key is None else hashlib.sha256(self._key.encode()).hexdigest()[:16]

    def but_with(self, key: str | None, mode: AuthMode | None) -> Credentials:
        """Return credentials with another key or mode; what is None stays as it is."""
        return Credentials(self._key if key is None else key, self.mode if mode is None else mode)

    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Return the raw headers that carry the key; none when the query does."""
        if self._key is None or self.mode == "query":
            return ()
        if self.mode == "api-key":
            return ((b"api-key", self._key.encode()),)
        return ((b"Authorization", b"Bearer " + self._key.encode()),)

    def query(self) -> str:
        """Return the encoded query member that carries the key; empty when a header does."""
        return f"token={quote(self._key, safe='')}" if self._key is not None and self.mode == "query" else ""

    def secrets(self) -> tuple[str, ...]:
        """Return the forms of the key that must not appear in any text."""
        if self._key is None:
            return ()
        return tuple({self._key, quote(self._key, safe=""), ascii(self._key)[1:-1], json.dumps(self._key)[1:-1]})
