"""``account``: who is logged in, and what is left to spend."""

from __future__ import annotations

from coreclaw_async.cli._screen.output import show_one
from coreclaw_async.cli.guard import guarded
from coreclaw_async.cli.options import AsJson
from coreclaw_async.cli.session import open_client


@guarded
def account(*, json: AsJson = False) -> None:
    """Show the account and its balance."""
    with open_client() as client:
        show_one(client.account.get(), as_json=json)
