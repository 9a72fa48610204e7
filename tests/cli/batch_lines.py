"""Batches at the command line: planned from files, and run in this process or in others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cli.command_line import Outcome, invoke

from coreclaw_async import CoreClaw, RunSpec, SettleTimes
from coreclaw_async.testing import FakeService, faults

WORKER = "coreclaw/google-maps-scraper"
QUICK = SettleTimes(send_window=0.5, post_timeout=0.5, skew=1.5, list_lag=0.1)


def lines(folder: Path, *specs: object, name: str = "specs.jsonl") -> str:
    path = folder / name
    path.write_text("\n".join(spec if isinstance(spec, str) else json.dumps(spec) for spec in specs), encoding="utf-8")
    return str(path)


def batch(command: str, *arguments: str, name: str = "nightly") -> Outcome:
    """Run a command about a batch; the key may be in nothing that it writes."""
    outcome = invoke("batch", command, name, *arguments)
    assert "test-key" not in outcome.stdout + outcome.stderr
    assert "Traceback" not in outcome.stderr
    return outcome


def complaint(outcome: Outcome) -> str:
    """Return what a command has complained of, without the frame and the line breaks that it was shown in."""
    return " ".join(outcome.stderr.replace("│", " ").split())


def plan(folder: Path, count: int = 3, *arguments: str) -> None:
    """Plan items whose keys are k0, k1 and so on."""
    specs = [{"key": f"k{number}", "input": {"keywords": [f"k{number}"]}} for number in range(count)]
    outcome = batch("plan", "-i", lines(folder, *specs), "--worker", WORKER, *arguments)
    assert outcome.exit_code == 0, outcome.stderr


def objects(outcome: Outcome) -> list[dict[str, Any]]:
    """Return what a command has printed, of which each line must be JSON."""
    return [json.loads(line) for line in outcome.stdout.splitlines()]


def hold(service: FakeService, ledger: str, keys: Sequence[str] = ("k0",)) -> list[str]:
    """Have items held, and return the runs that they have lost."""
    with CoreClaw() as client, client.batch("nightly", ledger=ledger, settle_times=QUICK) as opened:
        for key in keys:
            service.faults.add(faults.commit_then_drop(), operation="runWorker")
            opened.plan([RunSpec(key=key, worker_id=WORKER, input={"keywords": [key]})])
            for _ in opened.run():
                pass
        return [item.candidates[0] for item in opened.items(state="ambiguous")]
