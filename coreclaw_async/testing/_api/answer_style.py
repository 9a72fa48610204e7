"""How answers write lists and the paths of Workers, on which the descriptions of the service disagree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coreclaw_async.testing._state.switches import Switches


def shown_list(items: list[Any], switches: Switches) -> list[Any] | None:
    """Return *items* as answers show them."""
    return None if not items and switches.null_lists else items


def shown_path(path: str, switches: Switches) -> str:
    """Return a Worker's path as answers write it."""
    return path if switches.worker_path_style == "slash" else path.replace("/", "~")
