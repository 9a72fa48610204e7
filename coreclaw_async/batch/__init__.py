"""
Many runs under one name, each paid for once, through crashes and on several machines.

Belongs here: the ledger and its databases (``_store``), starts, settling of lost ones, ends of runs, files of rows.
Does not belong here: what a single run needs too (``_operations``), and dividing a batch among machines.
"""

from typing import TYPE_CHECKING, Any

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
_MODULES = {
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

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
