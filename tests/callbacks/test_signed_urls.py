"""Signed URLs: each hub with the same secret knows them, nobody else can make them, and the secret is not shown."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coreclaw_async import CallbackHub
from coreclaw_async.callbacks import join_hub
from coreclaw_async.testing import FakeClock

BASE = "http://127.0.0.1:9/hooks"
RUN = "01KKDXV2G26BT7NH4ZQR2R4NPZ"
SECRET = "A-secret-of-the-backend-which-nobody-knows"
MONTH = 30 * 86_400


class Listener:
    def __init__(self) -> None:
        self.told: list[tuple[str, str | None]] = []

    def called_back(self, url: str, run_id: str | None) -> None:
        self.told.append((url, run_id))


def post(hub: CallbackHub, url: str, **payload: Any) -> int:
    return hub.handle(url.removeprefix("http://127.0.0.1:9"), json.dumps(payload).encode())


@pytest.mark.parametrize("secret", [SECRET, SECRET.encode(), "ä" * 16, "\udc80" * 11])
def test_another_hub_with_the_secret_knows_the_url_and_tells_its_listeners(secret: str | bytes) -> None:
    url = CallbackHub(BASE, secret=secret).new_url()
    hub, listener = CallbackHub(BASE + "/", secret=secret), Listener()
    join_hub(hub, listener)
    assert hub.owns(url)
    assert hub.run_id_of(url) is None

    assert post(hub, url, run_slug=RUN, run_status="running") == 204
    assert post(hub, url, run_slug=RUN, run_status="running") == 204

    assert hub.run_id_of(url) == RUN
    assert listener.told == [(url, RUN)]


class OvertakenBody(bytes):
    """The body of a callback during whose reading another callback to the same URL is handled, as in another thread."""

    overtaken_by: Callable[[], object]

    def decode(self, *args: Any, **kwargs: Any) -> str:
        self.overtaken_by()
        return super().decode(*args, **kwargs)


def test_two_first_callbacks_at_the_same_time_lose_neither_the_run_nor_a_status() -> None:
    url, told = CallbackHub(BASE, secret=SECRET).new_url(), list[Any]()
    hub = CallbackHub(BASE, secret=SECRET, on_update=told.append)
    body = OvertakenBody(json.dumps({"run_slug": RUN, "run_status": "succeeded"}).encode())
    body.overtaken_by = lambda: hub.handle(url, b'{"run_status": "running"}')

    assert hub.handle(url, body) == 204

    assert hub.run_id_of(url) == RUN
    assert [(update.run_id, update.status) for update in told] == [(RUN, "running"), (RUN, "succeeded")]
    assert hub.handle(url, body) == 204
    assert len(told) == 2


def test_text_and_its_bytes_are_the_same_secret() -> None:
    assert CallbackHub(BASE, secret=SECRET.encode()).owns(CallbackHub(BASE, secret=SECRET).new_url())


def test_the_answer_of_a_start_is_recorded_for_a_url_that_another_process_made() -> None:
    url = CallbackHub(BASE, secret=SECRET).new_url()
    hub = CallbackHub(BASE, secret=SECRET)

    hub.bind(url, queue_id="item")
    post(hub, url, run_slug=RUN)

    assert hub.run_id_of("item") == RUN


@pytest.mark.parametrize("other", [None, SECRET + "x", SECRET.lower()])
def test_a_hub_without_the_secret_answers_as_to_an_unknown_url(other: str | None) -> None:
    url = CallbackHub(BASE, secret=SECRET).new_url()
    hub = CallbackHub(BASE, secret=other)

    assert post(hub, url, run_slug=RUN) == post(hub, "/hooks/unknown.url", run_slug=RUN) == 404
    assert not hub.owns(url)
    assert hub.run_id_of(url) is None


@pytest.mark.parametrize("change", ["name", "later", "proof", "no proof", "no name", "longer", "unicode"])
def test_a_changed_url_is_not_found(change: str) -> None:
    hub = CallbackHub(BASE, secret=SECRET)
    name, _, proof = CallbackHub(BASE, secret=SECRET).new_url().rpartition("/")[2].partition(".")
    expires, _, rest = name.partition("-")
    changed = {
        "name": f"{name[:-1]}{'A' if name[-1] != 'A' else 'B'}.{proof}",
        "later": f"{int(expires, 16) + 1:x}-{rest}.{proof}",
        "proof": f"{name}.{'A' if proof[0] != 'A' else 'B'}{proof[1:]}",
        "no proof": name,
        "no name": f".{proof}",
        "longer": f"{name}.{proof}=",
        "unicode": f"{name}\udc80.ä\udc80",
    }[change]

    assert post(hub, f"/hooks/{changed}", run_slug=RUN) == 404
    assert repr(hub) == f"CallbackHub({BASE!r}, urls=0)", "nothing is remembered for it"


@given(st.text(), st.binary(max_size=100))
def test_nothing_that_is_posted_to_an_unknown_path_is_taken(path: str, body: bytes) -> None:
    assert CallbackHub(BASE, secret=SECRET).handle(path, body) == 404


def test_a_url_is_valid_for_thirty_days_in_other_processes() -> None:
    clock = FakeClock()
    maker = CallbackHub(BASE, secret=SECRET, clock=clock)
    url = maker.new_url()
    clock.advance(MONTH - 1)
    assert CallbackHub(BASE, secret=SECRET, clock=clock).owns(url)

    clock.advance(2)

    late = CallbackHub(BASE, secret=SECRET, clock=clock)
    assert post(late, url, run_slug=RUN) == 404
    assert not late.owns(url)
    assert maker.owns(url), "it remembers it"
    assert late.restore(url), "a ledger has kept it"
    assert post(late, url, run_slug=RUN) == 204


def test_a_url_that_was_pushed_out_of_memory_is_still_known() -> None:
    hub = CallbackHub(BASE, secret=SECRET, capacity=1)
    url = hub.new_url()
    hub.new_url()

    assert post(hub, url, run_slug=RUN) == 204


def test_a_url_from_before_there_was_a_secret_can_be_restored() -> None:
    url = CallbackHub(BASE).new_url()
    hub = CallbackHub(BASE, secret=SECRET)

    assert post(hub, url, run_slug=RUN) == 404
    assert hub.restore(url)
    assert post(hub, url, run_slug=RUN) == 204


@pytest.mark.parametrize("proof", ["AAAA", "A" * 32, "\ud800"])
def test_a_url_that_another_secret_or_nobody_has_signed_is_not_restored(proof: str) -> None:
    url = CallbackHub(BASE, secret="another secret of 32 bytes or more").new_url()
    forged = f"{url.partition('.0.0.1')[0]}.0.0.1{url.partition('.0.0.1')[2].partition('.')[0]}.{proof}"
    hub = CallbackHub(BASE, secret=SECRET)

    for other in (url, forged, f"{BASE}/short.{proof}"):
        assert not hub.restore(other)
        assert post(hub, other, run_slug=RUN) == 404


def test_a_restored_url_of_any_letters_breaks_nothing() -> None:
    hub = CallbackHub(BASE)

    assert hub.restore(f"{BASE}/name.\udc80ä")
    assert hub.handle("/hooks/name.other", b"{}") == 404


@pytest.mark.parametrize(
    ("secret", "error", "message"),
    [
        ("", ValueError, "secret must be at least 32 bytes long, not 0: .*token_urlsafe"),
        ("Too-short-a-secret-for-a-backend", None, ""),
        ("Too-short-a-secret-for-a-backen", ValueError, "secret must be at least 32 bytes long, not 31"),
        (b"Too-short", ValueError, "not 9"),
        (17, TypeError, "secret must be a str or bytes, not int"),
        (bytearray(40), TypeError, "secret must be a str or bytes, not bytearray"),
    ],
)
def test_a_short_secret_is_refused_and_not_repeated(secret: Any, error: type[Exception] | None, message: str) -> None:
    if error is None:
        CallbackHub(BASE, secret=secret)
        return
    with pytest.raises(error, match=message) as caught:
        CallbackHub(BASE, secret=secret)

    assert "Too-short" not in _with_locals(caught.value)


@pytest.mark.parametrize("options", [{"capacity": 0}, {"on_update": 5}, {"max_body_bytes": None}])
def test_no_frame_of_a_failed_constructor_shows_the_secret(options: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        CallbackHub(BASE, **_with_secret(options))

    assert "A-secret" not in _with_locals(caught.value)


def _with_secret(options: dict[str, Any]) -> dict[str, Any]:
    return {**options, "secret": SECRET}


def _with_locals(error: BaseException) -> str:
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    return str(error) + "".join(str(frame.locals) for frame in shown.stack if "coreclaw_async" in frame.filename)


def test_the_secret_is_not_in_the_hub() -> None:
    hub = CallbackHub(BASE, secret=SECRET)
    parts: list[Any] = [hub, vars(hub), *(vars(part) for part in vars(hub).values() if hasattr(part, "__dict__"))]

    assert "A-secret" not in repr(parts)
    assert SECRET not in hub.new_url()
