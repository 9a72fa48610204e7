"""A plan on its way into the ledger: in chunks of bounded size, and marked there as half a plan until its end."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from coreclaw_async.batch._ledger.batch_ledger import BatchLedger
from coreclaw_async.batch._ledger.flags import setting
from coreclaw_async.batch._ledger.plans import add_items
from coreclaw_async.batch._specs import PlannedSpec, RunSpec
from coreclaw_async.errors import BatchConflictError

_MAX_SPECS = 1_000
_MAX_LETTERS = 4_000_000


@attrs.define(kw_only=True, eq=False)
class Planning:
    """
    One plan: first `begin`, then `take` for each spec, with `write` whenever that asks for it, then `end`.

    Without its `end`, whatever keeps that from being called, the batch stays marked as half planned.

    Attributes:
        on_added: Called when items have been added.
        added: Items that were added.
    """

    ledger: BatchLedger
    on_added: Callable[[], None]
    added: int = attrs.field(default=0, init=False)
    _was_half_planned: bool = attrs.field(default=False, init=False)
    _is_empty: bool = attrs.field(default=True, init=False)
    _chunk: dict[str, PlannedSpec] = attrs.field(factory=dict[str, PlannedSpec], init=False)
    _letters: int = attrs.field(default=0, init=False)

    async def begin(self) -> None:
        """
        Mark the batch as half planned, before any of the plan is read.

        Raises:
            LedgerError: The ledger cannot be written to.
        """
        self._was_half_planned = await self.ledger.is_half_planned()
        await self.ledger.database.write(*setting(self.ledger.batch, "is_half_planned", to=True))

    def take(self, spec: RunSpec) -> bool:
        """
        Check the next spec and keep it; return whether what is kept must be written now.

        Raises:
            BatchConflictError: Its key came a moment ago with another worker, version or input.
            TypeError: It is no `RunSpec`, or its input holds something that JSON has no form for.
            ValueError: A member of it is out of range.
        """
        planned = PlannedSpec.of(spec)
        before = self._chunk.setdefault(planned.key, planned)
        if before is planned:
            self._letters += len(planned.input)
        elif before.input_sha256 != planned.input_sha256:
            raise BatchConflictError(
                f"key {planned.key!r} occurs twice in the plan, with different inputs",
                key=planned.key,
                planned=before.input_sha256,
                given=planned.input_sha256,
            )
        self._is_empty = False
        return len(self._chunk) >= _MAX_SPECS or self._letters >= _MAX_LETTERS

    async def write(self) -> None:
        """
        Add what was taken to the batch.

        Raises:
            BatchConflictError: One of the keys is there with another worker, version or input.
            LedgerError: The ledger cannot be written to.
        """
        await self._write(is_half_planned=True)

    async def end(self) -> int:
        """
        Add the rest, take the mark away, and return how many items were added; a plan of nothing leaves the mark.

        Raises:
            BatchConflictError: One of the keys is there with another worker, version or input.
            LedgerError: The ledger cannot be written to.
        """
        await self._write(is_half_planned=self._is_empty and self._was_half_planned)
        return self.added

    async def _write(self, *, is_half_planned: bool) -> None:
        specs = list(self._chunk.values())
        self._chunk.clear()
        self._letters = 0
        added = await add_items(self.ledger.database, self.ledger.batch, specs, is_half_planned=is_half_planned)
        self.added += added
        if added:
            self.on_added()
