"""The checks of the doctor: this machine, the connection to the service, its clock, and the account."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version

import attrs
import httpx

from coreclaw_async import errors
from coreclaw_async._http.route import choose_proxy
from coreclaw_async._http.storage_host import origin_of
from coreclaw_async._operations.start import is_usable_id
from coreclaw_async._paging.offsets import SETTLING_SIZE
from coreclaw_async._version import __version__
from coreclaw_async._wire.error_codes import is_service_code
from coreclaw_async._wire.timestamps import SeenDate, http_date
from coreclaw_async.cli.doctor.assumptions import check_offset_meaning
from coreclaw_async.cli.doctor.looks import (
    Examination,
    Finding,
    OutOfTimeError,
    looked,
    trouble,
    unchecked,
    way_trouble,
)
from coreclaw_async.cli.doctor.single_runs import check_runs
from coreclaw_async.models import Account, InputSchema, Page, WorkerSummary

_SKEW_TO_MENTION = 30.0


@attrs.frozen(kw_only=True)
class DoctorSettings:
    """
    The settings in use, and where they came from.

    Attributes:
        url: The address of the service.
        url_source: Where the address came from, for people.
        key_source: Where the key came from, or None if there is no key.
    """

    url: httpx.URL
    url_source: str
    key_source: str | None


def examine(examination: Examination, settings: DoctorSettings) -> Iterator[Finding]:
    """Yield the findings from this machine to the account; ends early if nothing more can be checked."""
    has_key = settings.key_source is not None
    yield _versions()
    yield Finding("address", "OK", f"{settings.url} (from {settings.url_source})")
    proxy = check_proxy(settings.url)
    examination.origin = origin_of(settings.url)
    yield proxy
    if has_key:
        yield Finding("key", "OK", f"there is one (from {settings.key_source})")
    else:
        yield Finding("key", "WARN", "there is none: set CORECLAW_API_KEY, or give --api-key-file FILE")
    if proxy.state == "FAIL":
        return
    try:
        yield from _service(examination, has_key=has_key)
    except OutOfTimeError:
        yield Finding("rest", "WARN", "not checked: the checks so far have taken too long")
    if examination.way.repeats:
        yield Finding("retries", "WARN", "some requests had to be sent a second time")


def _versions() -> Finding:
    libraries = ", ".join(f"{name} {version(name)}" for name in ("httpx", "anyio", "attrs", "cattrs"))
    machine = f"Python {platform.python_version()} on {platform.system()}"
    return Finding("versions", "OK", f"coreclaw_async {__version__}, {machine}, {libraries}")


def check_proxy(url: httpx.URL) -> Finding:
    """Tell which proxy of the environment the client uses for *url*."""
    try:
        choice = choose_proxy(url)
    except errors.ConfigurationError as error:
        return Finding("proxy", "FAIL", error.message)
    if choice.name is None:
        return Finding("proxy", "OK", "none is set")
    name = choice.name.upper()
    if choice.url is None:
        return Finding("proxy", "OK", f"{name} is set, and not used for this address: loopback, or NO_PROXY")
    secret = ", with credentials that are not shown" if choice.url.userinfo else ""
    return Finding("proxy", "OK", f"{choice.url.scheme}://{choice.url.netloc.decode('ascii')} (from {name}){secret}")


def _service(examination: Examination, *, has_key: bool) -> Iterator[Finding]:
    began = time.monotonic()
    workers: Page[WorkerSummary] | None = None
    is_its_word = True
    try:
        workers = examination.client.store.list_page(limit=SETTLING_SIZE)
    except (errors.ConfigurationError, errors.RequestNotSentError, errors.NoReplyError) as error:
        yield Finding("service", "FAIL", f"cannot be reached: {way_trouble(error)}")
        return
    except errors.CoreClawError as error:
        yield Finding("service", "FAIL", f"answered with {trouble(error)}")
        if isinstance(error, errors.RateLimitedError):  # All further requests would wait, too.
            return
        is_its_word = error.code == 0 or is_service_code(error.code)
    else:
        yield Finding("service", "OK", f"answered in {time.monotonic() - began:.2f} s")
    if is_its_word:
        yield check_clock(examination.way.seen)
    if workers is not None:
        yield from looked(examination, "paging", _store(examination, workers))
        yield from looked(examination, "schema", _schema(examination, workers))
    if has_key:
        yield from _account(examination)


def check_clock(seen: SeenDate) -> Finding:
    """Compare the ``Date`` of an answer with this machine's clock, as the client does."""
    ahead = seen.difference
    if ahead is not None and abs(ahead) < _SKEW_TO_MENTION:
        return Finding("clock", "OK", "agrees with the service's clock, which is read in whole seconds")
    if ahead is not None:
        way = "behind" if ahead > 0 else "ahead of"
        detail = f"{abs(ahead):.0f} s {way} the service's; the client allows for that"
        return Finding("clock", "WARN", detail, verdict="holds")
    if not seen.date:
        what = "the service's answer has no Date"
    elif http_date(seen.date) is None:
        what = "the Date of the service's answer cannot be read"
    else:
        what = "the Date of the service's answer is more than a year off: its clock or this machine's is wrong"
    return Finding("clock", "WARN", f"{what}; the client uses this machine's clock")


def _store(examination: Examination, first: Page[WorkerSummary]) -> Iterator[Finding]:
    yield check_offset_meaning(
        examination,
        "the store",
        first,
        lambda offset: examination.client.store.list_page(offset=offset, limit=first.limit),
        lambda worker: worker.worker_id or None,
    )


def _schema(examination: Examination, first: Page[WorkerSummary]) -> Iterator[Finding]:
    worker_id = next((worker.worker_id for worker in first.items if is_usable_id(worker.worker_id)), None)
    if worker_id is None:
        yield unchecked("schema", "not checked: the store is empty")
        return
    yield check_schema(examination.client.workers.get_input_schema(worker_id))


def check_schema(schema: InputSchema) -> Finding:
    """Tell whether the client knows the shape of an input schema."""
    if schema.properties:
        shape = "by name" if isinstance(schema.raw.get("properties"), Mapping) else "as a list"
        return Finding("schema", "OK", f"an input schema has its properties {shape}")
    if not schema.raw or isinstance(schema.raw.get("properties"), list | Mapping):
        return unchecked("schema", "not checked: the first worker of the store has an empty input schema")
    return Finding("schema", "WARN", "an input schema has a shape that the client cannot read: inputs go unchecked")


def _account(examination: Examination) -> Iterator[Finding]:
    try:
        yield check_balance(examination.client.account.get())
    except errors.CoreClawError as error:
        examination.check_time()
        is_refused = isinstance(error, errors.AuthenticationError) and is_service_code(error.code)
        yield Finding("account", "FAIL", f"{'the key is refused: ' if is_refused else ''}{trouble(error)}")
        if is_refused:
            return
    yield from looked(examination, "runs", check_runs(examination))


def check_balance(account: Account) -> Finding:
    """Tell whether the balance allows a run, without showing the balance."""
    if account.balance is None:
        return Finding("account", "WARN", "the key is accepted; the balance cannot be read", verdict="holds")
    if account.balance <= 0:
        detail = "the key is accepted; the balance is used up: no run can be started"
        return Finding("account", "WARN", detail, verdict="holds")
    return Finding("account", "OK", "the key is accepted; the balance is above 0")
