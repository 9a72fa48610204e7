"""Frozen: settings that a caller makes and nobody changes, for which no methods are generated."""

from __future__ import annotations

from typing import Any, NoReturn, Self, dataclass_transform


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Frozen:
    """
    The base of settings that every client has; its kinds check their members and hand them to `_set`.

    Two that are of one kind and have the same members are equal. attrs and dataclasses write such classes too, but
    every program would wait until they are loaded and have compiled the methods.
    """

    def _set(self, **members: Any) -> None:
        vars(self).update(members)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"{name} cannot be changed: make another {type(self).__name__}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        members = ", ".join([f"{name}={value!r}" for name, value in vars(self).items() if not callable(value)])
        return f"{type(self).__name__}({members})"

    def __replace__(self, **changes: Any) -> Self:
        """Return a copy with other members; `copy.replace` of Python 3.13 calls it."""
        return type(self)(**{**vars(self), **changes})
