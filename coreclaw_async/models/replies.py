"""Reply: the answer to a request that the caller wrote, as ``client.request`` returns it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from coreclaw_async._data.record import Model


@attrs.frozen(kw_only=True, repr=False)
class Reply(Model):
    """
    The answer to ``client.request(...)``: a success of the service, as it came.

    Attributes:
        status_code: HTTP status, 200 to 299.
        data: The member ``data`` of the answer, parsed from JSON; None when it is absent or null.
        headers: The headers by their names in lower case, several of one name with commas between them. Not
            ``Set-Cookie``; keys, and queries of URLs, which may be signatures, are hidden.
        request_id: The id that the service gave the request, or None.
        elapsed: Seconds that the call took, with queueing, attempts and waits.
        attempts: How often the request was tried, 1 or more.

    Example::

        reply = await client.request("GET", "/api/v2/users/account")
        print(reply.status_code, reply.request_id, reply.attempts, reply.data)
    """

    status_code: int
    data: Any = attrs.field(default=None, hash=False, repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], hash=False, repr=False)
    request_id: str | None = None
    elapsed: float = 0.0
    attempts: int = 1
