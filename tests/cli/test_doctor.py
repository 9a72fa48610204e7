"""What the doctor says about the connection to the service; it starts nothing and shows no secret."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from cli.command_line import in_environment, invoke
from cli.doctor_reports import KEY, PASSWORD, Report, only, report, report_of
from raw_server import RawRequest, RawServer, answering, envelope, http, read_request, serve_sockets

from coreclaw_async import CoreClaw, RetryPolicy
from coreclaw_async._wire.timestamps import SeenDate
from coreclaw_async.cli.doctor.findings import DoctorSettings, check_clock, examine
from coreclaw_async.cli.doctor.looks import Examination, Finding, NotingTransport
from coreclaw_async.testing import FakeService, RealClock, faults

CHECKS = [
    "versions", "address", "proxy", "key", "service", "clock", "paging", "schema", "account", "runs", "echo",
    "members", "ids", "times", "order", "statuses", "aborting", "rows", "sequence", "log", "empty", "last",
    "months", "missing",
]  # fmt: skip
ELSEWHERE = "http://service.test"
NOT_ITS_WORD = "which does not come from the service: a page of a proxy or gateway?"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    service = FakeService(api_key=KEY, clock=RealClock())
    for number in range(6):
        service.add_worker(f"someone/worker-{number}")
    service.add_run("someone/worker-1", rows=5, age=3.0)
    service.add_run("someone/worker-2", rows=200, age=2.0)
    service.add_run("someone/worker-3", rows=3, age=1.0)
    with in_environment(service, monkeypatch):
        yield service


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def answered_with(*answers: bytes, key: str | None = KEY) -> tuple[Report, RawServer]:
    """Return what is found at a server that gives these answers, the last one again and again; b"" closes."""
    left = list(answers)

    def answer(request: RawRequest, server: RawServer) -> bytes:
        return left.pop(0) if len(left) > 1 else left[0]

    with serve_sockets(answering(answer)) as server, pytest.MonkeyPatch.context() as patch:
        if key is not None:
            patch.setenv("CORECLAW_API_KEY", key)
        return report("--base-url", server.url), server


def test_all_is_well(service: FakeService) -> None:
    found = report()

    assert list(found) == CHECKS
    assert {state for findings in found.values() for state, _ in findings} == {"OK"}
    assert "(from CORECLAW_BASE_URL)" in only(found["address"])[1]
    assert only(found["key"])[1] == "there is one (from CORECLAW_API_KEY)"
    assert only(found["account"])[1] == "the key is accepted; the balance is above 0"


def test_nothing_is_started_and_little_is_asked(service: FakeService) -> None:
    report()

    assert service.runs_created == 0
    assert {request.method for request in service.requests} == {"GET"}
    assert len(service.requests) == 14


def test_nothing_of_the_account_is_in_a_report(service: FakeService, tmp_path: Path) -> None:
    (tmp_path / "my-key").write_text(KEY)
    service.balance = Decimal("1234.56")
    text = invoke("doctor", "--api-key-file", str(tmp_path / "my-key")).stdout

    for private in (*service.runs, "worker-", "someone", "Worker", "1234", "my-key", str(tmp_path), KEY):
        assert private not in text
    assert "there is one (from --api-key-file)" in text


def test_json_is_an_object_a_finding(service: FakeService) -> None:
    objects = [json.loads(line) for line in invoke("doctor", "--json").stdout.splitlines()]
    lines = [line for line in objects if "check" in line]

    assert {line["state"] for line in lines} == {"OK"}
    assert all(line.keys() == {"check", "state", "detail"} for line in lines)
    assert list(dict.fromkeys(line["check"] for line in lines)) == CHECKS


def test_without_a_key_what_is_public_is_checked(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CORECLAW_API_KEY")
    found = report()

    assert only(found["key"]) == ("WARN", "there is none: set CORECLAW_API_KEY, or give --api-key-file FILE")
    assert list(found) == ["versions", "address", "proxy", "key", "service", "clock", "paging", "schema"]


def test_a_refused_key_fails_and_ends_the_looks(service: FakeService, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("another-key")
    outcome = invoke("doctor", "--api-key-file", str(tmp_path / "key"))
    found = report_of(outcome)

    assert only(found["account"])[0] == "FAIL"
    assert "the key is refused: HTTP 401 and code 12002" in only(found["account"])[1]
    assert "another-key" not in outcome.stdout
    assert "runs" not in found


def test_a_gateway_that_refuses_says_nothing_of_the_key(service: FakeService) -> None:
    service.faults.add(faults.status(401), operation="getAccount", times=9)
    found = report()

    assert only(found["account"]) == (
        "FAIL",
        f"HTTP 401, {NOT_ITS_WORD}",
    )
    assert only(found["runs"])[0] == "OK"


@pytest.mark.parametrize(
    ("balance", "words"),
    [
        (0, "the balance is used up: no run can be started"),
        (-1, "the balance is used up: no run can be started"),
        (None, "the balance cannot be read"),
        ("NaN", "the balance cannot be read"),
        ("Infinity", "the balance cannot be read"),
        ({}, "the balance cannot be read"),
    ],
)
def test_a_balance_for_which_nothing_runs_is_warned_of(service: FakeService, balance: Any, words: str) -> None:
    def change(answer: dict[str, Any]) -> dict[str, Any]:
        answer["data"]["balance"] = balance
        return answer

    service.faults.add(faults.edit(change), operation="getAccount")

    assert only(report()["account"]) == ("WARN", f"the key is accepted; {words}")


@pytest.mark.parametrize(("ahead", "words"), [(-3600.0, "ahead of"), (3600.0, "behind")])
def test_a_clock_that_is_wrong_is_warned_of(service: FakeService, ahead: float, words: str) -> None:
    service.clock.set_time(service.clock.time() + ahead)
    state, detail = only(report()["clock"])

    assert state == "WARN"
    assert f"s {words} the service's" in detail


@pytest.mark.parametrize(
    ("date", "words"),
    [
        ("", "has no Date"),
        ("Fri, 31 Dec 0000 23:59:59 GMT", "more than a year off"),
        ("Thu, 01 Jan 2090 00:00:00 GMT", "more than a year off"),
        ("Fri, 31 Dec 2025 23:59:59 +9999999999", "cannot be read"),
        ("\xff\xfe\x7f", "cannot be read"),
        ("1" * 5_000, "cannot be read"),
    ],
)
def test_any_date_can_be_looked_at(date: str, words: str) -> None:
    headers = [f"Date: {date}"] if date else []
    body = b'{"code": 0, "message": "", "data": {"scraper": []}}'
    answer = http(200, body, *headers).decode().encode("latin-1")
    state, detail = only(answered_with(answer, key=None)[0]["clock"])

    assert state == "WARN"
    assert words in detail
    assert detail.endswith("the client uses this machine's clock")


@pytest.mark.parametrize("form", ["%a, %d %b %Y %H:%M:%S -0000", "%a %b %d %H:%M:%S %Y"])
def test_a_time_without_a_zone_is_compared_with_the_clock(form: str) -> None:
    now = time.time()

    assert check_clock(SeenDate(time.strftime(form, time.gmtime(now)), now)).state == "OK"


@pytest.mark.parametrize("slashes", ["/", "//", " "])
def test_what_stands_behind_an_address_does_no_harm(service: FakeService, slashes: str) -> None:
    url = invoke("doctor").stdout.partition("address   ")[2].split()[0]
    found = report("--base-url", url + slashes)

    assert only(found["address"])[1] == f"{url} (from --base-url)"
    assert only(found["service"])[0] == "OK"


def test_an_address_may_have_a_path() -> None:
    with serve_sockets(answering(lambda request, server: envelope({"scraper": []}))) as server:
        found = report("--base-url", f"{server.url}/gateway/")
        targets = {request.target.partition("?")[0] for request in server.requests}

    assert only(found["service"])[0] == "OK"
    assert targets == {"/gateway/api/v2/store"}


@pytest.mark.parametrize(
    "url",
    [
        "", "openapi.coreclaw.com", "ftp://host", "https://host:99999", "https://[", "https://[::1",
        "https://ho\x07st", f"https://me:{PASSWORD}@host",
        "https://host?x=1", "https://host/api/v2",
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_one_is_a_mistake_of_usage(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORECLAW_BASE_URL", url or "x")
    given, found = invoke("doctor", "--base-url", url), invoke("doctor")

    assert (given.exit_code, given.stdout) == (found.exit_code, found.stdout) == (2, "")
    assert given.stderr.startswith("base_url must")
    assert found.stderr.startswith("CORECLAW_BASE_URL must")
    assert PASSWORD not in given.stderr + found.stderr


@pytest.mark.parametrize("key", ["two words", "gr\u00fcn", "line\nbreak"])
def test_a_key_that_cannot_be_one_is_a_mistake_of_usage(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORECLAW_API_KEY", key)
    outcome = invoke("doctor", "--base-url", "http://127.0.0.1:9")

    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith("CORECLAW_API_KEY must")
    assert key not in outcome.stderr


def through_proxy(monkeypatch: pytest.MonkeyPatch, name: str, value: str, url: str = ELSEWHERE) -> Report:
    monkeypatch.setenv(name, value)
    return report("--base-url", url)


@pytest.mark.parametrize(
    ("name", "user"),
    [("HTTP_PROXY", ""), ("http_proxy", f"me:{PASSWORD}@"), ("ALL_PROXY", f"{PASSWORD}@"), ("all_proxy", "")],
)
def test_a_proxy_is_named_without_its_password_and_used(name: str, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_sockets(answering(lambda request, server: envelope({"scraper": []}))) as proxy:
        found = through_proxy(monkeypatch, name, proxy.url.replace("//", f"//{user}"))
        targets = {request.target.partition("?")[0] for request in proxy.requests}

    secret = ", with credentials that are not shown" if user else ""
    assert only(found["proxy"]) == ("OK", f"{proxy.url} (from {name.upper()}){secret}")
    assert only(found["service"])[0] == "OK"
    assert targets == {f"{ELSEWHERE}/api/v2/store"}


def test_a_proxy_for_https_that_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = http(407, b"who are you?", 'Proxy-Authenticate: Basic realm="x"')
    with serve_sockets(answering(lambda request, server: refusal)) as proxy:
        found = through_proxy(
            monkeypatch, "HTTPS_PROXY", proxy.url.replace("//", f"//me:{PASSWORD}@"), "https://s.test"
        )

    assert only(found["proxy"])[1].startswith(f"{proxy.url} (from HTTPS_PROXY)")
    assert only(found["service"]) == ("FAIL", "cannot be reached: ProxyError: 407 X")


def test_a_proxy_is_told_that_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "service.test")
    bypassed = through_proxy(monkeypatch, "HTTP_PROXY", f"http://me:{PASSWORD}@127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY")
    local = report("--base-url", "http://127.0.0.1:9")

    words = "HTTP_PROXY is set, and not used for this address: loopback, or NO_PROXY"
    assert only(bypassed["proxy"]) == only(local["proxy"]) == ("OK", words)


@pytest.mark.parametrize(
    "proxy",
    [
        "ftp://127.0.0.1:9", "http://", f"http://me:12#{PASSWORD}@127.0.0.1:9", f"http://me:12/{PASSWORD}@127.0.0.1:9",
        f"http://me:12?{PASSWORD}@127.0.0.1:9", f"http://me:#{PASSWORD}@127.0.0.1:9", "http://127.0.0.1:x", "http://127.0.0.1:65536",
    ],
)  # fmt: skip
def test_a_proxy_that_cannot_be_one_fails_and_nothing_is_sent(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = through_proxy(monkeypatch, "HTTP_PROXY", proxy)

    words = "the proxy that the environment names in http_proxy is no URL that httpx can use"
    assert only(found["proxy"]) == ("FAIL", words)
    assert list(found) == ["versions", "address", "proxy", "key"]


def test_a_socks_proxy_without_its_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    found = through_proxy(monkeypatch, "ALL_PROXY", f"socks5://me:{PASSWORD}@127.0.0.1:9")

    words = "socks5://127.0.0.1:9 (from ALL_PROXY), with credentials that are not shown"
    assert only(found["proxy"]) == ("OK", words)
    assert 'needs socksio, which is not installed: pip install "httpx[socks]"' in only(found["service"])[1]


def test_an_answer_that_is_lost_fails_and_the_rest_is_checked(service: FakeService) -> None:
    service.faults.add(faults.truncate(), operation="getAccount", times=9)
    found = report()

    assert only(found["account"]) == ("FAIL", "no whole answer (NoReplyError)")
    assert only(found["months"])[0] == "OK"


def test_a_service_that_is_not_there_fails_soon() -> None:
    found = report("--base-url", "http://127.0.0.1:9")

    assert only(found["service"]) == ("FAIL", "cannot be reached: ConnectError: All connection attempts failed")
    assert only(found["retries"]) == ("WARN", "some requests had to be sent a second time")


NO_ENVELOPE = "HTTP 200 and no envelope of the service: another server?"
UNREADABLE = "HTTP 200 and data that the client cannot read"
HTML = b"<html>" + KEY.encode() + b"</html>"
ANSWERS = {
    "html": (http(200, HTML, "Content-Type: text/html"), NO_ENVELOPE),
    "a redirect": (http(302, b"", "Location: /x"), "HTTP 302 and no envelope of the service: another server?"),
    "500": (http(500, HTML), f"HTTP 500, {NOT_ITS_WORD}"),
    "code 10000": (envelope(None, 10000, 500), "HTTP 500 and code 10000 (ServiceError)"),
    "a long code": (envelope(None, 10**40, 400), "HTTP 400 and code out of range (InvalidArgumentError)"),
    "code 502": (envelope(None, 502, 502), f"HTTP 502, {NOT_ITS_WORD}"),
    "429": (http(429, b""), f"HTTP 429, {NOT_ITS_WORD}"),
    "13000": (envelope(None, 13000, 429, "Retry-After: 3600"), "HTTP 429 and code 13000 (RateLimitedError)"),
    "an empty body": (http(200, b""), NO_ENVELOPE),
    "a bomb": (http(200, b"[" * 100_000), NO_ENVELOPE),
    "no data": (envelope(None), UNREADABLE),
    "a list": (envelope([1]), UNREADABLE),
    "no rows": (envelope({"scraper": 5}), UNREADABLE),
    "null": (http(200, b"null"), NO_ENVELOPE),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "words"), ANSWERS.values(), ids=ANSWERS.keys())
def test_what_is_no_answer_of_the_service_fails_in_words_of_the_doctor(answer: bytes, words: str) -> None:
    found, _ = answered_with(answer)

    assert only(found["service"]) == ("FAIL", f"answered with {words}")


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
def test_what_is_no_whole_answer_fails_and_ends_the_looks(answer: bytes) -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        connection.recv(65_536)
        connection.sendall(answer)

    with serve_sockets(handle) as server:
        found = report("--base-url", server.url)

    assert only(found["service"])[1].startswith("cannot be reached: RemoteProtocolError")
    assert list(found) == ["versions", "address", "proxy", "key", "service", "retries"]


def test_a_request_that_only_the_second_attempt_answers_is_told(service: FakeService) -> None:
    service.faults.add(faults.status(502), operation="listStore")
    found = report()

    assert only(found["service"])[0] == "OK"
    assert only(found["retries"])[0] == "WARN"


def test_what_repeats_the_key_is_shown_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    said = http(407, b"").replace(b"407 X", f"407 {KEY}".encode())
    monkeypatch.setenv("CORECLAW_API_KEY", KEY)
    with serve_sockets(answering(lambda request, server: said)) as proxy:
        found = through_proxy(monkeypatch, "HTTPS_PROXY", proxy.url, f"https://s.test/{KEY}")

    assert only(found["address"])[1] == "https://s.test/<key> (from --base-url)"
    assert only(found["service"])[1] == "cannot be reached: ProxyError: 407 <key>"


def test_a_text_of_the_network_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    said = http(407, b"").replace(b"407 X", b"407 " + b"x" * 5_000)
    with serve_sockets(answering(lambda request, server: said)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        lines = [
            json.loads(line) for line in invoke("doctor", "--json", "--base-url", "https://s.test").stdout.splitlines()
        ]

    assert len(next(line["detail"] for line in lines if line.get("check") == "service")) < 250


def examined(url: str, *, seconds: float, look_seconds: float) -> list[Finding]:
    way = NotingTransport()
    policy = RetryPolicy(max_attempts=1)
    with CoreClaw(KEY, base_url=url, transport=way, retry=policy, on_event=way.note) as client:
        settings = DoctorSettings(url=httpx.URL(url), url_source="x", key_source="y")
        examination = Examination(client=client, way=way, seconds=seconds, look_seconds=look_seconds)
        return list(examine(examination, settings))


def test_a_service_that_is_silent_is_given_up(service: FakeService) -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        while connection.recv(65_536):
            pass

    began = time.monotonic()
    with serve_sockets(handle) as server:
        *_, last = examined(server.url, seconds=60.0, look_seconds=0.3)

    assert (last.check, last.state) == ("service", "FAIL")
    assert last.detail.startswith("cannot be reached: GET /api/v2/store got no whole answer within 0.")
    assert time.monotonic() - began < 20


def test_a_service_that_drips_is_given_up() -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            connection.sendall(b" ")
            time.sleep(0.01)

    with serve_sockets(handle) as server:
        *_, last = examined(server.url, seconds=5.0, look_seconds=0.3)

    assert (last.check, last.state) == ("service", "FAIL")


def test_all_looks_together_end_in_time() -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        if "/store" in request.target:
            return envelope({"scraper": []})
        time.sleep(0.7)
        return envelope({"balance": 1, "list": [], "count": 0})

    with serve_sockets(answering(answer)) as server:
        *found, last = examined(server.url, seconds=2.0, look_seconds=2.0)

    assert last == Finding("rest", "WARN", "not checked: the checks so far have taken too long")
    checks = list(dict.fromkeys(finding.check for finding in found))
    assert checks == CHECKS[: len(checks)]
    assert "service" in checks  # How many more there are is up to the machine.
    assert "times" not in checks


def test_a_look_that_takes_too_long_fails_and_others_follow() -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        if "/account" in request.target:
            time.sleep(3)
        return envelope({"scraper": [], "list": [], "count": 0})

    with serve_sockets(answering(answer)) as server:
        found = examined(server.url, seconds=60.0, look_seconds=2.0)

    assert Finding("account", "FAIL", "no whole answer in time") in found
    assert found[-1].check == "missing"


def test_more_data_than_the_client_reads_is_told(service: FakeService) -> None:
    service.faults.add(faults.gzip_bomb(101 * 2**20), operation="getAccount")

    with service.serve() as server:
        found = examined(server.url, seconds=300.0, look_seconds=100.0)

    assert Finding("account", "FAIL", "HTTP 200 and more data than the client reads") in found


@pytest.mark.endurance(16)
def test_a_service_that_never_answers_takes_half_a_minute_at_most() -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        while (request := read_request(connection, number)) is not None and "/store" in request.target:
            connection.sendall(envelope({"scraper": []}))
        while connection.recv(65_536):
            pass

    began = time.monotonic()
    with serve_sockets(handle) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CORECLAW_API_KEY", KEY)
        found = report("--base-url", server.url)
        seconds = time.monotonic() - began

    assert only(found["account"]) == ("FAIL", "no whole answer in time")
    assert seconds < 30
