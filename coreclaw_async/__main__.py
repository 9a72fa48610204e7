"""The command line: ``coreclaw-async``, and ``python -m coreclaw_async``."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

_EXTRA_OF = {"rich": "cli", "typer": "cli", "uvicorn": "emulator"}


def script() -> None:
    """Call `main` as the only thing of a process: a signal after its end changes neither output nor exit code."""
    try:
        main()
    except KeyboardInterrupt:  # pragma: no cover - before the command has begun, or after its end
        from coreclaw_async.cli._process.interrupts import code_at_end

        sys.exit(code_at_end())
    finally:
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            if hasattr(signal, name):  # pragma: no branch - Windows has no SIGHUP
                signal.signal(getattr(signal, name), signal.SIG_IGN)


def main() -> None:
    """Run the command that the arguments name; a missing extra is reported in one line, with exit code 2."""
    try:
        from coreclaw_async.cli.entry import run_command

        code = run_command(sys.argv[1:])
    except ImportError as error:
        _name_extra(error)
    sys.exit(code)


def _name_extra(error: ImportError) -> NoReturn:
    library = (error.name or "").partition(".")[0]
    if library not in _EXTRA_OF:
        raise error
    from coreclaw_async._extras import why_not_imported

    requirement = f"coreclaw-async[{_EXTRA_OF[library]}]"
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
    sys.stderr.write(f"{why_not_imported(cause, library, need='coreclaw-async', requirement=requirement)}\n")
    sys.exit(2)


if __name__ == "__main__":
    script()
