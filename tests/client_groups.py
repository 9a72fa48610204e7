"""The groups of endpoints that a client has."""

from __future__ import annotations

from coreclaw_async import AsyncCoreClaw
from coreclaw_async._operations.lazy_group import LazyGroup

GROUPS = [name for name, member in vars(AsyncCoreClaw).items() if isinstance(member, LazyGroup)]
