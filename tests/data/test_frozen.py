"""Settings that a caller makes: they never change, and are equal when their members are."""

from __future__ import annotations

import copy
import inspect
import pickle
import sys
from typing import Any

import pytest

from coreclaw_async import PollSchedule, RetryPolicy
from coreclaw_async._wire.retry import full_jitter

SETTINGS = pytest.mark.parametrize(
    ("kind", "members"),
    [
        (RetryPolicy, {"max_attempts": 3, "max_delay": 2.0}),
        (PollSchedule, {"delays": (1.0, 5.0), "jitter": 0.0}),
    ],
)


@SETTINGS
def test_members_that_are_not_given_have_the_values_of_the_signature(kind: Any, members: dict[str, Any]) -> None:
    defaults = {name: one.default for name, one in inspect.signature(kind).parameters.items()}

    assert vars(kind()) == defaults
    assert vars(kind(**members)) == {**defaults, **members}


@SETTINGS
def test_members_cannot_be_changed_added_or_deleted(kind: Any, members: dict[str, Any]) -> None:
    made = kind(**members)

    for name in (*members, "other"):
        with pytest.raises(
            AttributeError, match=rf"^{name} cannot be changed: .* {kind.__name__}, as with replace\(\)$"
        ):
            setattr(made, name, 1.0)
        with pytest.raises(AttributeError, match=f"^{name} cannot be deleted$"):
            delattr(made, name)
    assert made == kind(**members)


@SETTINGS
def test_those_with_equal_members_are_equal(kind: Any, members: dict[str, Any]) -> None:
    assert kind(**members) == kind(**members) != kind()
    assert {kind(**members), kind(**members)} == {kind(**members)}
    assert kind() not in ({}, members, None)
    assert RetryPolicy() != PollSchedule()


@SETTINGS
def test_copies_and_what_was_pickled_are_equal(kind: Any, members: dict[str, Any]) -> None:
    made = kind(**members)

    assert copy.copy(made) == copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == made


@SETTINGS
def test_a_copy_with_other_members_is_checked_as_well(kind: Any, members: dict[str, Any]) -> None:
    assert kind().replace(**members) == kind(**members)
    assert kind(**members).replace() == kind(**members)
    if sys.version_info >= (3, 13):
        assert copy.replace(kind(), **members) == kind(**members)
    for name in members:
        with pytest.raises((TypeError, ValueError), match=f"^{name} must"):
            kind().replace(**{name: "many"})
    with pytest.raises(TypeError, match="other"):
        kind().replace(other=1)


def test_the_repr_names_the_members_but_no_function() -> None:
    assert repr(PollSchedule()) == (
        "PollSchedule(delays=(2.0, 5.0, 10.0, 15.0), jitter=0.1, abort_grace=60.0, not_found_grace=60.0)"
    )
    assert repr(RetryPolicy(jitter=full_jitter, max_attempts=2)).startswith("RetryPolicy(max_attempts=2, max_elapsed=")
    assert "jitter" not in repr(RetryPolicy())


@SETTINGS
def test_one_that_was_never_made_can_be_shown(kind: Any, members: dict[str, Any]) -> None:
    assert repr(kind.__new__(kind)) == f"{kind.__name__}()"
    assert repr(kind(**members)) != f"{kind.__name__}()"
