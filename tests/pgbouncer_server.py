"""A pgbouncer before a Postgres server of this machine's, on a free port."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

from ports import reserved_port

_START_SECONDS = 120.0


def found() -> Path | None:
    """Return the program, or None."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return None if program is None else Path(program)


@contextlib.contextmanager
def running(program: Path, postgres_port: int, pool_mode: str, pool_size: int) -> Generator[str]:
    """Start a pooler, and give its address."""
    folder = Path(tempfile.mkdtemp(prefix="coreclaw-pgbouncer-"))
    with reserved_port() as port:
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": pool_mode,
            "default_pool_size": pool_size,
            "ignore_startup_parameters": "extra_float_digits",
        }
        lines = ["[databases]", f"postgres = host=127.0.0.1 port={postgres_port} user=postgres", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        (folder / "pgbouncer.ini").write_text("\n".join(lines))
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
        process = subprocess.Popen(
            [program, "-q", folder / "pgbouncer.ini"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            user="nobody" if os.geteuid() == 0 else None,
        )
        try:
            give_up = time.monotonic() + _START_SECONDS
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                assert process.poll() is None, "pgbouncer has not started"
                assert time.monotonic() < give_up, "pgbouncer takes too long"
                time.sleep(0.05)
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            process.kill()
            process.wait()
            shutil.rmtree(folder, ignore_errors=True)
