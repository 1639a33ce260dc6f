"""An edit over its source, with a line between them that pointer and keys move: a small component of the project's own.

Left of the line is the source, right of it the edit; each side carries its name, and the edit's has a dashed frame, so
that a synthetic film is never taken for a real one. Difference, region and outlines are pictures laid on top.
"""

from __future__ import annotations

import base64
from typing import Any

import streamlit as st

from cars import pictures
from pages._keys import LISTEN

#: The film's height on the page, where its width allows.
HEIGHT = 520
_HTML = """
<div class="names"><span class="real-name"></span><span class="made-name"></span></div>
<div class="window">
  <div class="stage">
    <div class="side made"><img class="edited"><img class="after lines"><span class="tag"></span></div>
    <div class="side real"><img class="source"><img class="before lines"><span class="tag"></span></div>
    <img class="difference"><img class="region">
    <div class="line"><div class="handle" role="slider" tabindex="0" aria-orientation="horizontal" aria-valuemin="0"
      aria-valuemax="100">↔</div></div>
  </div>
</div>
<div class="layers">
  <label><input type="checkbox" data-layer="difference"> Difference</label>
  <label><input type="checkbox" data-layer="region"> Region of interest</label>
  <label class="outlines"><input type="checkbox" data-layer="lines"> Lungs and heart</label>
</div>
<div class="legend" role="status"></div>
"""
_CSS = """
:host, div { font-family: var(--st-font); font-size: 0.875rem; color: var(--st-text-color); }
.names, .layers { display: flex; flex-wrap: wrap; gap: 0.15rem 1.2rem; justify-content: space-between; }
.layers { justify-content: flex-start; margin-top: 0.4rem; }
.layers label { cursor: pointer; }
.made-name { color: #a84300; font-weight: 600; }
.real-name { font-weight: 600; }
.window { overflow: auto; max-height: 86vh; margin-top: 0.25rem; }
.stage { position: relative; background: #000; touch-action: none; user-select: none; cursor: ew-resize; }
.side { position: absolute; inset: 0; overflow: hidden; }
.stage img { position: absolute; inset: 0; width: 100%; height: 100%; display: block; pointer-events: none; }
.made::after { content: ""; position: absolute; inset: 0; border: 3px dashed #d55e00; }
.tag { position: absolute; top: 8px; padding: 1px 7px; border-radius: 3px; color: #fff; font-size: 0.8rem; z-index: 1; }
.real .tag { left: 8px; background: #1f2933e6; }
.made .tag { right: 8px; background: #a84300e6; }
.line { position: absolute; top: 0; bottom: 0; width: 2px; margin-left: -1px; background: #fff;
  box-shadow: 0 0 2px #000; }
.handle { position: absolute; top: 50%; left: -15px; width: 32px; height: 32px; margin-top: -16px; line-height: 30px;
  border-radius: 50%; background: #fff; color: #1f2933; text-align: center; box-shadow: 0 0 3px #000; }
.handle:focus-visible { outline: 3px solid #0072b2; outline-offset: 2px; }
.legend { opacity: 0.75; min-height: 1.3em; }
[hidden] { display: none !important; }
"""
_JS = LISTEN + """
export default function (component) {
  const root = component.parentElement, data = component.data
  const find = name => root.querySelector(name)
  const state = root.carsSwipe ??= {at: 50, on: {difference: false, region: false, lines: false}}
  const stage = find('.stage'), handle = find('.handle'), line = find('.line')

  const show = at => {
    state.at = Math.min(100, Math.max(0, at))
    find('.real').style.clipPath = `inset(0 ${100 - state.at}% 0 0)`
    find('.made').style.clipPath = `inset(0 0 0 ${state.at}%)`
    line.style.left = state.at + '%'
    const left = Math.round(state.at)
    handle.setAttribute('aria-valuenow', left)
    handle.setAttribute('aria-valuetext', `${left}% ${data.names[0]}, ${100 - left}% ${data.names[1]}`)
  }
  const layers = () => {
    for (const box of root.querySelectorAll('[data-layer]')) {
      const name = box.dataset.layer
      box.checked = state.on[name]
      for (const picture of root.querySelectorAll('.' + name))
        picture.hidden = !state.on[name] || !picture.getAttribute('src')
    }
    const words = Object.keys(state.on).filter(name => state.on[name] && (name !== 'lines' || data.before))
    find('.legend').textContent = words.map(name => data.legend[name]).join(' ')
  }
  const flip = name => { state.on[name] = !state.on[name]; layers() }

  for (const [name, from] of [['edited', 'edited'], ['source', 'source'], ['difference', 'difference'],
    ['region', 'region'], ['after', 'after'], ['before', 'before']]) {
    const picture = find('img.' + name)
    if (data[from]) picture.src = data[from]
    else picture.removeAttribute('src')
  }
  const [real, made] = data.names
  find('.source').alt = `${real}: ${data.title}`
  find('.edited').alt = `${made}: ${data.title}`
  for (const name of ['difference', 'region', 'before', 'after']) find('img.' + name).alt = ''
  find('.real .tag').textContent = real
  find('.made .tag').textContent = made
  find('.real-name').textContent = `left: ${real}`
  find('.made-name').textContent = `right: ${made}`
  handle.setAttribute('aria-label', `Line between ${real} and ${made}`)
  find('.outlines').hidden = !data.before
  stage.style.width = data.whole ? data.columns + 'px' : `min(100%, ${data.height * data.columns / data.rows}px)`
  stage.style.aspectRatio = `${data.columns} / ${data.rows}`
  show(state.at)
  layers()

  const follow = event => {
    const box = stage.getBoundingClientRect()
    show(100 * (event.clientX - box.left) / box.width)
  }
  stage.onpointerdown = event => { stage.setPointerCapture(event.pointerId); follow(event); handle.focus() }
  stage.onpointermove = event => { if (stage.hasPointerCapture(event.pointerId)) follow(event) }
  handle.onkeydown = event => {
    const step = event.shiftKey ? 10 : 1
    const to = {ArrowLeft: state.at - step, ArrowDown: state.at - step, ArrowRight: state.at + step,
      ArrowUp: state.at + step, PageDown: state.at - 10, PageUp: state.at + 10, Home: 0, End: 100}[event.key]
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return
    event.preventDefault()
    event.stopPropagation()
    show(to)
  }
  for (const box of root.querySelectorAll('[data-layer]')) box.onchange = () => flip(box.dataset.layer)

  return listen(root, event => {
    const layer = {d: 'difference', i: 'region', l: 'lines'}[event.key]
    if (layer) flip(layer)
    return Boolean(layer)
  })
}
"""
_swipe = st.components.v2.component("cars_swipe", html=_HTML, css=_CSS, js=_JS)
REAL, MADE = "source (real)", "edit (synthetic)"


def uri(picture: bytes | None, kind: str = "jpeg") -> str | None:
    """A picture as a data address: nothing is fetched from anywhere."""
    return picture and f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def swipe(layers: pictures.Layers, title: str, key: str, whole: bool = False) -> Any:
    """Show an edit over its source. title: what the edit is, for those who hear the page.

    whole: at the film's own size, in a window that scrolls. The keys d, i and l switch difference, region and outlines.
    """
    lungs = "Lungs light blue, heart pink: on the left as outlined in the source, on the right as in the edit."
    data = {
        "source": uri(layers.source), "edited": uri(layers.edited), "difference": uri(layers.difference, "png"),
        "region": uri(layers.region, "png"), "before": uri(layers.outlines_before, "png"),
        "after": uri(layers.outlines_after, "png"), "rows": layers.rows, "columns": layers.columns, "title": title,
        "names": [REAL, MADE], "whole": whole, "height": HEIGHT,
        "legend": {
            "difference": f"Difference: orange where the edit is brighter, blue where darker; at most {layers.largest} "
            f"of 255 grey levels, {layers.share:.1%} of the pixels.",
            "region": "Yellow line: only inside it may the edit change pixels.", "lines": lungs,
        },
    }  # fmt: skip
    return _swipe(key=key, data=data)
