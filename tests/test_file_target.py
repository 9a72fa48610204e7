"""What takes the place of a file, step by step, as threads and interrupted callers take them."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from coreclaw_async._file_target import FileTarget, leftovers_in, replaced_file


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
        thread.join()
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
    reader = threading.Timer(0.05, lambda: got.append(path.read_bytes()))
    with replaced_file(path) as file:
        file.write(b"rows")
        reader.start()

    reader.join()
    assert got == [b"rows"]


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
