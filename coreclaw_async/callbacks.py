"""
Callbacks of the service in a web backend: `CallbackHub`, an ASGI app, wakes waits and names the runs of starts.

Mount a hub in your app and give it to the client; ``tests/examples/callback_backend.py`` is a whole program with
FastAPI. `workers.run_once` and batches gain from it too: where the answer to a start was lost, its callback, where it
comes to the same process, names the run at once, instead of a look at the list of runs 80 s later that may not tell.
Each start then has a new unguessable URL. A callback only wakes the wait: the run is always read again, and if a
callback never comes, the regular schedule finds the end. A callback also names the run of a start whose answer was
lost (``OutcomeUnknownError.run_id``, or later ``hub.run_id_of(error.callback_url)``), and the run of a queue item
(``hub.run_id_of(queue_id)``). ``on_update=`` is a function that is told what callbacks say, which nobody has checked.

Where several processes serve one address (``uvicorn --workers 2``), give the hub of each the same ``secret=``, so
that each knows the URLs of the others. The access logs of uvicorn, hypercorn, gunicorn and granian show these URLs
without their secret part; for another log, see ``AccessLogFilter``.

A server that stops lets requests end first, and only then the lifespan: a request that waits 900 s for a run keeps
uvicorn that long. So let a request wait for seconds, and start uvicorn with ``--timeout-graceful-shutdown 3``
(seconds): what then still waits is cancelled, its run goes on and is named in the log, and whoever asks for it again
waits on. uvicorn does not wait for what a cancelled request still has to do: a start that was just sent may go
untold, and an ``on_cancel="abort"`` unsent. `workers.run_once`, as in ``tests/examples/backend.py``, finds such a run
when it is asked for again.
"""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Protocol, TypeAlias, cast
from urllib.parse import urlsplit
from weakref import WeakSet

import attrs

from coreclaw_async._access_logs import AccessLogFilter as AccessLogFilter  # noqa: PLC0414 - offered here
from coreclaw_async._access_logs import hide_in_access_logs
from coreclaw_async._concurrency.calls import call_hook
from coreclaw_async._concurrency.clock import Clock, SystemClock
from coreclaw_async._data.record import Model
from coreclaw_async._logs import facts, logger
from coreclaw_async._wire.callback_record import CallbackRecord
from coreclaw_async._wire.callback_urls import (
    UrlSigner,
    is_unsigned,
    name_and_proof,
    new_name,
    new_proof,
)
from coreclaw_async._wire.request import check_hook, check_int
from coreclaw_async.models import RunStatus

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_NO_CONTENT, _BAD_REQUEST, _NOT_FOUND, _METHOD_NOT_ALLOWED, _TOO_LARGE = 204, 400, 404, 405, 413


@attrs.frozen(kw_only=True, repr=False)
class CallbackUpdate(Model):
    """
    What a callback says about a run. Nobody has checked it: read the run before you act on it.

    Attributes:
        run_id: The run: the one that the start was answered with, else the one that the first callback named.
        status: A `RunStatus`, or the string that the callback has instead; None when it has none.
        url_name: The last segment of the URL that the start carried, up to its dot, and so no secret. Where the start's
            answer was lost in another process, this tells there which start the run is of.

    Example::

        def on_update(update: CallbackUpdate) -> None:
            print(update.run_id, update.status)


        hub = CallbackHub("https://backend.example.com/callbacks", on_update=on_update)
    """

    run_id: str
    status: RunStatus | str | None = None
    url_name: str = ""


UpdateHook: TypeAlias = Callable[[CallbackUpdate], None]
"""Takes each `CallbackUpdate`."""


class _Listener(Protocol):
    """A client that is joined to a hub."""

    def called_back(self, url: str, run_id: str | None) -> None:
        """Record a callback to *url* about the run, if that is known; called in any thread, must return soon."""
        ...


class CallbackHub:
    """
    Receives the service's callbacks for any number of clients.

    Give it to ``AsyncCoreClaw(callbacks=hub)`` and serve it, as a plain ASGI app: alone, or mounted under a prefix in
    FastAPI, Starlette and the like. A callback is not trusted: it wakes the waits for its run, which then read the run
    again. As each start has a URL of its own that nobody can guess, the callback also tells which run was started by a
    call whose answer was lost, and which run belongs to a queue item.

    It may be used from any thread and event loop. It remembers its latest URLs only; a callback to a forgotten one is
    answered with 404, and the wait for its run then ends by the poll schedule. With a *secret*, it also knows
    each URL that any hub with the same secret has made within 30 days: so several processes can serve the same
    *base_url*. A callback wakes the waits of the process that it comes to; those of others end by their schedule. So
    too, `run_id_of` tells the run of a start whose answer was lost only in the process that gets its callback; its hook
    is told run and `CallbackUpdate.url_name`, and may pass them on.

    Example::

        hub = CallbackHub("https://backend.example.com/callbacks")
        async with AsyncCoreClaw(callbacks=hub) as client:  # And: app.mount("/callbacks", hub)
            run = await client.workers.run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
    """

    def __init__(
        self,
        base_url: str,
        *,
        secret: str | bytes | None = None,
        on_update: UpdateHook | None = None,
        capacity: int = 100_000,
        max_body_bytes: int = 65_536,
        clock: Clock | None = None,
    ) -> None:
        """
        Make a hub; nothing is opened. The loggers of access logs get an `AccessLogFilter`.

        Args:
            base_url: Absolute http or https URL under which the service reaches this hub, with the prefix that it is
                mounted under.
            secret: Signs the URLs, 32 bytes or more, the same in all processes that serve *base_url*. None where one
                process does.
            on_update: Called with each `CallbackUpdate` that is news to this process, as soon as its run is known, in
                whatever thread the callback is handled or the start is answered; must return soon. Its errors are only
                logged. Other processes may be told the same again.
            capacity: URLs to remember, 1 or more.
            max_body_bytes: Largest callback that is read, 1 or more; a larger one is answered with 413.
            clock: Where time comes from; for tests.

        Raises:
            TypeError: *base_url* is no str, *secret* neither str nor bytes, or *on_update* no plain function.
            ValueError: *base_url* cannot be one, *secret* is too short, or a number is out of range.
        """
        self._entries: dict[str, CallbackRecord] = {}
        try:
            self._signer = None if secret is None else UrlSigner(secret)
        finally:
            secret = None  # A traceback with local variables would show it.
        self._base_url = _check_base_url(base_url)
        self._on_update = None if on_update is None else check_hook("on_update", on_update)
        self._capacity = check_int("capacity", capacity, lowest=1)
        self._max_body_bytes = check_int("max_body_bytes", max_body_bytes, lowest=1)
        self._clock = SystemClock() if clock is None else clock
        self._queue_items: dict[str, str] = {}
        self._listeners: WeakSet[_Listener] = WeakSet()
        self._lock = threading.Lock()
        hide_in_access_logs()

    def __repr__(self) -> str:
        if "_listeners" not in vars(self):  # A traceback with local variables shows it when `__init__` has failed.
            return "CallbackHub(...)"
        return f"CallbackHub({self._base_url!r}, urls={len(self._entries)})"

    def new_url(self) -> str:
        """
        Return a new URL to give to the service as ``callback_url``: as good as a password, for one start only.

        Example::

            hub = CallbackHub("https://backend.example.com/callbacks")
            url = hub.new_url()
            await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]}, callback_url=url)
        """
        if self._signer is None:
            name, proof = new_name(), new_proof()
        else:
            name = self._signer.new_name(self._clock.time())
            proof = self._signer.proof_of(name)
        with self._lock:
            self._keep(name, CallbackRecord(name, proof))
        return self._url(name, proof)

    def restore(self, url: str) -> bool:
        """
        Remember a URL that a hub with the same base URL has made, for example in an earlier process.

        A hub with a secret checks what is signed, and only takes URLs from before it had one as they are. URLs that
        another secret has signed are refused: after a new *secret*, callbacks to the old ones are answered with 404,
        their waits end by the poll schedule, and a start whose answer was lost is not settled by its callback. So let
        runs that were started under the old secret end before you change it, where that matters.

        Returns:
            Whether it is one of this hub's.

        Example::

            hub = CallbackHub("https://backend.example.com/callbacks")
            url = hub.new_url()  # Kept in a database, beside the order.
            hub = CallbackHub("https://backend.example.com/callbacks")  # The next process.
            assert hub.restore(url)
        """
        name, proof = name_and_proof(url)
        if not url.startswith(f"{self._base_url}/") or not name or not proof:
            return False
        if self._signer is not None and not is_unsigned(name, proof) and not _equal(proof, self._signer.proof_of(name)):
            return False
        with self._lock:
            self._keep(name, CallbackRecord(name, proof))
        return True

    def owns(self, url: str) -> bool:
        """Return whether *url* is one of this hub's that it has not forgotten."""
        with self._lock:
            return url.startswith(f"{self._base_url}/") and self._find(url) is not None

    def run_id_of(self, reference: str) -> str | None:
        """
        Return the run that belongs to a start, or None when that is not known (yet).

        Args:
            reference: The URL that the start carried, for example `OutcomeUnknownError.callback_url`; or the id of a
                queue item that a joined client was answered with.

        Example::

            hub = CallbackHub("https://backend.example.com/callbacks")
            url = hub.new_url()
            hub.bind(url, run_id=run.run_id)
            assert hub.run_id_of(url) == run.run_id
        """
        with self._lock:
            name = self._queue_items.get(reference)
            entry = self._find(reference) if name is None else self._entries.get(name)
            return None if entry is None else entry.run_id

    def bind(self, url: str, *, run_id: str | None = None, queue_id: str | None = None) -> None:
        """
        Record the answer to the start that carried *url*; clients do this.

        It outranks what callbacks say. A URL of another hub is ignored.

        Args:
            url: The ``callback_url`` of the start.
            run_id: The run that was started; None where that is not known.
            queue_id: The item of the run queue that was made; None for a start of a run.
        """
        with self._lock:
            entry = self._find(url)
            if entry is None:
                return
            name, _ = name_and_proof(url)
            self._keep(name, entry)
            if run_id is not None:
                entry.bind(run_id)
            news = _news(entry)
            if queue_id is not None:
                entry.queue_id = queue_id
                self._queue_items[queue_id] = name
        self._tell(news)

    def handle(self, path: str, body: bytes) -> int:
        """
        Take a callback that was posted to *path*, and return the HTTP status to answer with.

        Args:
            path: The path of the request; only its last segment counts, so any prefix will do.
            body: The body of the request.

        Returns:
            204, 400 for a body that is no JSON object, 404 for a path that is no URL of this hub's, 413 for a body
            that is too large.
        """
        with self._lock:
            entry = self._find(path)
        if entry is None:
            return _NOT_FOUND
        if len(body) > self._max_body_bytes:
            return _TOO_LARGE
        try:
            payload = json.loads(body)
        except (ValueError, RecursionError):
            return _BAD_REQUEST
        if not isinstance(payload, dict):
            return _BAD_REQUEST
        name, _ = name_and_proof(path)
        with self._lock:
            entry = self._keep(name, entry)
            is_new = entry.take(cast("dict[str, Any]", payload))
            listeners, news = list(self._listeners) if is_new else [], _news(entry)
        for listener in listeners:
            try:
                listener.called_back(self._url(name, entry.proof), entry.run_id)
            except Exception:  # noqa: BLE001 - it is logged
                logger.exception("a listener failed on a callback")
        self._tell(news)
        return _NO_CONTENT

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        elif scope["method"] != "POST":
            await _answer(send, _METHOD_NOT_ALLOWED, (b"allow", b"POST"))
        else:
            body = await self._read(scope, receive)
            if body is not None:
                await _answer(send, self.handle(scope["path"], body))

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the body, or enough of it to show that it is too large; None when the sender has gone."""
        length = dict(scope["headers"]).get(b"content-length", b"")
        if length.isdigit() and int(length[:20]) > self._max_body_bytes:
            return b" " * (self._max_body_bytes + 1)
        body = b""
        while len(body) <= self._max_body_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        return body

    def _tell(self, news: Sequence[CallbackUpdate]) -> None:
        # In a frame of its own: who logs frames with their variables would log the URL with the hook's error.
        if self._on_update is None:
            return
        for update in news:
            try:
                call_hook("on_update", self._on_update, update)
            except Exception:  # noqa: BLE001 - it is logged
                told = facts(run_id=update.run_id)
                logger.exception("the on_update hook failed on a callback about run %s", update.run_id, extra=told)

    def _keep(self, name: str, entry: CallbackRecord) -> CallbackRecord:
        """Remember *entry*, and return it, or the one that another thread has made for the same URL before."""
        kept = self._entries.setdefault(name, entry)
        if len(self._entries) > self._capacity:
            forgotten = self._entries.pop(next(iter(self._entries)))
            self._queue_items.pop(forgotten.queue_id or "", None)
        return kept

    def _url(self, name: str, proof: str) -> str:
        return f"{self._base_url}/{name}.{proof}"

    def _find(self, url: str) -> CallbackRecord | None:
        """Return the entry of a URL or path, or a new one, in a time that tells nothing about the proof."""
        name, proof = name_and_proof(url)
        entry = self._entries.get(name)
        if entry is not None:
            expected = entry.proof
        elif self._signer is not None:
            expected = self._signer.proof_of(name)
        else:
            expected = new_proof()
        if not _equal(proof, expected):
            return None
        if entry is None and self._signer is not None and not self._signer.has_expired(name, self._clock.time()):
            return CallbackRecord(name, expected)
        return entry


def join_hub(hub: CallbackHub, listener: _Listener) -> None:
    """Have *hub* tell *listener*, which it refers to weakly, of each callback; for clients and batches."""
    with hub._lock:  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - users must not see it
        hub._listeners.add(listener)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def leave_hub(hub: CallbackHub, listener: _Listener) -> None:
    """Have *hub* no longer tell *listener* of callbacks."""
    with hub._lock:  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - users must not see it
        hub._listeners.discard(listener)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def _news(entry: CallbackRecord) -> list[CallbackUpdate]:
    run_id = entry.run_id or ""
    return [CallbackUpdate(run_id=run_id, status=told, url_name=entry.name) for told in entry.take_untold()]


def _equal(proof: str, expected: str) -> bool:
    return hmac.compare_digest(*(text.encode("utf-8", "surrogatepass") for text in (proof, expected)))


def _check_base_url(value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"base_url must be a str, not {type(value).__name__}")
    try:
        parts = urlsplit(value.strip())
        _ = parts.port
    except ValueError:
        raise ValueError(f"base_url must be an absolute http or https URL, not {value!r}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"base_url must be an absolute http or https URL, not {value!r}")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("base_url must not hold a user name, a query or a fragment")
    return value.strip().rstrip("/")


async def _live(receive: Receive, send: Send) -> None:
    """Confirm the start and the end of a server."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


async def _answer(send: Send, status: int, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0"), *headers]})
    await send({"type": "http.response.body", "body": b""})
