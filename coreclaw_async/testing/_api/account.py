"""The account behind the key."""

from __future__ import annotations

from typing import Any

from coreclaw_async.testing._api.calls import Call
from coreclaw_async.testing._api.operation import operation

_BALANCE_LIFETIME = 31 * 86_400


@operation("getAccount", "GET", "/users/account")
def get_account(call: Call) -> Any:
    """Return the credit that is left, and when it expires."""
    expires = int(call.switches.clock.time()) + _BALANCE_LIFETIME
    return {"balance": f"{call.world.balance():f}", "balance_expiration_at": expires}
