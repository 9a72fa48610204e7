"""Keeping keys and signed addresses out of the logs of libraries that write down what they send and receive."""

from __future__ import annotations

import logging
import re
import weakref

from coreclaw_async._wire.credentials import Credentials

_LIBRARY_LOGGERS = ("httpx", "httpcore.http11", "httpcore.http2", "hpack.hpack", "hpack.table")
# httpcore writes down the headers of each answer: where a redirect leads is signed as a rule, or repeats our query.
_LOCATION = re.compile(r"""(b?['"]location['"],\s*b?['"][^'"?]*\?)[^'"]*""", re.IGNORECASE)


class _KeyFilter(logging.Filter):
    """Hides the keys of all clients that exist; one filter for the process, which keeps none of them alive."""

    def __init__(self) -> None:
        super().__init__()
        self._known: weakref.WeakValueDictionary[int, Credentials] = weakref.WeakValueDictionary()

    def add(self, credentials: Credentials) -> None:
        self._known[id(credentials)] = credentials

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        text = _LOCATION.sub(r"\1<hidden>", said)
        for known in self._known.valuerefs():  # A list made at once, whatever other threads do meanwhile.
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
        logging.getLogger(name).addFilter(_filter)  # Which does nothing where it is known already.
