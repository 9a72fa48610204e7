"""RunSpec: a run to start, and the hash that tells it from another one with the same key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import attrs

from coreclaw_async._data.record import Model
from coreclaw_async._wire.request import check_int, check_seconds, check_text, check_worker_id, worker_input

_MAX_CHARACTERS = 500
_MAX_RETRIES = 100
_MAX_PRIORITY = 1_000_000


@attrs.frozen(kw_only=True, repr=False)
class RunSpec(Model):
    """
    One run of a batch, to be started.

    Attributes:
        key: What the caller calls it: printable, 1 to 500 characters, unique in its batch.
        worker_id: The worker's id, ``owner/name`` or ``owner~name``.
        input: The worker's own input; stored in the ledger as given, and shown by no ``repr``.
        system: Settings of the platform such as ``{"proxy_region": "US"}``, or None.
        version: A concrete version such as ``v1.2.6``; None for the newest.
        retries: How many more runs may follow failed ones, 0 to 100; each is paid for.
        run_timeout: Seconds above 0 after which its run is aborted, which counts as failed; None for no limit.
        priority: Items of a worker with a higher priority are started first; -1,000,000 to 1,000,000.

    Example::

        spec = RunSpec(key="mate", worker_id="coreclaw/google-maps-scraper", input={"keywords": ["mate"]}, retries=2)
        await batch.plan([spec])
    """

    key: str
    worker_id: str
    input: Mapping[str, Any] = attrs.field(repr=False, hash=False)
    system: Mapping[str, Any] | None = attrs.field(default=None, repr=False, hash=False)
    version: str | None = None
    retries: int = 0
    run_timeout: float | None = None
    priority: int = 0


@attrs.frozen(kw_only=True)
class PlannedSpec:
    """
    A spec that was checked, as the ledger keeps it.

    Its members are columns of the ledger.

    Attributes:
        worker_id: The worker as a path takes it.
        input: The ``input`` member of its start as JSON.
        input_sha256: Hash of worker, version and input, in hex.
    """

    key: str
    worker_id: str
    version: str | None
    retries: int
    run_timeout: float | None
    priority: int
    input: str = attrs.field(repr=False)
    input_sha256: str

    @classmethod
    def of(cls, spec: RunSpec) -> PlannedSpec:
        """
        Return *spec* checked.

        Raises:
            TypeError: It is no `RunSpec`, or its input holds something that JSON has no form for.
            ValueError: A member of it is out of range.
        """
        if not isinstance(spec, RunSpec):
            raise TypeError(f"specs must be RunSpec, not {type(spec).__name__}")
        key = check_key(spec.key)
        try:
            worker_id = check_worker_id("worker_id", spec.worker_id)
            version = None if spec.version is None else check_text("version", spec.version)
            retries = check_int("retries", spec.retries, lowest=0, highest=_MAX_RETRIES)
            run_timeout = None if spec.run_timeout is None else check_seconds("run_timeout", spec.run_timeout)
            priority = check_int("priority", spec.priority, lowest=-_MAX_PRIORITY, highest=_MAX_PRIORITY)
            text = worker_input(spec.input, spec.system, None).to_json()
            same = json.dumps([worker_id, version, json.loads(text)], sort_keys=True, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"the spec with key {key!r} cannot be planned: {error}") from error
        return cls(
            key=key,
            worker_id=worker_id,
            version=version,
            retries=retries,
            run_timeout=run_timeout,
            priority=priority,
            input=text,
            input_sha256=hashlib.sha256(same.encode()).hexdigest(),
        )


def check_key(key: str) -> str:
    """Return *key* when an item can be called so."""
    if not isinstance(key, str):
        raise TypeError(f"key must be a str, not {key!r}")
    if not 1 <= len(key) <= _MAX_CHARACTERS or not key.isprintable():
        raise ValueError(f"key must be printable and have 1 to {_MAX_CHARACTERS} characters, not {key!r:.80}")
    return key
