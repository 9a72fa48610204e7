"""The blocking client is what the generator makes of the async one, with the same docstrings."""

from __future__ import annotations

import inspect
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from client_groups import GROUPS

import coreclaw_async
from coreclaw_async import AsyncBatch, AsyncCoreClaw, AsyncPager, AsyncStream, Batch, CoreClaw, Pager, Stream
from coreclaw_async._frames.methods import AsyncFrames
from coreclaw_async._sync.generated_frames import BatchFrames, Frames
from coreclaw_async.batch._frames import AsyncBatchFrames

PACKAGE = Path(coreclaw_async.__file__).parent
# No wheel has the script.
SCRIPT = Path(__file__).parents[2] / "coreclaw_async" / "_tools" / "generate_sync.py"
_SCRIPT = runpy.run_path(str(SCRIPT))
Generator, main, as_blocking = _SCRIPT["Generator"], _SCRIPT["main"], _SCRIPT["as_blocking"]
GENERATED = PACKAGE / "_sync" / "generated.py"
FRAMES = PACKAGE / "_sync" / "generated_frames.py"
# Names that differ, and why.
OTHER_NAMES = {"aclose": "close", "__aenter__": "__enter__", "__aexit__": "__exit__"}


def public(kind: type) -> dict[str, Any]:
    names = [name for name in vars(kind) if not name.startswith("_") or name in {*OTHER_NAMES, *OTHER_NAMES.values()}]
    members = {name: vars(kind)[name] for name in names if name not in GROUPS}
    return members | {"__init__": kind.__init__}  # type: ignore[misc]


def twins(kind: type, blocking: type) -> list[Any]:
    theirs = public(blocking)
    return [
        pytest.param(call, theirs.get(OTHER_NAMES.get(name, name)), id=f"{kind.__name__}.{name}")
        for name, call in public(kind).items()
        if name != "__init__" or kind is AsyncCoreClaw
    ]


TWINS = [
    *twins(AsyncCoreClaw, CoreClaw),
    *(twin for twin in twins(AsyncBatch, Batch) if twin.id.partition(".")[2] in vars(Batch)),
    *twins(AsyncFrames, Frames),
    *twins(AsyncBatchFrames, BatchFrames),
    *(
        twin
        for group in GROUPS
        for twin in twins(type(getattr(AsyncCoreClaw("key"), group)), type(getattr(CoreClaw("key"), group)))
    ),
]
ITERATOR_TWINS = [*twins(AsyncPager, Pager), *twins(AsyncStream, Stream)]


def shape(call: Any) -> list[tuple[str, Any, Any, str]]:
    function: Any = call.fget if isinstance(call, property) else call
    parameters = inspect.signature(function).parameters.values()
    return [(one.name, one.kind, one.default, str(one.annotation)) for one in parameters if one.name != "self"]


def returned(call: Callable[..., Any]) -> str:
    return str(inspect.signature(call).return_annotation)


def blocking_words(call: object) -> str | None:
    words = inspect.getdoc(call)
    return None if words is None else as_blocking(words)


@pytest.mark.parametrize(("call", "twin"), TWINS)
def test_each_method_has_a_twin_with_the_same_parameters_defaults_types_and_words(call: Any, twin: Any) -> None:
    assert twin is not None, "there is no twin"
    assert shape(twin) == shape(call)
    assert inspect.getdoc(twin) == blocking_words(call)
    if not isinstance(call, property):
        assert returned(twin) == re.sub(r"\bAsync(Pager|Stream|Batch)\b", r"\1", returned(call))
    assert not inspect.iscoroutinefunction(twin)


@pytest.mark.parametrize(
    ("call", "twin"),
    [
        one
        for one in TWINS
        if inspect.iscoroutinefunction(one.values[0]) and not str(one.id).startswith("AsyncCoreClaw.")
    ],
)
def test_each_twin_of_a_coroutine_function_hands_on_all_its_arguments(call: Any, twin: Any) -> None:
    def called(*args: Any, **kwargs: Any) -> Any:
        return inspect.signature(call).bind(None, *args, **kwargs).arguments

    def run(function: Any, *args: Any, **kwargs: Any) -> Any:
        return SimpleNamespace(result=lambda: function(*args, **kwargs))

    given = {name: object() for name in inspect.signature(twin).parameters if name != "self"}
    group = SimpleNamespace(_inner=SimpleNamespace(**{call.__name__: called}), _bridge=SimpleNamespace(run=run))

    assert twin(group, **given) == {"self": None, **given}


@pytest.mark.parametrize(("call", "twin"), ITERATOR_TWINS)
def test_each_method_of_an_iterator_has_a_twin(call: Any, twin: Any) -> None:
    assert twin is not None, "there is no twin"
    assert shape(twin) == shape(call)
    assert inspect.getdoc(twin) == blocking_words(call)


def test_an_example_is_written_without_await_and_the_text_above_it_as_it_is() -> None:
    text = "Await it.\n\nExample::\n\n    async with AsyncCoreClaw() as client:\n        await client.aclose()\n"

    assert as_blocking(text) == "Await it.\n\nExample::\n\n    with CoreClaw() as client:\n        client.close()\n"
    assert as_blocking("Await it.") == "Await it."


def test_both_clients_have_the_same_groups() -> None:
    assert [name for name in vars(CoreClaw("key")) if not name.startswith("_")] == GROUPS


def test_the_blocking_client_offers_nothing_that_the_async_one_does_not() -> None:
    for group in GROUPS:
        kind, blocking = (type(getattr(client("key"), group)) for client in (AsyncCoreClaw, CoreClaw))
        assert public(blocking).keys() == public(kind).keys()


def test_generated_text_is_what_the_generator_writes_now() -> None:
    assert Generator(PACKAGE).render() == GENERATED.read_text("utf-8")
    assert Generator(PACKAGE).render_frames() == FRAMES.read_text("utf-8")


@pytest.mark.parametrize("path", [GENERATED, FRAMES])
def test_generated_text_says_who_wrote_it(path: Path) -> None:
    first = path.read_text("utf-8").splitlines()[1]

    assert "GENERATED by coreclaw_async/_tools/generate_sync.py" in first


@pytest.mark.endurance
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_every_python_writes_the_same_bytes(version: str) -> None:
    command = shutil.which(f"python{version}")
    if command is None or subprocess.run([command, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip(f"there is no Python {version} here")

    checked = subprocess.run([command, str(SCRIPT), "--check"], capture_output=True, text=True, check=False)

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of what the generator reads and writes."""
    copy = tmp_path / "coreclaw_async"
    for folder in ("_resources", "_frames", "batch"):
        shutil.copytree(PACKAGE / folder, copy / folder)
    shutil.copy(PACKAGE / "_client.py", copy)
    (copy / "_sync").mkdir()
    shutil.copy(GENERATED, copy / "_sync")
    shutil.copy(FRAMES, copy / "_sync")
    return copy


def change(package: Path, name: str, before: str, after: str) -> int:
    """Replace the only *before* in a module, and return the line it began in."""
    text = (package / name).read_text("utf-8")
    assert text.count(before) == 1
    (package / name).write_text(text.replace(before, after), "utf-8")
    return text[: text.index(before)].count("\n") + 1


def test_check_accepts_what_was_written(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (GENERATED, FRAMES):
        (package / "_sync" / path.name).unlink()

    assert main([], package) == 0
    assert main(["--check"], package) == 0
    assert capsys.readouterr().out == ""
    for path in (GENERATED, FRAMES):
        assert (package / "_sync" / path.name).read_bytes() == path.read_bytes()


def test_check_shows_what_differs_and_leaves_it_alone(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(package, "_resources/account.py", "async def get(", "async def read(")

    assert main(["--check"], package) == 1
    shown = capsys.readouterr().out
    assert "-    def get(self) -> Account:" in shown
    assert "+    def read(self) -> Account:" in shown
    assert (package / "_sync" / "generated.py").read_bytes() == GENERATED.read_bytes()


@pytest.mark.parametrize("name", [GENERATED.name, FRAMES.name])
def test_check_misses_no_text_at_the_end(package: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    with (package / "_sync" / name).open("a") as file:
        file.write("# more\n")

    assert main(["--check"], package) == 1
    assert "-# more" in capsys.readouterr().out


@pytest.mark.parametrize("name", [GENERATED.name, FRAMES.name])
def test_check_of_a_file_that_is_not_there_fails(package: Path, name: str) -> None:
    (package / "_sync" / name).unlink()

    assert main(["--check"], package) == 1


def test_other_arguments_are_refused(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--chekc"], package) == 2
    assert "usage" in capsys.readouterr().err


def test_a_new_method_gets_a_twin(package: Path) -> None:
    with (package / "_resources" / "account.py").open("a") as file:
        file.write(
            "\n    async def set(\n        self,\n        account: Account,\n        note: str | None = None,\n"
            '        *,\n        mode: str = "a",\n    ) -> None:\n        """Change it."""\n'
        )

    main([], package)

    assert (
        'def set(self, account: Account, note: str | None = None, *, mode: str = "a") -> None:\n'
        '        """Change it."""\n'
        "        return self._bridge.run(self._inner.set, account, note, mode=mode).result()\n"
    ) in (package / "_sync" / "generated.py").read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "before", "after", "why"),
    [
        ("account", "async def get(self)", "async def get(self, *ids: str)", "get has positional-only or variadic"),
        ("account", "async def get(self)", "async def get(self, given)", "parameter given has no type"),
        ("account", "async def get(self) -> Account:", "async def get(self):", "get has no return type"),
        (
            "account",
            "async def get(self)",
            "def get(self)",
            "get is no coroutine function and returns none of AsyncPager",
        ),
        ("account", "    async def get(self)", "    @cached\n    async def get(self)", "there is no rule for @cached"),
        (
            "account",
            "    async def get(self)",
            "    kind = 1\n\n    async def get(self)",
            "a class may hold a docstring",
        ),
        ("account", "Return the account with its balance.", "Await this.", "'Await' in a docstring is not about"),
        ("account", "-> Account:", "-> Page:", "Page cannot be imported under this name"),
        ("account", "class AsyncAccount", "class AsyncAcount", "there is no class AsyncAccount"),
        ("account", "import Account", "import Run as Account", "Account cannot be imported under this name"),
        ("workers", "from coreclaw_async.models import", "from elsewhere import", "Page means two things"),
    ],
)
def test_what_has_no_rule_stops_the_generator_with_file_line_and_reason(
    package: Path, capsys: pytest.CaptureFixture[str], name: str, before: str, after: str, why: str
) -> None:
    line = change(package, f"_resources/{name}.py", before, after)
    code = main([], package)

    assert code == 1
    told = re.fullmatch(rf"coreclaw_async/_resources/{name}\.py:(\d+): {re.escape(why)}.*\n", capsys.readouterr().err)
    assert told is not None
    assert abs(int(told[1]) - line) <= 25
    assert (package / "_sync" / "generated.py").read_bytes() == GENERATED.read_bytes()


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("    async def aclose(self)", "    async def quit(self)", "there is no rule for the client's"),
        (
            "        runs: AsyncRuns\n",
            "        print(context)\n",
            "a condition in the client's class may do nothing but declare groups",
        ),
        (
            '        """\n        Close the connections,',
            '        f"""\n        Close the connections,',
            "aclose has no docstring",
        ),
    ],
)
def test_a_client_that_is_not_understood_stops_the_generator(
    package: Path, capsys: pytest.CaptureFixture[str], before: str, after: str, why: str
) -> None:
    change(package, "_client.py", before, after)

    assert main([], package) == 1
    assert why in capsys.readouterr().err


def test_the_script_ends_with_what_it_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["generate_sync.py", "--check"])

    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")

    assert ended.value.code == 0


def test_the_script_runs_by_path_and_needs_nothing_of_the_package(package: Path) -> None:
    script = shutil.copytree(SCRIPT.parent, package / "_tools") / SCRIPT.name
    (package / "_sync" / "generated.py").write_text("broken (", "utf-8")

    subprocess.run([sys.executable, "-I", str(script)], check=True)

    assert (package / "_sync" / "generated.py").read_bytes() == GENERATED.read_bytes()
