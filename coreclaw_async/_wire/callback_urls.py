"""The URLs that callbacks come to: what proves that one is right, and how text is shown without that."""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode

_NAME_BYTES, _PROOF_BYTES = 12, 24
_MIN_SECRET = 32
_PURPOSE = b"coreclaw_async callback URL\0"
_VALID_SECONDS = 30 * 86_400
_UNSIGNED = re.compile(r"[A-Za-z0-9_-]{16}\.[A-Za-z0-9_-]{32}")
# The end of a URL: 16 characters of a name, after the time when a signed one expires, and 32 characters of the proof.
_PROOF_IN_TEXT = re.compile(r"(/(?:[0-9a-f]{1,16}-)?[A-Za-z0-9_-]{16}\.)[A-Za-z0-9_-]{32,}")


class UrlSigner:
    """
    Makes proofs that every process with the same secret finds right.

    It keeps the state of the hash that the secret has been put into, and not the secret.
    """

    def __init__(self, secret: str | bytes | None) -> None:
        kind, size = type(secret).__name__, -1
        try:
            if isinstance(secret, str):
                secret = secret.encode("utf-8", "surrogatepass")
            if isinstance(secret, bytes):
                size = len(secret)
                self._state = hmac.new(secret, _PURPOSE, hashlib.sha256)
        finally:
            secret = None  # A traceback with local variables would show it.
        if size < 0:
            raise TypeError(f"secret must be a str or bytes, not {kind}")
        if size < _MIN_SECRET:
            raise ValueError(
                f"secret must be at least {_MIN_SECRET} bytes long, not {size}: "
                'python -c "import secrets; print(secrets.token_urlsafe(32))" makes one'
            )

    def new_name(self, now: float) -> str:
        """Return a name that is valid for 30 days from *now* on, in Unix seconds."""
        return f"{int(now) + _VALID_SECONDS:x}-{new_name()}"

    def proof_of(self, name: str) -> str:
        """Return what proves that this secret has made *name*."""
        state = self._state.copy()
        state.update(name.encode("utf-8", "surrogatepass"))
        return urlsafe_b64encode(state.digest()[:_PROOF_BYTES]).decode()

    def has_expired(self, name: str, now: float) -> bool:
        """Return whether *name*, which this secret has made, is no longer valid."""
        return now > int(name.partition("-")[0], 16)


def new_name() -> str:
    """Return a name that no other URL has."""
    import secrets

    return secrets.token_urlsafe(_NAME_BYTES)


def new_proof() -> str:
    """Return a proof that nobody can guess or make again."""
    import secrets

    return secrets.token_urlsafe(_PROOF_BYTES)


def is_unsigned(name: str, proof: str) -> bool:
    """Return whether a URL has the form of one that was made without a secret."""
    return _UNSIGNED.fullmatch(f"{name}.{proof}") is not None


def name_and_proof(url: str) -> tuple[str, str]:
    """Return the two parts of the last segment of a URL or path; either may be empty."""
    name, _, proof = url.rpartition("/")[2].partition(".")
    return name, proof


def without_proofs(text: str) -> str:
    """Return *text* with ``<hidden>`` in place of the proof of each URL."""
    return _PROOF_IN_TEXT.sub(r"\1<hidden>", text)
