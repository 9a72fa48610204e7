"""``emulate``: the service on a socket, with the switches that were asked for, until a signal."""

from __future__ import annotations

import io
import re
import shlex
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from cli.command_line import LIMIT, Outcome, ReactingText, first_line, invoke, running
from ports import reserved_port
from waiting import wait_until

from coreclaw_async import AsyncCoreClaw, PollSchedule
from coreclaw_async.cli import emulate as emulate_command
from coreclaw_async.testing._state import switches

RUNS = "/api/v2/workers/coreclaw~google-maps-scraper/runs"
START = {"input": {"parameters": {"custom": {"keywords": ["coffee"]}}}}
ADDRESS = re.compile(r"CoreClaw emulator ready at (http://[\w.]+:\d+)\n")


def address_in(text: str) -> str:
    found = ADDRESS.match(text)
    assert found is not None, text
    return found[1]


def emulate(*options: str, act: Callable[[httpx.Client], object] = lambda _: None, key: str = "test-key") -> Outcome:
    """Run an emulator in this process on a free port; stop it as soon as *act* has used it."""

    def use_and_stop(text: str) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=address_in(text), headers=headers, trust_env=False) as client:
            act(client)
        threading.Timer(0.01, signal.raise_signal, [signal.SIGTERM]).start()

    return invoke("emulate", "--port", "0", *options, stdout=ReactingText("Ctrl-C stops.\n", use_and_stop))


def answers(*options: str, path: str, start: bool = False) -> Any:
    """Return the data of what an emulator answers to GET *path*, after a start if wanted."""
    replies: list[Any] = []

    def ask(client: httpx.Client) -> None:
        if start:
            client.post(RUNS, json=START).raise_for_status()
        replies.append(client.get(path).json()["data"])

    assert emulate(*options, act=ask).exit_code == 0
    return replies[0]


@pytest.mark.endurance
def test_an_emulator_counts_the_requests_that_it_has_forgotten_too() -> None:
    outcome = emulate(act=lambda client: [client.get("/api/v2/store") for _ in range(1_010)])

    assert re.search(r"\nStopped after 1,?010 requests and 0 runs\.\n$", outcome.stdout)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running("emulate", "--port", "0", "--run-seconds", "0", "--rows", "120") as process:
        yield address_in(first_line(process))


def test_choices_are_those_of_the_fake_service() -> None:
    assert get_args(emulate_command.OffsetDialect) == get_args(switches.OffsetDialect)
    assert get_args(emulate_command.LogShape) == get_args(switches.LogShape)


@pytest.mark.endurance
def test_plain_http_client_reaches_the_emulator_of_a_process(url: str) -> None:
    answer = httpx.get(f"{url}/api/v2/users/account", headers={"api-key": "test-key"}, trust_env=False)

    assert answer.json()["data"]["balance"] == "100.00"


@pytest.mark.endurance
async def test_client_runs_a_worker_on_the_emulator_of_a_process(url: str) -> None:
    async with AsyncCoreClaw("test-key", base_url=url, poll_schedule=PollSchedule(delays=(0.05,))) as client:
        run = await client.workers.run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]}, timeout=LIMIT)
        rows = await client.runs.iterate_results(run).collect()

    assert len(rows) == 120


@pytest.mark.endurance
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_process_ends_with_0_soon_when_it_is_told_to_stop(number: signal.Signals) -> None:
    with running("emulate", "--port", "0") as process:
        url = address_in(first_line(process))
        with httpx.Client(base_url=url, trust_env=False) as client:
            client.get("/api/v2/store")
            asked = time.monotonic()
            process.send_signal(number)
            code = process.wait(timeout=LIMIT)
            took = time.monotonic() - asked
        rest = process.communicate(timeout=LIMIT)

    assert (code, rest[1]) == (0, "")
    assert rest[0].endswith("Stopped after 1 request and 0 runs.\n")
    assert took < 10


@pytest.mark.endurance
def test_process_ends_soon_when_a_client_still_waits_for_an_answer() -> None:
    with running("emulate", "--port", "0", "--run-seconds", "60") as process:
        url = address_in(first_line(process))
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=LIMIT) as waiting:
            body = b'{"is_async":false,"input":{"parameters":{"custom":{"keywords":["coffee"]}}}}'
            waiting.sendall(
                f"POST {RUNS} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer test-key\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
                + body
            )
            with httpx.Client(base_url=url, headers={"api-key": "test-key"}, trust_env=False) as client:
                wait_until(lambda: client.get("/api/v2/worker-runs").json()["data"]["count"], "the run")
            asked = time.monotonic()
            process.send_signal(signal.SIGINT)
            code = process.wait(timeout=LIMIT)

    assert code == 0
    assert time.monotonic() - asked < 20


def test_second_signal_does_not_disturb_the_end() -> None:
    def interrupt(_: str) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    # Without the signal with which `emulate` ends: it could come when nobody waits for it any more.
    outcome = invoke("emulate", "--port", "0", stdout=ReactingText("Ctrl-C stops.\n", interrupt))

    assert outcome.exit_code == 0


def test_signals_mean_what_they_meant_before_when_the_emulator_has_ended() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    emulate()

    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.endurance
def test_printed_settings_and_command_line_can_be_pasted_into_a_shell() -> None:
    outcome = emulate("--api-key", "a$key'1", key="a$key'1")
    url = address_in(outcome.stdout)

    words = [shlex.split(line) for line in outcome.stdout.splitlines() if line.startswith("  ")]

    assert words == [
        ["export", f"CORECLAW_BASE_URL={url}"],
        ["export", "CORECLAW_API_KEY=a$key'1"],
        ["curl", "-H", "Authorization: Bearer a$key'1", f"{url}/api/v2/users/account"],
    ]


def test_only_the_given_key_is_accepted() -> None:
    codes: list[int] = []

    def try_keys(client: httpx.Client) -> None:
        for key in ("test-key", "mine"):
            codes.append(client.get("/api/v2/users/account", headers={"Authorization": f"Bearer {key}"}).status_code)

    emulate("--api-key", "mine", act=try_keys)

    assert codes == [401, 200]


def test_given_port_is_used() -> None:
    with reserved_port() as port:
        outcome = emulate("--port", str(port))

    assert address_in(outcome.stdout) == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(("dialect", "ranks"), [("page", [5, 6]), ("row", [4, 5]), ("aligned", [3, 4])])
def test_offset_counts_what_the_dialect_says(dialect: str, ranks: list[int]) -> None:
    path = "/api/v2/worker-runs/last/result?limit=2&offset=3"

    data = answers("--offset-dialect", dialect, "--run-seconds", "0", path=path, start=True)

    assert [row["rank"] for row in data["list"]] == ranks


@pytest.mark.parametrize(("options", "told"), [((), True), (("--no-page-index",), False)])
def test_lists_tell_their_page_unless_that_is_switched_off(options: tuple[str, ...], told: bool) -> None:
    data = answers(*options, path="/api/v2/worker-tasks")

    assert ("page_index" in data) is told


@pytest.mark.parametrize(("shape", "kind"), [("objects", dict), ("strings", str)])
def test_log_entries_have_the_given_form(shape: str, kind: type) -> None:
    data = answers("--log-entries", shape, "--run-seconds", "0", path="/api/v2/worker-runs/last/log", start=True)

    assert {type(entry) for entry in data["list"]} == {kind}


def test_runs_produce_the_given_rows_and_take_the_given_time() -> None:
    data = answers("--rows", "7", "--run-seconds", "60", path="/api/v2/worker-runs/last", start=True)
    ended = answers("--rows", "7", "--run-seconds", "0", path="/api/v2/worker-runs/last", start=True)

    assert data["status"] == "running"
    assert (ended["status"], ended["results"]) == ("succeeded", 7)


@pytest.mark.parametrize(("options", "code"), [(("--plan-limit", "0"), 30003), (("--balance", "0"), 30001)])
def test_start_is_refused_when_a_limit_is_reached(options: tuple[str, ...], code: int) -> None:
    codes: list[int] = []

    emulate(*options, act=lambda client: codes.append(client.post(RUNS, json=START).json()["code"]))

    assert codes == [code]


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ((), True),
        (("--host", "localhost"), True),
        (("--host", "LOCALHOST"), True),
        (("--host", "127.1"), True),
        (("--host", "127.0.0.1", "--no-console"), False),
        (("--host", "0.0.0.0"), False),
        (("--host", "0.0.0.0", "--console"), True),
        (("--host", "0.0.0.0", "--no-console"), False),
    ],
)
def test_console_is_shown_by_default_where_nobody_else_can_reach_it(options: tuple[str, ...], *, shown: bool) -> None:
    pages: list[httpx.Response] = []

    outcome = emulate(*options, act=lambda client: pages.append(client.get("/")))

    address = re.escape(address_in(outcome.stdout))
    everywhere = ", and at the IP addresses of this machine" if "0.0.0.0" in options else ""
    console = re.search(rf"\nConsole: {address}/{everywhere}\nCtrl-C stops.\n", outcome.stdout)
    assert (console is not None) is shown
    reason = "No console, as others may reach 0.0.0.0; --console shows one all the same.\n"
    assert (reason in outcome.stdout) is (not shown and "--no-console" not in options)
    assert pages[0].headers["content-type"].startswith("text/html" if shown else "application/json")
    # What the console answers is no request of the API.
    assert outcome.stdout.endswith(f"Stopped after {'0 requests' if shown else '1 request'} and 0 runs.\n")


def test_exit_code_is_2_when_the_console_is_wanted_and_not_wanted() -> None:
    outcome = invoke("emulate", "--console", "--no-console")

    assert outcome.exit_code == 2
    assert "--console and --no-console exclude each other" in outcome.stderr


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("localhost", True),
        ("LocalHost", True),
        ("127.1", True),
        ("", False),
        ("\ud800", False),
        ("a\0", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("box", False),
    ],
)
def test_only_addresses_of_this_machine_alone_count_as_such(host: str, *, is_loopback: bool) -> None:
    assert emulate_command._is_loopback(host) is is_loopback


@pytest.mark.parametrize("from_stdin", [False, True])
def test_planned_faults_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, from_stdin: bool) -> None:
    text = """[
        {"fault": "outage", "minutes": 60, "operation": "listStore", "failure": {"fault": "status", "status": 503}},
        {"fault": "commit_then_drop", "operation": "runWorker"}
    ]"""
    plan = tmp_path / "plan.json"
    plan.write_text(text)
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    seen: list[int | str] = []

    def ask(client: httpx.Client) -> None:
        seen.extend(client.get("/api/v2/store").status_code for _ in range(2))
        with pytest.raises(httpx.TransportError):
            client.post(RUNS, json=START)
        seen.append(client.get("/api/v2/worker-runs").json()["data"]["count"])

    outcome = emulate("--chaos", "-" if from_stdin else str(plan), act=ask)

    assert seen == [503, 503, 1]
    assert "Worker to run: coreclaw/google-maps-scraper. Planned faults: 2.\n" in outcome.stdout


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b'{"fault": "stall"}', "a plan must be a list of faults, not {'fault': 'stall'}"),
        (b'[{"fault": "stall"}, {"fault": "outage", "minutes": "20"}]', "entry 2: minutes must be a finite number"),
        (b'[{"fault": "delay", "seconds": NaN}]', "entry 1: seconds must be a finite number of seconds"),
        (b"[{", "is not JSON: "),
        (b"[" * 100_000, "is not JSON: "),
        (b"", "is not JSON: "),
        (b"\xff", "is not UTF-8: "),
    ],
    ids=lambda value: str(value)[:20],
)
def test_exit_code_is_2_and_nothing_is_served_when_a_plan_is_wrong(tmp_path: Path, text: bytes, told: str) -> None:
    plan = tmp_path / "plan.json"
    plan.write_bytes(text)

    outcome = invoke("emulate", "--port", "0", "--chaos", str(plan), columns=1000)

    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert f"--chaos: {plan}" in outcome.stderr
    assert told in outcome.stderr


@pytest.mark.parametrize("name", ["none.json", "."])
def test_exit_code_is_2_when_a_plan_cannot_be_read(name: str) -> None:
    outcome = invoke("emulate", "--port", "0", "--chaos", name)

    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert f"--chaos: {name} cannot be read: " in outcome.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--api-key", "two words"),
        ("--api-key", ""),
        ("--balance", "lots"),
        ("--balance", "nan"),
        ("--run-seconds", "-1"),
        ("--run-seconds", "nan"),
        ("--run-seconds", "soon"),
        ("--offset-dialect", "pages"),
        ("--port", "65536"),
    ],
)
def test_exit_code_is_2_and_the_option_is_named_when_its_value_cannot_be(option: str, value: str) -> None:
    outcome = invoke("emulate", option, value)

    assert outcome.exit_code == 2
    assert option in outcome.stderr
    assert outcome.stdout == ""


def test_exit_code_is_2_when_the_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = invoke("emulate", "--port", str(port))

    assert outcome.exit_code == 2
    assert f"cannot listen on 127.0.0.1, port {port}" in outcome.stderr


def test_exit_code_is_2_when_the_host_cannot_be_one() -> None:
    outcome = invoke("emulate", "--host", "a..b", "--port", "0")

    assert outcome.exit_code == 2
    assert "cannot listen on a..b" in outcome.stderr
