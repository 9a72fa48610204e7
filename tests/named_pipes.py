"""Named pipes whose reader is late, so that whoever writes has to wait for it."""

from __future__ import annotations

import fcntl
import sys
import termios
import threading
from pathlib import Path

from waiting import wait_until

CAPACITY = 65_536


def unread_in(pipe: int) -> int:
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def late_reader(path: Path, got: list[bytes]) -> threading.Thread:
    """Start a thread that opens a pipe, and reads it to its end once nothing more fits into it."""

    def read() -> None:
        with path.open("rb") as pipe:
            wait_until(lambda: unread_in(pipe.fileno()) == CAPACITY, "a full pipe")
            got.append(pipe.read())

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread
