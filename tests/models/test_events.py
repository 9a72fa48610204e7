"""Events are typed plain data, and the hook's type names all of them."""

from __future__ import annotations

import inspect
from typing import get_args

import attrs
import pytest

from coreclaw_async import events
from coreclaw_async.events import Event, PageRead, RequestSent, RunChanged, RunStarted, StartUnknown
from coreclaw_async.models import Run


def test_hook_is_given_every_event_there_is() -> None:
    defined = {kind for kind in vars(events).values() if inspect.isclass(kind) and kind.__module__ == events.__name__}

    assert set(get_args(Event)) == defined
    assert all(attrs.has(kind) for kind in defined)


def test_members_that_an_answer_brings_are_none_without_one() -> None:
    sent = RequestSent(operation="getAccount", method="GET", path="/api/v2/users/account", attempt=1, elapsed=0.1)

    assert (sent.status_code, sent.code, sent.request_id, sent.error) == (None, None, None, None)
    assert PageRead(operation="listStore", offset=0, items=3).count is None
    assert RunChanged(run=Run()).previous is None
    assert StartUnknown(operation="runWorker", candidates=None).run_id is None


def test_members_are_given_by_name_only() -> None:
    with pytest.raises(TypeError, match="positional"):
        RunStarted("runWorker", "R")  # type: ignore[call-arg]
