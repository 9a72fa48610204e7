"""``coreclaw-async doctor``: what is used, and whether the service can be used with it."""

from __future__ import annotations

import textwrap

import httpx
import typer

from coreclaw_async._sync.generated import CoreClaw
from coreclaw_async._wire.credentials import Credentials
from coreclaw_async._wire.retry import RetryPolicy
from coreclaw_async.cli._screen.output import print_json
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.cli.doctor.findings import DoctorSettings, examine
from coreclaw_async.cli.doctor.looks import Examination, NotingTransport
from coreclaw_async.cli.failures import ExitCode
from coreclaw_async.cli.guard import guarded
from coreclaw_async.cli.options import AsJson, BaseUrl, KeyFile
from coreclaw_async.cli.session import find_base_url, find_key

_WIDTH = 80
_INDENT = 16
_LAST_WORDS = "This report has no key, no run id and no account data: paste it into an issue."
# One failed attempt is no failure yet; more of them would take longer than anybody likes to look on.
_RETRY = RetryPolicy(max_attempts=2, first_delay=0.2, max_delay=1.0, connect_timeout=5.0)


@guarded
def doctor(*, json: AsJson = False, api_key_file: KeyFile = None, base_url: BaseUrl = None) -> None:
    """
    Say which key, address and proxy are used, and whether the service is what the client takes it for.

    Reads only, starts nothing, takes half a minute at most, and never shows the key. What it prints can be sent to the
    maintainers. When something fails, the exit code is 3.
    """
    key, address = find_key(api_key_file, may_ask=False), find_base_url(base_url)
    way, screen, has_failed = NotingTransport(), Screen(), False
    with CoreClaw(
        # What the environment says the client finds by itself, and names in its errors. In no local variable.
        None if api_key_file is None else key.value,
        base_url=base_url,
        transport=way,
        retry=_RETRY,
        on_event=way.note,
    ) as client:
        hide = Credentials(key.value).hide
        settings = DoctorSettings(
            url=httpx.URL((address.value or "").strip().rstrip("/")),
            url_source=address.source,
            key_source=None if key.value is None else "--api-key-file" if api_key_file is not None else key.source,
        )
        for finding in examine(Examination(client=client, way=way), settings):
            has_failed = has_failed or finding.state == "FAIL"
            # Whatever the service or a proxy repeats.
            detail = hide(finding.detail)
            if json:
                print_json([{"check": finding.check, "state": finding.state, "detail": detail}])
            else:
                for line in _lines(f"{finding.state:5} {finding.check:9} {detail}"):
                    screen.tell(line)
    if not json:
        screen.tell(_LAST_WORDS)
    if has_failed:
        raise typer.Exit(ExitCode.SERVICE)


def _lines(text: str) -> list[str]:
    indent = " " * _INDENT
    return textwrap.wrap(text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
