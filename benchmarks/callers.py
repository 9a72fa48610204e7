"""The clients that are compared, each as a function that gets one record from the stub."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Literal, TypeAlias

import aiohttp
import apify_client
import httpx
import openai

from coreclaw_async import AsyncCoreClaw

Call: TypeAlias = Callable[[], Awaitable[object]]
"""Gets one record."""
Client: TypeAlias = Callable[[str], AbstractAsyncContextManager[Call]]
"""Opens a client for the stub at a URL."""

RUN_ID = "01KKDXV2G26BT7NH0000000001"


@asynccontextmanager
async def ours(url: str, backend: Literal["httpx", "aiohttp"] = "httpx") -> AsyncIterator[Call]:
    """`client.runs.get`, to a `Run`."""
    async with AsyncCoreClaw("token", base_url=url, backend=backend) as client:

        async def call() -> object:
            return await client.runs.get(RUN_ID)

        yield call


def ours_with_speed(url: str) -> AbstractAsyncContextManager[Call]:
    """Return the same with the extra ``[speed]``."""
    return ours(url, "aiohttp")


@asynccontextmanager
async def raw_aiohttp(url: str) -> AsyncIterator[Call]:
    """`aiohttp.ClientSession.get` and `json.loads`, to a dict."""
    address = f"{url}/api/v2/worker-runs/{RUN_ID}"
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer token"}) as session:

        async def call() -> object:
            async with session.get(address) as response:
                response.raise_for_status()
                return json.loads(await response.read())["data"]

        yield call


@asynccontextmanager
async def raw_httpx(url: str, **options: Any) -> AsyncIterator[Call]:
    """`httpx.AsyncClient.get` and `json.loads`, to a dict."""
    headers = {"Authorization": "Bearer token"}
    async with httpx.AsyncClient(base_url=url, headers=headers, **options) as client:

        async def call() -> object:
            response = await client.get(f"/api/v2/worker-runs/{RUN_ID}")
            response.raise_for_status()
            return json.loads(response.content)["data"]

        yield call


@asynccontextmanager
async def apify(url: str) -> AsyncIterator[Call]:
    """The Apify client's `run().get`, to its model."""
    client = apify_client.ApifyClientAsync("token", api_url=url)

    async def call() -> object:
        return await client.run("HG7ML7M8z78YcAPEB").get()

    yield call


@asynccontextmanager
async def openai_sdk(url: str) -> AsyncIterator[Call]:
    """The OpenAI client's `models.retrieve`, to its model."""
    async with openai.AsyncOpenAI(api_key="token", base_url=f"{url}/v1") as client:

        async def call() -> object:
            return await client.models.retrieve("demo")

        yield call


async def all_of_them(stack: AsyncExitStack, url: str) -> list[Call]:
    """Return the calls of ours, of another one of ours, of raw httpx, of the Apify and of the OpenAI client."""
    clients: tuple[Client, ...] = (ours, ours, raw_httpx, apify, openai_sdk)
    return [await stack.enter_async_context(open_client(url)) for open_client in clients]
