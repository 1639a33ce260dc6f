"""A grid of units as a table of small squares, backbone by arm, one square a seed: a component of the project's own.

It is told the states again and again and changes only what differs, so that nothing flickers.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

#: State → (what its square shows, the word for it); a running one shows its share instead. No state rests on colour.
SIGNS = {
    "done": ("✓", "done"), "running": ("…", "training, with its share in percent"), "stopped": ("‖", "stopped"),
    "failed": ("✗", "failed"), "waiting": ("", "waiting"),
}  # fmt: skip
_HTML = '<div class="scroll"><table></table></div><div class="legend"></div>'
_CSS = """
:host, div, table { font-family: var(--st-font); font-size: 0.8rem; color: var(--st-text-color); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; }
th { font-weight: 400; text-align: left; padding: 3px 14px 3px 0; white-space: nowrap; }
thead th { color: #52606d; vertical-align: bottom; }
td { padding: 3px 14px 3px 0; border-top: 1px solid #e4e7eb; }
tbody th { border-top: 1px solid #e4e7eb; }
.cell { display: flex; flex-wrap: wrap; gap: 3px; max-width: 170px; }
.unit { box-sizing: border-box; width: 24px; height: 20px; border-radius: 3px; border: 1px solid #8a8f98;
  display: inline-flex; align-items: center; justify-content: center; font-size: 0.7rem; line-height: 1; }
.done { background: #0072b2; border-color: #0072b2; color: #fff; }
.running { border-color: #0072b2; color: #1f2933; font-weight: 600; }
.stopped { border-color: #8a6d00; background: #fdf3cf; color: #1f2933; }
.failed { background: #d55e00; border-color: #d55e00; color: #fff; font-weight: 700; }
.waiting { border-style: dashed; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin-top: 8px; color: #52606d; }
.legend span { display: inline-flex; align-items: center; gap: 5px; }
"""
_JS = """
export default function ({ data, parentElement: root }) {
  const table = root.querySelector('table'), legend = root.querySelector('.legend')
  const make = (tag, text, name) => {
    const node = document.createElement(tag)
    if (text !== undefined) node.textContent = text
    if (name) node.className = name
    return node
  }
  const names = data.rows.map(row => [row.name, row.cells.map(units => units.map(unit => unit.id))])
  const shape = JSON.stringify([data.arms, names, data.signs])
  if (root.carsShape !== shape) {
    root.carsShape = shape
    const head = make('tr')
    head.append(make('th', 'Backbone'), ...data.arms.map(arm => make('th', arm)))
    const thead = make('thead'), tbody = make('tbody')
    thead.append(head)
    for (const row of data.rows) {
      const line = make('tr')
      line.append(make('th', row.name))
      for (const units of row.cells) {
        const cell = make('div', undefined, 'cell'), td = make('td')
        for (const unit of units) {
          const square = make('span', undefined, 'unit')
          square.dataset.unit = unit.id
          square.setAttribute('role', 'img')
          cell.append(square)
        }
        td.append(cell)
        line.append(td)
      }
      tbody.append(line)
    }
    table.replaceChildren(thead, tbody)
    legend.replaceChildren(...data.signs.map(([state, sign, words]) => {
      const item = make('span')
      item.append(make('span', state === 'running' ? '40' : sign, 'unit ' + state), document.createTextNode(words))
      return item
    }), make('span', 'one square a seed'))
  }
  for (const row of data.rows) for (const unit of row.cells.flat()) {
    const square = table.querySelector(`[data-unit="${CSS.escape(unit.id)}"]`)
    const told = JSON.stringify(unit)
    if (square.carsTold === told) continue
    square.carsTold = told
    square.className = 'unit ' + unit.state
    square.textContent = unit.sign
    square.title = unit.about
    square.setAttribute('aria-label', unit.about)
    square.style.background = unit.state === 'running'
      ? `linear-gradient(to right, #9fd0ee ${unit.share}%, transparent ${unit.share}%)` : ''
  }
}
"""
_grid = st.components.v2.component("cars_grid", html=_HTML, css=_CSS, js=_JS)


def grid(units: pd.DataFrame, key: str) -> Any:
    """The squares of units: unit backbone arm seed state (of SIGNS) share (in percent) about (words to point at)."""
    arms, backbones = (list(dict.fromkeys(units[name])) for name in ("arm", "backbone"))
    cells = {pair: part.sort_values("seed") for pair, part in units.groupby(["backbone", "arm"])}
    rows = [
        {"name": b, "cells": [_squares(cells[b, a]) if (b, a) in cells else [] for a in arms]} for b in backbones
    ]  # fmt: skip
    there = set(units["state"])
    signs = [[state, sign, words] for state, (sign, words) in SIGNS.items() if state in there]
    return _grid(key=key, data={"arms": arms, "rows": rows, "signs": signs})


def _squares(units: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            "id": u["unit"], "state": u["state"], "share": u["share"], "about": u["about"],
            "sign": f"{u['share']}" if u["state"] == "running" else SIGNS[u["state"]][0],
        }
        for u in units.to_dict("records")
    ]  # fmt: skip
