"""A figure with its downloads: PNG and SVG are made by the browser from what it shows, CSV holds the numbers.

The browser makes the pictures through the plotly that Streamlit ships, as the camera in the figure's own bar does, so
that the server needs no browser and nothing is computed before somebody asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from cars import plots

Table = pd.DataFrame | Callable[[], pd.DataFrame]
#: A picture has twice the size on the screen.
SCALE = 2
_HTML = """
<span>Download</span>
<button type="button" data-format="png">PNG</button>
<button type="button" data-format="svg">SVG</button>
<span role="status"></span>
"""
_CSS = """
:host, div { font-family: var(--st-font); font-size: 0.875rem; color: var(--st-text-color); }
span { opacity: 0.65; }
button { background: none; border: 0; padding: 0.25rem 0.4rem; font: inherit; color: inherit; cursor: pointer; }
button:hover, button:focus-visible { color: var(--st-primary-color); text-decoration: underline; }
"""
_JS = """
export default function ({ data, parentElement }) {
  const status = parentElement.querySelector('[role=status]')
  const camera = chart =>
    [...chart.querySelectorAll('.modebar-btn')].find(b => /^download/i.test(b.dataset.title || ''))
  for (const button of parentElement.querySelectorAll('button')) {
    button.onclick = () => {
      const chart = document.querySelector('.st-key-' + CSS.escape(data.key) + ' .js-plotly-plot')
      const shutter = chart && camera(chart)
      status.textContent = shutter ? '' : 'The figure is not drawn yet.'
      if (!shutter) return
      chart._context.toImageButtonOptions = {
        format: button.dataset.format, filename: data.name, scale: button.dataset.format === 'png' ? data.scale : 1,
      }
      shutter.click()
    }
  }
}
"""
_pictures = st.components.v2.component("cars_pictures", html=_HTML, css=_CSS, js=_JS)


def file_name(text: str) -> str:
    """A file's name from words: "Pairs of findings" → "pairs-of-findings"."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "figure"


def figure(
    drawn: go.Figure, name: str, data: Table, key: str, *, n: int | None = None, source: str = "", unit: str = "",
    **options: Any,
) -> Any:  # fmt: skip
    """Show a figure and, under it, its downloads. Returns what `st.plotly_chart` returns.

    Args:
        name: what the files are called. data: the figure's numbers, or what makes them when somebody asks.
        key: the chart's key. n, unit, source: how many of what it shows and from where; columns of the CSV.
        options: passed on to `st.plotly_chart` (on_select, selection_mode, width).
    """
    options = {"theme": None, "config": {"displaylogo": False}, **options}
    result = st.plotly_chart(drawn, key=key, **options)
    downloads(name, data, key, n=n, unit=unit, source=source, pictures=True)
    return result


def downloads(
    name: str, data: Table, key: str, *, n: int | None = None, source: str = "", unit: str = "", pictures: bool = False
) -> None:
    """The line of downloads: the numbers as CSV and, with `pictures`, the chart with this key as PNG and SVG."""
    named = file_name(f"{source} {name}" if source else name)

    def csv() -> bytes:
        table = data() if callable(data) else data
        # Excel takes a file without the mark for its own code page
        return plots.figure_table(table, n, unit, source).to_csv(index=False).encode("utf-8-sig")

    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if pictures:
            _pictures(key=f"{key}-pictures", data={"key": key, "name": named, "scale": SCALE}, width="content")
        st.download_button(
            "CSV" if pictures else "Download CSV", csv, f"{named}.csv", "text/csv", key=f"{key}-csv",
            on_click="ignore", type="tertiary",
        )  # fmt: skip


def marks(key: str) -> list[Any]:
    """The customdata of the chosen marks of the chart with this key; for use in its `on_select` callback."""
    state = st.session_state.get(key) or {}
    points = state.get("selection", {}).get("points", [])
    return [point["customdata"] for point in points if point.get("customdata") is not None]
