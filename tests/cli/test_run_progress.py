"""The bar for runs that are waited for."""

from __future__ import annotations

import sys
from decimal import Decimal

import pytest
from cli.command_line import without_escapes

from coreclaw_async.cli._screen.bars import RunProgress
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.models import Run


def test_costs_are_shown_as_far_as_they_are_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    with RunProgress(Screen(), 2) as bar:
        bar.update(Run(run_id="A", status="running", result_count=1_200))
    with RunProgress(Screen(), 2) as bar:
        bar.update(Run(run_id="A", status="running", result_count=1_200))
        bar.update(Run(run_id="B", status="running", usage=Decimal("0.25")))
        bar.end()

    first, _, second = without_escapes(capsys.readouterr().err).rpartition("1,200 rows  $0.25")
    assert "1,200 rows" in first
    assert "1 left" in first + second
