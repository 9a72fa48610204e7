"""The look of the help: readable on light and dark backgrounds."""

from __future__ import annotations

from typing import Any, cast

from rich.default_styles import DEFAULT_STYLES
from rich.style import Style
from typer import rich_utils
from typer.core import TyperOption

_NAMES = "bold"
_PLAIN = ""


def use_readable_colours() -> None:
    """
    Replace the yellow, cyan and dim styles of typer's help, which are hard to read on white or on black.

    This changes the whole process, which runs only the command line.
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


def name_no_type_of_switches() -> None:
    """
    Leave `<bool>` out of the help of options that take no value.

    It stands behind half of the options, and looks as if they took a value. This changes the whole process, which runs
    only the command line.
    """
    shown = getattr(TyperOption, "display_type_rich", None)
    if shown is None:  # pragma: no cover - an older typer, which names none anyway
        return

    def shown_of_value(option: TyperOption, ctx: Any) -> str | None:
        return None if option.is_flag else cast("str | None", shown(option, ctx))

    cast("Any", TyperOption).display_type_rich = shown_of_value
