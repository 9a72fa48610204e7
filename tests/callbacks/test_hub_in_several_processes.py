"""One backend in two processes of uvicorn: a callback comes to the one that has not made its URL."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from ports import reserved_port

pytestmark = pytest.mark.endurance(6)

SECRET = "A-secret-of-the-backend-which-nobody-knows"
RUN = "01KKDXV2G26BT7NH4ZQR2R4NPZ"
BACKEND = """
import os
import time
from pathlib import Path

from coreclaw_async import CallbackHub

FOLDER = Path(__file__).parent


def note(update):
    (FOLDER / "told").write_text(f"{os.getpid()} {update.run_id} {update.status}")


hub = CallbackHub(os.environ["PUBLIC_URL"], secret=os.environ["HUB_SECRET"], on_update=note)


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        (FOLDER / f"{os.getpid()}.started").touch()
    if scope.get("path") != "/new":
        return await hub(scope, receive, send)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"transfer-encoding", b"chunked")]})
    line = f"{os.getpid()} {hub.new_url()}\\n"
    await send({"type": "http.response.body", "body": line.encode(), "more_body": True})
    give_up = time.monotonic() + 60
    while not (FOLDER / "told").exists() and time.monotonic() < give_up:
        time.sleep(0.01)  # The loop stands still, so the other process takes the next connection.
    await send({"type": "http.response.body", "body": b""})
"""


def test_a_callback_may_come_to_any_process_and_stays_out_of_the_access_log(tmp_path: Path) -> None:
    (tmp_path / "backend.py").write_text(BACKEND, encoding="utf-8")
    with reserved_port() as port, (tmp_path / "log").open("wb") as log:
        base = f"http://127.0.0.1:{port}"
        server = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "backend:app", "--port", str(port), "--workers", "2"],
            cwd=tmp_path,
            env={**os.environ, "PUBLIC_URL": f"{base}/hooks", "HUB_SECRET": SECRET},
            stdout=log,
            stderr=log,
        )
        try:
            await_two(tmp_path)
            with (
                httpx.Client(base_url=base, trust_env=False, timeout=60) as client,
                client.stream("GET", "/new") as new,
            ):
                maker, url = next(new.iter_lines()).split()
                forged = httpx.post(url[:-3] + "AAA", json={"run_slug": RUN}, trust_env=False, timeout=30)
                called = httpx.post(url, json={"run_slug": RUN, "run_status": "running"}, trust_env=False, timeout=30)
        finally:
            server.terminate()
            server.wait(30)
    taker, *told = (tmp_path / "told").read_text("utf-8").split()
    logged = (tmp_path / "log").read_text("utf-8")

    assert (forged.status_code, called.status_code) == (404, 204)
    assert told == [RUN, "running"]
    assert taker != maker
    name, _, proof = url.rpartition("/")[2].partition(".")
    assert f'"POST /hooks/{name}.<hidden> HTTP/1.1" 204' in logged
    assert proof[:8] not in logged
    assert SECRET not in logged


def await_two(folder: Path) -> None:
    give_up = time.monotonic() + 120
    while len(list(folder.glob("*.started"))) < 2:
        assert time.monotonic() < give_up, (folder / "log").read_text("utf-8")
        time.sleep(0.02)
