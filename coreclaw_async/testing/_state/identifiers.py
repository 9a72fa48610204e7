"""Identifiers as the service makes them: ULIDs that carry their time, request ids, big database ids."""

from __future__ import annotations

import hashlib
from collections import Counter

from attrs import define, field

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_BIG_ID = 1_786_001_196_232_214_890  # Above 2**53, as a database id seen in production.


@define
class IdentifierMaker:
    """
    Makes identifiers that are unique within one service and the same for the same seed.

    Attributes:
        seed: What the random-looking parts depend on.
    """

    seed: int
    _made: Counter[str] = field(factory=Counter[str])

    def ulid(self, unix: float) -> str:
        """Return a ULID whose first ten characters hold `unix`, in milliseconds."""
        digest = hashlib.sha256(f"{self.seed}:{self._next('ulid')}".encode()).digest()
        number = (int(unix * 1000) << 80) | int.from_bytes(digest[:10])
        return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))

    def request_id(self) -> str:
        """Return the id of one answer."""
        return f"req-{self.seed}-{self._next('request'):08d}"

    def database_id(self) -> int:
        """Return an internal id, above 2**53."""
        return _BIG_ID + 100 * self._next("id")

    def queue_ref(self) -> str:
        """Return the id of a queue item: digits in a string."""
        return str(100_000 + self._next("queue"))

    def file_tag(self) -> str:
        """Return the version of a stored file."""
        return f"v{self._next('tag')}"

    def signature(self, path: str) -> str:
        """Return what makes a download URL for `path` unguessable."""
        return hashlib.sha256(f"{self.seed}:{self._next('file')}:{path}".encode()).hexdigest()[:40]

    def _next(self, kind: str) -> int:
        self._made[kind] += 1
        return self._made[kind]
