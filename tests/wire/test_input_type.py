"""The input of a worker as a `TypedDict`: valid Python for any schema, none of which can become code."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import time
import tokenize
import typing
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire.test_input_check import PROPERTIES, PROPERTY, schema_of

from coreclaw_async import InputSchema
from coreclaw_async._wire.input_type import class_name, write_input_type

WORKER = "coreclaw~google-maps-scraper"
HOSTILE = [
    '"""\nimport os\n"""',
    "x\nimport os",
    "x\rimport os\x0cimport os\u2028import os",
    "'], 'x': __import__('os')",
    "# type: ignore",
    "# # type: ignore",
    "## # #noqa",
    "a# #!x",
    "mypy: ignore-errors",
    "a # pyright: basic # noqa",
    "-*- coding: utf-7 -*-",
    "\ud800\u202e\x00",
    "a\\",
    "{x}",
    "",
    "class",
    "__init__",
    "list",
    "\u540d\u524d",
    "x" * 5000,
]


def types_in(source: str) -> dict[str, Any]:
    """Return what a module defines; it may hold nothing but types."""
    tree = ast.parse(source.encode())
    assert {type(node) for node in tree.body} <= {ast.Expr, ast.ImportFrom, ast.ClassDef, ast.Assign}
    assert sum(isinstance(node, ast.Expr) for node in tree.body) == 1, "the docstring"
    assert {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call)} <= {"TypedDict"}  # type: ignore[attr-defined]
    members: dict[str, Any] = {}
    exec(compile(tree, "input", "exec", dont_inherit=True), members)
    return members


def members_of(source: str, name: str = "GoogleMapsScraperInput") -> dict[str, Any]:
    return typing.get_type_hints(types_in(source)[name])


def test_every_kind_of_property_has_a_type() -> None:
    source = write_input_type(WORKER, schema_of(description="Finds places.\nAnd more."))
    found = members_of(source)
    made = types_in(source)["GoogleMapsScraperInput"]

    assert list(found) == [entry["name"] for entry in PROPERTIES]
    assert (made.__required_keys__, len(made.__optional_keys__)) == ({"keywords"}, len(PROPERTIES) - 1)
    assert found["keywords"] == list[str] | list[dict[str, Any]]
    assert (found["title"], found["pages"], found["radius"], found["deep"]) == (str, int, float, bool)
    assert found["country"] == typing.Literal["DE", "FR"]
    assert found["languages"] == list[typing.Literal["en"]] | typing.Literal["en"]
    assert found["depth"] == typing.Literal[1, 2]
    assert found["fields"] == list[typing.Literal["name", "phone"]]
    assert (found["area"], found["anything"], found["place"]) == (dict[str, Any], Any, Any)
    item = typing.get_args(found["posts"])[0]
    assert typing.get_type_hints(item) == {"url": str, "num_of_posts": int | str}
    assert item.__required_keys__ == {"url"}
    assert "#: Finds places. And more.\nclass GoogleMapsScraperInput(TypedDict):" in source
    assert "    #: From 1 to 50.\n    pages: NotRequired[int]\n" in source


def test_only_what_is_used_is_imported() -> None:
    source = write_input_type(WORKER, schema_of([{"name": "a", "type": "string", "title": "Any", "required": True}]))

    assert "from typing import TypedDict\n" in source


def test_texts_are_comments_on_their_member() -> None:
    told = {"title": "Pages", "description": "How many.\n" + "word " * 40, "minimum": 1}
    source = write_input_type(WORKER, schema_of([{"name": "pages", "type": "integer", **told}]))

    assert "    #: Pages - How many. word" in source
    assert "From 1 to any." in source
    assert max(map(len, source.splitlines())) <= 100


@pytest.mark.parametrize("shape", ["list", "map"])
@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_schema_becomes_code_or_means_anything_to_a_tool(text: str, shape: str) -> None:
    entry = {"title": text, "description": text, "options": [text, 1, True], "type": text}
    param_list = [{"param": text or "a", "title": text, "type": "number"}, {"param": text or "a"}, {"param": "b-c"}]
    properties: list[dict[str, Any]] = [
        {"name": f"{text}a", **entry},
        {"name": text or "b", **entry, "required": True},
        {"name": f"{text} ", "type": "array", "param_list": param_list},
        {"name": f"{text}-", "type": "array", "param_list": param_list},
    ]
    source = write_input_type(WORKER, schema_of(properties, shape=shape, description=text))
    source.encode()

    found = members_of(source)
    assert list(found) == [entry["name"] for entry in properties]
    assert found[f"{text}a"] == typing.Literal[text, 1, True]
    assert typing.get_args(found[f"{text} "])[0] is not typing.get_args(found[f"{text}-"])[0]
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            assert token.string.startswith("#: ")
            assert token.string.count("#") == 1


def test_a_directive_that_is_taken_out_leaves_no_other() -> None:
    source = write_input_type(WORKER, schema_of(description="C# #a#b: c"))

    assert "#: C# #a b: c\n" in source


@pytest.mark.parametrize("schema", [InputSchema(), schema_of([])])
def test_a_schema_without_members_takes_anything(schema: InputSchema) -> None:
    source = write_input_type(WORKER, schema)

    assert types_in(source)["GoogleMapsScraperInput"] == dict[str, Any]


@pytest.mark.parametrize(
    ("worker", "name"),
    [
        ("coreclaw/google-maps-scraper", "GoogleMapsScraperInput"),
        ("coreclaw~x", "XInput"),
        ("demoWorker", "DemoWorkerInput"),
        ("01KPD6M5YQADCQKGVKPDZVYC63", "WorkerInput"),
        ("me/\u540d\u524d", "WorkerInput"),
        ("me/none", "NoneInput"),
    ],
)
def test_the_type_is_named_after_the_worker(worker: str, name: str) -> None:
    assert class_name(worker) == name


def test_a_name_of_a_worker_becomes_no_code() -> None:
    source = write_input_type('me/x""";import(os)', schema_of())

    assert source.startswith('"""The input of the worker me/x____import_os_."""\n')
    types_in(source)


def test_options_that_are_no_literals_have_their_type() -> None:
    found = members_of(write_input_type(WORKER, schema_of([{"name": "a", "options": [0.5, 1]}])))

    assert found["a"] is float


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"type": "string", "editor": "stringList"}, list[str] | list[dict[str, Any]] | str),
        ({"type": "string", "editor": "checkbox", "options": ["x"]}, list[Literal["x"]] | Literal["x"]),
        ({"type": "array", "editor": "input"}, list[Any] | str | float),
        ({"type": "string", "editor": "json"}, str | dict[str, Any]),
        ({"type": "object", "editor": "stringList"}, list[str] | list[dict[str, Any]] | dict[str, Any]),
        ({"type": "integer", "multiple": True}, list[int] | int),
        ({"options": [1.5, "auto", 2, True]}, Literal["auto", True] | float),
        ({"type": "number", "options": [1.5, "auto"]}, Literal["auto"] | float),
        ({"type": "integer", "editor": "select", "options": ["1", "2"]}, Literal["1", "2"]),
        ({"editor": "checkbox", "options": ["x"]}, list[Literal["x"]] | Literal["x"]),
    ],
    ids=repr,
)
def test_the_type_takes_what_the_check_has_nothing_against(entry: dict[str, Any], expected: Any) -> None:
    source = write_input_type(WORKER, schema_of([{"name": "a", **entry}]))

    assert members_of(source)["a"] == expected


@pytest.mark.parametrize("text", ["#", "# ", "#a", "-", "a-", "a ", "#\t", "\u202e", ":"], ids=ascii)
def test_no_text_makes_writing_a_type_long(text: str) -> None:
    """In the square of these lengths it would take minutes; the longest takes a fifth of a second."""
    entries = [{"name": f"a{n}", "title": text * 2_000, "description": text * 2_000} for n in range(10)]
    lists = [{"name": f"l{n}", "type": "array", "param_list": [{"param": "x"}]} for n in range(5_000)]
    began = time.process_time()

    write_input_type(WORKER, schema_of([*entries, *(lists if text == "#" else [])], description=text * 500_000))

    assert time.process_time() - began < 10


@pytest.mark.endurance
@given(properties=st.lists(st.fixed_dictionaries({"name": st.text(min_size=1)}, optional={
    "type": st.sampled_from(["string", "array", "integer", "odd"]) , "title": st.text(), "description": st.text(),
    "options": st.lists(st.text() | st.integers() | st.booleans()), "editor": st.sampled_from(["checkbox", "select"]),
}), max_size=4) | st.lists(PROPERTY, max_size=4), description=st.text())  # fmt: skip
def test_any_schema_is_valid_python(properties: Any, description: str) -> None:
    schema = schema_of(properties, description=description)
    found = types_in(write_input_type(WORKER, schema))["GoogleMapsScraperInput"]

    names = {prop.name for prop in schema.properties if prop.name}
    assert (set(typing.get_type_hints(found)) if names else set()) == names


USE = """
from collections.abc import Mapping
good: GoogleMapsScraperInput = {"keywords": ["coffee"], "pages": 3, "country": "DE", "posts": [{"url": "u"}]}
bad: GoogleMapsScraperInput = {"keywords": ["coffee"], "country": "XX"}  # type: ignore[typeddict-item]
given: Mapping[str, Any] = good
worse: GoogleMapsScraperInput = {"pages": 3}  # type: ignore[typeddict-item]
"""


@pytest.mark.endurance
def test_a_type_checker_takes_the_module_and_finds_mistakes(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed; the session `types` of nox has it")
    (tmp_path / "plain.py").write_text(write_input_type(WORKER, schema_of()) + USE, encoding="utf-8")
    odd = [{"name": name, "title": text, "type": "array", "editor": "checkbox", "options": ["a"]}
           for name, text in zip(["list", "str", "a b", "class", "__x", "Any"], HOSTILE, strict=False)]  # fmt: skip
    (tmp_path / "odd.py").write_text(write_input_type("me/odd", schema_of(odd)), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--config-file=", "plain.py", "odd.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
