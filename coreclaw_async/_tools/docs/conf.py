"""The configuration of Sphinx, which runs this file; see `write_pages` for what it builds from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
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
        r"(_thread|collections\.abc|datetime|decimal|enum|os|pathlib|ssl|typing|httpx|opentelemetry|pa|pd|pl)\..*",
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


def find(app: Any, env: Any, node: Any, shown: Any) -> Any:
    """Find what a docstring names as users do: without its module, or by the group of the client that has it."""
    target = node["reftarget"].removeprefix("client.").removeprefix("coreclaw_async.")
    group, _, method = target.partition(".")
    ends = (f".AsyncCoreClaw.{target}", f".Async{group.title().replace('_', '')}.{method}")
    for name, place in env.get_domain("py").objects.items():
        if name == f"coreclaw_async.{target}" or name.endswith(ends):
            return make_refnode(app.builder, node["refdoc"], place.docname, place.node_id, shown, name)
    return None


def leave_out_notes(*event: Any) -> None:
    """Leave out of a guide what its module says to those who change it."""
    _, what, _, _, _, lines = event
    starts = [number for number, line in enumerate(lines) if line.startswith("Belongs here:")]
    if what == "module" and starts:
        del lines[starts[0] :]


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", leave_out_notes)
    app.connect("missing-reference", find)
