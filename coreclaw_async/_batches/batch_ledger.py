"""What a batch reads from its ledger and writes to it, whatever store that is in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from coreclaw_async._batches.shard import Shard
from coreclaw_async._batches.specs import PlannedSpec
from coreclaw_async._batches.store import Row, StaleError, Statement, Store
from coreclaw_async.errors import BatchConflictError, LedgerError, printable
from coreclaw_async.ledger import How, IllegalStepError, Item, ItemRun, ItemState

# Amounts are kept as whole numbers of these parts of a dollar, so that sums are exact.
_PARTS = Decimal(10**9)
_COLUMNS = (
    "batch, key, position, worker_id, version, input_sha256, state, attempt, callback_url, intent_at, run_id, how, "
    "candidates, result_count, cost, error"
)
_MOST_VALUES = 500
_MOST_LETTERS = 2_000
_LARGEST = 2**63 - 1


class BatchLedger:
    """
    The part of a ledger that is one batch's.

    Args:
        store: Where it is.
        batch: Name of the batch.
        account: What tells the account from others; never its key.
        shard: The part of the batch that is worked on, reported and changed.

    Attributes:
        is_whole: Whether that is all of it.
    """

    def __init__(self, store: Store, batch: str, account: str, shard: Shard) -> None:
        self.store = store
        self.batch = batch
        self.account = account
        self.is_whole = shard == Shard()
        self._where, self._values = shard.condition()

    async def open(self, now: float) -> None:
        """
        Open the ledger, and begin the batch where it is new.

        Raises:
            LedgerError: It cannot be used, or the batch is another account's.
        """
        await self.store.open()
        await self.store.write(
            Statement.of(
                "INSERT INTO batch (name, account, created) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING",
                self.batch,
                self.account,
                now,
            )
        )
        ((account,),) = await self.store.read("SELECT account FROM batch WHERE name = ?", self.batch)
        if account != self.account:
            raise LedgerError(
                f"the batch {self.batch!r} belongs to account {account}, and the key is one of account {self.account}"
            )

    async def plan(self, specs: Sequence[PlannedSpec], first: int) -> int:
        """
        Add the items that are not there yet, from position *first* on, and return how many that were.

        Raises:
            BatchConflictError: One of them is there with another input; none is added then.
        """
        present = await self._hashes(specs)
        added = [spec for spec in specs if spec.key not in present]
        if not added:
            return 0
        rows = [
            (self.batch, spec.key, first + number, spec.worker_id, spec.version, spec.sha256, spec.input)
            for number, spec in enumerate(added)
        ]
        await self.store.write(
            Statement(
                "INSERT INTO item (batch, key, position, worker_id, version, input_sha256, input, state, attempt, "
                "candidates) VALUES (?, ?, ?, ?, ?, ?, ?, 'planned', 0, '[]') ON CONFLICT (batch, key) DO NOTHING",
                rows,
            )
        )
        await self._hashes(added)  # Another process may have been quicker, with another input.
        return len(added)

    async def _hashes(self, specs: Sequence[PlannedSpec]) -> set[str]:
        """Return which of the keys are there; none may be there with another input."""
        given = {spec.key: spec.sha256 for spec in specs}
        present: set[str] = set()
        for keys in _chunks(given):
            sql = f"SELECT key, input_sha256 FROM item WHERE batch = ? AND key IN ({_marks(keys)})"
            for key, sha256 in await self.store.read(sql, self.batch, *keys):
                if sha256 != given[key]:
                    raise BatchConflictError(
                        f"key {key!r} of batch {self.batch!r} was planned with another worker, version or input: "
                        f"{sha256[:16]} then, {given[key][:16]} now",
                        key=key,
                        planned=sha256,
                        given=given[key],
                    )
                present.add(key)
        return present

    async def next_position(self) -> int:
        """Return the first position that no item has."""
        ((last,),) = await self.store.read("SELECT MAX(position) FROM item WHERE batch = ?", self.batch)
        return 0 if last is None else int(last) + 1

    async def counts(self) -> dict[ItemState, int]:
        """Return how many items there are in each state."""
        rows = await self.store.read(
            f"SELECT state, COUNT(*) FROM item WHERE batch = ? AND {self._where} GROUP BY state",
            self.batch,
            *self._values,
        )
        found = {ItemState(state): int(count) for state, count in rows}
        return {state: found.get(state, 0) for state in ItemState}

    async def totals(self) -> tuple[Decimal, int, int]:
        """Return what the runs have cost, the rows they have found, and how many runs there were."""
        sql, values = "SELECT SUM(cost), SUM(result_count), COUNT(*) FROM run WHERE batch = ?", (self.batch,)
        if not self.is_whole:
            sql += f" AND key IN (SELECT key FROM item WHERE batch = ? AND {self._where})"
            values += (self.batch, *self._values)
        ((cost, found, runs),) = await self.store.read(sql, *values)
        return _amount(int(cost or 0)), int(found or 0), int(runs)

    async def shards(self, size: int) -> list[Shard]:
        """Return what is planned or open in parts of at most *size* items, each of one worker."""
        rows = await self.store.read(
            "SELECT worker_id, MIN(position), MAX(position) FROM ("
            "SELECT worker_id, position, "
            "(ROW_NUMBER() OVER (PARTITION BY worker_id ORDER BY position) - 1) / ? AS part "
            f"FROM item WHERE batch = ? AND state IN ('planned', 'intent', 'submitted') AND {self._where}"
            ") AS numbered GROUP BY worker_id, part ORDER BY worker_id, part",
            size,
            self.batch,
            *self._values,
        )
        return [Shard(worker_id=worker_id, first=int(first), last=int(last)) for worker_id, first, last in rows]

    async def workers(self) -> list[str]:
        """Return the workers, as planned, of which items are planned or open."""
        rows = await self.store.read(
            "SELECT DISTINCT worker_id FROM item WHERE batch = ? AND state IN ('planned', 'intent') "
            f"AND {self._where} ORDER BY worker_id",
            self.batch,
            *self._values,
        )
        return [worker_id for (worker_id,) in rows]

    async def next_planned(self, worker_ids: Sequence[str], most: int) -> list[tuple[Item, str]]:
        """Return the next items of a lane with their inputs as JSON."""
        rows: list[Row] = []
        for worker_id in worker_ids:
            rows += await self.store.read(
                f"SELECT {_COLUMNS}, input FROM item WHERE batch = ? AND state = 'planned' AND worker_id = ? "
                f"AND {self._where} ORDER BY position LIMIT ?",
                self.batch,
                worker_id,
                *self._values,
                most,
            )
        found = [(_item(row[:-1]), str(row[-1])) for row in rows]
        return sorted(found, key=lambda pair: pair[0].position)[:most]

    async def items(self, *states: ItemState, keys: Sequence[str] = (), most: int | None = None) -> list[Item]:
        """Return items by state or by key, in the order of the plan; those by key may be of any shard."""
        sql, values = f"SELECT {_COLUMNS} FROM item WHERE batch = ?", list[Any]([self.batch])
        if states:
            sql += f" AND state IN ({_marks(states)})"
            values += [state.value for state in states]
        if keys:
            sql += f" AND key IN ({_marks(keys)})"
            values += keys
        else:
            sql += f" AND {self._where}"
            values += self._values
        sql += " ORDER BY position"
        if most is not None:
            sql += f" LIMIT {most:d}"
        return [_item(row) for row in await self.store.read(sql, *values)]

    async def item(self, key: str) -> Item | None:
        """Return the item with *key*, or None."""
        found = await self.items(keys=[key])
        return found[0] if found else None

    async def open_intents(self, slug: str) -> list[Item]:
        """Return the items of a lane, of all batches of the account, whose start was about to be sent."""
        rows = await self.store.read(
            f"SELECT {_COLUMNS} FROM item WHERE state = 'intent' AND worker_id IN "
            "(SELECT worker_id FROM lane WHERE account = ? AND slug = ?) "
            "AND batch IN (SELECT name FROM batch WHERE account = ?)",
            self.account,
            slug,
            self.account,
        )
        return [_item(row) for row in rows]

    async def explained(self, run_ids: Iterable[str]) -> set[str]:
        """Return those of the runs that are or were an item's."""
        found: set[str] = set()
        for chunk in _chunks(run_ids):
            sql = f"SELECT run_id FROM run WHERE account = ? AND run_id IN ({_marks(chunk)})"
            found |= {run_id for (run_id,) in await self.store.read(sql, self.account, *chunk)}
        return found

    async def step(self, before: Item, after: Item) -> Item:
        """
        Write down that an item has gone on, if it still is as it was.

        Raises:
            IllegalStepError: It is not: somebody else was quicker, or its run is another item's.
        """
        statements = [
            Statement.of(
                "UPDATE item SET state = ?, attempt = ?, callback_url = ?, intent_at = ?, run_id = ?, how = ?, "
                "candidates = ?, result_count = ?, cost = ?, error = ? "
                "WHERE batch = ? AND key = ? AND state = ? AND attempt = ?",
                after.state.value,
                after.attempt,
                after.callback_url,
                after.intent_at,
                after.run_id,
                None if after.how is None else after.how.value,
                json.dumps(after.candidates),
                _bounded(after.result_count),
                _parts(after.cost),
                _text(after.error),
                before.batch,
                before.key,
                before.state.value,
                before.attempt,
                changes=1,
            )
        ]
        if after.run_id is not None and after.how is not None and after.run_id != before.run_id:
            statements.append(
                Statement.of(
                    "INSERT INTO run (account, run_id, batch, key, attempt, how, state) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    self.account,
                    after.run_id,
                    after.batch,
                    after.key,
                    after.attempt,
                    after.how.value,
                    after.state.value,
                )
            )
        elif after.run_id is not None:
            statements.append(
                Statement.of(
                    "UPDATE run SET state = ?, result_count = ?, cost = ?, error = ? WHERE account = ? AND run_id = ?",
                    after.state.value,
                    _bounded(after.result_count),
                    _parts(after.cost),
                    _text(after.error),
                    self.account,
                    after.run_id,
                )
            )
        try:
            await self.store.write(*statements)
        except StaleError:
            raise IllegalStepError(
                f"item {before.key!r} is no longer {before.state}, or run {after.run_id} is another item's"
            ) from None
        return after

    async def cancel_planned(self) -> int:
        """Take all planned items of the shard out, and return how many that were."""
        return await self._change_all("state = 'planned'", ItemState.CANCELLED, "cancelled")

    async def plan_failed_again(self) -> int:
        """Plan all items of the shard again whose run has failed, and return how many that were."""
        return await self._change_all("state = 'failed' AND run_id IS NOT NULL", ItemState.PLANNED, None)

    async def _change_all(self, condition: str, state: ItemState, error: str | None) -> int:
        where = f"batch = ? AND {condition} AND {self._where}"
        ((count,),) = await self.store.read(f"SELECT COUNT(*) FROM item WHERE {where}", self.batch, *self._values)
        await self.store.write(
            Statement.of(
                f"UPDATE item SET state = ?, error = ?, run_id = NULL WHERE {where}",
                state.value,
                error,
                self.batch,
                *self._values,
            )
        )
        return int(count)

    async def history(self, key: str) -> list[ItemRun]:
        """Return the runs that the item has had, oldest first."""
        rows = await self.store.read(
            "SELECT run_id, attempt, how, state, result_count, cost, error FROM run WHERE batch = ? AND key = ? "
            "ORDER BY attempt",
            self.batch,
            key,
        )
        return [
            ItemRun(
                run_id=run_id,
                attempt=attempt,
                how=How(how),
                state=ItemState(state),
                result_count=result_count,
                cost=None if cost is None else _amount(cost),
                error=error,
            )
            for run_id, attempt, how, state, result_count, cost, error in rows
        ]

    async def slug_of(self, worker_id: str) -> str | None:
        """Return the slug of a worker as it was found out, or None."""
        rows = await self.store.read(
            "SELECT slug FROM lane WHERE account = ? AND worker_id = ?", self.account, worker_id
        )
        return rows[0][0] if rows else None

    async def name_lane(self, worker_id: str, slug: str) -> None:
        """Take note of what a worker is called."""
        await self.store.write(
            Statement(
                "INSERT INTO lane (account, worker_id, slug, has_foreign) VALUES (?, ?, ?, 0) "
                "ON CONFLICT (account, worker_id) DO NOTHING",
                [(self.account, name, slug) for name in sorted({worker_id, slug})],
            )
        )

    async def has_foreign(self, slug: str) -> bool:
        """Return whether runs of the worker were seen that no item explains."""
        rows = await self.store.read(
            "SELECT MAX(has_foreign) FROM lane WHERE account = ? AND slug = ?", self.account, slug
        )
        return bool(rows[0][0])

    async def note_foreign(self, slug: str) -> None:
        """Take note that others start runs of the worker too."""
        await self.store.write(
            Statement.of("UPDATE lane SET has_foreign = 1 WHERE account = ? AND slug = ?", self.account, slug)
        )


def _chunks(values: Iterable[str]) -> Iterator[list[str]]:
    everything = list(values)
    for first in range(0, len(everything), _MOST_VALUES):
        yield everything[first : first + _MOST_VALUES]


def _marks(values: Iterable[object]) -> str:
    return ", ".join("?" for _ in values)


def _parts(amount: Decimal | None) -> int | None:
    return None if amount is None else _bounded(int((amount * _PARTS).to_integral_value()))


def _bounded(number: int | None) -> int | None:
    """Return a number of the service's as a column can hold it, whatever it has sent."""
    return None if number is None else max(-_LARGEST, min(number, _LARGEST))


def _text(text: str | None) -> str | None:
    """Return a text of the service's as a column can hold it."""
    return None if text is None else printable(text)[:_MOST_LETTERS]


def _amount(parts: int) -> Decimal:
    return Decimal(parts) / _PARTS


def _item(row: Row) -> Item:
    (
        batch, key, position, worker_id, version, input_sha256, state, attempt, callback_url, intent_at, run_id, how,
        candidates, result_count, cost, error,
    ) = row  # fmt: skip
    return Item(
        batch=batch,
        key=key,
        position=position,
        worker_id=worker_id,
        version=version,
        input_sha256=input_sha256,
        state=ItemState(state),
        attempt=attempt,
        callback_url=callback_url,
        intent_at=intent_at,
        run_id=run_id,
        how=None if how is None else How(how),
        candidates=tuple(json.loads(candidates)),
        result_count=result_count,
        cost=None if cost is None else _amount(cost),
        error=error,
    )
