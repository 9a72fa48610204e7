"""The state of a batch as text and tables."""

from __future__ import annotations

from decimal import Decimal

from coreclaw_async._data.counting import counted
from coreclaw_async.batch import BatchItemState, BatchReport, RunTotals
from coreclaw_async.cli._screen.screen import Screen, money
from coreclaw_async.cli._screen.tables import Column, say_table
from coreclaw_async.cli.batch.session import batch_command

_MAX_DAYS = 14
NOT_LOOKED_AT = "(not looked at)"
_WORDS = {BatchItemState.FAILED: "Failed", BatchItemState.REJECTED: "Refused"}


def tell_state(screen: Screen, told: BatchReport, ledger: str) -> None:
    """Print how many items are in each state, and the totals."""
    counts = [(state.value, count) for state, count in told.counts.items() if count]
    if counts:
        say_table(screen, counts, [Column("state", lambda entry: entry[0]), _COUNT])
    screen.complain(f"{counted(told.total, 'item')}, {counted(told.runs, 'run')} with {rows_of(told)}; {spent(told)}.")
    if told.is_paused:
        screen.complain(f"Paused: nothing is started until {batch_command('resume', told.name, ledger)}.")
    if told.is_half_planned:
        screen.complain("The last plan did not finish, so items may be missing: plan it again.")


def tell_verdicts(screen: Screen, told: BatchReport) -> None:
    """Print how many items have which verdict."""
    verdicts = verdict_counts(told)
    if verdicts:
        screen.tell("")
        say_table(screen, verdicts, [Column("verdict", lambda entry: entry[0]), _COUNT])


def verdict_counts(told: BatchReport) -> list[tuple[str, int]]:
    """Return each verdict with its items, and how many were not looked at: their rows are in no file of the batch."""
    unread = told.counts[BatchItemState.DONE] + told.counts[BatchItemState.FAILED] - sum(told.verdicts.values())
    counts = [(verdict.value, count) for verdict, count in told.verdicts.items()]
    return [(verdict, count) for verdict, count in (*counts, (NOT_LOOKED_AT, unread)) if count]


def tell_sums(screen: Screen, told: BatchReport) -> None:
    """Print the totals of each worker and of each of the last days."""
    days = dict(list(told.by_day.items())[-_MAX_DAYS:])
    for name, sums in (("worker", told.by_worker), ("day", days)):
        if sums:
            screen.tell("")
            say_table(screen, list(sums.items()), [Column(name, lambda entry: entry[0], "id"), *_SUM_COLUMNS])


def rows_of(told: BatchReport) -> str:
    """Return the number of rows as text; runs that do not tell theirs may have more."""
    rows = counted(told.result_count, "row")
    return at_least(rows, told.result_count, told.unknown_rows, if_unknown="an unknown number of rows")


def at_least(shown: str, value: int | Decimal, unknown: int, *, if_unknown: str = "unknown") -> str:
    """
    Return a sum as people read it: what nobody knows is not zero.

    Args:
        shown: The sum of the known numbers as text.
        value: The sum itself.
        unknown: How many numbers it lacks.
        if_unknown: What to return where nothing is known.
    """
    if not unknown:
        return shown
    return f"at least {shown}" if value else if_unknown


def rows_in_short(total: RunTotals) -> str:
    """Return the rows of some runs in short, and how many of the runs do not tell theirs."""
    return _known(f"{total.result_count:,}", total.result_count, total.unknown_rows)


def cost_in_short(total: RunTotals) -> str:
    """Return the cost of some runs in short, and how many of the runs do not tell theirs."""
    return _known(money(total.cost), total.cost, total.unknown_costs)


def _known(shown: str, value: int | Decimal, unknown: int) -> str:
    if not unknown:
        return shown
    return f"{shown} and {unknown:,} unknown" if value else f"{unknown:,} unknown"


_COUNT = Column("items", lambda entry: entry[1], "number")
_SUM_COLUMNS = [
    Column("runs", lambda entry: entry[1].runs, "number"),
    Column("done", lambda entry: entry[1].done, "number"),
    Column("empty", lambda entry: entry[1].empty, "number"),
    Column("failed", lambda entry: entry[1].failed, "number"),
    Column("rows", lambda entry: rows_in_short(entry[1]), "number"),
    Column("cost", lambda entry: cost_in_short(entry[1]), "number"),
]


def spent(told: BatchReport) -> str:
    """Return the cost and the budget as text."""
    budget = "" if told.max_spend is None else f" of {money(told.max_spend)}"
    known = at_least(money(told.cost), told.cost, told.unknown_costs, if_unknown=money(None))
    lacking = counted(told.unknown_costs, "run has", "runs have")
    return f"{known}{budget}" + (f", as {lacking} an unknown cost" if told.unknown_costs else "")


def tell_failures(screen: Screen, told: BatchReport, ledger: str) -> None:
    """Print why items failed or were refused."""
    for item in told.failures:
        screen.complain(f"{_WORDS[item.state]}: {item.key}: {item.error or 'for an unknown reason'}")
    count = sum(told.counts[state] for state in _WORDS)
    more = batch_command("items", told.name, ledger, "--state failed --state rejected")
    _tell_more(screen, count - len(told.failures), more)


def tell_held(screen: Screen, told: BatchReport, ledger: str) -> None:
    """Print the items that a person must decide on, and how."""
    for item in told.held:
        candidates = " or ".join(item.candidates)
        screen.complain(f"Held: {item.key}, which may be run {candidates}, or none.")
    more = batch_command("items", told.name, ledger, "--state ambiguous")
    _tell_more(screen, told.counts[BatchItemState.AMBIGUOUS] - len(told.held), more)
    if told.held:
        screen.complain(f"  to decide:  {batch_command('resolve', told.name, ledger, 'KEY --adopt RUN')}")
        screen.complain("              or --resubmit, which pays twice if it already has a run")


def _tell_more(screen: Screen, count: int, command: str) -> None:
    if count > 0:
        screen.complain(f"  and {count:,} more:  {command}")
