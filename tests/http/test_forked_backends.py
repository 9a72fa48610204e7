"""A forked child has connections of its own, whatever it does with those of its parent."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from raw_server import answering, envelope, serve_sockets

pytestmark = [
    pytest.mark.endurance,
    pytest.mark.skipif(sys.platform == "win32", reason="cannot fork"),
]

BEGINNING = """
import asyncio, gc, os, sys, warnings
from coreclaw_async import AsyncCoreClaw
client = AsyncCoreClaw("key", base_url=sys.argv[1], backend=sys.argv[2])
def wait_for(child):
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, status
"""
PROGRAMS = {
    "a new loop in the child": """
        loop = asyncio.new_event_loop()
        loop.run_until_complete(client.account.get())
        child = os.fork()
        if not child:
            async def main():
                await client.account.get()
                await client.aclose()
            asyncio.run(main())
            del client
            gc.collect()
            sys.exit()
        wait_for(child)
        loop.run_until_complete(client.account.get())
        loop.run_until_complete(client.aclose())
        loop.close()
    """,
    "within a loop": """
        async def main():
            global client
            await client.account.get()
            child = os.fork()
            if not child:
                client = None
                gc.collect()
                os._exit(0)
            wait_for(child)
            await client.account.get()
            await client.aclose()
        asyncio.run(main())
    """,
    "while a call is under way": """
        async def main():
            await asyncio.gather(*(client.account.get() for _ in range(3)))
            calls = asyncio.gather(*(client.account.get() for _ in range(3)))
            await asyncio.sleep(0)
            child = os.fork()
            if not child:
                os.closerange(0, 3)
                os._exit(0)
            wait_for(child)
            await calls
            await client.aclose()
        asyncio.run(main())
    """,
}


IN_ONE_LOOP = {
    "reads": """
        for _ in range(3):
            loop.run_until_complete(client.account.get())
    """,
    "a close": """
        if not child:
            loop.run_until_complete(client.aclose())
            loop.run_until_complete(loop.shutdown_asyncgens())
    """,
    "the end of idle connections": """
        if not child:
            loop.run_until_complete(client._context.transport.connections.close_idle())
    """,
}


def run(program: str, url: str, backend: str) -> None:
    """Run a program, which must succeed and have nothing to say on standard error."""
    done = subprocess.run(
        [sys.executable, "-c", BEGINNING + program, url, backend],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("backend", ["aiohttp", "httpx"])
@pytest.mark.parametrize("step", IN_ONE_LOOP.values(), ids=IN_ONE_LOOP.keys())
def test_children_that_go_on_in_the_event_loop_of_their_parent_share_no_connection_with_it(
    step: str, backend: str
) -> None:
    program = """
        loop = asyncio.new_event_loop()
        loop.run_until_complete(asyncio.wait([loop.create_task(client.account.get()) for _ in range(3)]))
        children = []
        for number in range(3):
            child = os.fork()
            if not child:
                client = client.with_options(headers={"Who": f"child {number}"})
                break
            children.append(child)
    """
    end = """
        if child:
            for child in children:
                wait_for(child)
            loop.run_until_complete(asyncio.wait([loop.create_task(client.account.get()) for _ in range(3)]))
            loop.run_until_complete(client.aclose())
        os._exit(0)
    """
    with serve_sockets(answering(lambda request, server: envelope({"balance": "1"}))) as server:
        run("".join(map(textwrap.dedent, (program, step, end))), server.url, backend)

    users: dict[int, set[bytes]] = {}
    for request in server.requests:
        who = next((line for line in request.head.split(b"\r\n") if line.startswith(b"Who:")), b"parent")
        users.setdefault(request.connection, set()).add(who)
    assert all(len(each) == 1 for each in users.values()), "a connection is used by one process only"
    assert sum(each == {b"parent"} for each in users.values()) == 3, "and goes on in the parent"
    if step == IN_ONE_LOOP["reads"]:
        assert len(server.requests) == 3 + 4 * 3 + 3


@pytest.mark.parametrize("backend", ["aiohttp", "httpx"])
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_parent_and_child_share_no_connection_and_disturb_each_other_in_nothing(program: str, backend: str) -> None:
    with serve_sockets(answering(lambda request, server: envelope({"balance": "1"}))) as server:
        done = subprocess.run(
            [sys.executable, "-c", BEGINNING + textwrap.dedent(program), server.url, backend],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert done.returncode == 0, done.stderr
    assert "Unclosed" not in done.stderr
    assert "Traceback" not in done.stderr
    connections = [request.connection for request in server.requests]
    if program == PROGRAMS["a new loop in the child"]:
        assert connections == [1, 2, 1]
    elif program == PROGRAMS["within a loop"]:
        assert connections == [1, 1]
    else:
        assert len(connections) == 6
