"""Keeping keys and signed URLs out of the logs of the HTTP libraries."""

from __future__ import annotations

import logging
import re
import weakref

from coreclaw_async._wire.credentials import Credentials

_LIBRARY_LOGGERS = (
    *("httpx", "httpx2"),
    *(f"{core}.{part}" for core in ("httpcore", "httpcore2") for part in ("http11", "http2", "proxy", "socks")),
    "hpack.hpack",
    "hpack.table",
    "aiohttp.client",
    "aiohttp.internal",
)
# The libraries log headers, and the URLs in these are usually signed.
_ADDRESS = re.compile(
    r"""(b?['"](?:location|content-location|link|refresh|:path)['"],\s*b?(['"])(?:(?!\2)[^?])*\?)(?:\\.|(?!\2).)*""",
    re.IGNORECASE,
)
_PROXY_PASSWORD = re.compile(r"auth=\([^)]*\)")


class _KeyFilter(logging.Filter):
    """Hides the keys of all clients; one filter for the process, which keeps no client alive."""

    def __init__(self) -> None:
        super().__init__()
        self._known: weakref.WeakValueDictionary[int, Credentials] = weakref.WeakValueDictionary()

    def add(self, credentials: Credentials) -> None:
        self._known[id(credentials)] = credentials

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            said = record.getMessage()
        except Exception:  # noqa: BLE001 - logging itself tells whoever wrote a record that cannot be formatted
            return True
        text = _PROXY_PASSWORD.sub("auth=<hidden>", _ADDRESS.sub(r"\1<hidden>", said))
        for known in self._known.valuerefs():  # It returns a list, so other threads do not disturb the loop.
            credentials = known()
            text = text if credentials is None else credentials.hide(text)
        if text != said:
            record.msg, record.args = text, None
        return True


_filter = _KeyFilter()


def hide_in_logs(credentials: Credentials) -> None:
    """Have the logs of the HTTP libraries show ``<key>`` in place of the key, for as long as *credentials* exist."""
    _filter.add(credentials)
    for name in _LIBRARY_LOGGERS:
        logging.getLogger(name).addFilter(_filter)  # A second call does nothing.
