"""A driver of a batch on Dask: ``dask_driver.py SCHEDULER_FILE LEDGER FOLDER URL naive|guarded``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import distributed

from coreclaw_async import CoreClaw, PollSchedule, SettleTimes
from coreclaw_async.distributed.dask import run_batch

KEYS = 200
WORKERS = ("me/one", "me/two", "me/three")
TIMES = SettleTimes(send_window=0.3, post_timeout=1.0, skew=1.5, list_lag=0.2)


def start_naively(key: str, url: str) -> str:
    """Start a run and wait for it, as a task of an engine that runs it again when its worker has died."""
    with CoreClaw("test-key", base_url=url, poll_schedule=PollSchedule(delays=(0.15,))) as client:
        return client.workers.run(WORKERS[0], {"keywords": [key]}, check=False).run_id


def main(scheduler_file: str, ledger: str, folder: str, url: str, kind: str) -> None:
    make_client: Any = distributed.Client
    with make_client(scheduler_file=scheduler_file, set_as_default=False) as client:
        client.wait_for_workers(1, timeout=120)
        if kind == "naive":
            client.gather(client.map(start_naively, [f"k{number}" for number in range(KEYS)], url=url, pure=False))
        else:
            report = run_batch(
                client,
                "on-dask",
                ledger=ledger,
                output=folder,
                shard_size=20,
                exclusive=True,
                settle_times=TIMES,
                base_url=url,
            )
            Path(folder, "report").write_text(repr(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
