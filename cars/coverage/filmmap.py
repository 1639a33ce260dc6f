"""The map of all films, counted on the server: density by cell, a few films to click, and what a drawn region holds.

377,110 points are too many for a browser, so it gets at most BINS × BINS cells of the visible window, coloured by a
count or a share, and a sample of films. Everything here works on arrays that stay in memory for a version of the
tables; a question takes milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from .. import schema
from ..errors import SettingError, WorkspaceError
from ..provenance import digest
from ..workspace import Workspace
from .codes import GROUPS, FilmCodes
from .rows import _stamp, load_rows
from .views import wilson

#: Cells a side of a density figure, at most and at least.
BINS, FEWEST_BINS = 200, 40
#: Films that a figure marks at most.
MOST_MARKS = 3_000
#: A lasso of more corners is thinned.
MOST_CORNERS = 120
MAPS_KEPT = 2
#: Gaps that are held against a region.
MOST_GAPS = 1_000

Window = tuple[float, float, float, float]


@dataclass(frozen=True)
class FilmMap:
    """The films that lie on the map.

    films: one row a film, as everywhere in coverage. x, y: (films,) float32. rank: (films,) int32, a seeded random
    order, so that the sample of a smaller window holds the films that a larger one showed there. stamp: another one
    means other films, places or decisions; a key for what was counted on the map.
    """

    films: FilmCodes
    x: np.ndarray
    y: np.ndarray
    rank: np.ndarray
    backbone: str
    stamp: str = ""

    def __len__(self) -> int:
        return len(self.x)

    @property
    def whole(self) -> Window:
        """x0, x1, y0, y1 around every film, with a margin of 2 %."""
        if not len(self):
            return (0.0, 1.0, 0.0, 1.0)
        sides = []
        for values in (self.x, self.y):
            low, high = float(values.min()), float(values.max())
            margin = 0.02 * max(high - low, 1e-6)
            sides += [low - margin, high + margin]
        return (sides[0], sides[1], sides[2], sides[3])

    def within(self, window: Window) -> np.ndarray:
        """(films,) bool: which films lie in a window."""
        x0, x1, y0, y1 = window
        return (self.x >= x0) & (self.x <= x1) & (self.y >= y0) & (self.y <= y1)


def film_map(workspace: Workspace) -> FilmMap:
    """The map of a workspace, kept in memory until `films`, `edits`, a decision or `map` changes.

    An accepted synthetic film that has no vector of its own lies where its source lies.

    Raises: WorkspaceError before `ingest` and before `embed`.
    """
    workspace.need("films", "ingest ADAPTER SOURCE")
    workspace.need("map", "embed")
    made = workspace.has("edits")
    parts = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in workspace.parts("map")]
    return _film_map(str(workspace.path), digest(parts, _stamp(workspace, made)))


@lru_cache(maxsize=MAPS_KEPT)
def _film_map(path: str, stamp: str) -> FilmMap:
    """stamp: the key of the memory."""
    workspace = Workspace(path)
    frame = load_rows(workspace, "all", include_synthetic=True)
    placed = workspace.query("coverage/map_places")
    where = pd.Index(placed["dicom_id"]).get_indexer(pd.Index(frame["dicom_id"]))
    if workspace.has("edits"):
        sources = workspace.query("coverage/edit_sources").set_index("edit_id")["source_dicom_id"]
        lost = np.flatnonzero((where < 0) & (frame["origin"] != "real").to_numpy())
        source = frame["dicom_id"].iloc[lost].map(sources)
        where[lost] = pd.Index(placed["dicom_id"]).get_indexer(pd.Index(source))
    kept = where >= 0
    if not kept.any():
        raise WorkspaceError("No film of this workspace lies on its map.", "Run `cars embed` again.")
    films = FilmCodes.of(frame[kept].reset_index(drop=True))
    where = where[kept]
    rank = np.random.default_rng(0).permutation(len(where)).astype(np.int32)
    x, y = (placed[name].to_numpy(dtype=np.float32)[where] for name in ("x", "y"))
    backbone = str(placed["backbone"].iloc[0])
    return FilmMap(films, x, y, rank, backbone, stamp)


# Colours ------------------------------------------------------------------------------------------------------------


def colour_choices(films: FilmCodes, focus: bool = False) -> dict[str, str]:
    """What the map can be coloured by: key → words.

    "films" counts; "by:GROUP" shows the commonest value; every other one is a share of a cell's films. focus: whether a
    pattern is chosen, so that its share can be shown.
    """
    choices = {"films": "Number of films"}
    if focus:
        choices["focus"] = "Share that matches the chosen pattern"
    choices |= {f"by:{g}": g.replace("_", " ").capitalize() for g in GROUPS if len(films.words[g]) > 1}
    if films.synthetic.any():
        choices["synthetic"] = "Share that is synthetic"
    return choices | {f"{f}:present": f"Share with {f}" for f in schema.FINDINGS}


def members(films: FilmCodes, colour: str, focus: Mapping[str, str] | None = None) -> np.ndarray | None:
    """(films,) bool: the films that a share counts; None for a colour that is no share.

    Raises: SettingError for a colour that is none.
    """
    if colour == "films" or colour.startswith("by:"):
        return None
    if colour == "synthetic":
        return films.synthetic
    if colour == "focus":
        return _matching(films, focus or {})
    name, _, value = colour.partition(":")
    if not value:
        raise SettingError(f"The map cannot be coloured by {colour!r}.", "Choose one of the list above it.")
    return films.mask({name: (value,)})


@dataclass(frozen=True)
class Density:
    """Films by cell.

    count: (bins, bins) int32, rows along y. hits: the same of the coloured films, or None. x, y: the cells' centres.
    commonest: (bins, bins) int16, which value of a group most of a cell's films have, the first of equals; -1 where
    there is no film; None where no group was asked for.
    """

    count: np.ndarray
    hits: np.ndarray | None
    x: np.ndarray
    y: np.ndarray
    commonest: np.ndarray | None = None

    @property
    def share(self) -> np.ndarray:
        """(bins, bins) float32 in [0, 1]; NaN where a cell has no film."""
        hits = np.zeros_like(self.count) if self.hits is None else self.hits
        with np.errstate(invalid="ignore"):
            return (hits / np.where(self.count, self.count, np.nan)).astype(np.float32)


def density(
    m: FilmMap, window: Window, kept: np.ndarray, hit: np.ndarray | None = None, group: str = "",
    bins: int | None = None,
) -> Density:  # fmt: skip
    """Count films by cell of a window. bins: cells a side; by default fewer where there are few films to fill them.

    Args:
        kept: (films,) bool, the films that count at all. hit: (films,) bool, those that a share counts.
        group: a group of FilmCodes whose commonest value is asked for.
    """
    x0, x1, y0, y1 = window
    inside = np.flatnonzero(kept & m.within(window))
    bins = bins or int(np.clip(np.sqrt(len(inside)) / 2, FEWEST_BINS, BINS))
    column = np.minimum(((m.x[inside] - x0) / max(x1 - x0, 1e-12) * bins).astype(np.int32), bins - 1)
    row = np.minimum(((m.y[inside] - y0) / max(y1 - y0, 1e-12) * bins).astype(np.int32), bins - 1)
    cell = row * bins + column

    def table(cells: np.ndarray) -> np.ndarray:
        return np.bincount(cells, minlength=bins * bins).reshape(bins, bins).astype(np.int32)

    count = table(cell)
    commonest = None
    if group:
        values = m.films.groups[group][inside]
        each = np.stack([table(cell[values == k]) for k in range(len(m.films.words[group]))])
        commonest = np.where(count > 0, each.argmax(axis=0), -1).astype(np.int16)
    centres = (np.arange(bins) + 0.5) / bins
    hits = None if hit is None else table(cell[hit[inside]])
    return Density(count, hits, x0 + centres * (x1 - x0), y0 + centres * (y1 - y0), commonest)


def sample(m: FilmMap, window: Window, kept: np.ndarray, most: int = MOST_MARKS) -> np.ndarray:
    """Positions of at most `most` of the kept films in a window: always the same ones."""
    inside = np.flatnonzero(kept & m.within(window))
    if len(inside) > most:
        inside = inside[np.argpartition(m.rank[inside], most)[:most]]
    return inside


# Regions ------------------------------------------------------------------------------------------------------------


def parse_region(text: str) -> tuple[str, np.ndarray]:
    """ "box:x0,x1,y0,y1" or "lasso:x,y,x,y,…" → ("box", (2, 2)) or ("lasso", (corners, 2)).

    Raises: SettingError that quotes what is no region.
    """
    kind, _, numbers = text.partition(":")
    try:
        values = np.array([float(v) for v in numbers.split(",")], dtype=np.float64)
    except ValueError:
        values = np.zeros(0)
    fits = len(values) == 4 if kind == "box" else kind == "lasso" and len(values) >= 6 and len(values) % 2 == 0
    if not fits or not np.isfinite(values).all():
        raise SettingError(f"{text[:60]!r} is no region of the map.", "Draw a box or a lasso on the map.")
    if kind == "box":
        return kind, np.array([np.sort(values[:2]), np.sort(values[2:])])
    corners = values.reshape(-1, 2)
    return kind, corners[:: max(1, -(-len(corners) // MOST_CORNERS))]


def region_text(kind: str, values: np.ndarray) -> str:
    """What `parse_region` reads back; four digits after the point are a thousandth of a pixel."""
    if kind == "lasso":
        values = values[:: max(1, -(-len(values) // MOST_CORNERS))]
    return f"{kind}:" + ",".join(f"{v:.4f}".rstrip("0").rstrip(".") for v in np.asarray(values).ravel())


def in_region(m: FilmMap, text: str) -> np.ndarray:
    """(films,) bool: which films lie in a region. A lasso is closed, and counts by the even-odd rule.

    Raises: SettingError for a text that is no region.
    """
    kind, shape = parse_region(text)
    if kind == "box":
        return m.within((shape[0, 0], shape[0, 1], shape[1, 0], shape[1, 1]))
    (x0, y0), (x1, y1) = shape.min(axis=0), shape.max(axis=0)
    inside = np.zeros(len(m), dtype=bool)
    near = np.flatnonzero(m.within((x0, x1, y0, y1)))
    x, y = m.x[near].astype(np.float64), m.y[near].astype(np.float64)
    odd = np.zeros(len(near), dtype=bool)
    for (ax, ay), (bx, by) in zip(shape, np.roll(shape, -1, axis=0), strict=True):
        if ay == by:
            continue
        # the edge crosses the horizontal line through the film, to the right of it
        odd ^= ((ay > y) != (by > y)) & (x < (bx - ax) * (y - ay) / (by - ay) + ax)
    inside[near] = odd
    return inside


def region_summary(workspace: Workspace, m: FilmMap, chosen: np.ndarray, kept: np.ndarray) -> dict[str, pd.DataFrame]:
    """What a region holds, by DuckDB on the chosen films.

    Args:
        chosen: (films,) bool, the region. kept: (films,) bool, the films that count at all; chosen ones outside it
            do not.

    Returns: totals (one row: films, patients, studies, synthetic), splits (split, films, patients), findings (finding,
    films, share, low, high, share_elsewhere, ratio; NaN where it cannot be said), sorted by how far the share is from
    elsewhere. low, high: Wilson's 95 % interval of the share, films taken as independent, which those of one patient
    are not.
    """
    films = m.films
    frame = pd.DataFrame(
        {
            "inside": chosen & kept, "patient": films.patient, "study": films.study, "synthetic": films.synthetic,
            "split": pd.Categorical.from_codes(films.groups["split"], list(films.words["split"])),
            **{c: films.present[:, k] for k, c in enumerate(schema.COLUMN_OF.values())},
        }
    )[kept]  # fmt: skip
    with workspace.connect() as connection:
        connection.register("map_films", frame)
        totals = workspace.query("coverage/region_totals", connection)
        splits = workspace.query("coverage/region_splits", connection)
        findings = workspace.query("coverage/region_findings", connection)
    findings["finding"] = [schema.FINDING_OF[c] for c in findings["finding"]]
    here = float(totals["films"].iloc[0])
    findings["low"], findings["high"] = wilson(findings["films"].to_numpy(), np.full(len(findings), here))
    with np.errstate(divide="ignore", invalid="ignore"):
        findings["ratio"] = np.where(
            findings["share_elsewhere"] > 0, findings["share"] / findings["share_elsewhere"], np.nan
        )
    far = np.log2(findings["ratio"].clip(1 / 64, 64)).abs().fillna(-1)
    findings = findings.iloc[np.argsort(-far.to_numpy(), kind="stable")].reset_index(drop=True)
    return {"totals": totals, "splits": splits, "findings": findings}


def standing_out(findings: pd.DataFrame, times: float = 1.25) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(commoner, rarer): rows of `region_summary`'s findings whose share differs from elsewhere by a factor of `times`
    or more, and whose interval does not hold the share elsewhere."""
    common = (findings["ratio"] >= times) & (findings["low"] > findings["share_elsewhere"])
    rare = (findings["ratio"] <= 1 / times) & (findings["high"] < findings["share_elsewhere"])
    return findings[common], findings[rare]


def region_gaps(m: FilmMap, gaps: pd.DataFrame, chosen: np.ndarray, limit: int = 10) -> pd.DataFrame:
    """The gaps that most films of a region match, or miss by one condition: rows of `gaps`, and `in_region`, `near`.

    Args:
        gaps: rows of the table `gaps`, best rank first; at most MOST_GAPS are looked at. chosen: (films,) bool.
    """
    rows: list[tuple[str, int, int]] = []
    part: list[tuple[str, dict[str, str]]] = []
    places: dict[tuple[str, str], int] = {}
    listed = gaps.head(MOST_GAPS)
    for gap_id, text in zip(listed["gap_id"], listed["pattern"], strict=True):
        pattern = json.loads(str(text))
        if len(places | dict.fromkeys(pattern.items(), 0)) > 64:
            rows += _met(m.films, part, places, chosen)
            part, places = [], {}
        for condition in pattern.items():
            places.setdefault(condition, len(places))
        part.append((str(gap_id), pattern))
    rows += _met(m.films, part, places, chosen)
    found = pd.DataFrame(rows, columns=["gap_id", "in_region", "near"])
    table = gaps.merge(found, on="gap_id")
    return table.sort_values(["in_region", "near", "rank"], ascending=[False, False, True]).head(limit)


def _met(
    films: FilmCodes, gaps: list[tuple[str, dict[str, str]]], places: dict[tuple[str, str], int], chosen: np.ndarray
) -> list[tuple[str, int, int]]:
    """(gap_id, films that match, films that miss by one condition) of each gap that has only known attributes.

    places: condition → its bit, at most 64. Films that meet the same conditions are counted once, so that hundreds of
    gaps cost little more than one.
    """
    rows = np.flatnonzero(chosen)
    words = np.zeros(len(rows), dtype=np.uint64)
    unknown = set()
    for (name, value), bit in places.items():
        try:
            words |= films.mask({name: (value,)})[rows].astype(np.uint64) << np.uint64(bit)
        except SettingError:
            unknown.add(name)
    kinds, counts = np.unique(words, return_counts=True)
    found = []
    for gap_id, pattern in gaps:
        if not unknown & set(pattern):
            needed = np.uint64(sum(1 << places[condition] for condition in pattern.items()))
            missed = np.bitwise_count(~kinds & needed)
            found.append((gap_id, int(counts[missed == 0].sum()), int(counts[missed == 1].sum())))
    return found


def matches(m: FilmMap, pattern: Mapping[str, str]) -> np.ndarray:
    """(films,) bool: the films that match a pattern; none for an empty one or an unknown attribute."""
    return _matching(m.films, pattern)


def _matching(films: FilmCodes, pattern: Mapping[str, str]) -> np.ndarray:
    try:
        return films.mask({name: (value,) for name, value in pattern.items()}) & bool(pattern)
    except SettingError:
        return np.zeros(len(films), dtype=bool)


def window_text(window: Window) -> str:
    """What `parse_window` reads back."""
    return ",".join(f"{v:.4f}".rstrip("0").rstrip(".") for v in window)


def parse_window(text: str, whole: Window) -> Window:
    """ "x0,x1,y0,y1" → a window; the whole map for "". Raises: SettingError that quotes what is no window."""
    if not text:
        return whole
    try:
        x0, x1, y0, y1 = (float(v) for v in text.split(","))
    except ValueError:
        x0 = x1 = y0 = y1 = 0.0
    if not (np.isfinite([x0, x1, y0, y1]).all() and x0 < x1 and y0 < y1):
        raise SettingError(f"{text[:60]!r} is no part of the map.", "Press Whole map.")
    return (x0, x1, y0, y1)


def wider(window: Window, whole: Window) -> Window:
    """A window of twice the sides around the same middle, at most the whole map."""
    x0, x1, y0, y1 = window
    x, y = (x1 - x0) / 2, (y1 - y0) / 2
    return (max(x0 - x, whole[0]), min(x1 + x, whole[1]), max(y0 - y, whole[2]), min(y1 + y, whole[3]))


def region_window(text: str) -> Window:
    """The box around a region. Raises: SettingError as `parse_region` does."""
    kind, shape = parse_region(text)
    if kind == "box":
        return (shape[0, 0], shape[0, 1], shape[1, 0], shape[1, 1])
    (x0, y0), (x1, y1) = shape.min(axis=0), shape.max(axis=0)
    return (float(x0), float(x1), float(y0), float(y1))


def region_of_rows(workspace: Workspace, films: FilmCodes, text: str) -> np.ndarray:
    """(films,) bool over any other selection of films: those that lie in a region of the map. A film off the map lies
    nowhere. Raises: SettingError, WorkspaceError as `in_region` and `film_map` do."""
    m = film_map(workspace)
    inside = pd.Index(m.films.dicom_id[in_region(m, text)], dtype=object)
    return inside.get_indexer(pd.Index(films.dicom_id, dtype=object)) >= 0


__all__ = [
    "BINS", "MOST_MARKS", "Density", "FilmMap", "colour_choices", "density", "film_map", "in_region", "matches",
    "members", "parse_region", "parse_window", "region_gaps", "region_of_rows", "region_summary", "region_text",
    "region_window", "sample", "standing_out", "wider", "window_text",
]  # fmt: skip
