"""How the help looks: readable on a light background and on a dark one."""

from __future__ import annotations

from rich.default_styles import DEFAULT_STYLES
from rich.style import Style
from typer import rich_utils

_NAMES = "bold"
_PLAIN = ""


def use_readable_colours() -> None:
    """
    Have the help of typer do without yellow and cyan, which nobody can read on white, and without dim words on black.

    What is set is for the whole process, which is the command line's own.
    """
    rich_utils.STYLE_OPTION = rich_utils.STYLE_SWITCH = _NAMES
    rich_utils.STYLE_NEGATIVE_OPTION = rich_utils.STYLE_NEGATIVE_SWITCH = _NAMES
    rich_utils.STYLE_COMMANDS_TABLE_FIRST_COLUMN = rich_utils.STYLE_USAGE = _NAMES
    rich_utils.STYLE_TYPES = rich_utils.STYLE_TYPES_SEPARATOR = rich_utils.STYLE_OPTION_ENVVAR = (
        rich_utils.STYLE_OPTION_DEFAULT
    ) = _PLAIN
    rich_utils.STYLE_HELPTEXT = _PLAIN
    rich_utils.STYLE_REQUIRED_LONG = rich_utils.STYLE_REQUIRED_SHORT
    DEFAULT_STYLES["markdown.code"] = Style(bold=True)
