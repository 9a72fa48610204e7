"""``demo`` against its own emulator: what it shows, in a pipe and in a terminal."""

from __future__ import annotations

import ast
import asyncio
import csv
import inspect
import re
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import attrs
import pytest
from cli.command_line import Outcome, ReactingText, invoke, run_in_pipes, run_in_terminal

from coreclaw_async.testing import FakeService, RunScript

CURSOR_HIDDEN = "\x1b[?25l"
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9]")


@pytest.fixture(scope="module")
def shown() -> Iterator[Outcome]:
    """What the plain command shows in a pipe; its file exists until the end of the tests."""
    outcome = invoke("demo")
    yield outcome
    shutil.rmtree(Path(labelled(outcome, "File").split(" ", 1)[0]).parent)


@attrs.frozen
class Processes:
    """The command as processes of its own, which run at the same time."""

    piped: Future[tuple[int, str, str]]
    in_terminal: Future[tuple[int, str]]
    without_colour: Future[tuple[int, str]]
    in_dumb_terminal: Future[tuple[int, str]]


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    folder = tmp_path_factory.mktemp("demo")
    arguments = [("demo", "--output", str(folder / f"{number}.csv")) for number in range(4)]
    with ThreadPoolExecutor() as pool:
        yield Processes(
            piped=pool.submit(run_in_pipes, *arguments[0]),
            in_terminal=pool.submit(run_in_terminal, *arguments[1]),
            without_colour=pool.submit(run_in_terminal, *arguments[2], NO_COLOR="1"),
            in_dumb_terminal=pool.submit(run_in_terminal, *arguments[3], TERM="dumb"),
        )


def labelled(outcome: Outcome, label: str) -> str:
    """Return the text after a label."""
    return next(line for line in outcome.stdout.splitlines() if line.startswith(f"{label:8}"))[8:]


@pytest.mark.endurance
def test_demo_tells_what_it_does_from_the_store_to_the_cost(shown: Outcome) -> None:
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert re.match(r"One run against an emulator at http://127\.0\.0\.1:\d+: .* play money\.\n", shown.stdout)
    assert labelled(shown, "Store") == "coreclaw/google-maps-scraper  Google Maps Scraper"
    assert labelled(shown, "Worker") == "coreclaw/google-maps-scraper"
    assert labelled(shown, "Input") == '{"keywords": ["coffee"]}'
    assert re.fullmatch(r"[0-9A-Z]{26} started", labelled(shown, "Run"))
    assert re.search(r"succeeded after \d+ s with 250 rows", shown.stdout)
    assert labelled(shown, "Rows") == "250, read in 3 pages; the first of them:"
    assert re.findall(r"Result \d+", shown.stdout) == [f"Result {number}" for number in range(1, 6)]
    path, size = labelled(shown, "File").split(" ", 1)
    with Path(path).open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 250
    assert size == f"({Path(path).stat().st_size:,} bytes)"
    assert labelled(shown, "Cost") == "$0.25; the balance went from $100.00 to $99.75"


@pytest.mark.endurance
def test_code_at_the_end_of_the_demo_runs_as_it_is(
    shown: Outcome, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "\n".join(shown.stdout.splitlines()[-4:])
    compiled = compile(code, "<demo>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    service = FakeService(default_script=RunScript(rows=3, duration=0))

    with service.serve() as server:
        monkeypatch.setenv("CORECLAW_API_KEY", service.api_key)
        monkeypatch.setenv("CORECLAW_BASE_URL", server.url)
        pending = eval(compiled, {})
        assert inspect.iscoroutine(pending)
        asyncio.run(pending)

    assert capsys.readouterr().out.count("Result ") == 3


@pytest.mark.endurance
def test_given_number_of_rows_goes_to_the_given_file_in_the_format_of_its_ending(tmp_path: Path) -> None:
    path = tmp_path / "rows.JSONL"

    outcome = invoke("demo", "--rows", "5", "--output", str(path))

    assert outcome.exit_code == 0
    assert labelled(outcome, "File").startswith(str(path))
    assert labelled(outcome, "Rows").startswith("5, read in 1 page;")
    assert len(path.read_text().splitlines()) == 5


@pytest.mark.endurance
def test_process_writes_no_escapes_into_pipes(processes: Processes) -> None:
    code, stdout, stderr = processes.piped.result()

    assert (code, stderr) == (0, "")
    assert "\x1b" not in stdout


@pytest.mark.endurance
def test_terminal_shows_a_progress_bar_with_status_and_rows(processes: Processes) -> None:
    code, text = processes.in_terminal.result()

    assert code == 0
    assert CURSOR_HIDDEN in text
    counts = [int(count) for count in re.findall(r"running .*?(\d+) of 250 rows", text)]
    assert any(0 < count < 250 for count in counts)
    assert COLOUR.search(text)
    assert text.rstrip().endswith("print(row)")


@pytest.mark.endurance
def test_terminal_gets_no_colour_when_no_color_is_set(processes: Processes) -> None:
    code, text = processes.without_colour.result()

    assert code == 0
    assert CURSOR_HIDDEN in text
    assert not COLOUR.search(text)


@pytest.mark.endurance
def test_dumb_terminal_gets_no_progress_bar(processes: Processes) -> None:
    code, text = processes.in_dumb_terminal.result()

    assert code == 0
    assert "\x1b" not in text
    assert "0:00" not in text


def test_interrupted_demo_ends_with_130_and_says_that_its_run_is_gone() -> None:
    stdout = ReactingText(" started", lambda _: signal.raise_signal(signal.SIGINT))

    outcome = invoke("demo", stdout=stdout)

    run_id = labelled(outcome, "Run").removesuffix(" started")
    assert outcome.exit_code == 130
    assert outcome.stderr == f"Run {run_id} has gone with the emulator.\nInterrupted.\n"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--rows", "0"), "--rows"),
        (("--output", "rows.txt"), ".csv"),
        (("--output", "no/such/folder/rows.csv"), "no/such/folder"),
        (("--output", "."), "--output"),
        (("--timeout", "5"), "--live"),
        (("--input", __file__), "--live"),
    ],
)
def test_exit_code_is_2_and_nothing_runs_when_options_cannot_be(options: tuple[str, ...], named: str) -> None:
    outcome = invoke("demo", *options)

    assert outcome.exit_code == 2
    assert named in outcome.stderr
    assert outcome.stdout == ""
