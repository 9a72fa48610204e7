"""A backend of `backend.py`, run by uvicorn in a process of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import IO

import httpx
import pytest


@contextlib.contextmanager
def backend_in(folder: Path, port: int, environment: Mapping[str, str]) -> Generator[httpx.Client]:
    """Yield a client of the app in *folder*, which listens on *port* with *environment* besides that of the tests."""
    with process_in(folder, port, environment, "--log-level", "warning") as (_, client):
        yield client


@contextlib.contextmanager
def process_in(
    folder: Path, port: int, environment: Mapping[str, str], *options: str, log: IO[bytes] | None = None
) -> Generator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """Yield the process as well, which has *options* of uvicorn and writes into *log*."""
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "backend:app", "--port", str(port), *options],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=log,
        stderr=log,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
            _await_start(client)
            yield process, client
    finally:
        process.terminate()
        assert process.wait(20) in {0, -15}


def _await_start(client: httpx.Client) -> None:
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up:
        try:
            client.get("/openapi.json")
        except httpx.ConnectError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the backend did not start")
