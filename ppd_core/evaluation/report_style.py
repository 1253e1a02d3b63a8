"""How the report looks: light and dark, from a telephone's width on."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f6f4; --card: #ffffff; --ink: #1c1e21; --soft: #5b6068; --faint: #d9dbde;
  --bar: #3b6fb5; --mark: #b3541e; --best: #e7f0e4; --warn: #8f3b12; --warn-back: #fbeee6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #131518; --card: #1c1f23; --ink: #e8e9eb; --soft: #a2a8b0; --faint: #363b42;
    --bar: #6f9fdf; --mark: #f0a063; --best: #22382a; --warn: #f3b48c; --warn-back: #3a261a;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1rem; max-width: 78rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere;
}
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0 .25rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .25rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p { margin: .25rem 0 .75rem; max-width: 46rem; }
.soft { color: var(--soft); font-size: .875rem; }
.card {
  background: var(--card); border: 1px solid var(--faint); border-radius: .5rem;
  padding: .75rem; margin: .5rem 0; overflow-x: auto;
}
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: .125rem 1rem; margin: 0; }
dl.facts dt { color: var(--soft); }
dl.facts dd { margin: 0; white-space: pre-line; }
code { font: .8125rem/1.5 ui-monospace, monospace; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .375rem .5rem; text-align: right; border-bottom: 1px solid var(--faint); }
th { color: var(--soft); font-weight: 500; font-size: .8125rem; vertical-align: bottom; }
tbody tr:last-child td, tbody tr:last-child th { border-bottom: 0; }
.word { text-align: left; }
thead th, td { overflow-wrap: normal; }
tbody th.word { color: var(--ink); font-weight: 600; font-size: 1rem; vertical-align: top;
  min-width: 8rem; }
td { vertical-align: top; }
td.best { background: var(--best); font-weight: 600; }
.warn { color: var(--warn); }
details { margin: .5rem 0; }
summary { cursor: pointer; color: var(--soft); padding: .25rem 0; }
ul.failures { background: var(--warn-back); border-radius: .5rem; margin: .5rem 0;
  padding: .75rem .75rem .75rem 2rem; }
.grid { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); }
.grid .card { margin: 0; }
.histogram { display: block; width: 100%; max-width: 26rem; }
.histogram .bars rect { fill: var(--bar); }
.histogram .bars rect:hover { opacity: .7; }
.histogram text { font: 11px system-ui, sans-serif; fill: var(--soft); }
.histogram text.mean { fill: var(--mark); font-weight: 600; }
.histogram .base { stroke: var(--faint); fill: none; }
.histogram path.mean { stroke: var(--mark); stroke-width: 1.5; fill: none; }
.pictures { display: grid; gap: .5rem; grid-template-columns: repeat(6, 1fr); }
.pictures figure { margin: 0; }
.pictures img { display: block; width: 100%; height: auto; border-radius: .25rem; }
.pictures figcaption { color: var(--soft); font-size: .75rem; line-height: 1.35;
  padding: .25rem 0; }
@media (max-width: 60rem) { .pictures { grid-template-columns: repeat(3, 1fr); } }
@media (max-width: 44rem) {
  body { padding: .625rem; }
  .pictures { grid-template-columns: repeat(2, 1fr); }
  dl.facts { grid-template-columns: 1fr; }
  dl.facts dd { margin-bottom: .375rem; }
  /* A row becomes a card: its columns stand below each other, each with its name. */
  thead { display: none; }
  table, tbody, tr, td, th { display: block; width: 100%; }
  tbody tr { border-bottom: 2px solid var(--faint); padding: .5rem 0; }
  tbody tr:last-child { border-bottom: 0; }
  td { display: flex; justify-content: space-between; gap: 1rem; border: 0;
    padding: .125rem .25rem; text-align: right; }
  td::before { content: attr(data-title); color: var(--soft); text-align: left; }
  td.word { text-align: right; }
  tbody th.word { border: 0; padding: .125rem .25rem; }
}
@media print { details { display: block; } .card { break-inside: avoid; } }
"""
