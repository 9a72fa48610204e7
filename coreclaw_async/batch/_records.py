"""All that a ledger has of items: where they stand, each run that they have had, and what was planned for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from coreclaw_async._data.record import Model
from coreclaw_async.batch._items import BatchItem, BatchItemRun
from coreclaw_async.batch._ledger.batch_ledger import BatchLedger
from coreclaw_async.models import Page

_AT_ONCE = 400
# An input may have megabytes.
_INPUTS_AT_ONCE = 10


@attrs.frozen(kw_only=True, repr=False)
class BatchRecord(Model):
    """
    All that a ledger has of an item.

    Attributes:
        item: Where it stands.
        runs: The runs that it has had, oldest first.
        input: What its start carries as ``input``, where that was asked for; or None.

    Example::

        async for record in batch.export(with_inputs=True):
            print(record.item.key, record.input, record.runs)
    """

    item: BatchItem
    runs: Sequence[BatchItemRun] = attrs.field(hash=False)
    input: Mapping[str, Any] | None = attrs.field(default=None, repr=False, hash=False)


@attrs.define(kw_only=True)
class RecordPages:
    """
    Records in the order of the plan.

    Attributes:
        ledger: The batch's.
        with_inputs: Whether they have their inputs.
    """

    ledger: BatchLedger
    with_inputs: bool
    _after: BatchItem | None = attrs.field(default=None, init=False)

    async def next(self) -> Page[BatchRecord] | None:
        """Return the next records, or None after the last."""
        most = _INPUTS_AT_ONCE if self.with_inputs else _AT_ONCE
        items = await self.ledger.items(after=self._after, most=most)
        if not items:
            return None
        keys = [item.key for item in items]
        runs = await self.ledger.histories(keys)
        inputs = await self.ledger.inputs(keys) if self.with_inputs else {}
        self._after = items[-1]  # Only now: what fails before is read again.
        return Page(
            items=tuple(
                BatchRecord(
                    item=item,
                    runs=tuple(runs.get(item.key, ())),
                    input=json.loads(inputs[item.key]) if item.key in inputs else None,
                )
                for item in items
            )
        )
