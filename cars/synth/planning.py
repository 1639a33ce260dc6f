"""The verb plan: the fewest films to make so that gaps reach their threshold. Nothing is synthesised yet.

Sources are frontal train films on disk, of patients without a film in validate or test. An edit changes findings;
sex, age, race and view never. Where gaps count patients, a patient who has such a film already adds none and is no
source for it. One film may fill several gaps: a weighted greedy set cover chooses (`cars.cover`), with at most k films
a patient; kinds of edits that mostly failed their gates here weigh more. The same workspace and settings give the same
plan.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd

from ..config import as_dict
from ..cover import Candidates, greedy, lower_bound, reached
from ..edits import allowed
from ..errors import SettingError, WorkspaceError
from ..progress import Progress, part_of, silent
from ..provenance import digest
from ..schema import CONCEPT, EDITABLE, FINDING_CODES, FINDING_OF, FINDINGS, NOT_MENTIONED, column
from ..workspace import Workspace
from .cost import cost_of, tried_of, weights_of
from .data import refuse_other_splits
from .settings import PlanSettings
from .sourcing import FIXED, Films, Options, Target, conditions_of, counted_films, options

#: The judge looks at no more source films than so many for each film of the plan.
LOOKS_PER_FILM = 6
#: More films than any gap's threshold asks for; what one gap would take is not cut short.
MOST_FOR_ONE = 100_000


@dataclass
class Draft:
    """A plan before it is filed. items: as `plan_items` holds them. bound: see `cover.lower_bound`."""

    targets: list[Target]
    items: list[dict[str, Any]]
    patients: int
    bound: int | None = None


def parse_pattern(pattern: dict[str, str]) -> dict[str, str]:
    """A gap's pattern with its findings under their own names.

    Raises: SettingError for an attribute or value that nobody knows.
    """
    found = {}
    for name, value in pattern.items():
        finding = FINDING_OF.get(column(name))
        if finding is None and name not in FIXED:
            raise SettingError(f"The pattern names {name!r}.", f"Attributes are {', '.join(FIXED)} and the findings.")
        if finding is not None and value not in FINDING_CODES:
            raise SettingError(f"{name} = {value!r} is no value of a finding.", f"Values: {', '.join(FINDING_CODES)}.")
        found[finding or name] = value
    return found


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


def parse_gaps(text: str) -> dict[str, int | None]:
    """ "1f2e:12, 9c5e" → {"1f2e": 12, "9c5e": None}: gap id → how many to add, None for what it lacks.

    Raises: SettingError that quotes a number which is none, or is below 1.
    """
    found: dict[str, int | None] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        gap_id, colon, number = part.partition(":")
        if colon and not (number.strip().isdecimal() and int(number) > 0):
            raise SettingError(f"{part!r} does not say how many to add.", "Write a gap's id, or ID:12 with 1 or more.")
        found[gap_id.strip()] = int(number) if colon else None
    return found


def plan(
    workspace: Workspace, settings: PlanSettings, progress: Progress = silent, judge: Any = None
) -> dict[str, Any]:
    """File a plan in the records and say what it holds.

    judge: the one that screens source films; default: the workspace's own, else the packaged one.

    Returns: {"plan_id", "items", "patients", "by_gap": {gap_id: {"sentence", "planned", "wanted", "count", "threshold",
    "reason"}}, "cost": see `cost.cost_of`, "lower_bound": no plan of these sources that fills as much has fewer films
    (None for a balanced plan)}; a balanced plan has "insert Edema" and the like for gap ids. `planned` is how many
    patients (studies, films) the plan adds to a gap, `reason` says why a gap is not (fully) served.
    Raises: WorkspaceError without films or gaps, SettingError for an unknown gap or edit.
    """
    draft = drafted(workspace, settings, progress, judge)
    plan_id = digest("plan", as_dict(settings), draft.items, length=12)
    workspace.records.add_plan(as_dict(settings), draft.items, plan_id)
    progress(1, 1, f"{len(draft.items)} edits planned")
    return {"plan_id": plan_id, **summary(workspace, draft)}


def estimate(workspace: Workspace, settings: PlanSettings) -> dict[str, Any]:
    """What `plan` would return, without its id: nothing is filed, and no judge looks at the films."""
    return summary(workspace, drafted(workspace, replace(settings, screen=False)))


def alone(settings: PlanSettings, gap_id: str) -> PlanSettings:
    """These settings for one gap and all that it lacks."""
    return replace(settings, gaps=gap_id, per_gap=0, films=MOST_FOR_ONE, edits="", balanced=0)


def summary(workspace: Workspace, draft: Draft) -> dict[str, Any]:
    """What a draft holds and costs."""
    names = ("sentence", "planned", "wanted", "count", "threshold", "reason")
    return {
        "items": len(draft.items),
        "patients": draft.patients,
        "by_gap": {t.gap_id: {k: getattr(t, k) for k in names} for t in draft.targets},
        "cost": cost_of(workspace, [item["findings"] for item in draft.items], draft.patients),
        "lower_bound": draft.bound,
    }


def drafted(workspace: Workspace, settings: PlanSettings, progress: Progress = silent, judge: Any = None) -> Draft:
    """The plan of these settings, not filed. Raises: as `plan`."""
    workspace.need("films", "ingest")
    frame = workspace.query("synth/source_films")
    if frame.empty:
        raise WorkspaceError(
            "No film can be edited: none is a frontal film of a train patient on disk.",
            "Ingest a data set with its image files.",
        )
    refuse_other_splits(workspace, frame["subject_id"].unique().tolist())
    order = np.random.default_rng(settings.seed).permutation(len(frame))
    frame = frame.iloc[order].reset_index(drop=True)
    look = None
    if settings.screen:
        look = Screen(workspace, judge, part_of(progress, 0.3, 0.9))
    if settings.balanced or settings.edits:
        return _measured(frame, settings, look)
    targets = _gaps(workspace, settings)
    progress(0, 10, "looking for source films")
    counted = counted_films(workspace)
    place = pd.Series(np.arange(len(counted.ids)), index=counted.ids)
    found = options(
        targets, counted, place.loc[frame["dicom_id"]].to_numpy(), settings.max_edits, weights_of(tried_of(workspace))
    )
    progress(3, 10, "choosing films")
    return _covered(targets, found, frame, settings, look)


# Gaps ---------------------------------------------------------------------------------------------------------------


def _gaps(workspace: Workspace, settings: PlanSettings) -> list[Target]:
    workspace.need("gaps", "gaps")
    table = workspace.read("gaps").sort_values("rank")
    asked = parse_gaps(settings.gaps)
    lacks = table["deficit"].clip(lower=1)
    lacks = lacks.clip(upper=settings.per_gap) if settings.per_gap else lacks
    if asked:
        unknown = [g for g in asked if g not in set(table["gap_id"])]
        if unknown:
            raise SettingError(f"There is no gap {unknown[0]!r}.", "`cars gaps --json` lists the gap ids.")
        table = table.assign(lacks=lacks).set_index("gap_id", drop=False).loc[list(asked)]
        table["lacks"] = [lack if asked[gap] is None else asked[gap] for gap, lack in zip(asked, table["lacks"])]
    else:
        # as many gaps as the plan has room for when no film fills two, at least one
        table = table.assign(lacks=lacks)[table["editable"]]
        if table.empty:
            raise WorkspaceError(
                "No gap of this workspace can be filled by editing.", "Look at `cars gaps`, or lower its threshold."
            )
        table = table[(table["lacks"].cumsum() <= settings.films) | (np.arange(len(table)) == 0)]
    kept = _filter_of(workspace)
    targets = []
    for row in table.to_dict("records"):
        pattern = parse_pattern(json.loads(row["pattern"]))
        conditions = conditions_of(pattern)
        for name, values in kept.items():
            conditions[name] = tuple(v for v in values if v in conditions.get(name, values))
        targets.append(
            Target(
                row["gap_id"], row["sentence"], pattern, conditions, int(row["lacks"]), int(row.get("count", 0)),
                int(row.get("threshold", 0)), str(row.get("unit", "patient")),
            )
        )  # fmt: skip
    return targets


def _filter_of(workspace: Workspace) -> dict[str, tuple[Any, ...]]:
    """The filter under which the gaps were counted, as attribute → stored values: a film outside it counts for none."""
    version = workspace.version("gaps")
    note = workspace.path / "tables" / "gaps" / str(version) / "note.json"
    if version is None or not note.exists():
        return {}
    where = json.loads(note.read_text(encoding="utf-8"))["settings"].get("where", "")
    if CONCEPT in where:
        raise SettingError(
            f"The gaps were counted where {where}, and no report tells whether an edited film is such a one.",
            "Run `cars gaps` without a filter on concepts, then plan.",
        )
    found: dict[str, tuple[Any, ...]] = {}
    for part in filter(None, (p.strip() for p in where.split(";"))):
        name, _, values = part.partition(":")
        words = [unquote(v.strip()) for v in values.split(",")]
        finding = FINDING_OF.get(column(name))
        found[finding or name.strip()] = tuple(FINDING_CODES[w] for w in words) if finding else tuple(words)
    return found


def _covered(
    targets: list[Target], found: Options, frame: pd.DataFrame, settings: PlanSettings, look: Screen | None
) -> Draft:
    """The films that a greedy cover chooses; with a judge, those it agrees to, again until it has seen all chosen."""
    wanted = np.array([t.wanted for t in targets], dtype=np.int64)
    left = found
    chosen = greedy(left.candidates, wanted, settings.max_per_patient, settings.films)
    while look is not None and not all(look.agrees(*left.made[n]) for n in chosen):
        look.look([left.made[n][0] for n in chosen], frame, LOOKS_PER_FILM * settings.films)
        agreed = [n for n, (film, edit) in enumerate(left.made) if look.may_serve(film, edit)]
        left = Options(_only(left.candidates, agreed), [left.made[n] for n in agreed])
        chosen = greedy(left.candidates, wanted, settings.max_per_patient, settings.films)
    have = reached(left.candidates, chosen, len(targets))
    for gap, target in enumerate(targets):
        target.planned = int(have[gap])
        if target.planned < target.wanted:
            target.reason = target.reason or _why_short(gap, len(chosen), found, left, settings)
        else:
            target.reason = ""
    bound = lower_bound(left.candidates, np.minimum(have, wanted))
    items = _items(targets, left, chosen, frame, settings)
    return Draft(targets, items, len({frame["subject_id"].iat[left.made[n][0]] for n in chosen}), bound)


def _only(candidates: Candidates, kept: list[int]) -> Candidates:
    """Some of the candidates, renumbered."""
    parts = [candidates.of(n) for n in kept]
    return Candidates(
        np.concatenate([[0], np.cumsum([len(p) for p in parts], dtype=np.int64)]).astype(np.int64),
        np.array([g for p in parts for g in p], dtype=np.int64), candidates.patient[kept], candidates.unit[kept],
        candidates.weight[kept], candidates.rank[kept],
    )  # fmt: skip


def _why_short(gap: int, films: int, found: Options, left: Options, settings: PlanSettings) -> str:
    if films >= settings.films:
        return f"the plan is full ({settings.films} films)"
    before, after = (np.unique(o.candidates.unit[_serving(o.candidates, gap)]) for o in (found, left))
    if not len(before):
        return "every patient within reach has such a film already"
    if len(after) < len(before):
        return f"the judge agrees with the label before the edit on too few source films ({len(after)} are left)"
    return "too few source patients within the limit per patient"


def _serving(candidates: Candidates, gap: int) -> np.ndarray:
    """The candidates that serve a gap."""
    return np.searchsorted(candidates.starts, np.flatnonzero(candidates.gaps == gap), side="right") - 1


def _items(
    targets: list[Target], left: Options, chosen: list[int], frame: pd.DataFrame, settings: PlanSettings
) -> list[dict[str, Any]]:
    """The chosen films as items; each is filed under one gap it fills, the one with fewest films of its own so far."""
    own: Counter[int] = Counter()
    items = []
    for n in chosen:
        film, edit = left.made[n]
        gap = min(left.candidates.of(n), key=lambda g: (own[g], g))
        own[gap] += 1
        items.append(_item(targets[gap].gap_id, frame["dicom_id"].iat[film], dict(edit), settings))
    return items


def _item(gap_id: str, source: str, changes: dict[str, str], settings: PlanSettings) -> dict[str, Any]:
    seed = int(digest("item", settings.seed, source, changes, length=7), 16)
    return {"gap_id": gap_id, "source_dicom_id": source, "findings": changes, "seed": seed}


# Plans that measure the editor ----------------------------------------------------------------------------------------


def _measured(frame: pd.DataFrame, settings: PlanSettings, look: Screen | None) -> Draft:
    """So many insertions and deletions of each finding, each patient used as little as can be."""
    asked = parse_edits(settings.edits) or [(f, d) for f in EDITABLE for d in ("insert", "delete")]
    wanted = settings.balanced or settings.per_gap or settings.films
    films = Films.of(frame)
    uses: Counter[int] = Counter()
    targets, items = [], []
    most = len(asked) * wanted if settings.balanced else settings.films
    taken: set[int] = set()
    for finding, direction in asked:
        target = Target(f"{direction} {finding}", f"{direction.capitalize()} {finding}.", {}, {}, wanted)
        targets.append(target)
        fits = allowed(films.labels, [(finding, direction)])
        if direction == "insert":
            # a film of another disease that says nothing of this one may well show it
            silent_on = films.labels[:, FINDINGS.index(finding)] == NOT_MENTIONED
            fits &= ~(silent_on & (films.labels[:, FINDINGS.index("No Finding")] == NOT_MENTIONED))
        edit = ((finding, direction),)
        pool = np.flatnonzero(fits).tolist()
        if not pool:
            target.reason = "no train film on disk allows this edit"
        elif look is not None:
            pool = _looked_at(pool, edit, films, wanted, frame, look, settings)
            if len(pool) < wanted:
                target.reason = f"the judge agrees with the label before the edit on {len(pool)} source films only"
        while target.planned < wanted and len(items) < most:
            free = [n for n in pool if uses[int(films.patient[n])] < settings.max_per_patient]
            if not free:
                target.reason = target.reason or "too few source patients within the limit per patient"
                break
            film = min(free, key=lambda n: (uses[int(films.patient[n])], n))
            pool.remove(film)
            uses[int(films.patient[film])] += 1
            taken.add(film)
            items.append(_item(target.gap_id, films.ids[film], {finding: direction}, settings))
            target.planned += 1
        if target.planned == wanted:
            target.reason = ""
        elif len(items) >= most:
            target.reason = f"the plan is full ({most} films)"
    return Draft(targets, items, len({int(films.patient[n]) for n in taken}))


def _looked_at(
    pool: list[int], edit: tuple[tuple[str, str], ...], films: Films, wanted: int, frame: pd.DataFrame, look: Screen,
    settings: PlanSettings,
) -> list[int]:  # fmt: skip
    """The films of the pool on which the judge sees the label; it looks at those that are likeliest to be used."""
    uses: Counter[int] = Counter()
    likely = []
    for n in pool:
        if len(uses) >= LOOKS_PER_FILM * wanted:
            break
        if uses[int(films.patient[n])] < settings.max_per_patient:
            uses[int(films.patient[n])] += 1
            likely.append(n)
    look.look(likely, frame)
    return [n for n in likely if look.agrees(n, edit)]


class Screen:
    """The judge's look at source films: an edit whose source it already calls edited can never pass the judge gate."""

    def __init__(self, workspace: Workspace, judge: Any, progress: Progress) -> None:
        from .models import workspace_judge

        self.workspace, self.judge, self.progress = workspace, workspace_judge(workspace, judge), progress
        #: film → which findings the judge sees (14,) bool; None where the film cannot be read
        self.seen: dict[int, np.ndarray | None] = {}
        self.full = False

    def look(self, films: Sequence[int], frame: pd.DataFrame, most: int | None = None) -> None:
        """Look at these films of the frame; at no more than `most` in all, and from then on at none."""
        from ..filmcache import film_cache

        new = [n for n in dict.fromkeys(films) if n not in self.seen]
        if most is not None and len(self.seen) + len(new) >= most:
            self.full, new = True, new[: max(0, most - len(self.seen))]
        if not new:
            return
        self.seen |= dict.fromkeys(new)
        ids = {frame["dicom_id"].iat[n]: n for n in new}
        cache = film_cache(self.workspace, self.judge.size, list(ids), self.progress)
        for start in range(0, len(cache.ids), 64):
            self.progress(start, len(cache.ids), "the judge looks at source films")
            chunk = cache.ids[start : start + 64]
            called = self.judge.probabilities(cache.images(chunk)) >= self.judge.thresholds
            self.seen |= {ids[i]: row for i, row in zip(chunk, called)}

    def agrees(self, film: int, edit: Sequence[tuple[str, str]]) -> bool:
        """Whether the judge has seen the film and sees each changed finding as its label before the edit says."""
        row = self.seen.get(film)
        return row is not None and all(bool(row[FINDINGS.index(f)]) == (d == "delete") for f, d in edit)

    def may_serve(self, film: int, edit: Sequence[tuple[str, str]]) -> bool:
        """Whether it agrees, or has not looked yet and still may."""
        return (film not in self.seen and not self.full) or self.agrees(film, edit)
