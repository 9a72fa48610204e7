"""Any list against a model of the service: nothing lost or doubled without an error, no error without a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from paging.list_model import DIALECTS, Dialect, Item, ModelList, pager_of, read

from coreclaw_async import PaginationError

pytestmark = pytest.mark.endurance

_SETTINGS = settings(max_examples=150)


@attrs.frozen
class Edit:
    """
    One change of the list.

    Attributes:
        when: Before which request, from 0.
        where: Place from the front, as a share of the list from 0 to 1.
        added: Items inserted there.
        removed: Items removed from there on.
    """

    when: int
    where: float
    added: int = 0
    removed: int = 0


@attrs.define
class World:
    """A list that is edited while it is read, with all that ever was in it."""

    items: list[Item]
    is_named: Callable[[int], bool]
    ever: list[Item] = attrs.field(init=False)
    gone: set[int] = attrs.field(factory=set[int], init=False)

    def __attrs_post_init__(self) -> None:
        self.ever = list(self.items)

    def edit(self, model: ModelList, edit: Edit) -> None:
        """Change the list."""
        place = round(edit.where * len(model.items))
        self.gone.update(item["n"] for item in model.items[place : place + edit.removed])
        new = [make_item(len(self.ever) + extra, self.is_named) for extra in range(edit.added)]
        self.ever += new
        model.items[place : place + edit.removed] = new


def make_item(number: int, is_named: Callable[[int], bool]) -> Item:
    return {"id": f"i{number}", "n": number} if is_named(number) else {"n": number}


_WHICH_ARE_NAMED: list[Callable[[int], bool]] = [
    lambda number: True,
    lambda number: False,
    lambda number: number % 7 != 3,
    lambda number: number % 3 == 0,
]
NAMED = st.sampled_from(_WHICH_ARE_NAMED)
EDITS = st.lists(
    st.builds(
        Edit,
        when=st.integers(0, 12),
        where=st.sampled_from([0.0, 0.0, 0.3, 0.5, 0.9, 1.0, 1.0]),
        added=st.sampled_from([0, 1, 2, 7, 30]),
        removed=st.sampled_from([0, 0, 1, 5]),
    ),
    max_size=4,
)
REMOVALS = st.lists(
    st.builds(Edit, when=st.integers(0, 12), where=st.floats(0, 1), removed=st.integers(1, 9)), min_size=1, max_size=3
)
GROWTH = st.lists(
    st.builds(Edit, when=st.integers(0, 12), where=st.sampled_from([0.0, 1.0]), added=st.integers(1, 25)), max_size=4
)


def world(
    count: int, is_named: Callable[[int], bool], edits: Sequence[Edit], **model: Any
) -> tuple[World, ModelList, set[int]]:
    """Return a list, the service that shows it, and the numbers of the items that are in it from begin to end."""
    made = World([make_item(number, is_named) for number in range(count)], is_named)

    def change(at: int) -> Callable[[ModelList], None]:
        def now(shown: ModelList) -> None:
            for edit in edits:
                if edit.when == at:
                    made.edit(shown, edit)

        return now

    shown = ModelList(list(made.items), changes={edit.when: change(edit.when) for edit in edits}, **model)
    return made, shown, set(range(count))


def doubles(items: Sequence[Item], *, named_alone: bool) -> set[int]:
    times = Counter(item["n"] for item in items if "id" in item or not named_alone)
    return {number for number, found in times.items() if found > 1}


def read_on(backend: str, model: ModelList, **options: Any) -> tuple[list[Item], PaginationError | None]:
    """Return the items of the list, and the error that its pager ends with."""
    return anyio.run(read, pager_of(model, **options), backend=backend)


def pages_of(items: int, page_size: int) -> int:
    size = page_size if page_size >= 3 else 10
    return items // size + 1


@given(
    dialect=st.sampled_from(DIALECTS),
    echo=st.booleans(),
    repeats_last=st.booleans(),
    cap=st.sampled_from([None, None, 4, 11]),
    count=st.integers(0, 130),
    page_size=st.integers(1, 25),
    prefetch=st.sampled_from([0, 1, 8]),
    expects_count=st.booleans(),
    is_named=NAMED,
)
@_SETTINGS
def test_list_that_stays_is_read_whole_in_few_requests(
    dialect: Dialect,
    echo: bool,
    repeats_last: bool,
    cap: int | None,
    count: int,
    page_size: int,
    prefetch: int,
    expects_count: bool,
    is_named: Callable[[int], bool],
    anyio_backend: str,
) -> None:
    made, model, _ = world(count, is_named, (), dialect=dialect, echo=echo, cap=cap, repeats_last=repeats_last)

    items, error = read_on(anyio_backend, model, page_size=page_size, prefetch=prefetch, expects_count=expects_count)

    assert error is None
    assert items == made.items
    size = min(page_size if page_size >= 3 else 10, cap or 100)
    assert len(model.requests) <= count // size + 1 + 4


@given(
    dialect=st.sampled_from(DIALECTS),
    echo=st.booleans(),
    out_of_order=st.booleans(),
    count=st.integers(0, 130),
    page_size=st.integers(3, 25),
    prefetch=st.sampled_from([0, 1, 8]),
    expects_count=st.booleans(),
    is_named=NAMED,
    edits=EDITS,
)
@example(
    # A row without identity changed between page 1 and the answer to offset=2.
    dialect="row",
    echo=False,
    out_of_order=False,
    count=130,
    page_size=25,
    prefetch=1,
    expects_count=False,
    is_named=lambda number: False,
    edits=[Edit(when=1, where=0.1, added=1, removed=1)],
)
@_SETTINGS
def test_list_that_changes_is_read_without_doubles_and_never_short_where_that_shows(
    dialect: Dialect,
    echo: bool,
    out_of_order: bool,
    count: int,
    page_size: int,
    prefetch: int,
    expects_count: bool,
    is_named: Callable[[int], bool],
    edits: list[Edit],
    anyio_backend: str,
) -> None:
    made, model, there = world(count, is_named, edits, dialect=dialect, echo=echo, out_of_order=out_of_order)

    items, error = read_on(anyio_backend, model, page_size=page_size, prefetch=prefetch, expects_count=expects_count)

    named = Counter(item["id"] for item in items if "id" in item)
    assert all(times == 1 for times in named.values())
    assert {item["n"] for item in items} <= {item["n"] for item in made.ever}
    assert len(model.requests) <= 4 * (pages_of(len(made.ever), page_size) + 6) + 6
    if error is None and not any(edit.removed for edit in edits):
        assert {item["n"] for item in items} >= there
        assert len(items) >= count
    if not edits:
        assert error is None


@given(
    dialect=st.sampled_from(DIALECTS),
    echo=st.booleans(),
    out_of_order=st.booleans(),
    count=st.integers(0, 130),
    page_size=st.integers(5, 25),
    prefetch=st.sampled_from([0, 1, 8]),
    expects_count=st.booleans(),
    edits=GROWTH,
)
@_SETTINGS
def test_honest_list_that_grows_is_never_an_error(
    dialect: Dialect,
    echo: bool,
    out_of_order: bool,
    count: int,
    page_size: int,
    prefetch: int,
    expects_count: bool,
    edits: list[Edit],
    anyio_backend: str,
) -> None:
    edits = [edit for edit in edits if edit.where == 1.0]
    made, model, there = world(count, lambda _: True, edits, dialect=dialect, echo=echo, out_of_order=out_of_order)

    items, error = read_on(anyio_backend, model, page_size=page_size, prefetch=prefetch, expects_count=expects_count)

    assert error is None
    assert {item["n"] for item in items} >= there
    assert len({item["n"] for item in items}) == len(items)
    assert len(model.requests) <= pages_of(len(made.ever), page_size) + len(edits) + 6


WRONG_COUNTS: dict[str, Callable[[ModelList, Sequence[Item]], int | None]] = {
    "one more": lambda model, page: len(model.items) + 1,
    "many more": lambda model, page: 3 * len(model.items) + 40,
    "one less": lambda model, page: max(0, len(model.items) - 1),
    "half": lambda model, page: len(model.items) // 2,
    "of the page": lambda model, page: len(page),
    "zero": lambda model, page: 0,
    "none": lambda model, page: None,
    "sometimes none": lambda model, page: len(model.items) if len(model.requests) % 2 else None,
    "lagging": lambda model, page: len(model.items) - len(model.requests) % 3,
}


@given(
    dialect=st.sampled_from(DIALECTS),
    echo=st.booleans(),
    repeats_last=st.booleans(),
    wrong=st.sampled_from(sorted(WRONG_COUNTS)),
    count=st.integers(0, 130),
    page_size=st.integers(10, 25),
    prefetch=st.sampled_from([0, 8]),
    expects_count=st.booleans(),
)
@_SETTINGS
def test_wrong_count_costs_few_requests_and_no_item(
    dialect: Dialect,
    echo: bool,
    repeats_last: bool,
    wrong: str,
    count: int,
    page_size: int,
    prefetch: int,
    expects_count: bool,
    anyio_backend: str,
) -> None:
    _, model, there = world(count, lambda _: True, (), dialect=dialect, echo=echo, repeats_last=repeats_last)
    model.count = WRONG_COUNTS[wrong]

    items, error = read_on(anyio_backend, model, page_size=page_size, prefetch=prefetch, expects_count=expects_count)

    assert len({item["n"] for item in items}) == len(items)
    if error is None:
        assert {item["n"] for item in items} == there
    # A repeated last page without a count cannot be told from a list that is stuck.
    may_fail = wrong in {"one more", "many more"} or (repeats_last and wrong != "sometimes none")
    if not may_fail:
        assert error is None
    assert len(model.requests) <= 3 * (count // page_size + 6)
    if wrong in {"one more", "half", "one less"}:
        assert len(model.requests) <= count // page_size + 1 + 8


@given(
    dialect=st.sampled_from(DIALECTS),
    echo=st.booleans(),
    out_of_order=st.booleans(),
    count=st.integers(0, 130),
    page_size=st.integers(3, 25),
    prefetch=st.sampled_from([0, 1, 8]),
    expects_count=st.booleans(),
    is_named=NAMED,
    removals=st.lists(
        st.builds(Edit, when=st.integers(0, 12), where=st.floats(0, 1), removed=st.integers(1, 9)),
        min_size=1,
        max_size=3,
    ),
)
@_SETTINGS
def test_list_that_shrinks_is_never_read_short_without_an_error(
    dialect: Dialect,
    echo: bool,
    out_of_order: bool,
    count: int,
    page_size: int,
    prefetch: int,
    expects_count: bool,
    is_named: Callable[[int], bool],
    removals: list[Edit],
    anyio_backend: str,
) -> None:
    made, model, there = world(count, is_named, removals, dialect=dialect, echo=echo, out_of_order=out_of_order)

    items, error = read_on(anyio_backend, model, page_size=page_size, prefetch=prefetch, expects_count=expects_count)

    assert not doubles(items, named_alone=error is not None)
    if error is None:
        assert {item["n"] for item in items} >= there - made.gone


@given(
    before=st.sampled_from(DIALECTS),
    after=st.sampled_from(DIALECTS),
    when=st.integers(1, 14),
    echo=st.booleans(),
    has_count=st.booleans(),
    count=st.integers(0, 400),
    page_size=st.integers(3, 25),
    prefetch=st.sampled_from([0, 1, 8]),
    is_named=NAMED,
)
@_SETTINGS
def test_change_of_the_meaning_of_offset_is_survived_or_an_error(
    before: Dialect,
    after: Dialect,
    when: int,
    echo: bool,
    has_count: bool,
    count: int,
    page_size: int,
    prefetch: int,
    is_named: Callable[[int], bool],
    anyio_backend: str,
) -> None:
    _, model, _ = world(count, is_named, (), dialect=before, echo=echo)

    def switch(shown: ModelList) -> None:
        shown.dialect = after

    # While the meaning of offset is found out by the length of a list alone, nothing would show that it changes.
    model.changes = {when if all(map(is_named, range(8))) else when + 3: switch}
    if not has_count and all(
        map(is_named, range(8))
    ):  # Nobody could tell one nameless page from another without a count.
        model.count = lambda m, page: None

    items, error = read_on(anyio_backend, model, page_size=page_size, prefetch=prefetch)

    assert not doubles(items, named_alone=error is not None)
    if error is None:
        assert sorted(item["n"] for item in items) == list(range(count))
