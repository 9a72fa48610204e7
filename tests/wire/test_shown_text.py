"""What errors show of an answer can stand in one line of a log."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from wire.exchanges import PATH, request_of

from coreclaw_async._wire.credentials import Credentials
from coreclaw_async._wire.request import Safety
from coreclaw_async._wire.response import Answer, snippet, wrong_shape
from coreclaw_async.errors import InvalidResponseError, printable


def test_wrong_shape_is_an_invalid_answer_that_names_the_request_and_keeps_its_id() -> None:
    error = wrong_shape(Answer(request_of(Safety.ONCE), [], "req-3"), "data:\na list")

    assert type(error) is InvalidResponseError
    assert error.message == rf"POST {PATH}: the data of the answer has the wrong shape, data:\na list"
    assert (error.status_code, error.code, error.request_id) == (200, 0, "req-3")
    assert error.may_have_taken_effect
    assert not wrong_shape(Answer(request_of(), []), "x").may_have_taken_effect


@given(st.binary(max_size=300))
def test_snippet_is_one_short_printable_line_of_any_bytes(body: bytes) -> None:
    assert snippet(body, Credentials(None)).isascii()
    assert snippet(body, Credentials(None)).isprintable()
    assert snippet(body, Credentials(None)) == snippet(body[:200], Credentials(None))


@given(st.text(st.sampled_from("kex"), max_size=400), st.integers(1, 60))
def test_snippet_holds_no_part_of_a_key_wherever_it_is_cut(around: str, place: int) -> None:
    key = "0123456789ABCDEF"
    body = (key + around[:place] + key + around + key + around).encode()

    assert not any(letter in snippet(body, Credentials(key)) for letter in key)


def test_control_characters_and_lone_surrogates_are_escaped() -> None:
    assert printable("a\r\n\t\x00\x7f\u2028\ud800b") == r"a\r\n\t\x00\x7f\u2028\ud800b"


@given(st.text(st.characters()))
@example("a\r\n\t\x00\u2028\ud800b")
def test_printable_keeps_what_can_be_printed_and_escapes_the_rest(text: str) -> None:
    assert printable(text).isprintable()
    assert [c for c in text if c.isprintable() and c != "\\"] == [
        c for c in text if c in printable(text) and c.isprintable() and c != "\\"
    ]
