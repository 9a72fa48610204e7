"""Operations that only tell: proxy regions, account, store, Workers and their input schemas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from coreclaw_async.testing._api.calls import Call
from coreclaw_async.testing._state.records import FakeWorker
from coreclaw_async.testing._state.switches import Switches

_REGIONS = {"US": "United States", "GB": "United Kingdom", "DE": "Germany", "JP": "Japan", "FR": "France"}
_REGIONS_IN = {
    "de": {"US": "Vereinigte Staaten", "GB": "Vereinigtes Königreich", "DE": "Deutschland", "FR": "Frankreich"},
    "zh": {"US": "美国", "GB": "英国", "DE": "德国", "JP": "日本", "FR": "法国"},
}
_BALANCE_LIFETIME = 31 * 86_400


def list_proxy_regions(call: Call) -> Any:
    """Answer `GET /proxy/region`; an unknown language gets English names."""
    names = _REGIONS | _REGIONS_IN.get(call.query.get("language", "en"), {})
    return {"list": [{"code": code, "name": name} for code, name in names.items()]}


def get_account(call: Call) -> Any:
    """Answer `GET /users/account`."""
    expires = int(call.switches.clock.time()) + _BALANCE_LIFETIME
    return {"balance": f"{call.world.balance():f}", "balance_expiration_at": expires}


def list_store(call: Call) -> Any:
    """Answer `GET /store`."""
    return _list_workers(call, (worker for worker in call.world.workers.values() if worker.in_store))


def list_workers(call: Call) -> Any:
    """Answer `GET /workers`."""
    return _list_workers(call, (worker for worker in call.world.workers.values() if worker.owned))


def get_worker(call: Call) -> Any:
    """Answer `GET /workers/{workerId}`."""
    worker = call.worker()
    return {
        "name": worker.name,
        "username": worker.username,
        "version": worker.version,
        "readme": f"# {worker.title}\n\n{worker.description}\n",
        "parameters": {"custom": _show_schema(worker, call.switches), "system": {"proxy_region": "US"}},
    }


def get_input_schema(call: Call) -> Any:
    """Answer `GET /workers/{workerId}/input-schema`."""
    worker = call.worker()
    if call.switches.input_schema == "missing":
        return {}
    return {"input_schema": _show_schema(worker, call.switches)}


def _list_workers(call: Call, workers: Iterable[FakeWorker]) -> Any:
    """Show one page; this list has neither a count nor page numbers."""
    keyword = call.query.get("keyword", "").lower()
    window = call.window
    fitting = [worker for worker in workers if keyword in f"{worker.title}\n{worker.slug}\n{worker.path}".lower()]
    page = [_show_worker(worker, call.switches) for worker in fitting[window.start : window.stop]]
    return {"scraper": call.switches.show_list(page)}


def _show_worker(worker: FakeWorker, switches: Switches) -> dict[str, Any]:
    return {
        "slug": worker.slug,
        "name": worker.name,
        "path": switches.show_path(worker.path),
        "title": worker.title,
        "username": worker.username,
        "description": worker.description,
    }


def _show_schema(worker: FakeWorker, switches: Switches) -> dict[str, Any]:
    """Return the input schema as a list of properties, or as the map of the published example."""
    if switches.input_schema != "map":
        return {"description": worker.description, **worker.extra_schema, "properties": list(worker.properties)}
    return {
        "type": "object",
        "properties": {entry["name"]: _without_name(entry) for entry in worker.properties},
        "required": [entry["name"] for entry in worker.properties if entry.get("required") is True],
    }


def _without_name(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name not in {"name", "required"}}
