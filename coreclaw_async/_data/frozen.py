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
        raise AttributeError(f"{name} cannot be changed: make another {type(self).__name__}, as with replace()")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        members = ", ".join([f"{name}={value!r}" for name, value in vars(self).items() if not callable(value)])
        return f"{type(self).__name__}({members})"

    def replace(self, **changes: Any) -> Self:
        """
        Return a copy with other members, which are checked; from Python 3.13 on, ``copy.replace`` does the same.

        Raises:
            ValueError: A number is out of range.
            TypeError: There is no such member, or something is no number.

        Example::

            patient = RetryPolicy(max_attempts=3).replace(max_delay=60)
        """
        return type(self)(**{**vars(self), **changes})

    __replace__ = replace
