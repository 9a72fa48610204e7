"""
A table of all options side by side: of the async and the blocking client, of batches, shards and the command line.

``python -m coreclaw_async._tools.docs.compare_options`` prints it. A name should mean the same everywhere, with one
default and one place in the order; `ACCEPTED` says why the names in it do not.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import typer.main
from typer.core import TyperArgument, TyperGroup, TyperOption

from coreclaw_async import AsyncBatch, AsyncCoreClaw, AsyncPager, Batch, CoreClaw, Pager, RunSpec, ShardSpec
from coreclaw_async._operations.lazy_group import LazyGroup
from coreclaw_async.cli.app import app
from coreclaw_async.distributed import dask, shards

ACCEPTED = {
    "auth": "with_options keeps what is None",
    "check": "a run that failed does not end the loop over the others",
    "format": "the ending of a file says it",
    "input": "a start may have raw_input instead",
    "is_async": "the service has another default for aborting",
    "json": "what is exported is always lines of JSON",
    "ledger": "run_once has a default, which a batch that is planned once and run for days must name",
    "limit": "a page has 20 items, rows of a start have the service's default, rows on a screen have all",
    "max_response_bytes": "with_options keeps what is None",
    "offset": "a list begins at 0, rows of a start where the service says",
    "offset_dialect": "with_options keeps what is None",
    "output": "rows go to standard output",
    "priority": "the lines of a plan have their own",
    "retries": "the lines of a plan have their own",
    "shard": "a spec always has a part",
    "since": "find_started needs a beginning",
    "state": "only an item that is done has rows",
    "timeout": "one call of a client has 60 s, a run has no limit",
    "title": "an update keeps what is None",
    "wait": "the command prints the id, and waits if told to",
    "worker_id": "what is run must be named, a list is of all",
}
"""Names with several defaults, and why."""

# The words of the command line for names of arguments, and for their values.
_WORDS = {"abort_on_interrupt": "on_cancel", "items": "queue_ids", "task": "task_id", "worker": "worker_id"}
_VALUES = {("on_cancel", "False"): "'leave'"}
# These serve the fake, whose options are about what it answers.
_FAKE = {"demo", "emulate"}
# Where arguments stand in a signature, as far as several functions have them.
_ORDER = """
    api_key key worker_id task_id run runs input path ledger output output_format with_key dtype_backend
    system raw_input version keyword status callback_url
    exclusive on_ambiguous settle_times max_spend patience account max_in_flight
    start_time end_time since until format fields partial follow is_async offset limit
    wait_for_slot wait timeout check on_update on_cancel
    page_size max_items prefetch on_conflict nested labels progress
"""


class Option(NamedTuple):
    """An argument of a function, or an argument or option of a command."""

    name: str
    default: str
    where: str


def functions() -> Iterator[tuple[str, Callable[..., Any], Callable[..., Any] | None]]:
    """Yield the name of each public function, the async one, and its blocking twin if it has one."""
    blocking = CoreClaw("no-key")
    kinds: dict[str, tuple[Any, Any]] = {
        "client": (AsyncCoreClaw, CoreClaw),
        "batch": (AsyncBatch, Batch),
        "pager": (AsyncPager, Pager),
    }
    names = [name for name, member in vars(AsyncCoreClaw).items() if isinstance(member, LazyGroup)]
    kinds |= {name: (getattr(AsyncCoreClaw, name), type(getattr(blocking, name))) for name in names}
    blocking.close()
    for name, (kind, twin) in kinds.items():
        for method, function in inspect.getmembers(kind, inspect.isfunction):
            if not method.startswith("_") and method not in {"aclose", "join"}:
                yield f"{name}.{method}", function, getattr(twin, method)
    yield "AsyncCoreClaw", AsyncCoreClaw.__init__, CoreClaw.__init__
    for kind in (RunSpec, ShardSpec):
        yield kind.__name__, kind.__init__, None
    yield "run_batch", dask.run_batch, None
    yield "run_shard", shards.run_shard, shards.run_shard_async


def parameters(function: Callable[..., Any]) -> dict[str, str]:
    """Return the arguments of a function in their order, each with its default."""
    given = [value for value in inspect.signature(function).parameters.values() if value.name != "self"]
    return {value.name: _shown(value.default) for value in given}


def _shown(default: object) -> str:
    if default is inspect.Parameter.empty:
        return "required"
    return f"a {type(default).__name__}" if callable(default) else repr(default)


def commands(group: TyperGroup, path: tuple[str, ...] = ()) -> Iterator[tuple[str, list[TyperArgument | TyperOption]]]:
    """Yield each command of the command line with its arguments and options."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, (*path, name))
        else:
            given = [one for one in command.params if isinstance(one, TyperArgument | TyperOption)]
            yield " ".join((*path, name)), given


def options() -> Iterator[Option]:
    """Yield each option of each function and command."""
    for name, function, _ in functions():
        for argument, default in parameters(function).items():
            yield Option(argument, default, name)
    line = typer.main.get_command(app)
    assert isinstance(line, TyperGroup)
    for command, given in commands(line):
        for option in given if command not in _FAKE else ():
            name = _WORDS.get(option.name or "", option.name or "")
            default = "required" if option.required else _shown(option.default)
            yield Option(name, _VALUES.get((name, default), default), f"`{command}`")


def by_name(given: Iterable[Option]) -> dict[str, dict[str, list[str]]]:
    """Return where each name is an option, by its default."""
    names: dict[str, dict[str, list[str]]] = {}
    for option in sorted(given):
        names.setdefault(option.name, {}).setdefault(option.default, []).append(option.where)
    return names


def unlike_twins() -> list[str]:
    """Return the functions whose blocking twins take something else."""
    return [name for name, function, twin in functions() if twin and parameters(function) != parameters(twin)]


def out_of_order() -> list[str]:
    """Return the functions whose arguments are in another order than elsewhere."""
    return [name for name, function, _ in functions() if _places(function) != sorted(_places(function))]


def _places(function: Callable[..., Any]) -> list[int]:
    order = _ORDER.split()
    return [order.index(name) for name in parameters(function) if name in order]


def table(names: Mapping[str, Mapping[str, list[str]]]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield f"{'name':20} {'default':28} where"
    for name, defaults in names.items():
        for default, places in defaults.items():
            yield f"{name:20} {default:28} {', '.join(places)}"
        if len(defaults) > 1:
            yield f"{'':20} {'why':28} {ACCEPTED.get(name, '???')}"


if __name__ == "__main__":  # pragma: no cover - a person runs it
    sys.stdout.write("\n".join(table(by_name(options()))) + "\n")
