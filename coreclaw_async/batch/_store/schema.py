"""The tables of a ledger, the same in SQLite and Postgres, and how older ones become newer ones."""

from __future__ import annotations

from collections.abc import Sequence

from coreclaw_async.errors import LedgerError

_FIRST: Sequence[str] = (
    "CREATE TABLE batch (name TEXT PRIMARY KEY, account TEXT NOT NULL, created DOUBLE PRECISION NOT NULL)",
    (
        "CREATE TABLE item ("
        "batch TEXT NOT NULL, key TEXT NOT NULL, position BIGINT NOT NULL, worker_id TEXT NOT NULL, version TEXT, "
        "input_sha256 TEXT NOT NULL, input TEXT NOT NULL, state TEXT NOT NULL, attempt BIGINT NOT NULL, "
        "callback_url TEXT, intent_at DOUBLE PRECISION, run_id TEXT, how TEXT, candidates TEXT NOT NULL, "
        "result_count BIGINT, cost BIGINT, error TEXT, PRIMARY KEY (batch, key))"
    ),
    # What stands next in a start queue, and all that a report counts, without a look into the items.
    "CREATE INDEX item_by_state ON item (batch, state, worker_id, position)",
    "CREATE INDEX item_intent ON item (worker_id) WHERE state = 'intent'",
    # Each run that ever was an item's, so that it is never taken for another one's. Earlier attempts stay here.
    (
        "CREATE TABLE run ("
        "account TEXT NOT NULL, run_id TEXT NOT NULL, batch TEXT NOT NULL, key TEXT NOT NULL, attempt BIGINT NOT NULL, "
        "how TEXT NOT NULL, state TEXT NOT NULL, result_count BIGINT, cost BIGINT, error TEXT, "
        "PRIMARY KEY (account, run_id))"
    ),
    "CREATE INDEX run_of_batch ON run (batch, state, result_count, cost)",
    "CREATE INDEX run_of_item ON run (batch, key)",
    # By each name of a worker its slug, and whether it was seen that others start runs of it too.
    (
        "CREATE TABLE lane ("
        "account TEXT NOT NULL, worker_id TEXT NOT NULL, slug TEXT NOT NULL, has_foreign BIGINT NOT NULL, "
        "PRIMARY KEY (account, worker_id))"
    ),
)

# An amount of whole billionths of a dollar as text.
_BILLIONTHS = (
    "CAST(cost_parts / 1000000000 AS TEXT) || '.' || SUBSTR(CAST(1000000000 + cost_parts % 1000000000 AS TEXT), 2)"
)


def _with_exact_cost(table: str) -> Sequence[str]:
    return (
        f"ALTER TABLE {table} RENAME COLUMN cost TO cost_parts",
        f"ALTER TABLE {table} ADD COLUMN cost TEXT",
        f"UPDATE {table} SET cost = {_BILLIONTHS} WHERE cost_parts >= 0",
        f"ALTER TABLE {table} DROP COLUMN cost_parts",
    )


_SECOND: Sequence[str] = (
    "DROP INDEX run_of_batch",
    "DROP INDEX item_by_state",
    # Amounts are texts, so that they are as exact as the service tells them.
    *_with_exact_cost("item"),
    *_with_exact_cost("run"),
    "ALTER TABLE batch ADD COLUMN is_paused BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE batch ADD COLUMN is_half_planned BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE item ADD COLUMN priority BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE item ADD COLUMN retries BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE item ADD COLUMN run_timeout DOUBLE PRECISION",
    "ALTER TABLE item ADD COLUMN submitted_at DOUBLE PRECISION",
    "ALTER TABLE item ADD COLUMN ended_at DOUBLE PRECISION",
    "ALTER TABLE item ADD COLUMN path TEXT",
    "ALTER TABLE item ADD COLUMN row_count BIGINT",
    "ALTER TABLE item ADD COLUMN cancel_requested BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE run ADD COLUMN worker_id TEXT",
    "ALTER TABLE run ADD COLUMN submitted_at DOUBLE PRECISION",
    "ALTER TABLE run ADD COLUMN ended_at DOUBLE PRECISION",
    "ALTER TABLE run ADD COLUMN day TEXT",
    (
        "UPDATE run SET worker_id = (SELECT worker_id FROM item WHERE item.batch = run.batch AND item.key = run.key), "
        "day = ''"
    ),
    # What stands next in a start queue, and all that a report counts, without a look into the items.
    "CREATE INDEX item_by_state ON item (batch, state, worker_id, priority DESC, position)",
    "CREATE INDEX item_by_position ON item (batch, position)",
    "CREATE INDEX run_of_batch ON run (batch, worker_id, day, state, cost, result_count)",
    "CREATE INDEX run_by_id ON run (run_id)",
    # What a batch may cost, has cost, and may come to cost by what goes on. Kept only where there is a limit.
    (
        "CREATE TABLE budget ("
        "batch TEXT PRIMARY KEY, max_spend TEXT NOT NULL, spent TEXT NOT NULL, highest TEXT NOT NULL, "
        "known_costs BIGINT NOT NULL, open_runs BIGINT NOT NULL, unknown_costs BIGINT NOT NULL)"
    ),
)
_THIRD: Sequence[str] = (
    "ALTER TABLE item ADD COLUMN verdict TEXT",
    "UPDATE item SET verdict = 'empty' WHERE state = 'done' AND result_count = 0",
    "CREATE INDEX item_by_verdict ON item (batch, verdict, worker_id, position) WHERE verdict IS NOT NULL",
)
MIGRATIONS: Sequence[Sequence[str]] = (_FIRST, _SECOND, _THIRD)
"""For each version of the tables, from 1, the statements that make it of the one before."""

VERSION = len(MIGRATIONS)
READ_VERSION = "SELECT value FROM coreclaw_ledger WHERE name = 'version'"
START_QUEUE_LOCKS = (
    "SELECT account || '/' || slug FROM lane "
    "UNION SELECT batch.account || '/' || item.worker_id FROM item JOIN batch ON batch.name = item.batch"
)
"""The names of all locks of start queues, in each version."""

META = "CREATE TABLE IF NOT EXISTS coreclaw_ledger (name TEXT PRIMARY KEY, value TEXT NOT NULL)"
"""The table by which a ledger is told from any other database."""


def pending_statements(name: str, version: str | None) -> list[str]:
    """
    Return what makes the tables of this version out of those of *version* (None: out of nothing).

    Raises:
        LedgerError: They are newer.
    """
    present = int(version or 0)
    if present > VERSION:
        raise LedgerError(
            f"the ledger {name} has version {present}, and this version of coreclaw_async knows {VERSION}: update it"
        )
    return [statement for migration in MIGRATIONS[present:] for statement in migration]


def check_version(name: str, version: object) -> None:
    """
    See that a ledger that is written to still has the *version* that this process knows.

    Raises:
        LedgerError: It has another one.
    """
    if version != str(VERSION):
        raise LedgerError(
            f"the ledger {name} has version {version} by now, and this version of coreclaw_async knows {VERSION}: "
            "another process has renewed or restored it. Nothing more is started; go on with the version that it is for"
        )


def still_in_use(name: str, version: str | None) -> LedgerError:
    """Return the error of who would renew the tables of *version* while others count on them."""
    return LedgerError(
        f"the ledger {name} has version {version} and cannot become one of version {VERSION}, which this version of "
        "coreclaw_async needs, while another process starts items of it: open it again when that has ended"
    )
