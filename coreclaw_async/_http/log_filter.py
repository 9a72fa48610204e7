"""What the HTTP libraries log: without keys and signed URLs, and without harm to what is being sent."""

from __future__ import annotations

import contextlib
import logging
import re
import weakref
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Any

from coreclaw_async._http.causes import without_quoted_lines
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
# A server writes parts of these lines. So no pattern matches one text in two ways, which would take forever: ``*+``
# gives nothing back.
# The libraries log headers, and the URLs in these are usually signed.
_ADDRESS = (
    r"""(?i)(b?['"](?:location|content-location|link|refresh|:path)['"],\s*b?(['"])(?:(?!\2)[^?])*\?)"""
    r"""(?:\\.|(?!\2).)*"""
)
# What opens a session, or may; and a header that cannot be sent, which h11 quotes.
_HEADER_VALUE = (
    r"""(?i)(b?['"](?:set-cookie2?|cookie|(?:proxy-)?authorization|api-key)['"],\s*|Illegal header (?:name|value) )"""
    r"""b?(['"])(?!(?:Bearer )?<key>\2)(?:\\.|(?!\2)[^\\\n])*+\2?"""
)
# A user and a password as a tuple shows them: a bracket may stand in either.
_PROXY_AUTH = r"""auth=\((?:'(?:\\.|[^'\\])*+'|"(?:\\.|[^"\\])*+"|[^()'"])*+\)"""


_is_sending: ContextVar[bool] = ContextVar("coreclaw_async_sending", default=False)


@contextlib.contextmanager
def failing_by_no_log() -> Generator[None]:
    """
    Have nothing in the block fail by the program's set-up of logging: handlers, filters, record factory, loggers.

    httpx logs an answer before anybody has it, so what raises there would lose it, and the id of a run with it.
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
        return True

    def _hide(self, record: logging.LogRecord) -> None:
        try:
            said = record.getMessage()
        except Exception:  # noqa: BLE001 - logging itself tells whoever wrote a record that cannot be formatted
            return
        text = re.sub(_PROXY_AUTH, "auth=<hidden>", re.sub(_ADDRESS, r"\1<hidden>", said))
        for known in self._known.valuerefs():  # It returns a list, so other threads do not disturb the loop.
            credentials = known()
            text = text if credentials is None else credentials.hide(text)
        text = without_quoted_lines(re.sub(_HEADER_VALUE, r"\1<hidden>", text))
        if text != said:
            record.msg, record.args = text, None


_filter = _KeyFilter()

# What libraries call. Only a class of loggers that the program has set raises there.
_CALLS = ("isEnabledFor", "debug", "info", "warning", "error", "exception", "log")


def _guard(logger: logging.Logger) -> None:
    """Have *logger* raise nothing while `failing_by_no_log` holds: it then loses the record."""
    members = vars(logger)
    if "_log" in members:
        return
    for name in _CALLS:
        if getattr(type(logger), name) is not getattr(logging.Logger, name):
            members[name] = _guarded(getattr(logger, name))
    log = logger._log  # noqa: SLF001 - all else that logs a record calls it

    def log_for_caller(*args: Any, **options: Any) -> None:
        options["stacklevel"] = options.get("stacklevel", 1) + 2  # The two frames of this module are not who logs.
        log(*args, **options)

    members["_log"] = _guarded(log_for_caller)


def _guarded(call: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(*args: Any, **options: Any) -> Any:
        try:
            return call(*args, **options)
        except Exception:
            if not _is_sending.get():
                raise
            return None

    return guarded


def hide_in_logs(credentials: Credentials) -> None:
    """Have the logs of the HTTP libraries show ``<key>`` in place of the key, for as long as *credentials* exist."""
    _filter.add(credentials)
    for name in _LIBRARY_LOGGERS:
        logger = logging.getLogger(name)
        _guard(logger)
        if _filter not in logger.filters:
            logger.filters.insert(0, _filter)  # The first one: no other filter sees the key.
