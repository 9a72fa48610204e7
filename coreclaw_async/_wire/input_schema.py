"""The input schema of a worker: both published shapes become one."""

from __future__ import annotations

from typing import Any

from coreclaw_async._wire.converter import read_models, read_object
from coreclaw_async._wire.json_types import as_array, as_object
from coreclaw_async._wire.response import Answer
from coreclaw_async.models import InputProperty, InputSchema


def read_input_schema(answer: Answer) -> InputSchema:
    """
    Return the schema in *answer*.

    Workers upload a list of property descriptors (docs, developer-guide/worker-definition/input-schema); the API's own
    example shows a map in the manner of JSON Schema. Any other shape yields no properties and stays in ``raw``.

    Raises:
        InvalidResponseError: There is no data, or it is no object.
    """
    data = read_object(answer)
    # The official playground accepts the data itself as the schema, too.
    schema = as_object(data.get("input_schema", data))
    if not schema:
        return InputSchema(raw=data)
    description = schema.get("description")
    return InputSchema(
        description=description if isinstance(description, str) else "",
        properties=read_models(answer, InputProperty, _descriptors(schema)),
        concurrency=as_object(schema.get("concurrency")),
        raw=schema,
    )


def _descriptors(schema: dict[str, Any]) -> list[dict[str, Any]]:
    properties = schema.get("properties")
    if isinstance(properties, list):
        return [_readable(entry) for entry in as_array(properties) if isinstance(entry, dict)]
    names = {name for name in as_array(schema.get("required")) if isinstance(name, str)}
    return [
        {**_readable(entry), "name": name, "required": name in names or as_object(entry).get("required") is True}
        for name, entry in as_object(properties).items()
    ]


def _readable(entry: Any) -> dict[str, Any]:
    """Return *entry* with a single type: JSON Schema allows a list of them, of which ``null`` is dropped."""
    members = as_object(entry)
    if not isinstance(members.get("type"), list):
        return members
    kinds = [kind for kind in as_array(members["type"]) if kind != "null"]
    return {**members, "type": kinds[0] if len(kinds) == 1 else None}
