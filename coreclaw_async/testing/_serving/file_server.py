"""The file server: downloads by signed URL, on an origin that must not get a credential."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from coreclaw_async.testing._api.answers import Answer, answer_bytes

if TYPE_CHECKING:
    from coreclaw_async.testing._api.dispatch import IncomingRequest
    from coreclaw_async.testing._state.files import StoredFile
    from coreclaw_async.testing._state.world import World

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


def answer_download(world: World, request: IncomingRequest) -> Answer:
    """Return the file, a part of it, or a refusal, as an object store does."""
    stored = world.files.get(request.path)
    if request.method != "GET":
        return _refuse(405, "MethodNotAllowed")
    if stored is None:
        return _refuse(404, "NoSuchKey")
    if "authorization" in request.headers or "api-key" in request.headers or "token" in request.query:
        return _refuse(403, "AccessDenied")
    if request.query.get("q-signature") != stored.signature:
        return _refuse(403, "SignatureDoesNotMatch")
    if world.clock.monotonic() >= stored.expires_at:
        return _refuse(403, "AccessDenied")
    return _send(stored, request.headers.get("range"))


def _send(stored: StoredFile, asked: str | None) -> Answer:
    headers = {"content-type": stored.content_type, "accept-ranges": "bytes", "etag": f'"{stored.tag}"'}
    found = None if asked is None else _RANGE.fullmatch(asked)
    if found is None:
        return Answer(headers=headers, chunks=stored.write(), length=stored.length)
    start = int(found[1])
    stop = min(int(found[2]) + 1, stored.length) if found[2] else stored.length
    if start >= stop:
        return _refuse(416, "InvalidRange", **{"content-range": f"bytes */{stored.length}"})
    headers["content-range"] = f"bytes {start}-{stop - 1}/{stored.length}"
    return Answer(status=206, headers=headers, chunks=stored.read(start, stop), length=stop - start)


def _refuse(status: int, code: str, **headers: str) -> Answer:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>\n'
    return answer_bytes(body.encode(), status=status, headers={"content-type": "application/xml", **headers})
