"""The standard streams as a command finds and leaves them: closed ones, full ones, and those that nobody reads."""

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
    A standard stream that remembers why it took no more: whoever wrote may not have been the one who tells.

    Attributes:
        failure: What writing has failed with, or None.
        is_given_up: Whether nothing is written any more, which is an error and not a silence.
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
        """Return whether somebody looks."""
        return not self.is_given_up and super().isatty()


class Unwritable:
    """
    A stream to which nothing can be written any more, which is an error and not a silence.

    Attributes:
        failure: What writing has failed with, or None while nobody has tried.
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
        """Return that nobody looks."""
        return False

    def fileno(self) -> int:
        """Raise: what has this number by now may be anything."""
        raise io.UnsupportedOperation("fileno")


def prepare() -> None:
    """Give streams that were closed before this process began something in their place; have the others watched."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            try:
                os.fstat(number)
            except OSError:
                # Gets the lowest free number, which a socket or file would get else. It cannot be written to, so that
                # nothing that is sent to this descriptor by its name is lost without an error.
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
    """Have what is still in the buffer of a stream not complain at exit, and whatever comes later fail."""
    stream = getattr(sys, name)
    # Before which a bar may stand, that puts it back when it ends.
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
    """Return why a stream does not take what it was given, or None."""
    stream = getattr(sys, name)
    with contextlib.suppress(OSError):
        stream.flush()
    return getattr(stream, "failure", None)


def restore() -> None:
    """Put the streams back as they were, for the interpreter to end."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, _Watched | Unwritable):
            _unwatch(stream)
            setattr(sys, name, getattr(sys, f"__{name}__"))


def _unwatch(stream: object) -> None:
    """Let go of what is below, which is not this stream's to close."""
    if isinstance(stream, _Watched):
        with contextlib.suppress(OSError):
            stream.detach()
