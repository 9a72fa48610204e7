"""Operations: what a handler declares with `operation`, and what follows from that for requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from attrs import frozen

from coreclaw_async.testing._api.calls import Call
from coreclaw_async.testing._api.request_rules import Member

Handler = Callable[[Call], Any]
"""Returns the data of the answer, `NO_DATA` or a `Pending`; raises `RefusedError`."""


@frozen(kw_only=True)
class Operation:
    """
    One operation of the API.

    Attributes:
        name: The operation id.
        method: In capitals.
        path: Below `/api/v2`, with `{parameters}`.
        query: The query parameters it reads; others are ignored.
        body: The members its body may have; None when it takes no body.
        lenient_body: Whether an absent body is accepted too, unless `abort_requires_body` is on.
        public: Whether it needs no key.
        handler: What answers it.
    """

    name: str
    method: str
    path: str
    query: Mapping[str, Member]
    body: Mapping[str, Member] | None
    lenient_body: bool
    public: bool
    handler: Handler

    @property
    def parts(self) -> list[str]:
        """The segments of the path."""
        return self.path.split("/")[1:]


_DECLARED: list[Operation] = []


def operation(
    name: str,
    method: str,
    path: str,
    *,
    query: Mapping[str, Member] | None = None,
    body: Mapping[str, Member] | None = None,
    lenient_body: bool = False,
    public: bool = False,
) -> Callable[[Handler], Handler]:
    """Declare that a function answers an operation, see `Operation`; several of these may stand above one function."""

    def declare(handler: Handler) -> Handler:
        _DECLARED.append(
            Operation(
                name=name,
                method=method,
                path=path,
                query=query or {},
                body=body,
                lenient_body=lenient_body,
                public=public,
                handler=handler,
            )
        )
        return handler

    return declare


def operations_of(*groups: ModuleType) -> tuple[Operation, ...]:
    """Return the operations that the handlers in the modules *groups* declare."""
    names = {group.__name__ for group in groups}
    return tuple(one for one in _DECLARED if one.handler.__module__ in names)
