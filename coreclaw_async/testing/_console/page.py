"""The page as it is sent: one file, with headers that let nothing else run in it."""

from __future__ import annotations

import functools
import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files

from attrs import frozen

SAFE_HEADERS: Mapping[str, str] = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
"""The headers of every answer of the console."""

_INLINE = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


@frozen
class Page:
    """
    The page.

    Attributes:
        body: The HTML.
        headers: What its answer has besides `SAFE_HEADERS`.
    """

    body: bytes
    headers: Mapping[str, str]


@functools.cache
def read_page() -> Page:
    """Return the page, which may run the script and the style that stand in it, and nothing else."""
    text = files("coreclaw_async.testing._console").joinpath("console.html").read_text("utf-8")
    hashes = {kind: f"'sha256-{_digest(content)}'" for kind, content in _INLINE.findall(text)}
    policy = (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    headers = {"content-type": "text/html; charset=utf-8", "content-security-policy": policy}
    return Page(text.encode(), headers)


def _digest(content: str) -> str:
    return b64encode(sha256(content.encode()).digest()).decode()
