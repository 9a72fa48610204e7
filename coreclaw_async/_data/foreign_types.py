"""Values of types that this package does not know, read by pydantic; imported only where pydantic is in use."""

from __future__ import annotations

import functools
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from coreclaw_async._data.misfits import MisfitError


class UnknownTypeError(Exception):
    """Pydantic cannot read values of the type."""


def read_by_pydantic(hint: Any, value: Any) -> Any:
    """
    Return *value* as pydantic reads it for the type *hint*.

    Raises:
        MisfitError: It does not fit.
        UnknownTypeError: Pydantic does not know the type, or not all that it is made of.
    """
    try:
        adapter = _adapter_of(hint)
    except TypeError:  # It cannot be hashed, as an annotation with a list.
        adapter = _adapter_of.__wrapped__(hint)
    if adapter is None:
        raise UnknownTypeError
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first: Any = error.errors(include_url=False, include_context=False)[0]
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{step!a:.80}" for step in first["loc"])
        raise MisfitError(f"is refused: {first['msg']}", first["input"], place=first["loc"], path=path) from None
    except PydanticUserError:
        raise UnknownTypeError from None


@functools.cache
def _adapter_of(hint: Any) -> Any:
    try:
        return TypeAdapter(hint)
    except PydanticUserError:
        return None
