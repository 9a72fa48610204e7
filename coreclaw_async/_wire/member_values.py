"""From a JSON value to the value of a member: lenient where the service varies, `WrongTypeError` where it is odd."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from coreclaw_async._wire.json_types import is_array, is_object
from coreclaw_async._wire.run_records import STATUSES, is_amount
from coreclaw_async.models import LogLevel, Row, RunStatus, ScheduleType

Reader: TypeAlias = Callable[[Any, Any], Any]
"""Takes the value, and what cattrs says its type is."""

_STATUS_NUMBERS = dict(enumerate(RunStatus, start=1))  # v1 sent 1 ready to 5 aborting.
_LEVELS = {level.value: level for level in LogLevel}
_LEVEL_NUMBERS = dict(enumerate(LogLevel, start=1))
# Seconds below, milliseconds above: 10**11 seconds are the year 5138, 10**11 milliseconds 1973.
_FIRST_MILLISECOND = 10**11


# int() refuses strings of more than 4,300 digits with a message of its own.
_DIGITS = re.compile(r"\s*-?[0-9]{1,4000}\s*")


class WrongTypeError(ValueError):
    """A member holds a value that its type cannot represent."""


def read_string(value: Any, _: Any = None) -> str:
    if type(value) is str:
        return value
    if value is None:
        return ""
    if type(value) is int:  # An id that came as a number.
        return str(value)
    raise WrongTypeError(f"expected a string, got {_kind_of(value)}")


def read_whole(value: Any, _: Any = None) -> int | None:
    if type(value) is int or value is None:
        return value
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise WrongTypeError(f"expected a whole number, got {_kind_of(value)}")


def _read_decimal(value: Any) -> Decimal | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise WrongTypeError(f"expected a number, got {_kind_of(value)}")
    try:
        return Decimal(str(value))
    except InvalidOperation as error:
        raise WrongTypeError("expected a number, got a string that is none") from error


def read_amount(value: Any, _: Any = None) -> Decimal | None:
    amount = _read_decimal(value)
    if amount is not None and not is_amount(amount):
        raise WrongTypeError("expected an amount of money, got NaN, infinity or a number beyond any amount")
    return amount


def read_number(value: Any, _: Any = None) -> float | None:
    exact = value if type(value) is int else _read_decimal(value)
    if exact is None:
        return None
    number = float(exact)
    if not math.isfinite(number):
        raise WrongTypeError("expected a number, got NaN or infinity")
    return number


def read_count(value: Any, _: Any = None) -> int | None:
    number = read_whole(value)
    if number is not None and number < 0:
        raise WrongTypeError("expected a number of items or pages, got one below 0")
    return number


def read_datetime(value: Any, _: Any = None) -> dt.datetime | None:
    if type(value) is not int:
        value = read_whole(value)
    # 0 is "not set"; so is Go's zero time, far below.
    if value is None or value <= 0:
        return None
    if value >= _FIRST_MILLISECOND:
        seconds, milliseconds = divmod(value, 1000)
        return dt.datetime.fromtimestamp(seconds, dt.UTC).replace(microsecond=milliseconds * 1000)
    return dt.datetime.fromtimestamp(value, dt.UTC)


def read_flag(value: Any, _: Any = None) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    if value in (0, 1):
        return bool(value)
    raise WrongTypeError(f"expected true or false, got {_kind_of(value)}")


def read_status(value: Any, _: Any = None) -> RunStatus | str | None:
    if value is None:
        return None
    if type(value) is int:
        return _STATUS_NUMBERS.get(value, str(value))
    text = read_string(value)
    if not text:
        raise WrongTypeError("expected a status, got an empty string")
    return STATUSES.get(text, text)


def read_level(value: Any, _: Any = None) -> LogLevel | str | None:
    if value is None:
        return None
    if type(value) is int:
        return _LEVEL_NUMBERS.get(value, str(value))
    text = read_string(value)
    return _LEVELS.get(text, text)


def read_schedule_type(value: Any, _: Any = None) -> ScheduleType | int | None:
    number = read_whole(value)
    return ScheduleType(number) if number in list(ScheduleType) else number


def read_mapping(value: Any, _: Any = None) -> dict[str, Any]:
    if value is None:
        return {}
    if is_object(value):
        return value
    raise WrongTypeError(f"expected an object, got {_kind_of(value)}")


def read_list(value: Any, _: Any = None) -> list[Any]:
    if value is None:
        return []
    if is_array(value):
        return value
    raise WrongTypeError(f"expected a list, got {_kind_of(value)}")


def read_rows(value: Any, _: Any = None) -> tuple[Row, ...]:
    rows = read_list(value)
    if set(map(type, rows)) <= {dict}:
        return tuple(rows)
    return tuple([_read_row(row) for row in rows])


def _read_row(value: Any) -> Row:
    if is_object(value):
        return value
    raise WrongTypeError(f"a row must be an object, not {_kind_of(value)}")


def _kind_of(value: Any) -> str:
    names: dict[type, str] = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a fraction",
    }
    return next((name for kind, name in names.items() if type(value) is kind), "null")


READERS: dict[Any, Reader] = {
    str: read_string,
    str | None: lambda value, _: value if value is None else read_string(value),
    int | None: read_whole,
    float | None: read_number,
    bool: lambda value, _: value is True,
    bool | None: read_flag,
    Decimal | None: read_amount,
    dt.datetime | None: read_datetime,
    RunStatus | str | None: read_status,
    LogLevel | str | None: read_level,
    ScheduleType | int | None: read_schedule_type,
    Mapping[str, Any]: read_mapping,
    Sequence[Any]: read_list,
    Sequence[Row]: read_rows,
}
