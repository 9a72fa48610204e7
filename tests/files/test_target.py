"""What takes the place of a file, step by step, as threads and interrupted callers take them."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from named_pipes import late_reader
from waiting import join

from coreclaw_async._files.target import FileTarget, check_target, leftovers_in, replaced_file


def test_a_file_that_was_given_up_before_its_thread_began_is_not_made(tmp_path: Path) -> None:
    target = FileTarget(tmp_path / "rows.csv")
    target.discard()
    target.create()

    assert list(tmp_path.iterdir()) == []


def test_giving_up_waits_for_a_step_that_still_runs_and_takes_away_what_it_made(tmp_path: Path) -> None:
    for _ in range(50):
        target = FileTarget(tmp_path / "rows.csv")
        thread = threading.Thread(target=target.create)
        thread.start()
        target.discard()
        join(thread)
        assert list(tmp_path.iterdir()) == []


def test_a_file_that_has_its_place_is_not_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with replaced_file(path) as file:
        file.write(b"rows")

    assert path.read_bytes() == b"rows"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"old")

    with pytest.raises(ZeroDivisionError), replaced_file(path) as file:
        file.write(b"rows")
        raise ZeroDivisionError

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_that_nobody_can_open_any_more_is_an_error_at_once() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with pytest.raises(BrokenPipeError), replaced_file(Path(f"/proc/self/fd/{writer}")) as file:
            file.write(b"rows")
        assert os.get_blocking(writer)
    finally:
        os.close(writer)


def test_a_descriptor_stays_blocking_and_open() -> None:
    reader, writer = os.pipe()
    try:
        with replaced_file(Path(f"/proc/self/fd/{writer}")) as file:
            file.write(b"rows")
        assert os.read(reader, 99) == b"rows"
        assert os.get_blocking(writer)
    finally:
        os.close(reader)
        os.close(writer)


def test_a_pipe_waits_for_its_reader(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    os.mkfifo(path)
    got: list[bytes] = []
    reader = late_reader(path, got)
    with replaced_file(path) as file:
        file.write(b"rows" * 50_000)

    join(reader)
    assert got == [b"rows" * 50_000]


def test_a_pipe_that_nobody_reads_is_tried_again_later_and_later(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    os.mkfifo(path)
    target = FileTarget(path)
    target.create()
    target.write(b"rows")
    first, second = target.place(), target.place()
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        last = target.place()
        assert os.read(reader, 99) == b"rows"
    finally:
        os.close(reader)
        target.discard()

    assert first is not None
    assert first > 0
    assert (second, last) == (2 * first, None)


def test_a_pipe_that_goes_meanwhile_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    os.mkfifo(path)

    with pytest.raises(FileNotFoundError), replaced_file(path):
        path.unlink()


def test_the_file_of_another_that_appears_meanwhile_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with replaced_file(path) as file:
        file.write(b"rows")
        path.touch()
        path.chmod(0o600)

    assert path.read_bytes() == b"rows"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_goes_meanwhile_is_made_as_private_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.touch(0o600)
    with replaced_file(path):
        path.unlink()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_relative_target_stays_where_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    with replaced_file(Path("rows.csv")):
        monkeypatch.chdir(tmp_path / "other")

    assert (tmp_path / "rows.csv").exists()


def test_leftovers_are_told_by_the_names_of_their_targets(tmp_path: Path) -> None:
    targets = [FileTarget(tmp_path / name) for name in ("rows.csv", "rows.csv2", "rows.csv", "a.\nb")]
    for target in targets:
        target.create()
    for name in (".rows.csv.mine", ".rows.csv.0123.coreclaw-part", "rows.csv.0123456789abcdef.coreclaw-part"):
        (tmp_path / name).touch()

    found = leftovers_in(tmp_path)

    assert {name: set(paths) for name, paths in found.items()} == {
        "rows.csv": {targets[0].temporary, targets[2].temporary},
        "rows.csv2": {targets[1].temporary},
        "a.\nb": {targets[3].temporary},
    }

    for target in targets:
        target.discard()


def test_a_target_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    old = tmp_path / "old.csv"
    old.write_text("old")
    old.chmod(0o400)
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "not-there-yet")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    before = sorted(tmp_path.iterdir())

    for path in (old, link, pipe, tmp_path / "new.csv", Path("/dev/null"), Path("/dev/full"), Path("/dev/stdout")):
        check_target(path)

    assert sorted(tmp_path.iterdir()) == before
    assert old.read_text() == "old"


def _loop(folder: Path) -> Path:
    (folder / "loop").symlink_to(folder / "loop")
    return folder / "loop"


def _into_nowhere(folder: Path) -> Path:
    (folder / "link").symlink_to(folder / "no" / "such" / "file")
    return folder / "link"


def _socket(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(folder / "s"))
    return folder / "s"


def _below_a_file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file" / "rows.csv"


def _itself(folder: Path) -> Path:
    return folder


def _without_folder(folder: Path) -> Path:
    return folder / "no" / "rows.csv"


def _long_name(folder: Path) -> Path:
    return folder / ("x" * 300)


def _no_process(_: Path) -> Path:
    return Path("/proc/rows.csv")


def _no_descriptor(_: Path) -> Path:
    return Path("/proc/self/fd/9999")


@pytest.mark.parametrize(
    "make",
    [
        _loop,
        _into_nowhere,
        _socket,
        _below_a_file,
        _itself,
        _without_folder,
        _long_name,
        _no_process,
        _no_descriptor,
    ],
)
def test_a_target_that_cannot_be_written_is_refused_and_nothing_is_left(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path)
    before = sorted(tmp_path.iterdir())

    with pytest.raises(OSError):
        check_target(path)

    assert sorted(tmp_path.iterdir()) == before


def test_a_descriptor_that_is_open_for_reading_alone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="Bad file descriptor"):
            check_target(Path(f"/dev/fd/{descriptor}"))
    finally:
        os.close(descriptor)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may look into, as they may not into those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_what_only_others_may_write_is_refused(open_folder: Path) -> None:
    """Root may write anything, so the process is nobody for a moment."""
    shared, private, pipe = open_folder / "shared", open_folder / "private", open_folder / "pipe"
    shared.mkdir()
    private.mkdir()
    shared.chmod(0o1777)
    private.chmod(0o755)
    (shared / "theirs.csv").touch()
    os.mkfifo(pipe)
    pipe.chmod(0o600)
    refused: dict[str, str | None] = {}
    os.seteuid(65534)
    try:
        for path in (shared / "mine.csv", shared / "theirs.csv", private / "rows.csv", pipe):
            try:
                check_target(path)
            except PermissionError as error:
                refused[path.name] = error.strerror
    finally:
        os.seteuid(0)

    assert refused == {
        "theirs.csv": "The file is another user's",
        "rows.csv": "Permission denied",
        "pipe": "You may not write to it",
    }


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("chattr") is None, reason="only root can use chattr")
def test_a_file_that_nothing_may_take_the_place_of_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.touch()
    if subprocess.run(["chattr", "+i", str(path)], check=False, capture_output=True).returncode:
        pytest.skip("this file system has no immutable files")
    try:
        with pytest.raises(PermissionError):
            check_target(path)
    finally:
        subprocess.run(["chattr", "-i", str(path)], check=True)
    assert list(tmp_path.iterdir()) == [path]
