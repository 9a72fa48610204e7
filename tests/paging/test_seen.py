"""Bounded memories: the keys of a list, and the ids that a client was told."""

from __future__ import annotations

import sys
import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from coreclaw_async._operations.known_ids import KnownIds
from coreclaw_async._paging.listing import Nameless
from coreclaw_async._paging.seen import SeenKeys


@settings(max_examples=40)
@given(st.lists(st.integers(0, 30), max_size=60, unique=True), st.integers(1, 12))
def test_first_and_latest_keys_are_remembered(keys: list[int], capacity: int) -> None:
    seen = SeenKeys(capacity)
    for key in keys:
        assert key not in seen
        seen.add(key)
    remembered = {*keys[:capacity], *keys[capacity:][-capacity:]}

    assert {key for key in range(31) if key in seen} == remembered
    assert seen.is_whole is (len(keys) <= 2 * capacity)


def test_twenty_thousand_keys_are_remembered_whole() -> None:
    seen = SeenKeys()
    for key in range(20_000):
        seen.add(key)

    assert seen.is_whole
    assert all(key in seen for key in range(20_000))

    seen.add(20_000)
    assert not seen.is_whole
    assert (9_999 in seen, 10_000 in seen, 10_001 in seen) == (True, False, True)


def test_beginning_of_the_list_is_recognised_at_any_place() -> None:
    seen = SeenKeys(4)
    for key in "abcdef":
        seen.add(key)

    assert seen.began_with(0, "abc")
    assert seen.began_with(2, ("c", "d"))
    assert not seen.began_with(1, "abc")
    assert not seen.began_with(3, "def")  # Beyond what is kept of the beginning.
    assert not seen.began_with(0, "")


def test_ids_that_several_threads_add_at_once_are_forgotten_one_at_a_time() -> None:
    known, failures, interval = KnownIds(), list[Exception](), sys.getswitchinterval()

    def add(name: str) -> None:
        try:
            for number in range(60_000):
                known.add(f"{name}{number}")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=add, args=(name,)) for name in "abc"]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(interval)

    assert failures == []
    assert sum(f"{name}{number}" in known for name in "abc" for number in range(60_000)) == 20_000


def test_latest_twenty_thousand_ids_are_known() -> None:
    known = KnownIds()
    for number in range(20_001):
        known.add(f"R{number}")
    known.add("R20000")

    assert "R0" not in known
    assert "R1" in known
    assert "R20000" in known
    assert "R20001" not in known


def test_nameless_items_are_counted_up_to_a_bound() -> None:
    seen = SeenKeys(2)
    keys = [Nameless(str(number)) for number in range(6)]

    assert [seen.count_again(key) for key in keys] == [1, 1, 1, 1, 0, 0]
    assert not seen.is_whole


def test_page_of_a_key_is_known_as_long_as_the_key_is() -> None:
    seen = SeenKeys(3)
    for page in range(1, 6):
        seen.extend([f"{page}a", f"{page}b"], page)

    assert {key: seen.page_of(key) for key in ("1a", "2a", "2b", "5b") if key in seen} == {
        "1a": 1,
        "2a": 2,
        "5b": 5,
    }
