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
ALL_NAMED = st.just(_WHICH_ARE_NAMED[0])
EITHER = st.booleans()
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
GROWTH = st.lists(st.builds(Edit, when=st.integers(0, 12), where=st.just(1.0), added=st.integers(1, 25)), max_size=4)


@attrs.frozen(kw_only=True)
class Case:
    """
    A list, how the service shows it, and how it is read.

    Attributes:
        count: How many items are in it at first.
        is_named: Which of them have an identity.
        shown: Members of `ModelList`.
        options: What `pager_of` takes.
    """

    count: int
    is_named: Callable[[int], bool]
    shown: dict[str, Any]
    options: dict[str, Any]

    @property
    def page_size(self) -> int:
        return int(self.options["page_size"])

    def world(self, edits: Sequence[Edit] = ()) -> tuple[World, ModelList]:
        """Return the list, and the service that shows it and has it changed."""
        made = World([make_item(number, self.is_named) for number in range(self.count)], self.is_named)

        def change(at: int) -> Callable[[ModelList], None]:
            def now(shown: ModelList) -> None:
                for edit in edits:
                    if edit.when == at:
                        made.edit(shown, edit)

            return now

        return made, ModelList(list(made.items), changes={edit.when: change(edit.when) for edit in edits}, **self.shown)

    def read(self, backend: str, model: ModelList) -> tuple[list[Item], PaginationError | None]:
        """Return the items of the list, and the error that its pager ends with."""
        return anyio.run(read, pager_of(model, **self.options), backend=backend)

    def pages(self, items: int) -> int:
        """Return how many pages hold so many items."""
        return items // (self.page_size if self.page_size >= 3 else 10) + 1


def cases(
    *,
    smallest_page: int = 3,
    prefetch: Sequence[int] = (0, 1, 8),
    is_named: st.SearchStrategy[Callable[[int], bool]] = NAMED,
    most: int = 130,
    expects_count: st.SearchStrategy[bool] = EITHER,
    **shown: st.SearchStrategy[Any],
) -> st.SearchStrategy[Case]:
    """Return all ways to show and to read a list, with *shown* besides for `ModelList`."""
    always = {"dialect": st.sampled_from(DIALECTS), "echo": EITHER}
    options = {
        "page_size": st.integers(smallest_page, 25),
        "prefetch": st.sampled_from(prefetch),
        "expects_count": expects_count,
    }
    return st.builds(
        Case,
        count=st.integers(0, most),
        is_named=is_named,
        shown=st.fixed_dictionaries({**always, **shown}),
        options=st.fixed_dictionaries(options),
    )


def doubles(items: Sequence[Item], *, named_alone: bool) -> set[int]:
    times = Counter(item["n"] for item in items if "id" in item or not named_alone)
    return {number for number, found in times.items() if found > 1}


@given(case=cases(smallest_page=1, repeats_last=EITHER, cap=st.sampled_from([None, None, 4, 11])))
@_SETTINGS
def test_list_that_stays_is_read_whole_in_few_requests(case: Case, anyio_backend: str) -> None:
    made, model = case.world()

    items, error = case.read(anyio_backend, model)

    assert error is None
    assert items == made.items
    size = min(case.page_size if case.page_size >= 3 else 10, case.shown["cap"] or 100)
    assert len(model.requests) <= case.count // size + 1 + 5


@given(case=cases(out_of_order=EITHER), edits=EDITS)
@example(
    # A row without identity changed between page 1 and the answer to offset=2.
    case=Case(
        count=130,
        is_named=lambda number: False,
        shown={"dialect": "row", "echo": False},
        options={"page_size": 25, "prefetch": 1, "expects_count": False},
    ),
    edits=[Edit(when=1, where=0.1, added=1, removed=1)],
)
@_SETTINGS
def test_list_that_changes_is_read_without_doubles_and_never_short_where_that_shows(
    case: Case, edits: list[Edit], anyio_backend: str
) -> None:
    made, model = case.world(edits)

    items, error = case.read(anyio_backend, model)

    named = Counter(item["id"] for item in items if "id" in item)
    assert all(times == 1 for times in named.values())
    assert {item["n"] for item in items} <= {item["n"] for item in made.ever}
    assert len(model.requests) <= 4 * (case.pages(len(made.ever)) + 6) + 6
    if error is None and not any(edit.removed for edit in edits):
        assert {item["n"] for item in items} >= set(range(case.count))
        assert len(items) >= case.count
    if not edits:
        assert error is None


@given(case=cases(smallest_page=5, is_named=ALL_NAMED, out_of_order=EITHER), edits=GROWTH)
@_SETTINGS
def test_honest_list_that_grows_is_never_an_error(case: Case, edits: list[Edit], anyio_backend: str) -> None:
    made, model = case.world(edits)

    items, error = case.read(anyio_backend, model)

    assert error is None
    assert {item["n"] for item in items} >= set(range(case.count))
    assert len({item["n"] for item in items}) == len(items)
    assert len(model.requests) <= case.pages(len(made.ever)) + len(edits) + 6


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
    case=cases(smallest_page=10, prefetch=(0, 8), is_named=ALL_NAMED, repeats_last=EITHER),
    wrong=st.sampled_from(sorted(WRONG_COUNTS)),
)
@_SETTINGS
def test_wrong_count_costs_few_requests_and_no_item(case: Case, wrong: str, anyio_backend: str) -> None:
    _, model = case.world()
    model.count = WRONG_COUNTS[wrong]

    items, error = case.read(anyio_backend, model)

    assert len({item["n"] for item in items}) == len(items)
    if error is None:
        assert {item["n"] for item in items} == set(range(case.count))
    # A repeated last page without a count cannot be told from a list that is stuck.
    may_fail = wrong in {"one more", "many more"} or (model.repeats_last and wrong != "sometimes none")
    if not may_fail:
        assert error is None
    full_pages = case.count // case.page_size
    assert len(model.requests) <= 3 * (full_pages + 6)
    if wrong in {"one more", "half", "one less"}:
        assert len(model.requests) <= full_pages + 1 + 8


@given(case=cases(out_of_order=EITHER), removals=REMOVALS)
@_SETTINGS
def test_list_that_shrinks_is_never_read_short_without_an_error(
    case: Case, removals: list[Edit], anyio_backend: str
) -> None:
    made, model = case.world(removals)

    items, error = case.read(anyio_backend, model)

    assert not doubles(items, named_alone=error is not None)
    if error is None:
        assert {item["n"] for item in items} >= set(range(case.count)) - made.gone


@given(
    case=cases(most=400, expects_count=st.just(value=True)),
    after=st.sampled_from(DIALECTS),
    when=st.integers(1, 14),
    has_count=EITHER,
)
@_SETTINGS
def test_change_of_the_meaning_of_offset_is_survived_or_an_error(
    case: Case, after: Dialect, when: int, has_count: bool, anyio_backend: str
) -> None:
    _, model = case.world()
    are_named = all(map(case.is_named, range(8)))

    def switch(shown: ModelList) -> None:
        shown.dialect = after

    # While the meaning of offset is found out by the length of a list alone, nothing would show that it changes.
    model.changes = {when if are_named else when + 3: switch}
    if not has_count and are_named:  # Nobody could tell one nameless page from another without a count.
        model.count = lambda m, page: None

    items, error = case.read(anyio_backend, model)

    assert not doubles(items, named_alone=error is not None)
    if error is None:
        assert sorted(item["n"] for item in items) == list(range(case.count))
