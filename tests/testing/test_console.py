"""The console of a served fake over HTTP: who may use it, what it tells, and what its buttons do."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import math
import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import anyio
import httpx
import pytest
from testing.api_session import GOOD_INPUT
from testing.console_session import ACTIONS, EVENTS, MAPS, ConsoleSession, console_of
from waiting import join

from coreclaw_async.testing import FakeClock, FakeService, RunScript, faults
from coreclaw_async.testing._api.routes import OPERATIONS
from coreclaw_async.testing._console.console import MAX_STREAMS, Console
from coreclaw_async.testing._console.excerpts import excerpt
from coreclaw_async.testing._console.fault_menu import MENU, STARTING
from coreclaw_async.testing._console.guard import RefusedError, check_host
from coreclaw_async.testing._console.survey import RunWindow, Surveyor
from coreclaw_async.testing._service import count_requests, keep_newest_requests
from coreclaw_async.testing._serving.backend import Backend
from coreclaw_async.testing._state.clock import FAKE_START

PAGES = ("/", "/__console__", "/__console__/")


@pytest.fixture(scope="module")
def shared() -> Iterator[ConsoleSession]:
    """One console for all tests of this module, at a clock that only moves when it is told to."""
    with console_of(
        FakeService(clock=FakeClock(autojump=False), default_script=RunScript(rows=10, duration=100))
    ) as it:
        yield it


@pytest.fixture
def console(shared: ConsoleSession) -> ConsoleSession:
    shared.service.reset()
    return shared


@pytest.mark.parametrize("path", PAGES)
def test_the_page_runs_nothing_but_what_stands_in_it(console: ConsoleSession, path: str) -> None:
    answer = console.client.get(path, headers={"sec-fetch-site": "cross-site"})  # As by a link from elsewhere.

    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    for kind in ("script", "style"):
        (inline,) = re.findall(f"<{kind}>(.*?)</{kind}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert policy.pop(f"{kind}-src") == f"'sha256-{digest}'"
        assert len(re.findall(f"<{kind}", answer.text)) == 1
    assert policy == {
        "default-src": "'none'",
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|\son\w+=|innerHTML|\sstyle=", answer.text)


def test_every_answer_forbids_to_guess_its_type_to_be_framed_and_to_be_kept(console: ConsoleSession) -> None:
    run_id = console.service.add_run(MAPS)
    with console.client.stream("GET", EVENTS) as stream:
        answers = [stream, *map(console.client.get, (*PAGES, f"/__console__/runs/{run_id}", "/__console__/none"))]
        answers += [console.post(action="clear_faults"), console.post(action="none")]

    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers


def test_a_browser_may_ask_for_the_head_of_the_page_alone(console: ConsoleSession) -> None:
    answer = console.client.head("/")

    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > 10_000


def test_without_a_console_there_is_none_and_requests_for_it_are_recorded() -> None:
    service = FakeService()
    with service.serve() as server, httpx.Client(base_url=server.url, trust_env=False, verify=False) as client:
        codes = [client.get(path).json()["code"] for path in (*PAGES, EVENTS)]

    assert codes == [11004] * 4
    assert [request.path for request in service.requests] == [*PAGES, EVENTS]


def test_only_the_port_of_the_api_has_a_console(console: ConsoleSession) -> None:
    answers = [httpx.get(f"{console.service.files_url}{path}", trust_env=False, verify=False) for path in PAGES]

    assert [answer.status_code for answer in answers] == [404] * 3
    assert "NoSuchKey" in answers[0].text


def test_the_api_stays_what_it_was_and_the_console_is_not_among_the_requests(console: ConsoleSession) -> None:
    console.client.get("/")
    console.client.get("/favicon.ico")
    console.told()
    console.act("clear_faults")
    paths = ["/api/v2/users/account", "/api/v2/nothing", "/__console", "/nothing"]
    statuses = [console.ask(path).status_code for path in paths]

    assert statuses == [200, 404, 404, 404]
    assert [request.path for request in console.service.requests] == paths


ALLOWED_HOSTS = ["127.0.0.1:8790", "127.0.0.1", "localhost:8790", "LOCALHOST", "[::1]:8790", "10.1.2.3:80", "box.local"]
FOREIGN_HOSTS = [
    "",
    "evil.test",
    "evil.test:8790",
    "127.0.0.1.evil.test",
    "localhost.evil.test",
    "evil.test@127.0.0.1",
    "127.0.0.1:8790.evil.test",
    "127.0.0.1:123456",
    "[::1",
    "[evil]",
    "2130706433",
    "0x7f000001",
    "box.local.evil.test",
    "127.0.0.1,evil.test",
]


@pytest.mark.parametrize("host", ALLOWED_HOSTS)
def test_an_address_localhost_and_the_own_name_are_accepted(host: str) -> None:
    check_host({"host": host}, "Box.local")


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_another_name_is_refused_for_it_may_be_somebody_elses(host: str) -> None:
    with pytest.raises(RefusedError, match="by localhost or an IP address of its machine"):
        check_host({"host": host}, "box.local")


@pytest.mark.parametrize("own", ["127.0.0.1", ""])
@pytest.mark.parametrize("headers", [{}, *({"host": host} for host in FOREIGN_HOSTS)])
def test_without_a_name_of_its_own_it_accepts_addresses_alone(headers: dict[str, str], own: str) -> None:
    with pytest.raises(RefusedError):
        check_host(headers, own)


def test_a_server_that_listens_everywhere_tells_where_it_can_be_reached() -> None:
    for host in ("", "0.0.0.0"):
        with console_of(FakeService(), host=host) as console:
            assert console.origin.startswith("http://127.0.0.1:")
            assert console.service.files_url.startswith("http://127.0.0.1:")
            assert console.client.get("/").status_code == 200
            assert console.client.get("/__console__/runs/x", headers={"host": "a:b:c"}).status_code == 403


async def test_a_console_that_is_served_from_an_event_loop_tells_news() -> None:
    with console_of(FakeService()) as console, console.stream() as stream:
        stream.next()
        run_id = console.start()
        assert stream.until(lambda told: told["runs"]["list"])["runs"]["list"][0]["id"] == run_id
        console.act("stick", run_id=run_id)
        assert stream.until(lambda told: told["runs"]["list"][0]["is_stuck"])


@pytest.mark.parametrize("path", [*PAGES, EVENTS, "/__console__/runs/x", "/__console__/none", "/favicon.ico", ACTIONS])
def test_no_path_answers_to_a_name_that_points_here(console: ConsoleSession, path: str) -> None:
    method = "POST" if path == ACTIONS else "GET"
    body = {"action": "advance", "seconds": 60}
    before = console.service.clock.monotonic()

    answer = console.client.request(method, path, json=body, headers={"host": "rebound.test:8790"})

    assert (answer.status_code, list(answer.json())) == (403, ["error"])
    assert console.service.clock.monotonic() == before


@pytest.mark.parametrize(
    ("headers", "reads", "acts"),
    [
        ({}, True, True),
        ({"sec-fetch-site": "same-origin"}, True, True),
        ({"sec-fetch-site": "none"}, True, False),
        ({"sec-fetch-site": "same-site"}, False, False),
        ({"sec-fetch-site": "cross-site"}, False, False),
        ({"sec-fetch-site": "new-word"}, False, False),
        ({"origin": "own"}, True, True),
        ({"origin": "own", "sec-fetch-site": "cross-site"}, False, False),
        ({"origin": "http://evil.test"}, False, False),
        ({"origin": "http://127.0.0.1:1"}, False, False),
        ({"origin": "http://127.0.0.1"}, False, False),
        ({"origin": "null"}, False, False),
        ({"origin": ""}, False, False),
        ({"origin": "http://evil.test", "sec-fetch-site": "same-origin"}, False, False),
    ],
)
def test_a_page_of_another_origin_neither_reads_nor_acts(
    console: ConsoleSession, headers: dict[str, str], *, reads: bool, acts: bool
) -> None:
    run_id = console.service.add_run(MAPS)
    sent = {name: console.origin if value == "own" else value for name, value in headers.items()}
    before = console.service.clock.monotonic()

    read = [console.client.get(f"/__console__/runs/{run_id}", headers=sent).status_code]
    with console.client.stream("GET", EVENTS, headers=sent) as stream:
        read.append(stream.status_code)
    acted = console.client.post(ACTIONS, json={"action": "advance", "seconds": 60}, headers=sent)

    assert read == [200 if reads else 403] * 2
    assert acted.status_code == (200 if acts else 403)
    assert console.service.clock.monotonic() == before + (60 if acts else 0)


@pytest.mark.parametrize(
    "kind", [None, "", "text/plain", "application/x-www-form-urlencoded", "text/plain; application/json"]
)
def test_a_form_cannot_act(console: ConsoleSession, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}

    answer = console.client.post(ACTIONS, content=b'{"action": "advance", "seconds": 60}', headers=headers)

    assert (answer.status_code, answer.json()["error"]) == (415, "The content type must be application/json.")


def test_a_content_type_may_have_parameters(console: ConsoleSession) -> None:
    headers = {"content-type": "Application/JSON; charset=utf-8"}

    assert console.client.post(ACTIONS, content=b'{"action": "clear_faults"}', headers=headers).status_code == 200


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"1", b"null", b'"finish"', b"\xff", b"[" * 9_000, b'{"action": ' + b"[" * 9_000],
    ids=lambda content: str(content)[:12],
)
def test_a_body_that_is_no_object_is_refused(console: ConsoleSession, content: bytes) -> None:
    answer = console.post(content)

    assert (answer.status_code, answer.json()["error"]) == (400, "The body must be a JSON object.")


def test_a_body_that_is_too_big_is_refused_before_it_is_read_to_its_end(console: ConsoleSession) -> None:
    answers = [console.post(b" " * size) for size in (10_000, 10_001, 2_000_000)]

    assert [answer.status_code for answer in answers] == [400, 413, 413]
    assert "10,000 bytes" in answers[1].json()["error"]


async def test_an_action_whose_sender_leaves_before_its_end_does_nothing() -> None:
    service = FakeService()
    backend: Backend = service._backend
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": b'{"action": "advance", "seconds": 60}', "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"method": "POST", "raw_path": ACTIONS.encode(), "query_string": b"", "headers": headers}
    await Console(lambda: backend, "localhost").answer(scope, receive, send)

    assert (sent[0]["status"], service.clock.monotonic()) == (400, 0)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/", "GET, HEAD"),
        ("PUT", "/__console__/", "GET, HEAD"),
        ("HEAD", EVENTS, "GET"),
        ("POST", "/__console__/runs/x", "GET"),
        ("GET", ACTIONS, "POST"),
    ],
)
def test_another_method_is_refused(console: ConsoleSession, method: str, path: str, allowed: str) -> None:
    answer = console.client.request(method, path)

    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_the_key_is_nowhere_in_the_console(console: ConsoleSession) -> None:
    run_id = console.start()
    console.ask("/api/v2/users/account?token=test-key")
    with console.client.stream("GET", EVENTS) as stream:
        told = next(stream.iter_lines())

    texts = [told, console.client.get("/").text, json.dumps(console.details(run_id))]
    assert run_id in told
    assert [text for text in texts if console.service.api_key in text] == []


def test_runs_are_told_with_their_counts_cost_and_clock(console: ConsoleSession) -> None:
    console.service.add_run(MAPS, status="failed", rows=5, age=1000)
    run_id = console.start()
    console.service.clock.advance(50)
    told = console.told()

    assert told["counts"] == {"by_status": {"failed": 1, "running": 1}, "total": 2, "cost": "0.005"}
    assert told["now"] == console.service.clock.time()
    assert (told["runs"]["fitting"], told["runs"]["offset"], told["runs"]["limit"]) == (2, 0, 50)
    assert told["runs"]["list"][0] == {
        "id": run_id,
        "worker": MAPS,
        "input": '"keywords": ["coffee"]',
        "status": "running",
        "is_final": False,
        "is_stuck": False,
        "rows": 5,
        "cost": "0.005",
        "created_at": console.service.clock.time() - 50,
        "seconds": 50,
    }
    assert [run["status"] for run in told["runs"]["list"]] == ["running", "failed"]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"parameters": {"custom": {"url": "x"}}}, '"url": "x"'),
        ({"parameters": {"custom": {}}}, ""),
        ({"parameters": {"custom": {}, "system": {"cpus": 1}}}, '"parameters": {"custom": {}, "system": {"cpus": 1}}'),
        ({"url": "x"}, '"url": "x"'),
        ({}, ""),
    ],
)
def test_line_of_a_run_shows_what_its_worker_is_told(console: ConsoleSession, given: Any, shown: str) -> None:
    console.service.add_run(MAPS, input=given)

    assert console.told()["runs"]["list"][0]["input"] == shown


def test_a_started_run_is_seen_to_move_to_its_end(console: ConsoleSession) -> None:
    with console.stream() as stream:
        assert stream.next()["runs"]["list"] == []
        console.start()
        stream.until(lambda told: [run["status"] for run in told["runs"]["list"]] == ["running"])
        console.service.clock.advance(100)
        told = stream.until(lambda told: [run["status"] for run in told["runs"]["list"]] == ["succeeded"])

    assert told["counts"] == {"by_status": {"succeeded": 1}, "total": 1, "cost": "0.010"}


def test_only_what_has_changed_is_told_again(console: ConsoleSession) -> None:
    console.start()
    with console.stream() as stream:
        first, second = stream.next(), stream.next()
        console.ask()
        third = next(news for news in iter(stream.next, None) if len(news) > 1)

    assert first.keys() == {"now", "menu", "counts", "runs", "faults", "requests"}
    assert second.keys() == {"now"}
    assert third.keys() == {"now", "requests"}


def test_a_page_sees_its_part_of_many_runs_newest_first(console: ConsoleSession) -> None:
    ids = [console.service.add_run(MAPS, age=1000 - number) for number in range(120)]

    parts = [console.told(offset=offset)["runs"] for offset in (0, 50, 100, 150)]

    assert [run["id"] for part in parts for run in part["list"]] == ids[::-1]
    assert [(part["offset"], len(part["list"]), part["fitting"]) for part in parts] == [
        (0, 50, 120),
        (50, 50, 120),
        (100, 20, 120),
        (150, 0, 120),
    ]


def test_runs_are_found_by_status_and_by_what_is_written_about_them(console: ConsoleSession) -> None:
    service = console.service
    service.add_worker("acme/News-Reader")
    tea = service.add_run(MAPS, input={"parameters": {"custom": {"keywords": ["Grüner Tee"]}}}, status="failed")
    news = service.add_run("acme/News-Reader", input={"anything": "else"})
    odd = service.add_run(MAPS, status="odd")

    def found(**query: str) -> list[str]:
        told = console.told(**query)
        assert sum(told["counts"]["by_status"].values()) == 3  # Whatever is searched.
        return [run["id"] for run in told["runs"]["list"]]

    assert found(text=" GRÜNER tee ") == [tea]
    assert found(text="news-reader") == found(text=news.lower()) == found(text='"anything": "else"') == [news]
    assert found(status="failed") == found(status="failed", text="tee") == [tea]
    assert found(status="odd") == [odd]
    assert found(status="running") == found(status="odd", text="tee") == []


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"offset": "-1"}, "'offset'"),
        ({"offset": "x"}, "'offset'"),
        ({"offset": "²"}, "'offset'"),
        ({"offset": "1" * 10}, "'offset'"),
        ({"text": "x" * 201}, "'text'"),
    ],
)
def test_a_window_that_cannot_be_is_refused(console: ConsoleSession, query: dict[str, str], told: str) -> None:
    answer = console.client.get(EVENTS, params=query)

    assert answer.status_code == 400
    assert told in answer.json()["error"]


async def test_many_runs_are_looked_at_a_few_at_a_time() -> None:
    service = FakeService()
    for number in range(1000):
        service.add_run(MAPS, age=number)
    turns = 0

    async def others_work() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(others_work)
        found = await Surveyor().look(service._backend, RunWindow(0, "", ""))
        tasks.cancel_scope.cancel()

    assert (found.fitting, len(found.runs)) == (1000, 50)
    assert turns >= 1000 // 200 - 1


def test_requests_are_told_as_they_come_and_as_they_end(console: ConsoleSession) -> None:
    console.ask()
    console.service.faults.add(faults.delay(0.3), operation="listStore")
    with console.stream() as stream:
        first = stream.next()["requests"]
        thread = threading.Thread(target=console.ask, args=("/api/v2/store",))
        thread.start()
        waiting = stream.until(lambda told: told["requests"]["total"] == 2)["requests"]
        ended = stream.until(lambda told: told["requests"]["list"][0]["milliseconds"] is not None)["requests"]
        join(thread)

    assert (first["is_fresh"], first["total"]) == (True, 1)
    assert first["list"] == [
        {
            "number": 1,
            "at": console.service.clock.time(),
            "method": "GET",
            "what": "getAccount",
            "status": 200,
            "milliseconds": 0.0,
            "fault": None,
        }
    ]
    assert [(one["number"], one["what"], one["status"], one["fault"]) for one in waiting["list"]] == [
        (2, "listStore", None, "delay")
    ]
    assert (waiting["is_fresh"], ended["is_fresh"], ended["list"][0]["status"]) == (False, False, 200)


def test_a_lost_answer_and_an_unknown_path_are_told(console: ConsoleSession) -> None:
    console.service.faults.add(faults.commit_then_drop())
    with pytest.raises(httpx.TransportError):
        console.ask()
    console.ask("/" + "x" * 300)

    lost, unknown = console.told()["requests"]["list"]

    assert (lost["status"], lost["milliseconds"], lost["fault"]) == (None, 0.0, "commit_then_drop")
    assert unknown["what"] == f"/{'x' * 199}\N{HORIZONTAL ELLIPSIS}"


def test_of_many_requests_the_newest_are_told(console: ConsoleSession) -> None:
    requests = console.service.requests
    with console.stream() as stream:
        stream.next()
        console.ask()
        stream.until(lambda told: told["requests"]["total"] == 1)
        requests += [requests[0]] * 500
        told = stream.until(lambda told: told["requests"]["total"] == 501)["requests"]

    assert [one["number"] for one in told["list"]] == list(range(402, 502))


def test_requests_that_are_forgotten_keep_their_numbers_and_are_counted(console: ConsoleSession) -> None:
    keep_newest_requests(console.service, 3)
    with console.stream() as stream:
        stream.next()
        for _ in range(2):
            console.ask()
        first = stream.until(lambda told: told["requests"]["total"] == 2)["requests"]
        with console.service._backend.lock:  # pyright: ignore[reportPrivateUsage] - so that they are told together
            for _ in range(5):
                console.service._backend.keep(console.service.requests[-1])  # pyright: ignore[reportPrivateUsage]
        told = stream.until(lambda told: told["requests"]["total"] == 7)["requests"]

    assert first["list"][-1]["number"] == 2
    assert not told["is_fresh"]
    assert [one["number"] for one in told["list"]] == [5, 6, 7]
    assert (len(console.service.requests), count_requests(console.service)) == (3, 7)
    assert console.told()["requests"]["total"] == 7


def test_of_many_requests_that_wait_the_newest_are_watched(console: ConsoleSession) -> None:
    console.service.faults.add(faults.stall(), operation="listStore")
    with pytest.raises(httpx.ReadTimeout):
        console.client.get("/api/v2/store", timeout=httpx.Timeout(20.0, read=2.0))
    (waiting,) = console.service.requests
    waiting.ended_at = None
    console.service.requests.extend([waiting] * 60)
    with console.stream() as stream:
        stream.next()
        console.service.requests.extend([waiting] * 60)
        stream.until(lambda told: told["requests"]["total"] == 121)
        waiting.ended_at = waiting.at
        told = stream.until(lambda told: told["requests"]["list"][0]["milliseconds"] is not None)["requests"]

    assert [one["number"] for one in told["list"]] == list(range(22, 122))


def test_a_list_of_requests_that_begins_anew_replaces_what_was_told(console: ConsoleSession) -> None:
    for _ in range(3):
        console.ask()
    with console.stream() as stream:
        stream.next()
        console.service.requests.clear()
        cleared = stream.until(lambda told: told["requests"]["total"] == 0)["requests"]
        console.ask()
        again = stream.until(lambda told: told["requests"]["total"] == 1)["requests"]

    assert (cleared["is_fresh"], cleared["list"]) == (True, [])
    assert (again["is_fresh"], [one["number"] for one in again["list"]]) == (False, [1])


def test_a_service_that_is_reset_is_told_from_its_beginning(console: ConsoleSession) -> None:
    console.start()
    with console.stream() as stream:
        assert stream.next()["counts"]["by_status"] == {"running": 1}
        console.service.reset()
        console.ask()
        told = stream.until(lambda told: told["counts"]["by_status"] == {})["requests"]
        # The page may be told of the reset before the request has come.
        listed = told["list"] or stream.until(lambda told: told["requests"]["list"])["requests"]["list"]

    assert told["is_fresh"]
    assert [(one["number"], one["what"]) for one in listed] == [(1, "getAccount")]


def test_more_pages_than_a_browser_can_serve_are_refused_clearly_until_one_leaves(console: ConsoleSession) -> None:
    with ExitStack() as stack:
        streams = [stack.enter_context(console.stream()) for _ in range(MAX_STREAMS)]
        assert all(stream.next() for stream in streams)
        with console.client.stream("GET", EVENTS) as refused:
            assert refused.status_code == 503
            refused.read()
    give_up = time.monotonic() + 20
    while True:
        with console.client.stream("GET", EVENTS) as again:
            if again.status_code == 200:
                break
        assert time.monotonic() < give_up

    assert refused.headers["retry-after"] == "2"
    assert refused.json()["error"] == "The console is open 5 times already, which is as often as it can be."


def test_streams_end_whole_when_the_server_stops() -> None:
    with FakeService().serve(console=True) as server, ExitStack() as stack:
        client = stack.enter_context(httpx.Client(trust_env=False, verify=False))
        lines = stack.enter_context(client.stream("GET", f"{server.url}{EVENTS}")).iter_lines()
        next(lines)
        stays_open = stack.pop_all()
    with stays_open:
        rest = list(lines)  # An answer that is cut off would raise.

    assert "" in rest


def test_runs_are_ended_and_kept_by_their_buttons(console: ConsoleSession) -> None:
    ids = [console.start() for _ in range(4)]
    console.service.clock.advance(50)
    said = [
        console.act(action, run_id=run_id)
        for action, run_id in zip(("finish", "fail", "abort", "stick"), ids, strict=True)
    ]
    now = [console.service.runs[run_id].status for run_id in ids]
    console.service.clock.advance(100_000)
    told = console.told()["runs"]["list"][::-1]

    assert now == ["succeeded", "failed", "aborting", "running"]
    assert [(run["status"], run["rows"], run["is_stuck"]) for run in told] == [
        ("succeeded", 10, False),
        ("failed", 5, False),
        ("aborted", 5, False),
        ("running", 5, True),
    ]
    assert said == [
        f"Run {ids[0]} has succeeded.",
        f"Run {ids[1]} has failed.",
        f"Run {ids[2]} is being aborted.",
        f"Run {ids[3]} stays running until you end it.",
    ]


@pytest.mark.parametrize("action", ["finish", "fail", "abort", "stick"])
def test_a_run_that_has_ended_or_is_unknown_stays_what_it_is(console: ConsoleSession, action: str) -> None:
    run_id = console.service.add_run(MAPS, status="failed" if action == "finish" else "succeeded")
    before = console.service.runs[run_id].status

    assert console.refusal(action=action, run_id=run_id) == (409, f"Run {run_id} has already ended.")
    unknown: Any
    for unknown in ("none", "", None, 1, [run_id], {}, "\ud800"):
        assert console.refusal(action=action, run_id=unknown) == (404, "There is no such run.")
    assert console.service.runs[run_id].status == before


@pytest.mark.parametrize(("action", "status"), [("finish", "succeeded"), ("fail", "failed")])
def test_a_second_press_of_the_button_that_has_ended_a_run_says_the_same_and_changes_nothing(
    console: ConsoleSession, action: str, status: str
) -> None:
    run_id = console.start()
    said = console.act(action, run_id=run_id)
    before = console.service.runs[run_id].changes

    assert console.act(action, run_id=run_id) == said == f"Run {run_id} has {status}."
    assert console.service.runs[run_id].changes == before


def test_a_run_that_is_aborting_is_not_said_to_be_aborted_again(console: ConsoleSession) -> None:
    run_id = console.start()
    for action in ("abort", "stick"):
        console.act(action, run_id=run_id)

    told = f"Run {run_id} is aborting already: Finish or Fail ends it."
    assert console.refusal(action="abort", run_id=run_id) == (409, told)
    assert console.act("fail", run_id=run_id) == f"Run {run_id} has failed."


def test_the_clock_is_advanced(console: ConsoleSession) -> None:
    before = console.service.clock.monotonic()

    said = console.act("advance", seconds=3600)

    assert said == "The clock is 3,600 seconds ahead of where it was."
    assert console.service.clock.monotonic() == before + 3600


@pytest.mark.parametrize("seconds", [0, -1, 366 * 86_400 + 1, math.nan, math.inf, "60", None, True, [60], 10**400])
def test_the_clock_is_not_advanced_by_what_is_no_time(console: ConsoleSession, seconds: Any) -> None:
    before = console.service.clock.monotonic()

    assert console.refusal(action="advance", seconds=seconds)[0] == 400
    assert console.service.clock.monotonic() == before


def test_the_clock_is_not_advanced_to_where_dates_end(console: ConsoleSession) -> None:
    console.service.clock.set_time(datetime(8999, 12, 1, tzinfo=UTC).timestamp())

    console.act("advance", seconds=86_400)
    refusal = console.refusal(action="advance", seconds=366 * 86_400)
    answer = console.ask()
    console.service.clock.set_time(FAKE_START)

    assert refusal == (409, "The clock cannot be advanced beyond the year 9000.")
    assert answer.status_code == 200


@pytest.mark.parametrize("action", [None, "", "reset", "__class__", 1, ["finish"], {}])
def test_an_action_that_there_is_not_is_refused(console: ConsoleSession, action: Any) -> None:
    status, told = console.refusal(action=action)

    assert status == 400
    assert told.startswith("'action' must be one of finish, fail, abort, stick, advance, add_fault, clear_faults")


def test_the_answer_of_the_next_start_is_lost(console: ConsoleSession) -> None:
    said = console.act("add_fault", fault="commit_then_drop", operation="starts")
    planned = console.told()["faults"]
    assert console.ask().status_code == 200
    with pytest.raises(httpx.TransportError):
        console.start()

    assert said == "Do it, then lose the answer: planned for starts, 1 request."
    assert planned["list"] == [
        {
            "words": "Do it, then lose the answer",
            "where": "starts",
            "left": 1,
            "seconds": None,
            "begins_in": 0,
            "after": 0,
            "probability": 1,
        }
    ]
    assert console.service.runs_created == 1
    assert console.told()["faults"] == {"count": 0, "list": []}
    assert console.start()


def test_every_operation_that_starts_a_paid_run_counts_as_a_start() -> None:
    named = {one.name for one in OPERATIONS if one.method == "POST" and re.match("(re)?run|activate", one.name)}

    assert named == STARTING


@pytest.mark.parametrize("name", MENU)
def test_each_fault_of_the_menu_can_be_planned_and_is_told_in_its_words(console: ConsoleSession, name: str) -> None:
    entry = MENU[name]
    said = console.act("add_fault", fault=name, operation="listStore", count=2)
    (planned,) = console.told()["faults"]["list"]

    how_long = {"requests": ", 2 requests", "minutes": ", 2 minutes", "chance": ", until it is cleared"}[entry.unit]
    assert said == f"{entry.words}: planned for listStore{how_long}."
    assert planned["words"] == entry.words
    assert (planned["where"], planned["left"], planned["seconds"]) == (
        "listStore",
        2 if entry.unit == "requests" else None,
        120 if entry.unit == "minutes" else None,
    )
    assert planned["probability"] == (0.1 if entry.unit == "chance" else 1)
    assert console.ask().status_code == 200


def test_each_name_on_the_menu_is_told_with_its_unit(console: ConsoleSession) -> None:
    menu = console.told()["menu"]

    assert [entry["name"] for entry in menu["faults"]] == list(MENU)
    assert {entry["unit"] for entry in menu["faults"]} == {"requests", "minutes", "chance"}
    assert {"runWorker", "download"} < set(menu["operations"])


@pytest.mark.parametrize(
    ("name", "status"), [("commit_then_status", 502), ("status", 503), ("rate_limited", 429), ("outage", 502)]
)
def test_a_planned_fault_is_shown(console: ConsoleSession, name: str, status: int) -> None:
    console.act("add_fault", fault=name, operation=None)

    answer = console.ask()

    assert answer.status_code == status
    assert console.told()["requests"]["list"][0]["fault"] is not None


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "'fault' must be one"),
        ({"fault": "none"}, "'fault' must be one"),
        ({"fault": ["outage"]}, "'fault' must be one"),
        ({"fault": "outage", "operation": "none"}, "'operation' must be an operation id"),
        ({"fault": "outage", "operation": ["runWorker"]}, "'operation' must be an operation id"),
        ({"fault": "outage", "operation": ""}, "'operation' must be an operation id"),
        *(
            ({"fault": "outage", "count": count}, "'count' must be a number of minutes above 0 and up to 1,440")
            for count in (0, -1, 1441, math.nan, math.inf, "1", None, True, [1])
        ),
        *(
            ({"fault": "status", "count": count}, "'count' must be a number of requests above 0 and up to 1,000")
            for count in (0, 1001, 1.5, math.nan)
        ),
    ],
)
def test_a_fault_that_cannot_be_is_refused(console: ConsoleSession, body: dict[str, Any], told: str) -> None:
    status, error = console.refusal(action="add_fault", **body)

    assert status == 400
    assert error.startswith(told)
    assert console.service.faults.pending == 0


def test_planned_faults_are_cleared(console: ConsoleSession) -> None:
    console.act("add_fault", fault="outage", count=0.5)

    assert console.act("clear_faults") == "No faults are planned any more."
    assert console.service.faults.pending == 0


def test_faults_that_a_test_has_planned_are_told_too(console: ConsoleSession) -> None:
    plan = console.service.faults
    plan.add(faults.edit(dict), operation="download", times=3, after=2)
    plan.add(faults.redirect("https://evil.test"), match=lambda _: True, probability=0.25)
    plan.add(faults.outage(minutes=2, failure=faults.refuse_connection()))
    plan.add(faults.flap(down_minutes=1, up_minutes=1))
    plan.add(faults.flap(down_minutes=1, up_minutes=2, failure=faults.insert_front(3)))
    plan.add(faults.stall(commit=False))
    plan.add(faults.outage(minutes=5, after_minutes=10))
    told = console.told()["faults"]["list"]

    assert [(one["words"], one["where"]) for one in told] == [
        ("edit: it is done, the answer is changed", "download"),
        ("redirect: nothing is done, the answer is 307", "every API request, some of them"),
        ("Outage: nothing is done, the connection is reset", "every API request"),
        ("Flapping by turns of 60 seconds: nothing is done, the answer is 502", "every API request"),
        (
            "Flapping, 60 seconds with and 120 without: new items in front: 3, it is done, the answer comes as it is",
            "every API request",
        ),
        ("stall: nothing is done, no answer comes", "every API request"),
        ("Outage: nothing is done, the answer is 502", "every API request"),
    ]
    assert [(one["begins_in"], one["seconds"]) for one in told[-2:]] == [(0, None), (600, 300)]
    assert [(one["left"], one["seconds"], one["after"], one["probability"]) for one in told[:3]] == [
        (3, None, 2, 1),
        (None, None, 0, 0.25),
        (None, 120, 0, 1),
    ]


@pytest.mark.parametrize(
    ("failure", "effect"),
    [
        (faults.status(502), "nothing is done, the answer is 502"),
        (faults.commit_then_status(502), "it is done, the answer is 502"),
        (faults.error(13000, 200), "nothing is done, the answer is 200"),
        (faults.error(13000, 200, commit=True), "it is done, the answer is 200"),
        (faults.rate_limited(), "nothing is done, the answer is 429"),
        (faults.stall(), "it is done, no answer comes"),
        (faults.stall(commit=False), "nothing is done, no answer comes"),
        (faults.commit_then_drop(), "it is done, the connection is lost"),
        (faults.drop_before_commit(), "nothing is done, the connection is lost"),
        (faults.truncate(), "it is done, the answer is cut short"),
        (faults.edit(dict), "it is done, the answer is changed"),
        (faults.delay(3), "it is done, the answer comes as it is, 3 seconds late"),
        (faults.delay(1), "it is done, the answer comes as it is, 1 second late"),
        (faults.drip(), "it is done, the answer comes as it is, in small pieces"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_words_for_an_outage_tell_whether_what_is_asked_for_is_done(
    console: ConsoleSession, failure: faults.Fault, effect: str
) -> None:
    console.service.faults.add(faults.outage(minutes=2, failure=failure))

    assert [one["words"] for one in console.told()["faults"]["list"]] == [f"Outage: {effect}"]


def test_a_chance_takes_no_count(console: ConsoleSession) -> None:
    count: Any
    for count in (None, 0, 0.5, "x"):
        assert "one request in ten" in console.act("add_fault", fault="chance", count=count)


def test_of_very_many_planned_faults_the_first_are_told(console: ConsoleSession) -> None:
    for _ in range(60):
        console.service.faults.add(faults.stall())

    told = console.told()["faults"]

    assert (told["count"], len(told["list"])) == (60, 50)


def test_a_run_is_told_in_detail(console: ConsoleSession) -> None:
    console.service.next_script = RunScript(
        rows=30, duration=100, outcome="failed", error_message="boom", log=["a"] * 120
    )
    run_id = console.start()
    created = console.service.clock.time()
    console.service.clock.advance(50)
    running = console.details(run_id)
    console.service.clock.advance(50)
    ended = console.details(run_id)

    assert running["timeline"] == [
        {"at": created, "status": "created", "is_past": True},
        {"at": created, "status": "running", "is_past": True},
        {"at": created + 100, "status": "failed", "is_past": False},
    ]
    assert (running["visible_rows"], running["rows"], ended["visible_rows"]) == (15, 15, 30)
    assert [len(told["first_rows"]) for told in (running, ended)] == [15, 20]
    assert json.loads(ended["first_rows"][19])["rank"] == 20
    assert json.loads(ended["input"]) == GOOD_INPUT
    assert (len(ended["log"]), ended["log_lines"]) == (100, 121)
    assert ended["log"][-1] == {"at": created + 100, "level": "error", "text": "boom"}
    assert (running["error"], ended["error"], ended["is_paid"], ended["origin"]) == ("", "boom", True, "openapi")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (
            "https://hooks.test:8443/coreclaw/NAME.PROOF?key=PROOF#PROOF",
            "https://hooks.test:8443/\N{HORIZONTAL ELLIPSIS}",
        ),
        ("http://user:PROOF@hooks.test/x", "http://hooks.test/\N{HORIZONTAL ELLIPSIS}"),
        ("http://hooks.test?PROOF", "http://hooks.test/\N{HORIZONTAL ELLIPSIS}"),
        ("http://127.0.0.1:9/" + "PROOF" * 600_000, "http://127.0.0.1:9/\N{HORIZONTAL ELLIPSIS}"),
        ("http://[PROOF", "This cannot be shown: ValueError."),
    ],
    ids=lambda value: value[:20],
)
def test_of_a_callback_url_only_the_site_is_told_as_the_rest_is_a_secret(
    console: ConsoleSession, url: str, told: str
) -> None:
    run_id = console.start()
    console.service.runs[run_id].callback_url = url
    details, stream = console.details(run_id), console.told()

    assert details["callback_to"] == told
    assert "PROOF" not in json.dumps([details, stream])


def test_whatever_a_run_is_made_of_is_told_cut(console: ConsoleSession) -> None:
    long = "x" * 100_000
    worker = console.service.add_worker(f"acme/{long}")
    script = RunScript(statuses=[(number * 0.001, f"{number} {long}") for number in range(200)], error_message=long)
    run_id = console.service.add_run(worker, script=script, origin=long)
    run = console.service.runs[run_id]
    run.version, run.task_id, run.queue_ref, run.callback_url = long, long, long, f"http://{long}/"
    for _ in range(500):
        console.service.faults.add(faults.drip())
    console.ask()
    details, told = console.details(run_id), console.told(status=f"199 {'x' * 36}\N{HORIZONTAL ELLIPSIS}")

    assert len(json.dumps(details)) < 30_000
    assert len(json.dumps(told)) < 10_000
    assert told["runs"]["list"][0]["status"] == f"199 {'x' * 36}\N{HORIZONTAL ELLIPSIS}"
    assert len(told["requests"]["list"][0]["fault"]) == 201


def test_of_very_many_statuses_the_most_common_are_told_and_all_are_counted(console: ConsoleSession) -> None:
    for number in range(100):
        console.service.add_run(MAPS, status=f"status {number}")
    console.service.add_run(MAPS, status="status 99")
    counts = console.told()["counts"]

    assert (len(counts["by_status"]), counts["by_status"]["status 99"], counts["total"]) == (30, 2, 101)


class Unspeakable:
    """What raises whenever it is looked at."""

    def __repr__(self) -> str:
        raise RuntimeError

    def __bool__(self) -> bool:
        raise RuntimeError


IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "usage": {"script": RunScript(usage="abc")},
    "no usage": {"script": RunScript(usage="sNaN")},
    "endless usage": {"script": RunScript(usage="Infinity")},
    "huge usage": {"script": RunScript(usage="1E+99999")},
    "tiny usage": {"script": RunScript(usage="1E-99999")},
    "never": {"script": RunScript(statuses=[(-math.inf, "running"), (0, "odd")])},
    "status": {"script": RunScript(statuses=[(0, None), (1, 2)])},  # type: ignore[list-item]
    "long ago": {"age": 1e300},
    "log": {"script": RunScript(log=[1])},  # type: ignore[list-item]
    "error": {"script": RunScript(error_message=5, duration=0)},  # type: ignore[arg-type]
    "no error": {"script": RunScript(error_message=None, duration=0)},  # type: ignore[arg-type]
    "input": {"input": {"a": Unspeakable()}},
    "whole input": {"input": Unspeakable()},
    "row": {"script": RunScript(rows=[{"a": Unspeakable()}], duration=0)},
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_run_that_cannot_be_is_told_among_the_others(console: ConsoleSession, name: str) -> None:
    good = console.start()
    odd = console.service.add_run(MAPS, **IMPOSSIBLE[name])
    console.service.runs[odd].paid = True
    told, found, details = console.told(), console.told(text="none"), console.details(odd)

    assert {run["id"] for run in told["runs"]["list"]} == {good, odd}
    assert (told["counts"]["total"], found["runs"]["fitting"]) == (2, 0)
    assert re.fullmatch(r"[\d.]+", told["counts"]["cost"])
    assert details["id"] == odd


def test_what_cannot_be_told_of_a_run_is_said(console: ConsoleSession) -> None:
    console.service.add_run(MAPS, script=RunScript(usage="abc"), age=0)
    (line,) = console.told()["runs"]["list"]
    run_id = console.service.add_run(MAPS, script=RunScript(log=[1]))  # type: ignore[list-item]

    assert (line["input"], line["status"]) == ("This cannot be shown: InvalidOperation.", "running")
    assert (line["rows"], line["cost"], line["seconds"], line["is_final"]) == (None, None, None, False)
    assert [one["text"] for one in console.details(run_id)["log"]] == ["This cannot be shown: TypeError."]


def test_of_a_log_with_very_many_lines_only_the_shown_ones_are_made(console: ConsoleSession) -> None:
    class Lines(list[str]):
        read = 0

        def __getitem__(self, index: Any) -> Any:
            self.read += 1
            return super().__getitem__(index)

    log = Lines(f"line {number}" for number in range(100_000))
    run_id = console.service.add_run(MAPS, script=RunScript(log=log, duration=100), age=0)
    console.service.clock.advance(50)
    details = console.details(run_id)

    assert (len(details["log"]), details["log_lines"], log.read) == (100, 50_000, 100)
    assert details["log"][-1]["text"] == "line 49999"


def test_an_end_that_never_comes_is_not_told(console: ConsoleSession) -> None:
    run_id = console.service.add_run(MAPS, script=RunScript(rows=1, duration=math.inf))

    assert [change["status"] for change in console.details(run_id)["timeline"]] == ["created", "running"]


def test_a_run_that_there_is_not_has_no_details(console: ConsoleSession) -> None:
    for path in ("none", "", "a/b", "%00", "%F0%9F%92%A9"):
        assert console.client.get(f"/__console__/runs/{path}").status_code == 404


HOSTILE: list[Any] = [
    "<script>alert(1)</script>",
    "\u202e\u0000\x1b[2J\u2028",
    "\ud800",
    math.nan,
    -math.inf,
    2**80,
    {"</pre>": ["x" * 50_000] * 100},
]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value)[:12])
def test_hostile_input_is_told_as_text_of_bounded_length(console: ConsoleSession, value: Any) -> None:
    custom = {"keywords": ["coffee"], "note": value}
    # The API refuses what is no number, and a test may add any run.
    given = {"parameters": {"custom": custom}}
    run_id = console.service.add_run(MAPS, input=given) if isinstance(value, float) else console.start(custom)
    details = console.details(run_id)
    (line,) = console.told()["runs"]["list"]

    assert details["input"].startswith('{\n  "parameters": {')
    assert len(details["input"]) <= 20_001
    assert line["input"].startswith('"keywords": ["coffee"], "note": ')
    assert len(line["input"]) <= 161


def test_rows_and_logs_of_any_kind_are_told_as_text(console: ConsoleSession) -> None:
    deep: Any = []
    for _ in range(5_000):
        deep = [deep]
    rows: list[Any] = [{"a": Decimal("1.50")}, {("no", "key"): 1}, {"a": "x" * 5000}, {"a": deep}, {"<b>": "\ud800"}]
    script = RunScript(rows=rows, duration=0, log=[("<b>", "y" * 5000), "\ud800"], row_ids=False)
    run_id = console.service.add_run("coreclaw/google-maps-scraper", script=script)
    told = console.details(run_id)

    assert told["first_rows"][0] == '{"a": "Decimal(\'1.50\')"}'
    assert told["first_rows"][1] == "This cannot be shown: TypeError."
    assert told["first_rows"][2] == f'{{"a": "{"x" * 1993}\N{HORIZONTAL ELLIPSIS}'
    assert told["first_rows"][3] == "This cannot be shown: RecursionError."
    assert told["first_rows"][4] == '{"<b>": "\ud800"}'
    assert [len(line["text"]) for line in told["log"]] == [2001, 1]


def test_of_a_huge_value_only_the_beginning_is_written() -> None:
    class Endless(dict[str, Any]):
        def items(self) -> Any:
            return zip(map(str, itertools.count()), itertools.repeat(1))

    class Long(str):
        __slots__ = ()

        def __getitem__(self, index: Any) -> str:
            return super().__getitem__(index)

        def __str__(self) -> str:
            raise AssertionError

    assert excerpt(Endless(a=1), 20) == '{"0": 1, "1": 1, "2"\N{HORIZONTAL ELLIPSIS}'
    assert excerpt([[2, 3, 4]] * 1000, 12) == "[[2, 3, 4], \N{HORIZONTAL ELLIPSIS}"
    assert excerpt({"a": Long("x" * 10_000_000), "b": 1}, 20) == f'{{"a": "{"x" * 13}\N{HORIZONTAL ELLIPSIS}'
    assert excerpt({Long("x" * 10_000_000): 1}, 20) == f'{{"{"x" * 18}\N{HORIZONTAL ELLIPSIS}'


@pytest.mark.parametrize(
    "value", [{"a": [1, "b", None, 1.5, {"c": ()}]}, [], {}, "", "x", [[], {}], {"a" * 10: "b" * 10}, [""] * 9, [0] * 9]
)
def test_an_excerpt_with_room_for_all_is_whole_and_one_with_less_says_so(value: Any) -> None:
    whole = json.dumps(value)

    for limit in range(1, len(whole) + 2):
        told = excerpt(value, limit)
        assert told == (whole if limit >= len(whole) else whole[:limit] + "\N{HORIZONTAL ELLIPSIS}")


def test_a_run_that_many_ask_for_is_written_about_once(console: ConsoleSession) -> None:
    run_id = console.service.add_run(MAPS)
    surveyor, backend = Surveyor(), console.service._backend
    run = console.service.runs[run_id]

    assert surveyor.words_for(backend.world, run) is surveyor.words_for(backend.world, run)
