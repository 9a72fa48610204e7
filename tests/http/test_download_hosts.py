"""What storage hosts do: redirects, silence, refusals; and what they must never be sent."""

from __future__ import annotations

import csv
import itertools
import logging
import pickle
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import anyio
import attrs
import httpx
import pytest
from either_client import AsyncCoreClaw
from hypothesis import given
from hypothesis import strategies as st
from quick_cases import slowly
from storage_host import FILE, HOST, RUN_ID, SECRET, Answer, Pieces, StorageHost, part, redirect
from waiting import join

from coreclaw_async import CoreClawError, DownloadError, RetryPolicy
from coreclaw_async.errors import DownloadReason
from coreclaw_async.testing import FakeService, RealClock, faults

QUICK = RetryPolicy(max_attempts=4, first_delay=0.001, max_delay=0.001)
KEY = "the-key-of-the-account"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "rows.csv"


async def fetch(host: StorageHost, target: Path, format: Any = "csv", **settings: Any) -> None:
    settings = {"transport": host, "retry": QUICK, **settings}
    async with AsyncCoreClaw(KEY, **settings) as client:
        await client.runs.download(RUN_ID, target, format=format)


async def failure_of(host: StorageHost, target: Path, format: Any = "csv", **settings: Any) -> DownloadError:
    with pytest.raises(DownloadError) as caught:
        await fetch(host, target, format, **settings)
    assert list(target.parent.iterdir()) == []
    return caught.value


def headers_of(request: httpx.Request) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name not in {"host", "user-agent"}}


@slowly("status", 307, 301, 302, 303, 308)
@pytest.mark.parametrize("location", ["/other?sign=2", f"{HOST}/other?sign=2", "//files.test:443/other?sign=2"])
async def test_a_redirect_on_the_storage_host_is_followed(target: Path, status: int, location: str) -> None:
    host = StorageHost([redirect(location, status), part(FILE)])

    await fetch(host, target)

    assert target.read_bytes() == FILE
    assert [httpx.URL.__str__(request.url) for request in host.seen][1] == f"{HOST}/other?sign=2"
    assert [headers_of(request) for request in host.seen] == [{"accept-encoding": "identity"}] * 2


async def test_user_information_in_a_redirect_is_not_sent(target: Path) -> None:
    host = StorageHost([redirect("https://user:password@files.test/other"), part(FILE)])

    await fetch(host, target)

    assert "authorization" not in host.seen[1].headers


async def test_the_rest_of_a_file_is_asked_for_through_redirects(target: Path) -> None:
    broken = Pieces(FILE[:9], httpx.ReadError("broken"))
    host = StorageHost(
        [
            redirect("/other"),
            part(broken, content_length="17", etag='"one"'),
            redirect("/other"),
            part(FILE[9:], 206, content_range="bytes 9-16/17", etag='"one"'),
        ]
    )

    await fetch(host, target)

    assert target.read_bytes() == FILE
    assert [request.headers.get("range") for request in host.seen] == [None, None, "bytes=9-", "bytes=9-"]
    assert [request.headers.get("if-range") for request in host.seen] == [None, None, '"one"', '"one"']


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("https://elsewhere.test/x?sign=TOKEN-2", "https://elsewhere.test,"),
        ("http://files.test/x?sign=TOKEN-2", "http://files.test,"),
        ("https://files.test:8443/x?sign=TOKEN-2", "https://files.test:8443,"),
        ("//elsewhere.test/x?sign=TOKEN-2", "https://elsewhere.test,"),
        ("https://user:TOKEN-2@elsewhere.test/", "https://elsewhere.test,"),
        ("https://files.test@elsewhere.test/", "https://elsewhere.test,"),
        ("file:///etc/passwd", "file://,"),
    ],
)
async def test_a_redirect_elsewhere_is_an_error_at_once_that_names_the_host(
    target: Path, location: str, words: str
) -> None:
    host = StorageHost([redirect(location)])

    error = await failure_of(host, target)

    assert words in str(error)
    assert "TOKEN-2" not in str(error)
    assert (error.reason, error.status_code, error.run_id) == ("redirected", 307, RUN_ID)
    assert len(host.seen) == 1


@pytest.mark.parametrize("location", ["https://[broken", "https://files.test:99999/", "\x01"])
async def test_a_redirect_to_no_url_is_an_error(target: Path, location: str) -> None:
    error = await failure_of(StorageHost([redirect(location) for _ in range(4)]), target)

    assert error.reason in {"redirected", "incomplete"}


@pytest.mark.parametrize("status", [300, 304, 307])
async def test_a_redirect_without_a_location_is_a_refusal(target: Path, status: int) -> None:
    error = await failure_of(StorageHost([part(b"", status)]), target)

    assert (error.reason, error.status_code) == ("refused", status)


async def test_redirects_in_a_circle_end(target: Path) -> None:
    host = StorageHost(redirect("/rows.csv") for _ in range(99))

    error = await failure_of(host, target)

    assert "more than 5 times" in str(error)
    assert (error.reason, error.status_code) == ("redirected", 307)
    assert len(host.seen) == 6


async def test_as_many_redirects_as_are_followed_are_fine(target: Path) -> None:
    await fetch(StorageHost([*(redirect("/rows.csv") for _ in range(5)), part(FILE)]), target)

    assert target.read_bytes() == FILE


async def test_a_host_that_falls_silent_costs_the_clients_timeout_for_each_attempt(target: Path) -> None:
    silent = [part(Pieces(FILE[:9], None), content_length="17", etag='"one"') for _ in range(2)]
    rest = part(FILE[9:], 206, content_range="bytes 9-16/17", etag='"one"')
    host = StorageHost([silent[0], rest])

    await fetch(host, target, timeout=0.2)

    assert target.read_bytes() == FILE

    target.unlink()
    error = await failure_of(StorageHost([silent[1]]), target, timeout=0.2, retry=RetryPolicy(max_attempts=1))

    assert (error.reason, error.bytes_received) == ("stalled", 9)
    assert "silent for 0.2 s" in str(error)


class SlowHost:
    """Accepts connections on a real socket; answers the API's part and is silent, or slow, about the file."""

    def __init__(self, *, pieces: list[bytes], pause: float | None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._pieces = pieces
        self._pause = pause
        self._is_over = threading.Event()
        self.files_asked = 0
        self.heads: list[bytes] = []

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,)).start()

    def close(self) -> None:
        self._is_over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            while head := self._read_head(connection):
                self.heads.append(head)
                path = head.split()[1].decode()
                if path.startswith("/api/"):
                    data = f'"download_url":"{self.url}/rows.csv?sign={SECRET}"'
                    if not path.split("?")[0].endswith("export"):
                        data = f'"slug":"{RUN_ID}","status":"succeeded","results":1'
                    body = f'{{"code":0,"message":"success","data":{{{data}}}}}'.encode()
                    self._send(connection, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                    continue
                if path.startswith("/rows.csv?"):
                    self._send(
                        connection,
                        b"HTTP/1.1 307 Go\r\nContent-Length: 0\r\nLocation: %s/again?token=%s\r\n\r\n"
                        % (self.url.encode(), SECRET.encode()),
                    )
                    continue
                self.files_asked += 1
                if self._pause is None:
                    self._is_over.wait()
                    return
                self._send(connection, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(b"".join(self._pieces)))
                for piece in self._pieces:
                    self._send(connection, piece)
                    self._is_over.wait(self._pause)

    @staticmethod
    def _read_head(connection: socket.socket) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            try:
                data = connection.recv(4096)
            except OSError:
                return b""
            if not data:
                return b""
            head += data
        return head

    @staticmethod
    def _send(connection: socket.socket, data: bytes) -> None:
        try:
            connection.sendall(data)
        except OSError:
            return


@pytest.fixture
def real_host(request: pytest.FixtureRequest) -> Iterator[SlowHost]:
    host = SlowHost(**request.param)
    thread = threading.Thread(target=host.serve)
    thread.start()
    yield host
    host.close()
    join(thread)


@pytest.mark.parametrize("real_host", [{"pieces": [], "pause": None}], indirect=True)
async def test_a_silent_socket_is_given_up_after_the_clients_timeout(real_host: SlowHost, target: Path) -> None:
    once = RetryPolicy(max_attempts=1)
    # The API is asked with the same timeout, and must be able to answer.
    error = await failure_of(StorageHost([]), target, transport=None, base_url=real_host.url, timeout=1.0, retry=once)

    assert error.reason == "stalled"
    with anyio.fail_after(20):
        while not real_host.files_asked:  # Its thread may be late.
            await anyio.sleep(0.01)
    assert real_host.files_asked == 1


@pytest.mark.parametrize("real_host", [{"pieces": [b"title\r\n", *[b"row\r\n"] * 5], "pause": 0.2}], indirect=True)
async def test_a_file_may_take_longer_than_the_timeout_when_it_keeps_coming(real_host: SlowHost, target: Path) -> None:
    await fetch(StorageHost([]), target, transport=None, base_url=real_host.url, timeout=0.8)

    assert target.read_bytes() == b"title\r\n" + b"row\r\n" * 5


@pytest.mark.parametrize("real_host", [{"pieces": [FILE], "pause": 0.0}], indirect=True)
async def test_no_credential_goes_to_a_storage_host_at_the_apis_own_origin(real_host: SlowHost, target: Path) -> None:
    for auth in ("bearer", "api-key", "query"):
        await fetch(StorageHost([]), target, transport=None, base_url=real_host.url, auth=auth)

    files = [head for head in real_host.heads if not head.startswith(b"GET /api/")]
    assert len(files) == 6
    for head in files:
        assert KEY.encode() not in head
        names = {line.partition(b":")[0].lower() for line in head.splitlines()[1:-1]}
        assert names == {b"host", b"accept-encoding", b"user-agent"}


@pytest.mark.parametrize("real_host", [{"pieces": [FILE], "pause": 0.0}], indirect=True)
async def test_no_signature_is_in_any_log(real_host: SlowHost, target: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    await fetch(StorageHost([]), target, transport=None, base_url=real_host.url)

    assert target.read_bytes() == FILE
    assert "/again?<hidden>" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.async_client_only
@pytest.mark.parametrize("real_host", [{"pieces": [FILE], "pause": 0.0}], indirect=True)
async def test_no_signature_is_in_any_log_with_a_given_client(
    real_host: SlowHost, target: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async with httpx.AsyncClient() as given_client:
        await fetch(StorageHost([]), target, transport=None, base_url=real_host.url, http_client=given_client)

    assert target.read_bytes() == FILE
    assert "/again?<hidden>" in caplog.text
    assert SECRET not in caplog.text


async def test_nothing_of_a_given_client_goes_to_the_storage_host(target: Path) -> None:
    host = StorageHost([redirect("/other"), part(FILE)])
    hooked: list[str] = []

    async def hook(request: httpx.Request) -> None:
        hooked.append(request.url.host)

    async with httpx.AsyncClient(
        transport=host,
        headers={"Authorization": "Bearer mine", "X-Mine": "1"},
        params={"mine": "1"},
        cookies={"mine": "1"},
        auth=("me", "mine"),
        event_hooks={"request": [hook]},
        follow_redirects=True,
        max_redirects=0,
    ) as given_client:
        await fetch(host, target, transport=None, http_client=given_client)

    assert hooked[-2:] == ["files.test", "files.test"]
    for request in host.seen:
        assert headers_of(request) == {"accept-encoding": "identity"}
        assert b"mine" not in request.url.query


async def test_a_proxy_that_cannot_be_one_is_no_foreign_error(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "gopher://127.0.0.1:1")
    service = FakeService(clock=RealClock())
    run_id = service.add_run("coreclaw/google-maps-scraper", rows=1)
    named = {"data": {"download_url": f"{HOST}/rows.csv?sign={SECRET}"}}
    service.faults.add(faults.edit(lambda envelope: {**envelope, **named}), operation="exportWorkerRunResults")

    with service.serve() as server:
        async with AsyncCoreClaw(service.api_key, base_url=server.url, retry=RetryPolicy(max_attempts=1)) as client:
            with pytest.raises(DownloadError) as caught:
                await client.runs.download(run_id, target)

    assert caught.value.reason == "unreachable"
    assert_hides(caught.value, SECRET)


REFUSALS: list[tuple[list[Answer], str, int | None, int, str]] = [
    ([part(b"", 404)], "refused", 404, 0, "HTTP 404"),
    ([part(b"", 401)], "refused", 401, 0, "HTTP 401"),
    ([part(b"", 204)], "refused", 204, 0, "HTTP 204"),
    ([part(b"", 503) for _ in range(4)], "refused", 503, 0, "HTTP 503"),
    ([part(b"", 429) for _ in range(4)], "refused", 429, 0, "HTTP 429"),
    ([part(b"", 403) for _ in range(4)], "expired", 403, 0, "HTTP 403"),
    ([httpx.ConnectError("refused") for _ in range(4)], "unreachable", None, 0, "ConnectError: refused"),
    ([httpx.ReadError("") for _ in range(4)], "incomplete", None, 0, "ReadError"),
    ([part(FILE[:9], content_length="17") for _ in range(4)], "incomplete", None, 9, "9 of 17 bytes"),
    ([part(FILE + b"more", content_length="17") for _ in range(4)], "incomplete", None, 21, "21 of 17 bytes"),
    ([part(FILE[:9])], "incomplete", None, 9, "ends in the middle"),
    ([part(FILE, content_type="text/html")], "wrong-content", 200, 0, "text/html"),
    ([part(FILE, content_encoding="gzip")], "wrong-content", 200, 0, "compressed the file"),
    ([part(FILE, 206, content_range="bytes 3-9/17") for _ in range(4)], "wrong-content", None, 0, "another part"),
    ([part(b"title\r\n", content_length="7")], "rows-missing", None, 7, "0 of 1 row"),
]


@pytest.mark.parametrize(("answers", "reason", "status", "received", "words"), REFUSALS)
async def test_an_error_says_why(
    target: Path, answers: list[Answer], reason: str, status: int | None, received: int, words: str
) -> None:
    error = await failure_of(StorageHost(map(copy_of, answers)), target)

    assert (error.reason, error.status_code, error.bytes_received) == (reason, status, received)
    assert error.run_id == RUN_ID
    assert words in str(error)
    assert error.__cause__ is not None
    assert words in str(error.__cause__)
    twin = pickle.loads(pickle.dumps(error))
    assert (twin.reason, twin.bytes_received, twin.run_id, str(twin)) == (reason, received, RUN_ID, str(error))
    cause = pickle.loads(pickle.dumps(error.__cause__))
    assert (str(cause), vars(cause)) == (str(error.__cause__), vars(error.__cause__))


def copy_of(answer: Answer) -> Answer:
    """Return *answer* for one more test: a response can be read once."""
    if not isinstance(answer, httpx.Response):
        return answer
    assert isinstance(answer.stream, httpx.ByteStream)
    return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(b"".join(answer.stream)))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://[broken?sign=" + SECRET, "not-a-url"),
        (SECRET, "not-a-url"),
        (f"/rows.csv/{SECRET}", "not-a-url"),
        (f"https:///{SECRET}", "not-a-url"),
        ("ftp://x?" + SECRET, "insecure"),
    ],
)
async def test_a_url_that_is_not_fetched_has_a_reason_too(target: Path, url: str, reason: str) -> None:
    error = await failure_of(StorageHost([], url=url), target)

    assert error.reason == reason
    assert_hides(error, SECRET)


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """Yield *error*, what caused it, and what was being handled then."""
    left: list[BaseException | None] = [error]
    seen: set[int] = set()
    while left:
        one = left.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            left += [one.__cause__, one.__context__]


def assert_hides(error: BaseException, secret: str) -> None:
    for one in chain_of(error):
        assert secret not in f"{one} {one!r} {one.args} {vars(one)}"
        assert not isinstance(one, httpx.HTTPError)
        traceback = one.__traceback__
        while traceback is not None:
            frame = traceback.tb_frame
            if frame.f_globals.get("__name__", "").startswith("coreclaw_async"):
                assert secret not in repr(frame.f_locals)
            traceback = traceback.tb_next


URL_TELLERS: list[Answer] = [
    httpx.ConnectError(f"no route to {HOST}/rows.csv?sign={SECRET}"),
    httpx.ReadError(f"sign={SECRET}"),
    OSError(f"{HOST}/rows.csv?sign={SECRET}"),
    redirect(f"https://elsewhere.test/?sign={SECRET}"),
    redirect(f"https://{SECRET}@[broken?sign={SECRET}"),
    part(FILE[:9], content_length="17"),
    part(b"", 403),
    part(FILE, content_type="text/html"),
    part(b"title\r\n"),
]


@pytest.mark.async_client_only
@pytest.mark.parametrize("number", range(len(URL_TELLERS)))
async def test_no_error_holds_the_signature(target: Path, number: int) -> None:
    host = StorageHost([copy_of(URL_TELLERS[number])])

    error = await failure_of(host, target, retry=RetryPolicy(max_attempts=1))

    assert_hides(error, SECRET)


@pytest.mark.parametrize("status", [200, 206])
async def test_a_length_that_no_number_can_hold_is_no_length(target: Path, status: int) -> None:
    headers = {"content_length": "9" * 5000, "content_range": f"bytes 0-{'9' * 5000}/{'9' * 5001}"}
    await fetch(StorageHost([part(FILE, status, **headers), part(FILE)]), target)

    assert target.read_bytes() == FILE


async def test_a_whole_file_may_come_as_a_part(target: Path) -> None:
    await fetch(StorageHost([part(FILE, 206, content_range="bytes 0-16/17")]), target)

    assert target.read_bytes() == FILE


@pytest.mark.parametrize(
    ("format", "content", "rows"),
    [
        ("json", b'[{"title":"Result 1"}]', 2),
        ("json", b'{"list":[{"title":"Result 1"}]}', 2),
        ("jsonl", b'{"title":"Result 1"}\n\n\n\n', 2),
        ("csv", b'title\r\n"Result\r\n1"\r\n', 2),
        ("csv", b"title,more\r\n\r\n\r\nResult,1\r\n", 2),
    ],
)
async def test_too_few_rows_are_an_error_with_both_numbers(
    target: Path, format: str, content: bytes, rows: int
) -> None:
    answer = part(content, content_length=str(len(content)))

    error = await failure_of(StorageHost([answer], rows=rows), target, format)

    assert error.reason == "rows-missing"
    assert "1 of 2 rows" in str(error)


@pytest.mark.parametrize(
    ("format", "content"),
    [
        ("json", b'{"code":0}'),
        ("json", b'{"errors":[],"list":[{},{}]}'),
        ("csv", b"title\r\n\r\n\r\n"),
        ("xls", b"anything"),
        ("csv", "title\r\nResult 1\r\n".encode("utf-16")),
    ],
)
async def test_rows_that_cannot_be_told_are_not_taken_for_missing(target: Path, format: str, content: bytes) -> None:
    answer = part(content, content_length=str(len(content)))

    await fetch(StorageHost([answer], rows=2 if content != b"title\r\n" else 1), target, format)

    assert target.read_bytes() == content


async def test_a_field_may_be_longer_than_the_csv_module_allows(target: Path) -> None:
    limit = csv.field_size_limit()
    content = b"title,x\r\n" + b'"' + b"x" * (3 * limit) + b'",1\r\n'
    await fetch(StorageHost([part(content)]), target)

    assert target.read_bytes() == content
    assert csv.field_size_limit() == limit


EXPORT = b"title,text\r\n" + b"".join(b'"Result %d","line\r\nline"\r\n' % number for number in range(40))


@attrs.frozen
class Behaviour:
    """One thing that a storage host may do."""

    kind: str = "whole"
    status: int = 503
    start: int = 0
    stop: int = 0
    obeys_range: bool = True

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.kind == "status":
            return part(b"", self.status)
        if self.kind == "redirect":
            return redirect("/rows.csv?again")
        if self.kind == "away":
            return redirect("https://elsewhere.test/")
        headers = {"etag": '"two"' if self.kind == "changed" else '"one"'}
        asked = request.headers.get("range")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.obeys_range else 0
        start = self.start if self.kind == "part" else start
        if start:
            headers |= {"content_range": f"bytes {start}-{len(EXPORT) - 1}/{len(EXPORT)}"}
        rest = EXPORT[start:]
        return part(self._body(rest), 206 if start else 200, content_length=str(len(rest)), **headers)

    def _body(self, content: bytes) -> Pieces:
        come = content[: self.stop]
        pieces: dict[str, list[bytes | Exception | None]] = {
            "cut": [come],
            "lost": [come, httpx.ReadError("lost")],
            "silent": [come, None],
        }
        return Pieces(*pieces.get(self.kind, [come, content[self.stop :]]))


KINDS = ["whole", "cut", "status", "redirect", "silent", "changed", "part", "lost", "away"]
BEHAVIOURS = st.builds(
    Behaviour,
    kind=st.sampled_from(KINDS),
    status=st.sampled_from([403, 404, 410, 416, 429, 500, 503]),
    start=st.integers(0, len(EXPORT) - 1),
    stop=st.integers(0, len(EXPORT)),
    obeys_range=st.booleans(),
)


async def outcome_of(host: StorageHost, target: Path) -> CoreClawError | None:
    try:
        await fetch(host, target, timeout=0.02)
    except CoreClawError as error:  # On a busy machine the time may be up before anything was sent.
        return error
    return None


@pytest.mark.endurance
@pytest.mark.async_client_only
@given(st.lists(BEHAVIOURS, max_size=12))
async def test_whatever_a_host_does_the_file_is_the_export_or_the_target_is_untouched(
    tmp_path_factory: pytest.TempPathFactory, anyio_backend: str, behaviours: list[Behaviour]
) -> None:
    target = tmp_path_factory.mktemp("out") / "rows.csv"
    target.write_bytes(b"old")
    answers = [behaviour.answer for behaviour in behaviours]
    host = StorageHost(itertools.chain(answers, itertools.repeat(Behaviour().answer)), rows=40)
    failure = await outcome_of(host, target)
    assert target.read_bytes() == (EXPORT if failure is None else b"old")
    if failure is not None:
        assert failure.run_id == RUN_ID
        assert_hides(failure, SECRET)
    assert list(target.parent.iterdir()) == [target]
    for request in host.seen:
        assert request.url.host == "files.test"
        assert set(headers_of(request)) <= {"accept-encoding", "range", "if-range"}


def test_the_reasons_are_a_closed_set() -> None:
    documented = DownloadError.__doc__ or ""
    for reason in get_args(DownloadReason):
        assert f"``{reason}``" in documented
    assert DownloadError("x").reason in get_args(DownloadReason)


@pytest.mark.parametrize(
    ("format", "content"),
    [
        ("json", b""),
        ("json", b"null"),
        ("json", b'[{"title": "Result 1"}'),
        ("json", b"<html>"),
        ("xml", b""),
        ("html", b"{}"),
        ("xlsx", b""),
        ("csv", b""),
    ],
)
async def test_a_file_of_known_length_that_is_no_export_is_an_error(target: Path, format: Any, content: bytes) -> None:
    answer = part(content, content_length=str(len(content)))
    target.write_bytes(b"what was there")
    async with AsyncCoreClaw("key", transport=StorageHost([answer])) as client:
        with pytest.raises(DownloadError) as caught:
            await client.runs.download(RUN_ID, target, format=format)

    assert caught.value.reason in {"incomplete", "rows-missing"}
    assert target.read_bytes() == b"what was there"


async def test_the_rest_of_a_file_never_comes_from_another_export(target: Path) -> None:
    answers = [
        part(FILE[:9], etag='"1"', content_length=str(len(FILE))),
        httpx.Response(403),
        part(FILE, etag='"1"', content_length=str(len(FILE))),
    ]
    host = StorageHost(answers)
    async with AsyncCoreClaw("key", transport=host, retry=QUICK) as client:
        await client.runs.download(RUN_ID, target, format="csv")

    assert target.read_bytes() == FILE
    assert "range" not in host.seen[-1].headers


async def test_a_part_of_a_shorter_file_is_not_its_rest(target: Path) -> None:
    answers = [
        part(FILE[:9], etag='"1"', content_length=str(len(FILE))),
        httpx.Response(206, content=b"xyz", headers={"etag": '"1"', "content-range": "bytes 9-11/12"}),
        part(FILE, etag='"1"', content_length=str(len(FILE))),
    ]
    async with AsyncCoreClaw("key", transport=StorageHost(answers), retry=QUICK) as client:
        await client.runs.download(RUN_ID, target, format="csv")

    assert target.read_bytes() == FILE


@pytest.mark.async_client_only
async def test_a_callers_client_whose_hook_reads_every_answer_can_download(service: FakeService, target: Path) -> None:
    async def read(response: httpx.Response) -> None:
        await response.aread()

    async with httpx.AsyncClient(transport=service, event_hooks={"response": [read]}) as http_client:
        client = AsyncCoreClaw(service.api_key, http_client=http_client, clock=service.clock)
        await client.runs.download(service.add_run("coreclaw/google-maps-scraper", rows=3), target)

    assert len(target.read_text().splitlines()) == 4
