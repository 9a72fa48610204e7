"""What the client assumes about the service although nobody promises it, and what the findings say about each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from coreclaw_async.cli.doctor.looks import Finding, Verdict

_A_START = "only a start shows it, which costs money"
_A_CHANGE = "only a change of what the account has shows it"
_A_FAULT = "only a failure at that moment shows it"


@attrs.frozen
class Assumption:
    """
    Something that the client takes for true.

    Attributes:
        name: A short name.
        says: The assumption itself.
        how: How it is checked; None if reads cannot show it.
        on: What is read for that; None if reads cannot show it.
        why_not: Why reads cannot show it; None if they can.
        check: The check that shows it, if it has another name.
        is_public: Whether it can be checked without a key.
        missed: Why it was not checked where all checks were made.
    """

    name: str
    says: str
    how: str | None = None
    on: str | None = None
    why_not: str | None = attrs.field(default=None, kw_only=True)
    check: str = attrs.field(default=attrs.Factory(lambda self: self.name, takes_self=True), kw_only=True)
    is_public: bool = attrs.field(default=False, kw_only=True)
    missed: str = attrs.field(default="there is no run this month", kw_only=True)


@attrs.frozen(kw_only=True)
class Result:
    """
    What is known about an assumption.

    Attributes:
        assumption: Its name.
        verdict: Whether it holds.
        says: The assumption itself.
        how: How it is checked, or None if reads cannot show it.
        on: What was read, or None if nothing was.
        why: What was found, or why it was not checked.
    """

    assumption: str
    verdict: Verdict
    says: str
    how: str | None
    on: str | None
    why: str


ASSUMPTIONS = (
    Assumption(
        "public",
        "the store, the proxy regions and input schemas need no key",
        "read without the key",
        "the store",
        check="service",
        is_public=True,
    ),
    Assumption("bearer", "a key is taken as a bearer token", "read with the key", "the account", check="account"),
    Assumption(
        "clock",
        "the Date of an answer is the time of the service",
        "compared with the clock of this machine",
        "the store",
        is_public=True,
    ),
    Assumption(
        "paging",
        "offset counts rows or pages, alike in all lists, and offset 0 is the first page",
        "the answers to offset 0 and 2 are compared",
        "lists that are long enough",
        is_public=True,
    ),
    Assumption(
        "schema",
        "an input schema lists its properties, or has them by name",
        "the schema is read",
        "the first worker of the store",
        is_public=True,
    ),
    Assumption(
        "echo",
        "a list says how many items it has in all, and its pages are as long as asked for",
        "the first page is compared with what it says",
        "the list of runs",
    ),
    Assumption(
        "members",
        "each run has an id and a status; any other member may be missing",
        "the runs are looked at",
        "the newest runs",
    ),
    Assumption(
        "ids",
        "a run id holds the time when the run was made",
        "compared with the start of the run",
        "the newest runs",
    ),
    Assumption(
        "times",
        "times of runs are Unix seconds; a time that is not set is 0 or missing",
        "start, end and id are compared",
        "the newest runs",
    ),
    Assumption("order", "the newest run comes first", "the ids are compared", "the list of runs"),
    Assumption(
        "statuses",
        "a run is ready, running, succeeded, failed or aborting",
        "the statuses are looked at",
        "the newest runs",
    ),
    Assumption(
        "aborting",
        "a run that is aborted does not stay aborting for more than a minute",
        "runs are looked for that are aborting long after their start",
        "the newest runs",
    ),
    Assumption(
        "rows",
        "an ended run has as many rows as it says, and as their count says",
        "the rows are counted",
        "a small ended run",
    ),
    Assumption(
        "sequence",
        "the rows of an ended run come in the same order each time",
        "the rows are read twice",
        "a small ended run",
    ),
    Assumption(
        "empty", "a run without rows has an empty list, or none", "the rows are read", "an ended run without rows"
    ),
    Assumption(
        "log",
        "a log can be read, and its whole text is at another address (host or port), which needs no key",
        "the log is read, and not its whole text",
        "a small ended run",
    ),
    Assumption(
        "months",
        "without times, the list of runs holds the current month in UTC+8 only",
        "compared with the lists of this month and the month before",
        "the list of runs",
    ),
    Assumption("last", "the last run is the newest one", "compared with the list of runs", "the last run"),
    Assumption(
        "none",
        "an account without runs has no last run, by code 70001 or 11004",
        "read",
        "the last run",
        missed="there are runs",
    ),
    Assumption("missing", "a run that is not there is told by code 70001 or 11004", "read", "a run that nobody has"),
    Assumption(
        "refusals",
        "a start that is refused for its rate (429, 13000) or the plan (30003) makes no run; Retry-After may be told",
        why_not=_A_START,
    ),
    Assumption("waiting", "a start that waits is answered within five minutes", why_not=_A_START),
    Assumption("window", "offset and limit of a start choose rows of its answer, and no others", why_not=_A_START),
    Assumption(
        "inputs", "the service fills in nothing that an input lacks, and refuses what is missing", why_not=_A_START
    ),
    Assumption("limits", "max_total_charge and max_total_traffic of 0 set no limit", why_not=_A_START),
    Assumption("late", "a run may be unknown for some seconds after its start", why_not=_A_START),
    Assumption("lost", "the run of a start whose answer was lost is in the list of runs", why_not=_A_START),
    Assumption("callbacks", "a callback comes to the URL of its start, and so names its run", why_not=_A_START),
    Assumption("queue", "an item of the run queue costs nothing until it is activated", why_not=_A_START),
    Assumption(
        "repeats",
        "changes and deletions of tasks, aborts, activations and releases may be sent twice",
        why_not=_A_CHANGE,
    ),
    Assumption(
        "exports",
        "an export is on another host, which needs no key",
        why_not="only an export shows it, which makes a file",
    ),
    Assumption("unsent", "a request whose connection was not made has not arrived", why_not=_A_FAULT),
)
"""All of them, those that reads can check first."""


def results(findings: Sequence[Finding]) -> Iterator[Result]:
    """Yield what *findings* say about each assumption."""
    for assumption in ASSUMPTIONS:
        told = [finding for finding in findings if finding.check == assumption.check]
        verdict, why = _verdict(assumption, told, findings)
        read = ", ".join(dict.fromkeys(finding.on for finding in told if finding.on and finding.verdict == verdict))
        on = None if verdict == "not checked" else read or assumption.on
        yield Result(
            assumption=assumption.name, verdict=verdict, says=assumption.says, how=assumption.how, on=on, why=why
        )


def _verdict(assumption: Assumption, told: Sequence[Finding], findings: Sequence[Finding]) -> tuple[Verdict, str]:
    if assumption.why_not is not None:
        return "not checked", assumption.why_not
    for verdict in ("does not hold", "holds", "not checked"):
        details = [finding.detail for finding in told if finding.verdict == verdict]
        if details:
            return verdict, "; ".join(details)
    return "not checked", _why_not_reached(assumption, findings)


def _why_not_reached(assumption: Assumption, findings: Sequence[Finding]) -> str:
    by_check = {finding.check: finding for finding in findings}
    for check in ("proxy", "service"):
        if check in by_check and by_check[check].state == "FAIL":
            return f"the check of the {check} has failed"
    if not assumption.is_public:
        if by_check["key"].state != "OK":
            return "there is no key"
        for check in ("account", "runs"):
            if check in by_check and by_check[check].state == "FAIL":
                return f"the check of the {check} has failed"
    if "rest" in by_check:
        return "the checks so far have taken too long"
    return assumption.missed
