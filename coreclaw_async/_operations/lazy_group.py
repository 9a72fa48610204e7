"""LazyGroup: a group of endpoints whose module is loaded when a program first uses it."""

from __future__ import annotations

import importlib
import os
import threading
from typing import Any

# A child that is forked while another thread loads a module waits for ever when it needs that module itself.
_loading = threading.RLock()
if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no forks
    os.register_at_fork(before=_loading.acquire, after_in_parent=_loading.release, after_in_child=_loading.release)


class LazyGroup:
    """
    An attribute of a client class: the group of a client, or for the class itself the class of the group.

    A program that reads runs then never loads what only tasks need. The class is shown as that of the group because
    `create_autospec` looks there, and this object as a group, because ``patch.object(..., autospec=True)`` looks here.
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

    def _load(self) -> Any:
        with _loading:
            return getattr(importlib.import_module(f"coreclaw_async._resources.{self._name}"), self._kind)

    def __dir__(self) -> list[str]:
        return dir(self._load())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # Nothing is loaded for those who only ask what this is.
            raise AttributeError(name)
        return getattr(object.__new__(self._load()), name)

    def __get__(self, client: Any, owner: type | None = None) -> Any:
        kind = self._load()
        if client is None:
            return kind
        # Found there from now on. Two threads that come at once get the same one.
        return client.__dict__.setdefault(self._name, kind(client._context, *self._more))  # noqa: SLF001 - of its client
