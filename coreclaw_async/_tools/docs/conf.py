"""The configuration of Sphinx, which runs this file; see `write_pages` for what it builds from."""

from __future__ import annotations

import enum
import inspect
import runpy
import sys
from pathlib import Path
from typing import Any

import attrs
from sphinx.util.nodes import make_refnode

import coreclaw_async

project = "coreclaw_async"
author = "the coreclaw_async maintainers"
version = release = coreclaw_async.__version__
html_title = f"coreclaw_async {version}"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_parser"]
html_theme = "furo"
html_copy_source = False
html_show_copyright = False
html_extra_path = [str(Path(__file__).parents[3] / ".github" / "pictures")]
default_role = "py:obj"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = False
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
myst_heading_anchors = 3
linkcheck_ignore = [r"http://127\.0\.0\.1[:/]"]  # The emulator of whoever reads it.
nitpicky = True
# Types of others, whose pages are elsewhere, names with a leading underscore, which have no pages, and names for what
# the text beside them says, such as a few words or a bool and a function.
nitpick_ignore_regex = [
    (
        "py:.*",
        r"(_thread|collections\.abc|datetime|decimal|enum|logging|os|pathlib|ssl|typing|httpx|opentelemetry|pa|pd|pl)\..*",
    ),
    ("py:.*", r"coreclaw_async\.(.*\.)?_.*|(.*\.)?T"),
    (
        "py:class",
        r"(coreclaw_async\.[\w.]+\.)?(Bridge|Decimal|DtypeBackend|LogShape|Nested|OffsetDialect)",
    ),
    (
        "py:class",
        r"OnAmbiguous|OnConflict|OutputFormat|PathStyle|ProgressOption|RowList|SchemaShape|SyncReply|TaskShape",
    ),
    ("py:class", r"coreclaw_async\.distributed\.shards\.ShardOptions"),
]

SHOWN = runpy.run_path(str(Path(__file__).with_name("shown.py")))


def find(app: Any, env: Any, node: Any, text: Any) -> Any:
    """Find what a docstring names as users do: without its module, or by the group of the client that has it."""
    target = node["reftarget"].removeprefix("client.").removeprefix("coreclaw_async.")
    group, _, method = target.partition(".")
    names = {f"coreclaw_async.{module}{target}" for module in ("", "testing.", "callbacks.")}
    ends = (f".AsyncCoreClaw.{target}", f".Async{group.title().replace('_', '')}.{method}")
    for name, place in env.get_domain("py").objects.items():
        if name in names or name.endswith(ends):
            return make_refnode(app.builder, node["refdoc"], place.docname, place.node_id, text, name)
    return None


def leave_out_notes(*event: Any) -> None:
    """Leave out of a guide what its module says to those who change it."""
    _, what, _, _, _, lines = event
    if what == "module":
        lines[:] = SHOWN["without_notes"](lines)


def show_values(*event: Any) -> None:
    """Show the values of an enumeration, which are what the command line and JSON have."""
    _, what, _, kind, _, lines = event
    if what == "class" and issubclass(kind, enum.Enum):
        lines[:] = SHOWN["with_values"](kind, lines)


def show_defaults(*event: Any) -> None:
    """Show the defaults that objects of an attrs class have, not what its constructor has in their place."""
    _, constructor, _ = event
    kind = vars(sys.modules[constructor.__module__]).get(constructor.__qualname__.removesuffix(".__init__"))
    if inspect.isclass(kind) and attrs.has(kind):
        constructor.__signature__ = SHOWN["signature_of"](constructor, kind)


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", leave_out_notes)
    app.connect("autodoc-process-docstring", show_values, priority=600)  # After those of Napoleon.
    app.connect("autodoc-before-process-signature", show_defaults)
    app.connect("missing-reference", find)
