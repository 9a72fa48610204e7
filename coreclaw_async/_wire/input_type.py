"""
Writes the input of a worker as a ``TypedDict``: Python source, made of texts that anybody may have written.

So each name and value of the schema stands in a string literal, and each text in a comment of one line.
"""

from __future__ import annotations

import keyword
import re
import textwrap
from collections.abc import Iterator, Sequence

import attrs

from coreclaw_async._wire.schema_facts import (
    KINDS,
    SCALARS,
    Scalar,
    choices_of,
    is_number,
    kinds_of,
    members_of,
    parameters_of,
)
from coreclaw_async.models import InputProperty, InputSchema

_NAMES = ("Any", "Literal", "NotRequired", "TypedDict")
# A member with one of these names would hide the type from a type checker.
_TYPE_NAMES = {*_NAMES, "str", "int", "float", "bool", "list", "dict"}
_WIDTH = 100
_MAX_LETTERS = 2_000
# What makes a comment mean something to a tool.
_DIRECTIVE = re.compile(r"(?<!#)(?<!# )#[# ]*+(?=\w+ *:|noqa|nosec|pragma|!)", re.IGNORECASE)
_TYPES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "object": "dict[str, Any]"}
_ITEMS = {
    "stringList": "list[str] | list[dict[str, Any]]",
    "requestList": "list[str] | list[dict[str, Any]]",
    "checkbox": "list[str]",
}


def write_input_type(worker_id: str, schema: InputSchema) -> str:
    """Return a module that defines the input of a worker as a ``TypedDict``."""
    members = members_of(schema)
    writer = _Writer(name=class_name(worker_id))
    if members:
        writer.write(writer.name, list(members.values()), schema.description)
        body = "\n\n".join(writer.classes)
    else:
        body = f"#: The worker's schema names no members that could be read.\n{writer.name} = dict[str, Any]\n"
    code = "\n".join(line for line in body.splitlines() if not line.lstrip().startswith("#"))
    words = [word for word in _NAMES if re.search(rf"\b{word}\b", code)]
    # The first two lines are not the schema's: a comment there can name the encoding of the file.
    heading = f'"""The input of the worker {re.sub(r"[^A-Za-z0-9_~/.-]", "_", worker_id)}."""'
    return f"{heading}\n\nfrom typing import {', '.join(words)}\n\n\n{body}"


def class_name(worker_id: str) -> str:
    """Return what the type is called: ``GoogleMapsScraperInput`` for ``coreclaw/google-maps-scraper``."""
    return f"{_camel(re.split('[/~]', worker_id)[-1]) or 'Worker'}Input"


def _camel(text: str) -> str:
    """Return *text* as a name in ASCII; empty when it cannot be one."""
    words = re.findall(r"[A-Za-z0-9]+", text)
    name = "".join(word[:1].upper() + word[1:] for word in words)
    return name if name.isidentifier() else ""


@attrs.define(kw_only=True)
class _Writer:
    """
    Writes the classes of one module.

    Attributes:
        name: The name of the input's class, with which those of its items begin.
        classes: The classes, those that others need before them.
    """

    name: str
    classes: list[str] = attrs.field(factory=list[str], init=False)
    _names: set[str] = attrs.field(factory=set[str], init=False)

    def write(self, name: str, members: Sequence[InputProperty], description: str = "") -> None:
        """Write one class, and before it those of the items that its members hold."""
        typed = [(member, self._type_of(member)) for member in members]
        if all(_is_plain(member.name) for member in members):
            lines = [f"class {name}(TypedDict):"]
            for member, kind in typed:
                lines += [*_comment(_told_of(member)), f"    {member.name}: {_wanted(member, kind)}"]
        else:
            lines = [f"{name} = TypedDict(", f'    "{name}",', "    {"]
            for member, kind in typed:
                lines += [
                    *(f"    {line}" for line in _comment(_told_of(member))),
                    f"        {_literal(member.name)}: {_wanted(member, kind)},",
                ]
            lines += ["    },", ")"]
        above = [line.strip() for line in _comment(description)]
        self.classes.append("\n".join([*above, *lines, ""]))

    def _type_of(self, prop: InputProperty) -> str:
        """Return the type of what type and editor allow, which is what a check of the input takes too."""
        kinds = kinds_of(prop)
        one = _union_of(choices_of(prop))
        if kinds is None:
            is_many = prop.editor == "checkbox" or prop.extra.get("multiple") is True
            return f"list[{one}] | {one}" if one and is_many else one or "Any"
        scalars = [_TYPES[kind] for kind in KINDS if kind in SCALARS & kinds]
        one = one or " | ".join(kind for kind in scalars if kind != "int" or "float" not in scalars)
        types = [self._array_type(prop, one)] if "array" in kinds else []
        types += [one] if scalars else []
        types += [_TYPES["object"]] if "object" in kinds else []
        return " | ".join(types)

    def _array_type(self, prop: InputProperty, one: str) -> str:
        parameters = parameters_of(prop)
        if parameters:
            return f"list[{self._item_type(prop, parameters)}]"
        if choices_of(prop) or (one and prop.extra.get("multiple") is True):
            return f"list[{one}]"
        return _ITEMS.get(prop.editor or "", "list[Any]")

    def _item_type(self, prop: InputProperty, parameters: Sequence[InputProperty]) -> str:
        name = f"{self.name}{_camel(prop.name)}Item"
        name = f"{name}{len(self.classes) + 1}" if name in self._names else name
        self._names.add(name)
        # Numbers in such items are often sent as strings, as the console does.
        self.write(name, [attrs.evolve(one, extra={"is_text_too": True}) for one in _first_of_each(parameters)])
        return name


def _first_of_each(members: Sequence[InputProperty]) -> list[InputProperty]:
    return list({one.name: one for one in reversed(members)}.values())[::-1]


def _wanted(prop: InputProperty, kind: str) -> str:
    if prop.extra.get("is_text_too") and kind in {"int", "float"}:
        kind = f"{kind} | str"
    return kind if prop.required else f"NotRequired[{kind}]"


def _is_plain(name: str) -> bool:
    """Return whether *name* can be a member of a class: private names change in one."""
    is_free = not keyword.iskeyword(name) and name not in _TYPE_NAMES and not name.startswith("__")
    return name.isascii() and name.isidentifier() and is_free


def _union_of(choices: Sequence[Scalar]) -> str:
    """Return the type of one of *choices*, or an empty string; a float cannot be a literal."""
    has_floats = any(isinstance(choice, float) for choice in choices)
    literals = [choice for choice in choices if not (has_floats and is_number(choice))]
    types = [f"Literal[{', '.join(dict.fromkeys(map(_literal, literals)))}]"] if literals else []
    return " | ".join([*types, *(["float"] if has_floats else [])])


def _literal(value: Scalar) -> str:
    """Return *value* as Python writes it, with characters that are not printable escaped."""
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    is_simple = isinstance(value, str) and text[1:-1] == value and '"' not in value
    return f'"{value}"' if is_simple else text


def _told_of(prop: InputProperty) -> str:
    parts = [prop.title or "", prop.description or ""]
    if prop.minimum is not None or prop.maximum is not None:
        parts.append(f"From {_bound(prop.minimum)} to {_bound(prop.maximum)}.")
    return " - ".join(filter(None, map(_printable, parts)))


def _bound(number: float | None) -> str:
    return "any" if number is None else f"{number:g}"


def _comment(text: str) -> Iterator[str]:
    for line in textwrap.wrap(_printable(text), _WIDTH - 7):
        yield f"    #: {line}"  # With a plain "# " a line could be a directive such as "type: ignore".


def _printable(text: str) -> str:
    """Return *text* in one line, without anything that ends a comment or hides what follows."""
    words = "".join(character if character.isprintable() else " " for character in text[:_MAX_LETTERS]).split()
    return _DIRECTIVE.sub(" ", " ".join(words)).strip()  # A space, as what stood around it could be a directive, too.
