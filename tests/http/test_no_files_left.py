"""A process that can open no file any more: nothing has to be loaded for its calls to go on."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")

PROGRAM = """
import anyio, httpx, json, os, resource, sys
from coreclaw_async import AsyncCoreClaw, RetryPolicy

before = resource.getrlimit(resource.RLIMIT_NOFILE)

class Service(httpx.AsyncBaseTransport):
    answers = 0

    async def handle_async_request(self, request):
        self.answers += 1
        if self.answers == 1:
            resource.setrlimit(resource.RLIMIT_NOFILE, (os.dup(0), before[1]))
            return httpx.Response(503)
        try:
            open(os.devnull)
        except OSError as error:
            print(error.strerror)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        return httpx.Response(200, json={"code": 0, "data": {"balance": "1"}})

async def main():
    client = AsyncCoreClaw("key", transport=Service(), retry=RetryPolicy(first_delay=0.001))
    print((await client.account.get()).balance)

anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_a_call_is_retried(loop: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, loop], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.stdout.splitlines(), done.stderr) == (["Too many open files", "1"], "")
