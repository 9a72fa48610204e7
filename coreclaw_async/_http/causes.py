"""The causes of an error, without what would show the key to whoever prints more than its text."""

from __future__ import annotations

import re

from coreclaw_async._http.libraries import library_of
from coreclaw_async._wire.credentials import Credentials

NO_CONNECTION = ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol")
"""What httpx raises before a byte of the request has left; other transports may mean something else by it."""

# What h11 says of a line of an answer that it cannot read, which may be a cookie, a signed URL or a row.
_QUOTED_LINE = r"(?is)(illegal (?:status line|header line|chunk header)): .*"
# More causes than this tell nobody anything.
_MAX_CHAIN = 20


def make_presentable(error: BaseException, credentials: Credentials, base_url: str) -> None:
    """
    Leave in *error*, and in what caused it, nothing that shows the key.

    Tracebacks go, because the frames of HTTP libraries hold the headers of the request and of the answer. A cause that
    holds a whole exchange, or repeats the key, goes too; its text stands in the message.
    """
    for left in reversed(range(_MAX_CHAIN)):  # pragma: no branch - it ends at 0
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        error.__traceback__ = error.__cause__ = error.__context__ = None
        if cause is None or left == 0 or not _can_be_presented(cause, credentials, base_url):
            return
        error.__cause__ = error = cause


def _can_be_presented(cause: BaseException, credentials: Credentials, base_url: str) -> bool:
    try:
        return _is_presentable(cause, credentials, base_url)
    except Exception:  # noqa: BLE001 - its text or attributes may raise
        return False


def _is_presentable(cause: BaseException, credentials: Credentials, base_url: str) -> bool:
    if _quotes_a_header(cause) or re.search(_QUOTED_LINE, str(cause)) is not None:
        return False
    library = library_of(cause, "RequestError")
    if library is not None:
        # A caller's transport may have sent a copy of our request.
        cause.request = library.module.Request("GET", base_url)  # type: ignore[attr-defined]
    elif isinstance(cause, BaseExceptionGroup) or hasattr(cause, "request") or hasattr(cause, "response"):
        return False
    return not credentials.are_in(f"{cause} {cause!r} {vars(cause)!r}")


def _quotes_a_header(error: BaseException) -> bool:
    """Return whether the text of *error* may hold a header that cannot be sent."""
    return type(error).__name__ == "LocalProtocolError"


def described(error: Exception) -> str:
    """Return the type of *error* and its text, or that of its cause: under trio httpx gives errors without a text."""
    step: BaseException | None = error
    for _ in range(_MAX_CHAIN):  # pragma: no branch - a chain of so many errors without a text is none of ours
        if step is None or _text_of(step):
            break
        step = step.__cause__ or step.__context__
    text = "" if step is None else _text_of(step)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def without_quoted_lines(text: str) -> str:
    """Return what a library says without the line of an answer that it quotes."""
    return re.sub(_QUOTED_LINE, r"\1", text)


def _text_of(error: BaseException) -> str:
    if _quotes_a_header(error):
        return "the request cannot be sent as it is"
    try:
        return without_quoted_lines(str(error))
    except Exception:  # noqa: BLE001 - the text of a caller's error may raise
        return ""
