"""
Every error of the package: one tree, plain data, picklable.

::

    CoreClawError
    ├── ConfigurationError          also a ValueError: key, base URL, a missing extra
    ├── RequestNotSentError         it never left this machine whole: nothing was done
    │   └── SendTimeoutError        also a TimeoutError: the deadline came first
    ├── NoReplyError                it left, and no whole answer came
    │   ├── RequestTimeoutError     also a TimeoutError: the deadline came first
    │   └── OutcomeUnknownError     it may have taken effect and must not be retried blindly
    ├── InvalidResponseError        an answer that is not the service's
    │   └── ResponseTooLargeError   it is larger than the client reads
    ├── ApiError                    the service said no
    │   ├── InvalidArgumentError    11000
    │   ├── AuthenticationError     12001, 12002
    │   ├── NotFoundError           11004, 50001, 60001, 70001
    │   ├── RateLimitedError        13000, HTTP 429
    │   ├── InsufficientBalanceError  30001
    │   ├── ConcurrencyLimitError   30003
    │   ├── WorkerUnavailableError  50003
    │   ├── RunOperationError       50002, 70002
    │   ├── NotImplementedByServiceError  16000
    │   └── ServiceError            10000, 14000, HTTP 5xx
    ├── PaginationError             the pages do not add up to one list
    │   └── RunNotFinishedError     the run goes on, so its rows may not be all
    ├── WaitTimeoutError            also a TimeoutError: the run goes on
    ├── RunFailedError              the run ended badly
    ├── RunAbortedError             the run was aborted, or is being aborted
    ├── InputRejectedError          an input that is certain to fail, stopped before it costs anything
    ├── DownloadError               a file could not be fetched whole
    ├── ColumnConflictError         the values of a column have no common type
    ├── LedgerError                 the ledger of a batch cannot be used, or no longer
    ├── BatchIncompleteError        a batch can do nothing more, and some of its items have not ended
    │   └── BatchStoppedError       it starts no more runs: the balance or its budget is used up
    ├── BatchAbortError             some runs of a batch that was cancelled could not be aborted
    └── BatchConflictError          also a ValueError: a key was planned with another input

The caller's own mistakes are `ValueError` and `TypeError`, raised before anything is sent.

In IPython and in pytest, tracebacks of these errors leave out the frames of this package.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from coreclaw_async._tracebacks import rendered_by_ipython

if TYPE_CHECKING:
    from decimal import Decimal

    from coreclaw_async._data.plain import Form
    from coreclaw_async.models import Run
else:  # What a signature shows when its annotations are evaluated. It loads with the first model.
    Decimal = Any


def printable(text: str) -> str:
    """Return *text* without line breaks, control characters and lone surrogates, so that it can be logged."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _names(message: str, run_id: str | None) -> bool:
    return run_id is not None and re.search(rf"(?<![\w-]){re.escape(run_id)}(?![\w-])", message) is not None


def _rebuild(kind: type[CoreClawError], state: dict[str, Any]) -> CoreClawError:
    error = kind.__new__(kind, state["message"])
    error.args = (state["message"],)  # A TimeoutError is an OSError, which would take them in __init__ only.
    error.__dict__.update(state)
    return error


class CoreClawError(Exception):
    """
    The root of all errors of this package.

    Attributes:
        message: What happened, in one sentence; also ``str(error)``.
        status_code: HTTP status of the answer, or None when there was none.
        code: Application code of the answer (api/error-codes), or None when there was none.
        request_id: The service's name for the request, for its support; or None.
        details: The service's own diagnostics, which may hold internals of a worker. Not part of the message.
        retry_after: Seconds the service asked to wait, or None.
        run_id: The run this error is about, where it is known.
        candidates: Ids of what the request may have made: runs for a start, tasks or queue items for the calls that
            make those. They include what a look had found before it failed or its time was up. Empty: a look saw
            everything and found none, which is no proof. None: nobody can tell, because no look was made, or it found
            nothing and did not see everything.
        may_have_taken_effect: Whether the service may have done what was asked. If it is true, look at the runs,
            tasks or queue items before you call again; a second start is paid for too.

    Example::

        try:
            run = await client.workers.run("coreclaw/google-maps-scraper", {"keywords": ["tea"]})
        except CoreClawError as error:
            print(error.message, error.run_id, error.may_have_taken_effect)
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        code: int | None = None,
        request_id: str | None = None,
        details: Any = None,
        retry_after: float | None = None,
        run_id: str | None = None,
        candidates: Sequence[str] | None = None,
        may_have_taken_effect: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.code = code
        self.request_id = request_id
        self.details = details
        self.retry_after = retry_after
        self.run_id = run_id
        self.candidates = None if candidates is None else tuple(candidates)
        self.may_have_taken_effect = may_have_taken_effect

    def __str__(self) -> str:
        if "may_have_taken_effect" not in vars(self):  # A program prints it while it is being made.
            return super().__str__()
        facts = [
            f"{name} {printable(str(value))}"
            for name, value in (
                ("HTTP", self.status_code),
                ("code", self.code),
                ("request_id", self.request_id),
                ("run_id", None if _names(self.message, self.run_id) else self.run_id),
            )
            if value is not None
        ]
        if self.candidates:
            facts.append(f"candidates {printable(', '.join(self.candidates))}")
        return f"{self.message} ({'; '.join(facts)})" if facts else self.message

    def to_dict(self, *, json: bool = False) -> dict[str, Any]:
        """
        Return all members as a new dictionary, with the name of the class as ``type``; models in it as dictionaries.

        A ``callback_url``, which is as good as a password, is left out.

        Args:
            json: Whether all values are to be of JSON, see `coreclaw_async.Run.to_dict`; what has no form in JSON
                becomes its ``str``.

        Raises:
            ValueError: ``details`` or ``items`` contain themselves, which nothing that the service sends does.

        Example::

            try:
                await client.runs.get("01JEXAMPLE0000000000000000")
            except CoreClawError as error:
                print(error.to_dict(json=True))
        """
        from coreclaw_async._data.plain import PYTHON, UTF8_JSON_OR_TEXT  # Models load it, and errors seldom need it.

        return self._as_plain(UTF8_JSON_OR_TEXT if json else PYTHON)

    def _as_plain(self, form: Form) -> dict[str, Any]:
        from coreclaw_async._data.plain import as_plain

        members = {name: value for name, value in vars(self).items() if name[0] != "_" and name != "callback_url"}
        plain: dict[str, Any] = as_plain({"type": type(self).__name__, **members}, form)
        return plain

    def to_json(self) -> str:
        """
        Return all members as one line of JSON, as in ``to_dict(json=True)``; half of a surrogate pair is escaped.

        Raises:
            ValueError: As `to_dict`, or a member is nested too deeply for Python's ``json``, or is a whole number of
                more digits than Python writes.

        Example::

            try:
                await client.runs.get("01JEXAMPLE0000000000000000")
            except CoreClawError as error:
                print(error.to_json())
        """
        from coreclaw_async._data.plain import JSON_OR_TEXT, to_text

        return to_text(self._as_plain(JSON_OR_TEXT))

    def _render_traceback_(self) -> list[str]:
        """Return the traceback for IPython, which asks for it, without the frames of this package."""
        return rendered_by_ipython(self)

    def __reduce__(self) -> tuple[Callable[..., CoreClawError], tuple[Any, ...]]:
        return _rebuild, (type(self), self.__dict__.copy())


class ConfigurationError(CoreClawError, ValueError):
    """
    The client cannot work as it was set up: no key, a base URL without scheme, a missing extra.

    Example::

        try:
            CoreClaw("a-key", base_url="openapi.coreclaw.com")
        except ConfigurationError as error:
            print(error)
    """


class RequestNotSentError(CoreClawError):
    """
    The request did not leave this machine, or not whole (name look-up, connection, TLS): nothing was done.

    Example::

        try:
            await client.account.get()
        except RequestNotSentError as error:
            print("nothing was done:", error.message)
    """


class SendTimeoutError(RequestNotSentError, TimeoutError):
    """
    The deadline of the call passed before the request had left this machine whole: nothing was done.

    Example::

        try:
            await client.with_options(timeout=0.5).account.get()
        except TimeoutError as error:
            print("nothing was done" if isinstance(error, SendTimeoutError) else "nobody knows", error)
    """


class NoReplyError(CoreClawError):
    """
    The request left and no whole answer came back.

    Example::

        try:
            await client.account.get()
        except NoReplyError as error:
            print(error.may_have_taken_effect, error.message)
    """


class RequestTimeoutError(NoReplyError, TimeoutError):
    """
    The deadline of the call passed before a whole answer came.

    Example::

        try:
            await client.with_options(timeout=0.5).account.get()
        except RequestTimeoutError as error:
            print("no answer in half a second:", error.message)
    """


class OutcomeUnknownError(NoReplyError):
    """
    The request may have taken effect, and sending it again could pay a second time.

    Raised instead of a second attempt for every call that starts a run, queues one or creates a task, when its answer
    was lost, late, broken or a server failure, or the call was cancelled after it had left. ``candidates`` holds the
    ids of what it may have made (`runs.find_started`): a hint to check, never a proof.
    ``__cause__`` is what was seen.

    Attributes:
        callback_url: The URL of the client's `coreclaw_async.CallbackHub` that the request carried, or None. If its
            callback came in time, ``run_id`` is the exact run; otherwise the hub's ``run_id_of`` tells it later. It is
            as good as a password, so the message does not show it.

    Example::

        try:
            await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["tea"]})
        except OutcomeUnknownError as error:
            for run_id in error.candidates or ():
                print("perhaps", run_id)
    """

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.may_have_taken_effect = True
        self.callback_url: str | None = None


class InvalidResponseError(CoreClawError):
    """
    The answer is not what the service promises: no JSON, no envelope, no data where there must be some.

    A read that is answered like this is retried, for a gateway may have broken this one answer.

    Example::

        try:
            await client.account.get()
        except InvalidResponseError as error:
            print(error.status_code, error.message)
    """


class ResponseTooLargeError(InvalidResponseError):
    """
    The answer holds more bytes, unpacked, than the client's ``max_response_bytes``; the request is not retried.

    Example::

        try:
            await client.with_options(max_response_bytes=1_000).runs.list_results_page(run, limit=100)
        except ResponseTooLargeError as error:
            print(error.message)
    """


class ApiError(CoreClawError):
    """
    The service refused or failed; ``code`` first, ``status_code`` second decide which subclass.

    Example::

        try:
            await client.runs.get("01JEXAMPLE0000000000000000")
        except ApiError as error:
            print(error.code, error.status_code, error.request_id)
    """


class InvalidArgumentError(ApiError):
    """
    A field, range or shape was refused: code 11000.

    Example::

        try:
            await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": "coffee"})
        except InvalidArgumentError as error:
            print(error.message, error.details)
    """


class AuthenticationError(ApiError):
    """
    The key is missing, unknown or not allowed here: codes 12001 and 12002, HTTP 401 and 403.

    Example::

        try:
            await client.with_options(api_key="another-key").account.get()
        except AuthenticationError as error:
            print(error.code)
    """


class NotFoundError(ApiError):
    """
    There is no such thing: codes 11004, 50001 (worker), 60001 (task), 70001 (run), HTTP 404.

    Example::

        try:
            await client.runs.get("01JEXAMPLE0000000000000000")
        except NotFoundError as error:
            print(error.run_id, error.code)
    """


class RateLimitedError(ApiError):
    """
    Refused for its rate before any work was done: code 13000, HTTP 429.

    Example::

        try:
            await client.with_options(retry=RetryPolicy(max_attempts=1)).account.get()
        except RateLimitedError as error:
            print(error.retry_after)
    """


class InsufficientBalanceError(ApiError):
    """
    The balance does not cover the run, which was not started: code 30001.

    Example::

        try:
            await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
        except InsufficientBalanceError:
            print("certainly not started")
    """


class ConcurrencyLimitError(ApiError):
    """
    The plan's number of running runs is reached: no run, no charge; wait for a slot: code 30003.

    Example::

        try:
            await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
        except ConcurrencyLimitError:  # Or workers.run(..., wait_for_slot=True).
            print("certainly not started")
    """


class WorkerUnavailableError(ApiError):
    """
    This version of the worker cannot be started; leave ``version`` out: code 50003.

    Example::

        try:
            await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["tea"]}, version="v0.0.1")
        except WorkerUnavailableError as error:
            print(error.message)
    """


class RunOperationError(ApiError):
    """
    The service could not do this to the run: codes 50002 and 70002.

    After a start, ``may_have_taken_effect`` is true: a run may exist all the same (api/error-codes does not say), so
    look at ``candidates`` first.

    Example::

        try:
            await client.runs.abort(run)
        except RunOperationError as error:
            print("has ended before:", error.run_id)
    """


class NotImplementedByServiceError(ApiError):
    """
    The service does not offer this: code 16000.

    Example::

        try:
            await client.runs.abort(run)
        except NotImplementedByServiceError as error:
            print(error.message)
    """


class ServiceError(ApiError):
    """
    The service failed: codes 10000 and 14000, any HTTP 5xx.

    Example::

        try:
            await client.account.get()
        except ServiceError as error:
            print(error.status_code, error.code)
    """


class PaginationError(CoreClawError):
    """
    The pages that came do not add up to one list, and a list with gaps is never returned as a whole one.

    The iterator that raised it keeps its position: iterate again to look for what is missing.

    Attributes:
        collected: Items handed out before the error, by this call and by earlier ones.
        expected: Items the service said there are, or None.
        items: The items that the failed call had read and could not return: for ``collect()`` all that it had
            collected, which the next call on the same iterator returns again. Empty when items are returned one by one
            or by page, as the caller has them already.

    Example::

        try:
            rows = await client.runs.iterate_results(run).collect()
        except PaginationError as error:
            print(error.collected, "of", error.expected, len(error.items))
    """

    def __init__(
        self,
        message: str,
        *,
        collected: int = 0,
        expected: int | None = None,
        run_id: str | None = None,
        items: Sequence[Any] = (),
    ) -> None:
        super().__init__(message, run_id=run_id)
        self.collected = collected
        self.expected = expected
        self.items = tuple(items)


class RunNotFinishedError(PaginationError):
    """
    The run has not ended, so its rows so far may not be all of them.

    Attributes:
        run: The run as it was seen, or None.

    Example::

        started = await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
        try:
            rows = await client.runs.iterate_results(started).collect()
        except RunNotFinishedError:
            rows = await client.runs.iterate_results(started, partial=True).collect()
    """

    def __init__(self, message: str, *, run_id: str, run: Run | None = None) -> None:
        super().__init__(message, run_id=run_id)
        self.run = run


class _RunError(CoreClawError):
    """An error about one run that holds its last known state."""

    def __init__(self, message: str, *, run_id: str | None, run: Run | None = None) -> None:
        super().__init__(message, run_id=run_id)
        self.run = run


class WaitTimeoutError(_RunError, TimeoutError):
    """
    The wait ended before the run did; the run goes on, and so does its cost.

    The message names the last status. If looks failed, it says why and for how long, and ``__cause__`` is the error of
    the last one.

    Attributes:
        run: The run as it was last seen, or None when no look succeeded.
        pending: Ids of the runs that had not ended; ``run_id`` is the first of them. A `LastRun` whose id could not be
            read is not among them, and ``run_id`` is None when there are no others.
        not_aborted: Ids of those runs that ``on_cancel="abort"`` could not abort.

    Example::

        try:
            run = await client.workers.run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]}, timeout=1)
        except WaitTimeoutError as error:
            print("goes on:", error.pending)
    """

    def __init__(
        self,
        message: str,
        *,
        run_id: str | None,
        run: Run | None = None,
        pending: Sequence[str] = (),
        not_aborted: Sequence[str] = (),
    ) -> None:
        super().__init__(message, run_id=run_id, run=run)
        self.pending = tuple(pending) or (() if run_id is None else (run_id,))
        self.not_aborted = tuple(not_aborted)


class RunFailedError(_RunError):
    """
    The run ended without success.

    Attributes:
        run: The run as it ended.
        log: The last error lines of its log, or its last lines when it has none, oldest first; empty when the log could
            not be read.

    Example::

        try:
            run = await client.workers.run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
        except RunFailedError as error:
            print(error.run_id, error.log)
    """

    def __init__(self, message: str, *, run_id: str, run: Run | None = None, log: Sequence[str] = ()) -> None:
        super().__init__(message, run_id=run_id, run=run)
        self.log = tuple(log)


class RunAbortedError(_RunError):
    """
    The run was aborted.

    Attributes:
        run: The run as it was last seen.
        confirmed: False when the run was still ``aborting`` at the end of the grace time: the service may never report
            more (api/run-lifecycle names no later status).

    Example::

        started = await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
        await client.runs.abort(started)
        try:
            await client.runs.wait(started)
        except RunAbortedError as error:
            print(error.run_id, error.confirmed)
    """

    def __init__(self, message: str, *, run_id: str, run: Run | None = None, confirmed: bool = True) -> None:
        super().__init__(message, run_id=run_id, run=run)
        self.confirmed = confirmed


class InputRejectedError(CoreClawError):
    """
    The input is certain to fail or to be wasted, so nothing was sent: for programs that check inputs first.

    No call of this package raises it: `workers.check_input` returns what it finds. What the service itself refuses is
    an `InvalidArgumentError`, which may be about the input or about any other field: its code does not tell.

    Example::

        checked = await client.workers.check_input("coreclaw/google-maps-scraper", {"keywords": []})
        try:
            if not checked.ok:
                raise InputRejectedError(f"{checked.errors[0].path}: {checked.errors[0].message}")
        except InputRejectedError as error:
            print(error.message)
    """


DownloadReason: TypeAlias = Literal[
    "expired",
    "incomplete",
    "insecure",
    "not-a-url",
    "redirected",
    "refused",
    "rows-missing",
    "stalled",
    "unreachable",
    "wrong-content",
]


class DownloadError(CoreClawError):
    """
    A file could not be fetched whole from the storage host; no partial file is left under its final name.

    ``__cause__`` is how the last attempt failed. Neither it nor the message holds the query of a signed URL.

    Attributes:
        reason: ``expired``: the host accepted none of the signed URLs (HTTP 403, 410). ``refused``: it answered with
            another status that is not 200 or 206. ``unreachable``: no connection to it. ``stalled``: it was silent for
            longer than the client's ``timeout``. ``incomplete``: the file broke off. ``redirected``: the host sent the
            client to another host, or in a circle. ``wrong-content``: a web page or a compressed file came.
            ``rows-missing``: the file holds fewer rows than the run has. ``not-a-url``, ``insecure``: what the service
            gave is not a URL, or a URL without TLS.
        status_code: HTTP status of the host's last answer, if that was the problem; else None.
        bytes_received: Bytes of the file that had been received, and were removed.

    Example::

        try:
            await client.runs.download(run, "rows.csv")
        except DownloadError as error:
            print(error.reason, error.bytes_received)
    """

    def __init__(
        self,
        message: str,
        *,
        reason: DownloadReason = "incomplete",
        status_code: int | None = None,
        run_id: str | None = None,
        bytes_received: int = 0,
    ) -> None:
        super().__init__(message, status_code=status_code, run_id=run_id)
        self.reason: DownloadReason = reason
        self.bytes_received = bytes_received


class LedgerError(CoreClawError):
    """
    The ledger of a batch cannot be used, or no longer; no run is started that it has not recorded.

    It is not a ledger, another account's or one of a newer version; the disk is full or the folder read-only; the file
    was deleted or replaced while it was open; or the database could not be reached for longer than the batch's
    ``patience``, or is behind a pooler in transaction mode.

    Example::

        try:
            run = await client.workers.run_once(
                "tea", "coreclaw/google-maps-scraper", {"keywords": ["tea"]}, ledger="/no/such/folder/runs.db"
            )
        except LedgerError as error:
            print(error.message)
    """


class ColumnConflictError(CoreClawError):
    """
    Values of a column have no common type, and ``on_conflict="raise"`` was given; nothing was written.

    The rows are unharmed: a new pager reads them again.

    Attributes:
        columns: The names of the columns.

    Example::

        try:
            await client.runs.iterate_results(run).to_parquet("rows.parquet", on_conflict="raise")
        except ColumnConflictError as error:
            print(error.columns)
    """

    def __init__(self, message: str, *, columns: Sequence[str]) -> None:
        super().__init__(message)
        self.columns = tuple(columns)


class BatchConflictError(CoreClawError, ValueError):
    """
    A key of the batch was planned before with another worker, version or input; that item stays as it was.

    Attributes:
        key: The key.
        planned: SHA-256 of what was planned, in hex.
        given: SHA-256 of what was given now, in hex.

    Example::

        other = RunSpec(key="coffee", worker_id="coreclaw/google-maps-scraper", input={"keywords": ["mocha"]})
        try:
            await batch.plan([other])
        except BatchConflictError as error:
            print(error.key, error.message)
    """

    def __init__(self, message: str, *, key: str, planned: str, given: str) -> None:
        super().__init__(message)
        self.key = key
        self.planned = planned
        self.given = given


class BatchIncompleteError(CoreClawError):
    """
    `AsyncBatch.run` can do nothing more, and some items have not ended; run it again.

    Attributes:
        counts: Open items in each state: ``planned``, ``intent``, ``submitted``.
        reasons: Why they are open, by key, for the first 100 of which that is known.

    Example::

        try:
            outcomes = [outcome async for outcome in batch.run()]
        except BatchIncompleteError as error:
            print(error.counts, error.reasons)
    """

    def __init__(self, message: str, *, counts: Mapping[str, int], reasons: Mapping[str, str]) -> None:
        super().__init__(message)
        self.counts = counts
        self.reasons = reasons


class BatchStoppedError(BatchIncompleteError):
    """
    The batch starts no more runs; those that it had started have ended, and the other items are still planned.

    Attributes:
        reason: ``balance``: the service refused a start because of it; or ``max_spend``.
        left: Items that are still planned.
        spent: What the runs of the batch have cost so far, in US dollars.
        balance: The account's balance in US dollars, or None when it could not be read.

    Example::

        try:
            outcomes = [outcome async for outcome in batch.run(max_spend=Decimal("0.01"))]
        except BatchStoppedError as error:
            print(error.reason, error.left, error.spent)
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        left: int,
        spent: Decimal,
        balance: Decimal | None = None,
        counts: Mapping[str, int] | None = None,
        reasons: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, counts={"planned": left} if counts is None else counts, reasons=reasons or {})
        self.reason = reason
        self.left = left
        self.spent = spent
        self.balance = balance


class BatchAbortError(CoreClawError):
    """
    The batch was cancelled, and the runs named here could not be aborted: they may go on and cost money.

    Attributes:
        cancelled: Planned items that were cancelled.
        not_aborted: Ids of the runs that could not be aborted.
        keys: The keys of their items, in the same order.
        reasons: Why each could not be aborted, in the same order.

    Example::

        try:
            await batch.cancel(abort=True)
        except BatchAbortError as error:
            print(error.not_aborted, error.reasons)
    """

    def __init__(
        self, message: str, *, cancelled: int, not_aborted: Sequence[str], keys: Sequence[str], reasons: Sequence[str]
    ) -> None:
        super().__init__(message)
        self.cancelled = cancelled
        self.not_aborted = tuple(not_aborted)
        self.keys = tuple(keys)
        self.reasons = tuple(reasons)
