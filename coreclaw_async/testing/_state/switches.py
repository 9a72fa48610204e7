"""The switches of a fake service: everything on which the descriptions of the real service disagree."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from attrs import define, field

from coreclaw_async.testing._state.arguments import (
    check_amount,
    check_key,
    check_number,
    check_origin,
    check_rate,
    check_type,
    check_whole,
    checked,
    one_of,
)
from coreclaw_async.testing._state.clock import Clock, DefaultClock
from coreclaw_async.testing._state.scripts import CallbackPlan, RunScript

if TYPE_CHECKING:
    import httpx

OffsetDialect = Literal["page", "row", "aligned"]
LogShape = Literal["objects", "words", "strings", "mixed"]
SyncReply = Literal["full", "slug"]
SchemaShape = Literal["list", "map", "missing"]
TaskShape = Literal["production", "small"]
PathStyle = Literal["slash", "tilde"]


def _clock_or_fake(given: Clock | None) -> Clock:
    if given is None:
        return DefaultClock()
    if not all(callable(getattr(given, name, None)) for name in ("monotonic", "time", "sleep")):
        raise TypeError(f"clock must be a clock such as FakeClock, not {given!r}")
    return given


def _base_url(url: str) -> str:
    return check_origin("base_url", url)


def _files_url(url: str) -> str:
    return check_origin("files_url", url)


def _balance(amount: str | float | Decimal) -> Decimal:
    return check_amount("balance", amount, is_signed=True)


def _price(amount: str | float | Decimal) -> Decimal:
    return check_amount("price_per_row", amount)


def _switch(*, default: bool) -> Any:
    return field(default=default, validator=checked(check_type, kind=bool))


@define(kw_only=True, eq=False, slots=False)
class Switches:
    """
    How a fake service behaves. All may be changed while it is in use; values are checked.

    The docstring of `FakeService` says what each of them means.
    """

    api_key: str = field(default="test-key", repr=False, validator=checked(check_key))
    clock: Clock = field(default=None, converter=_clock_or_fake)
    offset_dialect: OffsetDialect = field(default="page", validator=one_of(OffsetDialect))
    echo_page_index: bool = _switch(default=True)
    run_list_echo: bool | None = field(default=False, validator=checked(check_type, kind=bool, or_none=True))
    log_entries: LogShape = field(default="objects", validator=one_of(LogShape))
    sync_reply: SyncReply = field(default="full", validator=one_of(SyncReply))
    detail_err_msg: bool = _switch(default=False)
    input_schema: SchemaShape = field(default="list", validator=one_of(SchemaShape))
    task_shape: TaskShape = field(default="production", validator=one_of(TaskShape))
    worker_path_style: PathStyle = field(default="slash", validator=one_of(PathStyle))
    null_lists: bool = _switch(default=False)
    abort_requires_body: bool = _switch(default=False)
    page_size_cap: int | None = field(default=None, validator=checked(check_whole, low=1, or_none=True))
    plan_limit: int | None = field(default=None, validator=checked(check_whole, low=0, or_none=True))
    rate_limit: float | None = field(default=None, validator=checked(check_rate))
    rate_burst: int = field(default=1, validator=checked(check_whole, low=1))
    balance: str | Decimal = field(default="100.00", converter=_balance)
    price_per_row: str | Decimal = field(default="0.001", converter=_price)
    base_url: str = field(default="https://openapi.coreclaw.com", converter=_base_url)
    files_url: str = field(default="https://files.coreclaw.test", converter=_files_url)
    export_lifetime: float = field(default=3600.0, validator=checked(check_number, unit="seconds"))
    default_script: RunScript = field(factory=RunScript, validator=checked(check_type, kind=RunScript))
    list_lag: float = field(default=0.0, validator=checked(check_number, unit="seconds"))
    callback_plan: CallbackPlan = field(factory=CallbackPlan, validator=checked(check_type, kind=CallbackPlan))
    callback_transport: httpx.AsyncBaseTransport | None = None
    seed: int = field(default=0, validator=checked(check_type, kind=int))
