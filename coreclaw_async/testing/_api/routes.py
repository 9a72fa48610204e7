"""From method and path to the operation."""

from __future__ import annotations

from urllib.parse import unquote

from attrs import field, frozen

from coreclaw_async.testing._api import account, proxies, run_queue, runs, store, tasks, workers
from coreclaw_async.testing._api.operation import Operation, operations_of

API_PREFIX = "/api/v2"

OPERATIONS = operations_of(account, proxies, store, workers, tasks, runs, run_queue)
"""Every published operation."""


@frozen
class Route:
    """
    What a method and a path lead to.

    Attributes:
        operation: The operation, or None.
        parameters: The decoded path parameters.
        allowed: The methods that the path knows, when `operation` is None.
    """

    operation: Operation | None = None
    parameters: dict[str, str] = field(factory=dict[str, str])
    allowed: tuple[str, ...] = ()


def find_route(method: str, raw_path: str) -> Route:
    """
    Return where `raw_path`, still percent-encoded and without its query, leads.

    A literal segment wins over a parameter, so `last` is never a run id. An encoded slash neither separates segments
    nor is part of an id: such a path leads nowhere.
    """
    if not raw_path.startswith(API_PREFIX + "/"):
        return Route()
    segments = [unquote(part) for part in raw_path.removeprefix(API_PREFIX + "/").split("/")]
    if any("/" in part or not part for part in segments):
        return Route()
    fitting = [operation for operation in _BY_LENGTH.get(len(segments), ()) if _fits(operation, segments)]
    for operation in fitting:
        if operation.method == method:
            names = zip(operation.parts, segments, strict=True)
            return Route(operation, {name[1:-1]: value for name, value in names if name[0] == "{"})
    return Route(allowed=tuple(dict.fromkeys(operation.method for operation in fitting)))


def _fits(operation: Operation, segments: list[str]) -> bool:
    pairs = zip(operation.parts, segments, strict=True)
    return all(part[0] == "{" or part == segment for part, segment in pairs)


def _parameters_last(operation: Operation) -> list[bool]:
    return [part[0] == "{" for part in operation.parts]


_BY_LENGTH: dict[int, list[Operation]] = {}
for _operation in sorted(OPERATIONS, key=_parameters_last):
    _BY_LENGTH.setdefault(len(_operation.parts), []).append(_operation)
