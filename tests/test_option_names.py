"""The same thing has the same name, default and place everywhere: in functions, blocking ones, batches and commands."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent / "coreclaw_async" / "_tools" / "docs" / "compare_options.py"


@pytest.fixture(scope="module")
def tool() -> dict[str, Any]:
    pytest.importorskip("distributed")
    return runpy.run_path(str(SCRIPT))


def test_an_option_has_one_default_or_a_reason_for_several(tool: dict[str, Any]) -> None:
    several = {name for name, defaults in tool["by_name"](tool["options"]()).items() if len(defaults) > 1}

    assert several - set(tool["ACCEPTED"]) == set(), "these have several defaults"
    assert set(tool["ACCEPTED"]) - several == set(), "these have one default and need no reason"


def test_blocking_functions_take_what_async_ones_take(tool: dict[str, Any]) -> None:
    assert len(list(tool["functions"]())) > 70
    assert tool["unlike_twins"]() == []


def test_options_come_in_one_order(tool: dict[str, Any]) -> None:
    assert tool["out_of_order"]() == []


def test_the_table_tells_where_an_option_is_and_why_its_defaults_differ(tool: dict[str, Any]) -> None:
    lines = list(tool["table"](tool["by_name"](tool["options"]())))
    text = "\n".join(line.rstrip() for line in lines)

    assert "check                False                        `batch plan`, runs.wait_many\n" in text
    assert f"why                          {tool['ACCEPTED']['check']}\n" in text
    assert re.search("^keyword +None +`store`, `tasks list`, `workers list`, store.iterate, ", text, re.MULTILINE)
    assert "???" not in text
