"""Signed, temporary download URLs on the file server's own origin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from coreclaw_async.testing._api.answers import RefusedError
from coreclaw_async.testing._api.export_formats import CONTENT_TYPES, write_export
from coreclaw_async.testing._api.logs import log_lines, write_log
from coreclaw_async.testing._api.result_pages import show_headers
from coreclaw_async.testing._state.files import StoredFile

if TYPE_CHECKING:
    from coreclaw_async.testing._api.calls import Call
    from coreclaw_async.testing._state.fake_run import FakeRun
    from coreclaw_async.testing._state.world import World

FILES_PREFIX = "/runs/"


def export_results(call: Call) -> Any:
    """
    Answer the three export operations: the rows as they are now, in a file of their own.

    Raises:
        RefusedError: 400 with 11000 for an unknown format or column.
    """
    run = call.run()
    word = call.query.get("format", "csv").lower()
    if word not in CONTENT_TYPES:
        raise RefusedError(400, 11000, "Unsupported export format")
    headers = _chosen_headers(show_headers(run.row_list), call.query.get("filter_keys"))
    write = partial(write_export, word, headers, run.row_list.copy(), run.visible_rows)
    return {"download_url": _sign(call.world, run, f"results.{word}", CONTENT_TYPES[word], write)}


def log_url(world: World, run: FakeRun) -> str:
    """Return a URL of the whole log of `run` as it is now."""
    text = write_log(log_lines(run)).encode()
    return _sign(world, run, "log.txt", "text/plain; charset=utf-8", lambda: iter((text,)))


def _chosen_headers(headers: list[dict[str, str]], filter_keys: str | None) -> list[dict[str, str]]:
    if not filter_keys:
        return headers
    by_key = {header["key"]: header for header in headers}
    asked = filter_keys.split(",")
    unknown = [key for key in asked if key not in by_key]
    if unknown:
        raise RefusedError(400, 11000, f"filter_keys has unknown keys: {', '.join(unknown)}")
    return [by_key[key] for key in asked]


def _sign(world: World, run: FakeRun, name: str, content_type: str, write: Callable[[], Iterator[bytes]]) -> str:
    switches = world.switches
    tag, signature = world.ids.file_tag(), world.ids.signature(name)
    path = f"{FILES_PREFIX}{run.run_id}/{tag}/{name}"
    expires_at = switches.clock.monotonic() + switches.export_lifetime
    world.files[path] = StoredFile(
        content_type=content_type, tag=tag, signature=signature, expires_at=expires_at, write=write
    )
    until = int(switches.clock.time() + switches.export_lifetime)
    return f"{switches.files_url}{path}?q-expires={until}&q-signature={signature}"
