"""How the help looks: readable on a light background and on a dark one, and with room for its texts."""

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


def name_no_type_of_switches() -> None:
    """
    Have the help say nothing of the type of an option that takes no value, which is all that `<bool>` would say.

    Else the word stands behind half of the options, and looks as if something were to follow them. What is set is for
    the whole process, which is the command line's own.
    """
    shown = getattr(TyperOption, "display_type_rich", None)
    if shown is None:  # pragma: no cover - an older typer, which names none anyway
        return

    def shown_of_value(option: TyperOption, ctx: Any) -> str | None:
        return None if option.is_flag else cast("str | None", shown(option, ctx))

    cast("Any", TyperOption).display_type_rich = shown_of_value
