"""Files come whole or not at all."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from storage_host import FILE, RUN_ID, StorageHost, part

from coreclaw_async import (
    AsyncCoreClaw,
    CoreClawError,
    DownloadError,
    InvalidResponseError,
    LastRun,
    NotFoundError,
    Progress,
    RetryPolicy,
    RunNotFinishedError,
)
from coreclaw_async.testing import FakeService, RealClock, RunScript, faults
from coreclaw_async.testing.faults import Fault

WORKER = "coreclaw/google-maps-scraper"
CHANGED = "Sun, 06 Nov 1994 08:49:37 GMT"
A_SECOND_LATER = "Sun, 06 Nov 1994 08:49:38 GMT"


def downloads(service: FakeService) -> list[Any]:
    return [request for request in service.requests if request.operation == "download"]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "rows.csv"


def assert_nothing_is_left(target: Path) -> None:
    assert list(target.parent.iterdir()) == []


async def test_a_file_holds_every_row(client: AsyncCoreClaw, service: FakeService, target: Path) -> None:
    run_id = service.add_run(WORKER, rows=250)

    path = await client.runs.download(run_id, str(target))

    assert path == target
    with target.open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 250
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("format", ["csv", "json", "jsonl", "xlsx", "xls", "xml", "html", "rss"])
async def test_every_format_is_fetched(client: AsyncCoreClaw, service: FakeService, target: Path, format: Any) -> None:
    run_id = service.add_run(WORKER, rows=3)

    await client.runs.download(run_id, target, format=format)

    assert target.stat().st_size > 0


async def test_only_the_fields_asked_for_come(client: AsyncCoreClaw, service: FakeService, target: Path) -> None:
    run_id = service.add_run(WORKER, rows=2)

    await client.runs.download(run_id, target, format="jsonl", fields=["title"])

    assert [json.loads(line) for line in target.read_text().splitlines()] == [
        {"title": "Result 1"},
        {"title": "Result 2"},
    ]


async def test_an_existing_file_is_replaced(client: AsyncCoreClaw, service: FakeService, target: Path) -> None:
    target.write_text("old")

    await client.runs.download(service.add_run(WORKER, rows=1), target)

    assert "Result 1" in target.read_text()


async def test_progress_is_told(client: AsyncCoreClaw, service: FakeService, target: Path) -> None:
    seen: list[tuple[int, int | None]] = []

    await client.runs.download(
        service.add_run(WORKER, rows=3), target, progress=lambda told: seen.append((told.done, told.total))
    )

    assert seen[-1] == (target.stat().st_size, target.stat().st_size)


async def test_the_last_run_is_resolved_once(client: AsyncCoreClaw, service: FakeService, target: Path) -> None:
    service.add_run(WORKER, rows=3)

    await client.runs.download(LastRun(), target)

    assert [request.operation for request in service.requests] == [
        "getLastWorkerRun",
        "exportWorkerRunResults",
        "download",
    ]


@pytest.mark.parametrize(
    ("fault", "exports"),
    [
        (faults.status(403), 2),
        (faults.status(410), 2),
        (faults.status(503), 1),
        (faults.status(429), 1),
        (faults.drop_before_commit(), 1),
    ],
    ids=["expired", "gone", "busy", "limited", "dropped"],
)
async def test_a_url_that_has_expired_is_asked_for_anew_and_one_that_works_is_kept(
    client: AsyncCoreClaw, service: FakeService, target: Path, fault: Fault, exports: int
) -> None:
    service.faults.add(fault, operation="download")

    await client.runs.download(service.add_run(WORKER, rows=3), target)

    assert len(downloads(service)) == 2
    assert len([r for r in service.requests if r.operation == "exportWorkerRunResults"]) == exports


async def test_a_broken_connection_goes_on_where_it_broke(target: Path) -> None:
    service = FakeService(clock=RealClock())
    run_id = service.add_run(WORKER, rows=5000)
    service.faults.add(faults.truncate(keep=100_000), operation="download")
    with service.serve() as server:
        async with AsyncCoreClaw(service.api_key, base_url=server.url, retry=RetryPolicy(first_delay=0.01)) as client:
            await client.runs.download(run_id, target)

    first, second = downloads(service)
    assert "range" not in first.headers
    assert second.headers["range"].startswith("bytes=")
    assert second.headers["range"] != "bytes=0-"
    with target.open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 5000


async def test_a_host_that_never_works_is_an_error(client: AsyncCoreClaw, service: FakeService, target: Path) -> None:
    run_id = service.add_run(WORKER, rows=3)
    service.faults.add(faults.status(503), operation="download", times=99)

    with pytest.raises(DownloadError, match="HTTP 503") as caught:
        await client.runs.download(run_id, target)

    assert caught.value.run_id == run_id
    assert 4 <= len(downloads(service)) <= 30
    assert 30 <= service.clock.monotonic() <= 60, "as long as one call may take"
    assert_nothing_is_left(target)


async def test_a_refusal_is_an_error_at_once(client: AsyncCoreClaw, service: FakeService, target: Path) -> None:
    service.faults.add(faults.status(404), operation="download")

    with pytest.raises(DownloadError) as caught:
        await client.runs.download(service.add_run(WORKER, rows=3), target)

    assert caught.value.status_code == 404
    assert_nothing_is_left(target)


async def test_a_redirect_of_the_host_is_not_followed(
    client: AsyncCoreClaw, service: FakeService, target: Path
) -> None:
    service.faults.add(faults.redirect("https://elsewhere.test/"), operation="download")

    with pytest.raises(DownloadError, match="HTTP 307"):
        await client.runs.download(service.add_run(WORKER, rows=3), target)


@pytest.mark.parametrize("format", ["csv", "jsonl"])
async def test_a_file_with_too_few_rows_is_an_error(
    client: AsyncCoreClaw, service: FakeService, target: Path, format: Any
) -> None:
    run_id = service.add_run(WORKER, rows=5)
    short = b"title\r\nResult 1\r\n" if format == "csv" else b'{"title":"Result 1"}\n\n'
    service.faults.add(faults.reply(short), operation="download")

    with pytest.raises(DownloadError, match="1 of 5 rows"):
        await client.runs.download(run_id, target, format=format)

    assert_nothing_is_left(target)


async def test_run_that_goes_on_is_downloaded_only_when_its_rows_so_far_are_enough(
    client: AsyncCoreClaw, service: FakeService, target: Path
) -> None:
    script = RunScript(rows=5, statuses=[(0, "running"), (5000, "succeeded")])
    run_id = service.add_run(WORKER, script=script, age=4000.0)

    with pytest.raises(RunNotFinishedError):
        await client.runs.download(run_id, target)

    assert [request.operation for request in service.requests] == ["getWorkerRun"]
    assert not target.exists()


async def test_rows_of_a_run_that_goes_on_are_not_counted(
    client: AsyncCoreClaw, service: FakeService, target: Path
) -> None:
    script = RunScript(rows=5, statuses=[(0, "running"), (5000, "succeeded")])
    run_id = service.add_run(WORKER, script=script, age=4000.0)
    service.faults.add(faults.reply(b"title\r\nResult 1\r\n"), operation="download")

    await client.runs.download(run_id, target, partial=True)

    assert target.read_bytes() == b"title\r\nResult 1\r\n"


async def test_a_file_that_comes_packed_is_an_error(client: AsyncCoreClaw, service: FakeService, target: Path) -> None:
    service.faults.add(faults.gzip_bomb(100_000), operation="download")

    with pytest.raises(DownloadError, match="compressed the file"):
        await client.runs.download(service.add_run(WORKER, rows=1), target)

    assert_nothing_is_left(target)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://files.test/rows", "scheme 'http' for the file, not https"),
        ("file:///etc/passwd", "scheme 'file' for the file, not https"),
        ("https://[broken", "no URL"),
        ("https://files.test:99999/", "no URL"),
        ("https://xn--/", "no URL"),
        ("", "download_url is missing"),
        (None, "download_url is missing"),
    ],
)
async def test_a_url_that_must_not_be_fetched_is_an_error(
    client: AsyncCoreClaw, service: FakeService, target: Path, url: Any, words: str
) -> None:
    service.faults.add(
        faults.edit(lambda envelope: {**envelope, "data": {"download_url": url}}),
        operation="exportWorkerRunResults",
        times=99,
    )

    with pytest.raises((DownloadError, InvalidResponseError), match=words):
        await client.runs.download(service.add_run(WORKER, rows=1), target)

    assert downloads(service) == []
    assert_nothing_is_left(target)


async def test_a_download_that_is_cancelled_leaves_nothing(target: Path) -> None:
    service = FakeService(clock=RealClock())
    service.faults.add(faults.stall(), operation="download")

    async with AsyncCoreClaw(service.api_key, transport=service) as client:
        with anyio.move_on_after(0.1) as scope:
            await client.runs.download(service.add_run(WORKER, rows=1), target)

    assert scope.cancelled_caught
    assert_nothing_is_left(target)


async def test_an_exception_of_progress_leaves_the_whole_file(target: Path) -> None:
    def broken(_: Progress) -> None:
        raise ZeroDivisionError

    service = FakeService(clock=RealClock())
    run_id = service.add_run(WORKER, rows=5000)
    with service.serve() as server:
        async with AsyncCoreClaw(service.api_key, base_url=server.url) as client:
            await client.runs.download(run_id, target, progress=broken)

    assert "Result 5000" in target.read_text()
    assert [path.name for path in target.parent.iterdir()] == [target.name]


async def test_a_folder_that_is_not_there_is_an_os_error(
    client: AsyncCoreClaw, service: FakeService, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        await client.runs.download(service.add_run(WORKER), tmp_path / "missing" / "rows.csv")


async def test_an_unknown_run_is_not_found(client: AsyncCoreClaw, target: Path) -> None:
    with pytest.raises(NotFoundError):
        await client.runs.download(RUN_ID, target)

    assert_nothing_is_left(target)


@pytest.mark.parametrize(
    "answers",
    [
        # Without a length and without chunks nothing shows the end but the file itself, which is closed here.
        [part(FILE)],
        [part(FILE, transfer_encoding="chunked")],
        # Less than was promised, then the rest of the same version.
        [
            part(FILE[:9], content_length="17", etag='"one"'),
            part(FILE[9:], 206, content_range="bytes 9-16/17", etag='"one"'),
        ],
        [
            part(FILE[:9], content_length="17", last_modified=CHANGED, date=A_SECOND_LATER, etag='W/"weak"'),
            part(FILE[9:], 206, content_range="bytes 9-16/17", last_modified=CHANGED),
        ],
        # A host that begins anew although it was asked for the rest.
        [part(b"something else", content_length="99", etag='"one"'), part(FILE)],
        # Nothing tells one version from another: begun anew without asking for the rest.
        [part(FILE[:9], content_length="99"), part(FILE)],
        # Another part, another version, a part whose whole is not told, no such part: all begun anew.
        [
            part(FILE[:9], content_length="17", etag='"one"'),
            part(FILE[4:], 206, content_range="bytes 4-16/17", etag='"one"'),
            part(FILE[:9], content_length="17", etag='"one"'),
            part(FILE[9:], 206, content_range="bytes 9-16/17", etag='"two"'),
            part(FILE[:9], content_length="17", etag='"one"'),
            part(FILE[9:], 206, content_range="bytes 9-16/*", etag='"one"'),
            part(FILE),
        ],
        [part(FILE[:9], content_length="17", etag='"one"'), httpx.Response(416), part(FILE)],
    ],
    ids=["no length", "chunks", "resumed", "by date", "begun anew", "no version", "other parts", "no such part"],
)
async def test_whatever_way_the_parts_come_the_file_is_right(target: Path, answers: list[httpx.Response]) -> None:
    policy = RetryPolicy(max_attempts=9, first_delay=0.001, max_delay=0.001)
    async with AsyncCoreClaw("key", transport=StorageHost(answers), retry=policy) as client:
        await client.runs.download(RUN_ID, target)

    assert target.read_bytes() == FILE


@pytest.mark.parametrize(
    ("changed", "date", "is_resumed"),
    [
        (CHANGED, A_SECOND_LATER, True),
        (CHANGED, CHANGED, False),
        (CHANGED, "", False),
        (CHANGED, "some time", False),
        ("some time", A_SECOND_LATER, False),
    ],
)
async def test_a_file_that_may_change_again_in_the_same_second_is_begun_anew(
    target: Path, changed: str, date: str, is_resumed: bool
) -> None:
    def go_on(request: httpx.Request) -> httpx.Response:
        if "range" not in request.headers:
            return part(FILE)
        return part(FILE[9:], 206, content_range="bytes 9-16/17", last_modified=changed)

    host = StorageHost([part(FILE[:9], content_length="17", last_modified=changed, date=date), go_on])
    policy = RetryPolicy(max_attempts=9, first_delay=0.001, max_delay=0.001)
    async with AsyncCoreClaw("key", transport=host, retry=policy) as client:
        await client.runs.download(RUN_ID, target)

    assert host.seen[1].headers.get("if-range") == (CHANGED if is_resumed else None)
    assert target.read_bytes() == FILE


async def test_a_host_that_never_gets_further_is_an_error(target: Path) -> None:
    answers = [part(FILE[:9], content_length="17", etag='"one"'), httpx.Response(416)] * 20
    policy = RetryPolicy(max_attempts=4, first_delay=0.001, max_delay=0.001)
    async with AsyncCoreClaw("key", transport=StorageHost(answers), retry=policy) as client:
        with pytest.raises(DownloadError):
            await client.runs.download(RUN_ID, target)

    assert_nothing_is_left(target)


@pytest.mark.parametrize(
    ("format", "content"),
    [
        ("csv", b"title\r\nResult 1"),
        ("jsonl", b'{"title": "Result 1"}\n{"tit'),
        ("json", b'[{"title": "Result 1"},'),
        ("xlsx", b"PK\x03\x04 and so on"),
        ("xml", b"<rows><row>"),
        ("html", b"<table><tr"),
        ("rss", b"<rss><chan"),
    ],
)
async def test_a_file_that_ends_in_the_middle_is_an_error(target: Path, format: Any, content: bytes) -> None:
    if format == "xml":
        content += b"half"
    async with AsyncCoreClaw("key", transport=StorageHost([part(content)])) as client:
        with pytest.raises(DownloadError, match=r"ends in the middle"):
            await client.runs.download(RUN_ID, target, format=format)

    assert_nothing_is_left(target)


@pytest.mark.parametrize(
    ("format", "content"),
    [
        ("json", b'[{"title": "Result 1"}]'),
        ("jsonl", b'{"title": "Result 1"}\n'),
        ("xlsx", b"PK\x03\x04 and so on PK\x05\x06 the end"),
        ("xls", b"any bytes"),
        ("xml", b"<rows></rows>\n"),
    ],
)
async def test_a_file_that_shows_its_end_is_whole(target: Path, format: Any, content: bytes) -> None:
    async with AsyncCoreClaw("key", transport=StorageHost([part(content)])) as client:
        await client.runs.download(RUN_ID, target, format=format)

    assert target.read_bytes() == content


@pytest.mark.parametrize("media_type", ["text/html; charset=utf-8", "application/xml"])
async def test_a_page_instead_of_the_file_is_an_error(target: Path, media_type: str) -> None:
    answer = part(b"<html>please log in</html>\n", content_type=media_type, content_length="27")
    async with AsyncCoreClaw("key", transport=StorageHost([answer])) as client:
        with pytest.raises(DownloadError, match="which is no json"):
            await client.runs.download(RUN_ID, target, format="json")


async def test_a_proxy_that_cannot_be_one_is_no_foreign_error(
    service: FakeService, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "gopher://127.0.0.1:1")
    async with AsyncCoreClaw("key", retry=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(CoreClawError, match="proxy that the environment names"):
            await client.account.get()


async def test_an_address_over_tls_is_fetched_with_connections_of_its_own(target: Path) -> None:
    """The API answers over plain http here; the file is announced over https, where nothing listens."""
    service = FakeService(clock=RealClock())
    run_id = service.add_run(WORKER, rows=1)
    service.faults.add(
        faults.edit(lambda envelope: {**envelope, "data": {"download_url": "https://127.0.0.1:9/rows"}}),
        operation="exportWorkerRunResults",
        times=9,
    )
    with service.serve() as server:
        async with AsyncCoreClaw(
            service.api_key, base_url=server.url, retry=RetryPolicy(max_attempts=2, first_delay=0.001, max_delay=0.001)
        ) as client:
            with pytest.raises(DownloadError, match="ConnectError"):
                await client.runs.download(run_id, target)
