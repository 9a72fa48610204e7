"""Libraries of extras: what is said of one that is not installed, and of one that is and cannot be imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from cli.command_line import invoke

from coreclaw_async import AsyncCoreClaw, ConfigurationError, CoreClawError
from coreclaw_async.batch._store.postgres import PostgresDatabase
from coreclaw_async.distributed import dask
from coreclaw_async.testing import FakeService

BROKEN = [
    ("import what_it_needs", ModuleNotFoundError, "what_it_needs"),
    ("raise ValueError('numpy.dtype size changed')", ValueError, "numpy.dtype size changed"),
]
NAMES = ["needs another library", "another error"]


async def read_rows(method: str) -> None:
    service = FakeService()
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        pager = client.runs.iterate_results(service.add_run("coreclaw/google-maps-scraper", rows=1))
        try:
            await getattr(pager, method)()
        finally:
            assert service.requests == []


async def open_postgres() -> None:
    await PostgresDatabase("postgresql://127.0.0.1/x", patience=60.0).open()


async def run_on_dask() -> None:
    dask.arun_batch(None, "b", ledger="x")


async def send_through_socks() -> None:
    async with AsyncCoreClaw("key", base_url="https://service.example") as client:
        await client.store.list_page()


USES: list[tuple[str, str, str, Callable[[], Awaitable[None]]]] = [
    ("pyarrow", "to_arrow", "coreclaw-async[arrow]", lambda: read_rows("to_arrow")),
    ("pandas", "to_pandas", "coreclaw-async[pandas]", lambda: read_rows("to_pandas")),
    ("polars", "to_polars", "coreclaw-async[polars]", lambda: read_rows("to_polars")),
    ("asyncpg", "a ledger in Postgres", "coreclaw-async[postgres]", open_postgres),
    ("distributed", "a batch on Dask", "coreclaw-async[dask]", run_on_dask),
    ("socksio", "the SOCKS proxy that the environment names in all_proxy", "httpx[socks]", send_through_socks),
]
WHERE = [use[1] for use in USES]


@pytest.fixture(autouse=True)
def _proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")


def break_library(monkeypatch: pytest.MonkeyPatch, folder: Path, library: str, source: str) -> None:
    (folder / f"{library}.py").write_text(source)
    monkeypatch.delitem(sys.modules, library, raising=False)
    monkeypatch.syspath_prepend(folder)


@pytest.mark.parametrize(("library", "need", "requirement", "use"), USES, ids=WHERE)
async def test_a_library_that_is_missing_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, library: str, need: str, requirement: str, use: Callable[[], Awaitable[None]]
) -> None:
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(ConfigurationError) as raised:
        await use()

    assert str(raised.value) == f'{need} needs {library}, which is not installed: pip install "{requirement}"'
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(("source", "kind", "words"), BROKEN, ids=NAMES)
@pytest.mark.parametrize(("library", "need", "requirement", "use"), USES, ids=WHERE)
async def test_a_library_that_is_broken_is_not_told_as_missing(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    library: str,
    need: str,
    requirement: str,
    use: Callable[[], Awaitable[None]],
    source: str,
    kind: type[Exception],
    words: str,
) -> None:
    break_library(monkeypatch, tmp_path, library, source)

    with pytest.raises(CoreClawError) as raised:
        await use()

    told = str(raised.value)
    assert told.startswith(f"{need} needs {library}, which is installed and cannot be imported ({kind.__name__}: ")
    assert words in told
    assert told.endswith(f'pip install "{requirement}" --force-reinstall')
    assert isinstance(raised.value, ConfigurationError)
    assert type(raised.value.__cause__) is kind


@pytest.mark.parametrize(("source", "kind", "words"), BROKEN, ids=NAMES)
def test_a_broken_uvicorn_is_not_told_as_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, kind: type[Exception], words: str
) -> None:
    break_library(monkeypatch, tmp_path, "uvicorn", source)

    told = f"needs uvicorn, which is installed and cannot be imported ({kind.__name__}: "
    anew = '; to install it anew: pip install "coreclaw-async[emulator]" --force-reinstall'
    with pytest.raises(ImportError, match=words) as raised, FakeService().serve():
        pass
    assert str(raised.value).startswith(f"serving {told}")
    assert str(raised.value).endswith(anew)
    assert (type(raised.value.__cause__), raised.value.name) == (kind, "uvicorn")

    outcome = invoke("emulate")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith(f"coreclaw-async {told}")
    assert outcome.stderr.endswith(f"{anew}\n")


@pytest.mark.endurance
def test_a_broken_library_of_the_command_line_is_not_told_as_missing(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ImportError('cannot import it', name='typer._main')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from coreclaw_async.__main__ import main; main()"

    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)

    what = "coreclaw-async needs typer, which is installed and cannot be imported (ImportError: cannot import it)"
    anew = 'pip install "coreclaw-async[cli]" --force-reinstall'
    assert (ended.returncode, ended.stderr) == (2, f"{what}; to install it anew: {anew}\n")


@pytest.mark.endurance
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import what_it_needs", "(ModuleNotFoundError: No module named 'what_it_needs')"),
        ("", "(ImportError: cannot import name 'metrics'"),
    ],
    ids=["needs another library", "another package"],
)
def test_tracing_says_what_is_wrong_with_its_library(tmp_path: Path, source: str, words: str) -> None:
    (tmp_path / "opentelemetry.py").write_text(source)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import coreclaw_async.otel"

    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)

    last = ended.stderr.splitlines()[-1]
    assert last.startswith("ImportError: tracing needs opentelemetry, which is installed and cannot be ")
    assert words in last
    assert 'pip install "coreclaw-async[otel]"' in last
