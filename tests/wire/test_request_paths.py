"""No id of any text leads to another operation than the one that was asked for."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from urllib.parse import parse_qsl, unquote

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coreclaw_async._wire.request import build_path, build_query, check_id, check_worker_id
from coreclaw_async.models import RunStatus

ORIGIN = "https://openapi.coreclaw.com"
RISKY = st.text(st.sampled_from("./\\~%25eElLaAsStT?#; \x00\t\u2028:@&=+"), max_size=8)
IDS = st.text() | RISKY | st.sampled_from(["last", "LAST", ".", "..", "%2e%2e", "%2F", "a/../b"])


def segments_of(path: str) -> list[str]:
    """Return the encoded segments that remain when httpx has normalised the URL."""
    url = httpx.URL(f"{ORIGIN}{path}?limit=1")
    assert (url.host, url.query, url.fragment) == ("openapi.coreclaw.com", b"limit=1", "")
    return url.raw_path.partition(b"?")[0].decode("ascii").split("/")


def checked_or_refused(check: Callable[[str, str], str], value: str) -> str | None:
    """Return what *check* makes of *value*, or None when it refuses it by name."""
    try:
        return check("the_id", value)
    except ValueError as error:
        if not str(error).startswith("the_id must "):
            raise
        return None


@given(IDS)
@example("%6cast")
@example("..%2f")
@example("la\u017ft")
def test_run_id_is_refused_or_is_one_segment_as_it_is(run_id: str) -> None:
    checked = checked_or_refused(check_id, run_id)
    if checked is None:
        return
    segments = segments_of(build_path("worker-runs", checked, "log"))

    assert [*segments[:4], *segments[5:]] == ["", "api", "v2", "worker-runs", "log"]
    assert unquote(segments[4]) == run_id
    assert unquote(segments[4]).lower() not in {"last", "", ".", ".."}


@given(IDS | st.tuples(IDS, IDS).map("/".join))
def test_worker_id_is_refused_or_is_one_segment_with_a_tilde_for_the_slash(worker_id: str) -> None:
    checked = checked_or_refused(check_worker_id, worker_id)
    if checked is None:
        return
    segments = segments_of(build_path("workers", checked, "runs"))

    assert [*segments[:4], *segments[5:]] == ["", "api", "v2", "workers", "runs"]
    assert unquote(segments[4]) == worker_id.replace("/", "~")
    assert "%2f" not in segments[4].lower()


@pytest.mark.parametrize("run_id", ["last", "Last", "LAST"])
def test_last_is_refused_as_an_id_and_the_other_way_is_named(run_id: str) -> None:
    with pytest.raises(ValueError, match=rf"run must be the id of one thing, not '{run_id}'.*LastRun\(\)"):
        check_id("run", run_id)


@pytest.mark.parametrize(
    "value",
    [".", "..", "/", "a/b", "../x", "a\\b", "a?b", "a#b", "a b", "a\tb", "a\nb", "\x00", "a\x7f", "a\x9f", "\u2028x"],
)
def test_id_is_refused_when_it_could_lead_elsewhere(value: str) -> None:
    with pytest.raises(ValueError, match="task_id must not hold slashes, dots alone"):
        check_id("task_id", value)


@pytest.mark.parametrize("value", ["01KKDXV2G26BT7NH4ZQR2R4NPZ", "demo-task", "123456", "latest", "a.b", "...", "ä"])
def test_id_is_kept_when_it_is_plain(value: str) -> None:
    assert check_id("task_id", value) == value


@pytest.mark.parametrize(
    ("given_id", "sent"),
    [
        ("demo-worker", "demo-worker"),
        ("owner/name", "owner~name"),
        ("owner~name", "owner~name"),
        ("last", "last"),
        ("a.b/c.d", "a.b~c.d"),
    ],
)
def test_worker_id_takes_all_documented_forms(given_id: str, sent: str) -> None:
    assert check_worker_id("worker_id", given_id) == sent
    assert build_path("workers", sent).endswith(f"/workers/{sent}")


@pytest.mark.parametrize(
    "value", ["a/b/c", "/a", "a/", "./a", "a/..", ".", "..", "a b", "a?b", "a#b", "a\\b", "a\x00b", "owner/\u2029"]
)
def test_worker_id_is_refused_when_it_is_neither_slug_nor_path(value: str) -> None:
    with pytest.raises(ValueError, match="worker_id must be an id, 'owner/name' or 'owner~name'"):
        check_worker_id("worker_id", value)


@pytest.mark.parametrize("check", [check_id, check_worker_id])
def test_id_must_be_a_text_with_something_in_it(check: object) -> None:
    assert callable(check)
    for empty in ("", " ", "\n"):
        with pytest.raises(ValueError, match=r"run must not be empty, not '"):
            check("run", empty)
    for other in (None, 7, b"id", ["id"]):
        with pytest.raises(TypeError, match="run must be a str, not"):
            check("run", other)


@pytest.mark.parametrize("check", [check_id, check_worker_id])
def test_id_is_refused_by_name_when_it_has_no_encoding(check: object) -> None:
    assert callable(check)
    with pytest.raises(ValueError, match="run must"):
        build_path("worker-runs", check("run", "\ud800"))


@given(
    st.dictionaries(
        st.sampled_from(["offset", "limit", "keyword", "status", "worker_id", "filter_keys"]),
        st.none() | st.integers() | st.text(min_size=1),
    )
)
def test_query_holds_what_was_given_and_nothing_for_none(members: dict[str, str | int | None]) -> None:
    query = build_query(**members)

    assert parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)) == [
        (name, str(value)) for name, value in members.items() if value is not None
    ]
    assert query.isascii()


def test_query_leaves_commas_and_tildes_as_they_are() -> None:
    assert (
        build_query(filter_keys="a,b", worker_id="o~n", keyword="a b&c")
        == "filter_keys=a,b&worker_id=o~n&keyword=a%20b%26c"
    )


def test_query_is_refused_by_name_when_a_text_has_no_encoding() -> None:
    with pytest.raises(ValueError, match=r"^keyword must be a string that UTF-8 can encode"):
        build_query(offset=0, keyword="\ud800")


class Word(str, Enum):  # noqa: UP042 - what is meant is one whose `str` is its name
    SPOKEN = "said"


class Number(int, Enum):
    THREE = 3


def test_query_has_the_value_of_a_member_of_an_enum_and_not_its_name() -> None:
    assert build_query(keyword=Word.SPOKEN, limit=Number.THREE) == "keyword=said&limit=3"
    assert build_query(keyword=RunStatus.RUNNING) == "keyword=running"


def test_query_keeps_a_zero() -> None:
    assert build_query(offset=0, limit=20) == "offset=0&limit=20"
