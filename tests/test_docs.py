"""The documentation has a page for each public name, and is made of README, its neighbours and docstrings alone."""

from __future__ import annotations

import enum
import inspect
import re
import runpy
from pathlib import Path
from typing import Any

import attrs
import pytest
from snippets import README

import coreclaw_async
from coreclaw_async import Run, testing
from coreclaw_async.testing import FakeService

# In the checkout, and not in the package as it is installed.
FOLDER = Path(__file__).parent.parent / "coreclaw_async" / "_tools" / "docs"
SCRIPT = FOLDER / "write_pages.py"
ENUMS = [
    value
    for value in (getattr(coreclaw_async, name) for name in coreclaw_async.__all__)
    if inspect.isclass(value) and issubclass(value, enum.Enum)
]


@pytest.fixture(scope="module")
def tool() -> dict[str, Any]:
    pytest.importorskip("distributed")
    pytest.importorskip("opentelemetry")
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def written(tool: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    tool["main"](folder)
    return folder


def test_each_public_name_has_a_page_that_a_chapter_lists(written: Path) -> None:
    listed = "".join(
        path.read_text("utf-8") for path in written.glob("[a-z]*.rst") if "toctree" in path.read_text("utf-8")
    )

    for name in set(coreclaw_async.__all__) - {"__version__"}:
        text = (written / f"coreclaw_async.{name}.rst").read_text("utf-8")
        assert re.match(rf"({name}|client\.\w+)\n=", text)
        assert re.search(rf":: coreclaw_async\.{name}(\(\))?\n", text)
        assert f"   coreclaw_async.{name}\n" in listed


def test_names_of_the_fake_its_faults_and_the_groups_have_pages(written: Path, tool: dict[str, Any]) -> None:
    for name in set(testing.__all__) - {"faults", "Fault"}:
        assert (written / f"coreclaw_async.testing.{name}.rst").exists()
    assert "autofunction:: coreclaw_async.testing.faults.status\n" in (
        written / "coreclaw_async.testing.faults.status.rst"
    ).read_text("utf-8")
    assert set(tool["GROUPS"]) == {"account", "proxies", "store", "workers", "tasks", "runs", "run_queue"}
    assert "AsyncRuns()\n" in (written / f"{tool['GROUPS']['runs']}.rst").read_text("utf-8")


def test_what_most_readers_want_comes_first_in_its_chapter(written: Path) -> None:
    def listed(chapter: str) -> list[str]:
        return re.findall(r"^   (coreclaw_async\.\S+)$", (written / f"{chapter}.rst").read_text("utf-8"), re.MULTILINE)

    assert listed("operations")[0] == "coreclaw_async.AsyncAccount"
    assert [".Sync" in path for path in listed("operations")] == [False] * 7 + [True] * 7
    assert [".faults." in path for path in listed("testing")] == sorted(
        ".faults." in path for path in listed("testing")
    )


def test_chapters_say_what_the_examples_take_for_granted(written: Path) -> None:
    assert "``client`` is an open ``AsyncCoreClaw``" in (written / "operations.rst").read_text("utf-8")
    assert "``service`` is a ``FakeService``" in (written / "testing.rst").read_text("utf-8")


def test_groups_are_not_shown_again_within_the_clients(written: Path) -> None:
    for name in ("AsyncCoreClaw", "CoreClaw"):
        shown = (written / f"coreclaw_async.{name}.rst").read_text("utf-8")
        assert ":exclude-members: account, proxies, store, workers, tasks, runs, run_queue\n" in shown


@pytest.mark.parametrize("name", ["AsyncCoreClaw", "CallbackHub", "CoreClaw"])
def test_a_class_is_shown_with_what_its_constructor_takes(written: Path, name: str) -> None:
    assert ":class-doc-from: both\n" in (written / f"coreclaw_async.{name}.rst").read_text("utf-8")


def test_what_clients_make_is_shown_without_what_its_constructor_takes(written: Path, tool: dict[str, Any]) -> None:
    for name in tool["_MADE_BY_CLIENTS"] - {"FaultPlan"}:
        assert f":: coreclaw_async.{name}()\n" in (written / f"coreclaw_async.{name}.rst").read_text("utf-8")


def test_an_error_is_shown_without_what_all_exceptions_have(written: Path) -> None:
    text = (written / "coreclaw_async.PaginationError.rst").read_text("utf-8")

    assert ":exclude-members: add_note, with_traceback\n" in text


def test_defaults_are_shown_as_objects_have_them() -> None:
    shown = runpy.run_path(str(FOLDER / "shown.py"))
    run = shown["signature_of"](Run.__init__, Run)
    service = shown["signature_of"](FakeService.__init__, FakeService)

    assert repr(run.parameters["extra"].default) == "{}"
    assert run.parameters["usage"].default is None
    assert repr(service.parameters["default_script"].default) == "RunScript()"
    assert str(shown["MadeDefault"](lambda: None)) == "..."


def test_values_of_an_enumeration_are_shown_below_their_names() -> None:
    shown = runpy.run_path(str(FOLDER / "shown.py"))
    lines = ["How an item came to its state.", ".. attribute:: NOT_SENT", "", "   It never left.", ".. attribute:: x"]

    assert list(shown["with_values"](coreclaw_async.ItemOrigin, lines)) == [
        *lines[:2],
        "   :value: 'not-sent'",
        *lines[2:],
    ]


def test_a_guide_leaves_out_what_its_module_says_to_those_who_change_it() -> None:
    shown = runpy.run_path(str(FOLDER / "shown.py"))
    lines = ["Models.", "", "Belongs here: classes.", "Does not belong here: requests.", "", "All have ``to_dict``."]

    assert list(shown["without_notes"](lines)) == ["Models.", "", "", "All have ``to_dict``."]


@pytest.mark.parametrize("kind", ENUMS)
def test_each_member_of_an_enumeration_is_described(kind: type[enum.Enum]) -> None:
    assert re.findall(r"^    (\w+): ", inspect.getdoc(kind) or "", re.MULTILINE) == list(kind.__members__)


def test_each_switch_of_the_fake_is_described() -> None:
    described = re.findall(r"^    (\w+): ", inspect.getdoc(FakeService) or "", re.MULTILINE)

    assert described == [each.name for each in attrs.fields(FakeService) if not each.name.startswith("_")]


def test_a_name_that_is_no_class_is_shown_with_its_value(written: Path) -> None:
    assert "autodata:: coreclaw_async.Row\n" in (written / "coreclaw_async.Row.rst").read_text("utf-8")


def test_a_type_is_shown_with_the_text_below_its_definition(written: Path, tool: dict[str, Any]) -> None:
    assert "\n   How the key is sent" in (written / "coreclaw_async.AuthMode.rst").read_text("utf-8")
    with pytest.raises(LookupError, match="NoSuchType"):
        tool["text_of_alias"]("NoSuchType")


def test_the_front_page_is_readme_with_links_between_pages(written: Path, tool: dict[str, Any]) -> None:
    front = (written / "index.md").read_text("utf-8")

    assert front.startswith("# coreclaw_async\n")
    assert "(backend.py.md)" in front
    assert "(CONTRIBUTING.md)" in front
    assert (written / "CONTRIBUTING.md").exists()
    assert '<img src="report_light.png"' in front
    assert "tests/examples/" not in front.replace("`tests/examples/", "")
    for line in (*(chapter.lower() for chapter in tool["CHAPTERS"]), "CHANGELOG"):
        assert f"\n{line}\n" in front
        assert any(written.glob(f"{line}.*"))


def test_examples_are_pages_of_code_and_a_notebook_one_of_its_cells(written: Path) -> None:
    assert "```python\n" in (written / "backend.py.md").read_text("utf-8")
    assert "```text\n" in (written / "crontab.md").read_text("utf-8")
    notebook = (written / "notebook.ipynb.md").read_text("utf-8")
    assert "```python\n" in notebook
    assert '"cell_type"' not in notebook


def test_each_guide_that_readme_names_has_a_page(written: Path, tool: dict[str, Any]) -> None:
    listed = (written / "guides.rst").read_text("utf-8")

    for name in {*re.findall(r"`(coreclaw_async\.\w+)`", README)} - {"coreclaw_async.otel"}:
        assert f".. automodule:: {name}\n" in (written / f"{name}.rst").read_text("utf-8")
        assert f"   {name}\n" in listed
