"""
A job for the night: many runs over the processes of a Dask cluster, each paid for once, however often it is killed.

    python night_job.py 2026-11-26 FOLDER

Given again, it continues: the ledger knows which runs were started, and which rows were written.
"""

from __future__ import annotations

import sys
from pathlib import Path

from distributed import Client, LocalCluster

from coreclaw_async import CoreClaw, RunSpec
from coreclaw_async.distributed.dask import run_batch

WORKER = "coreclaw/google-maps-scraper"
TOWNS = ("Berlin", "Lisbon", "Osaka", "Quito")
KINDS = ("cafe", "bakery", "florist", "bookshop", "hostel")


def main(date: str, folder: Path) -> None:
    ledger, name = str(folder / "runs.db"), f"places-{date}"
    with CoreClaw() as client, client.batch(name, ledger=ledger) as batch:
        batch.plan(
            RunSpec(key=f"{town}-{kind}", worker_id=WORKER, input={"keywords": [f"{kind} in {town}"]})
            for town in TOWNS
            for kind in KINDS
        )
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)  # type: ignore[no-untyped-call]
    with cluster, Client(cluster) as dask:  # type: ignore[no-untyped-call]
        report = run_batch(dask, name, ledger=ledger, output=folder / "rows", shard_size=10)
    print("nothing was left to do" if report is None else report.to_json())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
