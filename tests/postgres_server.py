"""A Postgres server of this machine's, for as long as a test session lasts; on a free port, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from ports import reserved_port

_START_SECONDS = 120.0
_OWNER = "postgres"


def found() -> Path | None:
    """Return the folder with Postgres' programs, or None."""
    places = [
        *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True),
        *(Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)),
    ]
    return next((place for place in places if (place / "initdb").exists() and (place / "postgres").exists()), None)


def _as_owner() -> dict[str, Any]:
    """Postgres refuses to run as root."""
    return {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


@contextlib.contextmanager
def running(programs: Path) -> Generator[PostgresServer]:
    """Make and start a server."""
    folder = Path(tempfile.mkdtemp(prefix="coreclaw-postgres-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody", "nogroup")
        subprocess.run(
            [programs / "initdb", "-D", folder / "data", "-U", _OWNER, "--auth=trust", "--no-sync", "-E", "UTF8"],
            check=True,
            capture_output=True,
            cwd=folder,
            **_as_owner(),
        )
        with reserved_port() as port:
            server = PostgresServer(programs, folder, port)
            server.start()
            try:
                yield server
            finally:
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class PostgresServer:
    """One server, which can be stopped and started again."""

    def __init__(self, programs: Path, folder: Path, port: int) -> None:
        self._programs = programs
        self._folder = folder
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        return f"postgresql://{_OWNER}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",  # Tests never cut the power.
            "max_connections": "50",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            [self._programs / "postgres", "-D", self._folder / "data", *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            **_as_owner(),
        )
        give_up = time.monotonic() + _START_SECONDS
        ask: list[str | Path] = [self._programs / "psql", "-qAt", self.dsn, "-c", "SELECT 1"]
        while subprocess.run(ask, capture_output=True, check=False, timeout=_START_SECONDS).returncode != 0:
            assert self._process.poll() is None, "Postgres has not started"
            assert time.monotonic() < give_up, "Postgres takes too long"
            time.sleep(0.05)

    def run(self, sql: str) -> str:
        done = subprocess.run(
            [self._programs / "psql", "-qAt", "-v", "ON_ERROR_STOP=1", self.dsn, "-c", sql],
            capture_output=True,
            text=True,
            check=True,
            timeout=_START_SECONDS,  # What it needs may be locked for ever.
        )
        return done.stdout

    @contextlib.contextmanager
    def frozen(self, pids: str) -> Generator[None]:
        """Have the server's processes with *pids*, a line each, stand still."""
        for pid in pids.split():
            os.kill(int(pid), signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids.split():
                os.kill(int(pid), signal.SIGCONT)

    def backup(self) -> Path:
        """Return a copy of all that was written up to now: what a standby that is behind has."""
        copy = self._folder / "copy"
        subprocess.run(
            [self._programs / "pg_basebackup", "-D", copy, "-d", self.dsn, "-X", "stream", "-c", "fast", "--no-sync"],
            check=True,
            capture_output=True,
            cwd=self._folder,
            **_as_owner(),
        )
        return copy

    def replace_with(self, copy: Path) -> None:
        """Let a copy take the server's place, as a failover or the restoring of a backup does."""
        self.stop()
        shutil.rmtree(self._folder / "data")
        copy.rename(self._folder / "data")
        self.start()

    def stop(self) -> None:
        """Stop at once, as when the machine goes."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(_START_SECONDS)
            self._process = None
