"""What the blocking `Batch` has beside its generated methods: its block, and a plan that is read by the caller."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from coreclaw_async._sync_runtime import Bridge, Hosted

if TYPE_CHECKING:
    from coreclaw_async._batches.specs import RunSpec
    from coreclaw_async.batch import AsyncBatch

_CHUNK = 1_000


class BatchBlock:
    """
    The block of a blocking batch.

    What the async one has going on lives in a task of its own, between the calls and during them.
    """

    def __init__(self, inner: AsyncBatch, bridge: Bridge) -> None:
        self._inner = inner
        self._bridge = bridge
        self._host: Hosted | None = None

    def __repr__(self) -> str:
        return repr(self._inner).removeprefix("Async")

    @property
    def name(self) -> str:
        """Name of the batch."""
        return self._inner.name

    def __enter__(self) -> Self:
        """
        Open the ledger.

        Raises:
            LedgerError: It cannot be used, or the batch is another account's.
            ConfigurationError: There is no API key, or an extra is missing.
        """
        host = Hosted(self._inner)
        self._bridge.run(host.open).result()
        self._host = host
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Start no more runs, let the starts under way be answered (five seconds at most), and close the ledger."""
        host, self._host = self._host, None
        if host is not None:
            self._bridge.run(host.close).result()

    def plan(self, specs: Iterable[RunSpec]) -> int:
        """
        Add items to the batch, and return how many are new; sends nothing.

        Reads *specs* a thousand at a time, so that a million of them take no memory. What is there already with the
        same input stays as it is, so the same plan may be made any number of times.

        Args:
            specs: What is to be run; any iterable, which is read in the caller's thread.

        Raises:
            BatchConflictError: A key is there with another worker, version or input.
            LedgerError: The ledger cannot be written to.
            TypeError: Something is no `RunSpec`, or an input holds what JSON has no form for.
            ValueError: A member of a spec is out of range.
        """
        return sum(self._bridge.run(self._inner.plan, chunk).result() for chunk in _chunks(specs))


def _chunks(specs: Iterable[RunSpec]) -> Iterator[list[RunSpec]]:
    chunk: list[RunSpec] = []
    for spec in specs:
        chunk.append(spec)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    yield chunk
