"""The regions of the proxies."""

from __future__ import annotations

from typing import Any

from coreclaw_async.testing._api.calls import Call
from coreclaw_async.testing._api.operation import operation
from coreclaw_async.testing._api.request_rules import Member

_REGIONS = {"US": "United States", "GB": "United Kingdom", "DE": "Germany", "JP": "Japan", "FR": "France"}
_REGIONS_IN = {
    "de": {"US": "Vereinigte Staaten", "GB": "Vereinigtes Königreich", "DE": "Deutschland", "FR": "Frankreich"},
    "zh": {"US": "美国", "GB": "英国", "DE": "德国", "JP": "日本", "FR": "法国"},
}


@operation("listProxyRegions", "GET", "/proxy/region", query={"language": Member("string")}, public=True)
def list_proxy_regions(call: Call) -> Any:
    """Return the regions; in an unknown language their names are English."""
    names = _REGIONS | _REGIONS_IN.get(call.query.get("language", "en"), {})
    return {"list": [{"code": code, "name": name} for code, name in names.items()]}
