"""
Who may use the console: the person at this machine, and no page of somebody else in their browser.

A page from elsewhere can send requests to this machine. With a name that it lets point here (DNS rebinding) it could
even read the answers, so only names are accepted that nobody else can have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address

_HOST = re.compile(r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[^:\[\]]+))(?::[0-9]{1,5})?", re.IGNORECASE)


class RefusedError(Exception):
    """
    The console refuses a request.

    Attributes:
        status: The HTTP status.
        reason: A sentence for the person at the page.
        headers: Further headers of the answer.
    """

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.headers = headers or {}


def check_host(headers: Mapping[str, str], own: str) -> None:
    """
    Refuse a request that was sent to another name than an IP address, `localhost` or `own`.

    Raises:
        RefusedError: 403.
    """
    found = _HOST.fullmatch(headers.get("host", ""))
    name = None if found is None else (found["six"] or found["name"]).lower()
    if name is None or (name not in {"localhost", own.lower()} and not _is_address(name)):
        raise RefusedError(403, "Open the console by localhost or an IP address of its machine, not by another name.")


def check_origin(headers: Mapping[str, str], *, acts: bool) -> None:
    """
    Refuse a request that a page of another origin sends.

    Args:
        headers: With names in lower case; `check_host` has accepted them.
        acts: Whether it would change anything.

    Raises:
        RefusedError: 403.
    """
    # A browser says `none` for an address that somebody typed, which changes nothing.
    allowed = {None, "same-origin"} if acts else {None, "same-origin", "none"}
    own = f"http://{headers['host']}".lower()
    if headers.get("sec-fetch-site") not in allowed or headers.get("origin", own).lower() != own:
        raise RefusedError(403, "Another site must not use the console. Open its address by itself.")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
