"""Reading what ``doctor`` prints; each report is searched for what must not be in it."""

from __future__ import annotations

from cli.command_line import Outcome, invoke

KEY = "a-key-that-nobody-may-see"
PASSWORD = "pa55word"
TITLE = "What the client assumes about the service, although nobody promises it:"
LAST_WORDS = "This report has no key, no run id and no account data: paste it into an issue."

Report = dict[str, list[tuple[str, str]]]


def report_of(outcome: Outcome) -> Report:
    """Return state and detail of each finding by its check; some checks have several findings."""
    assert KEY not in outcome.stdout + outcome.stderr
    assert PASSWORD not in outcome.stdout + outcome.stderr
    assert outcome.stderr == ""
    *lines, last = outcome.stdout.splitlines()
    assert last == LAST_WORDS
    lines = lines[: lines.index(TITLE)]
    assert all(len(line) <= 80 for line in lines if "http" not in line)
    report: Report = {}
    check = ""
    for line in lines:
        if line.startswith(" "):
            state, detail = report[check][-1]
            report[check][-1] = state, f"{detail} {line.strip()}"
        else:
            state, check, detail = line.split(maxsplit=2)
            report.setdefault(check, []).append((state, detail))
    failed = any(state == "FAIL" for findings in report.values() for state, _ in findings)
    assert outcome.exit_code == (3 if failed else 0)
    return report


def report(*arguments: str) -> Report:
    """Return the findings of a ``doctor`` in this process."""
    return report_of(invoke("doctor", *arguments))


def only(findings: list[tuple[str, str]]) -> tuple[str, str]:
    """Return the one finding of a check."""
    (finding,) = findings
    return finding
