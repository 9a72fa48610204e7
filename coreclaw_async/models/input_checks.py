"""What is wrong with an input, before a run that is started with it is paid for."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import attrs

from coreclaw_async._data.counting import counted
from coreclaw_async._data.record import Model
from coreclaw_async.models._html import items_table


class IssueSeverity(StrEnum):
    """
    What an issue means for a start.

    Attributes:
        ERROR: As documented, the start fails, or pays for nothing.
        WARNING: It may fail or do something else than was meant.
        NOTE: Something could not be checked.

    Example::

        checked = await client.workers.check_input("coreclaw/google-maps-scraper", {"keywords": []})
        print([issue.path for issue in checked.issues if issue.severity is IssueSeverity.ERROR])
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@attrs.frozen(kw_only=True, repr=False)
class InputIssue(Model):
    """
    One thing that is wrong, or doubtful, with one member of an input.

    No value of the input is in it, as an input may hold secrets; names of members are.

    Attributes:
        path: The member, such as ``input.keywords[3]``; ``input`` is the whole, ``version`` the version.
        severity: An error blocks: as documented, such a start fails or pays for nothing. A warning may be wrong: the
            service runs many inputs that contradict their schema. A note says what could not be checked.
        message: What is wrong, without the path.
        suggestion: What to do, or None.

    Example::

        checked = await client.workers.check_input("coreclaw/google-maps-scraper", {"keywords": []})
        for issue in checked.issues:
            print(issue.severity, issue.path, issue.message, issue.suggestion)
    """

    path: str
    severity: IssueSeverity
    message: str
    suggestion: str | None = None

    def __str__(self) -> str:
        return f"{self.path} {self.message}" + (f": {self.suggestion}" if self.suggestion else "")


@attrs.frozen(kw_only=True, repr=False)
class InputCheck(Model):
    """
    An input compared with the schema of its worker; ``print`` shows an issue a line, and a notebook a table of them.

    Attributes:
        worker_id: The worker, as a path takes it.
        issues: What is wrong or doubtful, errors first; of many about one member only the first ones.
        task_count: Tasks that the input is split into, each of which is paid for; None when that cannot be told.

    Example::

        checked = await client.workers.check_input("coreclaw/google-maps-scraper", {"keywords": ["coffee", "tea"]})
        print(checked.ok, checked.task_count)
    """

    worker_id: str
    issues: Sequence[InputIssue] = attrs.field(default=(), hash=False)
    task_count: int | None = None

    @property
    def ok(self) -> bool:
        """Whether no issue is an error. A schema that could not be read gives no errors."""
        return not self.errors

    @property
    def errors(self) -> Sequence[InputIssue]:
        """The issues that block."""
        return tuple(issue for issue in self.issues if issue.severity is IssueSeverity.ERROR)

    def __str__(self) -> str:
        return "\n".join(f"{issue.severity}: {issue}" for issue in self.issues) or "no issues"

    def _repr_html_(self) -> str:
        tasks = "" if self.task_count is None else f", {counted(self.task_count, 'task')}"
        return items_table(f"Input of {self.worker_id}: {counted(len(self.issues), 'issue')}{tasks}", self.issues)
