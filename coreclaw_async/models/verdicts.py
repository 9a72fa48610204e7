"""Verdicts on runs: whether one brought what it was paid for, with the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import attrs

from coreclaw_async._data.record import Model
from coreclaw_async.models.pages import Row
from coreclaw_async.models.runs import Run


class Verdict(StrEnum):
    """
    What a run is worth.

    Attributes:
        PASS: It succeeded with rows, and no row that was read is an error row.
        EMPTY: It succeeded without rows.
        ERROR_ROWS: It succeeded, and rows hold diagnostics such as a captcha or a 403 instead of data.
        FAILED: It ended without success.
        ABORTED: It was aborted.
        UNKNOWN: Its rows do not add up or are not told, or its abort is not confirmed.

    Example::

        assessment = await client.runs.assess(run)
        if assessment.verdict is not Verdict.PASS:
            print(assessment.reason)
    """

    PASS = "pass"  # noqa: S105 - no password
    EMPTY = "empty"
    ERROR_ROWS = "error_rows"
    FAILED = "failed"
    ABORTED = "aborted"
    UNKNOWN = "unknown"


@attrs.frozen(kw_only=True, repr=False)
class ErrorRow(Model):
    """
    A result row that holds nothing but diagnostics.

    Attributes:
        number: Its place among the rows, from 1.
        members: The members that it has, apart from empty ones.
        row: The row.

    Example::

        assessment = await client.runs.assess(run)
        for row in assessment.error_rows:
            print(row.number, row.members)
    """

    number: int
    members: Sequence[str] = attrs.field(default=(), hash=False)
    row: Row = attrs.field(factory=dict[str, Any], hash=False, repr=False)


@attrs.frozen(kw_only=True, repr=False)
class Assessment(Model):
    """
    A verdict on a run that has ended, with the evidence for it.

    Attributes:
        verdict: The verdict.
        run: The run, with its status and its own count of rows.
        reason: The verdict's reason in one sentence.
        row_count: Rows that the list of results counts; None when it was not read or does not say.
        rows_read: Rows that were looked at, the first ones.
        error_row_count: Error rows among them.
        error_rows: The first ten of those.
        error_message: Why the run failed, in the words of the run or of its log; None when neither says.
        error_source: Which of the two said so: ``run`` or ``log``; or None.

    Example::

        assessment = await client.runs.assess(run)
        print(assessment.ok, assessment.verdict, assessment.error_row_count, "of", assessment.rows_read)
    """

    verdict: Verdict
    run: Run
    reason: str = ""
    row_count: int | None = None
    rows_read: int = 0
    error_row_count: int = 0
    error_rows: Sequence[ErrorRow] = attrs.field(default=(), hash=False)
    error_message: str | None = None
    error_source: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the verdict is ``PASS``."""
        return self.verdict is Verdict.PASS
