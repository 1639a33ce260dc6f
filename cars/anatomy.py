"""The verb `anatomy`: outline the frontal films, and say of each whether its outlines are trusted and what its
cardiothoracic ratio is.

`plan` does not ask for it: `synth` outlines its sources itself, with the same segmenter and the same threshold. The
table tells beforehand which films it would refuse, and why.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .config import setting
from .errors import WorkspaceError
from .progress import Progress, part_of, silent

if TYPE_CHECKING:
    import pandas as pd

    from .filmcache import FilmCache
    from .workspace import Workspace

#: Side at which films are outlined, films of one part of the table, and films outlined at a time.
SIZE, PART, BATCH = 128, 1024, 64


@dataclass(frozen=True)
class AnatomySettings:
    """Settings of `anatomy`."""

    segmenter: str = setting("cars", "Which segmenter outlines lungs and heart: a name, or name:path.")
    device: str = setting("auto", "Where to compute: auto, cpu, cuda or cuda:<n>.")


def anatomy(workspace: Workspace, settings: AnatomySettings, progress: Progress = silent) -> dict[str, Any]:
    """Write the table `anatomy`, one row a real frontal film on disk: dicom_id, view, segmenter, revision, confidence,
    trusted, reason (why not, or null), left_lung, right_lung, heart (shares of the padded square), ctr (MCD / ID; null
    where there is none) and ctr_reason (why, or null).

    A version of the table is named by the segmenter's revision and all films (id, view, time and size of the file), so
    a killed run goes on where it stopped, a second one makes nothing anew, and readers see the old table until the new
    one is whole. Films that cannot be decoded have no row.

    Returns: films (rows), trusted, untrusted, undecodable, pa_films, ctr ({n, median, low, high}: quartiles over the PA
    films that have one; None for nothing), segmenter, revision.
    Raises: WorkspaceError when there is no film; what the segmenter's loading raises.
    """
    from .filmcache import film_cache
    from .provenance import digest
    from .segmenters import loaded, named

    workspace.need("films", "ingest")
    films = workspace.query("anatomy/films")
    if films.empty:
        raise WorkspaceError("There is no real frontal film on disk.", "Ingest a data set with its image files.")
    segmenter, name = loaded(settings.segmenter, settings.device), named(settings.segmenter)
    made_with = {"segmenter": name, "revision": getattr(segmenter, "revision", name)}
    cache = film_cache(workspace, SIZE, films["dicom_id"].tolist(), progress=part_of(progress, 0.0, 0.3))
    films = films[films["dicom_id"].isin(set(cache.ids))].reset_index(drop=True)
    state = [(d, v, _state(p)) for d, v, p in films[["dicom_id", "view", "path"]].itertuples(index=False)]
    version = digest(made_with, state, length=12)
    for start in range(0, len(films), PART):
        progress(300 + 700 * start // len(films), 1000, "outlining lungs and hearts")
        part = f"{start // PART:06d}"
        if not workspace.has_part("anatomy", part, version):
            chunk = films.iloc[start : start + PART]
            rows = [
                {**row, **made_with}
                for first in range(0, len(chunk), BATCH)
                for row in _rows(chunk.iloc[first : first + BATCH], cache, segmenter)
            ]
            workspace.write_part("anatomy", part, _table(rows), version)
    workspace.publish("anatomy", version)
    progress(1000, 1000, "outlining lungs and hearts")
    table = workspace.read("anatomy") if len(films) else films.assign(trusted=[], ctr=[])
    ratios = table["ctr"].dropna().astype(float)
    trusted = int(table["trusted"].sum())
    low, median, high = ratios.quantile([0.25, 0.5, 0.75]) if len(ratios) else (None, None, None)
    return {
        "films": len(table), "trusted": trusted, "untrusted": len(table) - trusted, "undecodable": len(cache.failed),
        "pa_films": int((table["view"] == "PA").sum()),
        "ctr": {"n": len(ratios), "median": median, "low": low, "high": high}, **made_with,
    }  # fmt: skip


def _state(path: str) -> tuple[int, int]:
    stat = os.stat(path)
    return stat.st_mtime_ns, stat.st_size


def _rows(films: pd.DataFrame, cache: FilmCache, segmenter: Any) -> list[dict[str, Any]]:
    """Rows of the table without segmenter and revision, of films that the cache holds."""
    from .segmenters import ORGANS, outlines, pa_ctr

    ids = films["dicom_id"].tolist()
    found = outlines(segmenter, cache.images(ids), ids)
    rows = []
    for n, (dicom_id, view) in enumerate(zip(ids, films["view"])):
        ratio, why = pa_ctr(found.masks[n], view, float(found.confidence[n]))
        shares = {organ.replace(" ", "_"): float(found.masks[n, k].mean()) for k, organ in enumerate(ORGANS)}
        row = {"dicom_id": dicom_id, "view": view, "confidence": float(found.confidence[n])}
        row |= {"trusted": bool(found.trusted[n]), "reason": found.why_not(n) or None, **shares}
        rows.append({**row, "ctr": ratio, "ctr_reason": why or None})
    return rows


def _table(rows: list[dict[str, Any]]) -> Any:
    """Rows → a pyarrow Table whose types do not hang on the values."""
    import pyarrow as pa

    text, numbers = ("dicom_id", "view", "segmenter", "revision", "reason", "ctr_reason"), ("confidence", "ctr")
    kinds = {name: pa.string() for name in text} | {name: pa.float64() for name in numbers}
    kinds |= {name: pa.float64() for name in ("left_lung", "right_lung", "heart")} | {"trusted": pa.bool_()}
    return pa.Table.from_pylist(rows, schema=pa.schema(list(kinds.items())))
