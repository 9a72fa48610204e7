"""Models are frozen plain data that hide secrets in their reprs."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coreclaw_async import events, models
from coreclaw_async.models import Export, LastRun, Page, ResultPage, Run, RunLog, StartedRun, Task, TaskInput
from coreclaw_async.models.fields import without_query

MODELS = [
    kind for kind in (getattr(models, name) for name in models.__all__) if inspect.isclass(kind) and attrs.has(kind)
]
EVENTS = [kind for kind in vars(events).values() if inspect.isclass(kind) and kind.__module__ == events.__name__]
SIGNED = "https://cos.example/run/rows.csv?q-signature=SECRET&q-key=SECRET"


def made(kind: Any) -> Any:
    """Return an instance of *kind* with a value for each member that has no default."""
    values = {"operation": "op", "run_id": "R", "method": "GET", "path": "/p", "error": "E", "run": Run(run_id="R")}
    return kind(
        **{field.name: values.get(field.name, 1) for field in attrs.fields(kind) if field.default is attrs.NOTHING}
    )


@pytest.mark.parametrize("kind", [*MODELS, *EVENTS], ids=lambda kind: kind.__name__)
def test_members_cannot_be_changed_or_added(kind: Any) -> None:
    thing = made(kind)

    for name in (attrs.fields(kind)[0].name, "anything"):
        with pytest.raises((attrs.exceptions.FrozenInstanceError, AttributeError)):
            setattr(thing, name, "new")
    assert not hasattr(thing, "__dict__")


@pytest.mark.parametrize("kind", [*MODELS, *EVENTS], ids=lambda kind: kind.__name__)
def test_copies_and_pickles_are_equal(kind: Any) -> None:
    thing = made(kind)
    if hasattr(thing, "extra"):
        thing = attrs.evolve(thing, extra={"new": [1]})

    assert pickle.loads(pickle.dumps(thing)) == copy.copy(thing) == copy.deepcopy(thing) == thing
    assert hash(pickle.loads(pickle.dumps(thing))) == hash(thing)


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
def test_members_are_given_by_name_only(kind: Any) -> None:
    if kind is not LastRun:
        with pytest.raises(TypeError, match="positional"):
            kind("a")


@pytest.mark.parametrize("kind", [kind for kind in MODELS if "extra" in attrs.fields_dict(kind)])
def test_unknown_members_are_not_shared_not_shown_and_do_not_stop_hashing(kind: Any) -> None:
    one, other = made(kind), made(kind)
    one.extra["new"] = ["SECRET"]

    assert other.extra == {}
    assert one != other
    assert "SECRET" not in repr(one)
    assert hash(one) == hash(other)


@pytest.mark.parametrize(
    "thing",
    [
        Task(input={"cookie": "SECRET"}),
        TaskInput(input={"cookie": "SECRET"}),
        Export(download_url=SIGNED),
        RunLog(all_logs_url=SIGNED),
        Export(download_url="https://user:SECRET@cos.example/rows.csv"),
        Export(download_url="https://cos.example/rows.csv#SECRET"),
    ],
    ids=repr,
)
def test_repr_hides_what_could_be_used(thing: Any) -> None:
    assert "SECRET" not in repr(thing)
    assert "SECRET" not in f"{thing}{[thing]}"


def test_repr_shows_where_a_signed_url_leads_and_that_something_is_hidden() -> None:
    assert repr(Export(download_url=SIGNED)) == "Export(download_url='https://cos.example/run/rows.csv?<hidden>')"
    assert without_query("https://cos.example/rows.csv") == "'https://cos.example/rows.csv'"
    assert (without_query(None), without_query("")) == ("None", "''")
    assert "input" not in repr(TaskInput())
    assert "input=<hidden>" in repr(TaskInput(input={}))


@given(st.text() | st.text(st.sampled_from("ht:/[]@?#%.8a")))
@example("http://[")
@example("https://[bad]/")
@example("relative/path")
def test_repr_of_any_url_hides_its_query(url: str) -> None:
    assert "SECRET" not in repr(Export(download_url=f"{url}?q-signature=SECRET"))


def test_page_is_as_long_as_its_items() -> None:
    assert len(Page(items=("a", "b"))) == 2
    assert len(Page[str]()) == 0
    assert (Page[str]().offset, Page[str]().limit) == (0, 20)


def test_page_of_rows_is_a_page_with_columns() -> None:
    page = ResultPage(items=({"a": 1},), count=1)

    assert isinstance(page, Page)
    assert page.headers == ()


def test_started_run_needs_an_id() -> None:
    with pytest.raises(TypeError, match="run_id"):
        StartedRun()  # type: ignore[call-arg]


def test_last_run_is_of_the_account_or_of_one_worker() -> None:
    assert LastRun() == LastRun(None) != LastRun("owner/name")
    assert LastRun("owner/name") == LastRun(worker_id="owner/name")


def test_names_that_the_package_offers_are_complete_and_sorted() -> None:
    offered = {name: getattr(models, name) for name in dir(models)}
    starred: dict[str, object] = {}
    exec("from coreclaw_async.models import *", starred)

    assert models.__all__ == sorted(models.__all__) == dir(models)
    assert {name: starred[name] for name in models.__all__} == offered
    with pytest.raises(AttributeError, match="has no attribute 'Runs'"):
        models.Runs  # type: ignore[attr-defined]  # noqa: B018 - it is looked up


def test_repr_of_a_url_with_line_breaks_is_one_line() -> None:
    assert repr(Export(download_url="https://cos.example/a\x1e")) == r"Export(download_url='https://cos.example/a\x1e')"
    assert repr(Export(download_url="SECRET")) == "Export(download_url=<hidden>)"
