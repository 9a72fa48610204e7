"""The tree of errors is the one in the docstring; every error is plain data and one line of text."""

from __future__ import annotations

import concurrent.futures
import copy
import inspect
import multiprocessing
import pickle
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coreclaw_async import errors
from coreclaw_async.errors import (
    BatchAbortError,
    BatchConflictError,
    BatchIncompleteError,
    BatchStoppedError,
    ColumnConflictError,
    CoreClawError,
    OutcomeUnknownError,
    PaginationError,
    RunAbortedError,
    RunFailedError,
    WaitTimeoutError,
)
from coreclaw_async.models import Run

ERRORS = [
    kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, CoreClawError) and not name.startswith("_")
]
DRAWN = re.compile(r"^ +(?P<branch>[│├└─ ]*)(?P<name>\w+Error)(?: +(?P<note>.+))?$", re.MULTILINE)
TEXT = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12)
ARGUMENTS: dict[str, st.SearchStrategy[Any]] = {
    "balance": st.decimals(0, 9),
    "bytes_received": st.integers(0),
    "cancelled": st.integers(0),
    "candidates": st.lists(TEXT),
    "code": st.integers(),
    "collected": st.integers(0),
    "columns": st.lists(TEXT),
    "confirmed": st.booleans(),
    "counts": st.dictionaries(TEXT, st.integers(0)),
    "details": st.lists(TEXT) | st.dictionaries(TEXT, TEXT) | TEXT,
    "expected": st.integers(0),
    "given": TEXT,
    "items": st.lists(st.dictionaries(TEXT, TEXT)),
    "key": TEXT,
    "keys": st.lists(TEXT),
    "left": st.integers(0),
    "log": st.lists(TEXT),
    "may_have_taken_effect": st.booleans(),
    "not_aborted": st.lists(TEXT),
    "pending": st.lists(TEXT),
    "planned": TEXT,
    "reason": TEXT,
    "reasons": st.lists(TEXT),
    "request_id": TEXT,
    "retry_after": st.floats(0, 1e6),
    "run": st.builds(Run, run_id=TEXT),
    "run_id": TEXT,
    "spent": st.decimals(0, 1000),
    "status_code": st.integers(100, 599),
}

NEEDED: dict[type[CoreClawError], dict[str, Any]] = {
    BatchAbortError: {"cancelled": 1, "not_aborted": ["r"], "keys": ["k"], "reasons": ["w"]},
    BatchConflictError: {"key": "k", "planned": "a", "given": "b"},
    BatchIncompleteError: {"counts": {"planned": 1}, "reasons": {"k": "why"}},
    BatchStoppedError: {"reason": "balance", "left": 1, "spent": Decimal(2)},
    ColumnConflictError: {"columns": ["c"]},
}


def facts_of(kind: type[CoreClawError]) -> st.SearchStrategy[dict[str, Any]]:
    """Return the arguments that *kind* takes beside its message."""
    takes = inspect.signature(CoreClawError if kind is OutcomeUnknownError else kind).parameters.values()
    named = [parameter for parameter in takes if parameter.kind is parameter.KEYWORD_ONLY]
    arguments = {parameter.name: ARGUMENTS[parameter.name] for parameter in named}
    if issubclass(kind, BatchIncompleteError):
        arguments["reasons"] = st.dictionaries(TEXT, TEXT)
    optional = {parameter.name for parameter in named if parameter.default is not parameter.empty}
    return st.fixed_dictionaries(
        {name: values for name, values in arguments.items() if name not in optional},
        optional={name: arguments[name] for name in optional},
    )


def any_error() -> st.SearchStrategy[CoreClawError]:
    return st.sampled_from(ERRORS).flatmap(
        lambda kind: st.tuples(TEXT, facts_of(kind)).map(lambda pair: kind(pair[0], **pair[1]))
    )


def drawn_tree() -> dict[str, tuple[str | None, str]]:
    """Return each drawn error with the one above it and the note beside it."""
    above: list[str] = []
    tree: dict[str, tuple[str | None, str]] = {}
    for line in DRAWN.finditer(errors.__doc__ or ""):
        depth = len(line["branch"]) // 4
        del above[depth:]
        tree[line["name"]] = (above[-1] if above else None, line["note"] or "")
        above.append(line["name"])
    return tree


def parent_of(kind: type[CoreClawError]) -> str | None:
    """Return the nearest public error above *kind*."""
    above = (base for base in kind.__mro__[1:] if issubclass(base, CoreClawError) and not base.__name__.startswith("_"))
    return next((base.__name__ for base in above), None)


def test_drawn_tree_is_the_tree_of_the_classes() -> None:
    drawn = drawn_tree()

    assert {name: parent for name, (parent, _) in drawn.items()} == {kind.__name__: parent_of(kind) for kind in ERRORS}
    assert len(drawn) > 20


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_drawn_builtin_base_is_a_base_of_the_class_and_of_no_other(kind: type[CoreClawError]) -> None:
    also = re.findall(r"also a (\w+Error)", drawn_tree()[kind.__name__][1])

    assert {base.__name__ for base in (ValueError, TimeoutError, TypeError) if base in kind.__mro__} == set(also)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_drawn_codes_are_those_of_the_docstring(kind: type[CoreClawError]) -> None:
    drawn = re.findall(r"\b\d{5}\b", drawn_tree()[kind.__name__][1])

    assert set(drawn) == set(re.findall(r"\b\d{5}\b", inspect.getdoc(kind) or ""))


@settings(max_examples=50)
@given(any_error())
def test_pickles_and_copies_have_all_attributes(error: CoreClawError) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert vars(twin) == vars(error)
        assert str(twin) == str(error)


@pytest.mark.parametrize(
    "kind",
    ERRORS,
    ids=lambda kind: kind.__name__,
)
def test_pickles_have_the_arguments_and_the_repr(kind: type[CoreClawError]) -> None:
    error = kind("it happened", **NEEDED.get(kind, {"run_id": "R"}))
    twin = pickle.loads(pickle.dumps(error))

    assert (twin.args, repr(twin)) == (error.args, repr(error)) == (("it happened",), f"{kind.__name__}('it happened')")


@pytest.mark.endurance
def test_error_crosses_to_another_process_and_back() -> None:
    error = RunFailedError("it failed", run_id="R", run=Run(run_id="R", status="failed"), log=["a", "b"])
    error.add_note("seen in batch 7")
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        twin = pool.submit(copy.copy, error).result(timeout=60)

    assert type(twin) is RunFailedError
    assert vars(twin) == vars(error)
    assert (twin.log, twin.__notes__) == (("a", "b"), ["seen in batch 7"])


@settings(max_examples=50)
@given(any_error())
def test_text_is_one_line_with_message_and_ids_and_without_details(error: CoreClawError) -> None:
    error.details = "SECRET"
    text = str(error)

    assert text.isprintable()
    assert text.startswith(error.message)
    assert "SECRET" not in text + repr(error)
    for value in (error.status_code, error.code, error.request_id, error.run_id, *(error.candidates or ())):
        assert value is None or str(value) in text


def test_text_names_each_fact() -> None:
    error = OutcomeUnknownError(
        "it may have worked", status_code=502, code=10000, request_id="req", run_id="A", candidates=["A", "B"]
    )

    assert str(error) == "it may have worked (HTTP 502; code 10000; request_id req; run_id A; candidates A, B)"
    assert str(CoreClawError("it happened", candidates=[])) == "it happened"
    assert repr(error) == "OutcomeUnknownError('it may have worked')"


def test_a_run_that_the_message_names_is_not_named_again() -> None:
    assert str(CoreClawError("run A has not ended", run_id="A", code=1)) == "run A has not ended (code 1)"
    assert str(CoreClawError("run A-2 has not ended", run_id="A")) == "run A-2 has not ended (run_id A)"
    assert str(CoreClawError("run A.B has not ended", run_id="A.B")) == "run A.B has not ended"


def test_candidates_are_a_tuple_and_none_differs_from_empty() -> None:
    assert CoreClawError("x", candidates=["A"]).candidates == ("A",)
    assert CoreClawError("x", candidates=[]).candidates == ()
    assert CoreClawError("x").candidates is None


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_only_an_unknown_outcome_may_have_taken_effect_by_itself(kind: type[CoreClawError]) -> None:
    error = kind("it happened", **NEEDED.get(kind, {"run_id": "R"}))

    assert error.may_have_taken_effect is (kind is OutcomeUnknownError)
    assert OutcomeUnknownError("x", may_have_taken_effect=False).may_have_taken_effect


def test_errors_of_a_run_hold_its_state() -> None:
    run = Run(run_id="R")

    assert WaitTimeoutError("late", run_id="R", run=run).run is run
    assert RunFailedError("failed", run_id="R").log == ()
    assert RunAbortedError("aborted", run_id="R").confirmed
    assert not RunAbortedError("aborting", run_id="R", confirmed=False).confirmed
    assert WaitTimeoutError("late", run_id="R").run is None


def test_errors_of_paging_say_how_far_it_came() -> None:
    error = PaginationError("moved", collected=5, expected=9, run_id="R")

    assert (error.collected, error.expected, error.run_id) == (5, 9, "R")
    assert (PaginationError("moved").collected, PaginationError("moved").expected) == (0, None)
