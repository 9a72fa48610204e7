"""Starting runs: the checks of an input, the refusals, and the answer of a synchronous start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from coreclaw_async.testing._api.answers import RefusedError
from coreclaw_async.testing._api.calls import Call, Pending
from coreclaw_async.testing._api.paging import show_results, window_of
from coreclaw_async.testing._state.fake_run import FakeRun
from coreclaw_async.testing._state.records import FakeWorker
from coreclaw_async.testing._state.world import World, custom_input

_CONTAINERS: Mapping[object, type] = {"array": list, "object": dict}


def start_run(
    call: Call, worker: FakeWorker, given: Any, *, version: str, repeated: bool = False, **members: Any
) -> Any:
    """
    Start a run that is paid for, and answer at once or at its end, as `is_async` in the body says.

    A rerun (`repeated`) answers in another shape; `members` are passed to the run.

    Raises:
        RefusedError: 402 with 30001, or 400 with 30003; nothing was started.
    """
    refusal = why_not_now(call.world)
    if refusal is not None:
        raise refusal
    run = call.world.create_run(
        worker,
        given,
        script=call.world.script_for(worker),
        version=version,
        callback_url=call.body.get("callback_url"),
        paid=True,
        **members,
    )
    if call.body.get("is_async", True):
        return {"run_slug": run.run_id}
    return Pending(run, lambda: sync_reply(call, run, repeated=repeated))


def why_not_now(world: World) -> RefusedError | None:
    """Return why no run can be started now, or None."""
    if world.is_out_of_credit():
        return RefusedError(402, 30001)
    limit = world.switches.plan_limit
    if limit is not None and world.active_runs() >= limit:
        return RefusedError(400, 30003)
    return None


def check_version(worker: FakeWorker, version: str | None) -> str:
    """
    Return the version that runs.

    Raises:
        RefusedError: 400 with 50003; `latest` is no version.
    """
    if version is None or version == worker.version:
        return worker.version
    raise RefusedError(400, 50003)


def check_input(worker: FakeWorker, given: Any) -> None:
    """
    Check an input against its shape and the Worker's schema.

    Raises:
        RefusedError: 400 with 11000.
    """
    faults = _shape_faults(given)
    custom = custom_input(given)
    for entry in worker.properties:
        fault = _property_fault(entry, custom.get(entry["name"]))
        faults += [] if fault is None else [fault]
    faults = faults or _split_faults(worker, custom)
    if faults:
        raise RefusedError(400, 11000, "; ".join(faults), details=faults)


def _shape_faults(given: Any) -> list[str]:
    """Return what is wrong with the nesting `{"parameters": {"custom": {...}, "system": {...}}}`."""
    parameters = _members(_members(given).get("parameters"))
    if not isinstance(parameters.get("custom"), dict):
        return ["input.parameters.custom is required"]
    if not isinstance(parameters.get("system", {}), dict):
        return ["input.parameters.system must be an object"]
    unknown = [f"input.{name}" for name in _members(given) if name != "parameters"]
    unknown += [f"input.parameters.{name}" for name in parameters if name not in {"custom", "system"}]
    return [f"{name} is not allowed" for name in unknown]


def _members(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _property_fault(entry: Mapping[str, Any], value: Any) -> str | None:
    if value is None or value in ("", [], {}):
        return f"{entry['name']} is required" if entry.get("required") is True else None
    expected = _CONTAINERS.get(entry.get("type"))
    if expected is not None and not isinstance(value, expected):
        return f"INVALID_INPUT: field [{entry['name']}] must be of type {entry['type']}"
    return None


def _split_faults(worker: FakeWorker, custom: Mapping[str, Any]) -> list[str]:
    """
    Return why an input cannot be split into tasks.

    With a field that is no array it runs as one, as was seen, unless the schema says that the field is an array.
    """
    concurrency = _members(worker.extra_schema.get("concurrency"))
    fields, removed = _names(concurrency.get("fields")), _names(concurrency.get("remove_fields"))
    if not fields or any(custom.get(name) and not isinstance(custom[name], list) for name in fields):
        return []
    filled = {name: list(filter(_is_filled, _array(custom.get(name)))) for name in fields}
    if not any(filled.values()):
        return ["concurrency fields have no non-empty fields"]
    preferred = [name for name in fields if name not in removed and filled[name]]
    return [fault for name in preferred or fields for fault in _item_faults(name, filled[name])]


def _names(value: Any) -> list[str]:
    return [name for name in _array(value) if isinstance(name, str)]


def _array(value: Any) -> list[Any]:
    return list(cast("Sequence[Any]", value)) if isinstance(value, list) else []


def _is_filled(item: Any) -> bool:
    parts = list(cast("dict[str, Any]", item).values()) if isinstance(item, dict) else [item]
    return any(part is not None and part not in ([], {}) and str(part).strip() != "" for part in parts)


def _item_faults(name: str, items: list[Any]) -> list[str]:
    objects = [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]
    faults = [f"field [{name}] must not mix object and primitive items"] if 0 < len(objects) < len(items) else []
    if any(isinstance(item, list) for item in items):
        faults.append(f"item in [{name}] must be an object or primitive value")
    if any(name in item for item in objects):
        faults.append(f"item in [{name}] must not override concurrency field")
    return faults


def sync_reply(call: Call, run: FakeRun, *, repeated: bool) -> dict[str, Any]:
    """Return the data of a synchronous answer; starts answer with other members than reruns and aborts."""
    if call.switches.sync_reply == "slug":
        return {"run_slug": run.run_id}
    began = run.created_at + (run.started_after or 0.0)
    series: dict[str, Any] = (
        {"is_finished": run.is_final} if repeated else {"error_message": run.error_message, "result_message": ""}
    )
    return {
        "run_slug": run.run_id,
        "run_status": run.status,
        **series,
        "execution_start_timestamp": int(began),
        "execution_end_timestamp": int(began + run.duration) if run.is_final else 0,
        "running_duration": int(run.duration),
        "results": show_results(run, window_of(call.body, call.switches), call.switches),
    }
