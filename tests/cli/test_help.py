"""The help of every command: it fits, says what each option does, and its examples run as they stand there."""

from __future__ import annotations

import datetime as dt
import functools
import json
import re
import shlex
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import typer.main
from cli.batch_lines import QUICK
from cli.command_line import LIMIT, first_line, in_environment, invoke, run_in_terminal, running
from rich.cells import cell_len

from coreclaw_async import CoreClaw, RunSpec, __version__
from coreclaw_async.cli.app import app
from coreclaw_async.testing import FakeService, RealClock, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"
SAVED = {"parameters": {"custom": {"keywords": ["coffee"]}}}
EXAMPLE_ID = re.compile(r"01[0-9A-Z]{24}")


@attrs.frozen
class Command:
    """A command or group, by its words."""

    words: tuple[str, ...]
    is_group: bool
    parameters: tuple[Any, ...]
    examples: tuple[str, ...]


def _walk(command: Any, words: tuple[str, ...] = ()) -> Iterator[Command]:
    children = getattr(command, "commands", {})
    lines = re.findall("`(.*)`", command.epilog.partition("\n\n")[0])
    examples = re.sub(r"\\\n +", "", "\n".join(lines)).split("\n")
    yield Command(words, bool(children), tuple(command.params), tuple(examples))
    for name, child in children.items():
        yield from _walk(child, (*words, name))


TREE = list(_walk(typer.main.get_command(app)))
COMMANDS = [command for command in TREE if not command.is_group]


def _named(command: Command) -> str:
    return " ".join(command.words) or "all"


@functools.cache
def help_of(*words: str, flag: str = "--help") -> str:
    outcome = invoke(*words, flag, columns=80)
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    return outcome.stdout


def examples_of(text: str) -> list[str]:
    """Return the examples in a help text, each as one line."""
    block = re.search(
        r"^ Examples?:\n((?: \S.*\n|     .*\n)+)", re.sub(r" +$", "", text, flags=re.MULTILINE), re.MULTILINE
    )
    assert block is not None, text
    assert all(line.startswith((" coreclaw-async ", "     ")) for line in block[1].splitlines()), "it was broken in two"
    return [re.sub(r"\\\n +", "", one) for one in re.findall(r"coreclaw-async (?:.*\\\n)*.*", block[1])]


ALL_EXAMPLES = [
    pytest.param(example, id=example)
    for example in dict.fromkeys(example for command in TREE for example in command.examples)
]


@pytest.mark.parametrize("command", TREE, ids=_named)
def test_help_fits_80_columns_cuts_nothing_and_has_an_example_of_the_command(command: Command) -> None:
    text = help_of(*command.words)

    assert max(map(cell_len, text.splitlines())) <= 80
    assert "…" not in text
    assert examples_of(text) == list(command.examples)
    assert all(example.startswith(" ".join(["coreclaw-async", *command.words])) for example in command.examples)


def test_help_has_a_short_flag_too() -> None:
    assert help_of(flag="-h") == help_of()
    assert help_of("batch", "run", flag="-h") == help_of("batch", "run")


@pytest.mark.parametrize("command", COMMANDS, ids=_named)
def test_help_names_the_exit_codes_once(command: Command) -> None:
    text = " ".join(help_of(*command.words).split())

    if command.words == ("emulate",):
        assert "exit code is 0" in text
        return
    codes = text[text.index("Exit codes: ") :]
    assert text.lower().count("exit codes:") == 1
    assert {"0", "2", "3", "7", "130"} <= set(re.findall(r"[:;] (\d+) ", codes))
    assert codes.endswith("130 Ctrl-C.")


def test_every_option_has_a_help_text_and_a_type_only_where_it_takes_a_value() -> None:
    for command in TREE:
        assert "<bool>" not in help_of(*command.words)
        for parameter in command.parameters:
            assert getattr(parameter, "help", None), (command.words, parameter.name)


def test_options_of_one_meaning_have_one_name_and_one_letter() -> None:
    """An option means the same in all commands that have it."""
    names: dict[str, set[tuple[str, ...]]] = {}
    for command in TREE:
        for parameter in command.parameters:
            if parameter.param_type_name == "option":
                names.setdefault(str(parameter.name), set()).add(
                    tuple(sorted((*parameter.opts, *parameter.secondary_opts)))
                )
    letters = [option for spelled in names.values() for option in next(iter(spelled)) if re.fullmatch("-[a-z]", option)]

    assert {name: spelled for name, spelled in names.items() if len(spelled) > 1} == {}
    assert all(f"--{name.replace('_', '-')}" in next(iter(spelled)) for name, spelled in names.items())
    assert sorted(letters) == ["-f", "-i", "-o", "-w"]
    assert names["output"] == {("--output", "-o")}


# These always print JSON, write a file, or are meant for people only.
WITHOUT_JSON = {("rows",), ("export",), ("demo",), ("emulate",), ("workers", "types")}


def test_json_is_there_wherever_something_is_printed_for_people() -> None:
    without = {
        command.words for command in COMMANDS if "json" not in {parameter.name for parameter in command.parameters}
    }

    assert without <= WITHOUT_JSON


def test_wide_is_there_wherever_a_list_may_be_cut() -> None:
    wide = {_named(command) for command in COMMANDS if "wide" in {parameter.name for parameter in command.parameters}}

    assert wide == {
        "runs", "store", "workers list", "workers input", "tasks list", "queue list", "batch items",
    }  # fmt: skip


def test_version_is_one_line() -> None:
    outcome = invoke("--version")

    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (0, f"coreclaw-async {__version__}\n", "")


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeService]:
    """A folder with the files of the examples, and a service in which all of them can be run."""
    monkeypatch.chdir(tmp_path)
    Path("input.json").write_text('{"keywords": ["coffee"]}')
    Path("places.csv").write_text('place,keywords:json\nBerlin,"[""coffee""]"\n')
    Path("plan.json").write_text('[{"fault": "outage", "minutes": 20}]')
    service = FakeService(clock=RealClock(), default_script=RunScript(rows=2, duration=0.0))
    service.add_run(WORKER, rows=3)
    with in_environment(service, monkeypatch):
        yield service


def _prepare(service: FakeService, words: list[str]) -> list[str]:
    """Make what an example names, and return its words with the id that the service has given."""
    made = ""
    if words[1] == "tasks":
        made = service.add_task(WORKER, title="daily", input=SAVED)
    elif words[1] == "queue":
        made = service.add_queue_item(WORKER, SAVED)
    elif words[1] == "abort":
        service.add_run(WORKER, status="running")
    elif any(EXAMPLE_ID.fullmatch(word) for word in words):
        made = service.add_run(WORKER, rows=3)
    elif words[1] == "batch" and words[2] != "plan":
        with CoreClaw() as client, client.batch("nightly", ledger="runs.db", settle_times=QUICK) as batch:
            batch.plan([RunSpec(key="k17", worker_id=WORKER, input={"keywords": ["tea"]})])
            if words[2] == "resolve":
                service.faults.add(faults.commit_then_drop(), operation="runWorker")
            if words[2] not in {"run", "cancel", "pause", "resume"}:
                list(batch.run())
    return [EXAMPLE_ID.sub(made, word) for word in words]


@pytest.mark.endurance
@pytest.mark.parametrize("example", ALL_EXAMPLES)
def test_example_runs_as_it_stands_in_the_help(scene: FakeService, example: str) -> None:
    words = _prepare(scene, shlex.split(example))
    if words[1] == "emulate":
        with socket.socket() as another:
            if "--port" not in words and another.connect_ex(("127.0.0.1", 8790)) == 0:
                pytest.skip("something else listens on the port of the emulator")
        with running(*words[1:]) as process:
            assert "ready at http://" in first_line(process)
            process.send_signal(signal.SIGINT)
            assert process.wait(LIMIT) == 0
        return

    outcome = invoke(*words[1:])

    assert outcome.exit_code == 0, outcome.stderr
    for option, following in zip(words, [*words[1:], ""], strict=True):
        if option in {"-o", "--html"}:
            assert Path(following).exists()


def test_every_command_has_its_example_run() -> None:
    tried = [str(parameter.values[0]) for parameter in ALL_EXAMPLES]

    for command in COMMANDS:
        assert any(f"{example} ".startswith(f"coreclaw-async {_named(command)} ") for example in tried)


def json_ids(*arguments: str) -> list[str]:
    outcome = invoke(*arguments, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    return [json.loads(line)["run_id"] for line in outcome.stdout.splitlines()]


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Pacific/Kiritimati"])
def test_runs_of_yesterday_are_found_in_local_time(
    scene: FakeService, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        now = dt.datetime.now().astimezone()
        midnight = dt.datetime.combine(now.date(), dt.time()).astimezone()
        yesterday = dt.datetime.combine(now.date() - dt.timedelta(days=1), dt.time()).astimezone()
        ages = [(now - moment).total_seconds() for moment in (midnight, yesterday)]
        late, early, older = (
            scene.add_run(WORKER, rows=1, age=age) for age in (ages[0] + 30, ages[1] - 30, ages[1] + 30)
        )

        assert json_ids("runs", "--since", "yesterday", "--until", "today") == [late, early]
        day = f"{yesterday:%Y-%m-%d}"
        assert json_ids("runs", "--since", day, "--until", f"{midnight:%Y-%m-%d}") == [late, early]
        assert older in json_ids("runs", "--since", "7d", "--until", "yesterday")
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--until", "today"), "--until needs --since"),
        (
            ("--since", "tomorrow"),
            "--since must be today, yesterday, an age like 12h or 7d, or a date or time in ISO 8601",
        ),
        (("--since", "\u0667d"), "--since must be today"),
        (("--since", "today", "--until", "yesterday"), "until must come after since"),
    ],
)
def test_a_time_that_cannot_be_is_refused_before_anything_is_sent(
    scene: FakeService, arguments: tuple[str, ...], told: str
) -> None:
    outcome = invoke("runs", *arguments)

    assert outcome.exit_code == 2
    assert told in " ".join(outcome.stderr.replace("│", " ").split())
    assert scene.requests == []


@pytest.mark.endurance
@pytest.mark.parametrize("columns", [60, 80, 120])
def test_help_in_a_terminal_fits_it(columns: int) -> None:
    code, written = run_in_terminal("--help", COLUMNS=str(columns))
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written)

    assert code == 0
    assert max(map(cell_len, text.splitlines())) <= columns


@pytest.mark.endurance
@pytest.mark.parametrize("words", [("--help",), ("batch", "plan", "--help"), ("emulate", "--help")])
def test_help_has_no_colour_that_cannot_be_read_on_white_or_black(words: tuple[str, ...]) -> None:
    """No yellow and no cyan, and no background; only the titles of the frames are dimmed."""
    code, written = run_in_terminal(*words, COLUMNS="80")
    styles = re.findall(r"\x1b\[([0-9;]*)m(?=[^\x1b]*[\w])", written)

    assert code == 0
    assert {"1", "31"} & {part for style in styles for part in style.split(";")}
    assert not {"33", "36", "40", "93", "96"} & {part for style in styles for part in style.split(";")}
