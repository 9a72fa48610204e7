"""What can be run for this project: `nox -s tests endurance lowest generate lint types package docs bench demo`."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import nox

PROJECT = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = ".[arrow,cli,dask,emulator,otel,pandas,polars,postgres,speed,testing]"
# Sockets, processes and browsers share a machine with others: what has failed runs once more, and is named at the end.
# After a few workers that ended early, pytest-xdist would leave out the remaining tests, and call that a success.
ONCE_MORE = ("--dist", "worksteal", "--max-worker-restart", "1000", "--reruns", "1", "-rR")
# More than the cores of a small machine, for many tests wait: for a socket, and those that take long for processes.
QUICK = ("-m", "not endurance and not other_turn", "-n", "3", *ONCE_MORE)
LONG = ("-n", "4", *ONCE_MORE)

nox.options.sessions = ["tests"]
nox.options.error_on_external_run = True
nox.options.error_on_missing_interpreters = False
nox.options.stop_on_first_error = True  # So that what has failed stands at the end of the output.


def group(name: str) -> tuple[str, ...]:
    """Return what the dependency group *name* asks for."""
    return tuple(nox.project.dependency_groups(PROJECT, name))


def is_present(version: str) -> bool:
    """Return whether this Python runs here; a version manager may have commands that only say that it does not."""
    command = shutil.which(f"python{version}")
    if command is None:
        return False
    return subprocess.run([command, "-c", ""], capture_output=True, check=False).returncode == 0


def versions() -> list[str]:
    """Return the Pythons that the classifiers name and that are present."""
    prefix = "Programming Language :: Python :: 3."
    named = [line.rsplit(" ", 1)[1] for line in PROJECT["project"]["classifiers"] if line.startswith(prefix)]
    return [version for version in named if is_present(version)]


@nox.session(python=versions())
def tests(session: nox.Session) -> None:
    """
    Run the tests that are quick, against the installed wheel.

    With ``CI`` in the environment those on the lowest Python must cover all branches, which takes twice as long.
    """
    session.install(EXTRAS, *group("test"))
    # Not `python -m pytest`, which would put the checkout before the installed package.
    if session.posargs:
        session.run("pytest", *session.posargs)
    elif session.python == versions()[0] and os.environ.get("CI"):
        session.run("coverage", "erase")
        session.run("coverage", "run", f"{session.bin}/pytest", *QUICK)
        session.run("coverage", "combine", "--quiet")
        session.run("coverage", "report")
    else:
        session.run("pytest", *QUICK)


@nox.session(python=versions()[:1])
def endurance(session: nox.Session) -> None:
    """Run the tests that take long or kill processes, and where only one Python is here what others would run."""
    session.install(EXTRAS, *group("test"))
    chosen = "endurance and not other_turn" if len(versions()) > 1 else "endurance or other_turn"
    session.run("pytest", "-m", chosen, *(session.posargs or LONG))


@nox.session(python="3.11")
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions that the package says it works with."""
    named = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["cli"]]
    for extra in ("emulator", "pandas", "polars", "speed"):
        named += PROJECT["project"]["optional-dependencies"][extra]
    pins = [requirement.split(",")[0].replace(">=", "==") for requirement in named]
    session.install(EXTRAS, *pins, *group("test"))
    session.run("pip", "list")
    session.run("pytest", *session.posargs)


@nox.session(python="3.11")
def generate(session: nox.Session) -> None:
    """Write the blocking client from the async one; with `-- --check` only compare."""
    session.run("python", "coreclaw_async/_tools/generate_sync.py", *session.posargs)


@nox.session(python="3.11")
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(python="3.11")
def types(session: nox.Session) -> None:
    """Check types, those of the package and those that its users see."""
    session.install("-e", EXTRAS, *group("test"), *group("types"), "nox")
    session.run("mypy")
    session.run("pyright", "--pythonpath", f"{session.bin}/python")
    session.run("pytest", "tests/typing", "tests/wire/test_input_type.py")


@nox.session(python="3.11")
def package(session: nox.Session) -> None:
    """Build wheel and sdist, and import each in an environment without extras."""
    session.install("build>=1.2")
    folder = session.create_tmp()
    session.run("python", "-m", "build", "--outdir", folder, silent=True)
    for built in sorted(Path(folder).glob("coreclaw_async-*")):
        if built.suffix in {".whl", ".gz"}:
            session.install("--force-reinstall", str(built))
            session.run("python", "-I", "-c", "import coreclaw_async; print(coreclaw_async.__version__)")
            session.run("python", "-I", "-c", "import coreclaw_async.testing as t; t.FakeService(); print('ready')")


@nox.session(python="3.11")
def docs(session: nox.Session) -> None:
    """Build the documentation in ``build/docs`` from README and docstrings; `-- linkcheck` also follows its links."""
    session.install("-e", EXTRAS, *group("docs"))
    tools, source = Path("coreclaw_async/_tools/docs"), Path(session.create_tmp()) / "pages"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    session.run("python", tools / "write_pages.py", source)
    for builder in ("html", *session.posargs):
        options = ("-b", builder, "-E", "-c", tools, "--quiet", "--fail-on-warning", "--keep-going")
        session.run("sphinx-build", *options, source, Path("build") / ("docs" if builder == "html" else builder))


@nox.session(python="3.11")
def bench(session: nox.Session) -> None:
    """Measure against the peers, on a quiet machine; with `-- --readme` what README tells of, and write it there."""
    session.install(EXTRAS, *group("bench"))
    if "--readme" in session.posargs:
        session.run("python", "benchmarks/readme.py", *(each for each in session.posargs if each != "--readme"))
        return
    for name in (
        "bench_imports",
        "bench_decoding",
        "bench_calls",
        "bench_rates",
        "bench_starts",
        "bench_lost_reply",
        "bench_pagination",
        "bench_waiting",
        "bench_outage",
        "bench_sync",
        "bench_batch",
        "bench_growth",
        "bench_frames",
    ):
        session.run("python", f"benchmarks/{name}.py", *session.posargs)


@nox.session(python="3.11")
def demo(session: nox.Session) -> None:
    """Show a worker run, progress, and its rows, without a key and without the network."""
    session.install(EXTRAS)
    session.run("coreclaw-async", "demo", *session.posargs)
