"""What a process of its own does: a new interpreter imports these by name."""

from __future__ import annotations

from coreclaw_async import CoreClaw


def get_no_run(url: str, key: str) -> None:
    """Ask for a run that is not there."""
    with CoreClaw(key, base_url=url) as client:
        client.runs.get("01ARZ3NDEKTSV4RRFFQ69G5FAV")


def start_run(url: str, key: str) -> None:
    """Start a run."""
    with CoreClaw(key, base_url=url) as client:
        worker = next(client.store.iterate())
        client.workers.start_run(worker.worker_id, {"keywords": ["coffee"]})
