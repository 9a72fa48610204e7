"""Signed, temporary download URLs on the file server's own origin."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from coreclaw_async.testing._state.fake_run import FakeRun
from coreclaw_async.testing._state.files import StoredFile
from coreclaw_async.testing._state.world import World

FILES_PREFIX = "/runs/"


def sign(world: World, run: FakeRun, name: str, content_type: str, write: Callable[[], Iterator[bytes]]) -> str:
    """Store a file of `run` and return its URL; `write` yields the content in pieces, the same ones each time."""
    switches = world.switches
    tag, signature = world.ids.file_tag(), world.ids.signature(name)
    path = f"{FILES_PREFIX}{run.run_id}/{tag}/{name}"
    expires_at = switches.clock.monotonic() + switches.export_lifetime
    world.files[path] = StoredFile(
        content_type=content_type, tag=tag, signature=signature, expires_at=expires_at, write=write
    )
    until = int(switches.clock.time() + switches.export_lifetime)
    return f"{switches.files_url}{path}?q-expires={until}&q-signature={signature}"
