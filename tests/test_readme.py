"""Every snippet of README and the guides runs as it is, and whatever README and the other pages name exists."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from snippets import README as TEXT
from snippets import snippets_of, snippets_of_readme

from coreclaw_async import batch, callbacks, cli, distributed, events, models, testing
from coreclaw_async.testing import FakeService, RealClock, RunScript

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
GUIDE = ROOT / ".github" / "CONTRIBUTING.md"
WORKFLOWS = ROOT / ".github" / "workflows"
PLACES = (ROOT, ROOT / "coreclaw_async", ROOT / ".github")
GUIDES = (batch, callbacks, cli, distributed, events, models, testing)
SNIPPETS = [*snippets_of_readme("python"), *(snippet for guide in GUIDES for snippet in snippets_of(guide, "python"))]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


@pytest.fixture(scope="module")
def emulator() -> Iterator[dict[str, str]]:
    service = FakeService(clock=RealClock(), default_script=RunScript(rows=30, duration=0.2))
    service.add_run("coreclaw/google-maps-scraper", rows=250)
    with service.serve() as server:
        yield {"CORECLAW_API_KEY": service.api_key, "CORECLAW_BASE_URL": server.url}


def test_there_are_snippets() -> None:
    assert len(SNIPPETS) >= 5


@pytest.mark.endurance
@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_runs(emulator: dict[str, str], number: int, tmp_path: Path) -> None:
    if "FakeService" in SNIPPETS[number]:  # It needs neither a key nor a service.
        emulator = {}
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", SNIPPETS[number]],
        cwd=tmp_path,
        env={**os.environ, **emulator},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr


def layout() -> list[str]:
    """Return the lines of the block under "Layout", and check that there is one."""
    block = re.search(r"## Layout\n\n```\n(.*?)```", TEXT, re.DOTALL)
    assert block is not None
    return block[1].splitlines()


def test_readme_is_short_and_lists_its_sections() -> None:
    sections = re.findall(r"^## (.*)$", TEXT, re.MULTILINE)
    listed = re.findall(r"^\[.*\]\(#.*$", TEXT, re.MULTILINE)

    assert len(TEXT.splitlines()) <= 350
    assert [link for line in listed for link in re.findall(r"\[([^]]+)\]\(#([\w-]+)\)", line)] == [
        (section, section.lower().replace(" ", "-")) for section in sections
    ]


def test_pictures_come_light_and_dark_and_are_small() -> None:
    light = re.findall(r'<img src="([^"]*)_light\.\w+" alt="\w', TEXT)

    assert light
    assert re.findall(r'dark\)" srcset="([^"]*)_dark\.\w+">', TEXT) == light
    assert [path for path in (ROOT / ".github" / "pictures").iterdir() if path.stat().st_size > 150_000] == []


def test_readme_says_what_each_extra_brings() -> None:
    table = TEXT.partition("| extra |")[2].partition("\n\n")[0]
    named = [name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])]

    assert sorted(named) == sorted(EXTRAS)


def test_the_guides_that_readme_names_are_there() -> None:
    named = set(re.findall(r"`coreclaw_async\.(\w+)`", TEXT))

    assert {guide.__name__.rpartition(".")[2] for guide in GUIDES} <= named


def _make_command(folder: Path) -> None:
    """Put the command into a folder, as an installation does."""
    folder.mkdir(parents=True)
    script = folder / "coreclaw-async"
    script.write_text(
        f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.quote(sys.executable)} -m coreclaw_async "$@"\n'
    )
    script.chmod(0o755)


def _in_shell(line: str, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.endurance(15)
@pytest.mark.skipif(os.name != "posix" or shutil.which("jq") is None, reason="it needs a shell and jq")
def test_the_way_from_a_first_run_to_its_rows_can_be_gone_as_it_stands_there(tmp_path: Path) -> None:
    (block,) = [snippet for snippet in snippets_of_readme("sh") if snippet.startswith("coreclaw-async store")]
    (further,) = [snippet for snippet in snippets_of(cli, "sh") if "batch" not in snippet]
    _make_command(tmp_path / "bin")
    service = FakeService(clock=RealClock(), default_script=RunScript(rows=30, duration=0.2))
    with service.serve() as server:
        env = {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "CORECLAW_API_KEY": service.api_key,
            "CORECLAW_BASE_URL": server.url,
        }
        for line in sorted(f"{block}{further}".splitlines(), key=lambda line: " abort " in line):
            if " abort " in line:  # The others have ended.
                service.add_run("coreclaw/google-maps-scraper", status="running", age=0)
            ended = _in_shell(line, tmp_path, env)
            assert (ended.returncode, "Traceback" in ended.stderr) == (0, False), (line, ended.stderr)
            if "jq" in line:
                assert len(ended.stdout.splitlines()) == 30

    for name in ("rows.csv", "again.csv"):
        assert len((tmp_path / name).read_text(encoding="utf-8").splitlines()) == 31
    assert (
        b"Result 30" in (tmp_path / "rows.xlsx").read_bytes()
    )  # A table in HTML, which the emulator writes instead of a workbook.


@pytest.mark.endurance
@pytest.mark.skipif(os.name != "posix" or shutil.which("flock") is None, reason="it needs a shell and flock")
def test_the_line_for_cron_does_its_work_without_a_path_and_variables(tmp_path: Path) -> None:
    (line,) = [snippet.removeprefix("15 6 * * *  ").strip() for snippet in snippets_of(cli, "text")]
    assert "%" not in line, "cron takes it for the end of the line"
    places = tmp_path / "places"
    _make_command(places / ".venv/bin")
    service = FakeService(clock=RealClock(), default_script=RunScript(rows=30, duration=0.2))
    (places / "key").write_text(f"{service.api_key}\n", encoding="utf-8")
    (places / "input.json").write_text('{"keywords": ["coffee"]}', encoding="utf-8")
    with service.serve() as server:
        env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "CORECLAW_BASE_URL": server.url}
        ended = _in_shell(line, tmp_path, env)

    (run_id,) = service.runs
    log = (places / "log").read_text(encoding="utf-8").splitlines()
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert log[0] == f"Run {run_id} started."
    assert log[1].startswith(f"Run {run_id} succeeded after ")
    assert log[2].startswith("rows.csv (")
    assert len(log) == 3
    assert len((places / "rows.csv").read_text(encoding="utf-8").splitlines()) == 31


def _in_ci(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    env = {"PATH": f"{folder.parent / 'bin'}:{os.environ['PATH']}", "GITHUB_ENV": "variables"}
    return subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.endurance(5)
@pytest.mark.skipif(os.name != "posix", reason="it needs bash")
def test_two_lines_start_the_emulator_in_ci_wait_for_it_and_export_its_variables(tmp_path: Path) -> None:
    (recipe,) = snippets_of(testing, "bash")
    (in_steps,) = re.findall(r"``(grep -o [^`]*)``", testing.__doc__ or "")
    _make_command(tmp_path / "bin")
    (tmp_path / "empty").mkdir()

    script = f"{recipe}{in_steps}\ncoreclaw-async account\nenv | grep ^CORECLAW_\nkill $!\nwait $!"
    ended = _in_ci(script, tmp_path / "empty")

    assert (ended.returncode, ended.stderr) == (0, "")
    account, _, exported = ended.stdout.partition("CORECLAW_")
    assert account.startswith("balance ")
    variables = (tmp_path / "empty" / "variables").read_text(encoding="utf-8").splitlines()
    assert sorted(variables) == sorted(f"CORECLAW_{exported}".splitlines())
    assert {line.partition("=")[0] for line in variables} == {"CORECLAW_BASE_URL", "CORECLAW_API_KEY"}


@pytest.mark.skipif(os.name != "posix", reason="it needs bash")
def test_the_lines_for_ci_end_with_an_error_when_the_emulator_cannot_start(tmp_path: Path) -> None:
    (recipe,) = snippets_of(testing, "bash")
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "coreclaw-async"
    command.write_text("#!/bin/sh\necho 'cannot listen' >&2\nexit 2\n")
    command.chmod(0o755)
    (tmp_path / "empty").mkdir()

    ended = _in_ci(f"{recipe}echo tests", tmp_path / "empty")

    assert ended.returncode != 0
    assert "cannot listen" in ended.stderr
    assert "tests" not in ended.stdout


def test_the_layout_names_what_is_there() -> None:
    paths = [path for line in layout() for path in re.findall(r"(?<!\S)[\w/]+(?:\.py|/)(?![\w/])", line)]

    assert paths
    assert [path for path in paths if not any((place / path).exists() for place in PLACES)] == []


def parts_of_the_package() -> tuple[set[str], set[str]]:
    """Return the names of its folders, and of the modules beside them that are there to be imported."""
    package = ROOT / "coreclaw_async"
    modules = {path.name for path in package.glob("*.py")} - {"__init__.py", "__main__.py", "_version.py"}
    return {path.parent.name for path in package.glob("*/__init__.py")}, modules


def test_the_layout_names_each_folder_and_module_of_the_package() -> None:
    folders, modules = parts_of_the_package()
    named = set(re.findall(r"(?<![\w/])\w+(?:\.py|/)", "\n".join(layout())))

    assert {f"{folder}/" for folder in folders} | modules <= named


def test_the_guide_names_each_folder_of_the_package() -> None:
    folders, _ = parts_of_the_package()
    named = set(re.findall(r"^\| `coreclaw_async/(\w+)/` \| .", GUIDE.read_text(encoding="utf-8"), re.MULTILINE))

    assert named == folders


@pytest.mark.parametrize("page", [README, GUIDE], ids=lambda page: page.name)
def test_paths_on_a_page_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    paths = re.findall(r"(?<![\w/.-])(?:(?:tests|benchmarks|coreclaw_async|\.github|\.ci)/[\w/.-]*|[A-Z]+\.md)", text)

    assert paths
    assert {path for path in paths if not any((place / path.rstrip(".")).exists() for place in PLACES)} == set()


def test_constants_that_the_guide_names_are_there() -> None:
    sources = [*(ROOT / "coreclaw_async").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    defined = set(re.findall(r"^ *(\w+)(?::[^=\n]+)? = ", "\n".join(map(Path.read_text, sources)), re.MULTILINE))
    named = set(re.findall(r"`(_?[A-Z][A-Z_]+)`", GUIDE.read_text(encoding="utf-8")))

    assert named
    assert named - defined == set()


def test_what_can_be_run_is_named_where_people_look() -> None:
    source = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    sessions = re.findall(r"^@nox\.session.*\ndef (\w+)\(", source, re.MULTILINE)
    told = re.findall(r"nox -s ((?:[a-z]+ ?)+)", "\n".join([GUIDE.read_text(encoding="utf-8"), *layout()]))

    assert f"nox -s {' '.join(sessions)}" in source
    assert f"nox -s {' '.join(sessions)}" in layout()[-1]
    assert {name for names in told for name in names.split()} <= set(sessions)


@pytest.mark.parametrize("page", [GUIDE, WORKFLOWS / "tests.yml", WORKFLOWS / "audit.yml"], ids=lambda page: page.name)
def test_a_set_up_installs_every_extra(page: Path) -> None:
    if not page.exists():
        pytest.skip("an sdist has no workflows")
    installed = re.search(r"install (?:-e )?'\.\[([\w,]+)\]'", page.read_text(encoding="utf-8"))

    assert installed is not None
    assert installed[1].split(",") == sorted(EXTRAS)
