"""The map of 377,110 films in a real browser: each interaction works, no message is over 3 MB, times are printed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from benchmarks._mimic_shaped import workspace_of
from cars.coverage import GapsSettings, gaps
from cars.workspace import Workspace

pytestmark = pytest.mark.browser
FILMS = 377_110
LARGEST_MESSAGE = 3_000_000


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Seeded rows of MIMIC-CXR's size with vectors, a map and gaps; no film."""
    made = workspace_of(tmp_path_factory.mktemp("mimic-shaped") / "mimic", FILMS, dim=16)
    gaps(made, GapsSettings(max_order=2))
    return made


@pytest.fixture(scope="module")
def times() -> Iterator[dict[str, float]]:
    """What took how long; printed at the end."""
    found: dict[str, float] = {}
    yield found
    print(f"\nThe map of {FILMS:,} films in a browser, seconds from the click to the answer on the page:")
    for what, seconds in found.items():
        print(f"  {what:42} {seconds:6.2f}")


@pytest.fixture
def timed(times: dict[str, float]) -> Callable[[str], Any]:
    @contextmanager
    def clock(what: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        times[what] = time.monotonic() - start

    return clock


def drag(page: Any, left: float, top: float, right: float, bottom: float) -> None:
    """Draw a box on the map; shares of its width and height."""
    box = page.locator(".js-plotly-plot .nsewdrag").first.bounding_box()
    x, y, width, height = (box[k] for k in ("x", "y", "width", "height"))
    page.mouse.move(x + left * width, y + top * height)
    page.mouse.down()
    page.mouse.move(x + right * width, y + bottom * height, steps=5)
    page.mouse.up()


def choose_colour(page: Any, words: str) -> None:
    page.get_by_role("combobox", name="Colour by").click()
    page.keyboard.type(words)
    page.keyboard.press("Enter")
    page.locator(".js-plotly-plot").get_by_text(f"Films by similarity: {words[0].lower()}{words[1:]}").wait_for()


def counted(page: Any) -> int:
    """How many films the region's sentence says there are."""
    text = page.get_by_text(" patients (").first.inner_text()
    return int(text.split(" films", 1)[0].replace(",", ""))


def test_the_map_of_a_large_data_set(page: Any, address: str, timed: Callable[[str], Any]) -> None:
    with timed("first picture, films read from disk"):
        page.goto(f"{address}/coverage?section=map")
        page.locator(".js-plotly-plot .nsewdrag").first.wait_for()
    page.get_by_text(f"{FILMS:,} films").first.wait_for()
    page.wait_for_timeout(2000)

    with timed("colour by a finding"):
        choose_colour(page, "Share with Edema")
    with timed("colour by view"):
        choose_colour(page, "View")
    page.wait_for_timeout(1000)

    with timed("a box: counts, findings and gaps of it"):
        drag(page, 0.25, 0.3, 0.6, 0.8)
        page.get_by_text(" patients (").first.wait_for()
    films = counted(page)
    assert 0 < films < FILMS
    assert "region=box" in page.url
    page.get_by_text("Gaps that films here match, or nearly match").wait_for()

    with timed("zoom into it"):
        page.get_by_role("button", name="Zoom into the region").click()
        page.locator(".js-plotly-plot").get_by_text(f"{films:,} films").wait_for()
    assert "window=" in page.url
    page.wait_for_timeout(1000)

    with timed("a smaller box in it"):
        drag(page, 0.47, 0.47, 0.52, 0.52)
        page.get_by_text(" patients (").first.wait_for()
    assert 0 < counted(page) < films

    with timed("zoom until each film is a mark"):
        page.get_by_role("button", name="Zoom into the region").click()
        page.locator(".js-plotly-plot").get_by_text("a mark each").wait_for()
    page.wait_for_timeout(1500)
    page.get_by_role("combobox", name="Mouse").click()
    page.keyboard.type("Click a film")
    page.keyboard.press("Enter")
    page.wait_for_timeout(1500)
    with timed("a clicked film and its nearest films"):
        click_a_mark(page)
        page.get_by_text("The clicked film, and those most like it").wait_for()
        page.get_by_text("of these have no film that can be shown").first.wait_for()
    assert "film=film-" in page.url

    shared = page.url
    page.goto("about:blank")
    page.goto(shared)
    page.get_by_text("The clicked film, and those most like it").wait_for()
    page.locator(".js-plotly-plot").get_by_text("a mark each").wait_for()

    largest = max(length for _, length in page.messages)
    print(f"\nlargest message to the browser: {largest:,} bytes")
    assert largest <= LARGEST_MESSAGE
    assert page.outside == []


def click_a_mark(page: Any) -> None:
    """Click the mark nearest to the middle, where the figure says that it lies."""
    place = page.evaluate(
        """() => {
            const chart = document.querySelector('.js-plotly-plot')
            const layout = chart._fullLayout, box = chart.querySelector('.nsewdrag').getBoundingClientRect()
            let best = null
            for (const trace of chart._fullData) {
                if (!trace.customdata) continue
                for (let k = 0; k < trace.x.length; k++) {
                    const x = layout.xaxis.c2p(trace.x[k]), y = layout.yaxis.c2p(trace.y[k])
                    const far = (x / box.width - 0.5) ** 2 + (y / box.height - 0.5) ** 2
                    if (best === null || far < best.far) best = {far, x: box.x + x, y: box.y + y}
                }
            }
            return best
        }"""
    )
    page.mouse.move(place["x"], place["y"])
    page.wait_for_timeout(200)
    page.mouse.click(place["x"], place["y"])
