"""A service on a real socket, found through the environment, for commands about batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.command_line import in_environment

from coreclaw_async.testing import FakeService, RealClock, RunScript


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    service = FakeService(clock=RealClock(), default_script=RunScript(rows=2, duration=0.0))
    with in_environment(service, monkeypatch):
        yield service


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A ledger that is not there yet, which commands find in the environment."""
    path = str(tmp_path / "runs.db")
    monkeypatch.setenv("CORECLAW_LEDGER", path)
    return path
