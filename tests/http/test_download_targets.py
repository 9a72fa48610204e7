"""Where a download goes: into a temporary file, which replaces the target or is copied into a pipe or device."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest
from either_client import AsyncCoreClaw
from interrupting import cancelling_once, interrupt_once
from named_pipes import CAPACITY, unread_in
from storage_host import FILE, RUN_ID, Pieces, StorageHost, part
from waiting import PATIENCE, join, until, wait_until

from coreclaw_async import CoreClaw, DownloadError, Progress, RetryPolicy
from coreclaw_async.testing import FakeService, RealClock, faults

WORKER = "coreclaw/google-maps-scraper"
LEFTOVER = re.compile(r"\..*\.[0-9a-f]{16}\.coreclaw-part")
ONCE = RetryPolicy(max_attempts=1)

# Downloads a run over and over: key, base URL, run id, target, times.
DOWNLOADER = """
import sys
from coreclaw_async import CoreClaw
key, url, run_id, target, times = sys.argv[1:]
with CoreClaw(key, base_url=url) as client:
    for _ in range(int(times)):
        client.runs.download(run_id, target)
"""


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "rows.csv"


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files that is empty in the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def fetch(path: Path | str, *, host: StorageHost | None = None, **options: object) -> None:
    host = host or StorageHost([part(FILE)])
    async with AsyncCoreClaw("key", transport=host, retry=ONCE) as client:
        await client.runs.download(RUN_ID, path, **options)  # type: ignore[arg-type]


def spawn(service: FakeService, url: str, run_id: str, target: Path | str, times: int = 1, **options: object) -> object:
    command = [sys.executable, "-c", DOWNLOADER, service.api_key, url, run_id, str(target), str(times)]
    return subprocess.Popen(command, **options)  # type: ignore[call-overload]


@pytest.mark.async_client_only
async def test_two_downloads_to_one_path_at_once_end_with_a_whole_file_of_the_last(target: Path) -> None:
    first_may_end = anyio.Event()

    class Slow(Pieces):
        async def __aiter__(self):  # type: ignore[no-untyped-def]
            yield b"title\r\nFirst"
            await first_may_end.wait()
            yield b" one\r\n"

    first = StorageHost([part(Slow(), content_length="18")])
    second = StorageHost([part(Pieces(b"title\r\nSecond", b"\r\n"), content_length="15")])

    async def fetch_first() -> None:
        await fetch(target, host=first)
        assert target.read_bytes() == b"title\r\nFirst one\r\n"

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fetch_first)
        await until(lambda: names_in(target.parent), "the first download", pause=0.001)
        await fetch(target, host=second)
        assert target.read_bytes() == b"title\r\nSecond\r\n"
        first_may_end.set()

    assert names_in(target.parent) == ["rows.csv"]


@pytest.mark.endurance
def test_two_processes_download_to_one_path_at_once(target: Path) -> None:
    service = FakeService(clock=RealClock())
    runs = [service.add_run(WORKER, rows=rows) for rows in (2000, 3000)]
    with service.serve() as server:
        children = [spawn(service, server.url, run, target, 8, stderr=subprocess.PIPE) for run in runs]
        outcomes = [(child.communicate(timeout=PATIENCE)[1], child.returncode) for child in children]  # type: ignore[attr-defined]

    assert outcomes == [(b"", 0), (b"", 0)]
    assert target.read_bytes().count(b"\r\n") - 1 in {2000, 3000}
    assert names_in(target.parent) == ["rows.csv"]


async def test_a_file_of_the_users_own_named_part_stays_as_it_is(target: Path) -> None:
    own = target.with_name("rows.csv.part")
    own.write_bytes(b"my own")

    await fetch(target)

    assert own.read_bytes() == b"my own"
    assert target.read_bytes() == FILE


async def test_a_link_named_part_is_not_followed(target: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    target.with_name("rows.csv.part").symlink_to(precious)

    await fetch(target)

    assert precious.read_bytes() == b"precious"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444, 0o755])
async def test_an_existing_file_keeps_its_mode_and_no_part_of_the_new_one_is_more_open(target: Path, mode: int) -> None:
    target.write_bytes(b"old")
    target.chmod(mode)
    modes: list[int] = []

    def look(_: Progress) -> None:
        modes.extend(stat.S_IMODE(path.stat().st_mode) for path in target.parent.iterdir() if path != target)

    await fetch(target, progress=look)

    assert target.read_bytes() == FILE
    assert stat.S_IMODE(target.stat().st_mode) == mode
    assert modes == [0o600]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
async def test_a_new_file_gets_the_mode_that_the_umask_says(target: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        await fetch(target)
    finally:
        os.umask(before)

    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask


async def test_a_link_stays_one_and_what_it_points_at_is_replaced(target: Path, tmp_path: Path) -> None:
    real = tmp_path / "real.csv"
    real.write_bytes(b"old")
    target.symlink_to("../middle")
    (tmp_path / "middle").symlink_to(real)

    await fetch(target)

    assert target.is_symlink()
    assert real.read_bytes() == FILE
    assert not real.is_symlink()
    assert names_in(target.parent) == ["rows.csv"]


async def test_a_dangling_link_has_its_target_made(target: Path, tmp_path: Path) -> None:
    target.symlink_to(tmp_path / "real.csv")

    await fetch(target)

    assert target.is_symlink()
    assert (tmp_path / "real.csv").read_bytes() == FILE


def a_folder(path: Path) -> None:
    path.mkdir()


def a_link_to_a_folder(path: Path) -> None:
    path.symlink_to(path.parent)


def a_loop(path: Path) -> None:
    path.symlink_to(path)


def a_link_into_a_missing_folder(path: Path) -> None:
    path.symlink_to(path.parent / "missing" / "rows.csv")


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (a_folder, IsADirectoryError, "is a folder"),
        (a_link_to_a_folder, IsADirectoryError, "is a folder"),
        (a_loop, OSError, "symbolic links"),
        (a_link_into_a_missing_folder, FileNotFoundError, "no such folder.*missing"),
        (a_socket, OSError, "is a socket"),
    ],
)
async def test_what_cannot_be_a_target_is_an_error_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch,
    target: Path,
    make: Callable[[Path], None],
    error: type[OSError],
    words: str,
) -> None:
    monkeypatch.chdir(target.parent)  # A socket's path is short.
    make(Path("rows.csv"))
    host = StorageHost([])

    with pytest.raises(error, match=words):
        await fetch("rows.csv", host=host)

    assert host.asked == 0
    assert names_in(target.parent) == ["rows.csv"]


@pytest.mark.parametrize("path", ["missing/rows.csv", "file/rows.csv", "x" * 256, ""])
async def test_a_path_that_cannot_be_is_an_error_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, target: Path, path: str
) -> None:
    monkeypatch.chdir(target.parent)
    Path("file").touch()
    host = StorageHost([])

    with pytest.raises(OSError):
        await fetch(path, host=host)

    assert host.asked == 0


@pytest.mark.parametrize(
    "name", ["n" * 253, "n" * 255, "\u00e4" * 127, "\u20ac" * 85, "\U0001f600" * 63, "a\udcff" * 9]
)
async def test_the_longest_names_and_those_of_many_bytes_are_fine(target: Path, name: str) -> None:
    await fetch(target.with_name(name))

    assert names_in(target.parent) == [name]


@contextlib.contextmanager
def reading(fifo: Path, got: list[bytes]) -> Iterator[None]:
    thread = threading.Thread(target=lambda: got.append(fifo.read_bytes()), daemon=True)
    thread.start()
    try:
        yield
    finally:
        join(thread)


async def test_a_fifo_gets_the_whole_file_and_stays_one(target: Path) -> None:
    os.mkfifo(target)
    content = b"title\r\n" + b"x" * 3_000_000 + b"\r\n"
    got: list[bytes] = []

    with reading(target, got):
        await fetch(target, host=StorageHost([part(content)]))

    assert got == [content]
    assert stat.S_ISFIFO(target.stat().st_mode)
    assert names_in(target.parent) == ["rows.csv"]


async def test_a_fifo_gets_nothing_of_a_file_that_does_not_come_whole(target: Path) -> None:
    os.mkfifo(target)
    reader = os.open(target, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(DownloadError):
            await fetch(target, host=StorageHost([part(FILE[:9], content_length="17")]))
        assert os.read(reader, 99) == b""
    finally:
        os.close(reader)


@pytest.mark.async_client_only
@pytest.mark.parametrize("has_reader", [False, True], ids=["nobody reads", "the reader stops"])
async def test_a_fifo_that_takes_nothing_can_be_cancelled(
    target: Path, temporary_folder: Path, *, has_reader: bool
) -> None:
    os.mkfifo(target)
    host = StorageHost([part(b"title\r\n" + b"x" * 300_000 + b"\r\n")])
    with contextlib.ExitStack() as stack:
        reader = os.open(target, os.O_RDONLY | os.O_NONBLOCK) if has_reader else None
        if reader is not None:
            stack.callback(os.close, reader)

        def is_time() -> bool:
            if reader is not None:
                return unread_in(reader) == CAPACITY
            return any(file.stat().st_size > 300_000 for file in temporary_folder.iterdir())

        async with cancelling_once(is_time) as scope:
            with scope:
                await fetch(target, host=host)

    assert scope.cancelled_caught
    assert len(host.seen) == 1


def test_ctrl_c_ends_a_blocking_download_to_a_fifo_that_nobody_reads(target: Path, temporary_folder: Path) -> None:
    os.mkfifo(target)
    host = StorageHost([part(FILE)])
    with (
        CoreClaw("key", transport=host) as client,
        interrupt_once(lambda: names_in(temporary_folder)),
        pytest.raises(KeyboardInterrupt),
    ):
        client.runs.download(RUN_ID, target)

    assert stat.S_ISFIFO(target.stat().st_mode)


async def test_a_reader_that_goes_away_is_an_error_that_names_the_run(target: Path) -> None:
    os.mkfifo(target)

    def read_a_little() -> None:
        with target.open("rb", buffering=0) as reader:
            reader.read(1)

    thread = threading.Thread(target=read_a_little, daemon=True)
    thread.start()
    with pytest.raises(BrokenPipeError, match=RUN_ID):
        await fetch(target, host=StorageHost([part(b"title\r\n" + b"x" * 3_000_000 + b"\r\n")]))
    join(thread)


# Devices are reached where nobody can replace them, not even root with a version that would: below /dev/pts, and by a
# descriptor.


async def test_a_device_is_written_to() -> None:
    master, slave = os.openpty()
    try:
        await fetch(os.ttyname(slave))
        said = os.read(master, 99)
    finally:
        os.close(master)
        os.close(slave)

    assert said.replace(b"\r\r\n", b"\r\n") == FILE


async def test_a_full_device_is_an_error_that_names_the_run(target: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        target.symlink_to(f"/proc/self/fd/{full.fileno()}")
        with pytest.raises(OSError, match=rf"{RUN_ID}.*rows\.csv") as caught:
            await fetch(target)

    assert caught.value.errno == 28
    assert target.is_symlink()


@pytest.mark.parametrize("name", ["/proc/self/fd/{}", "/dev/fd/{}", "link"])
@pytest.mark.parametrize("is_pipe", [False, True])
async def test_a_descriptor_is_written_to_where_it_stands(target: Path, name: str, *, is_pipe: bool) -> None:
    """What is there already stays, and what is written later comes after it."""
    if is_pipe:
        reader, descriptor = os.pipe()
    else:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT)
        reader = os.open(target, os.O_RDONLY)
    target.with_name("link").symlink_to(f"/proc/self/fd/{descriptor}")  # As /dev/stdout is one.
    try:
        for _ in range(2):
            await fetch(target.parent / name.format(descriptor))
        said = os.read(reader, 99)
    finally:
        os.close(reader)
        os.close(descriptor)

    assert said == FILE * 2


async def test_a_large_file_is_copied_to_a_descriptor_in_steps(target: Path) -> None:
    content = b"title\r\n" + b"x" * 3_000_000 + b"\r\n"
    with target.open("wb") as file:
        await fetch(f"/proc/self/fd/{file.fileno()}", host=StorageHost([part(content)]))

    assert target.read_bytes() == content


async def test_a_pipe_that_nobody_reads_is_an_error_that_names_the_run() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with pytest.raises(BrokenPipeError, match=RUN_ID):
            await fetch(f"/proc/self/fd/{writer}")
    finally:
        os.close(writer)


@pytest.mark.endurance
def test_standard_output_is_written_to_where_it_stands(tmp_path: Path) -> None:
    service = FakeService(clock=RealClock())
    run_id = service.add_run(WORKER, rows=2)
    file = tmp_path / "all"
    with service.serve() as server, file.open("wb") as stream:
        child = spawn(service, server.url, run_id, "/dev/stdout", 2, stdout=stream)
        assert child.wait(PATIENCE) == 0  # type: ignore[attr-defined]

    assert file.read_bytes().count(b"Result 1") == 2
    assert file.read_bytes().count(b"\r\n") == 6


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), OSError(5, "of the caller's own"), TimeoutError("x")])
async def test_an_error_of_progress_ends_no_download(target: Path, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    await fetch(target, progress=fail)

    assert target.read_bytes() == FILE
    assert names_in(target.parent) == ["rows.csv"]


async def test_a_target_that_becomes_a_folder_meanwhile_is_an_error_that_names_the_run(target: Path) -> None:
    with pytest.raises(IsADirectoryError, match=rf"{RUN_ID}.*rows\.csv"):
        await fetch(target, progress=lambda *_: target.mkdir())

    assert names_in(target.parent) == ["rows.csv"]


async def test_a_fifo_that_comes_meanwhile_is_not_replaced(target: Path) -> None:
    with pytest.raises(OSError, match=rf"{RUN_ID}.*rows\.csv"):
        await fetch(target, progress=lambda *_: os.mkfifo(target))

    assert stat.S_ISFIFO(target.stat().st_mode)


async def test_a_folder_that_goes_meanwhile_is_an_error_that_names_the_run(target: Path) -> None:
    def remove(*_: object) -> None:
        for path in target.parent.iterdir():
            path.unlink()
        target.parent.rmdir()

    with pytest.raises(FileNotFoundError, match=rf"{RUN_ID}.*rows\.csv"):
        await fetch(target, progress=remove)


@pytest.mark.endurance
def test_a_full_disk_is_an_error_that_names_the_run_and_leaves_nothing(target: Path) -> None:
    limited = "import atexit, resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    limited += "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, -1))\n"
    # Before coverage, which may be measured here, writes its own file.
    limited += "atexit.register(resource.setrlimit, resource.RLIMIT_FSIZE, (-1, -1))\n"
    service = FakeService(clock=RealClock())
    run_id = service.add_run(WORKER, rows=5000)
    target.write_bytes(b"old")
    with service.serve() as server:
        command = [sys.executable, "-c", limited + DOWNLOADER, service.api_key, server.url, run_id, str(target), "1"]
        said = subprocess.run(command, stderr=subprocess.PIPE, check=False, text=True).stderr

    assert re.fullmatch(rf"OSError: \[Errno 27\] .*{run_id}.*rows\.csv'", said.splitlines()[-1])
    assert target.read_bytes() == b"old"
    assert names_in(target.parent) == ["rows.csv"]


@pytest.mark.endurance
def test_a_killed_process_leaves_a_name_that_tells_what_it_is(target: Path) -> None:
    service = FakeService(clock=RealClock())
    run_id = service.add_run(WORKER, rows=5000)
    service.faults.add(faults.drip(chunk=1000, pause=0.05), operation="download")
    target.write_bytes(b"old")
    with service.serve() as server:
        child = spawn(service, server.url, run_id, target)
        wait_until(lambda: len(names_in(target.parent)) > 1, "the first bytes")
        child.send_signal(signal.SIGKILL)  # type: ignore[attr-defined]
        child.wait()  # type: ignore[attr-defined]

    left = [name for name in names_in(target.parent) if name != "rows.csv"]
    assert len(left) == 1
    assert LEFTOVER.fullmatch(left[0])
    assert "rows.csv" in left[0]
    assert target.read_bytes() == b"old"


def test_ctrl_c_leaves_the_target_as_it_was(target: Path) -> None:
    service = FakeService(clock=RealClock())
    service.faults.add(faults.stall(), operation="download")
    target.write_bytes(b"old")
    run_id = service.add_run(WORKER, rows=1)
    with (
        CoreClaw(service.api_key, transport=service) as client,
        interrupt_once(lambda: len(names_in(target.parent)) > 1),
        pytest.raises(KeyboardInterrupt),
    ):
        client.runs.download(run_id, target)

    assert target.read_bytes() == b"old"
    assert names_in(target.parent) == ["rows.csv"]


@pytest.mark.async_client_only
async def test_a_download_cancelled_at_any_moment_leaves_nothing_or_the_whole_file(target: Path) -> None:
    """The cancellation comes before the n-th piece of work, for every n until the download is through."""
    is_whole = False
    for delay in range(400):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(functools.partial(cancel_after, scope, delay))
                await fetch(target, host=StorageHost([part(FILE)]))
                tasks.cancel_scope.cancel()
        assert names_in(target.parent) in ([], ["rows.csv"])
        if target.exists():
            assert target.read_bytes() == FILE
            target.unlink()
        if not scope.cancel_called:
            is_whole = True
            break
    assert is_whole


async def cancel_after(scope: anyio.CancelScope, rounds: int) -> None:
    for _ in range(rounds):
        await anyio.sleep(0.0005 if rounds > 30 else 0)
    scope.cancel()
