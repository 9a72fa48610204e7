"""
Wire names and types into models (cattrs).

Only a member that names a record or tells its state may be fatal. Any other member whose value is not of the documented
type reads as if it had not come, and its raw value stays in ``extra`` under its wire name; so one odd record breaks no
page. This holds for every model, because `_model_reader` reads them all.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import attrs

from coreclaw_async._wire.member_values import (
    READERS,
    Reader,
    WrongTypeError,
    read_count,
    read_list,
    read_mapping,
    read_rows,
)
from coreclaw_async._wire.response import Answer, wrong_shape
from coreclaw_async._wire.run_records import structure_run
from coreclaw_async.models import LogEntry, ResultPage, Run

if TYPE_CHECKING:
    import cattrs

T = TypeVar("T")


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ListHead:
    """What the data of a list says besides its items, see `Page`; the items are in ``extra``."""

    count: int | None = None
    page_index: int | None = None
    page_size: int | None = None
    extra: dict[str, Any] = attrs.field(factory=dict[str, Any])


# Attribute -> wire name, where the two differ. One name may mean different things on the wire: `results` is a number in
# a run, and a page of rows in the answer to a start that waited. All these tables name their models, and so load none.
_WAITED_FOR = {
    "run_id": "run_slug",
    "status": "run_status",
    "started_at": "execution_start_timestamp",
    "finished_at": "execution_end_timestamp",
    "duration": "running_duration",
}
_WIRE_NAMES: dict[str, dict[str, str]] = {
    "AbortedRun": _WAITED_FOR,
    "Account": {"balance_expires_at": "balance_expiration_at"},
    "CreatedTask": {"task_id": "slug"},
    "LogEntry": {"level": "type"},
    "QueueAction": {"queue_id": "queue_ref"},
    "QueueItem": {"queue_id": "queue_ref", "status": "queue_status"},
    "QueuedRun": {"queue_id": "queue_ref"},
    "ResultPage": {"items": "list"},
    "Run": {
        "run_id": "slug",
        "worker_id": "scraper_slug",
        "worker_title": "scraper_title",
        "result_count": "results",
        "error_message": "err_msg",
    },
    "RunLog": {"entries": "list"},
    "StartedRun": _WAITED_FOR,
    "Task": {
        "task_id": "slug",
        "worker_id": "worker_slug",
        "internal_id": "id",
        "internal_worker_id": "worker_id",
        "internal_last_run_id": "last_run_id",
    },
    "WorkerSummary": {"worker_id": "slug"},
}
# What this package adds to an answer; a member of the same name on the wire is something else.
_OURS = {"extra", "request_id", "offset", "limit", "may_be_ours"}

# Members without which a record is useless wherever it stands: the id of a paid run, rows, the lines of a log.
_FATAL: dict[str, set[str]] = {"StartedRun": {"run_id"}, "ResultPage": {"items"}, "RunLog": {"entries"}}
# What an answer about one thing must say: which thing it is about, and the status of a run.
_IDENTITY: dict[str, tuple[str, ...]] = {
    "CreatedTask": ("task_id",),
    "Export": ("download_url",),
    "QueuedRun": ("queue_id",),
    "Run": ("run_id", "status"),
    "StartedRun": ("run_id",),
    "Task": ("task_id",),
    "Worker": ("name",),
}
# Members that may be null but must be there: an answer without them says nothing.
_PRESENT: dict[str, str] = {"RunLog": "list", "TaskInput": "input"}

# The name in `extra` of a list entry that is no object.
_NAMELESS = ""

_PAGE_READERS: dict[str, Reader] = {"count": read_count, "page_index": read_count, "page_size": read_count}
# Members that are read more strictly than their type says.
_MEMBER_READERS: dict[str, dict[str, Reader]] = {
    "ListHead": _PAGE_READERS,
    "ResultPage": {**_PAGE_READERS, "items": read_rows},
}


@functools.cache
def _converter() -> cattrs.Converter:
    """
    Return the converter.

    Built when the first answer is read, so that `import coreclaw_async` does not pay for it, nor for cattrs.
    """
    import cattrs

    converter = cattrs.Converter(detailed_validation=False)
    for kind, reader in READERS.items():
        if isinstance(kind, type):  # cattrs has hooks of its own for str and bool, which a predicate does not replace.
            converter.register_structure_hook(kind, reader)
        else:
            converter.register_structure_hook_func(functools.partial(_is, kind), reader)
    converter.register_structure_hook_func(functools.partial(_is, ResultPage | None), _rows_of_start(converter))
    # Any attrs class is read as a model when the first of its kind comes, so no list of models is kept here.
    converter.register_structure_hook_factory(attrs.has, functools.partial(_model_reader, converter))
    converter.register_structure_hook_factory(_is_models, functools.partial(_models_reader, converter))
    return converter


def _is(kind: Any, other: Any) -> bool:
    return bool(kind == other)


def _is_models(kind: Any) -> bool:
    """Whether *kind* is a sequence of models."""
    return typing.get_origin(kind) is Sequence and attrs.has(typing.get_args(kind)[0])


def _rows_of_start(converter: cattrs.Converter) -> Reader:
    def read(value: Any, _: Any) -> ResultPage | None:
        if value is None:
            return None
        page = converter.structure(value, ResultPage)
        if page.count and value.get("list") is None:
            raise WrongTypeError("the list is missing, though the count is above 0")
        return page

    return read


def _models_reader(converter: cattrs.Converter, kind: Any) -> Reader:
    (model,) = typing.get_args(kind)

    def read(value: Any, _: Any) -> tuple[Any, ...]:
        return _records(converter, model, read_list(value))

    return read


def _records(converter: cattrs.Converter, model: type[T], values: list[Any]) -> tuple[T, ...]:
    """Return each of *values* as *model*; one that is no object becomes a record with nothing but ``extra``."""
    structure = converter.get_structure_hook(model)
    try:
        if model is Run:  # The fast path, without a call around it: lists are full of runs.
            return cast(tuple[T, ...], tuple([structure_run(value) or structure(value, model) for value in values]))
        return tuple([structure(value, model) for value in values])
    except WrongTypeError:
        return tuple([_record(structure, model, value) for value in values])


def _record(structure: Reader, model: type[T], value: Any) -> T:
    try:
        return cast(T, structure(value, model))
    except WrongTypeError:
        return cast(Any, model)(extra={_NAMELESS: value})  # type: ignore[no-any-return]


def _members_of(model: type) -> dict[str, str]:
    """Return the attribute and the wire name of each member that the service sends."""
    names = _WIRE_NAMES.get(model.__name__, {})
    fields: list[str] = [field.name for field in attrs.fields(cast(Any, model)) if field.name not in _OURS]
    return {name: names.get(name, name) for name in fields}


def _model_reader(converter: cattrs.Converter, model: type[Any]) -> Reader:
    from cattrs.gen import make_dict_structure_fn, override

    members = _members_of(model)
    readers = _MEMBER_READERS.get(model.__name__, {})
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

    def read(value: Any, _: Any) -> Any:
        if model is Run and (run := structure_run(value)) is not None:
            return run
        if model is LogEntry and isinstance(value, str):  # The newest documented form of a log.
            value = {"content": value}
        came = read_mapping(value)
        try:
            result = structure(came, model)
            odd: set[str] = set()
        except Exception:  # noqa: BLE001 - whatever it is, one member caused it
            result, odd = _structure_around(model, around(), came)
        if isinstance(result, ResultPage) and came.get("list") is None and result.count is None:
            raise WrongTypeError("there is neither list nor count")
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
        except Exception as error:  # noqa: BLE001 - whatever it is, this member caused it
            if name in _FATAL.get(model.__name__, ()):
                raise WrongTypeError(f"{wire}: {error}") from None
            odd.add(wire)
    return model(**values), odd


def _member_readers(converter: cattrs.Converter, model: type) -> dict[str, tuple[str, Reader]]:
    """Return the wire name and the reader of each member that the service sends, by attribute."""
    own = _MEMBER_READERS.get(model.__name__, {})
    types = typing.get_type_hints(model)
    return {
        name: (wire, own.get(name) or converter.get_structure_hook(types[name]))
        for name, wire in _members_of(model).items()
    }


def read_model(answer: Answer, model: type[T], data: Any = ...) -> T:
    """
    Return *data* (the answer's, when not given) as *model*.

    Raises:
        InvalidResponseError: There is no data, or it does not say what it is about.
    """
    came = read_object(answer, answer.data if data is ... else data)
    if not came:
        raise wrong_shape(answer, "data is empty")
    try:
        made = _converter().structure(came, model)
    except Exception as error:  # noqa: BLE001 - no foreign exception leaves the package
        raise wrong_shape(answer, f"{model.__name__}: {error}") from None
    lacking = _lacks(model, made, came)
    if lacking is not None:
        raise wrong_shape(answer, f"{lacking} is missing or cannot be read")
    return made


def _lacks(model: type, made: object, came: Mapping[str, Any]) -> str | None:
    """Return the wire name of a required member that is missing, or None."""
    identity, present = _IDENTITY.get(model.__name__, ()), _PRESENT.get(model.__name__)
    for name in identity:
        if not getattr(made, name):
            return _members_of(model)[name]
    return None if present is None or present in came else present


def read_named(answer: Answer, model: type[T], *, name: str, asked: str | None) -> T:
    """
    Return the answer as *model* when its member *name* is *asked*; None takes any.

    Raises:
        InvalidResponseError: As `read_model`, or the answer is about something else.
    """
    made = read_model(answer, model)
    told: str = getattr(made, name)
    if asked is not None and told.casefold() != asked.casefold():
        raise wrong_shape(answer, f"the request was about {asked}, the answer is about {told}")
    return made


def read_models(answer: Answer, model: type[T], data: Any) -> tuple[T, ...]:
    """
    Return each entry of the list *data* as *model*; null means no entries.

    An entry that cannot be identified stays in its place, with an empty id.

    Raises:
        InvalidResponseError: *data* is no list.
    """
    try:
        return _records(_converter(), model, read_list(data))
    except WrongTypeError as error:
        raise wrong_shape(answer, str(error)) from None


def read_object(answer: Answer, data: Any = ...) -> dict[str, Any]:
    """
    Return *data* (the answer's, when not given) as a plain object.

    Raises:
        InvalidResponseError: It is null, missing, or no object.
    """
    value = answer.data if data is ... else data
    if value is None:
        raise wrong_shape(answer, "data is missing")
    try:
        return read_mapping(value)
    except WrongTypeError as error:
        raise wrong_shape(answer, f"data: {error}") from None
