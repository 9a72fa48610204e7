"""Input from files, pipes and standard input, read so that a signal is noticed while nothing arrives."""

from __future__ import annotations

import io
import stat
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

from coreclaw_async.cli._screen.output import STDIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

T = TypeVar("T")

_ENCODING = "utf-8-sig"
_SECONDS_UNNOTICED = 0.5
"""How long a signal may go unnoticed that arrives just before a call that blocks."""


def open_input(path: Path) -> TextIO:
    """
    Open a file or pipe, or standard input for ``-``, as UTF-8, whatever the terminal's encoding is; line ends are kept.

    Raises:
        OSError: It cannot be opened.
    """
    if path == STDIO:
        return _standard_input()
    mode = path.stat().st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):  # Which block until somebody writes.
        return _text(_in_thread(lambda: io.FileIO(path)))
    return path.open(encoding=_ENCODING, newline="")


def _standard_input() -> TextIO:
    try:
        descriptor = sys.stdin.fileno()
    except OSError:  # It is replaced, for example by a test.
        reconfigure = getattr(sys.stdin, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding=_ENCODING, errors="strict", newline="")
        return sys.stdin
    return _text(io.FileIO(descriptor, closefd=False))


def _text(file: io.FileIO) -> TextIO:
    return io.TextIOWrapper(io.BufferedReader(_Noticing(file)), encoding=_ENCODING, newline="")


class _Noticing(io.RawIOBase):
    """A file whose reads are interrupted by signals at any point."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        return _in_thread(lambda: self._file.readinto(buffer))

    def close(self) -> None:
        self._file.close()
        super().close()


def _in_thread(blocking: Callable[[], T]) -> T:
    """
    Call *blocking* in a thread and wait for its result.

    A signal that arrives between Python's last look for signals and a system call that blocks is noticed only when that
    call returns, which for an empty pipe may be never. Here it is noticed after half a second.
    """
    future = Future[T]()

    def work() -> None:
        try:
            future.set_result(blocking())
        except OSError as error:
            future.set_exception(error)

    # A daemon, so that the process can end while the thread still waits.
    threading.Thread(target=work, daemon=True).start()
    while not future.done():
        wait([future], _SECONDS_UNNOTICED)
    return future.result()
