"""Starting runs: what an input must be, and what refuses a start without a cost."""

from __future__ import annotations

from typing import Any

import pytest
from testing.api_session import GOOD_INPUT, STORE_WORKER, ApiSession

from coreclaw_async.testing import FakeService, RunScript

RUNS = f"/workers/{STORE_WORKER}/runs"


@pytest.mark.parametrize("form", ["slug", "owner~name", "owner%7Ename"])
async def test_a_worker_is_named_by_slug_or_by_its_path_with_a_tilde(api: ApiSession, form: str) -> None:
    slug = api.service.add_worker("owner/name")

    run_id = await api.start(slug if form == "slug" else form)

    assert api.service.runs[run_id].worker_id == slug
    assert api.service.runs_created == 1


@pytest.mark.parametrize(("name", "refusal"), [("nobody~nothing", (404, 11004)), ("123456", (404, 11004))])
async def test_an_unknown_worker_runs_nothing(api: ApiSession, name: str, refusal: tuple[int, int]) -> None:
    assert await api.refusal("POST", f"/workers/{name}/runs", json={"input": GOOD_INPUT}) == refusal


@pytest.mark.parametrize(
    "given",
    [
        {"keywords": ["coffee"]},
        {"parameters": {"keywords": ["coffee"]}},
        {"parameters": {"custom": ["coffee"]}},
        {"parameters": []},
        "coffee",
        {"parameters": {"custom": {"keywords": ["coffee"]}, "system": []}},
        {"parameters": {"custom": {"keywords": ["coffee"]}, "other": {}}},
        {"parameters": {"custom": {"keywords": ["coffee"]}}, "keywords": ["coffee"]},
    ],
)
async def test_an_input_that_is_not_nested_as_it_should_be_is_refused(api: ApiSession, given: Any) -> None:
    assert await api.refusal("POST", RUNS, json={"input": given}) == (400, 11000)
    assert api.service.runs_created == 0


@pytest.mark.parametrize("empty", [None, "", [], {}])
async def test_a_required_field_must_be_filled(api: ApiSession, empty: Any) -> None:
    given = {"parameters": {"custom": {"keywords": empty}}}

    response = await api.client.post(RUNS, json={"input": given})

    assert (response.status_code, response.json()["message"]) == (400, "keywords is required")


async def test_a_start_without_an_input_is_refused(api: ApiSession) -> None:
    assert await api.refusal("POST", RUNS, json={}) == (400, 11000)


async def test_a_list_field_does_not_take_a_text(api: ApiSession) -> None:
    given = {"parameters": {"custom": {"keywords": "coffee"}}}

    response = await api.client.post(RUNS, json={"input": given})

    assert response.json()["message"] == "INVALID_INPUT: field [keywords] must be of type array"


async def test_a_scalar_field_takes_any_scalar(api: ApiSession) -> None:
    given = {"parameters": {"custom": {"keywords": ["coffee"], "max_results": "5"}, "system": {}}}

    await api.post(RUNS, {"input": given})

    assert api.service.runs_created == 1


@pytest.mark.parametrize("version", ["latest", "v9.9.9"])
async def test_only_the_current_version_runs(api: ApiSession, version: str) -> None:
    body = {"input": GOOD_INPUT, "version": version}

    assert await api.refusal("POST", RUNS, json=body) == (400, 50003)
    assert await api.start(version="v1.2.8") in api.service.runs


async def test_the_plan_limits_how_many_runs_are_active(api: ApiSession) -> None:
    api.service.plan_limit = 2
    first = await api.start()
    api.service.script_next(RunScript(ready_for=100))
    await api.start()

    assert await api.refusal("POST", RUNS, json={"input": GOOD_INPUT}) == (400, 30003)
    await api.post(f"/worker-runs/{first}/abort")
    await api.start()
    assert api.service.runs_created == 3


async def test_runs_use_up_the_balance_as_rows_appear(api: ApiSession) -> None:
    api.service.balance = "0.02"
    api.service.default_script = RunScript(rows=20, duration=10)
    await api.start()
    assert (await api.get("/users/account"))["balance"] == "0.020"

    api.service.clock.advance(5)
    assert (await api.get("/users/account"))["balance"] == "0.010"

    api.service.clock.advance(5)
    assert (await api.get("/users/account"))["balance"] == "0.000"
    assert await api.refusal("POST", RUNS, json={"input": GOOD_INPUT}) == (402, 30001)


async def test_inserted_rows_cost_as_others_do(api: ApiSession) -> None:
    api.service.balance = "0.01"
    run_id = await api.start()
    api.service.insert_rows(run_id, 10)

    assert await api.refusal("POST", RUNS, json={"input": GOOD_INPUT}) == (402, 30001)


async def test_rows_that_are_inserted_after_the_end_cost_as_others_do_whoever_has_looked_before(
    api: ApiSession,
) -> None:
    api.service.balance = "0.02"
    api.service.default_script = RunScript(rows=10, duration=10)
    run_id = await api.start()
    api.service.clock.advance(10)
    assert (await api.get("/users/account"))["balance"] == "0.010"

    api.service.insert_rows(run_id, 4)

    assert (await api.get("/users/account"))["balance"] == "0.006"


async def test_runs_of_the_history_cost_nothing(api: ApiSession) -> None:
    run_id = api.service.add_run("coreclaw/google-maps-scraper", rows=1000)
    api.service.insert_rows(run_id, 1_000_000)
    await api.start()

    assert (await api.get("/users/account"))["balance"] == "100.000"
    assert api.service.runs_created == 1


async def test_a_script_may_name_its_own_price(api: ApiSession) -> None:
    api.service.next_script = RunScript(duration=0, usage="2.5")
    run_id = await api.start()

    assert (await api.get(f"/worker-runs/{run_id}"))["usage"] == "2.5"
    assert (await api.get("/users/account"))["balance"] == "97.50"


async def test_a_rerun_is_a_new_paid_run_with_the_same_input(api: ApiSession) -> None:
    first = await api.start()

    again = (await api.post(f"/worker-runs/{first}/rerun"))["run_slug"]

    assert again != first
    assert api.service.runs[again].input == GOOD_INPUT
    assert api.service.runs_created == 2


@pytest.mark.parametrize("path", ["/worker-runs/last", f"/workers/{STORE_WORKER}/runs/last"])
async def test_the_last_run_can_be_run_again(api: ApiSession, path: str) -> None:
    other = api.service.add_worker("owner/other")
    api.service.add_run(other, age=500)
    mine = api.service.add_run("coreclaw/google-maps-scraper", age=50, input=GOOD_INPUT)

    again = (await api.post(f"{path}/rerun"))["run_slug"]

    assert api.service.runs[again].worker_id == api.service.runs[mine].worker_id
    assert api.service.runs[again].input == GOOD_INPUT


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/log"),
        ("GET", "/result"),
        ("GET", "/export"),
        ("POST", "/abort"),
        ("POST", "/rerun"),
    ],
)
async def test_without_any_run_there_is_no_last_one(api: ApiSession, method: str, path: str) -> None:
    json: dict[str, Any] | None = {} if method == "POST" else None
    for scope in ("/worker-runs/last", f"/workers/{STORE_WORKER}/runs/last"):
        assert await api.refusal(method, scope + path, json=json) == (404, 11004)


async def test_scripts_for_the_next_starts_are_used_once_and_in_order(api: ApiSession) -> None:
    service = api.service
    service.add_worker("owner/name", script=RunScript(rows=7))
    service.script_next(RunScript(rows=1))
    service.script_next(RunScript(rows=2))
    assert service.next_script == RunScript(rows=1)

    scripts = [service.runs[await api.start("owner~name")].script.rows for _ in range(3)]

    assert scripts == [1, 2, 7]
    assert service.next_script is None


async def test_setting_the_next_script_forgets_the_queue(api: ApiSession) -> None:
    api.service.script_next(RunScript(rows=1))
    api.service.next_script = RunScript(rows=2)
    api.service.next_script = None

    assert api.service.runs[await api.start()].script == api.service.default_script


async def test_ids_are_ulids_of_the_moment_and_the_same_for_the_same_seed(api: ApiSession) -> None:
    twin = FakeService()
    run_id = await api.start()

    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    number = 0
    for letter in run_id[:10]:
        number = number * 32 + alphabet.index(letter)
    assert len(run_id) == 26
    assert number == api.service.clock.time() * 1000
    assert twin.add_run("coreclaw/google-maps-scraper", age=0) == run_id
    assert FakeService(seed=1).add_run("coreclaw/google-maps-scraper", age=0) != run_id


def test_a_worker_that_does_not_exist_cannot_get_a_run(service: FakeService) -> None:
    with pytest.raises(KeyError, match="owner/none"):
        service.add_run("owner/none")


@pytest.mark.parametrize("path", ["name", "owner/", "a/b/c", "owner~name"])
def test_a_worker_needs_an_owner_and_a_name(service: FakeService, path: str) -> None:
    with pytest.raises(ValueError, match="path must be 'owner/name'"):
        service.add_worker(path)


@pytest.mark.parametrize("switch", ["offset_dialect", "log_entries", "task_shape"])
def test_a_switch_does_not_take_an_unknown_word(service: FakeService, switch: str) -> None:
    with pytest.raises(ValueError, match=switch):
        setattr(service, switch, "sideways")


async def test_reset_forgets_everything_but_switches_and_clock(api: ApiSession) -> None:
    api.service.plan_limit = 9
    api.service.add_worker("owner/name")
    await api.start()
    api.service.clock.advance(5)
    api.service.reset()

    assert (api.service.runs_created, len(api.service.runs), api.service.requests) == (0, 0, [])
    assert (api.service.plan_limit, api.service.clock.monotonic()) == (9, 5)
    assert len((await api.get("/store"))["scraper"]) == 1
