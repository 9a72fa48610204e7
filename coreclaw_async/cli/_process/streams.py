"""Standard streams that are closed, full, or not read by anybody."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from typing import Literal

Name = Literal["stdout", "stderr"]

_SPOKEN: dict[Name, str] = {"stdout": "standard output", "stderr": "standard error"}


class _Watched(io.TextIOWrapper):
    """
    A standard stream that remembers why writing failed, as the end of the command reports it and not the writer.

    Attributes:
        failure: The error of the last failed write, or None.
        is_given_up: Whether every further write fails.
    """

    failure: OSError | None = None
    is_given_up: bool = False

    def write(self, text: str, /) -> int:
        """Write, and remember a failure."""
        if self.is_given_up:
            raise self.failure or OSError(errno.EIO, "the stream was given up")
        try:
            return super().write(text)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        """Flush, and remember a failure."""
        try:
            super().flush()
        except OSError as error:
            self.failure = error
            raise

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return not self.is_given_up and super().isatty()


class Unwritable:
    """
    A stream to which nothing can be written: each attempt is an error.

    Attributes:
        failure: The error of the last write, or None if there was no attempt.
    """

    encoding = "utf-8"
    failure: OSError | None = None

    def __init__(self, name: Name) -> None:
        self._name: Name = name

    def write(self, text: str) -> int:
        """Raise unless there is nothing to write."""
        if text:
            self.failure = OSError(errno.EBADF, f"{_SPOKEN[self._name]} is closed")
            raise self.failure
        return 0

    def flush(self) -> None:
        """Do nothing: nothing was taken."""

    def isatty(self) -> bool:
        """Return that it is no terminal."""
        return False

    def fileno(self) -> int:
        """Raise: another file may have this number by now."""
        raise io.UnsupportedOperation("fileno")


def prepare() -> None:
    """Replace streams that were closed before this process began, and watch the others."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            try:
                os.fstat(number)
            except OSError:
                # It gets the lowest free number, which a socket or file would get otherwise. It is read-only, so that
                # writing to this descriptor by its name is an error and no silent loss.
                os.open(os.devnull, os.O_RDONLY)
            setattr(
                sys, name, io.StringIO() if name == "stdin" else Unwritable("stdout" if name == "stdout" else "stderr")
            )
        elif name != "stdin" and type(stream) is io.TextIOWrapper:
            watched = _Watched(
                stream.buffer,
                encoding=stream.encoding,
                errors=stream.errors,
                newline="\n" if os.linesep == "\n" else None,
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            )
            setattr(sys, name, watched)


def give_up(name: Name) -> None:
    """Drop the buffer of a stream, so that nothing complains at exit; later writes fail."""
    stream = getattr(sys, name)
    # A bar may have replaced it, and puts it back when it ends.
    stream = getattr(stream, "rich_proxied_file", stream)
    with contextlib.suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(devnull, stream.fileno())
        finally:
            os.close(devnull)
    if isinstance(stream, _Watched):
        stream.is_given_up = True
    else:
        setattr(sys, name, Unwritable(name))


def failure_of(name: Name) -> OSError | None:
    """Return why a stream cannot be written, or None."""
    stream = getattr(sys, name)
    with contextlib.suppress(OSError):
        stream.flush()
    return getattr(stream, "failure", None)


def restore() -> None:
    """Put the original streams back before the interpreter ends."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, _Watched | Unwritable):
            _unwatch(stream)
            setattr(sys, name, getattr(sys, f"__{name}__"))


def _unwatch(stream: object) -> None:
    """Detach from the original stream, so that it is not closed."""
    if isinstance(stream, _Watched):
        with contextlib.suppress(OSError):
            stream.detach()
