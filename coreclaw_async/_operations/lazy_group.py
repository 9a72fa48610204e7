"""LazyGroup: a group of endpoints whose module is loaded when a program first uses it."""

from __future__ import annotations

import importlib
from typing import Any


class LazyGroup:
    """
    An attribute of a client class: the group of a client, or for the class itself the class of the group.

    A program that reads runs then never loads what only tasks need. The class is shown as that of the group because
    `create_autospec` looks there.
    """

    def __init__(self, kind: str, *more: Any) -> None:
        """
        Name a group that is not loaded yet; its module in ``_resources`` has the name of the attribute.

        Args:
            kind: The name of its class.
            more: What that takes after the client's context.
        """
        self._kind = kind
        self._more = more

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, client: Any, owner: type | None = None) -> Any:
        kind = getattr(importlib.import_module(f"coreclaw_async._resources.{self._name}"), self._kind)
        if client is None:
            return kind
        # Found there from now on. Two threads that come at once get the same one.
        return client.__dict__.setdefault(self._name, kind(client._context, *self._more))  # noqa: SLF001 - of its client
