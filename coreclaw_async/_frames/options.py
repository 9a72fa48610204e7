"""What callers may say about a frame or a file of rows, and the libraries that are needed for it."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import anyio.to_thread
import attrs

from coreclaw_async import _extras as extras
from coreclaw_async._progress.reporter import check_progress
from coreclaw_async._wire.request import check_bool
from coreclaw_async.progress import ProgressOption

OnConflict: TypeAlias = Literal["string", "raise"]
"""What becomes of a column whose values have no common type: strings, or an error."""

Nested: TypeAlias = Literal["struct", "json"]
"""What objects and arrays become in a table: structs and lists, or strings of JSON."""

DtypeBackend: TypeAlias = Literal["pyarrow", "numpy_nullable"]
"""Whose types the columns of a frame of pandas have."""

Extra: TypeAlias = Literal["arrow", "pandas", "polars"]

_MODULES: dict[Extra, tuple[str, ...]] = {
    "arrow": ("pyarrow", "pyarrow.compute", "pyarrow.parquet"),
    "pandas": ("pyarrow", "pandas"),
    "polars": ("pyarrow", "polars"),
}


def check_choice(name: str, value: str, choices: object) -> None:
    """Raise unless *value* is one of the strings in the literal type *choices*."""
    allowed = get_args(choices)
    if value not in allowed:
        raise ValueError(f"{name} must be {' or '.join(map(repr, allowed))}, not {value!r}")


@attrs.frozen(kw_only=True, eq=False, repr=False)
class FrameOptions:
    """
    How rows become columns.

    Attributes:
        method: The caller's method, for messages.
        on_conflict: What to do with values that have no common type: ``string`` or ``raise``.
        nested: What objects and arrays become: ``struct`` or ``json``.
        labels: Whether columns are named by the labels of the headers.
        progress: Where to tell how many rows have been read.
    """

    method: str
    on_conflict: OnConflict = "string"
    nested: Nested = "struct"
    labels: bool = False
    progress: ProgressOption = False

    def __attrs_post_init__(self) -> None:
        check_choice("on_conflict", self.on_conflict, OnConflict)
        check_choice("nested", self.nested, Nested)
        check_bool("labels", self.labels)
        check_progress(self.progress)


def target_path(path: str | os.PathLike[str]) -> Path:
    """
    Return *path* as a path.

    Raises:
        TypeError: It is none.
        ValueError: It is empty, holds a null character, or holds others that no name of a file can.
    """
    try:
        name: object = os.fspath(path)
    except TypeError:
        name = None
    if not isinstance(name, str):
        raise TypeError(f"path must be a str or a path of str, not {type(path).__name__}")
    if not name or "\0" in name:
        raise ValueError(f"path must be the name of a file without null characters, not {name!r}")
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        raise ValueError(f"path must be a name that files can have, not {name!a}") from None
    return Path(name)


def check_installed(extra: Extra, method: str) -> None:
    """
    Raise unless what *method* needs is installed; imports nothing, so one that is broken is found by `load_libraries`.

    Raises:
        ConfigurationError: The extra is not installed.
    """
    for module in _MODULES[extra]:
        extras.check_installed(module, need=method, requirement=f"coreclaw-async[{extra}]")


async def load_libraries(extra: Extra, method: str) -> None:
    """
    Import what *method* needs, in a thread, as that takes up to a second.

    Raises:
        ConfigurationError: The extra is not installed, or broken.
    """
    for module in _MODULES[extra]:
        load = functools.partial(extras.load_library, module, need=method, requirement=f"coreclaw-async[{extra}]")
        await anyio.to_thread.run_sync(load)
