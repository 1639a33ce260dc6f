"""How long does the map of a data set of MIMIC-CXR's size take, and how quickly does it answer questions?

Vectors: seeded, in groups, 377,110 × 64, none of a film. Timed by the clock and by CPU, on this machine as it is: every
film by UMAP, and UMAP of landmarks with the others placed between them (cars/embed/layout.py); then the questions
that the page asks of 377,110 points (cars/coverage/filmmap.py). "reference": for the layouts umap-learn's own fit on
given neighbours, in CPU seconds, measured on 20,000 films and multiplied; for the questions the 0.5 s that an answer
may take. Trustworthiness (Venna & Kaski 2001) on 3,000 films says whether films that are near on the map are near in
feature space; 1 is perfect. "neighbours kept": of the 15 films nearest to a film, the share that is among its 15
nearest on the map, for 20,000 films and as many landmarks in proportion; there the reference is umap-learn's own map,
and the ratio ours ÷ reference instead of reference ÷ ours.

    python benchmarks/map.py [--json] [--films 377110] [--modes landmark,umap]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

# numba imports a module named coverage, and must not find the file beside this one
if Path(sys.path[0]) == Path(__file__).resolve().parent:
    sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks._mimic_shaped import workspace_of
from cars import index
from cars.coverage import filmmap
from cars.embed import layout

#: Films on which UMAP's own fit is timed.
PART = 20_000
ANSWER = 0.5
LANDMARKS = 30_000


def timed(function: Any, *arguments: Any) -> tuple[Any, float, float]:
    """(result, seconds by the clock, CPU seconds)."""
    clock, cpu = time.perf_counter(), time.process_time()
    result = function(*arguments)
    return result, time.perf_counter() - clock, time.process_time() - cpu


def own_umap(some: np.ndarray) -> tuple[np.ndarray, float]:
    """umap-learn's own map of these films, given their neighbours: (points, CPU seconds after compiling)."""
    import warnings

    import umap

    near, distance = layout.component_neighbours(some, 15, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = umap.UMAP(
            n_neighbors=15, precomputed_knn=(near, distance), init=some[:, :2].copy(), random_state=0, n_jobs=1,
            n_epochs=200,
        )  # fmt: skip
        model.fit_transform(some)  # compiles
        points, _, cpu = timed(model.fit_transform, some)
    return points, cpu


def kept_neighbours(parts: np.ndarray, points: np.ndarray, k: int = 15) -> float:
    """Of each film's k nearest in feature space, the share that is among its k nearest on the map."""
    true, _ = layout.component_neighbours(parts, k + 1, 0)
    drawn, _ = layout.component_neighbours(points, k + 1, 0)
    return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(true[:, 1:].tolist(), drawn[:, 1:].tolist())]))


def layouts(mode: str, workspace: Any, landmarks: int) -> np.ndarray:
    """The map as `embed` draws it in a mode."""
    place = index.current(workspace)
    if mode == "landmark":
        return layout.by_landmarks(workspace, place, 15, 0, landmarks)
    return layout.lay_out(workspace, place, 15, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--films", type=int, default=377_110)
    parser.add_argument("--modes", default="landmark,umap")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []

    def row(what: str, ours: float, reference: float | None, unit: str, more_is_better: bool = False) -> None:
        ratio = None
        if reference is not None:
            ratio = round(ours / reference if more_is_better else reference / max(ours, 1e-9), 2)
        rows.append({"what": what, "ours": round(ours, 3), "reference": reference and round(reference, 3),
                     "ratio": ratio, "unit": unit})  # fmt: skip

    with tempfile.TemporaryDirectory() as folder:
        workspace = workspace_of(Path(folder) / "ws", options.films)
        _, array = index.read_embeddings(workspace)
        parts = layout.principal(array, layout.COMPONENTS)
        films = min(PART, options.films)
        small = workspace_of(Path(folder) / "part", films)
        own = layout.principal(index.read_embeddings(small)[1], layout.COMPONENTS)
        theirs, seconds = own_umap(own)
        reference, share = seconds * options.films / films, kept_neighbours(own, theirs)
        for mode in options.modes.split(","):
            landmarks = LANDMARKS * films // options.films
            points = layouts(mode, small, landmarks)
            row(f"{mode}, neighbours kept, n {films:,}", kept_neighbours(own, points), share, "", True)
        some = np.sort(np.random.default_rng(0).choice(len(parts), min(3000, len(parts)), replace=False))
        for mode in options.modes.split(","):
            points, clock, cpu = timed(layouts, mode, workspace, LANDMARKS)
            row(f"{mode}, {options.films:,} × {array.shape[1]}, CPU", cpu, reference, "CPU s")
            row(f"{mode}, {options.films:,} × {array.shape[1]}, clock", clock, None, "s")
            from sklearn.manifold import trustworthiness

            trust = trustworthiness(parts[some], points[some], n_neighbors=15)
            row(f"{mode}, trustworthiness, n 3,000", trust, None, "")
        m, clock, _ = timed(filmmap.film_map, workspace)
        row("first reading of the map", clock, None, "s")
        kept = np.ones(len(m), bool)
        x0, x1, y0, y1 = m.whole
        angle = np.linspace(0, 2 * np.pi, 100)
        x, y = (x0 + x1) / 2 + (x1 - x0) / 5 * np.cos(angle), (y0 + y1) / 2 + (y1 - y0) / 5 * np.sin(angle)
        lasso = filmmap.region_text("lasso", np.column_stack([x, y]))
        chosen = filmmap.in_region(m, lasso)
        hit = filmmap.members(m.films, "Edema:present")
        for what, ask in (
            ("density of all films by a finding", lambda: filmmap.density(m, m.whole, kept, hit)),
            ("density of all films by commonest view", lambda: filmmap.density(m, m.whole, kept, None, "view")),
            ("films in a lasso of 100 corners", lambda: filmmap.in_region(m, lasso)),
            (f"summary of {int(chosen.sum()):,} films", lambda: filmmap.region_summary(workspace, m, chosen, kept)),
        ):
            ask()
            row(what, min(timed(ask)[1] for _ in range(5)), ANSWER, "s")
        found = index.vectors(workspace, [str(m.films.dicom_id[0])])
        nearest = min(timed(index.search, workspace, found, 12)[1] for _ in range(5))
        row("twelve nearest films of one", nearest, ANSWER, "s")
    if options.json:
        print(json.dumps({"name": "map", "rows": rows}, ensure_ascii=False))
        return
    print(f"{'what':52} {'ours':>10} {'reference':>10} {'ratio':>7}")
    for r in rows:
        words = "–" if r["reference"] is None else f"{r['reference']:.2f}"
        print(f"{r['what']:52} {r['ours']:8.3f} {r['unit']:6} {words:>8} {r['ratio'] or '–':>7}")


if __name__ == "__main__":
    main()
