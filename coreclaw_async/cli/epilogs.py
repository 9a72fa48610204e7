"""The text below the help of a command: examples to paste, and the meanings of its exit codes."""

from __future__ import annotations

from collections.abc import Mapping

WORKER = "coreclaw/google-maps-scraper"
"""The worker of the examples, which is in the store and in the emulator."""
EXAMPLE_ID = "01KKDXV2G26BT7NH4ZQR2R4NPZ"

_ALWAYS = {
    0: "success",
    2: "usage: nothing was done",
    3: "the service refused, failed or cannot be reached",
    7: "the output could not be written",
    130: "Ctrl-C",
}
RUN_FAILED = {1: "the run failed or was aborted"}
NOT_PASSED = {
    1: "the run failed or was aborted, or its verdict is not pass",
    2: "usage, or the input would fail: nothing was done",
}
MAY_HAVE_STARTED = {4: "a run may have been started"}
GOES_ON = {5: "the wait timed out or the run has not ended"}
STARTED = {**RUN_FAILED, **MAY_HAVE_STARTED, **GOES_ON}


def epilog(*examples: str, codes: Mapping[int, str] | None = None) -> str:
    """
    Return the text below the help of a command, as Markdown.

    Args:
        examples: Commands without their first word. All lines but the last end with a backslash.
        codes: The command's additional exit codes with their meanings.
    """
    meanings = sorted({**_ALWAYS, **(codes or {})}.items())
    return f"{group_epilog(*examples)}\n\nExit codes: {'; '.join(f'{code} {meaning}' for code, meaning in meanings)}."


def group_epilog(*examples: str) -> str:
    """Return the text below the help of a group of commands, as Markdown."""
    lines = [line for example in examples for line in f"coreclaw-async {example}".split("\n")]
    heading = "Example:" if len(examples) == 1 else "Examples:"
    return "  \n".join([heading, *(f"`{line}`" for line in lines)])
