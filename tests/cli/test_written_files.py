"""What ``-o`` writes to: files, links, pipes and devices stay what they are, for every command that writes one."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.batch_lines import plan
from cli.command_line import LIMIT, Outcome, command, invoke, run_in_pipes

from coreclaw_async.testing import FakeService, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"
COMMANDS = [
    ("rows", "last"),
    ("rows", "last", "--format", "csv"),
    ("rows", "last", "--format", "json", "--fields", "title"),
    ("export", "last", "--format", "csv"),
    ("run", WORKER, "-i", '{"keywords": ["coffee"]}', "--format", "jsonl"),
    ("batch", "rows", "nightly"),
    ("batch", "rows", "nightly", "--format", "csv"),
    ("batch", "export", "nightly"),
]
each_command = pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
# Other commands write in the same way, so links, pipes and names are tried with these alone.
each_way = pytest.mark.parametrize("words", [*COMMANDS[1:4:2], COMMANDS[6]], ids=" ".join)


@pytest.fixture
def service(
    served: FakeService, ledger: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> FakeService:
    """A service with an ended run, which is that of a batch where a test is about one."""
    assert ledger
    words = request.node.callspec.params.get("words", ("",)) if hasattr(request.node, "callspec") else ("batch",)
    if words[0] == "batch":
        plan(tmp_path_factory.mktemp("specs"), 1)
        assert invoke("batch", "run", "nightly").exit_code == 0
    else:
        served.add_run(WORKER, rows=2)
    return served


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def to(words: tuple[str, ...], path: Path | str) -> Outcome:
    return invoke(*words, "-o", str(path))


def of_run(run_id: str, words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(run_id if word == "last" else word for word in words)


@each_way
def test_links_and_modes_stay(service: FakeService, folder: Path, words: tuple[str, ...]) -> None:
    real, link = folder / "real", folder / "link"
    real.write_text("before")
    real.chmod(0o640)
    link.symlink_to("real")
    hanging = folder / "hanging"
    hanging.symlink_to("new")

    for path in (link, hanging):
        outcome = to(words, path)
        assert outcome.exit_code == 0, outcome.stderr

    assert link.is_symlink()
    assert hanging.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert len(real.read_text()) > 20
    assert len((folder / "new").read_text()) > 20
    assert sorted(path.name for path in folder.iterdir()) == ["hanging", "link", "new", "real"]


@each_way
def test_a_pipe_with_a_name_gets_what_a_file_would(service: FakeService, folder: Path, words: tuple[str, ...]) -> None:
    pipe, got = folder / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()

    outcome = to(words, pipe)

    reader.join(LIMIT)
    assert outcome.exit_code == 0, outcome.stderr
    assert len(got[0]) > 20
    assert pipe.is_fifo()
    assert list(folder.iterdir()) == [pipe]


@each_command
def test_a_pipe_whose_reader_goes_away_before_the_end_is_seven(
    service: FakeService, folder: Path, words: tuple[str, ...]
) -> None:
    """A reader that leaves at once, while more is written than a pipe holds."""
    service.default_script = RunScript(
        rows=[{"title": "x" * 1000, "number": number} for number in range(300)], duration=0
    )
    if words[0] == "batch":
        words = (*words[:2], "big", *words[3:])
        specs = [json.dumps({"key": "x" * 450 + str(number), "input": {"keywords": ["k"]}}) for number in range(200)]
        (folder.parent / "more.jsonl").write_text("\n".join(specs[: 200 if words[1] == "export" else 1]))
        planned = invoke("batch", "plan", "big", "-i", str(folder.parent / "more.jsonl"), "--worker", WORKER)
        assert planned.exit_code == 0, planned.stderr
        if words[1] == "rows":
            assert invoke("batch", "run", "big").exit_code == 0
    else:
        words = of_run(service.add_run(WORKER, script=service.default_script), words)
    pipe = folder / "pipe"
    os.mkfifo(pipe)

    def read_a_little() -> None:
        descriptor = os.open(pipe, os.O_RDONLY)
        os.read(descriptor, 10)
        os.close(descriptor)

    reader = threading.Thread(target=read_a_little)
    reader.start()

    outcome = to(words, pipe)

    reader.join(LIMIT)
    assert outcome.exit_code == 7
    assert "Broken pipe" in outcome.stderr
    assert list(folder.iterdir()) == [pipe]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@each_command
def test_a_full_device_is_seven_and_one_that_takes_all_is_zero(service: FakeService, words: tuple[str, ...]) -> None:
    outcome = to(words, "/dev/full")

    assert outcome.exit_code == 7
    assert "No space left on device" in outcome.stderr
    assert to(words, "/dev/null").exit_code == 0
    assert Path("/dev/null").is_char_device()


@pytest.mark.endurance
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", [("rows", "last"), ("rows", "last", "--format", "csv"), ("batch", "rows", "nightly")])
def test_standard_output_that_is_full_is_seven(service: FakeService, words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            command(*words), check=False, stdout=full, stderr=subprocess.PIPE, text=True, timeout=LIMIT
        )

    assert ended.returncode == 7
    assert "No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.endurance
def test_standard_output_can_be_named_as_a_device(service: FakeService) -> None:
    code, written, _ = run_in_pipes("rows", "last", "-o", "/dev/stdout", "--format", "csv")

    assert code == 0
    assert written.startswith("title,")


def _a_folder(folder: Path) -> Path:
    (folder / "rows.csv").mkdir()
    return folder / "rows.csv"


def _a_loop(folder: Path) -> Path:
    (folder / "rows.csv").symlink_to("rows.csv")
    return folder / "rows.csv"


def _a_link_into_nowhere(folder: Path) -> Path:
    (folder / "rows.csv").symlink_to("no/such/rows.csv")
    return folder / "rows.csv"


def _a_long_name(folder: Path) -> Path:
    return folder / ("x" * 300)


def _no_process(_: Path) -> Path:
    return Path("/proc/rows.csv")


@pytest.mark.parametrize(
    ("words", "make"),
    [
        *((COMMANDS[0], make) for make in (_a_folder, _a_loop, _a_link_into_nowhere, _a_long_name, _no_process)),
        *((words, _a_loop) for words in COMMANDS[1:]),
    ],
)
def test_what_cannot_be_written_is_two_before_anything_is_sent(
    service: FakeService, folder: Path, words: tuple[str, ...], make: Callable[[Path], Path]
) -> None:
    path = make(folder)
    before = (len(service.requests), sorted(folder.iterdir()))

    outcome = to(words, path)

    assert outcome.exit_code == 2
    assert "cannot be written" in " ".join(outcome.stderr.replace("│", " ").split())
    assert (len(service.requests), sorted(folder.iterdir())) == before


def test_a_page_of_a_batch_is_checked_as_well(service: FakeService, folder: Path) -> None:
    before = len(service.requests)

    assert invoke("batch", "report", "nightly", "--html", str(_a_loop(folder))).exit_code == 2
    assert len(service.requests) == before


@pytest.mark.endurance
@pytest.mark.parametrize("words", COMMANDS[:5], ids=" ".join)
def test_a_disk_that_is_full_before_the_end_is_seven_and_leaves_what_was_there(
    service: FakeService, folder: Path, words: tuple[str, ...]
) -> None:
    service.default_script = RunScript(rows=300, duration=0)
    words = of_run(service.add_run(WORKER, script=service.default_script), words)
    path = folder / "rows.csv"
    path.write_text("before")

    ended = subprocess.run(
        ["prlimit", "--fsize=2000", *command(*words, "-o", str(path))],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )

    assert ended.returncode == 7, ended.stderr
    assert "File too large" in ended.stderr
    assert path.read_text() == "before"
    assert list(folder.iterdir()) == [path]


def test_a_failure_of_the_service_is_not_taken_for_one_of_the_file(service: FakeService, folder: Path) -> None:
    service.faults.add(faults.error(50000, status=400), operation="listWorkerRunResults", times=99)

    assert to(("rows", "last"), folder / "rows.jsonl").exit_code == 3
    assert list(folder.iterdir()) == []
