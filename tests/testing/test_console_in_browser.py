"""The page of the console in a real browser: seen, clicked, and used by keyboard."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest
from cli.command_line import running
from ports import reserved_port
from testing.browser import NAMES, Browser, Page, find_chromium, running_browser
from testing.console_session import MAPS, ConsoleSession, console_of

from coreclaw_async import CoreClaw, OutcomeUnknownError
from coreclaw_async.testing import FakeService, RunScript

pytestmark = [
    pytest.mark.endurance,
    pytest.mark.skipif(find_chromium() is None, reason=f"none of {', '.join(NAMES)} is on the path"),
]

CHOOSE = "((one) => { one.value = '%s'; one.dispatchEvent(new Event('change')); })(document.querySelector('%s'))"
HOSTILE = "</script><img src=x onerror='window.stolen = 1'><b>\u202e\u0000"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def console() -> Iterator[ConsoleSession]:
    with console_of(FakeService(default_script=RunScript(rows=10, duration=3600))) as session:
        yield session


@pytest.fixture
def page(browser: Browser, console: ConsoleSession) -> Iterator[Page]:
    opened = browser.open(f"{console.origin}/")
    opened.wait_text("#link", "Live")
    yield opened
    complaints = opened.complaints()
    opened.close()
    assert complaints == []


def lines(page: Page) -> list[str]:
    """Return what the lines of the runs show."""
    shown: list[str] = page.run("[...document.querySelectorAll('#lines tr')].map((row) => row.innerText)")
    return shown


def test_run_that_a_client_starts_is_seen_to_move(console: ConsoleSession, page: Page) -> None:
    page.wait_text("#none", f"No runs yet. Start one with any client at {console.origin}.")

    run_id = console.start({"keywords": ["tea"]})
    page.wait_text("#lines", "running")
    began = lines(page)[0]
    page.click("+10 min")
    page.wait_text("#lines", "10 min")
    page.click("+1 hour")
    page.wait_text("#lines", "succeeded")

    assert run_id in began
    assert '"keywords": ["tea"]' in began
    assert re.search(r"succeeded\s+(.|\s)*\s10\s+0\.010\s", lines(page)[0])
    assert "ahead of where it was" in page.text("#said")
    assert page.text("#cost") == "0.010"


def test_switch_that_loses_the_answer_of_the_next_start_makes_its_outcome_unknown(browser: Browser) -> None:
    with running("emulate", "--port", "0") as process:
        assert process.stdout is not None
        address = next(line for line in process.stdout if line.startswith("Console: ")).split()[1]
        page = browser.open(address)
        page.click("Lose the answer of the next start")
        page.wait_text("#planned", "starts: the next one")

        with (
            CoreClaw("test-key", base_url=address.rstrip("/")) as client,
            pytest.raises(OutcomeUnknownError) as raised,
        ):
            client.workers.start_run(MAPS, {"keywords": ["coffee"]})

        (run_id,) = raised.value.candidates or ()
        page.wait_text("#lines", run_id)
        page.wait_text("#requests", "commit_then_drop")
        page.wait_text("#planned-title", "Planned: none")
        requests, all_of_it = page.text("#requests"), page.text("body")
        page.close()

    assert re.search(r"runWorker\s+commit_then_drop\s+no answer", requests)
    assert "test-key" not in all_of_it


def test_hostile_text_stays_text(console: ConsoleSession, page: Page) -> None:
    hostile = console.service.add_worker(f"acme/{HOSTILE.replace('/', '')}", title=HOSTILE)
    script = RunScript(
        rows=[{HOSTILE: HOSTILE}], log=[("<b>", HOSTILE)], duration=0, outcome=HOSTILE, error_message=HOSTILE
    )
    run_id = console.service.add_run(hostile, script=script, input={"parameters": {"custom": {HOSTILE: HOSTILE}}})
    console.ask(f"/{quote(HOSTILE)}")
    page.wait_text("#lines", run_id)
    page.click(run_id)
    page.wait_text("#rows", "onerror")

    for selector in ("#lines", "#requests", "#filters", "#input", "#log", "#rows", "#facts", "#timeline"):
        assert "onerror" in page.text(selector), selector
    assert page.run("document.querySelectorAll('img, b, main script, dialog script').length") == 0
    assert page.run("window.stolen ?? null") is None


def test_page_lets_no_script_in_that_does_not_stand_in_it(page: Page) -> None:
    told = page.run(
        """(() => {
            const tried = [];
            for (const write of [
                () => { document.body.innerHTML = "<img src=x>"; },
                () => { eval("1"); },
                () => { document.write("<p>"); },
            ]) { try { write(); tried.push("done"); } catch (error) { tried.push(error.name); } }
            return tried;
        })()"""
    )
    page.forgive()

    assert "done" not in told


def test_everything_can_be_done_by_keyboard(console: ConsoleSession, page: Page) -> None:
    first, second = console.start(), console.start()
    page.wait_text("#lines", second)

    page.tab_to(f"Stick run {second}")
    page.press("Enter")
    page.wait_text("#said", f"Run {second} stays running until you end it.")
    page.wait_text("#lines", "running, stuck")
    stays = page.focused()
    page.tab_to(f"Finish run {first}")
    page.press("Enter")
    page.wait_text("#lines", "succeeded")
    page.wait(f"document.activeElement.innerText === {json.dumps(first)}")
    page.press("Enter")
    page.wait("document.querySelector('dialog').open")
    page.wait_text("#timeline", "succeeded")
    in_dialog = page.focused()
    page.press("Escape")
    page.wait("!document.querySelector('dialog').open")

    assert stays == f"Stick run {second}"
    assert in_dialog == "Close"
    assert page.focused() == first
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_run_is_ended_from_its_details_and_what_happened_is_said_there(console: ConsoleSession, page: Page) -> None:
    run_id = console.start()
    page.wait_text("#lines", run_id)
    page.click(run_id)
    page.wait("document.querySelectorAll('#details-acts button').length === 4")
    page.run("document.querySelector('#details-acts button:nth-child(2)').focus()")
    page.press("Enter")
    page.wait_text("#details-status", "failed")
    page.wait("document.querySelectorAll('#details-acts button').length === 0")

    assert page.text("#details-said") == f"Run {run_id} has failed."
    assert page.focused() == "Close"
    page.click("Close")
    assert page.run("document.querySelector('dialog').open") is False


def test_details_of_a_run_that_is_gone_close(console: ConsoleSession, page: Page) -> None:
    run_id = console.start()
    page.wait_text("#lines", run_id)
    page.click(run_id)
    page.wait_text("#input", "coffee")
    console.service.reset()
    page.wait("!document.querySelector('dialog').open")

    assert page.text("#said") == "There is no such run."
    page.forgive()  # The browser notes the 404.


def test_fault_is_chosen_planned_and_cleared(console: ConsoleSession, page: Page) -> None:
    page.wait("document.querySelectorAll('#what option').length > 10")
    page.run(CHOOSE % ("outage", "#what"))
    page.wait_text("#unit", "How many minutes")
    page.run(CHOOSE % ("listStore", "#where"))
    page.run("(document.querySelector('#count').focus(), document.querySelector('#count').select())")
    page.write("0.5")
    page.press("Enter")
    page.wait_text("#planned", "Outage: nothing is done, the answer is 502")
    status = console.ask("/api/v2/store").status_code
    page.click("Clear")
    page.wait_text("#planned-title", "Planned: none")

    assert (status, console.ask("/api/v2/store").status_code) == (502, 200)


def test_count_that_a_chance_does_not_need_is_not_checked(console: ConsoleSession, page: Page) -> None:
    page.wait("document.querySelectorAll('#what option').length > 10")
    page.run(CHOOSE % ("outage", "#what"))
    page.run("(document.querySelector('#count').focus(), document.querySelector('#count').select())")
    page.write("0.5")
    page.run(CHOOSE % ("chance", "#what"))
    assert page.run("document.querySelector('#count-label').hidden") is True
    page.click("Plan it")
    page.wait_text("#planned", "10 % of them")

    assert console.service.faults.planned[0].probability == 0.1
    page.run(CHOOSE % ("delay", "#what"))
    assert page.run("document.querySelector('#count').disabled") is False


def test_details_that_are_opened_as_others_close_are_shown(console: ConsoleSession, page: Page) -> None:
    runs = [console.start({"keywords": [word]}) for word in ("tea", "milk")]
    page.wait_text("#lines", runs[1])
    page.click(runs[0])
    page.wait_text("#input", "tea")
    page.run(f"(document.querySelector('#details').close(), openDetails({json.dumps(runs[1])}))")
    page.wait_text("#input", "milk")
    console.service.finish(runs[1])
    page.wait_text("#details-status", "succeeded")

    assert page.text("#details-id") == runs[1]


def test_address_with_a_name_and_a_password_opens_the_page(browser: Browser, console: ConsoleSession) -> None:
    page = browser.open(f"{console.origin.replace('://', '://user:word@')}/")
    page.wait_text("#link", "Live")
    page.click("+1 hour")
    page.wait_text("#said", "ahead of where it was")
    page.close()


def test_text_of_a_run_does_not_look_like_text_of_the_page(console: ConsoleSession, page: Page) -> None:
    forged = "\u202ereal\n00:00:00 error forged"
    script = RunScript(
        log=[forged, "second"], rows=[{"a": "\u202eb"}, {"c": 1}], statuses=[(0, "running"), (1, "\u202egnp.exe")]
    )
    run_id = console.service.add_run(MAPS, script=script)
    console.service.add_run(MAPS, script=RunScript(usage="abc"))
    page.wait_text("#lines", run_id)
    page.click(run_id)
    page.wait_text("#log", "second")

    left = "((one) => Math.round(one.getBoundingClientRect().left))"
    texts = page.run(f"[...document.querySelectorAll('#log .line > :last-child')].map({left})")
    assert page.run("document.querySelectorAll('#log .line').length") == 2
    assert len(set(texts)) == 1
    assert texts[0] > page.run(f"{left}(document.querySelector('#log .line'))")
    isolated = "[...document.querySelectorAll(%s)].every((one) => getComputedStyle(one).unicodeBidi === 'isolate')"
    for selector in ("#log .line > :last-child", "#rows .row", "#filters button span", "#lines .what span"):
        assert page.run(isolated % json.dumps(selector)), selector
    page.press("Escape")
    assert "This cannot be shown: InvalidOperation." in lines(page)[0]
    assert re.search(r"unknown\s+unknown\s+unknown", lines(page)[0])


def test_many_runs_are_leafed_through_filtered_and_searched(console: ConsoleSession, page: Page) -> None:
    service = console.service
    for number in range(10_000):
        service.add_run(MAPS, age=20_000 - number, status="failed" if number == 5 else "succeeded", rows=1)
    page.wait_text("#place", "1\u201350 of 10,000")
    page.click("Older")
    page.wait_text("#place", "51\u2013100 of 10,000")
    page.click("Newer")
    page.wait_text("#place", "1\u201350 of 10,000")
    page.click("failed 1")
    page.wait_text("#place", "1\u20131 of 1")
    failed = list(service.runs)[5]
    assert failed in lines(page)[0]
    page.click("all 10,000")
    page.run("document.querySelector('#search').focus()")
    page.write(list(service.runs)[77].lower())
    page.wait_text("#place", "1\u20131 of 1")
    page.write("x")
    page.wait("!document.querySelector('#none').hidden")
    assert page.text("#none") == "No run fits."

    assert page.run("document.querySelectorAll('#lines tr').length") == 0


def test_focus_stays_among_the_pages_of_the_runs_where_they_end(console: ConsoleSession, page: Page) -> None:
    for number in range(60):
        console.service.add_run(MAPS, age=number)
    page.wait_text("#place", "1\u201350 of 60")
    page.tab_to("Older")
    page.press("Enter")
    page.wait_text("#place", "51\u201360 of 60")
    at_the_end = page.focused()
    page.press("Enter")
    page.wait_text("#place", "1\u201350 of 60")

    assert at_the_end == "Newer"
    assert page.focused() == "Older"
    page.run("document.querySelector('#search').focus()")
    page.write("nothing")
    page.wait_text("#none", "No run fits.")
    assert page.focused() == "Search id, Worker or input"
    page.run("(document.querySelector('#search').value = '', wanted.text = '', wanted.offset = 0, follow(), 1)")
    page.wait_text("#place", "1\u201350 of 60")
    page.tab_to("Older")
    console.service.reset()
    page.wait("document.activeElement === document.querySelector('#search')")


def test_what_is_said_takes_no_click_from_what_it_covers(console: ConsoleSession, page: Page) -> None:
    for number in range(60):
        console.service.add_run(MAPS, age=number)
    run_id = console.start()
    page.click(f"Fail run {run_id}")
    page.wait_text("#said", f"Run {run_id} has failed.")
    x, y = page.run("(({x, y}) => [x + 5, y + 5])(document.querySelector('#said').getBoundingClientRect())")
    page.run(f"scrollBy(0, document.querySelector('#older').getBoundingClientRect().y - {y} - 5)")
    covers = page.run(f"document.elementsFromPoint({x}, {y}).some((one) => one.id === 'said')")
    page.click("Older")

    assert not covers
    page.wait_text("#place", "51\u201361 of 61")


@pytest.mark.parametrize("width", [360, 1280])
def test_parts_of_the_page_are_reached_past_many_runs(console: ConsoleSession, page: Page, width: int) -> None:
    for _ in range(50):
        console.start()
    page.wait_text("#place", "1\u201350 of 50")
    page.resize(width, 800)
    is_seen = "document.querySelector('.jump').getBoundingClientRect().right > 0"
    assert page.run(is_seen) is (width == 360)
    for _ in range(7):
        if page.focused() != "Faults":
            page.press("Tab")
    assert page.focused() == "Faults"
    assert page.run(is_seen)
    page.press("Enter")
    page.press("Tab")

    assert page.focused() == "Lose the answer of the next start"
    top = page.run("document.querySelector('#faults-title').getBoundingClientRect().top")
    assert 0 <= top < 800
    if width == 360:  # It does not lie below what stays at the top.
        assert page.run("document.querySelector('.jump').getBoundingClientRect().bottom") <= top


def test_line_of_a_run_is_three_lines_on_a_small_phone(console: ConsoleSession, page: Page) -> None:
    console.service.add_run(MAPS, age=20_000, script=RunScript(rows=345, duration=2_050))
    page.resize(320, 800)
    page.wait_text("#lines", "succeeded")

    heads, facts = (
        page.run(f"[...document.querySelectorAll('{cells}')].map((one) => one.getBoundingClientRect().top)")
        for cells in ("td.c-status, td.c-began", "td.c-rows, td.c-cost, td.c-took")
    )
    assert len(set(heads)) == 1
    assert len(set(facts)) == 1
    assert page.run("document.querySelector('#lines .status').getClientRects().length") == 1


def test_rows_of_a_run_are_counted_in_words_on_a_phone(console: ConsoleSession, page: Page) -> None:
    for rows in (1, 2):
        console.service.add_run(MAPS, age=60 * rows, rows=rows)
    page.wait_text("#place", "1\u20132 of 2")
    units = "[...document.querySelectorAll('td.c-rows')].map((one) => getComputedStyle(one, '::after').content)"
    wide = page.run(units)
    page.resize(360, 800)

    assert wide == ["none", "none"], "the column has a heading"
    assert page.run(units) == ['" row"', '" rows"']


def test_buttons_of_the_clock_stand_in_one_line_on_a_phone(page: Page) -> None:
    page.resize(360, 800)

    tops = page.run("[...document.querySelectorAll('[data-seconds]')].map((one) => one.getBoundingClientRect().top)")
    assert len(set(tops)) == 1


def test_focus_stays_among_the_faults_when_the_last_one_is_used_up_or_cleared(
    console: ConsoleSession, page: Page
) -> None:
    for times, use_up in ((5, console.ask), (1, lambda: page.press("Enter"))):
        page.click("Answer 429 to the next 5 requests")
        page.wait("!document.querySelector('#clear').disabled")
        page.tab_to("Clear")
        for _ in range(times):
            use_up()
        page.wait_text("#planned-title", "Planned: none")

        assert page.run("document.activeElement.id") == "what"


def test_page_of_an_emulator_that_was_reset_goes_back_to_its_first_runs(console: ConsoleSession, page: Page) -> None:
    for number in range(60):
        console.service.add_run(MAPS, age=number)
    page.wait_text("#place", "1\u201350 of 60")
    page.click("Older")
    page.wait_text("#place", "51\u201360 of 60")
    console.service.reset()
    run_id = console.start()
    page.wait_text("#lines", run_id)

    assert page.text("#place") == "1\u20131 of 1"


def test_page_comes_back_with_its_emulator(browser: Browser) -> None:
    with reserved_port() as port:
        pass
    with console_of(FakeService(), port=port) as console:
        page = browser.open(f"{console.origin}/")
        page.wait_text("#link", "Live")
    page.wait_text("#link", "The emulator does not answer. Trying again.")
    with console_of(FakeService(), port=port) as console:
        page.wait_text("#link", "Live")
        run_id = console.start()
        page.wait_text("#lines", run_id)
    page.close()


def test_page_that_is_one_too_many_says_so(browser: Browser, console: ConsoleSession) -> None:
    with ExitStack() as others:
        streams = [others.enter_context(console.stream()) for _ in range(5)]
        for stream in streams:
            stream.next()
        page = browser.open(f"{console.origin}/")
        page.wait_text("#link", "5 times")
    page.wait_text("#link", "Live")
    page.close()


def test_page_fits_its_window_in_dark_and_in_light(console: ConsoleSession, page: Page, tmp_path: Path) -> None:
    stuck, failed = console.start({"keywords": ["x" * 300]}), console.start()
    console.service.stick(stuck)
    console.service.finish(failed, "failed")
    console.service.add_run(MAPS, age=10**9, rows=10**6, status="aborted")
    page.wait_text("#lines", "stuck")

    for width, is_dark in ((360, False), (360, True), (768, False), (1280, True), (1920, False)):
        page.resize(width, 900)
        page.choose_scheme(is_dark=is_dark)
        assert page.run("document.documentElement.scrollWidth <= innerWidth"), width
        background = page.run("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", background))) < 3 * 100) is is_dark
        page.click(stuck)
        page.wait_text("#input", "xxx")
        assert page.run("document.querySelector('dialog').scrollWidth <= innerWidth"), width
        page.picture(tmp_path / "console.png")
        page.click("Close")
