"""What is new in a log of which only the recent part is shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coreclaw_async._wire.log_window import LogWindow
from coreclaw_async.models import LogEntry


def entries(*texts: str) -> list[LogEntry]:
    return [LogEntry(content=text) for text in texts]


def fresh(*looks: list[LogEntry]) -> list[list[str]]:
    window, found = LogWindow(), []
    for look in looks:
        window, new, _ = window.advance(look)
        found.append([entry.content for entry in new])
    return found


@given(
    texts=st.lists(st.text(max_size=2), unique=True, max_size=40),
    size=st.integers(1, 12),
    ends=st.lists(st.integers(0, 40), max_size=30),
)
def test_each_entry_comes_once_as_long_as_the_windows_overlap(texts: list[str], size: int, ends: list[int]) -> None:
    log = entries(*texts)
    window, got = LogWindow(), list[LogEntry]()
    seen = 0
    for end in ends:
        # Each look shows the last entries of a log that grows; some answers are older than the one before.
        if end > len(log) or (seen and not seen - size < end < seen + size):
            continue
        window, new, is_gap = window.advance(log[max(0, end - size) : end])
        assert not is_gap
        got += new
        seen = max(seen, end)

    assert got == log[seen - len(got) : seen]


def test_identical_lines_come_as_often_as_they_are_there() -> None:
    assert fresh(entries("a", "a"), entries("a", "a", "a")) == [["a", "a"], ["a"]]


def test_a_line_that_comes_again_after_it_was_cut_off_is_new() -> None:
    assert fresh(entries("a", "b", "c"), entries("c", "d", "a")) == [["a", "b", "c"], ["d", "a"]]


def test_lines_that_were_put_in_between_are_new() -> None:
    assert fresh(entries("a", "b", "c"), entries("a", "x", "b", "c")) == [["a", "b", "c"], ["x"]]


def test_an_older_look_brings_nothing_and_forgets_nothing() -> None:
    assert fresh(entries("a", "b", "c"), entries("a"), entries("a", "b", "c", "d")) == [["a", "b", "c"], [], ["d"]]


def test_a_window_that_does_not_go_on_is_a_gap() -> None:
    window, _, was_gap = LogWindow().advance(entries("a", "b"))
    _, new, is_gap = window.advance(entries("x", "y"))

    assert not was_gap
    assert is_gap
    assert [entry.content for entry in new] == ["x", "y"]


def test_an_older_look_that_ends_within_the_window_brings_nothing() -> None:
    assert fresh(entries("b", "c"), entries("a", "b"), entries("b", "c", "d")) == [["b", "c"], [], ["d"]]
