"""The key and how it is sent: in a header or the query, and never in a repr, an error, a log or a local variable."""

from __future__ import annotations

import hashlib
import json
from typing import Literal, TypeAlias, get_args
from urllib.parse import quote

from coreclaw_async.errors import ConfigurationError

# The prefix that keys of the service have been seen to have (coreclaw-cli, secret scan).
_KEY_PREFIX = "scraper_api_"

AuthMode: TypeAlias = Literal["bearer", "api-key", "query"]
"""How the key is sent: in ``Authorization: Bearer``, in the header ``api-key``, or as ``token`` in the query."""


class Credentials:
    """
    A key and one of the three ways to send it.

    The service recommends bearer; the other two are documented for older programs (docs, api/index). A key in the query
    ends up in the logs of every proxy on the way.

    This object is the only place that holds the key as a string. Functions that need the key get this object instead,
    because debuggers and error reports print the local variables of every frame of a traceback.
    """

    __slots__ = ("__weakref__", "_forms", "_key", "mode")

    def __init__(self, key: str | None, mode: AuthMode = "bearer") -> None:
        try:
            self._key = key.strip() if isinstance(key, str) else None
            self._forms = () if self._key is None else _forms_of(self._key)
            kind = type(key).__name__
        finally:
            key = None  # So that no frame of the errors below holds it.
        self.mode: AuthMode = mode
        if mode not in get_args(AuthMode):
            raise ConfigurationError(f"auth must be one of {', '.join(get_args(AuthMode))}, not {self.shown(mode)}")
        if self._key is None:
            if kind != "NoneType":
                raise TypeError(f"api_key must be a str, not {kind}")
            return
        if not self._key:
            raise ConfigurationError("api_key must not be empty")
        if not (self._key.isascii() and self._key.isprintable()) or " " in self._key:
            raise ConfigurationError("api_key must hold printable ASCII without spaces or line breaks")

    def __repr__(self) -> str:
        if not hasattr(self, "mode"):  # A traceback with local variables shows it when `__init__` has failed.
            return "Credentials(...)"
        return f"Credentials(mode={self.mode!r}, key={'<none>' if self._key is None else '<hidden>'})"

    def __reduce__(self) -> str:
        raise TypeError("credentials are not pickled: a pickle would hold the key")

    @property
    def is_missing(self) -> bool:
        """Whether there is no key."""
        return self._key is None

    @property
    def account(self) -> str:
        """A hash that tells the account from others without giving its key away; empty without a key."""
        return "" if self._key is None else hashlib.sha256(self._key.encode()).hexdigest()[:16]

    @property
    def longest(self) -> int:
        """Length of the longest form in which a string can show the key; 0 without a key."""
        return max(map(len, self._forms), default=0)

    def but_with(self, key: str | None, mode: AuthMode | None) -> Credentials:
        """Return credentials with another key or mode; what is None stays as it is."""
        try:
            return Credentials(self._key if key is None else key, self.mode if mode is None else mode)
        finally:
            key = None

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

    def are_in(self, text: str) -> bool:
        """Return whether *text* shows the key, as it is or encoded."""
        return any(form in text for form in self._forms)

    def hide(self, text: str) -> str:
        """Return *text* with ``<key>`` in place of the key, also where the key is encoded."""
        for form in self._forms:
            text = text.replace(form, "<key>")
        return text

    def shown(self, value: object) -> str:
        """Return the repr of a setting, or ``<hidden>`` where mixed-up arguments put a key into it."""
        text = repr(value)
        return "<hidden>" if _KEY_PREFIX in text or self.are_in(text) else text


def _forms_of(key: str) -> tuple[str, ...]:
    """Return the forms of *key* that no string may show, the longest first; none of an empty key."""
    # In lower case it stands in hosts of URLs and in names of headers.
    forms = {key, key.lower(), quote(key, safe=""), ascii(key)[1:-1], json.dumps(key)[1:-1]} if key else set[str]()
    return tuple(sorted(forms, key=len, reverse=True))
