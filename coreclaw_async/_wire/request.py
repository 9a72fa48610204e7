"""Requests: their paths, queries and bodies, and the checks of the arguments of callers."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Literal, NamedTuple, ParamSpec, TypeAlias, cast
from urllib.parse import quote, urlsplit

from coreclaw_async._wire.json_body import WorkerInput, to_json

MAX_LIMIT = 100
"""Most items a page may hold (docs, api/index: "Constraints: default 20; range 1-100")."""

MAX_OFFSET = 2**63 - 1
"""Largest offset that the service can read: an int64 (docs, openapi.json)."""

RequestSafety: TypeAlias = Literal["safe", "repeatable", "once"]
"""What a second send of a request would do: nothing, the same again, or something once more."""

P = ParamSpec("P")

_API = "/api/v2/"
_MAX_SECONDS = sys.float_info.max
# httpx refuses URLs of more than 65,536 characters.
_MAX_VALUE = 16_000
_MAX_SHOWN = 200
"""Letters of a wrong value that its error shows: it may be a long list that was meant for another parameter."""
_MAX_ID = 1_000
_UNSAFE = r"[\x00-\x20\x7f-\x9f\\?#\u2028\u2029\ud800-\udfff]|\s"
_is_plain = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch


class Safety(Enum):
    """What a second send of the same request would do."""

    SAFE = "reads only"
    REPEATABLE = "leads to the same state again"
    ONCE = "would start, create or hit something a second time"


class Request(NamedTuple):
    """
    One API request, ready to be sent as often as its safety allows.

    Attributes:
        operation: The operationId of the published specification.
        method: HTTP method.
        path: Path with all segments encoded, beginning with ``/api/v2/``.
        query: Encoded query without the question mark, or an empty string.
        body: Encoded JSON, or None for no body.
        safety: What a second send would do.
        is_urgent: Whether it overtakes requests that wait for the rate limit, as aborts do: their runs cost money.
        is_public: Whether the operation needs no key; then none is sent.
        min_timeout: Seconds that the contract allows the service to answer; the deadline of a call is never shorter.
        already_done_error: The refusal that a second send gets when the first one took effect and its answer was lost.
            It then counts as a success.
        callback_url: The callback URL in the body of a start, or None.
        keeps_numbers: Whether numbers in the rows of the answer stay as they are written (`ExactNumber`).
    """

    operation: str
    method: str
    path: str
    query: str = ""
    body: bytes | None = None
    safety: Safety = Safety.SAFE
    is_urgent: bool = False
    is_public: bool = False
    min_timeout: float = 0.0
    already_done_error: type[Exception] | tuple[type[Exception], ...] | None = None
    callback_url: str | None = None
    keeps_numbers: bool = False

    def __repr__(self) -> str:
        # Not the body: an input may be anything, and hold a callback URL.
        return f"Request({self.operation!r}, {self.label!r}, {self.query!r}, {self.safety})"

    @property
    def label(self) -> str:
        """Method and path, by which errors and logs name the request."""
        return f"{self.method} {self.path}"


def build_path(*segments: str) -> str:
    """Return the path of an operation; *segments* must have been through a check or be literals."""
    # Most segments need no encoding, which takes long.
    return _API + "/".join([each if _is_plain(each) else quote(each, safe="~") for each in segments])


def build_query(**members: str | int | None) -> str:
    """Return the encoded query; members that are None are left out."""
    return "&".join(f"{name}={encode_value(name, value)}" for name, value in members.items() if value is not None)


def encode_value(name: str, value: str | int) -> str:
    """Return a value as a query takes it."""
    try:
        # Of a member of an enum, `str` is its name.
        encoded = quote(str.__str__(value) if isinstance(value, str) else int.__repr__(value), safe="~,")
    except UnicodeEncodeError:
        raise ValueError(f"{name} must be a string that UTF-8 can encode, not {value!r}") from None
    except ValueError:
        raise ValueError(f"{name} must be a number that Python writes, not {_shown(value)}") from None
    if len(encoded) > _MAX_VALUE:
        raise ValueError(f"{name} must have {_MAX_VALUE:,} characters at most when it is encoded, not {len(encoded):,}")
    return encoded


def build_body(**members: Any) -> bytes:
    """
    Return the encoded JSON object of *members*; those that are None are left out, never sent as null.

    Raises:
        TypeError: A member holds a key that is no string, or something that JSON cannot express.
        ValueError: A member holds a number or a string that JSON cannot express, or contains itself.
    """
    body: dict[str, Any] = {}
    parts: dict[str, Any] = {}
    for name, value in members.items():
        if isinstance(value, WorkerInput):
            body[name] = value.value
            parts.update(value.parts)
        elif value is not None:
            body[name] = parts[name] = value
    return to_json(body, parts).encode()


def check_int(name: str, value: int, *, lowest: int, highest: int | None = None) -> int:
    """Return *value* when it is a whole number in its range."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {_shown(value)}")
    if value < lowest or (highest is not None and value > highest):
        span = f"{lowest} or more" if highest is None else f"{lowest} to {highest}"
        raise ValueError(f"{name} must be {span}, not {_shown(value)}")
    return value


def _shown(value: object) -> str:
    try:
        text = repr(value)
        return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
    except ValueError:  # Python does not write numbers with more digits.
        return f"a number of more than {sys.get_int_max_str_digits()} digits"


def check_offset(offset: int) -> int:
    """Return *offset* when the service can read it: 0 to 2**63 - 1."""
    return check_int("offset", offset, lowest=0, highest=MAX_OFFSET)


def check_limit(limit: int, name: str = "limit") -> int:
    """Return *limit* when a page can hold so many items."""
    return check_int(name, limit, lowest=1, highest=MAX_LIMIT)


def check_seconds(name: str, value: float, *, allow_zero: bool = False) -> float:
    """Return *value* as a float when it is a finite number of seconds above (or from) zero."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {_shown(value)}")
    if not (value > 0 or (allow_zero and value == 0)) or value > _MAX_SECONDS:
        raise ValueError(
            f"{name} must be a finite number of seconds {'from' if allow_zero else 'above'} 0, not {_shown(value)}"
        )
    return float(value)


def check_text(name: str, value: str, kind: str = "a str") -> str:
    """Return *value* when it is a string that is not blank; *kind* says what a caller may give."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be {kind}, not {_shown(value)}")
    if not value.strip():
        raise ValueError(f"{name} must not be empty, not {value!r}")
    return value


def check_bool(name: str, value: bool) -> bool:  # noqa: FBT001 - it checks the flag that a caller gave by name
    """Return *value* when it is a bool: a truthy string would be sent as something else."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, not {_shown(value)}")
    return value


def check_hook(name: str, hook: Callable[P, None]) -> Callable[P, None]:
    """
    Return *hook* if it is a function, or an object like one, that has done its work when it returns.

    Raises:
        TypeError: It is none, or an async one, which nobody would await.
    """
    function: Any = hook
    while isinstance(function, functools.partial):
        function = cast("Any", function).func
    if not callable(function):
        raise TypeError(f"{name} must be a function, not {type(hook).__name__}")
    for called in (function, getattr(type(function), "__call__", None)):  # noqa: B004 - it may be an object
        if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
            named = getattr(function, "__qualname__", type(function).__name__)
            raise TypeError(f"{name} must be a plain function: nobody would await the async function {named}")
    return hook


def _check_length(name: str, value: str) -> None:
    if len(value) > _MAX_ID:
        raise ValueError(f"{name} must have {_MAX_ID:,} characters at most, not {len(value):,}")


def is_unsafe(text: str) -> bool:
    """Return whether *text* holds something that cannot stand in a path as it is, save slashes."""
    return re.search(_UNSAFE, text) is not None


def check_id(name: str, value: str, kind: str = "a str") -> str:
    """
    Return *value* when it can stand in a path as the id of a run, a task or a queue item; *kind* as in `check_text`.

    ``last`` is refused because ``/worker-runs/last`` is another operation, which acts on whichever run is newest; dots
    and slashes because they lead to another path, also when they are encoded.
    """
    if type(value) is str and value.isalnum() and len(value) <= _MAX_ID and value.lower() != "last":
        return value  # As nearly all are; what follows takes five times as long.
    _check_length(name, check_text(name, value, kind))
    if value.lower() == "last":
        raise ValueError(f"{name} must be the id of one thing, not {value!r}; for the newest run give LastRun()")
    if value in {".", ".."} or "/" in value or is_unsafe(value):
        raise ValueError(f"{name} must not hold slashes, dots alone, spaces, '?', '#' or control characters: {value!r}")
    return value


def check_worker_id(name: str, value: str) -> str:
    r"""
    Return *value* as a path takes it: a slug as it is, ``owner/name`` as ``owner~name``.

    An encoded slash is another route and fails (docs, api/index, worker identifiers).
    """
    _check_length(name, check_text(name, value))
    parts = value.split("/")
    if len(parts) > 2 or is_unsafe(value) or any(part in {"", ".", ".."} for part in parts):
        raise ValueError(
            f"{name} must be an id, 'owner/name' or 'owner~name' without dots alone, spaces, '?', '#' "
            f"or control characters, not {value!r}"
        )
    return "~".join(parts)


def shown_worker(worker_id: str) -> str:
    """Return a worker's name as people write it, ``owner/name``; a slug has no ``~``."""
    return worker_id.replace("~", "/")


def worker_in_path(worker_id: str) -> str:
    """Return a worker's name as a path takes it, of a valid one."""
    return worker_id.replace("/", "~")


def check_url(name: str, value: str) -> str:
    """Return *value* when it is an absolute http or https URL."""
    check_text(name, value)
    try:
        parts = urlsplit(value)
        is_absolute = parts.scheme in {"http", "https"} and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        is_absolute = False
    if not is_absolute or is_unsafe(value.replace("?", "").replace("#", "")):
        raise ValueError(f"{name} must be an absolute http or https URL, not {value!r}")
    return value


def check_mapping(name: str, value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return *value* when it is a mapping whose keys are strings."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, not {type(value).__name__}")
    for key in value:
        if not isinstance(key, str):
            raise TypeError(f"{name} must have str keys, not {_shown(key)}")
    return value


def worker_input(
    input: Mapping[str, Any] | None,
    system: Mapping[str, Any] | None,
    raw_input: Any,
) -> WorkerInput:
    """
    Return the ``input`` member of a start: the worker's own input wrapped, or *raw_input* as it is.

    The service takes a worker's input as ``input.parameters.custom`` and refuses a flat one with 11000; a task that was
    created with a flat one can never be run (docs, api/workers/run; live report of 2026-06-30).
    """
    if raw_input is not None:
        if input is not None or system is not None:
            raise ValueError("give either input (with system) or raw_input, not both")
        return WorkerInput(raw_input, {"raw_input": raw_input})
    if input is None:
        raise ValueError("input must be given (or raw_input), not None")
    parts = {"input": dict(check_mapping("input", input))}
    parameters: dict[str, Any] = {"custom": parts["input"]}
    if system is not None:
        parameters["system"] = parts["system"] = dict(check_mapping("system", system))
    return WorkerInput({"parameters": parameters}, parts)
