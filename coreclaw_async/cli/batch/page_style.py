"""The style of the page about a batch: light and dark, for widths from 400 pixels on."""

from __future__ import annotations

# Colour-blind people can tell these colours apart; there is text beside them anyway.
STYLE = """
:root {
  --back: #ffffff; --front: #1c2024; --faint: #5b6570; --line: #d5dae0; --soft: #f3f5f7;
  --done: #0b7a75; --failed: #c2410c; --rejected: #8f2d56; --ambiguous: #7c3aed; --submitted: #2563eb;
  --intent: #60a5fa; --planned: #9aa4af; --cancelled: #5b6570; --cost: #6d5bd0; --track: #e4e8ec;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #14171a; --front: #e8ebee; --faint: #a3adb8; --line: #343b43; --soft: #1d2227;
    --done: #2dd4bf; --failed: #fb923c; --rejected: #f472b6; --ambiguous: #a78bfa; --submitted: #60a5fa;
    --intent: #2563eb; --planned: #6b7580; --cancelled: #a3adb8; --cost: #9d8df1; --track: #2b3138;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--front); font: 16px/1.5 system-ui, sans-serif; }
main, footer { max-width: 62rem; margin: 0 auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; overflow-wrap: anywhere; margin: 1.5rem 0 1rem; line-height: 1.25; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1rem 0 .25rem; font-weight: 600; }
footer { color: var(--faint); font-size: .875rem; margin-top: 2rem; padding-bottom: 2rem; }
.note { border-left: 4px solid var(--failed); background: var(--soft); padding: .5rem .75rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(6.25rem, 1fr)); gap: .5rem; margin: 0; }
.facts div { background: var(--soft); border-radius: 6px; padding: .5rem .75rem; display: flex;
  flex-direction: column; justify-content: space-between; }
.facts dt { color: var(--faint); font-size: .8125rem; line-height: 1.3; }
.facts dd { margin: 0; font-size: 1.2rem; font-weight: 600; overflow-wrap: anywhere; }
.chart { display: block; width: 100%; border-radius: 3px; }
.framed { margin: .5rem 0; }
.framed p { margin: 0; color: var(--faint); font-size: .8125rem; }
.axis { display: flex; justify-content: space-between; gap: 1rem; }
.axis span:last-child { text-align: right; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: 0; padding: 0; }
.swatch { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .4em; }
.scroll { overflow-x: auto; margin: .5rem 0; }
.scroll:focus-visible { outline: 2px solid var(--submitted); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: .9375rem; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line); }
td, tbody th { overflow-wrap: anywhere; min-width: 7rem; }
td.short, tbody th.short { overflow-wrap: normal; min-width: 0; white-space: nowrap; }
thead th { color: var(--faint); font-weight: 600; font-size: .8125rem; white-space: nowrap; }
tbody th { font-weight: 500; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number { white-space: nowrap; min-width: 0; }
td .chart { height: 1rem; min-width: 5rem; margin-top: .25rem; }
code { font: .875em ui-monospace, monospace; }
.line { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; }
.limit { stroke: var(--front); stroke-dasharray: 6 4; }
.grid { stroke: var(--line); stroke-width: 1; vector-effect: non-scaling-stroke; }
@media print { .scroll { overflow: visible; } section { break-inside: avoid; } }
""" + "".join(
    f".fill-{name} {{ fill: var(--{name}); background: var(--{name}); }} .stroke-{name} {{ stroke: var(--{name}); }}\n"
    for name in (
        "done", "failed", "rejected", "ambiguous", "submitted", "intent", "planned", "cancelled", "cost", "track",
    )
)  # fmt: skip
