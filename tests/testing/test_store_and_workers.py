"""Store, own Workers, Worker details, input schemas, regions and account."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from testing.api_session import API, STORE_WORKER, ApiSession

from coreclaw_async.testing import FakeService

SCHEMA: dict[str, Any] = {
    "description": "d",
    "concurrency": {"fields": ["urls"]},
    "properties": [
        {"name": "urls", "type": "array", "editor": "requestList", "required": True},
        {"name": "depth", "type": "integer", "editor": "number", "default": 1},
    ],
}


async def test_one_worker_is_in_the_store_from_the_start(api: ApiSession) -> None:
    listed = await api.get("/store")

    assert listed == {
        "scraper": [
            {
                "slug": listed["scraper"][0]["slug"],
                "name": "google-maps-scraper",
                "path": "coreclaw/google-maps-scraper",
                "title": "Google Maps Scraper",
                "username": "coreclaw",
                "description": "Places that match a keyword.",
            }
        ]
    }
    assert await api.get("/workers") == {"scraper": []}


async def test_store_and_own_workers_are_two_lists(api: ApiSession) -> None:
    private = api.service.add_worker("owner/private", in_store=False)
    strange = api.service.add_worker("owner/strange", owned=False)

    assert private not in str(await api.get("/store"))
    assert private in str(await api.get("/workers"))
    assert strange in str(await api.get("/store"))
    assert strange not in str(await api.get("/workers"))


@pytest.mark.parametrize("keyword", ["tiTLE", "owner/na", "slug"])
async def test_a_keyword_matches_title_path_and_slug(api: ApiSession, keyword: str) -> None:
    slug = api.service.add_worker("owner/name", title="A Title")
    wanted = slug[5:].lower() if keyword == "slug" else keyword

    for path in ("/store", "/workers"):
        found = (await api.get(path, keyword=wanted))["scraper"]
        assert [worker["slug"] for worker in found] == [slug]


async def test_an_empty_list_of_workers_can_be_null(api: ApiSession) -> None:
    api.service.null_lists = True

    assert await api.get("/workers") == {"scraper": None}


async def test_paths_can_be_written_with_a_tilde(api: ApiSession) -> None:
    api.service.worker_path_style = "tilde"

    assert (await api.get("/store"))["scraper"][0]["path"] == STORE_WORKER


async def test_the_detail_of_a_worker_has_version_and_defaults(api: ApiSession) -> None:
    api.service.add_worker("owner/name", title="Name", description="Text", version="v3", schema=SCHEMA)

    detail = await api.get("/workers/owner~name")

    assert (detail["name"], detail["username"], detail["version"]) == ("name", "owner", "v3")
    assert detail["readme"].startswith("# Name")
    assert detail["parameters"]["system"] == {"proxy_region": "US"}
    assert detail["parameters"]["custom"]["properties"] == SCHEMA["properties"]


async def test_a_schema_is_a_list_of_properties(api: ApiSession) -> None:
    api.service.add_worker("owner/name", schema=SCHEMA)

    assert (await api.get("/workers/owner~name/input-schema"))["input_schema"] == SCHEMA


async def test_properties_alone_make_a_schema(api: ApiSession) -> None:
    api.service.add_worker("owner/name", schema=SCHEMA["properties"], description="mine")

    schema = (await api.get("/workers/owner~name/input-schema"))["input_schema"]
    assert schema == {"description": "mine", "properties": SCHEMA["properties"]}


async def test_a_schema_can_be_a_map(api: ApiSession) -> None:
    api.service.input_schema = "map"
    api.service.add_worker("owner/name", schema=SCHEMA)

    assert (await api.get("/workers/owner~name/input-schema"))["input_schema"] == {
        "type": "object",
        "properties": {
            "urls": {"type": "array", "editor": "requestList"},
            "depth": {"type": "integer", "editor": "number", "default": 1},
        },
        "required": ["urls"],
    }


async def test_a_schema_can_be_missing(api: ApiSession) -> None:
    api.service.input_schema = "missing"

    assert await api.get(f"/workers/{STORE_WORKER}/input-schema") == {}


@pytest.mark.parametrize("path", ["/workers/owner~none", "/workers/owner~none/input-schema"])
async def test_an_unknown_worker_is_not_found(api: ApiSession, path: str) -> None:
    assert await api.refusal("GET", path) == (404, 11004)


@pytest.mark.parametrize(
    ("language", "name"), [(None, "Germany"), ("de", "Deutschland"), ("zh", "德国"), ("xx", "Germany")]
)
async def test_regions_come_in_the_language_if_it_is_known(
    service: FakeService, language: str | None, name: str
) -> None:
    query = {} if language is None else {"language": language}
    async with httpx.AsyncClient(transport=service, base_url=API) as client:
        listed = (await client.get("/proxy/region", params=query)).json()["data"]["list"]

    assert {"code": "DE", "name": name} in listed
    assert {"code": "JP", "name": "日本" if language == "zh" else "Japan"} in listed


async def test_the_account_tells_the_balance_as_a_text(api: ApiSession) -> None:
    api.service.balance = "2.7129"

    account = await api.get("/users/account")

    assert account["balance"] == "2.7129"
    assert account["balance_expiration_at"] > api.service.clock.time()


CONCURRENCY = {"fields": ["urls", "words"], "remove_fields": ["words"]}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"urls": [" ", None, {"x": ""}], "words": []}, "concurrency fields have no non-empty fields"),
        ({"urls": ["a", {"x": 1}]}, "field [urls] must not mix object and primitive items"),
        ({"urls": ["a", ["b"]]}, "item in [urls] must be an object or primitive value"),
        ({"urls": [{"urls": 1}]}, "item in [urls] must not override concurrency field"),
        ({"words": [["b"]]}, "item in [words] must be an object or primitive value"),
        ({"urls": ["a", 0, ""], "words": [["b"]]}, "success"),
        ({"urls": "a"}, "success"),
    ],
)
async def test_an_input_that_cannot_be_split_is_refused(api: ApiSession, given: dict[str, Any], why: str) -> None:
    api.service.add_worker("owner/name", schema={"concurrency": CONCURRENCY, "properties": []})

    body = {"input": {"parameters": {"custom": given}}}
    answer = await api.client.post("/workers/owner~name/runs", json=body)

    assert answer.json()["message"] == why
