"""
Measures what README tells of the benchmarks, and writes it there.

Without arguments it measures all of it, keeps the figures in ``figures.json``, and writes the table of README, the
figures in its sentences, the plots, and the tables of this folder's README. ``--only bench_waiting`` measures that one
anew, and ``--render`` nothing: what is written depends on ``figures.json`` alone, so a test can tell when it was edited
by hand.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from figures import FIGURES, Figures, load, short
from plots import THEMES, Panel, Series, Theme, draw, number

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
DETAILS = HERE / "README.md"
PICTURES = HERE.parent / ".github" / "pictures"
BEGIN, END = "<!-- benchmarks -->", "<!-- end of benchmarks -->"
ROUNDS = {
    "bench_lost_reply": 1,
    "bench_waiting": 1,
    "bench_outage": 1,
    "bench_imports": 7,
    "bench_frames": 1,
    "bench_rates": 5,
    "bench_growth": 1,
}
"""What is measured for README, and how often."""
SENTENCES = (
    "reads through aiohttp, {rates/asyncio/100/default:value} times as many a second with 100 at once",
    "{lost_reply/apify-client:peer} and {lost_reply/openai:peer} runs are paid for, here {lost_reply/openai:ours}.",
    "200 runs takes {waiting/200/0:peer} requests in five minutes; here one for all takes {waiting/200/0:ours}.",
)
"""What README's prose says with figures: each a key of a row, and a member of it."""
WIDTHS = (1, 10, 100, 1_000)
PEERS = ("default", "raw aiohttp", "apify-client", "raw httpx", "openai", "itself (null test)")
_NAMES = {"python": "Python"}
_LEFT_OUT = {"coreclaw_async", "attrs", "cattrs", "pydantic", "orjson"}


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
    at_once = "rates/asyncio/100"
    yield row(
        "reads a second, 100 at once",
        "bench_rates",
        f"{text(f'{at_once}/default', 'peer')}; {text(f'{at_once}/default', 'ours')} with `speed`",
        ", ".join(f"{peer} {text(f'{at_once}/{peer}', 'peer')}" for peer in PEERS[1:-1]),
    )
    size = figures.sizes()[-1]
    largest = f"growth/{size}"
    yield row(
        f"a run of a batch of {size:,}, from its start to its end",
        "bench_growth",
        f"{text(f'{largest}/requests', 'value')} requests, {text(f'{largest}/seconds', 'value')} ms of processor time",
        "",
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
        "processor time of an import, beyond the bare interpreter",
        "bench_imports",
        f"{short(ours)} times that of httpx",
        ", ".join(f"{name.replace('_', '-')} {short(value)} times" for name, value in peers),
    )


def place(figures: Figures) -> str:
    """Return where and with what it was measured, in two lines."""
    machine, versions = figures.common("machine"), figures.common("versions")
    listed = [f"{_NAMES.get(name, name)} {value}" for name, value in versions.items() if name not in _LEFT_OUT]
    others = figures.other_cores()
    load = "" if others is None else f"; other programs kept at most {others:g} cores busy"
    if others is not None and others > machine["cores"] / 4:
        load += ", so take requests a second with care"
    return (
        f"Written by `nox -s bench -- --readme` on {figures.days()} ({machine['processor']}, {machine['cores']} cores, "
        f"{machine['system']}{load}); `benchmarks/README.md` says how.\nWith {', '.join(listed)}."
    )


def block(figures: Figures) -> str:
    """Return the part of README that is about benchmarks."""
    pictures = "\n".join(map(picture, ALTERNATIVES))
    return "\n".join([*table(figures), "", pictures, "", place(figures)])


ALTERNATIVES = {
    "rates": "Requests a second of six clients, 1 to 1,000 at once",
    "growth": "Requests, processor time and memory of a batch as it grows",
}
"""The plots, and what they show for those who do not see them."""


def picture(name: str) -> str:
    """Return the HTML that shows a plot in the colours of the page."""
    path = f".github/pictures/{name}"
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{path}_dark.svg">'
        f'<img src="{path}_light.svg" alt="{ALTERNATIVES[name]}" width="700"></picture>'
    )


def plots(figures: Figures) -> dict[str, str]:
    """Return the plots, by the names of their files."""
    drawn = {"rates": rates_plot, "growth": growth_plot}
    return {f"{name}_{theme.name}.svg": drawn[name](theme, figures) for name in ALTERNATIVES for theme in THEMES}


def rates_plot(theme: Theme, figures: Figures) -> str:
    """Return the plot of requests a second."""
    series = [
        Series("with speed", rates_of(figures, PEERS[0], "ours")),
        Series("default", rates_of(figures, PEERS[0], "peer")),
    ]
    series += [Series(label_of(figures, peer), rates_of(figures, peer, "peer"), is_bold=False) for peer in PEERS[1:-1]]
    panel = Panel("requests a second, without latency", "calls at once", series, WIDTHS)
    return draw(theme, "Reads of one client, 1 to 1,000 at once", [panel], width=700, height=430, margin=225)


def label_of(figures: Figures, peer: str) -> str:
    """Return the label of a peer, with the share of its calls that fail at the first width at which some do."""
    for width in WIDTHS:
        if figures.has(key := f"failed/asyncio/{width}/{peer}"):
            return f"{peer}: {figures.row(key)['peer']:.0f} % fail at {width:,}"
    return peer


def rates_of(figures: Figures, peer: str, member: str) -> list[tuple[float, float]]:
    """Return the rates at all widths at which nothing has failed."""
    keys = ((width, f"rates/asyncio/{width}/{peer}") for width in WIDTHS)
    return [(width, figures.row(key)[member]) for width, key in keys if figures.has(key)]


def growth_plot(theme: Theme, figures: Figures) -> str:
    """Return the plot of how a batch grows."""
    panels = []
    sizes = figures.sizes()
    few, many = sizes[-2:]
    for name, title in (("requests", "requests"), ("seconds", "processor seconds"), ("megabytes", "MB of memory")):
        points = [(size, figures.row(f"growth/{size}/{name}")["ours"]) for size in sizes]
        slope = figures.row(f"growth/{few}-{many}/{name}")["value"]
        line = Series(number(points[-1][1]), points)
        panels.append(Panel(f"{title}: n^{slope:.2f}", "runs of the batch (n)", [line], sizes))
    title = f"A batch as it grows, with its exponents from {few:,} to {many:,} runs"
    return draw(theme, title, panels, width=700, height=300, margin=58)


def details(figures: Figures) -> str:
    """Return the part of this folder's README with all ratios, and with how a batch grows."""
    settings, sizes = figures.settings(), figures.sizes()
    steps = list(pairwise(sizes))
    lines = [
        "Requests a second of the extra `speed`, as a multiple of those of others, and where that lies with 95 %:",
        "",
        f"| to | at once | {' | '.join(settings)} |",
        f"| --- | --- | {' | '.join('---' for _ in settings)} |",
    ]
    for peer in PEERS:
        rows = ((width, [ratio(figures, each, width, peer) for each in settings]) for width in WIDTHS)
        lines += [f"| {peer} | {width:,} | {' | '.join(cells)} |" for width, cells in rows]
    lines += [f"\n{name}: not measured, {reason}." for name, reason in figures.skipped().items()]
    columns = [*(f"{size:,} runs" for size in sizes), *(f"{few:,} to {many:,}" for few, many in steps)]
    lines += [
        "",
        "What a batch takes in all, and the exponents with which that grows with the number of its runs:",
        "",
        f"| | {' | '.join(columns)} |",
        f"| --- | {' | '.join('---' for _ in columns)} |",
    ]
    for name, unit in (("requests", "requests"), ("seconds", "s of processor time"), ("megabytes", "MB of memory")):
        totals = [number(figures.row(f"growth/{size}/{name}")["ours"]) for size in sizes]
        slopes = [f"{figures.row(f'growth/{few}-{many}/{name}')['value']:.2f}" for few, many in steps]
        lines.append(f"| {unit} | {' | '.join(totals + slopes)} |")
    return "\n".join([*lines, "", place(figures)])


def ratio(figures: Figures, setting: str, width: int, peer: str) -> str:
    """Return a cell: a ratio with its interval, how many calls have failed, or nothing."""
    key = f"{setting}/{width}/{peer}"
    if figures.has(f"failed/{key}"):
        return f"{figures.row(f'failed/{key}')['peer']:.0f} % fail"
    if not figures.has(f"rates/{key}"):
        return ""
    row = figures.row(f"rates/{key}")
    low, high = row["interval"]
    return f"{row['value']:.2f} ({low:.2f} to {high:.2f})"


def pattern(sentence: str) -> re.Pattern[str]:
    """Return what finds a sentence with whatever figures."""
    words = re.split(r"\{[^}]*\}", sentence)
    return re.compile(r"[\d.,]*\d".join(map(re.escape, words)))


def filled(sentence: str, figures: Figures) -> str:
    """Return a sentence with its figures."""
    return re.sub(r"\{([^:}]*):(\w+)\}", lambda found: figures.text(found[1], found[2]), sentence)


def with_part(text: str, part: str) -> str:
    """
    Return a page with *part* between the marks.

    Raises:
        ValueError: It lacks the marks.
    """
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{head}{BEGIN}\n{part}\n{END}{tail}"


def with_sentences(text: str, figures: Figures) -> str:
    """
    Return a page with the figures in its sentences.

    Raises:
        ValueError: It lacks a sentence, or has one twice.
    """
    for sentence in SENTENCES:
        text, count = pattern(sentence).subn(filled(sentence, figures), text)
        if count != 1:
            raise ValueError(f"README has {count} times, not once: {sentence}")
    return text


def rendered(figures: Figures) -> dict[Path, str]:
    """
    Return every file that has figures, as it is with these.

    Raises:
        ValueError: A row is missing, or a page has no place for its part or for a sentence.
    """
    readme = with_sentences(with_part(README.read_text(encoding="utf-8"), block(figures)), figures)
    pictures = {PICTURES / name: drawn for name, drawn in plots(figures).items()}
    return {README: readme, DETAILS: with_part(DETAILS.read_text(encoding="utf-8"), details(figures)), **pictures}


def render() -> None:
    """Write all of it from the figures that are kept."""
    for path, text in rendered(Figures(load())).items():
        path.write_text(text, encoding="utf-8", newline="\n")


def measure(names: Sequence[str], rounds: int | None) -> None:
    """Run these benchmarks, and keep what each has found as soon as it has."""
    found = load() if FIGURES.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = Path(folder) / f"{name}.json"
            options = ["--readme", "--rounds", str(rounds or ROUNDS[name]), "--json", str(path)]
            if name == "bench_imports":  # With more libraries at hand, httpx imports more.
                options.append("--minimal")
            subprocess.run([sys.executable, HERE / f"{name}.py", *options], check=True)
            found[name] = json.loads(path.read_text(encoding="utf-8"))
            ordered = {name: found[name] for name in ROUNDS if name in found}
            FIGURES.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8", newline="\n")


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
