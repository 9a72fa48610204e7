"""A fake service on real sockets: uvicorn in a thread."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import anyio
from attrs import frozen

_STARTUP_LIMIT = 10.0
_LOOK_EVERY = 0.02
_GRACE = 1
"""Seconds that running answers get to finish when the server stops."""

_EVERY_ADDRESS = ("", "0.0.0.0")  # noqa: S104 - nothing listens on it unless it is asked for
"""Names for all addresses of this machine, under which no client finds it."""

_SETTINGS: Mapping[str, Any] = {
    "http": "h11",
    "loop": "asyncio",
    "ws": "none",
    "lifespan": "on",
    "proxy_headers": False,
    "log_config": None,
    "log_level": "critical",
    "access_log": False,
    "date_header": False,  # Answers carry the date of the service's own clock.
    "timeout_graceful_shutdown": _GRACE,
}


@frozen
class RunningServer:
    """
    Where a served fake service listens.

    Attributes:
        url: The origin of the API.
        files_url: The origin of downloads, another port.
    """

    url: str
    files_url: str


@contextmanager
def run_server(make_app: Callable[[Mapping[int, str]], Any], *, host: str, port: int) -> Generator[RunningServer]:
    """
    Serve an app on two ports until the block ends.

    Args:
        make_app: Gets the role of each port (`api` or `files`) and returns the ASGI app.
        host: Name or IPv4 address to listen on.
        port: Port of the API; 0 for any.

    Raises:
        ImportError: uvicorn is not installed, or broken.
        OSError: The port is taken.
        RuntimeError: The server did not start.
    """
    make_server, make_config = _uvicorn()
    with ExitStack() as stack:
        api, files = (stack.enter_context(closing(_listen(host, number))) for number in (port, 0))
        ports = {api.getsockname()[1]: "api", files.getsockname()[1]: "files"}
        server = _server_class(make_server)(make_config(make_app(ports), **_SETTINGS))
        thread = threading.Thread(target=server.run, args=([api, files],), name="fake-coreclaw", daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(setattr, server, "should_exit", True)  # noqa: FBT003 - the value, not a flag
        _await_start(server, thread)
        name = "127.0.0.1" if host in _EVERY_ADDRESS else host
        yield RunningServer(*(f"http://{name}:{number}" for number in ports))


def _uvicorn() -> tuple[Any, Any]:
    """Return the classes of uvicorn for a server and its settings."""
    try:
        import uvicorn

        return uvicorn.Server, uvicorn.Config
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "uvicorn":
            raise ModuleNotFoundError(
                'serving needs uvicorn, which is not installed: pip install "coreclaw-async[emulator]"', name="uvicorn"
            ) from None
        raise ImportError(
            f"serving needs uvicorn, which is installed and cannot be imported ({type(error).__name__}: {error}); "
            'to install it anew: pip install "coreclaw-async[emulator]" --force-reinstall',
            name="uvicorn",
        ) from error


def _server_class(base: type[Any]) -> type[Any]:
    """Return a server that stops at once: uvicorn's own looks ten times a second, and waits as long before it ends."""

    class Server(base):  # type: ignore[misc] # uvicorn is imported when it is needed.
        async def main_loop(self) -> None:
            number = 0
            while not await self.on_tick(number):
                number = 1  # At 0 the common headers are made, which stay the same.
                await anyio.sleep(_LOOK_EVERY)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - closed by `run_server`
            for server in self.servers:
                server.close()
            self.config.app.stop()
            for connection in list(self.server_state.connections):
                connection.shutdown()
            with anyio.move_on_after(_GRACE):
                while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 - uvicorn has no event
                    await anyio.sleep(_LOOK_EVERY)
            await self.lifespan.shutdown()  # What still runs is cancelled with the loop.

    return Server


def _listen(host: str, port: int) -> socket.socket:
    # With an explicit protocol asyncio turns Nagle's algorithm off; otherwise an answer takes 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    return listening


def _await_start(server: Any, thread: threading.Thread) -> None:
    give_up = time.monotonic() + _STARTUP_LIMIT
    while not server.started:
        if not thread.is_alive() or time.monotonic() > give_up:
            raise RuntimeError("the server did not start")
        time.sleep(0.005)
