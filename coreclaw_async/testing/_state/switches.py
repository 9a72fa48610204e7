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

    Attributes:
        api_key: The one key that is accepted.
        clock: Its clock; None makes a `FakeClock` that follows the real time for as long as it is served.
        offset_dialect: The meaning of `offset`: `page` is a page number from 1, `row` a row number from 0, `aligned`
            the page that contains the row.
        echo_page_index: Whether lists with `count` also have `page_index` and `page_size`.
        run_list_echo: The same for the list of runs alone, which in production has neither; None for the value of
            `echo_page_index`.
        log_entries: The shape of log entries: `objects` with the level as a number, `words` with the level as a string,
            `strings`, or `mixed`.
        sync_reply: What a synchronous start or abort answers, `full` or only the `slug`.
        detail_err_msg: Whether the detail of a run has `err_msg`, which it has not in production; lists always have
            it.
        input_schema: The shape of input schemas: a `list` of properties, a `map`, or `missing`.
        task_shape: The `production` members of a task, or the `small` documented set.
        worker_path_style: How answers write a Worker's path, `slash` or `tilde`.
        null_lists: Whether empty lists are sent as `null`.
        abort_requires_body: Whether an abort without a JSON object as its body is refused.
        page_size_cap: A larger `limit` is silently cut to this; None turns it off.
        plan_limit: How many runs may be in `ready` and `running`; None for any number.
        rate_limit: API requests per second; further ones get 429 with 13000. None for any number.
        rate_burst: How many requests may come at once before `rate_limit` applies.
        balance: The credit as a decimal; runs started through the API use it up.
        price_per_row: What a row costs, as a decimal.
        base_url: The origin of the API.
        files_url: The origin of downloads, which must not get any credential.
        export_lifetime: Seconds for which a download URL is valid.
        default_script: What runs do unless the next script or their Worker says otherwise.
        list_lag: Seconds until a new run is in the list of runs.
        callback_plan: How callbacks are sent.
        callback_transport: The httpx transport that carries callbacks; None uses the network.
        seed: Determines identifiers and shuffles.
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
