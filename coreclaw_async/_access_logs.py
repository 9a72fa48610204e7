"""Access logs of servers: without the secret part of the URLs that callbacks come to."""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from coreclaw_async._wire.callback_urls import without_proofs

_MAX_ENCODINGS = 4
# The second one is of uvicorn's ``--log-level trace``.
_LOGGERS = ("uvicorn.access", "uvicorn.asgi", "hypercorn.access", "gunicorn.access", "granian.access")


class AccessLogFilter(logging.Filter):
    """
    Hides the secret part of callback URLs in log records: ``POST /coreclaw/NAME.<hidden>``.

    Each `CallbackHub` adds one to the loggers ``uvicorn.access``, ``uvicorn.asgi``, ``hypercorn.access``,
    ``gunicorn.access`` and ``granian.access``. For another log of requests, add one to its logger or handler. daphne
    writes its ``--access-log`` without a logger: leave that off, or let a proxy in front of it write one.

    Example::

        import logging

        from coreclaw_async.callbacks import AccessLogFilter

        logging.getLogger("my_proxy.requests").addFilter(AccessLogFilter())
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Change *record*, and keep it."""
        members: dict[str, Any] = vars(record)
        for name, value in list(members.items()):
            if isinstance(value, str) and name != "msg":
                members[name] = _hidden_in(value)
        # To decode a format would change its directives.
        record.msg = _hidden_in(record.msg, is_encoded=not record.args)
        with contextlib.suppress(Exception):  # A mapping that cannot be read shows nothing.
            record.args = _hidden_in_each(record.args)
        with contextlib.suppress(Exception):  # Logging itself tells of a record that cannot be formatted.
            said = record.getMessage()
            if without_proofs(said) != said:  # Its parts have made a URL of it, or the repr of one of them.
                record.msg, record.args = without_proofs(said), None
        return True


_filter = AccessLogFilter()


def _hidden_in_each(args: Any) -> Any:
    """Return what a format is filled with, hidden; of the same class, as formatters of servers take it to pieces."""
    parts: Any = args
    if isinstance(args, tuple):
        return tuple(map(_hidden_in, parts))
    if not isinstance(args, Mapping):
        return _hidden_in(args)
    # A copy is of the same class, which formats its values.
    copied: dict[Any, Any] = copy.copy(parts) if isinstance(args, dict) else dict(parts)
    copied.update({name: _hidden_in(value) for name, value in parts.items()})
    return copied


def _hidden_in(value: Any, *, is_encoded: bool = True) -> Any:
    """Return *value*, or its text where that shows a proof: as it is, or percent-encoded a few times."""
    if value is None or isinstance(value, int | float):
        return value
    try:
        plain = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    except Exception:  # noqa: BLE001 - what has no text shows nothing, and a filter must not raise
        return value
    for _ in range(_MAX_ENCODINGS if is_encoded else 1):
        hidden = without_proofs(plain)
        if hidden != plain:
            value = hidden
        plain = unquote(hidden)
    return value


def hide_in_access_logs() -> None:
    """Have the access logs of well-known servers pass through an `AccessLogFilter`; a second call does nothing."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_filter)
