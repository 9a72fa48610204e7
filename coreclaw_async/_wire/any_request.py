"""Requests that a caller writes: checked, so that none leaves the API or is sent again where that may cost."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias
from unicodedata import normalize
from urllib.parse import quote, unquote

from coreclaw_async._wire.credentials import Credentials
from coreclaw_async._wire.json_body import to_json
from coreclaw_async._wire.request import Request, RequestSafety, Safety, check_mapping, encode_value, is_unsafe

OPERATION = "request"
"""What events call such a request."""

_SAFETIES: dict[str, Safety] = {"safe": Safety.SAFE, "repeatable": Safety.REPEATABLE, "once": Safety.ONCE}
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_BEGINNING = "/api/"
_MAX_PATH = 2_000
_MAX_QUERY = 16_000
_SEGMENT = re.compile(r"(?:[\w.~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+", re.ASCII)
_RUNS_OF_A_WORKER = re.compile(r"/api/v2/workers/([\w.~-]+)/runs(?:/last/rerun)?", re.ASCII)

Made: TypeAlias = Literal["run", "queue item", "task"]
"""What a request makes anew each time."""

# By the end of the path (docs, openapi.json); "run" is the start of API v1.
_MAKES: dict[str, Made] = {
    "runs": "run",
    "run": "run",
    "rerun": "run",
    "queued-runs": "queue item",
    "worker-tasks": "task",
}


def any_request(
    method: str,
    path: str,
    *,
    query: Mapping[str, str | int | bool | None] | None,
    body: Any,
    safety: RequestSafety | None,
    credentials: Credentials,
) -> Request:
    """
    Return the request that a caller describes.

    Raises:
        ValueError: An argument cannot be right, which nobody may retry, or holds the key.
        TypeError: An argument is of the wrong type, or *body* holds something that JSON cannot express.
    """
    method = _check_method(method, credentials)
    _check_path(path, credentials)
    if body is not None and method == "GET":
        raise ValueError("body must be None for GET, which has none")
    if not isinstance(body, dict | list | tuple | None):
        raise TypeError(f"body must be a dict or a list, which is sent as JSON, not {type(body).__name__}")
    encoded = None if body is None else to_json(body, {"body": body})
    asked = _encode_query(query, credentials)
    if credentials.are_in(asked) or credentials.are_in(encoded or ""):
        raise ValueError("query and body must not hold the API key, which is sent as auth says")
    return Request(
        operation=OPERATION,
        method=method,
        path=path,
        query=asked,
        body=None if encoded is None else encoded.encode(),
        safety=_check_safety(method, path, safety, credentials),
    )


def made_by(request: Request) -> Made | None:
    """Return what *request* is known to make, or None."""
    return _MAKES.get(_names(request.path)[-1]) if request.method == "POST" else None


def makes_nothing(request: Request) -> bool:
    """
    Return whether *request* is known to make nothing that could be looked for.

    An abort makes nothing, and what is PUT or DELETEd is what the path names, unless that is where runs are started.
    """
    last = _names(request.path)[-1]
    return last == "abort" or (request.method in {"PUT", "DELETE"} and last not in _MAKES)


def worker_of(request: Request) -> str | None:
    """Return the worker whose run *request* starts, where its path names one."""
    found = _RUNS_OF_A_WORKER.fullmatch(request.path)
    return None if found is None else found[1]


def _check_method(method: str, credentials: Credentials) -> str:
    if not isinstance(method, str):
        raise TypeError(f"method must be a str, not {type(method).__name__}")
    if method.upper() not in _METHODS or not method.isascii():
        raise ValueError(f"method must be one of {', '.join(_METHODS)}, not {credentials.shown(method)[:40]}")
    return method.upper()


def _check_path(path: str, credentials: Credentials) -> None:
    """Raise unless *path* can lead nowhere but below the base URL, however often a gateway decodes it."""
    if not isinstance(path, str):
        raise TypeError(f"path must be a str, not {type(path).__name__}")
    shown = credentials.shown(path)[:100]
    if not path.startswith(_BEGINNING) or len(path) > _MAX_PATH:
        raise ValueError(
            f"path must be a path of the API, of {_MAX_PATH:,} characters at most, such as /api/v2/users/account, "
            f"not {shown}"
        )
    if credentials.are_in(path) or not all(_SEGMENT.fullmatch(part) for part in path[1:].split("/")):
        raise ValueError(
            "path must be without ?, # and empty parts, and with all else than letters, digits and the signs of URLs "
            f"percent-encoded, not {shown}"
        )
    segments = _segments(path)
    if credentials.are_in("/".join(segments)):
        raise ValueError("path must not hold the API key, which is sent as auth says")
    for segment in segments:
        # What stands behind a semicolon is a parameter to some servers, and the rest is the segment.
        if segment.partition(";")[0] in {"", ".", ".."} or "/" in segment or is_unsafe(segment):
            raise ValueError(f"path must not hold dots alone, spaces, or encoded signs such as / and ?, not {shown}")


def _segments(path: str) -> list[str]:
    """Return the parts of a path, decoded until nothing is left to decode, in plain letters and lower case."""
    while (decoded := normalize("NFKC", unquote(path, errors="surrogateescape"))) != path:
        if decoded.count("/") != path.count("/"):
            return ["/"]  # It holds one that is encoded, or a letter that some servers take for one.
        path = decoded
    return path[1:].lower().split("/")


def _names(path: str) -> list[str]:
    """Return the parts of a path without the parameters and endings that some servers leave out of account."""
    return [segment.partition(";")[0].partition(".")[0] for segment in _segments(path)]


def _encode_query(query: Mapping[str, str | int | bool | None] | None, credentials: Credentials) -> str:
    if query is None:
        return ""
    parts: list[str] = []
    for name, value in check_mapping("query", query).items():
        if name.lower() == "token":
            raise ValueError("query must not hold token, which is the key; see auth")
        if name.lower() == "_method":
            raise ValueError("query must not hold _method, which makes a read of a gateway something else")
        if value is None:
            continue
        parts.append(f"{quote(encode_name(name, credentials), safe='')}={_encoded(name, value, credentials)}")
    encoded = "&".join(parts)
    if len(encoded) > _MAX_QUERY:
        raise ValueError(f"query must have {_MAX_QUERY:,} characters at most when it is encoded, not {len(encoded):,}")
    return encoded


def encode_name(name: str, credentials: Credentials) -> str:
    """Return the name of a member of the query when it can be one."""
    if not name:
        raise ValueError("query must have names that are not empty")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"query must have names that UTF-8 can encode, not {credentials.shown(name)[:80]}") from None
    return name


def _encoded(name: str, value: object, credentials: Credentials) -> str:
    shown = f"query[{credentials.shown(name)[:80]}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int):
        raise TypeError(f"{shown} must be a str, an int, a bool or None, not {type(value).__name__}")
    return encode_value(shown, value)


def _check_safety(method: str, path: str, safety: RequestSafety | None, credentials: Credentials) -> Safety:
    """Return what a second send would do: for a read nothing, and for all else what the caller says."""
    if not isinstance(safety, str | None):
        raise TypeError(f"safety must be a str, not {type(safety).__name__}")
    if safety is None and method != "GET":
        raise ValueError(
            f"safety must be said for {method}: 'once' where a second send could start, create or pay for something "
            "again, 'repeatable' where it leads to the same state, 'safe' where the request reads only"
        )
    found = _SAFETIES.get("safe" if safety is None else safety)
    if found is None:
        raise ValueError(
            f"safety must be one of {', '.join(map(repr, _SAFETIES))}, not {credentials.shown(safety)[:40]}"
        )
    names = _names(path)
    # Whichever run is the last one is another one each time.
    is_paid = names[-1] in _MAKES or names[-2:] == ["last", "abort"]
    if method == "POST" and is_paid and found is not Safety.ONCE:
        raise ValueError(f"safety must be 'once' for POST {path}, which does something again each time, not {safety!r}")
    return found
