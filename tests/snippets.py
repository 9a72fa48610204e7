"""The snippets of README and of the docstrings of modules that are guides."""

from __future__ import annotations

import inspect
import re
import textwrap
from pathlib import Path
from types import ModuleType

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def snippets_of_readme(language: str) -> list[str]:
    """Return the snippets of README in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def snippets_of(guide: ModuleType, language: str) -> list[str]:
    """Return the snippets in a language of the docstring of a module."""
    text = inspect.cleandoc(guide.__doc__ or "") + "\n"
    blocks = re.findall(rf"^\.\. code-block:: {language}\n\n((?: {{4}}.*\n|\n)+)", text, re.MULTILINE)
    return [textwrap.dedent(block).strip("\n") + "\n" for block in blocks]
