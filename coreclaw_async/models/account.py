"""The account behind a key, and the proxy regions a worker can use."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import attrs

from coreclaw_async._data.record import Model
from coreclaw_async.models.fields import extra_field


@attrs.frozen(kw_only=True, repr=False)
class Account(Model):
    """
    The account of the key, as ``GET /api/v2/users/account`` reports it.

    Attributes:
        balance: Money left, in US dollars; None when it is not known, which is not the same as 0.
        balance_expires_at: UTC, or None; the wire calls it ``balance_expiration_at``.
        extra: Members that this version does not know, or cannot read, as they came, under their wire names.

    Example::

        account = await client.account.get()
        print("unknown" if account.balance is None else f"{account.balance:.2f} USD")
    """

    balance: Decimal | None = None
    balance_expires_at: dt.datetime | None = None
    extra: dict[str, Any] = extra_field()


@attrs.frozen(kw_only=True, repr=False)
class ProxyRegion(Model):
    """
    A place whose proxies a worker can use.

    Attributes:
        code: ISO country code such as ``"US"``, as ``parameters.system.proxy_region`` takes it.
        name: Its name in the language that was asked for.
        extra: Members that this version does not know, or cannot read, as they came, under their wire names.

    Example::

        for region in await client.proxies.list_regions():
            print(region.code, region.name)
    """

    code: str = ""
    name: str = ""
    extra: dict[str, Any] = extra_field()
