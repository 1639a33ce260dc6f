"""The verb synth: make the edits of a plan, pass each through the gates, and file films, edits and gates.

A plan is cut into fixed chunks. A chunk's films are written first, then its parts of `uncertainty` and `gates`, then
its part of `edits`, which makes it count; the parts are named by the hash of the chunk's edit ids, and these by
everything that decides what an edit looks like. So a run that was killed goes on with the first chunk that is not
there, and no edit is lost or doubled. Where the gates' thresholds have changed since, or the films have got vectors,
the edits that are there are gated again and not made again.

As many chunks as fill a batch are edited together. Their sources are decoded while the round before is edited, and
their films written while the next one is.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from ..errors import DataError, FilmError, WorkspaceError
from ..gates import gates_of, passed
from ..gates import names as gate_names
from ..generators import is_baseline
from ..imaging import decode, save_png
from ..progress import Progress, silent
from ..provenance import code_version, digest
from ..schema import COLUMN_OF, after_edit
from ..segmenters import named
from ..workspace import Workspace
from .data import refuse_other_splits
from .editing import Models, Outcome, Source, edit_films, uncertainty_of
from .gating import Edited, revision_of, run_gates, workspace_neighbours
from .models import workspace_generator, workspace_judge, workspace_judges, workspace_segmenter
from .pipeline import Behind, ahead
from .settings import SynthSettings
from .tables import EDITS, GATE_ROWS, UNCERTAINTY

#: Edits that are committed together.
CHUNK = 8
#: Fast rather than small: three images an edit are compressed.
PNG_LEVEL = 3


def synth(workspace: Workspace, settings: SynthSettings, progress: Progress = silent) -> dict[str, Any]:
    """Make the edits of one plan.

    Returns: {"plan_id", "requested", "edited", "passed", "by_gate": {gate: [passed, those for which it decided]},
    "by_finding": {finding: {"insert": [passed, tried], "delete": [passed, tried]}}, "errors": {reason: count}}, over
    the whole plan. A gate that is not required, or had nothing to measure, decides nothing.
    Raises: WorkspaceError without a plan, DataError when a source is not a train film, ResourceError when disk or
    memory run out; what is finished is kept and a second run goes on.
    """
    plan_id = settings.plan or _latest(workspace)
    items = workspace.records.plan_items(plan_id)
    films = _sources(workspace, items)
    models = workspace_models(workspace, settings)
    gating = revision_of(models.gates or (), models.neighbours)
    rows = [_row(item, films.loc[item["source_dicom_id"]], models, settings) for item in items.to_dict("records")]
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    parts = [digest([row["edit_id"] for row in chunk]) for chunk in chunks]
    new = {part for part in parts if not workspace.has_part("edits", part)}
    # so many chunks as fill a batch are edited together
    together = max(1, settings.batch // CHUNK)
    to_read = [films.loc[row["source_dicom_id"], "path"] for part, c in zip(parts, chunks) if part in new for row in c]
    with Behind() as behind, closing(ahead(_decoded, to_read, together * CHUNK)) as decoded:
        for first in range(0, len(chunks), together):
            done = first * CHUNK
            progress(done, len(rows), "editing films")
            fresh = []
            for part, chunk in list(zip(parts, chunks))[first : first + together]:
                if part in new:
                    fresh.append((part, [{**row, "gating": gating} for row in chunk]))
                else:
                    _refresh(workspace, part, films, models, settings, gating, partial(progress, done, len(rows)))
            if fresh:
                found = _outcomes([row for _, chunk in fresh for row in chunk], decoded, films, models, settings)
                behind.do(_write, workspace, fresh, found, settings, models)
    progress(len(rows), len(rows), "editing films")
    return {"plan_id": plan_id, "requested": len(rows), **_summary(workspace, [row["edit_id"] for row in rows])}


def _refresh(
    workspace: Workspace,
    part: str,
    films: pd.DataFrame,
    models: Models,
    settings: SynthSettings,
    gating: str,
    say: Callable[[str], None],
) -> None:
    """Bring a chunk that is there up to date: gates of other thresholds, uncertainty over more seeds."""
    made = pd.read_parquet(workspace.part_path("edits", part))
    if "gating" not in made or (made["gating"].fillna("") != gating)[made["error"].isna()].any():
        say("gating films again")
        _gate_again(workspace, part, made, films, models, gating)
    if settings.uncertainty and not workspace.has_part("uncertainty", _name(part, settings, models)):
        say("drawing seeds for the uncertainty")
        _draw_again(workspace, part, made, films, models, settings)


def workspace_models(workspace: Workspace, settings: SynthSettings) -> Models:
    """Everything that these settings name, loaded. Raises: what the loaders raise; SettingError for wrong [gates]."""
    judge = workspace_judge(workspace, settings.judge, settings.device)
    return Models(
        workspace_generator(workspace, settings.generator, settings.device),
        workspace_segmenter(settings.segmenter, settings.device),
        judge,
        workspace_judges(workspace, settings, judge),
        gates_of(workspace.file_settings),
        workspace_neighbours(workspace, settings.device),
    )


def _latest(workspace: Workspace) -> str:
    plans = workspace.records.plans()
    if plans.empty:
        raise WorkspaceError("This workspace has no plan yet.", f"Run `cars plan --workspace {workspace.path}` first.")
    return str(plans["plan_id"].iloc[0])


def _sources(workspace: Workspace, items: pd.DataFrame) -> pd.DataFrame:
    """The plan's source films by dicom_id. Raises: DataError unless every one is a train film of a train patient."""
    films = workspace.read("films").set_index("dicom_id", drop=False)
    wanted = items["source_dicom_id"].unique()
    unknown = [i for i in wanted if i not in films.index]
    if unknown:
        raise DataError(f"The plan names the film {unknown[0]!r}, which this workspace lacks.", "Make a new plan.")
    films = films.loc[wanted]
    wrong = films[(films["split"] != "train") | (films["origin"] != "real")]
    if len(wrong):
        raise DataError(
            f"{len(wrong)} source films of the plan are not real films of the train split (the first: split "
            f"{wrong['split'].iloc[0]!r}).",
            "Only films of train patients are edited. Make a new plan.",
        )
    refuse_other_splits(workspace, films["subject_id"].unique().tolist())
    return films


def _row(item: dict[str, Any], film: pd.Series, models: Models, settings: SynthSettings) -> dict[str, Any]:
    """A row of `edits` as far as it is known before the edit; its id is the hash of all that decides the result."""
    # as_dict would copy a generator that was handed over as an object, network and all
    how = {k: getattr(settings, k) for k in ("mode", "steps", "guidance", "skip", "seeds", "feather")}
    generator, segmenter = named(settings.generator), named(settings.segmenter)
    revisions = [models.generator.revision, getattr(models.segmenter, "revision", segmenter), models.judge.revision]
    labels = {f: int(film[c]) for f, c in COLUMN_OF.items()}
    finding, direction = next(iter(item["findings"].items()))
    what = [item[k] for k in ("plan_id", "item", "source_dicom_id", "findings", "seed")]
    # a baseline shares the network of the cars editor, and so its revision
    own = [generator] if is_baseline(models.generator) else []
    edit_id = digest(what, how, revisions, *own)
    folder = f"films/synthetic/{edit_id[:2]}"
    return {
        "edit_id": edit_id, "plan_id": item["plan_id"], "item": int(item["item"]), "gap_id": item["gap_id"],
        "source_dicom_id": film["dicom_id"], "source_subject_id": film["subject_id"],
        "source_study_id": film["study_id"], "findings": json.dumps(item["findings"]), "finding": finding,
        "direction": direction, **{COLUMN_OF[f]: v for f, v in after_edit(labels, item["findings"]).items()},
        **{k: film[k] for k in ("view", "view_position", "sex", "age", "age_band", "race", "split")},
        "generator": generator, "generator_revision": revisions[0], "segmenter": segmenter, "judge": revisions[2],
        "mode": settings.mode, "seed": int(item["seed"]), "steps": settings.steps, "guidance": settings.guidance,
        "film_path": f"{folder}/{edit_id}.png", "roi_path": f"{folder}/{edit_id}.roi.png",
        "sham_path": f"{folder}/{edit_id}.sham.png", "rows": None, "columns": None, "passed": False, "error": None,
        "origin": "synthetic", "created": None, "code_version": code_version(), "gating": None,
        "generator_licence": getattr(models.generator, "licence", None), "baseline": is_baseline(models.generator),
    }  # fmt: skip


def source_of(film: np.ndarray, row: Any, changes: dict[str, str], seed: int) -> Source:
    """A source from a decoded film and its row of `films`."""
    age = None if row["age"] is None or row["age"] != row["age"] else float(row["age"])
    labels = {f: int(row[c]) for f, c in COLUMN_OF.items()}
    view, sex, subject, name = (str(row[k]) for k in ("view", "sex", "subject_id", "dicom_id"))
    return Source(film, labels, changes, view, sex, age, seed, subject_id=subject, dicom_id=name)


def _decoded(path: str) -> np.ndarray | FilmError:
    """A film, or why it is none: only its own edit fails."""
    try:
        return decode(path)
    except FilmError as error:
        return error


def _outcomes(
    rows: list[dict[str, Any]],
    decoded: Iterator[np.ndarray | FilmError],
    films: pd.DataFrame,
    models: Models,
    settings: SynthSettings,
) -> list[Outcome]:
    """Edit and gate the films of these rows; `decoded` gives them in order."""
    outcomes = []
    sources: dict[int, Source] = {}
    for n, (row, film) in enumerate(zip(rows, decoded)):
        outcomes.append(Outcome(error=film.message if isinstance(film, FilmError) else None))
        if not isinstance(film, FilmError):
            about = films.loc[row["source_dicom_id"]]
            sources[n] = source_of(film, about, json.loads(row["findings"]), row["seed"])
    if sources:
        for n, outcome in zip(sources, edit_films(list(sources.values()), models, settings)):
            outcomes[n] = outcome
    return outcomes


def _write(
    workspace: Workspace,
    chunks: list[tuple[str, list[dict[str, Any]]]],
    outcomes: list[Outcome],
    settings: SynthSettings,
    models: Models,
) -> None:
    """Write the films and then the parts, chunk after chunk. The moment is that of all that were edited together."""
    now = time.time()
    left = iter(outcomes)
    for part, rows in chunks:
        made = [(_finish(workspace, row, outcome), outcome) for row, outcome in zip(rows, left)]
        gates = [{"edit_id": row["edit_id"], **vars(gate)} for row, outcome in made for gate in outcome.gates]
        doubts = [{"edit_id": row["edit_id"], **doubt} for row, outcome in made for doubt in outcome.uncertainty]
        workspace.write_part("uncertainty", _name(part, settings, models), UNCERTAINTY.table(doubts))
        workspace.write_part("gates", part, GATE_ROWS.table(gates))
        workspace.write_part("edits", part, EDITS.table([{**row, "created": now} for row, _ in made]))


def _name(part: str, settings: SynthSettings, models: Models) -> str:
    """The part of `uncertainty` of one chunk: it follows from the seeds and the judges too."""
    return digest(part, settings.uncertainty, [judge.revision for judge in models.judges])


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def _again(films: pd.DataFrame, rows: list[dict[str, Any]]) -> list[Source]:
    """The sources of edits that were made. Raises: FilmError for a source that is gone or damaged since."""
    found = [films.loc[row["source_dicom_id"]] for row in rows]
    return [
        source_of(decode(film["path"]), film, json.loads(row["findings"]), int(row["seed"]))
        for film, row in zip(found, rows)
    ]


def _gate_again(
    workspace: Workspace, part: str, made: pd.DataFrame, films: pd.DataFrame, models: Models, gating: str
) -> None:
    """Gate the films of a finished chunk again; what was measured before paste-back stays as it was."""
    rows = _records(made[made["error"].isna()])
    old = pd.read_parquet(workspace.part_path("gates", part))
    drift = old[old["measure"] == "drift before paste-back"].set_index("edit_id")["value"]
    edits = []
    for row, source in zip(rows, _again(films, rows)):
        edited, roi, sham = (_stored(workspace.path / row[k]) for k in ("film_path", "roi_path", "sham_path"))
        known = float(drift.get(row["edit_id"], float("nan")))
        edits.append(Edited(source.film, edited, roi > 0, source.changes, sham, known, source.subject_id))
    found = dict(
        zip([row["edit_id"] for row in rows],
            run_gates(edits, models.judge, models.segmenter, models.gates, models.neighbours, models.fitting))
    )  # fmt: skip
    gates = [{"edit_id": edit_id, **vars(gate)} for edit_id, each in found.items() for gate in each]
    # which edits made before these were recorded lack
    older = {"generator_licence": None, "baseline": is_baseline(models.generator)}
    verdicts = [
        {**older, **row, "passed": row["edit_id"] in found and passed(found[row["edit_id"]]), "gating": gating}
        for row in _records(made.astype(object).where(made.notna(), None))
    ]
    workspace.write_part("gates", part, GATE_ROWS.table(gates))
    workspace.write_part("edits", part, EDITS.table(verdicts))


def _stored(path: Path) -> np.ndarray:
    """An image that `synth` wrote, uint8 (H, W). Raises: FilmError when it is gone."""
    try:
        with Image.open(path) as image:
            return np.array(image.convert("L"))
    except OSError as error:
        raise FilmError(
            f"The image {path.name} of an edit cannot be read.",
            "Restore films/synthetic, or make a new plan.",
            "missing",
        ) from error


def _draw_again(
    workspace: Workspace,
    part: str,
    made: pd.DataFrame,
    films: pd.DataFrame,
    models: Models,
    settings: SynthSettings,
) -> None:
    """The uncertainty of a finished chunk over more seeds."""
    rows = _records(made[made["error"].isna()])
    # the seed of `edits` is that of the attempt that was kept; the plan's own decides where the ROI lies
    plan = workspace.records.plan_items(rows[0]["plan_id"]).set_index("item")["seed"] if rows else {}
    edited = [_stored(workspace.path / row["film_path"]) for row in rows]
    sources = _again(films, [{**row, "seed": plan[row["item"]]} for row in rows])
    how = [(row["mode"], float(row["guidance"])) for row in rows]
    found = uncertainty_of(sources, edited, how, models, settings) if rows else []
    doubts = [{"edit_id": row["edit_id"], **doubt} for row, each in zip(rows, found) for doubt in each]
    workspace.write_part("uncertainty", _name(part, settings, models), UNCERTAINTY.table(doubts))


def _finish(workspace: Workspace, row: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
    """Write an edit's three images and complete its row."""
    if outcome.error is not None:
        return {**row, "error": outcome.error, "film_path": None, "roi_path": None, "sham_path": None}
    assert outcome.edited is not None
    assert outcome.roi is not None
    assert outcome.sham is not None
    note = {
        "Synthetic": "true", "Software": "CARS " + row["code_version"], "EditId": row["edit_id"],
        "Findings": row["findings"], "Generator": f"{row['generator']} {row['generator_revision']}",
        "GeneratorLicence": row["generator_licence"] or "not stated",
    }  # fmt: skip
    for path, image in (("film_path", outcome.edited), ("roi_path", outcome.roi), ("sham_path", outcome.sham)):
        save_png(workspace.path / row[path], image, note, level=PNG_LEVEL)
    height, width = outcome.edited.shape
    return {
        **row, "mode": outcome.mode, "guidance": outcome.guidance, "seed": outcome.seed,
        "rows": height, "columns": width, "passed": outcome.passed
    }  # fmt: skip


def _summary(workspace: Workspace, edit_ids: list[str]) -> dict[str, Any]:
    edits = workspace.read("edits")
    edits = edits[edits["edit_id"].isin(set(edit_ids))]
    made = edits[edits["error"].isna()]
    gates = workspace.read("gates")
    gates = gates[gates["edit_id"].isin(set(made["edit_id"]))]
    by_gate = {
        name: [int(group.groupby("edit_id")["passed"].all().sum()), int(group["edit_id"].nunique())]
        for name in gate_names()
        if len(group := gates[(gates["gate"] == name) & gates["passed"].notna()])
    }
    by_finding: dict[str, dict[str, list[int]]] = {}
    for (finding, direction), group in edits.groupby(["finding", "direction"]):
        by_finding.setdefault(str(finding), {})[str(direction)] = [int(group["passed"].sum()), len(group)]
    return {
        "edited": len(made),
        "passed": int(made["passed"].sum()),
        "by_gate": by_gate,
        "by_finding": by_finding,
        "errors": dict(Counter(edits["error"].dropna())),
    }
