"""
A file that appears in its place complete or not at all.

It is written as ``.<name>.<16 hex digits>.coreclaw-part`` in the folder of the target (a long name is cut), and then
renamed. A process that is killed leaves such a file behind.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import BinaryIO

import anyio
import anyio.to_thread

_SUFFIX = ".coreclaw-part"
_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{16}" + re.escape(_SUFFIX), re.DOTALL)
# The whole name fits where file names may have 143 bytes (eCryptfs) or more.
_MAX_NAME_BYTES = 100
_CHUNK_BYTES = 1 << 16
_STEP_BYTES = 1 << 20
_FIRST_WAIT = 0.001
_MAX_WAIT = 0.05
_NON_BLOCKING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_BINARY = getattr(os, "O_BINARY", 0)


@contextlib.contextmanager
def naming(path: Path) -> Generator[None]:
    """Have an error of the system that names no file, as one of writing does, name *path*."""
    try:
        yield
    except OSError as error:
        # Some errors of the service are a TimeoutError, and so an OSError, but not one of the system.
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


class FileTarget:
    """
    Where a file goes: an existing file is replaced, an existing pipe or device is written to.

    Links are followed, so a link stays one. A replaced file keeps its mode. For a pipe or device, the file is first
    written to the folder for temporary files and copied when it is complete; what was copied cannot be taken back.

    Every method may be called in a worker thread, also while another one runs: each waits for its turn.

    Args:
        path: The target.

    Attributes:
        path: The target as the caller named it.
        temporary: Where the file is until it is complete.

    Raises:
        OSError: The target is a folder or a socket, its folder does not exist, or links lead in a circle.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        mode = _mode_of(path)
        self._descriptor = None if mode is None else _own_descriptor(path)
        self._is_replaced = self._descriptor is None and (mode is None or stat.S_ISREG(mode))
        self._is_pipe = mode is not None and stat.S_ISFIFO(mode)
        self._may_be_public = mode is None
        self._final = Path(os.path.realpath(path)) if self._is_replaced else path
        folder = self._final.parent if self._is_replaced else Path(tempfile.gettempdir())
        if not folder.is_dir():
            raise FileNotFoundError(errno.ENOENT, "There is no such folder", str(folder))
        self.temporary = folder / f"{_prefix(self._final)}{secrets.token_hex(8)}{_SUFFIX}"
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._is_over = False
        self._sink: int | None = None
        self._copied = 0
        self._wait = _FIRST_WAIT

    @property
    def file(self) -> BinaryIO:
        """The file that is being written."""
        assert self._file is not None, "create() was called"
        return self._file

    def create(self) -> None:
        """Make the temporary file; does nothing after `discard`."""
        with self._lock:
            if self._is_over:
                return
            # O_EXCL follows no link and opens no existing file. What replaces a private file must be private.
            mode = 0o666 if self._may_be_public else 0o600
            descriptor = os.open(self.temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, mode)
            self._file = os.fdopen(descriptor, "w+b")

    def check_place(self) -> None:
        """
        Raise when `place` would fail, as far as that can be told without opening a pipe or device.

        Raises:
            OSError: It would fail.
        """
        if self._is_replaced:
            _check_replaceable(self._final)
        elif self._descriptor is not None:
            os.write(self._descriptor, b"")  # An error where the descriptor is for reading.
        elif not os.access(self._final, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise PermissionError(errno.EACCES, "You may not write to it", str(self.path))

    def write(self, data: bytes) -> None:
        """Add *data* at the end."""
        with self._lock, naming(self.path):
            self.file.write(data)

    def start_over(self) -> None:
        """Empty the file."""
        with self._lock:
            self.file.seek(0)
            self.file.truncate()

    def flush(self) -> None:
        """Write what is buffered to the temporary file, so that others can read it."""
        with self._lock:
            self.file.flush()

    def place(self) -> float | None:
        """
        Move the complete file to its place, or take the next step of copying it; never waits for the reader of a pipe.

        Returns:
            None when that is done, else the seconds after which to call again.

        Raises:
            OSError: It cannot be moved or copied there.
        """
        with self._lock, naming(self.path):
            self.file.flush()
            if not self._is_replaced:
                return self._copy()
            self._replace()
            return None

    def discard(self) -> None:
        """Remove the temporary file; the last call, also after `place`. A second one does nothing."""
        with self._lock:
            self._is_over = True
            self._close_sink()
            with contextlib.suppress(OSError):  # A full disk cannot hold what is still in the buffer.
                if self._file is not None:
                    self._file.close()
            with contextlib.suppress(OSError):  # The error that led here matters more.
                self.temporary.unlink()

    def _replace(self) -> None:
        mode = _mode_of(self._final)
        if mode is not None:
            if not stat.S_ISREG(mode):
                raise OSError(errno.EEXIST, "It is not a file any more", str(self._final))
            if stat.S_IMODE(mode) != stat.S_IMODE(self.temporary.stat().st_mode):
                self.temporary.chmod(stat.S_IMODE(mode))
        os.fsync(self.file.fileno())
        self.file.close()
        self.temporary.replace(self._final)
        # Some file systems cannot do this; the file is complete all the same.
        with contextlib.suppress(OSError):
            _sync_folder(self._final.parent)

    def _copy(self) -> float | None:
        if self._sink is None:
            self._sink = self._open_sink()
            if self._sink is None:
                return self._next_wait()
        end = self._copied + _STEP_BYTES
        while self._copied < end:
            self.file.seek(self._copied)
            data = self.file.read(_CHUNK_BYTES)
            if not data:
                self._close_sink()
                return None
            try:
                self._copied += os.write(self._sink, data)
            except BlockingIOError:
                return self._next_wait()
            self._wait = _FIRST_WAIT
        return 0.0

    def _open_sink(self) -> int | None:
        """Return a descriptor to write to, or None while nobody reads the pipe."""
        if self._descriptor is not None and stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            return os.dup(self._descriptor)  # It shares the position, so that nothing is written over.
        try:
            # Opened again: others who share the descriptor expect it to block.
            return os.open(self._final, os.O_WRONLY | _NON_BLOCKING | _BINARY)
        except OSError as error:
            if error.errno == errno.ENXIO and self._is_pipe:
                return None
            raise

    def _next_wait(self) -> float:
        wait, self._wait = self._wait, min(2 * self._wait, _MAX_WAIT)
        return wait

    def _close_sink(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            os.close(sink)


@contextlib.contextmanager
def replaced_file(path: Path) -> Generator[BinaryIO]:
    """
    Give a file to write to, which replaces *path* when the block ends without an error; do not close it.

    Raises:
        OSError: The file cannot be written.
    """
    target = FileTarget(path)
    try:
        target.create()
        yield target.file
        while (wait := target.place()) is not None:
            time.sleep(wait)
    finally:
        target.discard()


def check_target(path: Path) -> None:
    """
    Raise when no file can be written to *path*; changes nothing there.

    A disk that fills up or is removed later cannot be foreseen.

    Raises:
        OSError: No file can be written.
    """
    target = FileTarget(path)
    try:
        target.create()
        target.check_place()
    finally:
        target.discard()


async def tidy_up(function: Callable[[], object]) -> None:
    """
    Call *function* in a thread, and have it done when this returns or raises.

    anyio does not shield a task that asyncio itself cancels. The call may then never have begun, and is made here.

    Args:
        function: Does nothing the second time, and waits for its first call.
    """
    try:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(function)
    except BaseException:
        function()
        raise


def leftovers_in(folder: Path) -> dict[str, list[Path]]:
    """
    Return the temporary files in *folder* by the names of their targets: of killed processes, and of running ones.

    Raises:
        OSError: The folder cannot be read.
    """
    found: dict[str, list[Path]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(_SUFFIX) and (match := _TEMPORARY.fullmatch(entry.name)):
                found.setdefault(match[1], []).append(Path(entry.path))
    return found


def _prefix(path: Path) -> str:
    name = os.fsencode(path.name)[:_MAX_NAME_BYTES].decode("utf-8", "ignore")
    return f".{name}."


def _mode_of(path: Path) -> int | None:
    """
    Return the mode of what is at *path*, or None when nothing is.

    Raises:
        OSError: No file can be written there.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "It is a folder, not a file", str(path))
    if stat.S_ISSOCK(mode):
        raise OSError(errno.ENXIO, "It is a socket, not a file", str(path))
    return mode


def _check_replaceable(path: Path) -> None:
    """Raise when a file is there that may not be replaced, although new files can be made in its folder."""
    if not path.exists():
        return
    try:
        os.close(os.open(path, os.O_WRONLY | _NON_BLOCKING))
    except OSError as error:
        # A read-only file (EACCES) can be replaced, an immutable one cannot.
        if error.errno in {errno.EPERM, errno.EROFS}:
            raise
    folder, owner = path.parent.stat(), path.stat().st_uid
    if folder.st_mode & stat.S_ISVTX and hasattr(os, "geteuid") and os.geteuid() not in {0, owner, folder.st_uid}:
        raise PermissionError(errno.EPERM, "The file is another user's", str(path))


def _own_descriptor(path: Path) -> int | None:
    """Return the descriptor of this process that *path* leads to, such as 1 for /dev/stdout, or None."""
    link = path.absolute()
    folders = {"/dev/fd", f"/proc/{os.getpid()}/fd"}
    while True:
        folder = Path(os.path.realpath(link.parent))
        if str(folder) in folders:
            return int(link.name)
        if not link.is_symlink():
            return None
        link = folder / link.readlink()


def _sync_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # pragma: no cover - Windows cannot open folders
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
