"""Wire names and types into models (cattrs), lenient where the service has varied and exact where it counts."""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeVar, cast

import attrs

from coreclaw_async import models
from coreclaw_async._wire.json_types import is_array, is_object
from coreclaw_async._wire.request import Request
from coreclaw_async._wire.response import Answer, wrong_shape
from coreclaw_async._wire.run_records import structure_run
from coreclaw_async.models import LogEntry, LogLevel, ResultHeader, ResultPage, Row, Run, RunStatus, ScheduleType

if TYPE_CHECKING:
    import cattrs

T = TypeVar("T")

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
    models.Export,
    models.InputProperty,
    models.ProxyRegion,
    models.ResultHeader,
    models.TaskInput,
    models.Worker,
)
# What this side adds to an answer; a member of that name on the wire is not it.
_OURS = {"extra", "request_id", "offset", "limit"}

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


def _money(value: Any, _: Any = None) -> Decimal | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _WrongTypeError(f"an amount was expected, not {_kind(value)}")
    try:
        amount = Decimal(str(value))
    except InvalidOperation as error:
        raise _WrongTypeError("an amount was expected, not another text") from error
    if not amount.is_finite():
        raise _WrongTypeError("an amount was expected, not NaN or infinity")
    return amount


def _seconds(value: Any, _: Any = None) -> float | None:
    if type(value) is int:
        return float(value)
    amount = _money(value)
    return None if amount is None else float(amount)


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
    float | None: _seconds,
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


@functools.cache
def _converter(*, detailed: bool) -> cattrs.Converter:
    """
    Return the converter; the detailed one is slower and says which member was wrong.

    Built when the first answer is read, so that `import coreclaw_async` does not pay for it, nor for cattrs.
    """
    import cattrs

    converter = cattrs.Converter(detailed_validation=detailed)
    for kind, reader in _READERS.items():
        if isinstance(kind, type):  # cattrs has hooks of its own for str and bool, which a predicate does not replace.
            converter.register_structure_hook(kind, reader)
        else:
            converter.register_structure_hook_func(functools.partial(_is, kind), reader)
    nested: dict[Any, Callable[[Any, Any], Any]] = {
        ResultPage | None: _optional(converter, ResultPage),
        Sequence[ResultHeader]: _sequence(converter, ResultHeader),
        Sequence[LogEntry]: _sequence(converter, LogEntry),
    }
    for kind, reader in nested.items():
        converter.register_structure_hook_func(functools.partial(_is, kind), reader)
    for model in (*_PLAIN, *_WIRE_NAMES):
        converter.register_structure_hook(model, _structure_model(converter, model, detailed=detailed))
    return converter


def _is(kind: Any, other: Any) -> bool:
    return bool(kind == other)


def _optional(converter: cattrs.Converter, model: type[T]) -> Callable[[Any, Any], T | None]:
    def read(value: Any, _: Any) -> T | None:
        return None if value is None else converter.structure(value, model)

    return read


def _sequence(converter: cattrs.Converter, model: type[T]) -> Callable[[Any, Any], tuple[T, ...]]:
    def read(value: Any, _: Any) -> tuple[T, ...]:
        return tuple(converter.structure(item, model) for item in _list(value))

    return read


def _structure_model(converter: cattrs.Converter, model: type[T], *, detailed: bool) -> Callable[[Any, Any], T]:
    from cattrs.gen import make_dict_structure_fn, override

    names = _WIRE_NAMES.get(model, {})
    fields = [field.name for field in attrs.fields(cast(Any, model))]
    overrides = {name: override(omit=True) for name in fields if name in _OURS}
    overrides |= {name: override(rename=wire) for name, wire in names.items()}
    known = frozenset(names.get(name, name) for name in fields if name not in _OURS)
    structure = make_dict_structure_fn(
        model,
        converter,
        _cattrs_detailed_validation=detailed,
        **overrides,  # type: ignore[arg-type]
    )

    def read(value: Any, _: Any) -> T:
        if model is Run and (run := structure_run(value)) is not None:
            return run  # type: ignore[return-value]
        if model is LogEntry and isinstance(value, str):  # The newest documented form of a log.
            value = {"content": value}
        members = _object(value)
        result = structure(members, model)
        if not members.keys() <= known:
            extra = {name: members[name] for name in members.keys() - known}
            object.__setattr__(result, "extra", extra)  # Nobody has seen the new object yet.
        return result

    return read


def read_model(request: Request, answer: Answer, model: type[T], data: Any = ...) -> T:
    """
    Return *data* (the answer's, when not given) as *model*; absent and null data make an empty model.

    Raises:
        InvalidResponseError: A member has the wrong type.
    """
    value = answer.data if data is ... else data
    return _read(request, answer, {} if value is None else value, model)


def read_models(request: Request, answer: Answer, model: type[T], data: Any) -> tuple[T, ...]:
    """
    Return each entry of the list *data* as *model*; null makes no entries.

    Raises:
        InvalidResponseError: *data* is no list, or a member has the wrong type.
    """
    try:
        structure = _converter(detailed=False).get_structure_hook(model)
        return tuple([structure(item, model) for item in _list(data)])
    except (TypeError, ValueError, KeyError, OverflowError, OSError, AttributeError):
        return tuple(_read(request, answer, item, model) for item in _checked_list(request, answer, data))


def read_object(request: Request, answer: Answer) -> dict[str, Any]:
    """
    Return the answer's data as a plain object; absent and null data make an empty one.

    Raises:
        InvalidResponseError: The data is something else.
    """
    try:
        return _object(answer.data)
    except _WrongTypeError as error:
        raise wrong_shape(request, answer, f"data: {error}") from error


def read_count(request: Request, answer: Answer, name: str) -> int | None:
    """
    Return the whole number *name* of the answer's data, or None when it is absent or null.

    Raises:
        InvalidResponseError: It is something else.
    """
    try:
        return _whole(read_object(request, answer).get(name))
    except _WrongTypeError as error:
        raise wrong_shape(request, answer, f"{name}: {error}") from error


def _checked_list(request: Request, answer: Answer, data: Any) -> list[Any]:
    try:
        return _list(data)
    except _WrongTypeError as error:
        raise wrong_shape(request, answer, str(error)) from error


def _read(request: Request, answer: Answer, value: Any, model: type[T]) -> T:
    try:
        return _converter(detailed=False).structure(value, model)
    except Exception:  # noqa: BLE001 - whatever it was, the detailed converter says it better
        return _read_in_detail(request, answer, value, model)


def _read_in_detail(request: Request, answer: Answer, value: Any, model: type[T]) -> T:
    import cattrs

    try:
        return _converter(detailed=True).structure(value, model)
    except cattrs.BaseValidationError as error:
        problem = "; ".join(cattrs.transform_error(error, path=model.__name__))
        raise wrong_shape(request, answer, problem) from None
    except Exception as error:  # noqa: BLE001 - nothing foreign may leave
        raise wrong_shape(request, answer, f"{model.__name__}: {error}") from None
