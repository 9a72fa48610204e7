"""Packages whose names are loaded when they are first used look as if all names were there."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

import coreclaw_async
from coreclaw_async import batch, models

PACKAGES = pytest.mark.parametrize(
    "package", [coreclaw_async, batch, models], ids=lambda package: package.__name__.rpartition(".")[2]
)


@PACKAGES
def test_every_name_is_loaded_and_then_stays(package: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {*package.__all__} - {"__version__"}:
        monkeypatch.delitem(vars(package), name, raising=False)
        first = getattr(package, name)

        assert vars(package)[name] is first
        assert getattr(package, name) is first


@PACKAGES
def test_another_name_is_an_error_that_names_the_package(package: ModuleType) -> None:
    with pytest.raises(AttributeError, match=f"^module '{package.__name__}' has no attribute 'Runz'$"):
        package.Runz  # noqa: B018 - it is looked up


@PACKAGES
def test_all_names_are_listed_and_nothing_is_loaded_for_that(package: ModuleType) -> None:
    program = f"""
import sys, {package.__name__} as package
before = set(sys.modules)
assert dir(package) == sorted(package.__all__), dir(package)
assert set(sys.modules) == before
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@PACKAGES
def test_a_star_imports_all_names_and_no_other(package: ModuleType) -> None:
    names: dict[str, Any] = {}
    exec(f"from {package.__name__} import *", names)

    assert names.keys() - {"__builtins__"} == {*package.__all__}
