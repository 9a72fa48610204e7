"""Keeping the key out of the logs of libraries that write down what is sent, such as hpack's header table."""

from __future__ import annotations

import logging
from collections.abc import Iterable

LIBRARY_LOGGERS = ("httpx", "httpcore.http11", "httpcore.http2", "hpack.hpack", "hpack.table")


class _KeyFilter(logging.Filter):
    """Replaces secrets in whatever passes."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        super().__init__()
        self.secrets = secrets

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if any(secret in text for secret in self.secrets):
            for secret in self.secrets:
                text = text.replace(secret, "<key>")
            record.msg, record.args = text, None
        return True


def hide_in_logs(names: Iterable[str], secrets: tuple[str, ...]) -> None:
    """Have the loggers *names* write ``<key>`` in place of each of *secrets*, from now on."""
    for name in names:
        logger = logging.getLogger(name)
        if not any(isinstance(known, _KeyFilter) and known.secrets == secrets for known in logger.filters):
            logger.addFilter(_KeyFilter(secrets))
