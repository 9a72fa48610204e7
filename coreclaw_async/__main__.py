"""The command line: ``coreclaw-async``, and ``python -m coreclaw_async``."""

from __future__ import annotations

import sys

_EXTRA_OF = {"rich": "cli", "typer": "cli", "uvicorn": "emulator"}


def main() -> None:
    """Run the command that the arguments name; a missing extra is named in one line, with exit code 2."""
    try:
        from coreclaw_async.cli.app import app

        app(prog_name="coreclaw-async")
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRA_OF:
            raise
        extra = _EXTRA_OF[missing]
        sys.stderr.write(f'coreclaw-async: {missing} is not installed; run: pip install "coreclaw-async[{extra}]"\n')
        sys.exit(2)


if __name__ == "__main__":
    main()
