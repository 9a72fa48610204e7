"""CallbackHub: whom it believes what, and what it forgets."""

from __future__ import annotations

import gc
import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coreclaw_async import CallbackHub
from coreclaw_async.callbacks import join_hub, leave_hub

BASE = "http://127.0.0.1:9/hooks"
RUN = "01KKDXV2G26BT7NH4ZQR2R4NPZ"
OTHER = "01KKDXV2G26BT7NH4ZQR2R4NQA"


class Listener:
    def __init__(self, *, breaks: bool = False) -> None:
        self.told: list[tuple[str, str | None]] = []
        self.breaks = breaks

    def called_back(self, url: str, run_id: str | None) -> None:
        self.told.append((url, run_id))
        if self.breaks:
            raise ZeroDivisionError


@pytest.fixture
def hub() -> CallbackHub:
    return CallbackHub(BASE)


def post(hub: CallbackHub, url: str, payload: Any) -> int:
    return hub.handle(url.removeprefix("http://127.0.0.1:9"), json.dumps(payload).encode())


@pytest.mark.parametrize(
    "payload", [{"run_slug": RUN, "run_status": "succeeded"}, {"run_slug": RUN, "status": 3}, {"run_id": RUN}]
)
def test_a_callback_names_the_run_of_its_url_and_tells_the_listeners(hub: CallbackHub, payload: Any) -> None:
    url, listener = hub.new_url(), Listener()
    join_hub(hub, listener)
    assert hub.run_id_of(url) is None

    assert post(hub, url, payload) == 204

    assert hub.run_id_of(url) == RUN
    assert listener.told == [(url, RUN)]


@pytest.mark.parametrize("run", [17, True, None, "", "last", "a/b", "x" * 101, [RUN], "a\n"])
def test_what_names_no_run_wakes_but_names_nothing(hub: CallbackHub, run: Any) -> None:
    url, listener = hub.new_url(), Listener()
    join_hub(hub, listener)

    assert post(hub, url, {"run_id": run, "run_status": "running"}) == 204

    assert hub.run_id_of(url) is None
    assert listener.told == [(url, None)]


def test_an_old_number_wakes_the_run_that_the_start_was_answered_with(hub: CallbackHub) -> None:
    url, listener = hub.new_url(), Listener()
    join_hub(hub, listener)
    hub.bind(url, run_id=RUN)

    post(hub, url, {"run_id": 17, "run_status": "running"})

    assert listener.told == [(url, RUN)]


def test_another_run_is_not_believed(hub: CallbackHub, caplog: pytest.LogCaptureFixture) -> None:
    url = hub.new_url()
    post(hub, url, {"run_slug": RUN, "run_status": "running"})

    assert post(hub, url, {"run_slug": OTHER, "run_status": "succeeded"}) == 204

    assert hub.run_id_of(url) == RUN
    assert "names another run" in caplog.text
    assert url.rpartition(".")[2] not in caplog.text


def test_the_answer_of_the_start_outranks_a_callback(hub: CallbackHub) -> None:
    url = hub.new_url()
    post(hub, url, {"run_slug": OTHER})

    hub.bind(url, run_id=RUN)

    assert hub.run_id_of(url) == RUN


def test_copies_tell_once_and_each_status_once(hub: CallbackHub) -> None:
    url, listener = hub.new_url(), Listener()
    join_hub(hub, listener)

    for status in ("running", "RUNNING", "succeeded", "running", 3, 3):
        post(hub, url, {"run_slug": RUN, "run_status": status})

    assert len(listener.told) == 3


def test_the_first_name_is_told_also_when_its_status_is_not_new(hub: CallbackHub) -> None:
    url, listener = hub.new_url(), Listener()
    join_hub(hub, listener)
    post(hub, url, {"run_id": 17, "run_status": "running"})

    post(hub, url, {"run_slug": RUN, "run_status": "running"})

    assert listener.told == [(url, None), (url, RUN)]


def test_statuses_are_remembered_only_so_far(hub: CallbackHub) -> None:
    url, listener = hub.new_url(), Listener()
    join_hub(hub, listener)

    for number in range(1_000):
        post(hub, url, {"run_slug": RUN, "run_status": f"status {number}"})

    assert len(listener.told) == 16


@pytest.mark.parametrize("body", [b"", b"[]", b"3", b"null", b"{", b"\xff", b"[" * 60_000, b'"run"'])
def test_a_body_that_is_no_object_is_refused(hub: CallbackHub, body: bytes) -> None:
    url = hub.new_url()

    assert hub.handle(url.removeprefix("http://127.0.0.1:9"), body) == 400
    assert hub.run_id_of(url) is None


def test_a_body_is_read_up_to_its_limit() -> None:
    hub = CallbackHub(BASE, max_body_bytes=100)
    path = hub.new_url()
    body = b"{}".ljust(100)

    assert hub.handle(path, body) == 204
    assert hub.handle(path, body + b" ") == 413


@pytest.mark.parametrize("change", ["secret", "name", "no secret", "nothing", "slash", "unicode"])
def test_a_forged_path_is_not_found(hub: CallbackHub, change: str) -> None:
    url = hub.new_url()
    name, _, secret = url.rpartition("/")[2].partition(".")
    forged = {
        "secret": f"/hooks/{name}.{secret[:-1]}-",
        "name": f"/hooks/x{name}.{secret}",
        "no secret": f"/hooks/{name}",
        "nothing": "/hooks/",
        "slash": f"/hooks/{name}.{secret}/",
        "unicode": f"/hooks/{name}.ä\udc80",
    }[change]
    if forged.endswith(secret) and change == "secret":
        forged += "-"

    assert hub.handle(forged, b'{"run_slug": "x"}') == 404
    assert hub.run_id_of(url) is None


@given(path=st.text(), body=st.binary(max_size=300))
def test_nothing_that_is_posted_breaks_it(path: str, body: bytes) -> None:
    hub = CallbackHub(BASE)
    url = hub.new_url()

    assert hub.handle(path, body) == 404
    assert hub.handle(url, body) in {204, 400}


@given(st.lists(st.tuples(st.sampled_from(["bind", "call"]), st.sampled_from([RUN, OTHER])), min_size=1, max_size=8))
def test_the_first_name_stays_unless_the_start_was_answered(steps: list[tuple[str, str]]) -> None:
    hub = CallbackHub(BASE)
    url, expected = hub.new_url(), None
    for kind, run in steps:
        if kind == "bind":
            hub.bind(url, run_id=run)
            expected = run
        else:
            post(hub, url, {"run_slug": run})
            expected = expected or run

    assert hub.run_id_of(url) == expected


def test_a_queue_item_leads_to_its_run(hub: CallbackHub) -> None:
    url = hub.new_url()
    hub.bind(url, queue_id="item")
    assert hub.run_id_of("item") is None

    post(hub, url, {"run_slug": RUN})

    assert hub.run_id_of("item") == RUN


def test_the_oldest_urls_are_forgotten() -> None:
    hub = CallbackHub(BASE, capacity=2)
    first, second = hub.new_url(), hub.new_url()
    hub.bind(first, queue_id="item")
    third = hub.new_url()

    assert [hub.owns(url) for url in (first, second, third)] == [False, True, True]
    assert post(hub, first, {"run_slug": RUN}) == 404
    assert hub.run_id_of("item") is None


def test_a_url_of_somebody_elses_is_left_alone(hub: CallbackHub) -> None:
    hub.bind("http://127.0.0.1:9/mine", run_id=RUN)

    assert not hub.owns("http://127.0.0.1:9/mine")
    assert not hub.owns(hub.new_url().replace("/hooks/", "/others/"))
    assert hub.run_id_of("http://127.0.0.1:9/mine") is None


def test_listeners_are_not_kept_alive_and_can_leave(hub: CallbackHub) -> None:
    stays, leaves = Listener(), Listener()
    join_hub(hub, stays)
    join_hub(hub, leaves)
    join_hub(hub, Listener())
    leave_hub(hub, leaves)
    gc.collect()

    post(hub, hub.new_url(), {"run_slug": RUN})

    assert (len(stays.told), len(leaves.told)) == (1, 0)


def test_a_listener_that_fails_is_logged_and_keeps_nobody_from_being_told(
    hub: CallbackHub, caplog: pytest.LogCaptureFixture
) -> None:
    listeners = [Listener(breaks=True) for _ in range(3)]
    for listener in listeners:
        join_hub(hub, listener)

    with caplog.at_level(logging.ERROR, logger="coreclaw_async"):
        assert post(hub, hub.new_url(), {"run_slug": RUN}) == 204

    assert [len(listener.told) for listener in listeners] == [1, 1, 1]
    assert "a listener failed" in caplog.text


def test_urls_differ_and_the_repr_hides_them(hub: CallbackHub) -> None:
    urls = {hub.new_url() for _ in range(1_000)}

    assert len(urls) == 1_000
    assert all(len(url.rpartition(".")[2]) >= 32 for url in urls)
    assert repr(hub) == f"CallbackHub({BASE!r}, urls=1000)"


@pytest.mark.parametrize(
    "base",
    ["", "hooks", "ftp://host/", "http://", "http://[::1", "http://host:port/", "http://a@host", "http://h/?a=1"],
)
def test_a_base_url_that_cannot_be_one_is_refused(base: str) -> None:
    with pytest.raises(ValueError, match="base_url must"):
        CallbackHub(base)


def test_settings_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(TypeError, match="base_url must be a str"):
        CallbackHub(7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="capacity must be"):
        CallbackHub(BASE, capacity=0)
    with pytest.raises(ValueError, match="max_body_bytes must be"):
        CallbackHub(BASE, max_body_bytes=0)


def test_a_url_of_an_earlier_process_is_known_again_and_no_other() -> None:
    url = CallbackHub("http://127.0.0.1:9/hooks").new_url()
    hub = CallbackHub("http://127.0.0.1:9/hooks/", capacity=1)

    assert hub.handle(url, b'{"run_slug": "R"}') == 404
    assert hub.restore(url)
    assert hub.handle(url, b'{"run_slug": "R"}') == 204
    assert hub.restore(url)
    assert hub.run_id_of(url) == "R"
    for other in ("http://127.0.0.1:9/else/a.b", "http://127.0.0.1:9/hooks/a", "http://127.0.0.1:9/hooks/.b"):
        assert not hub.restore(other)
    assert hub.restore("http://127.0.0.1:9/hooks/a.b")
    assert not hub.owns(url), "it remembers so many only"
