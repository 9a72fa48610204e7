"""``coreclaw-async doctor``: the settings in use, and whether the service works with them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator

import attrs
import httpx
import typer

from coreclaw_async._sync.generated import CoreClaw
from coreclaw_async._wire.credentials import Credentials
from coreclaw_async._wire.retry import RetryPolicy
from coreclaw_async.cli._screen.output import print_json
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.cli.doctor.assumption_list import Result, results
from coreclaw_async.cli.doctor.findings import DoctorSettings, examine
from coreclaw_async.cli.doctor.looks import Examination, Finding, NotingTransport
from coreclaw_async.cli.failures import ExitCode
from coreclaw_async.cli.guard import guarded
from coreclaw_async.cli.options import AsJson
from coreclaw_async.cli.session import CONNECTION, find_base_url, find_key

_WIDTH = 80
_INDENT = 16
_TITLE = "What the client assumes about the service, although nobody promises it:"
_MARKS = {"holds": "YES", "does not hold": "NO", "not checked": "?"}
_LAST_WORDS = "This report has no key, no run id and no account data: paste it into an issue."
# A single failed attempt is no failure yet; more attempts would take too long.
_RETRY = RetryPolicy(max_attempts=2, first_delay=0.2, max_delay=1.0, connect_timeout=5.0)


@guarded
def doctor(*, json: AsJson = False) -> None:
    """
    Show which key, address and proxy are used, and check that the service works as the client expects.

    Only reads and costs nothing, takes half a minute at most, and never shows the key. Its output can be sent to the
    maintainers: at the end it lists what the client assumes about the service, how and on what each assumption was
    checked, and whether it holds. What reads cannot show is listed with the reason.

    When something fails, the exit code is 3; an assumption that does not hold is no failure. With `--json`, each check
    is an object with `check`, `state` (OK, WARN or FAIL) and `detail`, and each assumption one with `assumption`,
    `verdict` (holds, does not hold or not checked), `says`, `how`, `on` and `why`.
    """
    connection, way = CONNECTION.get(), NotingTransport()
    key, address = find_key(connection.key_file, may_ask=False), find_base_url(connection.base_url)
    key_source = None if key.value is None else key.source if connection.key_file is None else "--api-key-file"
    with CoreClaw(
        # The client reads the environment itself, and then names the variable in its errors. The key is in no local.
        None if connection.key_file is None else key.value,
        base_url=connection.base_url,
        transport=way,
        retry=_RETRY,
        on_event=way.note,
    ) as client:
        # After the client, which refuses an address that cannot be one.
        settings = DoctorSettings(
            url=httpx.URL((address.value or "").strip().rstrip("/")), url_source=address.source, key_source=key_source
        )
        findings = examine(Examination(client=client, way=way), settings)
        has_failed = _show(findings, Credentials(key.value).hide, as_json=json)
    if has_failed:
        raise typer.Exit(ExitCode.SERVICE)


def _show(findings: Iterable[Finding], hide: Callable[[str], str], *, as_json: bool) -> bool:
    """Print each finding as it is made and then each assumption; return whether a finding is a failure."""
    screen, made = Screen(), list[Finding]()
    for finding in findings:
        made.append(finding)
        detail = hide(finding.detail)  # The service or a proxy may repeat the key.
        if as_json:
            print_json([{"check": finding.check, "state": finding.state, "detail": detail}])
        else:
            _tell(screen, f"{finding.state:5} {finding.check:9} {detail}")
    if not as_json:
        screen.tell(_TITLE)
    for result in results(made):
        shown = attrs.evolve(result, why=hide(result.why))
        if as_json:
            print_json([attrs.asdict(shown)])
        else:
            for text in _texts(shown):
                _tell(screen, text)
    if not as_json:
        screen.tell(_LAST_WORDS)
    return any(finding.state == "FAIL" for finding in made)


def _texts(result: Result) -> Iterator[str]:
    """Yield the lines about an assumption."""
    yield f"{_MARKS[result.verdict]:5} {result.assumption:9} {result.says}"
    if result.on is not None:
        yield f"{'':15} checked on {result.on}: {result.how}"
    yield f"{'':15} {result.verdict}: {result.why.removeprefix('not checked: ')}"


def _tell(screen: Screen, text: str) -> None:
    for line in _lines(text):
        screen.tell(line)


def _lines(text: str) -> list[str]:
    indent = " " * _INDENT
    return textwrap.wrap(text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
