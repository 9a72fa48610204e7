"""What the stub answers and the decoders read: records in the shape of the services, made up and always the same."""

from __future__ import annotations

import json
from typing import Any

_BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_STATUSES = ("succeeded", "running", "failed", "ready")
_ROW_TEXT = "A made-up product with a name of usual length, as shops list them"


def encode(value: Any) -> bytes:
    """Return *value* as compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def envelope(data: Any) -> bytes:
    """Return a success of the service with *data* in it."""
    return encode({"code": 0, "message": "success", "request_id": "req-0123456789abcdef", "data": data})


def run_record(number: int) -> dict[str, Any]:
    """Return a run with the members of the contract's example."""
    letters = "".join(_BASE32[number // 32**place % 32] for place in range(9, -1, -1))
    has_ended = _STATUSES[number % 4] in {"succeeded", "failed"}
    return {
        "slug": f"01KKDXV2G26BT7NH{letters}",
        "scraper_slug": "demo-marketplace-products",
        "scraper_title": "Demo Marketplace: Products",
        "version": f"1.0.{number % 7}",
        "origin": "openapi",
        "err_msg": "the target did not answer in time" if _STATUSES[number % 4] == "failed" else "",
        "status": _STATUSES[number % 4],
        "results": number * 7,
        "traffic": number * 10_240,
        "duration": number % 900,
        "started_at": 1_782_091_200 + number,
        "finished_at": 1_782_091_200 + number + number % 900 if has_ended else 0,
        "usage": f"{number / 100:.4f}",
    }


FOLLOWED = 1_000
"""Runs that end within eight seconds, whose list is the one with 100 a page."""


def followed_id(place: int) -> str:
    """Return the id of a run to follow, by its place in the list."""
    return f"01KKDXV2G2FOLLOWED{place:08d}"


def followed_record(place: int, elapsed: float) -> dict[str, Any]:
    """Return a run to follow as it is so many seconds after the beginning."""
    life = 1 + place * 7_919 % 7_000 / 1_000
    return {**run_record(place), "slug": followed_id(place), "status": "running" if elapsed < life else "succeeded"}


def followed_page(number: int, elapsed: float) -> bytes:
    """Return a page of the runs to follow."""
    places = range((number - 1) * 100, min(number * 100, FOLLOWED))
    return envelope({"count": FOLLOWED, "list": [followed_record(place, elapsed) for place in places]})


def run_page(size: int) -> bytes:
    """Return the answer to a list of runs: *size* of them."""
    runs = [run_record(number) for number in range(size)]
    return envelope({"count": size, "list": runs, "page_index": 1, "page_size": size})


def rows(start: int, stop: int, texts: int = 1) -> list[dict[str, Any]]:
    """Return result rows *start* to *stop*, as JSON about 110 bytes each and 80 more for each of their *texts*."""
    more = {f"text_{number}": _ROW_TEXT for number in range(texts)}
    return [
        {
            "__coreclaw_data_id__": f"{number:012d}",
            "name": f"Product {number}",
            "price": number % 1000 / 10,
            "stock": number % 50,
            "is_new": number % 3 == 0,
            **more,
        }
        for number in range(start, stop)
    ]


def result_page(number: int, size: int, count: int, texts: int = 1) -> bytes:
    """Return the answer to a list of rows: page *number*, from 1, of *count* rows; beyond the last it is empty."""
    names = [name for name in rows(0, 1, texts)[0] if not name.startswith("_")]
    return envelope(
        {
            "count": count,
            "headers": [{"key": name, "label": name.title(), "format": "text"} for name in names],
            "list": rows((number - 1) * size, min(number * size, count), texts),
            "page_index": number,
            "page_size": size,
        }
    )


def apify_run() -> bytes:
    """Return a run as the Apify API shows one, with the members that its client requires."""
    return encode(
        {
            "data": {
                "id": "HG7ML7M8z78YcAPEB",
                "actId": "HDSasDasz78YcAPEB",
                "userId": "7sT5jcggjjA9fNcxF",
                "startedAt": "2026-11-30T07:34:24.202Z",
                "finishedAt": "2026-11-30T07:44:24.202Z",
                "status": "SUCCEEDED",
                "meta": {"origin": "API"},
                "stats": {"runTimeSecs": 600, "computeUnits": 0.13804},
                "options": {"build": "latest", "timeoutSecs": 300, "memoryMbytes": 1024, "diskMbytes": 2048},
                "buildId": "7sT5jcggjjA9fNcxF",
                "defaultKeyValueStoreId": "eJNzqsbPiopwJcgGQ",
                "defaultDatasetId": "wmKPijuyDnPZAPRMk",
                "defaultRequestQueueId": "FL35cSF7jrxr3BY39",
                "usageTotalUsd": 0.2654,
            }
        }
    )


def openai_model() -> bytes:
    """Return a model as the OpenAI API shows one, with a run's members, which its client keeps."""
    return encode({"id": "demo", "created": 1_782_091_200, "object": "model", "owned_by": "demo", **run_record(1)})
