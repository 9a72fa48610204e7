"""The regions of the proxies that workers can use."""

from __future__ import annotations

import functools

from coreclaw_async._operations.calls import with_call_events
from coreclaw_async._operations.context import Context
from coreclaw_async._wire.pages import read_whole_list
from coreclaw_async._wire.request import Request, build_path, build_query, check_text
from coreclaw_async.models import ProxyRegion


@with_call_events("proxies")
class AsyncProxies:
    """The proxy regions: ``client.proxies``."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def list_regions(self, language: str = "en") -> tuple[ProxyRegion, ...]:
        """
        Return all regions. They can change, so read them when you need them.

        ``GET /api/v2/proxy/region``. Needs no key and sends none. Reads only: retried after a failure.

        Args:
            language: Language of the names: ``en``, ``zh``, ``ja``, ``ko``, ``fr``, ``de``, ``es``; passed on
                unchecked.

        Raises:
            ValueError: *language* is empty.
            TypeError: *language* is no str.

        Example::

            codes = {region.code for region in await client.proxies.list_regions()}
        """
        request = Request(
            operation="listProxyRegions",
            method="GET",
            path=build_path("proxy", "region"),
            query=build_query(language=check_text("language", language)),
            is_public=True,
        )
        return await self._context.transport.call(request, functools.partial(read_whole_list, model=ProxyRegion))
