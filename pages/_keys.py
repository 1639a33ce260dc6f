"""Keys of the keyboard that do something wherever the page has the focus: a small component without a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

#: JavaScript: `listen(root, answer)` calls answer(event) for each plain key that nobody is typing, and stops the key
#: where it returns true. Streamlit itself answers to some letters (r runs the script again), so keys are taken before
#: it sees them.
LISTEN = """
const ENTRY = 'input:not([type=checkbox]):not([type=button]), textarea, select, [contenteditable=true], ' +
  '[role=combobox], [role=listbox]:not(.tiles), [role=option]:not(.tile), [role=spinbutton], [role=textbox]'
const ARROWS = '[role=slider], [role=radio], [role=radiogroup], [role=tab], [role=grid], canvas'
function listen(root, answer) {
  if (root.carsKeys) window.removeEventListener('keydown', root.carsKeys, true)
  const heard = event => {
    if (!(root.host ?? root).isConnected) return window.removeEventListener('keydown', heard, true)
    const focus = event.composedPath()[0]
    const inside = selector => focus instanceof Element && focus.closest(selector)
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('[role=dialog]')) return
    if (event.key === 'Escape' && inside('[class*=st-key-note-]')) return focus.blur()
    if (inside(ENTRY) || (event.key.startsWith('Arrow') && inside(ARROWS))) return
    if (!answer(event)) return
    event.preventDefault()
    event.stopImmediatePropagation()
  }
  root.carsKeys = heard
  window.addEventListener('keydown', heard, true)
  return () => window.removeEventListener('keydown', heard, true)
}
"""
_JS = LISTEN + """
export default function ({data, parentElement: root, setTriggerValue}) {
  // Streamlit keeps one value of a trigger, so a key pressed while the page still answers to the one before could be
  // lost: each has a number, and all that the server has not seen are sent together, again if need be
  const sent = root.carsSent ??= {n: data.seen, waiting: []}
  sent.waiting = sent.waiting.filter(one => one.n > data.seen)
  if (sent.waiting.length) setTriggerValue('act', sent.waiting)
  ;(root.host ?? root).setAttribute('data-edit', data.edit)  // whose keys these are now
  return listen(root, event => {
    const what = data.keys[event.key]
    if (!what) return false
    if (what === 'note') document.querySelector('[class*=st-key-note-] input')?.focus()
    else if (!event.repeat) {
      sent.waiting.push({n: ++sent.n, what, edit: data.edit})
      setTriggerValue('act', [...sent.waiting])
    }
    return true
  })
}
"""
_keys = st.components.v2.component("cars_keys", js=_JS)


def keys(what: Mapping[str, str], edit: str, key: str, on_act: Callable[[str, str], None]) -> Any:
    """Listen to keys. what: key → what it does; "note" goes to the note, all else calls on_act(what, edit) once for
    each key in order, where `edit` is the one that the browser showed when the key was pressed."""
    seen = f"{key}-seen"

    def acted() -> None:
        for one in st.session_state[key]["act"] or ():
            if one["n"] > st.session_state.get(seen, 0):
                st.session_state[seen] = one["n"]
                on_act(one["what"], one["edit"])

    data = {"keys": dict(what), "edit": edit, "seen": st.session_state.get(seen, 0)}
    return _keys(key=key, data=data, on_act_change=acted)
