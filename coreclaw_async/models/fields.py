"""Field definitions that several models share: unknown members, and values that a repr must not show."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import attrs


def extra_field() -> dict[str, Any]:
    """Return the field that keeps members this version does not know, under their wire names."""
    field: dict[str, Any] = attrs.field(factory=dict[str, Any], hash=False, repr=False)
    return field


def masked(value: object) -> str:
    """Return what a repr shows of a value that may hold credentials."""
    return "None" if value is None else "<hidden>"


def without_query(url: str | None) -> str:
    """Return what a repr shows of a signed URL: all but the query, which is as good as a password."""
    if not url:
        return repr(url)
    try:
        parts = urlsplit(url)
    except ValueError:
        return "<hidden>"
    if not parts.hostname:
        return "<hidden>"
    return repr(f"{parts.scheme}://{parts.hostname}{parts.path}{'?<hidden>' if parts.query else ''}")
