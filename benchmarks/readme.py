"""
Measures what README tells of the benchmarks, and writes it there.

Without arguments it measures all of it, keeps the figures in ``figures.json``, and writes the table of README and the
figures in its sentences. ``--only bench_waiting`` measures that one anew, and ``--render`` nothing: what is written
depends on ``figures.json`` alone, so a test can tell when it was edited by hand.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
FIGURES = HERE / "figures.json"
BEGIN, END = "<!-- benchmarks -->", "<!-- end of benchmarks -->"
ROUNDS = {
    "bench_lost_reply": 1,
    "bench_waiting": 1,
    "bench_outage": 1,
    "bench_imports": 15,
    "bench_frames": 1,
}
"""What is measured for README, and how often."""
SENTENCES = (
    "{lost_reply/apify-client:peer} and {lost_reply/openai:peer} runs are paid for, here {lost_reply/openai:ours}.",
    "200 runs takes {waiting/200/0:peer} requests in five minutes; here one for all takes {waiting/200/0:ours}.",
)
"""What README's prose says with figures: each a key of a row, and a member of it."""
_NAMES = {"python": "Python"}
_LEFT_OUT = {"coreclaw_async", "attrs", "cattrs", "pydantic", "orjson"}


class Figures:
    """
    What the benchmarks have found.

    Args:
        found: The JSON of each, by its name.
    """

    def __init__(self, found: Mapping[str, Any]) -> None:
        self._found = found
        self._rows = {row["key"]: row for each in found.values() for row in each["rows"] if row["key"]}

    def row(self, key: str) -> Mapping[str, Any]:
        """
        Return the row with this key.

        Raises:
            ValueError: There is none.
        """
        if key not in self._rows:
            raise ValueError(f"no row {key!r} in the figures; run the benchmark that has it")
        row: Mapping[str, Any] = self._rows[key]
        return row

    def text(self, key: str, member: str) -> str:
        """Return a member of a row as README shows it."""
        return short(self.row(key)[member])

    def common(self, member: str) -> Mapping[str, Any]:
        """
        Return what all benchmarks say alike.

        Raises:
            ValueError: They do not.
        """
        told: list[Mapping[str, Any]] = [each[member] for each in self._found.values()]
        if any(other != told[0] for other in told):
            raise ValueError(f"the figures come from more than one {member}; measure all again")
        return told[0]

    def days(self) -> str:
        """Return when they were found."""
        dates = sorted({each["date"] for each in self._found.values()})
        return " to ".join(dict.fromkeys((dates[0], dates[-1])))

    def other_cores(self) -> float | None:
        """Return the most cores that other programs kept busy during one of them, or None where nothing tells."""
        told = [each["other_cores"] for each in self._found.values()]
        return None if None in told else max(told)

    def missed(self) -> Iterator[str]:
        """Yield what has not reached its budget."""
        for name, each in self._found.items():
            for row in each["rows"]:
                if row["verdict"] == "MISS":
                    sign = ">=" if row["budget"]["is_floor"] else "<="
                    yield f"{name}: {row['what']}: {short(row['value'])}, to be {sign} {row['budget']['limit']:g}"


def short(number: float) -> str:
    """Return *number* with the digits that mean something: 2,639, 72, 1.7, 0.67, 5."""
    if abs(number) >= 10 or number == int(number):
        return f"{number:,.0f}"
    return f"{number:.2f}" if abs(number) < 1 else f"{number:.1f}"


def table(figures: Figures) -> Iterator[str]:
    """Yield the lines of the table."""

    def row(what: str, benchmark: str, here: str, otherwise: str) -> str:
        return f"| {what} (`{benchmark}.py`) | {here} | {otherwise} |"

    text = figures.text
    yield "| what | here | otherwise |"
    yield "| --- | --- | --- |"
    yield row(
        "paid starts when the reply of one is lost",
        "bench_lost_reply",
        text("lost_reply/openai", "ours"),
        f"apify-client {text('lost_reply/apify-client', 'peer')}, openai {text('lost_reply/openai', 'peer')}",
    )
    yield row(
        "requests to follow 200 runs for five minutes; scattered among 5,000 others",
        "bench_waiting",
        f"{text('waiting/200/0', 'ours')}; {text('waiting/200/5000', 'ours')}",
        f"{text('waiting/200/0', 'peer')}; {text('waiting/200/5000', 'peer')} with a schedule for each run",
    )
    yield row(
        "requests to wait for 200 runs through 20 minutes of 502",
        "bench_outage",
        text("outage/200/20 minutes of 502", "ours"),
        f"{text('outage/200/20 minutes of 502', 'peer')} without the outage",
    )
    yield row(
        "memory for a million rows of ten columns to Parquet, pandas, polars",
        "bench_frames",
        f"{', '.join(text(f'memory/to_{kind}', 'ours') for kind in ('parquet', 'pandas', 'polars'))} MB",
        f"{text('memory/to_pandas', 'peer')} MB for `pd.DataFrame(list)`",
    )
    ours = figures.row("import/httpx")["value"]
    peers = ((name, ours / figures.row(f"import/{name}")["value"]) for name in ("apify_client", "openai"))
    yield row(
        "`import`, beyond the bare interpreter",
        "bench_imports",
        f"{short(ours)} times that of httpx",
        ", ".join(f"{name.replace('_', '-')} {short(value)} times" for name, value in peers),
    )


def place(figures: Figures) -> str:
    """Return where and with what it was measured."""
    machine, versions = figures.common("machine"), figures.common("versions")
    listed = [f"{_NAMES.get(name, name)} {value}" for name, value in versions.items() if name not in _LEFT_OUT]
    others = figures.other_cores()
    load = "" if others is None else f"; other programs kept at most {others:g} cores busy"
    return (
        f"Written by `nox -s bench -- --readme` on {figures.days()} ({machine['processor']}, {machine['cores']} cores, "
        f"{machine['system']}{load}):\n{', '.join(listed)}.\nHow it is measured is in `benchmarks/README.md`."
    )


def block(figures: Figures) -> str:
    """Return the part of README that is about benchmarks, with its marks."""
    lines = "\n".join(table(figures))
    return f"{BEGIN}\n\n{lines}\n\n{place(figures)}\n\n{END}"


def pattern(sentence: str) -> re.Pattern[str]:
    """Return what finds a sentence with whatever figures."""
    words = re.split(r"\{[^}]*\}", sentence)
    return re.compile(r"[\d.,]*\d".join(map(re.escape, words)))


def filled(sentence: str, figures: Figures) -> str:
    """Return a sentence with its figures."""
    return re.sub(r"\{([^:}]*):(\w+)\}", lambda found: figures.text(found[1], found[2]), sentence)


def rendered(text: str, figures: Figures) -> str:
    """
    Return the text of README with these figures.

    Raises:
        ValueError: It lacks the marks, or a sentence, or has one twice.
    """
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README lacks {BEGIN} or {END}")
    text = f"{head}{block(figures)}{tail}"
    for sentence in SENTENCES:
        text, count = pattern(sentence).subn(filled(sentence, figures).replace("\\", r"\\"), text)
        if count != 1:
            raise ValueError(f"README has {count} times, not once: {sentence}")
    return text


def load() -> dict[str, Any]:
    """Return the figures that are kept, by benchmark."""
    found: dict[str, Any] = json.loads(FIGURES.read_text(encoding="utf-8"))
    return found


def render() -> None:
    """Write README from the figures that are kept."""
    README.write_text(rendered(README.read_text(encoding="utf-8"), Figures(load())), encoding="utf-8")


def measure(names: Sequence[str], rounds: int | None) -> None:
    """Run these benchmarks, and keep what they find."""
    found = load() if FIGURES.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = Path(folder) / f"{name}.json"
            options = ("--readme", "--rounds", str(rounds or ROUNDS[name]), "--json", str(path))
            subprocess.run([sys.executable, HERE / f"{name}.py", *options], check=True)
            found[name] = json.loads(path.read_text(encoding="utf-8"))
    ordered = {name: found[name] for name in ROUNDS if name in found}
    FIGURES.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")


def _main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--only", action="append", choices=ROUNDS, help="measure this anew (can be repeated)")
    made.add_argument("--render", action="store_true", help="measure nothing")
    made.add_argument("--rounds", type=int, help="how often a pair is measured (default: enough for README)")
    options = made.parse_args()
    began = time.perf_counter()
    if not options.render:
        measure(options.only or list(ROUNDS), options.rounds)
    render()
    missed = list(Figures(load()).missed())
    print(f"\n{time.perf_counter() - began:.0f} s. " + ("Nothing was missed." if not missed else "MISS:"))
    for line in missed:
        print(f"  {line}")


if __name__ == "__main__":
    _main()
