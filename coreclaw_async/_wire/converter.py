"""
Wire names and types into models (cattrs).

Only what names a record and tells its state may be fatal. Any other member whose type is not the documented one reads
as if it had not come, and its raw value stays in ``extra`` under its wire name; so one odd record breaks no page. This
holds for every model, because `_structure_model` reads them all.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import attrs

from coreclaw_async import models
from coreclaw_async._wire.json_types import is_array, is_object
from coreclaw_async._wire.request import Request
from coreclaw_async._wire.response import Answer, wrong_shape
from coreclaw_async._wire.run_records import is_amount, structure_run
from coreclaw_async.models import LogEntry, LogLevel, ResultHeader, ResultPage, Row, Run, RunStatus, ScheduleType

if TYPE_CHECKING:
    import cattrs

T = TypeVar("T")

Reader: TypeAlias = Callable[[Any, Any], Any]


@attrs.frozen(kw_only=True)
class ListHead:
    """What the data of a list says beside its items, see `Page`; the items are in ``extra``."""

    count: int | None = None
    page_index: int | None = None
    page_size: int | None = None
    extra: dict[str, Any] = attrs.field(factory=dict[str, Any])


# Attribute -> wire name, where the two differ. One name may stand on the wire for different things: `results` is a
# number on a run and a page on the answer to a start that waited.
_WAITED_FOR = {
    "run_id": "run_slug",
    "status": "run_status",
    "started_at": "execution_start_timestamp",
    "finished_at": "execution_end_timestamp",
    "duration": "running_duration",
}
_WIRE_NAMES: dict[type, dict[str, str]] = {
    models.AbortedRun: _WAITED_FOR,
    models.Account: {"balance_expires_at": "balance_expiration_at"},
    models.CreatedTask: {"task_id": "slug"},
    models.LogEntry: {"level": "type"},
    models.QueueAction: {"queue_id": "queue_ref"},
    models.QueueItem: {"queue_id": "queue_ref", "status": "queue_status"},
    models.QueuedRun: {"queue_id": "queue_ref"},
    models.ResultPage: {"items": "list"},
    models.Run: {
        "run_id": "slug",
        "worker_id": "scraper_slug",
        "worker_title": "scraper_title",
        "result_count": "results",
        "error_message": "err_msg",
    },
    models.RunLog: {"entries": "list"},
    models.StartedRun: _WAITED_FOR,
    models.Task: {
        "task_id": "slug",
        "worker_id": "worker_slug",
        "internal_id": "id",
        "internal_worker_id": "worker_id",
        "internal_last_run_id": "last_run_id",
    },
    models.WorkerSummary: {"worker_id": "slug"},
}
_PLAIN = (
    ListHead,
    models.Export,
    models.InputProperty,
    models.ProxyRegion,
    models.ResultHeader,
    models.TaskInput,
    models.Worker,
)
# What this side adds to an answer; a member of that name on the wire is not it.
_OURS = {"extra", "request_id", "offset", "limit", "may_be_ours"}

# Members that a record is nothing without, wherever it stands: a run that was paid for, rows, the lines of a log.
_FATAL: dict[type, set[str]] = {models.StartedRun: {"run_id"}, models.ResultPage: {"items"}, models.RunLog: {"entries"}}
# What an answer about one thing must tell: which thing it speaks of, and how a run stands.
_IDENTITY: dict[type, tuple[str, ...]] = {
    models.CreatedTask: ("task_id",),
    models.Export: ("download_url",),
    models.QueuedRun: ("queue_id",),
    models.Run: ("run_id", "status"),
    models.StartedRun: ("run_id",),
    models.Task: ("task_id",),
    models.Worker: ("name",),
}
# Members that may be null, and whose absence says nothing at all.
_PRESENT: dict[type, str] = {models.RunLog: "list", models.TaskInput: "input"}

# What stands in a list and is no object has no names for its values.
_NAMELESS = ""

_STATUSES = {status.value: status for status in RunStatus}
_STATUS_NUMBERS = dict(enumerate(RunStatus, start=1))  # v1 sent 1 ready to 5 aborting.
_LEVELS = {level.value: level for level in LogLevel}
_LEVEL_NUMBERS = dict(enumerate(LogLevel, start=1))
# Seconds below, milliseconds above: 10**11 seconds are the year 5138, 10**11 milliseconds 1973.
_FIRST_MILLISECOND = 10**11


# int() refuses texts of more than 4,300 digits in its own way.
_DIGITS = re.compile(r"\s*-?[0-9]{1,4000}\s*")


class _WrongTypeError(ValueError):
    """A member holds something that its type has no form for."""


def _text(value: Any, _: Any = None) -> str:
    if type(value) is str:
        return value
    if value is None:
        return ""
    if type(value) is int:  # An id that came as a number.
        return str(value)
    raise _WrongTypeError(f"a text was expected, not {_kind(value)}")


def _whole(value: Any, _: Any = None) -> int | None:
    if type(value) is int or value is None:
        return value
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise _WrongTypeError(f"a whole number was expected, not {_kind(value)}")


def _decimal(value: Any) -> Decimal | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _WrongTypeError(f"a number was expected, not {_kind(value)}")
    try:
        return Decimal(str(value))
    except InvalidOperation as error:
        raise _WrongTypeError("a number was expected, not another text") from error


def _money(value: Any, _: Any = None) -> Decimal | None:
    amount = _decimal(value)
    if amount is not None and not is_amount(amount):
        raise _WrongTypeError("an amount was expected, not NaN, infinity or a number beyond all sums of money")
    return amount


def _number(value: Any, _: Any = None) -> float | None:
    exact = value if type(value) is int else _decimal(value)
    if exact is None:
        return None
    number = float(exact)
    if not math.isfinite(number):
        raise _WrongTypeError("a number was expected, not NaN or infinity")
    return number


def _place(value: Any, _: Any = None) -> int | None:
    number = _whole(value)
    if number is not None and number < 0:
        raise _WrongTypeError("a number of items or pages was expected, not one below 0")
    return number


def _moment(value: Any, _: Any = None) -> dt.datetime | None:
    if type(value) is not int:
        value = _whole(value)
    # 0 is "not set"; so is Go's zero time, far below.
    if value is None or value <= 0:
        return None
    if value >= _FIRST_MILLISECOND:
        seconds, milliseconds = divmod(value, 1000)
        return dt.datetime.fromtimestamp(seconds, dt.UTC).replace(microsecond=milliseconds * 1000)
    return dt.datetime.fromtimestamp(value, dt.UTC)


def _flag(value: Any, _: Any = None) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    if value in (0, 1):
        return bool(value)
    raise _WrongTypeError(f"true or false was expected, not {_kind(value)}")


def _status(value: Any, _: Any = None) -> RunStatus | str | None:
    if value is None:
        return None
    if type(value) is int:
        return _STATUS_NUMBERS.get(value, str(value))
    text = _text(value)
    if not text:
        raise _WrongTypeError("a status was expected, not an empty text")
    return _STATUSES.get(text, text)


def _level(value: Any, _: Any = None) -> LogLevel | str | None:
    if value is None:
        return None
    if type(value) is int:
        return _LEVEL_NUMBERS.get(value, str(value))
    text = _text(value)
    return _LEVELS.get(text, text)


def _schedule_type(value: Any, _: Any = None) -> ScheduleType | int | None:
    number = _whole(value)
    return ScheduleType(number) if number in list(ScheduleType) else number


def _object(value: Any, _: Any = None) -> dict[str, Any]:
    if value is None:
        return {}
    if is_object(value):
        return value
    raise _WrongTypeError(f"an object was expected, not {_kind(value)}")


def _list(value: Any, _: Any = None) -> list[Any]:
    if value is None:
        return []
    if is_array(value):
        return value
    raise _WrongTypeError(f"a list was expected, not {_kind(value)}")


def _rows(value: Any, _: Any = None) -> tuple[Row, ...]:
    rows = _list(value)
    if set(map(type, rows)) <= {dict}:
        return tuple(rows)
    return tuple([_row(row) for row in rows])


def _row(value: Any) -> Row:
    if is_object(value):
        return value
    raise _WrongTypeError(f"a row must be an object, not {_kind(value)}")


def _kind(value: Any) -> str:
    names: dict[type, str] = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "a flag",
        int: "a number",
        float: "a fraction",
    }
    return next((name for kind, name in names.items() if type(value) is kind), "null")


_READERS: dict[Any, Callable[[Any, Any], Any]] = {
    str: _text,
    str | None: lambda value, _: value if value is None else _text(value),
    int | None: _whole,
    float | None: _number,
    bool: lambda value, _: value is True,
    bool | None: _flag,
    Decimal | None: _money,
    dt.datetime | None: _moment,
    RunStatus | str | None: _status,
    LogLevel | str | None: _level,
    ScheduleType | int | None: _schedule_type,
    Mapping[str, Any]: _object,
    Sequence[Any]: _list,
    Sequence[Row]: _rows,
}


_PAGE_READERS: dict[str, Reader] = {"count": _place, "page_index": _place, "page_size": _place}
# Where the member says more than its type does.
_MEMBER_READERS: dict[type, dict[str, Reader]] = {
    ListHead: _PAGE_READERS,
    models.ResultPage: {**_PAGE_READERS, "items": _rows},
}


@functools.cache
def _converter() -> cattrs.Converter:
    """
    Return the converter.

    Built when the first answer is read, so that `import coreclaw_async` does not pay for it, nor for cattrs.
    """
    import cattrs

    converter = cattrs.Converter(detailed_validation=False)
    for kind, reader in _READERS.items():
        if isinstance(kind, type):  # cattrs has hooks of its own for str and bool, which a predicate does not replace.
            converter.register_structure_hook(kind, reader)
        else:
            converter.register_structure_hook_func(functools.partial(_is, kind), reader)
    nested: dict[Any, Reader] = {
        ResultPage | None: _rows_of_start(converter),
        Sequence[ResultHeader]: _sequence(converter, ResultHeader),
        Sequence[LogEntry]: _sequence(converter, LogEntry),
    }
    for kind, reader in nested.items():
        converter.register_structure_hook_func(functools.partial(_is, kind), reader)
    for model in (*_PLAIN, *_WIRE_NAMES):
        converter.register_structure_hook(model, _structure_model(converter, model))
    return converter


def _is(kind: Any, other: Any) -> bool:
    return bool(kind == other)


def _rows_of_start(converter: cattrs.Converter) -> Callable[[Any, Any], ResultPage | None]:
    def read(value: Any, _: Any) -> ResultPage | None:
        if value is None:
            return None
        page = converter.structure(value, ResultPage)
        if page.count and value.get("list") is None:
            raise _WrongTypeError("its list is missing, though its count is above 0")
        return page

    return read


def _sequence(converter: cattrs.Converter, model: type[T]) -> Callable[[Any, Any], tuple[T, ...]]:
    def read(value: Any, _: Any) -> tuple[T, ...]:
        return _records(converter, model, _list(value))

    return read


def _records(converter: cattrs.Converter, model: type[T], values: list[Any]) -> tuple[T, ...]:
    """Return each of *values* as *model*; what is no object is a record without any member that has a name."""
    structure = converter.get_structure_hook(model)
    try:
        if model is Run:  # The short way, without a call around it: lists are full of runs.
            return cast(tuple[T, ...], tuple([structure_run(value) or structure(value, model) for value in values]))
        return tuple([structure(value, model) for value in values])
    except _WrongTypeError:
        return tuple([_record(structure, model, value) for value in values])


def _record(structure: Reader, model: type[T], value: Any) -> T:
    try:
        return cast(T, structure(value, model))
    except _WrongTypeError:
        return cast(Any, model)(extra={_NAMELESS: value})  # type: ignore[no-any-return]


def _members_of(model: type) -> dict[str, str]:
    """Return attribute and wire name of each member that the service sends."""
    names = _WIRE_NAMES.get(model, {})
    fields: list[str] = [field.name for field in attrs.fields(cast(Any, model)) if field.name not in _OURS]
    return {name: names.get(name, name) for name in fields}


def _structure_model(converter: cattrs.Converter, model: type[T]) -> Callable[[Any, Any], T]:
    from cattrs.gen import make_dict_structure_fn, override

    members = _members_of(model)
    readers = _MEMBER_READERS.get(model, {})
    overrides = {field.name: override(omit=True) for field in attrs.fields(cast(Any, model))}
    overrides |= {name: override(rename=wire, struct_hook=readers.get(name)) for name, wire in members.items()}
    structure = make_dict_structure_fn(
        model,
        converter,
        _cattrs_detailed_validation=False,
        **overrides,  # type: ignore[arg-type]
    )
    known = frozenset(members.values())
    around = functools.cache(lambda: _member_readers(converter, model))  # Odd records are rare.

    def read(value: Any, _: Any) -> T:
        if model is Run and (run := structure_run(value)) is not None:
            return run  # type: ignore[return-value]
        if model is LogEntry and isinstance(value, str):  # The newest documented form of a log.
            value = {"content": value}
        came = _object(value)
        try:
            result = structure(came, model)
            odd: set[str] = set()
        except Exception:  # noqa: BLE001 - whatever it was, it is one member's
            result, odd = _structure_around(model, around(), came)
        if isinstance(result, ResultPage) and came.get("list") is None and result.count is None:
            raise _WrongTypeError("it has neither list nor count")
        if odd or not came.keys() <= known:
            extra = {name: value for name, value in came.items() if name in odd or name not in known}
            object.__setattr__(result, "extra", extra)  # Nobody has seen the new object yet.
        return result

    return read


def _structure_around(
    model: type[T], readers: Mapping[str, tuple[str, Reader]], came: dict[str, Any]
) -> tuple[T, set[str]]:
    """Return *came* as *model* without the members that cannot be read, and the wire names of those."""
    values: dict[str, Any] = {}
    odd: set[str] = set()
    for name, (wire, read) in readers.items():
        if wire not in came:
            continue
        try:
            values[name] = read(came[wire], None)
        except Exception as error:  # noqa: BLE001 - whatever it was, it is this member's
            if name in _FATAL.get(model, ()):
                raise _WrongTypeError(f"{wire}: {error}") from None
            odd.add(wire)
    return model(**values), odd


def _member_readers(converter: cattrs.Converter, model: type) -> dict[str, tuple[str, Reader]]:
    """Return what reads each member that the service sends, by its name on this side, and its name on the wire."""
    own = _MEMBER_READERS.get(model, {})
    types = typing.get_type_hints(model)
    return {
        name: (wire, own.get(name) or converter.get_structure_hook(types[name]))
        for name, wire in _members_of(model).items()
    }


def read_model(request: Request, answer: Answer, model: type[T], data: Any = ...) -> T:
    """
    Return *data* (the answer's, when not given) as *model*.

    Raises:
        InvalidResponseError: There is no data, or it does not say what it speaks of.
    """
    came = read_object(request, answer, answer.data if data is ... else data)
    if not came:
        raise wrong_shape(request, answer, "data: it is empty")
    try:
        made = _converter().structure(came, model)
    except Exception as error:  # noqa: BLE001 - nothing foreign may leave
        raise wrong_shape(request, answer, f"{model.__name__}: {error}") from None
    lacking = _lacks(model, made, came)
    if lacking is not None:
        raise wrong_shape(request, answer, f"{lacking} is missing, or cannot be read")
    return made


def _lacks(model: type, made: object, came: Mapping[str, Any]) -> str | None:
    """Return the wire name of a member that an answer about one thing must have, and has not."""
    identity, present = _IDENTITY.get(model, ()), _PRESENT.get(model)
    for name in identity:
        if not getattr(made, name):
            return _members_of(model)[name]
    return None if present is None or present in came else present


def read_named(request: Request, answer: Answer, model: type[T], *, name: str, asked: str | None) -> T:
    """
    Return the answer as *model* when its member *name* says that it speaks of *asked* (None: of anything).

    Raises:
        InvalidResponseError: As `read_model`, or it speaks of something else.
    """
    made = read_model(request, answer, model)
    told: str = getattr(made, name)
    if asked is not None and told.casefold() != asked.casefold():
        raise wrong_shape(request, answer, f"{asked} was asked for, and the answer is about {told}")
    return made


def read_models(request: Request, answer: Answer, model: type[T], data: Any) -> tuple[T, ...]:
    """
    Return each entry of the list *data* as *model*; null makes no entries.

    An entry that does not say what it is stays in its place, without an identity.

    Raises:
        InvalidResponseError: *data* is no list.
    """
    try:
        return _records(_converter(), model, _list(data))
    except _WrongTypeError as error:
        raise wrong_shape(request, answer, str(error)) from None


def read_object(request: Request, answer: Answer, data: Any = ...) -> dict[str, Any]:
    """
    Return *data* (the answer's, when not given) as a plain object.

    Raises:
        InvalidResponseError: It is something else, null, or did not come.
    """
    value = answer.data if data is ... else data
    if value is None:
        raise wrong_shape(request, answer, "data is missing")
    try:
        return _object(value)
    except _WrongTypeError as error:
        raise wrong_shape(request, answer, f"data: {error}") from None
