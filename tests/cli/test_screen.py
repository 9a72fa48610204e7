"""What is written stays plain text, whatever the service sent and wherever it goes."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from decimal import Decimal

import pytest
from cli.command_line import without_escapes

from coreclaw_async import Row, Run
from coreclaw_async.cli._screen.output import run_sentence
from coreclaw_async.cli._screen.screen import Screen, escaped, money, plain


class Looked(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def written(write: Callable[[Screen], object], *, width: int = 60, out: io.StringIO | None = None) -> str:
    """Return what *write* puts on standard output."""
    out = io.StringIO() if out is None else out
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setenv("COLUMNS", str(width))
        write(Screen())
    return without_escapes(out.getvalue())


@pytest.mark.parametrize("text", ["[red]sale[/red]", "[/nothing]", ":smile:"])
def test_markup_in_a_text_is_printed_as_it_came(text: str) -> None:
    assert text in written(lambda screen: screen.say(text, label="Run"))
    assert text in written(lambda screen: screen.say_rows([{"title": text}]))


@pytest.mark.parametrize("control", ["\x1b[2J", "\x1b]0;title\x07", "\x9b2J", "a\rb", "a\nb", "\u202e"])
def test_text_cannot_control_the_terminal(control: str) -> None:
    shown = plain(control)

    assert len(shown) == len(control)
    assert shown.isprintable()


def test_json_that_controls_nothing_stays_as_it_is() -> None:
    assert escaped('{"a": "caf\u00e9"}') == '{"a": "caf\u00e9"}'
    assert escaped('"\x9b"') == '"\\u009b"'


def test_cells_cannot_control_the_terminal() -> None:
    text = written(lambda screen: screen.say_rows([{"a\x1b[2J": "b\x1b[2J", "c": ["\x1b[2J"]}]))

    assert "\x1b" not in text
    assert len(text.splitlines()) == 2


def test_characters_that_the_output_lacks_are_replaced() -> None:
    raw = io.BytesIO()
    with contextlib.redirect_stdout(io.TextIOWrapper(raw, encoding="ascii")):
        Screen().say("caf\u00e9 \u6771\u4eac")
        sys.stdout.flush()
        assert raw.getvalue().endswith(b"caf? ??\n")


def test_long_line_is_not_broken_when_the_output_is_narrow() -> None:
    path = "/".join(["folder"] * 30)

    assert path in written(lambda screen: screen.say(path, label="File"), width=40)


def test_code_begins_at_the_left_edge_so_that_it_can_be_pasted() -> None:
    text = written(lambda screen: screen.say_code("Next:", ["if True:", "    pass"]))

    assert text == "\nNext:\nif True:\n    pass\n"


def test_table_leaves_out_and_names_the_columns_for_which_there_is_no_room() -> None:
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        rows = [{"name": "n" * 20, "place": "p" * 20, "opinion": "o" * 20}]
        piped = written(lambda screen: screen.say_rows(rows), width=40).splitlines()
        assert err.getvalue() == ""
        looked_at = written(lambda screen: screen.say_rows(rows), width=40, out=Looked()).splitlines()

    assert piped[0].split() == looked_at[0].split() == ["name", "place"]
    assert err.getvalue() == "Not shown: opinion. Shortened: name, place.\n"


def test_table_shortens_long_cells() -> None:
    text = written(lambda screen: screen.say_rows([{"text": "x" * 1000}]))

    assert text.splitlines()[1] == " " * 8 + "x" * 51 + "\u2026"


def test_table_shows_columns_of_all_rows_and_no_internal_ones() -> None:
    rows: list[Row] = [{"__coreclaw_data_id__": "1", "a": None}, {"a": {"b": [1, "\u00e9"]}, "c": True}]

    lines = [line.split() for line in written(lambda screen: screen.say_rows(rows)).splitlines()]

    assert lines == [["a", "c"], [], ['{"b":', "[1,", '"\u00e9"]}', "true"]]


@pytest.mark.parametrize("rows", [[], [{}], [{"__coreclaw_data_id__": "1"}]])
def test_table_is_left_out_when_there_is_nothing_to_show(rows: list[dict[str, str]]) -> None:
    assert written(lambda screen: screen.say_rows(rows)) == ""


def test_complaints_go_to_standard_error() -> None:
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        out = written(lambda screen: screen.complain("no [b]luck[/b]\n"))

    assert (out, err.getvalue()) == ("", "no [b]luck[/b] \n")


def complained(text: str, err: io.StringIO) -> str:
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(err):
        patch.setenv("COLUMNS", "40")
        Screen().complain(text)
    return without_escapes(err.getvalue())


def test_a_sentence_is_broken_between_words_where_somebody_looks_and_nowhere_else() -> None:
    run_id, url = "01M8B4RMZ7SG60F9S5Q28QR1N2", f"https://example.test/{'folder/' * 8}"
    text = f"Run {run_id} has not ended: its rows so far may not be all, see {url} and so on"

    looked_at = complained(text, Looked()).splitlines()

    assert looked_at == [
        f"Run {run_id} has not",
        "ended: its rows so far may not be all,",
        "see",
        url,
        "and so on",
    ]
    assert complained(text, io.StringIO()) == f"{text}\n"


def test_a_sentence_on_standard_output_is_broken_like_one_on_standard_error() -> None:
    text = "Run 01M8B4RMZ7SG60F9S5Q28QR1N2 succeeded after 1 s with 6,000 rows; it cost $6.00."

    looked_at = written(lambda screen: screen.tell(text), width=80, out=Looked())

    assert looked_at == f"{text[:-7]}\n$6.00.\n"
    assert written(lambda screen: screen.tell(text), width=80) == f"{text}\n"


@pytest.mark.parametrize("err", [io.StringIO(), Looked()], ids=["pipe", "terminal"])
def test_a_command_to_paste_stays_one_line(err: io.StringIO) -> None:
    line = "  to get them:  coreclaw-async rows 01M8B4RMZ7SG60F9S5Q28QR1N2 -o rows.csv"

    assert complained(line, err) == f"{line}\n"


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (None, "an unknown amount"),
        (Decimal(0), "$0.00"),
        (Decimal("99.7500"), "$99.75"),
        (Decimal("0.0125"), "$0.0125"),
        (Decimal("1E+3"), "$1000.00"),
        (Decimal("1E-7"), "$0.0000001"),
    ],
)
def test_money_has_cents_and_no_digit_is_rounded_away(amount: Decimal | None, text: str) -> None:
    assert money(amount) == text


@pytest.mark.parametrize(
    ("run", "told"),
    [
        (
            Run(run_id="R", status="succeeded", duration=10.0, result_count=0, usage=Decimal("0.00")),
            "Run R succeeded after 10 s with 0 rows; it cost $0.00.",
        ),
        (
            Run(run_id="R", status="succeeded"),
            "Run R succeeded after an unknown time with an unknown number of rows; it cost an unknown amount.",
        ),
    ],
    ids=["known", "unknown"],
)
def test_what_is_not_known_of_a_run_is_not_told_as_zero(run: Run, told: str) -> None:
    assert run_sentence(run) == told
