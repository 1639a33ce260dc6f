"""The verb `space`: how near the test films, and each gap's, are to train films, as the encoder sees them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from ... import index
from ...config import as_dict
from ...errors import WorkspaceError
from ...progress import Progress, part_of, silent
from ...provenance import digest, note
from ...workspace import Workspace, write_json
from ..rows import load_rows
from .made import synthetic_films
from .measure import Diversity, against_train, clustered, train_table, with_synthetic
from .per_gap import gap_table, summary_of
from .reference import Films, Reference, embedded, may_be_reference, reference
from .settings import SpaceSettings

#: Column → dtype of the table `space_films`, in order.
FILM_COLUMNS = {
    "dicom_id": "str", "split": "str", "origin": "str", "nearest_dicom_id": "str", "distance": "float64",
    "radius": "float64", "balls": "int64", "covered": "bool", "nearest_synthetic": "str",
    "distance_synthetic": "float64", "covered_after": "bool",
}  # fmt: skip
SUMMARY_COLUMNS = {
    "films": "str", "measure": "str", "value": "float64", "low": "float64", "high": "float64", "expected": "float64",
    "n_films": "int64", "n_patients": "int64",
}  # fmt: skip
#: Groups of real films that are compared with the train films.
ASKED = ("validate", "test")


def space(workspace: Workspace, settings: SpaceSettings, progress: Progress = silent) -> dict[str, Any]:
    """Measure coverage in feature space and publish the tables `space_films`, `space_gaps` and `space_summary`.

    Returns: key (of the frozen radii), encoder, k, neighbours, search (and its measured recall), films (how many of
    each group have a vector), coverage (test, and after where synthetic films count: value, low, high, n_films,
    n_patients; expected: the share of train films that other patients' train films cover), near_misses (test films
    that no train film reaches), prdc and vendi (group → measure → value), gaps.

    Raises: WorkspaceError before `ingest` or `embed`, or when there are too few train films; DataError when the encoder
    has changed.
    """
    progress(0, 1000, "reading the films")
    every = load_rows(workspace, "all")
    films = embedded(workspace, every)
    train = films.take(may_be_reference(films.frame))
    if not len(train):
        raise WorkspaceError(
            "No train film has a vector, so nothing can be near one.", "Check the splits, and run `cars embed` again."
        )
    groups = {split: films.take((films.frame["split"] == split).to_numpy()) for split in ASKED}
    made = None
    if settings.synthetic and workspace.has("edits"):
        edits = load_rows(workspace, "train", include_synthetic=True)
        edits = edits[edits["origin"] != "real"]
        made = synthetic_films(workspace, edits, settings.device, part_of(progress, 0, 0.15)) if len(edits) else None
        made = made if made is not None and len(made) else None
    version = _version(workspace, settings, films, made)
    written = workspace.path / "tables" / "space_summary" / version / "result.json"
    if not written.exists():
        result = _measure(workspace, settings, version, every, train, groups, made, part_of(progress, 0.15, 1))
        write_json(written, result)
    for table in ("space_films", "space_gaps", "space_summary"):
        if workspace.has_part(table, table, version):
            workspace.publish(table, version)
    progress(1000, 1000, "measured")
    return json.loads(written.read_text(encoding="utf-8"))


def _version(workspace: Workspace, settings: SpaceSettings, films: Films, made: Films | None) -> str:
    used = {name: value for name, value in as_dict(settings).items() if name != "device"}
    tables = [(table, workspace.version(table)) for table in ("films", "gaps")]
    return digest(used, str(index.info(workspace)["key"]), films.hash, made.hash if made else None, tables)


def _measure(
    workspace: Workspace, settings: SpaceSettings, version: str, every: pd.DataFrame, train: Films,
    groups: dict[str, Films], made: Films | None, progress: Progress,
) -> dict[str, Any]:  # fmt: skip
    frozen = reference(workspace, train, settings, part_of(progress, 0, 0.6))
    tables, scores = _against_train(workspace, settings, frozen, groups, made, part_of(progress, 0.6, 0.8))
    found = _film_table(tables, groups, made)
    diversity = Diversity(train, settings.seed)
    progress(800, 1000, "measuring diversity")
    sets = {"train": train, **groups, **({"synthetic": made} if made else {})}
    varied = {name: (diversity.of(part), diversity.random(len(part))) for name, part in sets.items() if len(part)}
    summary = _summary(found, groups["test"], train, scores, varied, sets)
    workspace.write_part("space_films", "space_films", found, version)
    result: dict[str, Any] = {
        "key": frozen.key, "encoder": str(index.info(workspace)["label"]), "k": settings.k,
        "neighbours": settings.neighbours, "search": frozen.search,
        "films": {name: len(part) for name, part in sets.items()},
        "coverage": {
            name: _plain(summary, name) for name in ("train", "validate", "test", "test and synthetic")
            if (summary["films"] == name).any()
        },
        "near_misses": int((~found.loc[found["split"] == "test", "covered"]).sum()),
        "prdc": {name: {m: round(s["value"], 6) for m, s in one.items()} for name, one in scores.items()},
        "vendi": {name: {q: round(v, 4) for q, v in one.items()} for name, (one, _) in varied.items()},
        "gaps": None,
    }  # fmt: skip
    if workspace.has("gaps"):
        rows = found[found["split"] == "test"]
        table = gap_table(workspace, every, groups["test"], rows, train, diversity, part_of(progress, 0.85, 1))
        workspace.write_part("space_gaps", "space_gaps", table, version)
        result["gaps"] = summary_of(table)
    workspace.write_part("space_summary", "space_summary", summary, version)
    inputs = {"vectors": str(index.info(workspace)["key"]), "radii": frozen.key, "gaps": workspace.version("gaps")}
    folder = workspace.path / "tables" / "space_summary" / version
    write_json(folder / "note.json", note("space", as_dict(settings), inputs))
    return result


def _against_train(
    workspace: Workspace, settings: SpaceSettings, frozen: Reference, groups: dict[str, Films], made: Films | None,
    progress: Progress,
) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:  # fmt: skip
    """(group → its rows, group → its precision, recall, density and coverage)."""
    folder = workspace.folder("space", frozen.key)
    strangers = settings.neighbours == "other-patients"
    asked = {**groups, **({"synthetic": made} if made else {})}
    asked = {name: part for name, part in asked.items() if len(part)}
    tables, scores = {"train": train_table(frozen)}, {}
    for n, (name, part) in enumerate(asked.items()):
        share = part_of(progress, n / (len(asked) + 1), (n + 1) / (len(asked) + 1))
        tables[name], scores[name] = against_train(
            frozen, part, settings.k, strangers, folder / name, settings.seed, share
        )
    if made:
        for name in groups:
            if name in tables:
                extra = with_synthetic(
                    frozen, made, tables["synthetic"], groups[name], folder / f"{name}-synthetic",
                    part_of(progress, len(asked) / (len(asked) + 1), 1),
                )  # fmt: skip
                tables[name] = tables[name].merge(extra, on="dicom_id", validate="1:1")
    return tables, scores


def _film_table(tables: dict[str, pd.DataFrame], groups: dict[str, Films], made: Films | None) -> pd.DataFrame:
    parts = []
    for name, table in tables.items():
        split, origin = ("train", "synthetic") if name == "synthetic" else (name, "real")
        table = table.assign(split=split, origin=origin)
        if "reached" in table:
            table["covered_after"] = table["covered"] | table["reached"]
        else:
            table = table.assign(nearest_synthetic=None, distance_synthetic=np.nan, covered_after=table["covered"])
        parts.append(table[list(FILM_COLUMNS)].astype(FILM_COLUMNS))
    return pd.concat(parts, ignore_index=True)


def _summary(
    found: pd.DataFrame, test: Films, train: Films, scores: dict[str, Any],
    varied: dict[str, tuple[dict[str, float], dict[str, float]]], sets: dict[str, Films],
) -> pd.DataFrame:  # fmt: skip
    """One row a group and measure: value, its 95% interval, what to expect of films like the train films, and n."""
    rows = []
    real = found[found["origin"] == "real"]
    expected = float(real.loc[real["split"] == "train", "covered"].mean())
    for name in ("train", *ASKED):
        part, own = real[real["split"] == name], sets[name]
        if len(part):
            share = clustered(part["covered"].to_numpy(), own.patients)
            rows.append({"films": name, "measure": "covered", **share, "expected": expected})
        if len(part) and name != "train" and part["nearest_synthetic"].notna().any():
            share = clustered(part["covered_after"].to_numpy(), own.patients)
            rows.append({"films": f"{name} and synthetic", "measure": "covered", **share, "expected": expected})
    for name, one in scores.items():
        rows += [{"films": name, "measure": measure, **score} for measure, score in one.items()]
    for name, (own, random) in varied.items():
        size = {"n_films": len(sets[name]), "n_patients": len(set(sets[name].patients))}
        rows += [
            {"films": name, "measure": f"vendi {q}", "value": value, "low": np.nan, "high": np.nan,
             "expected": random[q], **size}
            for q, value in own.items()
        ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS)).astype(SUMMARY_COLUMNS)


def _plain(summary: pd.DataFrame, films: str) -> dict[str, Any]:
    row = summary[(summary["films"] == films) & (summary["measure"] == "covered")].iloc[0]
    return {
        **{name: round(float(row[name]), 6) for name in ("value", "low", "high", "expected")},
        **{name: int(row[name]) for name in ("n_films", "n_patients")},
    }
