"""The account that a batch belongs to, named by the caller or by a hash of the key, and how it is renamed."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress

import attrs

from coreclaw_async._concurrency.clock import Clock
from coreclaw_async._wire.credentials import Credentials
from coreclaw_async.batch._store.database import Database, StaleError, Statement
from coreclaw_async.errors import LedgerError

_MAX_CHARACTERS = 500
_TRIES, _TRY_AGAIN = 20, 0.1


@attrs.frozen(kw_only=True)
class Owner:
    """
    An account as a ledger knows it.

    Attributes:
        account: What tells it from others; never its key.
        of_key: What it is called where the caller gives no name: a hash of the key.
    """

    account: str
    of_key: str

    @classmethod
    def of(cls, credentials: Credentials, account: str | None) -> Owner:
        """
        Return the owner that a key and a name stand for.

        Raises:
            TypeError: The name is not a string.
            ValueError: It is empty, too long, not printable, or holds the key.
        """
        if account is None:
            return cls(account=credentials.account, of_key=credentials.account)
        if not isinstance(account, str):
            raise TypeError(f"account must be a str or None, not {type(account).__name__}")
        if credentials.are_in(account):
            raise ValueError("account must be a name that you choose, not the key, because it is written to the ledger")
        if not 1 <= len(account) <= _MAX_CHARACTERS or not account.isprintable():
            shown = credentials.shown(account)
            raise ValueError(f"account must be printable and have 1 to {_MAX_CHARACTERS} characters, not {shown:.80}")
        return cls(account=account, of_key=credentials.account)


def start_queue_lock(account: str, slug: str) -> str:
    """Return the name of the lock that a start queue's starts are sent under."""
    return f"{account}/{slug}"


async def claim(database: Database, batch: str, owner: Owner, clock: Clock) -> None:
    """
    See that a batch is the owner's; one that goes by the hash of the same key gets the owner's name.

    Raises:
        LedgerError: It is another account's, or other processes work on it while it is to be renamed.
    """
    account = await account_of(database, batch)
    tries = 0
    while account == owner.of_key != owner.account:
        if not await _rename(database, batch, account, owner.account):
            tries += 1
            if tries == _TRIES:
                raise LedgerError(
                    f"the batch {batch!r} cannot be given account {owner.account!r} while another process works on it, "
                    "or on another batch with the same worker and key: open it again when that process has ended"
                )
            await clock.sleep(_TRY_AGAIN)  # It may be about to do the same.
        account = await account_of(database, batch)
    if account != owner.account:
        raise wrong_account(batch, account, owner.account)


def wrong_account(batch: str, account: str, mine: str) -> LedgerError:
    """Return the error of who opens a batch that is another account's."""
    return LedgerError(
        f"the batch {batch!r} belongs to account {account!r}, not to {mine!r}. If your key is another one of the same "
        f"account, give account={account!r}; if not, use another name or ledger"
    )


async def account_of(database: Database, batch: str) -> str:
    """Return whose a batch is."""
    ((account,),) = await database.read("SELECT account FROM batch WHERE name = ?", batch)
    return str(account)


async def _rename(database: Database, batch: str, before: str, after: str) -> bool:
    """
    Give a batch, its runs and what is known of its start queues another account, while nobody can start anything.

    Returns:
        Whether it has another one now, by whomever; False while another process has one of its start queues.
    """
    async with AsyncExitStack() as stack:
        for slug in await _slugs_of(database, batch, before):
            lock = start_queue_lock(before, slug)
            if not await database.take_start_queue(lock):
                return False
            stack.push_async_callback(database.leave_start_queue, lock)
        with suppress(StaleError):  # Another process has done it.
            await database.write(
                Statement.of(
                    "UPDATE batch SET account = ? WHERE name = ? AND account = ?", after, batch, before, changes=1
                ),
                Statement.of("UPDATE run SET account = ? WHERE batch = ? AND account = ?", after, batch, before),
                await _copied_start_queues(database, before, after),
                Statement.of(
                    "DELETE FROM lane WHERE account = ? AND NOT EXISTS (SELECT 1 FROM batch WHERE account = ?)",
                    before,
                    before,
                ),
            )
    return True


async def _slugs_of(database: Database, batch: str, account: str) -> list[str]:
    """Return the start queues of a batch."""
    rows = await database.read(
        "SELECT DISTINCT COALESCE(lane.slug, item.worker_id) FROM item "
        "LEFT JOIN lane ON lane.account = ? AND lane.worker_id = item.worker_id WHERE item.batch = ? ORDER BY 1",
        account,
        batch,
    )
    return [str(slug) for (slug,) in rows]


async def _copied_start_queues(database: Database, before: str, after: str) -> Statement:
    """Return what copies the start queues to the other account; other batches may go on using the old ones."""
    pairs = await database.read("SELECT worker_id, slug FROM lane WHERE account = ?", after)
    present = {str(worker_id): str(slug) for worker_id, slug in pairs}
    known = await database.read("SELECT worker_id, slug, has_foreign FROM lane WHERE account = ?", before)
    return Statement(
        "INSERT INTO lane (account, worker_id, slug, has_foreign) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (account, worker_id) DO UPDATE SET has_foreign = "
        "CASE WHEN excluded.has_foreign > lane.has_foreign THEN excluded.has_foreign ELSE lane.has_foreign END",
        [
            (after, worker_id, present.get(worker_id, present.get(slug, slug)), has_foreign)
            for worker_id, slug, has_foreign in known
        ],
    )
