"""
The rows of a run in pandas and polars, and in a Parquet file that both can read.

    python frames.py rows.parquet
"""

from __future__ import annotations

import sys

import polars as pl

from coreclaw_async import CoreClaw

WORKER = "coreclaw/google-maps-scraper"


def main(path: str) -> None:
    with CoreClaw() as client:
        run = client.workers.run_once("cafes-of-november", WORKER, {"keywords": ["cafe"]})
        frame = client.runs.iterate_results(run).to_pandas()
        print(frame.dtypes.to_string())
        print(frame["title"].head().to_string(index=False))

        other = client.runs.iterate_results(run).to_polars()
        print(other.select(pl.col("title").n_unique()).item(), "titles")

        client.runs.iterate_results(run).to_parquet(path)  # A page at a time: memory does not grow with the rows.
    print(pl.scan_parquet(path).select(pl.len()).collect().item(), "rows in", path)


if __name__ == "__main__":
    main(sys.argv[1])
