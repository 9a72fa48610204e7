"""What ``on_update`` of a hub is told, and that nothing it does loses a callback."""

from __future__ import annotations

import functools
import json
import logging
from typing import Any

import attrs
import pytest

from coreclaw_async import CallbackHub, CallbackUpdate, RunStatus
from coreclaw_async.callbacks import join_hub

BASE = "http://127.0.0.1:9/hooks"
RUN = "01KKDXV2G26BT7NH4ZQR2R4NPZ"
OTHER = "01KKDXV2G26BT7NH4ZQR2R4NQA"


def post(hub: CallbackHub, url: str, **payload: Any) -> int:
    return hub.handle(url, json.dumps(payload).encode())


class Listener:
    def __init__(self, woken: list[str | None]) -> None:
        self._woken = woken

    def called_back(self, url: str, run_id: str | None) -> None:
        self._woken.append(run_id)


def name_of(url: str) -> str:
    return url.rpartition("/")[2].partition(".")[0]


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        ({"run_status": "succeeded"}, RunStatus.SUCCEEDED),
        ({"status": 3}, RunStatus.SUCCEEDED),
        ({"run_status": "submit_fail"}, "submit_fail"),
        ({"run_status": 17}, "17"),
        ({}, None),
        ({"run_status": None, "status": "failed"}, RunStatus.FAILED),
        ({"run_status": ""}, None),
        ({"run_status": {"a": 1}}, None),
        ({"run_status": "x" * 17}, None),
        ({"run_status": True}, None),
        ({"run_status": "a\nb"}, None),
        ({"run_status": "\x1b[31m"}, None),
        ({"run_status": "\ud800"}, None),
    ],
)
def test_it_is_told_the_run_and_its_status(payload: dict[str, Any], status: Any) -> None:
    told: list[CallbackUpdate] = []
    hub = CallbackHub(BASE, on_update=told.append)
    url = hub.new_url()

    assert post(hub, url, run_slug=RUN, **payload) == 204

    assert told == [CallbackUpdate(run_id=RUN, status=status, url_name=name_of(url))]
    assert type(told[0].status) is type(status)


def test_it_is_told_news_only() -> None:
    told: list[CallbackUpdate] = []
    hub = CallbackHub(BASE, on_update=told.append)
    url = hub.new_url()

    for status in ("running", "running", "succeeded", "running"):
        post(hub, url, run_slug=RUN, run_status=status)

    assert [update.status for update in told] == ["running", "succeeded"]


def test_the_run_is_the_one_that_the_start_was_answered_with() -> None:
    told: list[CallbackUpdate] = []
    hub = CallbackHub(BASE, on_update=told.append)
    url = hub.new_url()

    post(hub, url, run_id=17, run_status="ready")
    assert told == [], "nobody knows yet which run it is"
    hub.bind(url, run_id=RUN)
    post(hub, url, run_id=17, run_status="running")
    post(hub, url, run_slug=OTHER, run_status="succeeded")

    assert [(update.run_id, update.status) for update in told] == [(RUN, "ready"), (RUN, "running")]


def test_a_status_that_came_before_its_run_was_known_is_told_with_the_callback_that_names_it() -> None:
    told: list[CallbackUpdate] = []
    hub = CallbackHub(BASE, on_update=told.append)
    url = hub.new_url()

    post(hub, url, run_status="succeeded")
    assert told == []
    post(hub, url, run_slug=RUN)
    post(hub, url, run_slug=RUN, run_status="succeeded")

    assert told == [CallbackUpdate(run_id=RUN, status=RunStatus.SUCCEEDED, url_name=name_of(url))]


def test_a_status_that_came_before_its_start_was_answered_is_told_with_the_answer() -> None:
    told: list[CallbackUpdate] = []
    hub = CallbackHub(BASE, on_update=told.append)
    url = hub.new_url()

    post(hub, url, run_status="running")
    post(hub, url, run_status="succeeded")
    hub.bind(url, run_id=RUN)
    hub.bind(url, run_id=RUN)

    assert [(update.run_id, update.status) for update in told] == [(RUN, "running"), (RUN, "succeeded")]


def test_the_status_of_another_run_neither_wakes_nor_hides_the_same_status_of_its_own() -> None:
    told: list[CallbackUpdate] = []
    woken: list[str | None] = []
    hub = CallbackHub(BASE, on_update=told.append)
    listener = Listener(woken)
    join_hub(hub, listener)
    url = hub.new_url()
    hub.bind(url, run_id=RUN)

    post(hub, url, run_slug=OTHER, run_status="failed")
    assert (told, woken) == ([], [])
    post(hub, url, run_slug=RUN, run_status="failed")

    assert [(update.run_id, update.status) for update in told] == [(RUN, "failed")]
    assert woken == [RUN]


def test_statuses_of_a_run_that_was_not_the_one_started_are_told_again_for_the_one_that_was() -> None:
    told: list[CallbackUpdate] = []
    hub = CallbackHub(BASE, on_update=told.append)
    url = hub.new_url()

    post(hub, url, run_slug=OTHER, run_status="succeeded")
    hub.bind(url, run_id=RUN)
    post(hub, url, run_slug=RUN, run_status="succeeded")

    assert [(update.run_id, update.status) for update in told] == [(OTHER, "succeeded"), (RUN, "succeeded")]


def test_its_exception_is_logged_and_neither_loses_the_wake_nor_refuses_the_callback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    order: list[str] = []

    def fail(update: CallbackUpdate) -> None:
        order.append("hook")
        raise ZeroDivisionError

    class Listener:
        def called_back(self, url: str, run_id: str | None) -> None:
            order.append("wake")

    hub, listener = CallbackHub(BASE, on_update=fail), Listener()
    join_hub(hub, listener)
    url = hub.new_url()

    with caplog.at_level(logging.ERROR, logger="coreclaw_async"):
        assert post(hub, url, run_slug=RUN) == 204

    assert order == ["wake", "hook"]
    assert hub.run_id_of(url) == RUN
    assert f"the on_update hook failed on a callback about run {RUN}" in caplog.text
    assert url.rpartition(".")[2] not in caplog.text


def test_an_update_is_data() -> None:
    update = CallbackUpdate(run_id=RUN, status=RunStatus.FAILED)

    assert update.to_dict(json=True) == {"run_id": RUN, "status": "failed", "url_name": ""}
    assert CallbackUpdate.from_dict(json.loads(update.to_json())) == update
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        update.run_id = OTHER  # type: ignore[misc]


async def notify(update: CallbackUpdate) -> None:
    raise AssertionError(update)


@pytest.mark.parametrize("hook", [notify, functools.partial(notify)])
def test_an_async_hook_is_refused(hook: Any) -> None:
    with pytest.raises(TypeError, match="on_update must be a plain function"):
        CallbackHub(BASE, on_update=hook)
