"""Workers: how lists and details show them, and the schema of their input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from coreclaw_async._data.record import Model
from coreclaw_async.models.fields import extra_field


@attrs.frozen(kw_only=True, repr=False)
class WorkerSummary(Model):
    """
    A worker as the store and the list of own workers show it.

    Attributes:
        worker_id: Its id; the wire calls it ``slug``.
        name: The part behind the owner in its path.
        path: ``owner/name`` or ``owner~name``; both are accepted wherever a worker is named.
        title: Its name for people.
        username: Its owner.
        description: What it does.
        extra: Members that this version does not know, or cannot read, as they came, under their wire names.

    Example::

        async for worker in client.store.iterate():
            print(worker.worker_id, worker.path, worker.description)
    """

    worker_id: str = ""
    name: str = ""
    path: str | None = None
    title: str = ""
    username: str | None = None
    description: str = ""
    extra: dict[str, Any] = extra_field()


@attrs.frozen(kw_only=True, repr=False)
class Worker(Model):
    """
    A worker as ``GET /api/v2/workers/{workerId}`` reports it.

    Attributes:
        name: The part behind the owner in its path.
        username: Its owner.
        version: The current version, for example ``v1.2.3``.
        readme: Its manual, Markdown.
        parameters: ``system`` (an object of defaults) and ``custom`` (like a schema), as they came.
        extra: Members that this version does not know, or cannot read, as they came, under their wire names.

    Example::

        worker = await client.workers.get("coreclaw/google-maps-scraper")
        print(worker.username, worker.name, worker.version)
    """

    name: str = ""
    username: str | None = None
    version: str | None = None
    readme: str = ""
    parameters: Mapping[str, Any] = attrs.field(factory=dict[str, Any], hash=False)
    extra: dict[str, Any] = extra_field()


@attrs.frozen(kw_only=True, repr=False)
class InputProperty(Model):
    """
    One property of a worker's input.

    Attributes:
        name: Its key in the input, case-sensitive.
        type: ``string``, ``integer``, ``number``, ``boolean``, ``array``, ``object``; may be None or a new one.
        editor: How the console edits it; may be None or a new one.
        title: Its name for people.
        description: What it means.
        required: Whether it must be filled; anything but true counts as no, as on the platform.
        default: What the console fills in; whether the service does so for API calls is not documented.
        options: The allowed values, as they came.
        minimum: Smallest number, or None.
        maximum: Largest number, or None.
        extra: All other members, under their wire names.

    Example::

        schema = await client.workers.get_input_schema("coreclaw/google-maps-scraper")
        for member in schema.properties:
            print(member.name, member.type, member.required, member.default)
    """

    name: str = ""
    type: str | None = None
    editor: str | None = None
    title: str | None = None
    description: str | None = None
    required: bool = False
    default: Any = attrs.field(default=None, hash=False)
    options: Sequence[Any] = attrs.field(default=(), hash=False)
    minimum: float | None = None
    maximum: float | None = None
    extra: dict[str, Any] = extra_field()


@attrs.frozen(kw_only=True, repr=False)
class InputSchema(Model):
    """
    The schema of a worker's input, both published shapes read into one.

    Attributes:
        description: Text for people.
        properties: The properties in the schema's order; empty when the shape is unknown.
        concurrency: How an input is split into tasks, as it came; empty when it is not.
        raw: The whole schema as it came.

    Example::

        schema = await client.workers.get_input_schema("coreclaw/google-maps-scraper")
        defaults = {member.name: member.default for member in schema.properties if member.default is not None}
    """

    description: str = ""
    properties: Sequence[InputProperty] = attrs.field(default=(), hash=False)
    concurrency: Mapping[str, Any] = attrs.field(factory=dict[str, Any], hash=False)
    raw: Mapping[str, Any] = attrs.field(factory=dict[str, Any], hash=False, repr=False)
