"""The report as one HTML file that needs nothing else: plotly's script is inside, and a policy forbids all loading."""

from __future__ import annotations

import base64
import html
import json
import time

import pandas as pd

from .compose import Picture, Section
from .gather import Results

#: A figure's table of more rows than this is a download only.
SHOWN = 60
#: Nothing may be loaded from anywhere; what is inside may run.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; "
    "form-action 'none'"
)
STYLE = """
body { font: 16px/1.55 system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif; color: #1F2933;
  background: #fff; margin: 0 auto; max-width: 60rem; padding: 1.5rem 1.25rem 5rem; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; } h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; }
.about { color: #52606D; margin: 0 0 1rem; } li { margin: .3rem 0; } li.warn { color: #A84300; }
nav a { margin-right: 1rem; white-space: nowrap; } a { color: #0072B2; }
figure { margin: 1.4rem 0 0; } figure > div { width: 100%; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; margin: .4rem 0 1.2rem; }
caption { text-align: left; color: #52606D; padding: .3rem 0; } th, td { text-align: left; vertical-align: top;
  padding: .22rem .7rem .22rem 0; border-bottom: 1px solid #E4E7EB; } th { font-weight: 600; }
td.wide { word-break: break-all; } summary { cursor: pointer; color: #52606D; font-size: .85rem; }
@media print { nav, summary { display: none; } h2 { break-after: avoid; } figure, tr { break-inside: avoid; } }
"""
DRAW = """
const figures = JSON.parse(document.getElementById('figures').textContent)
const draw = id => Plotly.newPlot(id, figures[id].data, figures[id].layout,
  {displaylogo: false, responsive: true, showSendToCloud: false})
const next = ids => { if (ids.length) { draw(ids[0]); setTimeout(() => next(ids.slice(1))) } }
next(Object.keys(figures))
"""


def html_of(results: Results, sections: list[Section]) -> str:
    """The whole document."""
    from plotly.offline import get_plotlyjs

    figures: dict[str, object] = {}
    body = [_section(n, section, figures) for n, section in enumerate(sections)]
    links = "".join(f'<a href="#s{n}">{_safe(section.title)}</a> ' for n, section in enumerate(sections))
    title = f"Did the added films help? {results.source}"
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    # "</" would end the element wherever it stands in a text
    data = json.dumps(figures, ensure_ascii=False).replace("</", "<\\/")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_safe(title)}</title><style>{STYLE}</style></head>
<body><h1>{_safe(title)}</h1>
<p class="about">Run {_safe(results.run)}; {_safe(", ".join(results.backbones))}; {_safe(", ".join(results.arms))};
made {made} by CARS {_safe(results.origin["code_version"])}.</p>
<nav>{links}</nav>
<noscript><p>The figures need JavaScript, which is inside this file. Their numbers are in the tables.</p></noscript>
{"".join(body)}
<script type="application/json" id="figures">{data}</script>
<script>{get_plotlyjs()}</script>
<script>{DRAW}</script>
</body></html>
"""


def _section(n: int, section: Section, figures: dict[str, object]) -> str:
    parts = [f'<section id="s{n}"><h2>{_safe(section.title)}</h2>']
    parts += [f"<p>{_safe(text)}</p>" for text in section.paragraphs]
    if section.points:
        warned = [(" class='warn'" if text.startswith("What this cannot say") else "", text) for text in section.points]
        parts.append(f"<ul>{''.join(f'<li{mark}>{_safe(text)}</li>' for mark, text in warned)}</ul>")
    for k, picture in enumerate(section.pictures):
        parts.append(_figure(f"f{n}-{k}", picture, figures))
    for caption, table in section.tables:
        parts.append(_table(table, caption))
    return "".join([*parts, "</section>"])


def _figure(key: str, picture: Picture, figures: dict[str, object]) -> str:
    figures[key] = json.loads(picture.figure.to_json())
    figures[key].pop("frames", None)  # type: ignore[attr-defined]
    text = picture.table.to_csv(index=False, na_rep="undefined")
    csv = base64.b64encode(text.encode("utf-8-sig")).decode()
    name = f"{picture.name.replace(' ', '-')}.csv"
    link = f'<a download="{_safe(name)}" href="data:text/csv;base64,{csv}">CSV</a>'
    numbers = _table(picture.table) if len(picture.table) <= SHOWN else ""
    height = int(picture.figure.layout.height or 450)
    return (
        f'<figure><div id="{key}" style="height:{height}px" role="img" aria-label="{_safe(picture.name)}"></div>'
        f"<details><summary>Numbers ({len(picture.table):,} rows) {link}</summary>{numbers}</details></figure>"
    )


def _table(table: pd.DataFrame, caption: str = "") -> str:
    if not len(table):
        return f"<p>{_safe(caption)} There is none.</p>"
    head = "".join(f"<th>{_safe(name)}</th>" for name in table.columns)
    rows = "".join(
        f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in table.itertuples(index=False, name=None)
    )
    words = f"<caption>{_safe(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{words}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return "<td>undefined</td>"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    wide = ' class="wide"' if len(text) > 60 and " " not in text[:60] else ""
    return f"<td{wide}>{_safe(text)}</td>"


def _safe(text: object) -> str:
    return html.escape(str(text))
