"""What kind of JSON value a parsed value is, for type checkers too."""

from __future__ import annotations

from typing import Any, TypeGuard


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Return whether *value* is a JSON object."""
    return isinstance(value, dict)


def is_array(value: Any) -> TypeGuard[list[Any]]:
    """Return whether *value* is a JSON array."""
    return isinstance(value, list)


def as_object(value: Any) -> dict[str, Any]:
    """Return *value* when it is a JSON object, else an empty one."""
    return value if is_object(value) else {}


def as_array(value: Any) -> list[Any]:
    """Return *value* when it is a JSON array, else an empty one."""
    return value if is_array(value) else []
