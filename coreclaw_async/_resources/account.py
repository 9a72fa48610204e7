"""The account behind the key."""

from __future__ import annotations

import functools

from coreclaw_async._operations.calls import with_call_events
from coreclaw_async._operations.context import Context
from coreclaw_async._wire.converter import read_model
from coreclaw_async._wire.request import Request, build_path
from coreclaw_async.models import Account


@with_call_events("account")
class AsyncAccount:
    """The account behind the key: ``client.account``."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def get(self) -> Account:
        """
        Return the account with its balance.

        ``GET /api/v2/users/account``. Reads only: retried after a failure.

        Raises:
            AuthenticationError: The key is missing or refused.

        Example::

            account = await client.account.get()
            print(account.balance, "US dollars until", account.balance_expires_at)
        """
        request = Request(operation="getAccount", method="GET", path=build_path("users", "account"))
        return await self._context.transport.call(request, functools.partial(read_model, model=Account))
