"""Types of somebody else's, as pydantic reads them; imported only where pydantic is in use."""

from __future__ import annotations

import functools
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from coreclaw_async._data.misfits import MisfitError


@functools.cache
def adapter_of(hint: Any) -> Any:
    """Return what reads values of a type, or None where pydantic does not know the type."""
    try:
        return TypeAdapter(hint)
    except PydanticUserError:
        return None


def read_by(adapter: Any, value: Any) -> Any:
    """
    Return *value* as *adapter* reads it.

    Raises:
        MisfitError: It does not fit.
    """
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first: Any = error.errors(include_url=False, include_context=False)[0]
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{step!a:.80}" for step in first["loc"])
        raise MisfitError(f"is refused: {first['msg']}", first["input"], place=first["loc"], path=path) from None
