"""
Many runs under one name, each paid for once, through crashes and on several machines.

A ledger records it all: an intent is on the disk before its start is sent, and the result of the start before the
next one of the same worker. So any process may be killed at any time, and the next one continues.

.. code-block:: python

    import asyncio

    from coreclaw_async import AsyncCoreClaw, RunSpec


    async def main() -> None:
        async with (
            AsyncCoreClaw() as client,
            client.batch("nightly", ledger="sqlite:///runs.db") as batch,
        ):
            await batch.plan(  # Any iterable, even of a million; planning it again changes nothing.
                RunSpec(key=what, worker_id="coreclaw/google-maps-scraper", input={"keywords": [what]})
                for what in ("coffee", "tea", "cake")
            )
            async for outcome in batch.run(output="rows"):  # Continues where an earlier process stopped.
                print(outcome.key, outcome.state, outcome.path)
            report = await batch.report()
            print(report.counts, report.cost)


    asyncio.run(main())

``CoreClaw().batch(...)`` is the same for blocking code, and ``coreclaw-async batch`` for the shell
(`coreclaw_async.cli`). For several machines, see `coreclaw_async.distributed`.

* **Keys.** The same key with the same input is planned once; with another input it raises `BatchConflictError`.
  `batch.rerun` plans failed items again and keeps the history of their runs (`batch.history`).
* **Limits** are learned: the number of runs your plan allows at once from code 30003, the rate from 429, each with
  few wasted starts. When the balance is used up, nothing more is started: `batch.run` raises `BatchStoppedError`, and
  the other items stay planned.
* **The end.** `batch.run` ends when there is nothing left to do: items planned in the meantime are started too, and
  runs that another process started are waited for. If items stay open, because rows or a run could not be read or a
  plan was interrupted, it raises `BatchIncompleteError`, and the next call continues. It waits out outages for up to
  ``patience=`` (30 minutes by default).
* **Budget.** ``client.batch(..., max_spend=Decimal(20))`` is kept in the ledger and applies to all processes. A run
  of unknown cost counts as much as the most expensive run so far, so only a run that costs more than any before it
  can exceed the budget.
* **One spec** (`RunSpec`) may have ``retries=2`` (a failed run is followed by another, each paid for),
  ``run_timeout=600`` (its run is aborted after that many seconds) and ``priority=5``. `batch.pause` and
  `batch.resume` apply to all processes.
* **Results**: ``batch.items(state="failed")`` and ``batch.rows()`` page through all items and rows, no matter which
  process ran them; `batch.report` has the reasons for failures, cost and counts for each worker and day, and
  ``verdicts``: how many items passed, were empty, or have error rows, which ``run(output=)`` looks for in the rows
  that it writes. ``batch.to_parquet("rows.parquet", with_key=True)`` and the like take the rows of all items that are
  done.
* **Lost starts.** When a start was never answered, the batch waits until a run that came of it must be listed (80 s
  by default, see `SettleTimes`), and looks at the list of runs. If two looks show no run, it starts the item again.
  Otherwise the item is *held* (``ambiguous``) with its candidates, until you call ``batch.resolve(key,
  adopt=run_id)`` or ``batch.resolve(key, resubmit=True)``. With ``exclusive=True`` you say that nobody else starts
  runs of these workers: then a single candidate is adopted, until foreign runs are seen. With a `CallbackHub`, the
  callback to the URL of the start names its run exactly, and eight starts of a worker are sent at once.
* **Accounts.** A batch belongs to the account of the key that it was created with. ``account="acme"`` gives that
  account a name: then a new key continues the batches of the old one, and all its keys share the open starts of each
  worker. A run that belongs to an item is never a candidate for another, whatever its account.
* **Rows** are in ``part-<run_id>.jsonl``, complete and on the disk, before their item is done, and only if there are
  as many as the service says; ``manifest.jsonl`` beside them says which file belongs to which item, and what its run
  is worth. With ``run(output="rows", output_format="parquet")`` (extra ``arrow``), they are in
  ``part-<run_id>.parquet``, with typed columns. Lines of JSON keep each number digit by digit, and members that a row
  lacks stay absent; in Parquet, numbers are 64-bit integers and floats, and such members are null. `batch.rows` reads
  both.
* **Once.** An item is paid for at most once as long as a run is listed within ``list_lag`` of its creation, and the
  service accepts no start later than ``post_timeout`` plus ``list_lag`` after it was sent (`SettleTimes`). Neither is
  documented, and neither was checked against the live service.
* **The ledger** is ``memory``, a file of SQLite, or Postgres. It holds the inputs as you gave them, and a hash of the
  key. Only its owner can read the file. Keep it on a local disk; for a container, mount its folder and not the file.
  Copy a file in use with ``Connection.backup`` of sqlite3. A forked child cannot use a batch of its parent, nor a
  file of SQLite that its parent has open: leave the batch before the fork.
* **Signals.** Ctrl-C ends a batch in order, and so does a SIGTERM handler that calls ``sys.exit`` in blocking code. On
  asyncio, use ``loop.add_signal_handler(signal.SIGTERM, task.cancel)``: a handler that raises may break off a step of
  asyncio itself, and the process may then never end. Nothing is paid twice either way.

Belongs here: the ledger and its databases (``_store``), starts, settling of lost ones, ends of runs, files of rows.
Does not belong here: what a single run needs too (``_operations``), and dividing a batch among machines.
"""

from typing import TYPE_CHECKING

from coreclaw_async._late_names import late_names

if TYPE_CHECKING:
    from coreclaw_async.batch._arguments import OutputFormat
    from coreclaw_async.batch._batch import AsyncBatch
    from coreclaw_async.batch._context import OnAmbiguous
    from coreclaw_async.batch._evidence import SettleTimes
    from coreclaw_async.batch._items import BatchItem, BatchItemRun, BatchItemState, IllegalStepError, ItemOrigin
    from coreclaw_async.batch._ledger.pruning import PrunedBatch
    from coreclaw_async.batch._outcomes import BatchOutcome
    from coreclaw_async.batch._records import BatchRecord
    from coreclaw_async.batch._reports import BatchReport
    from coreclaw_async.batch._shard import Shard
    from coreclaw_async.batch._specs import RunSpec
    from coreclaw_async.batch._totals import RunTotals

__all__ = [
    "AsyncBatch",
    "BatchItem",
    "BatchItemRun",
    "BatchItemState",
    "BatchOutcome",
    "BatchRecord",
    "BatchReport",
    "IllegalStepError",
    "ItemOrigin",
    "OnAmbiguous",
    "OutputFormat",
    "PrunedBatch",
    "RunSpec",
    "RunTotals",
    "SettleTimes",
    "Shard",
]

# Each is loaded when it is asked for: the states of items, for example, need nothing of the machinery.
_MODULE_OF = {
    "AsyncBatch": "_batch",
    "BatchItem": "_items",
    "BatchItemRun": "_items",
    "BatchItemState": "_items",
    "BatchOutcome": "_outcomes",
    "BatchRecord": "_records",
    "BatchReport": "_reports",
    "IllegalStepError": "_items",
    "ItemOrigin": "_items",
    "OnAmbiguous": "_context",
    "OutputFormat": "_arguments",
    "PrunedBatch": "_ledger.pruning",
    "RunSpec": "_specs",
    "RunTotals": "_totals",
    "SettleTimes": "_evidence",
    "Shard": "_shard",
}


if not TYPE_CHECKING:  # pragma: no branch - to type checkers any name would be one of these.
    __getattr__ = late_names(globals(), _MODULE_OF)


def __dir__() -> list[str]:
    return __all__
