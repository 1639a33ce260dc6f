"""Edits as a grid of small pictures to choose from, each with a sign and a word: a component of the project's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import streamlit as st


@dataclass(frozen=True)
class Tile:
    """One picture. kind: a state of `review.STATES`, or "waiting" for one that is not made yet and not to be chosen."""

    id: str
    kind: str
    sign: str
    word: str
    about: str
    picture: str | None = None


_HTML = '<div class="tiles" role="listbox" aria-label="Edits"></div>'
_CSS = """
:host, div { font-family: var(--st-font); font-size: 0.75rem; color: var(--st-text-color); }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(84px, 1fr)); gap: 6px; }
.tile { all: unset; box-sizing: border-box; position: relative; cursor: pointer; border: 2px solid transparent;
  border-radius: 4px; overflow: hidden; background: #8882; }
.tile img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: #000; }
.blank { aspect-ratio: 1; display: flex; align-items: center; justify-content: center; font-size: 1.1rem; }
.word { padding: 1px 4px 2px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; background: #e8f3ee;
  color: #00593f; }
.failed .word, .notmade .word { background: #fbeae0; color: #8c3400; }
.rejected .word, .baseline .word, .waiting .word { background: #ececec; color: #444; }
.rejected img, .baseline img { opacity: 0.55; }
.waiting { cursor: default; border: 2px dashed #8886; }
.tile[aria-selected=true] { border-color: #0072b2; box-shadow: 0 0 0 1px #0072b2; }
.tile:focus-visible { outline: 3px solid #0072b2; outline-offset: 1px; }
"""
_JS = """
export default function (component) {
  const {parentElement: root, data, setTriggerValue} = component
  const box = root.querySelector('.tiles')
  const active = root.activeElement ?? document.activeElement
  const focused = active && box.contains(active)
  const made = data.tiles.map(tile => {
    const button = document.createElement('button')
    button.type = 'button'
    button.className = 'tile ' + tile.kind.replace(' ', '')
    button.setAttribute('role', 'option')
    button.setAttribute('aria-label', `${tile.about}: ${tile.sign} ${tile.word}`)
    button.title = tile.about
    button.setAttribute('aria-selected', tile.id === data.chosen)
    button.tabIndex = tile.id === data.chosen ? 0 : -1
    if (tile.picture) {
      const picture = document.createElement('img')
      picture.src = tile.picture
      picture.alt = ''
      button.append(picture)
    } else {
      const blank = document.createElement('div')
      blank.className = 'blank'
      blank.textContent = tile.sign
      button.append(blank)
    }
    const word = document.createElement('div')
    word.className = 'word'
    word.textContent = `${tile.sign} ${tile.word}`
    button.append(word)
    if (tile.kind === 'waiting') button.setAttribute('aria-disabled', 'true')
    else button.onclick = () => setTriggerValue('pick', tile.id)
    return button
  })
  box.replaceChildren(...made)
  const ready = made.filter(button => !button.hasAttribute('aria-disabled'))
  if (ready.length && !made.some(button => button.tabIndex === 0)) ready[0].tabIndex = 0
  const chosen = made.find(button => button.getAttribute('aria-selected') === 'true')
  if (focused) (chosen ?? ready[0])?.focus()
  box.onkeydown = event => {
    const at = ready.indexOf(event.target.closest('.tile'))
    const across = getComputedStyle(box).gridTemplateColumns.split(' ').length
    const to = {ArrowUp: at - across, ArrowDown: at + across, Home: 0, End: ready.length - 1}[event.key]
    if (at < 0 || to === undefined || !ready[to]) return
    event.preventDefault()
    ready[to].focus()
    ready[to].click()
  }
}
"""
_tiles = st.components.v2.component("cars_tiles", html=_HTML, css=_CSS, js=_JS)


def tiles(shown: Sequence[Tile], chosen: str, key: str, on_pick: Callable[[], None]) -> Any:
    """The grid. A click, or an arrow key up or down, comes as session_state[key].pick: the id of a tile."""
    return _tiles(key=key, data={"tiles": [asdict(tile) for tile in shown], "chosen": chosen}, on_pick_change=on_pick)
