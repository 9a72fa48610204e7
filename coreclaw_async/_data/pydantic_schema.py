"""What pydantic asks a model for: how it is checked, written, and described in OpenAPI."""

from __future__ import annotations

import datetime as dt
import functools
import inspect
import re
import types
import typing
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, Union

import attrs

from coreclaw_async._data.loading import load_part, variables_of
from coreclaw_async._data.misfits import MisfitError
from coreclaw_async._data.plain import ENCODABLE_JSON, PYTHON, LeavesOut, as_plain, names_of

_SINGLES = (str, int, float, bool, types.NoneType)


def schema_of_model(kind: Any, source: Any, handler: Any) -> Any:
    """
    Return the pydantic-core schema of a model.

    Values are read as ``from_dict`` does; the members are there for the JSON schema alone.

    Args:
        kind: The model.
        source: It, or it with arguments such as ``Page[Run]``.
        handler: pydantic's, for the types of arguments.
    """
    from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError, core_schema

    arguments = typing.get_args(source)

    def check(value: Any, _: Any) -> Any:
        try:
            return load_part(kind, arguments, value)
        except MisfitError as error:
            reason = f"{kind.__name__}{error.path} {error.why}"
            refused = InitErrorDetails(
                type=PydanticCustomError("coreclaw_model", "{reason}", {"reason": reason}),
                loc=error.place,
                input=_shown_input(error.value),
            )
            raise ValidationError.from_exception_data(kind.__name__, [refused]) from None

    def write(value: Any, info: Any) -> Any:
        form = ENCODABLE_JSON if info.mode == "json" else PYTHON
        made = as_plain(value, form, leaves_out=_leaves_out(info))
        return _chosen(made, info.include, info.exclude)

    return core_schema.no_info_wrap_validator_function(
        check,
        _members_schema(kind, arguments, handler),
        ref=f"{kind.__module__}.{_reference(source)}",
        serialization=core_schema.plain_serializer_function_ser_schema(write, info_arg=True),
    )


def _shown_input(value: Any) -> Any:
    """
    Return what an error has as its input: a single value, or the type of a body or a part of it.

    FastAPI answers with it, and inputs of runs may hold passwords. It can write no NaN and no half of a surrogate pair.
    """
    return as_plain(value, ENCODABLE_JSON) if isinstance(value, _SINGLES) else f"<{type(value).__name__}>"


def _leaves_out(info: Any) -> LeavesOut | None:
    """Return which members of models are left out, at every level; None for none."""
    if not info.exclude_none and not info.exclude_defaults:
        return None

    def leaves_out(kind: Any, name: str, value: Any) -> bool:
        return (info.exclude_none and value is None) or (info.exclude_defaults and _is_default(kind, name, value))

    return leaves_out


def _is_default(kind: Any, name: str, value: Any) -> bool:
    default: Any = attrs.fields_dict(kind)[name].default
    return bool((default.factory() if hasattr(default, "factory") else default) == value)


def _chosen(made: Any, include: Any, exclude: Any) -> Any:
    """Return *made* with the parts that pydantic's *include* and *exclude* leave in it, at every level they name."""
    if (include is None and exclude is None) or not isinstance(made, dict | list):
        return made
    parts: dict[Any, Any] = made if isinstance(made, dict) else dict(enumerate(made))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    chosen: dict[Any, Any] = {}
    for name, part in parts.items():
        excluded = _inside(exclude, name, len(parts))
        included = True if include is None else _inside(include, name, len(parts))
        if excluded is not True and included is not None:
            chosen[name] = _chosen(part, None if included is True else included, excluded)
    return chosen if isinstance(made, dict) else list(chosen.values())


def _inside(selection: Any, name: Any, count: int) -> Any:
    """Return what *selection* has for a part: True for the whole, None for nothing, or a selection inside it."""
    names = (name, name - count) if isinstance(name, int) else (name,)
    # Of an index that is named from the front and from the end, the last one decides, as in pydantic.
    own = [key for key in selection or () if key in names]
    shared = [key for key in selection or () if key == "__all__"]
    return _together(*(_named(selection, found[-1]) if found else None for found in (own, shared)))


def _named(selection: Any, key: Any) -> Any:
    """Return what a set or a mapping has for a part that it names."""
    found: Any = selection[key] if hasattr(selection, "items") else True
    return True if found is ... else found or None


def _together(own: Any, shared: Any) -> Any:
    """Return what the selection for an index and that for all have together: as in pydantic, the first one decides."""
    if own is None or own is True or shared is None or shared is True:
        return shared if own is None else own
    names = dict.fromkeys((*own, *shared))
    return {
        name: _together(*(_named(part, name) if name in part else None for part in (own, shared))) for name in names
    }


@functools.cache
def serializer_of_model(kind: Any) -> Any:
    """Return pydantic's serializer of a model, which it looks for in values of type ``Any``."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind).serializer


def json_schema_of_model(kind: Any, schema: Any, handler: Any) -> Any:
    """Return the JSON schema that pydantic has made of *schema*, described."""
    made = handler(schema)
    handler.resolve_ref_schema(made).update(title=kind.__name__, description=_summary(kind))
    return made


def _members_schema(kind: Any, arguments: tuple[Any, ...], handler: Any) -> Any:
    from pydantic_core import core_schema

    bound = variables_of(kind, arguments)
    hints, told = typing.get_type_hints(kind), _descriptions(kind)
    fields = attrs.fields_dict(kind)
    return core_schema.typed_dict_schema(
        {
            name: core_schema.typed_dict_field(
                _schema(hints[name], bound, handler),
                required=fields[name].default is attrs.NOTHING,
                metadata=_with(description=told[name]) if name in told else None,
            )
            for name in names_of(kind)
        }
    )


def _schema(hint: Any, bound: Mapping[Any, Any], handler: Any) -> Any:
    """Return the schema of what JSON has for a member of type *hint*."""
    from pydantic_core import core_schema

    hint = bound.get(hint, Any) if isinstance(hint, TypeVar) else hint
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in {Union, types.UnionType}:
        return core_schema.union_schema([_schema(part, bound, handler) for part in inside])
    if origin in {Sequence, tuple}:
        return core_schema.list_schema(_schema(inside[0], bound, handler))
    if origin in {Mapping, dict}:
        return core_schema.dict_schema(core_schema.str_schema(), _schema(inside[1], bound, handler))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return core_schema.literal_schema([member.value for member in hint])
    if hint in _FORMATS:
        return core_schema.str_schema(metadata=_with(format=_FORMATS[hint]))
    return handler.generate_schema(hint)


def _with(**updates: str) -> dict[str, Any]:
    """Return the metadata with which pydantic (2.5 to 2.14 were tried) adds *updates* to a JSON schema."""

    def update(schema: Any, handler: Any) -> Any:
        return {**handler(schema), **updates}

    return {"pydantic_js_functions": [update]}


_FORMATS: dict[Any, str] = {Decimal: "decimal", dt.datetime: "date-time", Path: "path"}


def _reference(source: Any) -> str:
    """Return what tells *source* from all other types, in the form from which pydantic makes a name."""
    arguments = typing.get_args(source)
    kind = typing.get_origin(source) or source
    if not isinstance(kind, type):
        told = repr(source)
        return re.sub(r"\W+", "_", told) + f":{hash(told)}"
    # pydantic, which takes ids as names too, must not take the schema of ``Page`` for that of ``Page[Run]``.
    name = f"{kind.__qualname__}:of-{id(kind)}"
    return f"{name}[{','.join(map(_reference, arguments))}]" if arguments else name


def _summary(kind: type[Any]) -> str:
    """Return the part of the docstring before the members."""
    return _as_markdown((inspect.getdoc(kind) or "").partition("\nAttributes:")[0])


def _descriptions(kind: type[Any]) -> dict[str, str]:
    """Return what the docstrings of *kind* and its bases say of each member."""
    told: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        members = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")[2]
        for name, text in re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", members, re.MULTILINE):
            told[name] = _as_markdown(text)
    return told


def _as_markdown(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("``", "`")
