"""Record and Model: what events and models have in common."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from coreclaw_async._data.plain import ENCODABLE_JSON, JSON, PYTHON, UTF8_JSON, as_plain, names_of, to_text
from coreclaw_async._data.shown import shown


class Record:
    """One of several kinds of things: as data, it says of which kind it is."""

    __slots__ = ()
    _says_type: ClassVar[bool] = True

    def __repr__(self) -> str:
        return shown(self)

    def keys(self) -> Sequence[str]:
        """Return the names in `to_dict`, so that ``dict(run)`` and frameworks that call it have the members."""
        kind: Any = type(self)
        names = names_of(kind)
        return ("type", *names) if self._says_type else names

    def __getitem__(self, name: str) -> Any:
        """
        Return a member as JSON, for ``dict(run)``: what a framework sends for the object; `to_dict` has Python values.

        What has no form in JSON becomes its ``str``, and half of a surrogate pair U+FFFD.

        Raises:
            TypeError: *name* is no string: members have names, not numbers.
            KeyError: There is no such member.
        """
        if not isinstance(name, str):
            raise TypeError(f"members of a {type(self).__name__} have names, not the number or object {name!a:.80}")
        if name not in self.keys():
            raise KeyError(name)
        if name == "type" and self._says_type:
            return type(self).__name__
        return as_plain(getattr(self, name), ENCODABLE_JSON)

    def to_dict(self, *, json: bool = False) -> dict[str, Any]:
        """
        Return all members as a new dictionary, models in it as dictionaries too, sequences as lists.

        Events have the name of their class as ``type``. The ``callback_url`` of an item of a batch, which is as good as
        a password, is left out. Other members that the repr hides are not: inputs, which may hold passwords, and signed
        URLs (``download_url``, ``all_logs_url``), so take care where you send them.

        Args:
            json: Whether all values are to be of JSON: amounts of money become strings such as ``"0.125"``, times ISO
                8601, other members and paths strings; NaN and infinite numbers become None. UTF-8 can encode it: half
                of a surrogate pair becomes U+FFFD.

        Raises:
            TypeError: With *json*: a part of it, which the message names, has no form in JSON. What the service sends
                always has one.
            ValueError: A part of it contains itself.
        """
        plain: dict[str, Any] = as_plain(self, UTF8_JSON if json else PYTHON)
        return plain

    def to_json(self) -> str:
        """
        Return all members as one line of JSON, as in ``to_dict(json=True)``.

        It can be encoded as UTF-8, and is exact: half of a surrogate pair becomes its JSON escape, which ``from_dict``
        gets back when the text is parsed.

        Raises:
            TypeError: As `to_dict`.
            ValueError: A part of it contains itself, is nested too deeply for Python's ``json``, or is a whole number
                of more digits than Python writes.
        """
        return to_text(as_plain(self, JSON))


class _PydanticSerializer:
    """How pydantic writes a model where no type announces one; made when pydantic looks for it."""

    def __get__(self, _: object, kind: Any) -> Any:
        if "pydantic" not in sys.modules:  # pydantic did not ask, and without it there is none.
            raise AttributeError("__pydantic_serializer__")
        from coreclaw_async._data.pydantic_schema import serializer_of_model

        return serializer_of_model(kind)


class Model(Record):
    """A thing that can be read back from its data."""

    __slots__ = ()
    _says_type: ClassVar[bool] = False
    __pydantic_serializer__ = _PydanticSerializer()

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> Self:
        """
        Return the object from which *mapping* was made, by `to_dict` of either form, or by `to_json` and parsed.

        It is equal to that object if what its ``Any`` members hold is of JSON, as all is that the service sends, and if
        it had no ``callback_url``; halves of surrogate pairs are in `to_dict` without *json* and in `to_json` alone.
        Members may be missing where the class has a default. Answers of the service, which have other names, are not
        read.

        Args:
            mapping: Values by the names of the members; nothing in it is changed, and nothing kept but models.

        Raises:
            TypeError: *mapping* is not a mapping.
            ValueError: A member, which the message names, is missing, unknown or of the wrong type; a number is not
                finite; a time has no time zone.
        """
        from coreclaw_async._data.loading import load

        return load(cls, mapping)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from coreclaw_async._data.pydantic_schema import schema_of_model

        return schema_of_model(cls, source, handler)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> Any:
        from coreclaw_async._data.pydantic_schema import json_schema_of_model

        return json_schema_of_model(cls, schema, handler)
