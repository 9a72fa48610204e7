"""The ways from a client to a service on a socket: its own connections, a client of the caller's, an HTTPS proxy."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import either_client
import httpx
import pytest
import trustme
from either_client import AsyncCoreClaw
from tls_tunnel import HOST, https_proxy_to

from coreclaw_async.testing import FakeService

WAYS = ["own connections", "a caller's client", "a caller's httpx2 client", "an HTTPS proxy"]


@contextlib.asynccontextmanager
async def client_by(
    way: str, service: FakeService, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> AsyncIterator[AsyncCoreClaw]:
    """Serve *service* and open a client that reaches it by *way*."""
    async with contextlib.AsyncExitStack() as stack:
        server = stack.enter_context(service.serve())
        options["base_url"] = server.url
        if way == "an HTTPS proxy":
            stack.enter_context(https_proxy_to(int(server.url.rpartition(":")[2]), authority, monkeypatch))
            options["base_url"] = f"https://{HOST}"
        if way.startswith("a caller's"):
            if either_client.IS_BLOCKING:
                pytest.skip("its connections belong to the private event loop, which a test cannot close them on")
            library: Any = pytest.importorskip("httpx2") if "httpx2" in way else httpx
            options["http_client"] = await stack.enter_async_context(library.AsyncClient())
        yield await stack.enter_async_context(AsyncCoreClaw(service.api_key, **options))
