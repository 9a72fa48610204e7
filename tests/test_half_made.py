"""Objects whose making has failed: a traceback with local variables shows them, so their repr must not raise."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import coreclaw_async
from coreclaw_async import AsyncCoreClaw, CallbackHub, CoreClaw, CoreClawError, PollSchedule, RunSpec, events, testing
from coreclaw_async._data.record import Record
from coreclaw_async._wire.credentials import Credentials
from coreclaw_async.testing import FakeClock, FakeService


def kinds() -> Iterator[type]:
    """Yield the public classes that say themselves how they are shown, or make themselves."""
    for module in (coreclaw_async, events, testing):
        for name in module.__all__ if hasattr(module, "__all__") else vars(module):
            kind = getattr(module, name)
            if isinstance(kind, type) and kind.__module__.startswith("coreclaw_async"):
                has_own_repr = "__repr__" in vars(kind) and not hasattr(kind, "__attrs_attrs__")
                if has_own_repr or (issubclass(kind, Record | CoreClawError) and hasattr(kind, "__init__")):
                    yield kind
    yield from (Credentials, FakeClock, FakeService)


KINDS = sorted({kind for kind in kinds() if kind is not Record}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_object_without_its_members_can_be_shown(kind: Any) -> None:
    assert kind.__name__.removeprefix("Async") in repr(kind.__new__(kind))
    if issubclass(kind, CoreClawError):
        assert str(kind.__new__(kind)) == ""


def test_there_are_such_classes() -> None:
    assert {AsyncCoreClaw, CoreClaw, CallbackHub, RunSpec, coreclaw_async.Run} < set(KINDS)
    assert len(KINDS) > 70


MISTAKES: dict[str, Callable[[], Any]] = {
    "a client": lambda: AsyncCoreClaw("key", timeout=-1),
    "a client without a key": lambda: AsyncCoreClaw("two\nlines"),
    "a blocking client": lambda: CoreClaw("key", max_connections=0),
    "a key that cannot be encoded": lambda: AsyncCoreClaw("key\ud800"),
    "a hub": lambda: CallbackHub("nowhere"),
    "a batch": lambda: AsyncCoreClaw("key").batch("", ledger="memory"),
    "a batch with a wrong patience": lambda: AsyncCoreClaw("key").batch("b", ledger="memory", patience=-1),
    "a blocking batch": lambda: CoreClaw("key").batch("b", ledger="memory", patience=-1),
    "a schedule": lambda: PollSchedule(delays=5),  # type: ignore[arg-type]
    "a service": lambda: FakeService(balance="much"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_a_mistake_leaves_behind_can_be_shown(name: str) -> None:
    with pytest.raises(Exception) as caught:
        MISTAKES[name]()

    shown = [
        repr(value)
        for frame, _ in traceback.walk_tb(caught.value.__traceback__)
        for value in inspect.getargvalues(frame).locals.values()
    ]
    assert shown
