"""The key is sent in one of three ways and shows in none of our messages."""

from __future__ import annotations

import copy
import pickle
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coreclaw_async._wire.credentials import AuthMode, Credentials
from coreclaw_async.errors import ConfigurationError

KEY = "scraper_api_+/=&?"
KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)


@pytest.mark.parametrize(
    ("mode", "headers", "query"),
    [
        ("bearer", ((b"Authorization", b"Bearer " + KEY.encode()),), ""),
        ("api-key", ((b"api-key", KEY.encode()),), ""),
        ("query", (), "token=scraper_api_%2B%2F%3D%26%3F"),
    ],
)
def test_key_travels_in_one_way_only(mode: AuthMode, headers: Any, query: str) -> None:
    credentials = Credentials(KEY, mode)

    assert (credentials.headers(), credentials.query()) == (headers, query)
    assert not credentials.is_missing


@pytest.mark.parametrize("mode", ["bearer", "api-key", "query"])
def test_nothing_travels_when_there_is_no_key(mode: AuthMode) -> None:
    credentials = Credentials(None, mode)

    assert (credentials.headers(), credentials.query(), credentials.longest) == ((), "", 0)
    assert not credentials.are_in("any text")
    assert credentials.is_missing
    assert repr(credentials) == f"Credentials(mode={mode!r}, key=<none>)"


@pytest.mark.parametrize("padded", [" key ", "key\n", "\r\nkey\t"])
def test_key_is_trimmed(padded: str) -> None:
    assert Credentials(padded).headers() == ((b"Authorization", b"Bearer key"),)


@given(KEYS, st.sampled_from(["bearer", "api-key", "query"]))
def test_any_printable_key_travels_whole(key: str, mode: AuthMode) -> None:
    credentials = Credentials(key, mode)

    if mode == "query":
        assert unquote(credentials.query()) == f"token={key}"
    else:
        assert credentials.headers()[0][1].decode().removeprefix("Bearer ") == key
    assert credentials.are_in(f"key {key}")
    assert not credentials.query() or credentials.are_in(credentials.query())


@pytest.mark.parametrize("form", ["""k\\'"+""", "k%5C%27%22%2B", r"""k\\\'"+""", r"""k\\'\"+"""])
def test_every_form_in_which_a_text_can_show_the_key_is_hidden(form: str) -> None:
    credentials = Credentials("""k\\'"+""")

    assert credentials.are_in(f"before {form} after")
    assert credentials.hide(f"before {form} after") == "before <key> after"
    assert credentials.longest == len("k%5C%27%22%2B")


def test_key_is_hidden_where_it_is_in_lower_case_as_in_the_host_of_a_url() -> None:
    credentials = Credentials("Scraper_Api_S3cr3T")

    assert credentials.hide("http://scraper_api_s3cr3t/") == "http://<key>/"
    assert credentials.are_in("scraper_api_s3cr3t")


@given(KEYS.filter(lambda key: len(key) > 7))
def test_key_is_in_no_repr(key: str) -> None:
    assert repr(Credentials(key)) == str(Credentials(key)) == "Credentials(mode='bearer', key=<hidden>)"


@pytest.mark.parametrize("make_copy", [pickle.dumps, copy.copy, copy.deepcopy])
def test_credentials_are_neither_pickled_nor_copied(make_copy: Any) -> None:
    with pytest.raises(TypeError, match="credentials are not pickled") as caught:
        make_copy(Credentials(KEY))
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("key", ["", "  ", "\n"])
def test_key_is_refused_when_it_is_empty(key: str) -> None:
    with pytest.raises(ConfigurationError, match="api_key must not be empty"):
        Credentials(key)


@pytest.mark.parametrize("key", ["secret key", "secret\nkey", "secret\x00key", "secret\x7fkey", "geheimer-schlüssel"])
def test_key_is_refused_without_being_shown_when_a_header_cannot_carry_it(key: str) -> None:
    with pytest.raises(ConfigurationError, match="api_key must hold printable ASCII") as caught:
        Credentials(key)
    assert key not in str(caught.value)
    assert "secret" not in repr(caught.value)


@pytest.mark.parametrize("key", [b"secret", ["secret"], 7])
def test_key_is_refused_by_its_type_alone_when_it_is_no_text(key: Any) -> None:
    with pytest.raises(TypeError, match=r"api_key must be a str, not (bytes|list|int)$"):
        Credentials(key)


@pytest.mark.parametrize("mode", ["Bearer", "", None, "header"])
def test_mode_is_refused_when_it_is_unknown(mode: Any) -> None:
    with pytest.raises(ConfigurationError, match="auth must be one of bearer, api-key, query, not"):
        Credentials(KEY, mode)


def test_copies_with_another_key_or_mode_keep_the_rest() -> None:
    first = Credentials("first", "api-key")

    assert first.but_with("second", None).headers() == ((b"api-key", b"second"),)
    assert first.but_with(None, "query").query() == "token=first"
    assert first.but_with(None, None).headers() == first.headers()
