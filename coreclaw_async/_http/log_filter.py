"""What the HTTP libraries log: without keys and signed URLs, and without harm to what is being sent."""

from __future__ import annotations

import contextlib
import logging
import re
import weakref
from collections.abc import Generator
from contextvars import ContextVar

from coreclaw_async._wire.credentials import Credentials

_LIBRARY_LOGGERS = (
    *("httpx", "httpx2"),
    *(
        f"{core}.{part}"
        for core in ("httpcore", "httpcore2")
        for part in ("connection", "http11", "http2", "proxy", "socks")
    ),
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
# A user and a password as a tuple shows them: a bracket may stand in either.
_PROXY_PASSWORD = re.compile(r"""auth=\((?:b?'(?:\\.|[^'\\])*'|b?"(?:\\.|[^"\\])*"|[^)'"])*\)""")


_is_sending: ContextVar[bool] = ContextVar("coreclaw_async_sending", default=False)


@contextlib.contextmanager
def failing_by_no_log() -> Generator[None]:
    """
    Have nothing in the block fail by the program's set-up of logging.

    httpx logs an answer before anybody has it, so a handler that raises would lose it, and the id of a run with it.
    """
    token = _is_sending.set(True)
    try:
        yield
    finally:
        _is_sending.reset(token)


class _KeyFilter(logging.Filter):
    """Hides the keys of all clients; one filter for the process, which keeps no client alive."""

    def __init__(self) -> None:
        super().__init__()
        self._known: weakref.WeakValueDictionary[int, Credentials] = weakref.WeakValueDictionary()

    def add(self, credentials: Credentials) -> None:
        self._known[id(credentials)] = credentials

    def filter(self, record: logging.LogRecord) -> bool:
        self._hide(record)
        if not _is_sending.get():
            return True
        with contextlib.suppress(Exception):
            self._hand_on(record)
        return False

    def _hand_on(self, record: logging.LogRecord) -> None:
        """Do what the record's logger does after this filter."""
        logger = logging.getLogger(record.name)
        rest = logging.Filterer()
        rest.filters = logger.filters[logger.filters.index(self) + 1 :]
        taken: bool | logging.LogRecord = rest.filter(record)
        if taken:  # Since Python 3.12 a filter may return another record.
            logger.callHandlers(taken if isinstance(taken, logging.LogRecord) else record)

    def _hide(self, record: logging.LogRecord) -> None:
        try:
            said = record.getMessage()
        except Exception:  # noqa: BLE001 - logging itself tells whoever wrote a record that cannot be formatted
            return
        text = _PROXY_PASSWORD.sub("auth=<hidden>", _ADDRESS.sub(r"\1<hidden>", said))
        for known in self._known.valuerefs():  # It returns a list, so other threads do not disturb the loop.
            credentials = known()
            text = text if credentials is None else credentials.hide(text)
        if text != said:
            record.msg, record.args = text, None


_filter = _KeyFilter()


def hide_in_logs(credentials: Credentials) -> None:
    """Have the logs of the HTTP libraries show ``<key>`` in place of the key, for as long as *credentials* exist."""
    _filter.add(credentials)
    for name in _LIBRARY_LOGGERS:
        filters = logging.getLogger(name).filters
        if _filter not in filters:
            filters.insert(0, _filter)  # The first one, so that no other filter fails a request either.
