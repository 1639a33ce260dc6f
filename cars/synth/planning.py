"""The verb plan: which films to edit, and how, so that gaps are filled. Nothing is synthesised yet.

Sources are frontal train films on disk, of patients without a film in validate or test. An edit changes findings;
sex, age, race and view never. Patients who are new to the gap come first, then films that one edit turns into the
wanted pattern, then those that also serve other gaps of the plan (a greedy set cover), then patients that were used
least. The same workspace and settings give the same plan.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..config import as_dict
from ..errors import SettingError, WorkspaceError
from ..progress import Progress, part_of, silent
from ..provenance import digest
from ..schema import (
    ALLOWED_WITH_NO_FINDING,
    COLUMN_OF,
    EDITABLE,
    FINDING_CODES,
    FINDING_OF,
    FINDINGS,
    NOT_MENTIONED,
    PRESENT,
    UNCERTAIN,
    after_edit,
    column,
)  # fmt: skip
from ..workspace import Workspace
from .data import refuse_other_splits
from .settings import PlanSettings

#: Attributes of a pattern that an edit never changes.
FIXED = ("sex", "age_band", "view", "race")
#: Candidates weighed per gap; more are cut, in the order of the seed.
MOST_CANDIDATES = 2000


@dataclass
class Target:
    """One gap (or, without a gap, one kind of edit) and how far the plan fills it."""

    gap_id: str
    sentence: str
    fixed: dict[str, str]
    findings: dict[str, int]
    wanted: int
    changes: dict[str, str] | None = None  # a given edit, where no pattern is asked for
    planned: int = 0
    reason: str = ""
    candidates: list[tuple[int, dict[str, str]]] = field(default_factory=list)

    def reached(self, film: dict[str, Any], labels: dict[str, int]) -> bool:
        """Whether a film with these labels is what the gap lacks."""
        as_it_is = all(film[name] == value for name, value in self.fixed.items())
        return as_it_is and all(labels[finding] == code for finding, code in self.findings.items())


def parse_pattern(pattern: dict[str, str]) -> tuple[dict[str, str], dict[str, int]]:
    """A gap's pattern as (fixed attributes, finding → wanted code).

    Raises: SettingError for an attribute or value that nobody knows.
    """
    fixed, findings = {}, {}
    for name, value in pattern.items():
        finding = FINDING_OF.get(column(name))
        if finding is None and name not in FIXED:
            raise SettingError(f"The pattern names {name!r}.", f"Attributes are {', '.join(FIXED)} and the findings.")
        if finding is None:
            fixed[name] = value
        elif value in FINDING_CODES:
            findings[finding] = FINDING_CODES[value]
        else:
            raise SettingError(f"{name} = {value!r} is no value of a finding.", f"Values: {', '.join(FINDING_CODES)}.")
    return fixed, findings


def changes_for(labels: dict[str, int], wanted: dict[str, int]) -> dict[str, str] | None:
    """The edit that turns a film's labels into wanted ones: finding → "insert" or "delete"; {} when they match already.

    Returns None when no edit does: a wanted value that an edit cannot give, an uncertain label to build on, or a
    finding outside schema.EDITABLE.
    """
    changes: dict[str, str] = {}
    for finding, code in wanted.items():
        have = labels[finding]
        if have == code:
            continue
        if finding == "No Finding" and code == PRESENT:
            diseases = [f for f in FINDINGS if f != "No Finding" and f not in ALLOWED_WITH_NO_FINDING]
            if any(labels[f] == UNCERTAIN for f in diseases):
                return None
            changes |= {f: "delete" for f in diseases if labels[f] == PRESENT}
        elif code == PRESENT and have != UNCERTAIN:
            changes[finding] = "insert"
        elif code == 0 and have == PRESENT:
            changes[finding] = "delete"
        else:
            return None
    # a deleted child's parent goes with it where nothing else holds it up; only findings with a region can be edited
    if not set(changes) <= set(EDITABLE):
        changes = {f: d for f, d in changes.items() if f in EDITABLE}
    after = after_edit(labels, changes)
    return changes if all(after[f] == code for f, code in wanted.items()) else None


def parse_edits(text: str) -> list[tuple[str, str]]:
    """ "insert:Pneumothorax,delete:Edema" → [("Pneumothorax", "insert"), ("Edema", "delete")].

    Raises: SettingError that quotes a part which is no edit.
    """
    found = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        direction, _, name = part.partition(":")
        finding = FINDING_OF.get(column(name))
        if direction not in ("insert", "delete") or finding not in EDITABLE:
            raise SettingError(
                f"{part!r} is no edit.", f"Write insert:FINDING or delete:FINDING with one of: {', '.join(EDITABLE)}."
            )
        found.append((finding, direction))
    return found


def plan(
    workspace: Workspace, settings: PlanSettings, progress: Progress = silent, judge: Any = None
) -> dict[str, Any]:
    """File a plan in the records and say what it holds.

    judge: the one that screens source films; default: the workspace's own, else the packaged one.

    Returns: {"plan_id", "items", "patients", "by_gap": {gap_id: {"sentence", "planned", "wanted", "reason"}}}; a
    balanced plan has "insert Edema" and the like for gap ids. `reason` says why a gap is not (fully) served.
    Raises: WorkspaceError without films or gaps, SettingError for an unknown gap or edit.
    """
    workspace.need("films", "ingest")
    films = workspace.query("synth/source_films")
    if films.empty:
        raise WorkspaceError(
            "No film can be edited: none is a frontal film of a train patient on disk.",
            "Ingest a data set with its image files.",
        )
    refuse_other_splits(workspace, films["subject_id"].unique().tolist())
    targets = _measured(settings) if settings.balanced or settings.edits else _gaps(workspace, settings)
    order = np.random.default_rng(settings.seed).permutation(len(films))
    films = films.iloc[order].reset_index(drop=True)
    rows: list[dict[str, Any]] = [dict(zip(films.columns, values)) for values in films.itertuples(index=False)]
    labels = [{f: int(row[c]) for f, c in COLUMN_OF.items()} for row in rows]
    for n, target in enumerate(targets):
        progress(n, len(targets), "looking for source films")
        _find_candidates(target, films, rows, labels, settings)
    if settings.screen:
        _screen(workspace, targets, rows, settings, judge, part_of(progress, 0.3, 0.9))
    items = _choose(targets, rows, labels, settings)
    plan_id = digest("plan", as_dict(settings), items, length=12)
    workspace.records.add_plan(as_dict(settings), items, plan_id)
    progress(1, 1, f"{len(items)} edits planned")
    used = {item["source_dicom_id"] for item in items}
    return {
        "plan_id": plan_id,
        "items": len(items),
        "patients": len({row["subject_id"] for row in rows if row["dicom_id"] in used}),
        "by_gap": {
            t.gap_id: {k: getattr(t, k) for k in ("sentence", "planned", "wanted", "reason")} for t in targets
        },
    }


def _measured(settings: PlanSettings) -> list[Target]:
    """Targets of a plan that measures the editor: so many insertions and deletions of each finding."""
    asked = parse_edits(settings.edits) or [(f, d) for f in EDITABLE for d in ("insert", "delete")]
    wanted = settings.balanced or settings.per_gap
    return [Target(f"{d} {f}", f"{d.capitalize()} {f}.", {}, {}, wanted, {f: d}) for f, d in asked]


def _gaps(workspace: Workspace, settings: PlanSettings) -> list[Target]:
    workspace.need("gaps", "gaps")
    table = workspace.read("gaps").sort_values("rank")
    asked = [g.strip() for g in settings.gaps.split(",") if g.strip()]
    if asked:
        unknown = [g for g in asked if g not in set(table["gap_id"])]
        if unknown:
            raise SettingError(f"There is no gap {unknown[0]!r}.", "`cars gaps --json` lists the gap ids.")
        table = table.set_index("gap_id", drop=False).loc[asked]
    else:
        # as many gaps as the plan has room for, at least one
        table = table[table["editable"]].head(max(1, settings.films // settings.per_gap))
        if table.empty:
            raise WorkspaceError(
                "No gap of this workspace can be filled by editing.", "Look at `cars gaps`, or lower its threshold."
            )
    targets = []
    for row in table.to_dict("records"):
        fixed, findings = parse_pattern(json.loads(row["pattern"]))
        wanted = min(settings.per_gap, max(1, int(row["deficit"])))
        targets.append(Target(row["gap_id"], row["sentence"], fixed, findings, wanted))
    return targets


def _find_candidates(
    target: Target,
    films: pd.DataFrame,
    rows: list[dict[str, Any]],
    labels: list[dict[str, int]],
    settings: PlanSettings,
) -> None:
    """Fill `target.candidates` with (film, changes), and `target.reason` when there are none."""
    fits = np.ones(len(films), bool)
    for name, value in target.fixed.items():
        fits &= films[name].to_numpy() == value
    if target.fixed.get("view") not in (None, "PA", "AP"):
        target.reason = "only frontal films are edited"
    elif not fits.any():
        target.reason = "no train film on disk has these attributes, and an edit never changes them"
    for n in np.flatnonzero(fits):
        if target.changes is not None:
            changes = _allowed(labels[n], target.changes)
        else:
            changes = changes_for(labels[n], target.findings)
        if changes and len(changes) <= settings.max_edits:
            target.candidates.append((int(n), changes))
            if len(target.candidates) >= MOST_CANDIDATES:
                break
    if not target.candidates and not target.reason:
        target.reason = f"no train film on disk is within {settings.max_edits} edited findings"


def _allowed(labels: dict[str, int], changes: dict[str, str]) -> dict[str, str] | None:
    """The given edit where the film allows it: nothing uncertain, nothing inserted twice."""
    for finding, direction in changes.items():
        have = labels[finding]
        if have == UNCERTAIN or (have == PRESENT) != (direction == "delete"):
            return None
        if direction == "insert" and labels["No Finding"] == NOT_MENTIONED and have == NOT_MENTIONED:
            # a film of another disease that says nothing of this one may well show it
            return None
    return changes


def _screen(
    workspace: Workspace,
    targets: list[Target],
    rows: list[dict[str, Any]],
    settings: PlanSettings,
    judge: Any,
    progress: Progress,
) -> None:
    """Keep the candidates on which the judge sees the label before the edit; it looks at the likeliest to be used.

    An edit whose source the judge already calls edited can never pass the judge gate.
    """
    from ..filmcache import film_cache
    from .models import workspace_judge

    judge = workspace_judge(workspace, judge)
    wanted: dict[int, None] = {}
    for target in targets:
        patients: Counter[str] = Counter()
        for n, _ in sorted(target.candidates, key=lambda c: len(c[1])):
            if len(patients) >= 6 * target.wanted:
                break
            if patients[rows[n]["subject_id"]] < settings.max_per_patient:
                patients[rows[n]["subject_id"]] += 1
                wanted[n] = None
    ids = {rows[n]["dicom_id"]: n for n in wanted}
    cache = film_cache(workspace, judge.size, list(ids), progress)
    seen: dict[int, np.ndarray] = {}
    for start in range(0, len(cache.ids), 64):
        progress(start, len(cache.ids), "the judge looks at source films")
        chunk = cache.ids[start : start + 64]
        called = judge.probabilities(cache.images(chunk)) >= judge.thresholds
        seen |= {ids[i]: row for i, row in zip(chunk, called)}
    for target in targets:
        kept = [
            (n, changes)
            for n, changes in target.candidates
            if n in seen and all(bool(seen[n][FINDINGS.index(f)]) == (d == "delete") for f, d in changes.items())
        ]
        if target.candidates and len(kept) < target.wanted:
            target.reason = f"the judge agrees with the label before the edit on {len(kept)} source films only"
        target.candidates = kept


def _choose(
    targets: list[Target],
    rows: list[dict[str, Any]],
    labels: list[dict[str, int]],
    settings: PlanSettings,
) -> list[dict[str, Any]]:
    """The plan's items: gap after gap, each time the candidate that serves best."""
    uses: Counter[str] = Counter()
    taken: set[tuple[str, str]] = set()
    items: list[dict[str, Any]] = []
    limit = len(targets) * settings.balanced if settings.balanced else settings.films
    for target in targets:
        # what each candidate would also fill, worked out once per gap
        pool = [(n, c, _served(targets, rows[n], labels[n], after_edit(labels[n], c))) for n, c in target.candidates]
        # a patient who has such a film already adds no patient to the gap
        known = {row["subject_id"] for row, have in zip(rows, labels) if target.findings and target.reached(row, have)}
        while target.planned < target.wanted and len(items) < limit:
            free = [
                c for c in pool
                if uses[rows[c[0]]["subject_id"]] < settings.max_per_patient
                and (rows[c[0]]["dicom_id"], json.dumps(c[1], sort_keys=True)) not in taken
            ]  # fmt: skip
            if not free:
                target.reason = target.reason or "too few source patients within the limit per patient"
                break
            n, changes, served = min(
                free,
                key=lambda c: (
                    rows[c[0]]["subject_id"] in known, len(c[1]), -sum(t.planned < t.wanted for t in c[2]),
                    uses[rows[c[0]]["subject_id"]], c[0],
                ),
            )  # fmt: skip
            film = rows[n]
            uses[film["subject_id"]] += 1
            taken.add((film["dicom_id"], json.dumps(changes, sort_keys=True)))
            seed = int(digest("item", settings.seed, film["dicom_id"], changes, length=7), 16)
            items.append(
                {"gap_id": target.gap_id, "source_dicom_id": film["dicom_id"], "findings": changes, "seed": seed}
            )
            for other in served if target.changes is None else [target]:
                other.planned += 1
        if target.planned < target.wanted and len(items) >= limit:
            target.reason = target.reason or f"the plan is full ({limit} films)"
    return items


def _served(
    targets: list[Target], film: dict[str, Any], before: dict[str, int], after: dict[str, int]
) -> list[Target]:
    """The gaps that the edited film fills and the source did not."""
    return [t for t in targets if t.changes is None and t.reached(film, after) and not t.reached(film, before)]
