"""Saved tasks: what is stored, what is shown, what runs."""

from __future__ import annotations

from typing import Any

import pytest
from testing.api_session import GOOD_INPUT, STORE_WORKER, ApiSession

MAPS = "coreclaw/google-maps-scraper"
NEW = {"worker_id": STORE_WORKER, "title": "Daily", "input": GOOD_INPUT}


async def create(api: ApiSession, **more: Any) -> str:
    created = await api.post("/worker-tasks", {**NEW, **more})
    task_id: str = created["slug"]
    return task_id


async def test_a_created_task_is_stored_and_counted(api: ApiSession) -> None:
    task_id = await create(api, schedule_enabled=1, schedule_type=2, schedule_weekday=7)

    task = api.service.tasks[task_id]
    assert (task.title, task.input, task.version) == ("Daily", GOOD_INPUT, "v1.2.8")
    assert task.schedule == {"schedule_enabled": 1, "schedule_type": 2, "schedule_weekday": 7}
    assert api.service.tasks_created == 1


async def test_a_task_of_the_scene_is_not_counted(api: ApiSession) -> None:
    task_id = api.service.add_task(
        MAPS, title="t", input={}, description="d", version="v0", schedule={"schedule_type": 1}
    )

    assert api.service.tasks_created == 0
    assert api.service.tasks[task_id].version == "v0"


@pytest.mark.parametrize(
    "wrong",
    [
        {"worker_id": None},
        {"title": 1},
        {"input": None},
        {"schedule_type": 0},
        {"schedule_type": 5},
        {"schedule_weekday": 0},
        {"schedule_weekday": 8},
        {"schedule_day": 32},
        {"schedule_enabled": True},
        {"schedule_enabled": 2},
        {"unknown": 1},
    ],
)
async def test_a_task_that_breaks_the_rules_is_not_created(api: ApiSession, wrong: dict[str, Any]) -> None:
    assert await api.refusal("POST", "/worker-tasks", json={**NEW, **wrong}) == (400, 11000)
    assert api.service.tasks_created == 0


@pytest.mark.parametrize("name", ["worker_id", "title", "input"])
async def test_a_task_needs_worker_title_and_input(api: ApiSession, name: str) -> None:
    body = {key: value for key, value in NEW.items() if key != name}

    assert await api.refusal("POST", "/worker-tasks", json=body) == (400, 11000)


async def test_a_task_of_an_unknown_worker_is_not_created(api: ApiSession) -> None:
    body = {**NEW, "worker_id": "owner~none"}

    assert await api.refusal("POST", "/worker-tasks", json=body) == (404, 11004)


async def test_the_list_shows_the_production_members_without_an_id(api: ApiSession) -> None:
    task_id = await create(api, schedule_time="09:00")

    listed = await api.get("/worker-tasks")

    (shown,) = listed["list"]
    assert (listed["count"], listed["page_index"]) == (1, 1)
    assert {"id", "worker_id"}.isdisjoint(shown)
    assert (shown["slug"], shown["description"], shown["schedule_time"]) == (task_id, "", "09:00")
    assert (shown["worker_path"], shown["input"]) == (MAPS, GOOD_INPUT)
    assert (shown["run_times"], shown["last_run_id"], shown["schedule_type"]) == (0, 0, 0)


async def test_the_detail_has_big_ids_and_no_empty_description(api: ApiSession) -> None:
    bare = await api.get(f"/worker-tasks/{await create(api)}")
    told = await api.get(f"/worker-tasks/{await create(api, description='d')}")

    assert bare["id"] > 2**53
    assert bare["worker_id"] > 2**53
    assert "description" not in bare
    assert told["description"] == "d"


async def test_tasks_can_have_the_small_documented_form(api: ApiSession) -> None:
    api.service.task_shape = "small"
    api.service.worker_path_style = "tilde"
    task_id = await create(api, description="d", schedule_type=1, schedule_day=3)

    listed = (await api.get("/worker-tasks"))["list"][0]
    detail = await api.get(f"/worker-tasks/{task_id}")

    assert set(listed) == {"id", "slug", "title", "version", "worker_slug"}
    assert set(detail) - set(listed) == {"description", "worker_path", "schedule_type"}
    assert detail["worker_path"] == "coreclaw~google-maps-scraper"


async def test_tasks_are_found_by_worker_and_keyword(api: ApiSession) -> None:
    other = api.service.add_worker("owner/other")
    mine = api.service.add_task(MAPS, title="Coffee shops", input={})
    theirs = api.service.add_task(other, title="Tea", input={})

    async def listed(**query: str) -> list[str]:
        return [task["slug"] for task in (await api.get("/worker-tasks", **query))["list"]]

    assert await listed(worker_id="owner~other") == [theirs]
    assert await listed(keyword="COFFEE") == [mine]
    assert await listed(keyword=theirs.lower()) == [theirs]
    assert await listed(worker_id=other, keyword="coffee") == []


@pytest.mark.parametrize(("shape", "data"), [("production", {}), ("small", None)])
async def test_an_update_changes_what_it_names_alone(api: ApiSession, shape: Any, data: Any) -> None:
    api.service.task_shape = shape
    task_id = await create(api, description="old", schedule_type=1, schedule_time="08:00")
    api.service.clock.advance(60)

    body = {"description": "new", "schedule_type": 3}
    assert await api.call("PUT", f"/worker-tasks/{task_id}", json=body) == data

    task = api.service.tasks[task_id]
    assert (task.title, task.description) == ("Daily", "new")
    assert task.schedule == {"schedule_type": 3, "schedule_time": "08:00"}
    assert task.updated_at - task.created_at == 60


async def test_an_update_can_clear_a_description(api: ApiSession) -> None:
    task_id = await create(api, description="old")
    await api.call("PUT", f"/worker-tasks/{task_id}", json={"title": "T", "description": ""})

    assert (api.service.tasks[task_id].title, api.service.tasks[task_id].description) == ("T", "")


async def test_an_update_takes_no_input(api: ApiSession) -> None:
    path = f"/worker-tasks/{await create(api)}"

    assert await api.refusal("PUT", path, json={"input": {}}) == (400, 11000)


async def test_the_input_is_read_and_replaced_on_its_own(api: ApiSession) -> None:
    path = f"/worker-tasks/{await create(api)}/input"
    assert await api.get(path) == {"input": GOOD_INPUT, "version": "v1.2.8"}

    await api.call("PUT", path, json={"input": {"flat": 1}})
    assert await api.get(path) == {"input": {"flat": 1}, "version": "v1.2.8"}
    await api.call("PUT", path, json={"input": {}, "version": "v2"})
    assert await api.get(path) == {"input": {}, "version": "v2"}


@pytest.mark.parametrize("body", [{}, {"version": "v1"}, {"input": None}, {"input": {}, "title": "t"}])
async def test_an_input_is_replaced_only_by_another(api: ApiSession, body: dict[str, Any]) -> None:
    path = f"/worker-tasks/{await create(api)}/input"

    assert await api.refusal("PUT", path, json=body) == (400, 11000)


async def test_a_task_runs_with_its_stored_input(api: ApiSession) -> None:
    task_id = await create(api)
    run_id = (await api.post(f"/worker-tasks/{task_id}/runs"))["run_slug"]
    await api.post(f"/worker-runs/{run_id}/rerun")

    run = api.service.runs[run_id]
    assert (run.input, run.task_id, api.service.runs_created) == (GOOD_INPUT, task_id, 2)
    shown = await api.get(f"/worker-tasks/{task_id}")
    assert shown["run_times"] == 2
    assert shown["last_run_id"] > 2**53


async def test_a_flat_input_is_stored_and_makes_the_task_useless(api: ApiSession) -> None:
    task_id = await create(api, input={"keywords": ["coffee"]})

    response = await api.client.post(f"/worker-tasks/{task_id}/runs", json={})

    assert (response.status_code, response.json()["code"]) == (400, 11000)
    assert "keywords is required" in response.json()["message"]
    assert api.service.runs_created == 0


async def test_a_task_with_a_version_that_does_not_exist_does_not_run(api: ApiSession) -> None:
    task_id = await create(api, version="latest")

    assert await api.refusal("POST", f"/worker-tasks/{task_id}/runs", json={}) == (400, 50003)


async def test_a_deleted_task_is_gone(api: ApiSession) -> None:
    task_id = await create(api)
    path = f"/worker-tasks/{task_id}"

    assert await api.call("DELETE", path) is None
    assert await api.refusal("DELETE", path) == (404, 11004)
    assert await api.refusal("GET", path) == (404, 11004)
    assert await api.refusal("POST", f"{path}/runs", json={}) == (404, 11004)
