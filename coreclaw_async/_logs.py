"""The log of the package: the facts of a record as ``extra=``, and CORECLAW_LOG, which shows it without any set-up."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from coreclaw_async.errors import CoreClawError

_logger = logging.getLogger("coreclaw_async")
_FACTS = "coreclaw_facts"
_VARIABLE = "CORECLAW_LOG"
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO}


class Log:
    """The logger of the package. Whatever the program's own set-up of logging raises, no call fails by it."""

    def is_on(self, level: int) -> bool:
        """Return whether records of *level* are wanted."""
        try:
            return _logger.isEnabledFor(level)
        except Exception:  # noqa: BLE001 - the program may have set the class of loggers
            return False

    def debug(self, message: str, *args: Any, extra: dict[str, Any] | None = None) -> None:
        """Log for developers."""
        self._log(logging.DEBUG, message, *args, extra=extra)

    def info(self, message: str, *args: Any, extra: dict[str, Any] | None = None) -> None:
        """Log what a user may want to know later."""
        self._log(logging.INFO, message, *args, extra=extra)

    def warning(self, message: str, *args: Any, extra: dict[str, Any] | None = None) -> None:
        """Log what a user should look at."""
        self._log(logging.WARNING, message, *args, extra=extra)

    def error(self, message: str, *args: Any, extra: dict[str, Any] | None = None) -> None:
        """Log what a user must look at."""
        self._log(logging.ERROR, message, *args, extra=extra)

    def exception(self, message: str, *args: Any, extra: dict[str, Any] | None = None) -> None:
        """Log the exception that is being handled."""
        self._log(logging.ERROR, message, *args, extra=extra, exc_info=True)

    def log(self, level: int, message: str, *args: Any, extra: dict[str, Any] | None = None) -> None:
        """Log at *level*."""
        self._log(level, message, *args, extra=extra)

    def _log(
        self, level: int, message: str, *args: Any, extra: dict[str, Any] | None, exc_info: bool | None = None
    ) -> None:
        with contextlib.suppress(Exception):
            if _logger.isEnabledFor(level):
                _logger.log(level, message, *args, extra=extra, exc_info=exc_info, stacklevel=3)


logger = Log()


def facts(error: BaseException | None = None, /, **named: Any) -> dict[str, Any]:
    """
    Return what a record is about, as its ``extra=``: *named*, and what *error* says of itself; without what is None.

    A formatter that writes JSON finds these as attributes of the record, unless the program has given it attributes of
    the same names. None of them is a secret.
    """
    told: dict[str, Any] = {}
    if error is not None:
        told["error"] = type(error).__name__
    if isinstance(error, CoreClawError):
        told |= {name: getattr(error, name) for name in ("status_code", "code", "request_id", "run_id")}
    told |= named
    return {_FACTS: {name: value for name, value in told.items() if value is not None}}


def _spread(record: logging.LogRecord) -> bool:
    # Given as ``extra=`` by their names, they would raise where the program's records have such attributes already.
    for name, value in vars(record).pop(_FACTS, {}).items():
        vars(record).setdefault(name, value)
    return True


_logger.addFilter(_spread)


class _StandardError(logging.Handler):
    """Writes records to standard error, unless the program has a handler that takes them."""

    def __init__(self) -> None:
        super().__init__()
        self.told: str | None = None
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        # Asked each time: a program may set up its log before or after this.
        others = [*_logger.handlers, *(logging.getLogger().handlers if _logger.propagate else ())]
        if any(_takes(handler, record) for handler in others):
            return
        try:
            sys.stderr.write(f"{self.format(record)}\n")
        except Exception:  # noqa: BLE001 - as all handlers of the standard library
            self.handleError(record)


def _takes(handler: logging.Handler, record: logging.LogRecord) -> bool:
    return handler.level <= record.levelno and not isinstance(handler, _StandardError | logging.NullHandler)


_handler = _StandardError()


def turn_on_where_asked(shown: Callable[[str], str]) -> None:
    """
    Show the log on standard error where the environment's ``CORECLAW_LOG`` is ``debug`` or ``info``.

    Args:
        shown: Returns the repr of another value, unless that is a secret.
    """
    asked = os.environ.get(_VARIABLE, "").strip()
    if not asked or asked == _handler.told:
        return
    _handler.told = asked
    level = _LEVELS.get(asked.lower())
    if level is None:
        logger.warning("%s must be debug or info, not %s; the log stays as it is", _VARIABLE, shown(asked))
        return
    _logger.setLevel(level)
    _logger.addHandler(_handler)
