"""Checks of what the methods of `AsyncBatch` are given, before anything is read or sent."""

from __future__ import annotations

import os
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Literal, TypeAlias

from coreclaw_async._frames.options import check_choice, check_installed
from coreclaw_async._wire.request import check_int
from coreclaw_async.batch._items import BatchItemState

_MAX_WIDTH = 8

OutputFormat: TypeAlias = Literal["jsonl", "parquet"]
"""What files of rows a batch writes."""
PARQUET = "output_format='parquet'"  # For messages.


def check_width(width: int | None, *, has_hub: bool) -> int:
    """Return how many starts of one worker may be under way at once."""
    if width is None:
        return _MAX_WIDTH if has_hub else 1
    check_int("width", width, lowest=1, highest=_MAX_WIDTH)
    if width > 1 and not has_hub:
        raise ValueError(f"width must be 1 without a CallbackHub, not {width}: nothing would tell the starts apart")
    return width


def states_of(state: BatchItemState | str | Iterable[BatchItemState | str] | None) -> tuple[BatchItemState, ...]:
    """Return the states that are asked for; none where all are."""
    if state is None:
        return ()
    given = (state,) if isinstance(state, str) else tuple(state)
    if not given:
        raise ValueError("state must hold at least one state, or be None for all")
    try:
        return tuple(BatchItemState(one) for one in given)
    except ValueError:
        raise ValueError(f"state must be one of {', '.join(BatchItemState)}, not {state!r}") from None


def folder_of(output: str | os.PathLike[str]) -> Path:
    """Return the folder for rows, wherever the process goes."""
    if not os.fspath(output):
        raise ValueError("output must name a folder, not ''")
    return Path(output).absolute()


def check_format(output_format: OutputFormat, *, has_output: bool) -> OutputFormat:
    """Return the format of files of rows where there can be any."""
    check_choice("output_format", output_format, OutputFormat)
    if output_format == "parquet" and not has_output:
        raise ValueError(f"{PARQUET} needs output, the folder to write the rows to")
    return output_format


def check_libraries(output_format: OutputFormat) -> None:
    """
    Check that files of a format can be written, as far as that can be told at once.

    Raises:
        ConfigurationError: The extra is not installed.
    """
    if output_format == "parquet":
        check_installed("arrow", PARQUET)


def check_spend(amount: Decimal) -> Decimal:
    """Return *amount* where it can be a budget."""
    if not isinstance(amount, Decimal):
        raise TypeError(f"max_spend must be a Decimal, not {type(amount).__name__}")
    if not amount.is_finite() or amount <= 0:
        raise ValueError(f"max_spend must be a finite amount above 0, not {amount}")
    return amount
