"""Exports: eight formats behind signed URLs of a server that wants no credential."""

from __future__ import annotations

import csv
import io
import json
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest
from testing.api_session import STORE_WORKER, ApiSession

from coreclaw_async.testing import faults

MAPS = "coreclaw/google-maps-scraper"
ROWS: list[dict[str, Any]] = [{"name": "Ünal", "n": 1, "tags": ["a", "b"]}, {"name": 'say "hi", <b>', "n": None}]


def add_run(api: ApiSession) -> str:
    return api.service.add_run(MAPS, rows=ROWS)


async def url_of(api: ApiSession, run_id: str, **query: str) -> str:
    exported = await api.get(f"/worker-runs/{run_id}/result/export", **query)
    url: str = exported["download_url"]
    return url


async def download(api: ApiSession, url: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=api.service) as plain:
        return await plain.get(url, headers=headers)


async def test_csv_is_the_default(api: ApiSession) -> None:
    answer = await download(api, await url_of(api, add_run(api)))

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert list(csv.reader(io.StringIO(answer.text))) == [
        ["name", "n", "tags"],
        ["Ünal", "1", '["a", "b"]'],
        ['say "hi", <b>', "", ""],
    ]


async def test_json_keeps_types(api: ApiSession) -> None:
    answer = await download(api, await url_of(api, add_run(api), format="JSON"))

    assert answer.json() == [ROWS[0], {**ROWS[1], "tags": None}]


async def test_jsonl_has_a_row_a_line(api: ApiSession) -> None:
    answer = await download(api, await url_of(api, add_run(api), format="jsonl"))

    assert [json.loads(line)["name"] for line in answer.text.splitlines()] == ["Ünal", 'say "hi", <b>']


@pytest.mark.parametrize("form", ["xml", "rss"])
async def test_xml_formats_are_well_formed(api: ApiSession, form: str) -> None:
    answer = await download(api, await url_of(api, add_run(api), format=form))

    fields = ET.fromstring(answer.content).iter("field")
    assert [field.text for field in fields if field.get("name") == "name"] == ["Ünal", 'say "hi", <b>']


@pytest.mark.parametrize("form", ["html", "xls", "XLSX"])
async def test_the_other_formats_are_a_table(api: ApiSession, form: str) -> None:
    answer = await download(api, await url_of(api, add_run(api), format=form))

    assert "<td>say &quot;hi&quot;, &lt;b&gt;</td>" in answer.text
    assert "<th>Name</th>" in answer.text


@pytest.mark.parametrize("form", ["txt", "parquet", ""])
async def test_another_format_is_refused(api: ApiSession, form: str) -> None:
    path = f"/worker-runs/{add_run(api)}/result/export"

    response = await api.client.get(path, params={"format": form})

    assert (response.status_code, response.json()["code"]) == (400, 11000)
    assert response.json()["message"] == "Unsupported export format"


async def test_chosen_columns_come_in_their_order(api: ApiSession) -> None:
    answer = await download(api, await url_of(api, add_run(api), filter_keys="tags,name"))

    assert answer.text.splitlines()[0] == "tags,name"


async def test_generated_rows_have_the_columns_that_the_vendors_own_clients_choose(api: ApiSession) -> None:
    run_id = api.service.add_run(MAPS, rows=1)

    answer = await download(api, await url_of(api, run_id, filter_keys="title,address"))

    assert answer.text.splitlines() == ["title,address", 'Result 1,"1 Example Street, New York, NY"']


async def test_a_column_that_does_not_exist_is_refused(api: ApiSession) -> None:
    path = f"/worker-runs/{add_run(api)}/result/export"

    assert await api.refusal("GET", path, params={"filter_keys": "name,x"}) == (400, 11000)


@pytest.mark.parametrize("scope", ["/worker-runs/last", f"/workers/{STORE_WORKER}/runs/last"])
async def test_the_last_run_can_be_exported(api: ApiSession, scope: str) -> None:
    add_run(api)
    exported = await api.get(f"{scope}/export", format="jsonl")

    assert len((await download(api, exported["download_url"])).text.splitlines()) == 2


async def test_an_export_stays_as_it_was_when_rows_come_later(api: ApiSession) -> None:
    run_id = api.service.add_run(MAPS, rows=2)
    url = await url_of(api, run_id, format="jsonl")
    api.service.insert_rows(run_id, 5)

    ranks = [json.loads(line)["rank"] for line in (await download(api, url)).text.splitlines()]
    assert ranks == [1, 2]


@pytest.mark.parametrize("credential", ["authorization", "api-key"])
async def test_a_download_with_a_credential_is_refused(api: ApiSession, credential: str) -> None:
    url = await url_of(api, add_run(api))

    assert (await download(api, url, **{credential: "Bearer test-key"})).status_code == 403
    assert api.service.requests[-1].headers[credential] == "Bearer test-key"


@pytest.mark.parametrize("change", ["token", "signature", "path"])
async def test_a_changed_url_is_refused(api: ApiSession, change: str) -> None:
    url = await url_of(api, add_run(api))
    changed = {
        "token": url + "&token=test-key",
        "signature": url[:-1],
        "path": url.replace("results", "x"),
    }[change]

    answer = await download(api, changed)

    assert answer.status_code == (404 if change == "path" else 403)
    assert answer.text.startswith("<?xml")


async def test_a_url_expires(api: ApiSession) -> None:
    api.service.export_lifetime = 60
    url = await url_of(api, add_run(api))
    api.service.clock.advance(59)
    assert (await download(api, url)).status_code == 200

    api.service.clock.advance(1)
    assert (await download(api, url)).status_code == 403


async def test_nothing_but_the_query_tells_the_signature(api: ApiSession) -> None:
    url = httpx.URL(await url_of(api, add_run(api)))
    answer = await download(api, str(url))

    signature = url.params["q-signature"]
    assert len(signature) == 40
    assert signature[:8] not in url.path
    assert signature not in str(answer.headers)


async def test_only_get_is_allowed_on_a_file(api: ApiSession) -> None:
    url = await url_of(api, add_run(api))
    async with httpx.AsyncClient(transport=api.service) as plain:
        assert (await plain.post(url)).status_code == 405


@pytest.mark.parametrize(
    ("asked", "status", "start", "stop"),
    [
        ("bytes=0-", 206, 0, None),
        ("bytes=5-", 206, 5, None),
        ("bytes=5-9", 206, 5, 10),
        ("bytes=5-999999999", 206, 5, None),
        ("bytes=-5", 200, 0, None),
        ("lines=1-2", 200, 0, None),
    ],
)
async def test_a_part_of_a_file_can_be_asked_for(
    api: ApiSession, asked: str, status: int, start: int, stop: int | None
) -> None:
    url = await url_of(api, api.service.add_run(MAPS, rows=1200))
    whole = (await download(api, url)).content

    part = await download(api, url, Range=asked)

    assert (part.status_code, part.content) == (status, whole[start:stop])
    if status == 206:
        last = len(whole) - 1 if stop is None else stop - 1
        assert part.headers["content-range"] == f"bytes {start}-{last}/{len(whole)}"


async def test_a_part_behind_the_end_is_refused_with_the_length(api: ApiSession) -> None:
    url = await url_of(api, add_run(api))
    length = int((await download(api, url)).headers["content-length"])

    answer = await download(api, url, Range=f"bytes={length}-")

    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{length}")


async def test_a_big_export_is_streamed(api: ApiSession) -> None:
    url = await url_of(api, api.service.add_run(MAPS, rows=6000))
    async with (
        httpx.AsyncClient(transport=api.service) as plain,
        plain.stream("GET", url) as answer,
    ):
        pieces = [len(piece) async for piece in answer.aiter_raw()]

    assert sum(pieces) == int(answer.headers["content-length"])
    assert len(pieces) > 10


async def test_a_stream_may_be_left_early(api: ApiSession) -> None:
    url = await url_of(api, api.service.add_run(MAPS, rows=5000))
    answer = await api.service.handle_async_request(httpx.Request("GET", url))
    assert isinstance(answer.stream, httpx.AsyncByteStream)
    piece = await anext(aiter(answer.stream))
    await answer.aclose()

    assert 0 < len(piece) < int(answer.headers["content-length"])


async def test_downloads_are_recorded_and_can_fail(api: ApiSession) -> None:
    url = await url_of(api, add_run(api))
    api.service.faults.add(faults.status(500))
    api.service.faults.add(faults.status(503), operation="download")

    answer = await download(api, url)

    recorded = api.service.requests[-1]
    assert (answer.status_code, recorded.status) == (503, 503)
    assert (recorded.host, recorded.operation) == ("files.coreclaw.test", "download")
    assert api.service.faults.pending == 1


async def test_the_api_serves_no_files_and_the_file_server_no_api(api: ApiSession) -> None:
    url = await url_of(api, add_run(api))

    elsewhere = await download(api, url.replace("files.coreclaw.test", "openapi.coreclaw.com"))
    assert elsewhere.json()["code"] == 11004
    strange = await download(api, "https://files.coreclaw.test/api/v2/store")
    assert strange.status_code == 404
    assert "NoSuchKey" in strange.text
