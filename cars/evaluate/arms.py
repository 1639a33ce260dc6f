"""Who is in which training set, and under which labels. The one place that decides what a unit may learn from."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .. import schema
from ..edits import INSERT
from ..errors import DataError, SettingError, WorkspaceError
from ..generators import GENERATORS
from ..provenance import digest
from ..workspace import Workspace
from .settings import ARMS, FinetuneSettings

COLUMNS = list(schema.COLUMN_OF.values())
#: The generator of the arm real+label-prompted; no other arm reads its films.
LABEL_PROMPTED = "label-prompted"
#: What a film drawn again shares with the edit beside its finding, as far as such films exist.
ALIKE = (["sex", "view", "age_band"], ["sex", "view"], [])


@dataclass(frozen=True)
class Cases:
    """Films with targets. rows: film_id, subject_id, path, origin; y: float32 (N, 14); known: bool (N, 14)."""

    rows: pd.DataFrame
    y: np.ndarray
    known: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ids(self) -> list[str]:
        """The film ids in order: a dicom_id for a real film, the edit's id for a synthetic one."""
        return self.rows["film_id"].tolist()

    @property
    def key(self) -> str:
        """A hash of everything that training can learn from: which films, and what is said of them."""
        return digest(self.ids, self.y.astype(int).tolist(), self.known.astype(int).tolist())

    def positives(self) -> dict[str, int]:
        """Finding → number of films that have it."""
        counts = ((self.y == 1) & self.known).sum(axis=0)
        return {finding: int(count) for finding, count in zip(schema.FINDINGS, counts)}

    def without(self, film_ids: set[str]) -> Cases:
        """The same cases but those films (they could not be decoded)."""
        keep = ~self.rows["film_id"].isin(film_ids).to_numpy()
        return Cases(self.rows[keep].reset_index(drop=True), self.y[keep], self.known[keep])


@dataclass(frozen=True)
class Phase:
    """One stretch of a training: the films that are drawn from, and for how many optimiser steps."""

    cases: Cases
    steps: int


def targets(labels: np.ndarray, uncertain: str, not_mentioned: str) -> tuple[np.ndarray, np.ndarray]:
    """Finding codes (N, 14) of schema.py → (y float32 of 0 and 1, known bool): where known is False nothing is said.

    Args:
        uncertain: "ignore", "positive" (U-Ones of Irvin et al. 2019) or "negative" (U-Zeroes).
        not_mentioned: "absent" or "ignore". Absent suits labels that list only what is there, like NIH's, and MIMIC's
            too, where a report leaves out most of what a film does not show.
    """
    codes = np.asarray(labels)
    y = codes == schema.PRESENT
    known = (codes == schema.PRESENT) | (codes == schema.ABSENT)
    if uncertain != "ignore":
        known = known | (codes == schema.UNCERTAIN)
        if uncertain == "positive":
            y = y | (codes == schema.UNCERTAIN)
    if not_mentioned == "absent":
        known = known | (codes == schema.NOT_MENTIONED)
    return y.astype(np.float32), known


def read_films(workspace: Workspace, views: str) -> pd.DataFrame:
    """The real films on disk of the train, validate and test patients.

    Raises: WorkspaceError without films, or when a split is empty; DataError when a patient is in two splits.
    """
    workspace.need("films", "ingest")
    films = workspace.query("evaluate/films", views=_views(views))
    for split in ("train", "validate", "test"):
        if not (films["split"] == split).any():
            raise WorkspaceError(
                f"No {split} film of the views {views!r} is on disk.",
                "Fine-tuning needs films of train, validate and test patients; check the Data page, or views = all.",
            )
    splits = films.groupby("subject_id")["split"].nunique()
    if (splits > 1).any():
        raise DataError(
            f"{int((splits > 1).sum())} patients have films in more than one split.",
            "Put each patient in one split and ingest again.",
        )
    return films


def read_edits(workspace: Workspace, views: str) -> pd.DataFrame:
    """The accepted edits that are no baseline's, or an empty frame without columns where nothing was ever edited."""
    if not workspace.has("edits"):
        return pd.DataFrame()
    edits = workspace.query("evaluate/edits", views=_views(views))
    baseline = {g: _is_baseline(g) for g in edits["generator"].unique()}
    return edits[~edits["generator"].map(baseline).astype(bool)].reset_index(drop=True)


def _is_baseline(generator: str) -> bool:
    """Whether a generator is there to be compared with; one that is no longer registered is not."""
    name = generator.split(":", 1)[0]
    return name in GENERATORS.names() and bool(getattr(GENERATORS.get(name), "baseline", False))


def read_label_prompted(workspace: Workspace, views: str, which: str, accepted: pd.DataFrame) -> pd.DataFrame:
    """The films of the baseline generator label-prompted, those rejected by somebody left out.

    Args:
        which: "all", whatever the gates say; "passed", those that passed every gate; "matched", one for each accepted
            edit of the same source film and the same changes, whatever the gates say.
    """
    if not workspace.has("edits"):
        return pd.DataFrame()
    made = workspace.query("evaluate/label_prompted", views=_views(views), generator=LABEL_PROMPTED)
    if which == "passed":
        made = made[made["passed"]]
    if which == "matched":
        same = ["source_dicom_id", "findings"]
        made = made.drop_duplicates(same)
        made = made.merge(accepted[same].drop_duplicates(), on=same) if len(accepted) else made.head(0)
        made = made.sort_values("edit_id")
    return made.reset_index(drop=True)


def _views(views: str) -> list[str]:
    return list(schema.FRONTAL if views == "frontal" else schema.VIEWS)


def of_split(films: pd.DataFrame, split: str, uncertain: str, not_mentioned: str) -> Cases:
    """The real films of one split."""
    chosen = films[films["split"] == split].reset_index(drop=True)
    return _cases(_real(chosen), uncertain, not_mentioned)


class TrainingSets:
    """The training set of each arm, over one reading of the films and edits.

    films: of `read_films`. edits: of `read_edits`. label_prompted: of `read_label_prompted`.
    """

    def __init__(
        self, workspace: Workspace, films: pd.DataFrame, edits: pd.DataFrame, label_prompted: pd.DataFrame,
        settings: FinetuneSettings,
    ) -> None:  # fmt: skip
        self.workspace = workspace
        self.films = films
        self.edits = edits
        self.label_prompted = label_prompted
        self.settings = settings

    @classmethod
    def read(cls, workspace: Workspace, settings: FinetuneSettings) -> TrainingSets:
        """From the workspace's tables. Raises: what `read_films` raises."""
        films, edits = read_films(workspace, settings.views), read_edits(workspace, settings.views)
        made = read_label_prompted(workspace, settings.views, settings.label_prompted, edits)
        return cls(workspace, films, edits, made, settings)

    def of(self, arm: str) -> list[Cases]:
        """What the arm learns from, one set for each stretch of its training.

        Raises: SettingError for an unknown arm; WorkspaceError for an arm that needs edits where there are none, or
            sham films that are not there; DataError when an edit was made from a film that is not a train patient's.
        """
        if arm not in ARMS:
            raise SettingError(f"There is no arm called {arm!r}.", f"The arms are: {', '.join(ARMS)}.")
        train = self.films[self.films["split"] == "train"]
        if arm in ("real", "real-equal-steps"):
            return [self._cases([_real(train)])]
        edits = self.edits_of(arm)
        _refuse_held_out(edits, train)
        added = self._added(arm, edits, train)
        if arm == "cars-then-real":
            return [self._cases([added]), self._cases([_real(train)])]
        return [self._cases([_real(train), added])]

    def phases(self, arm: str, lost: set[str] = frozenset()) -> tuple[Phase, ...]:  # type: ignore[assignment]
        """The arm's training sets with their steps, without the films in `lost` (they could not be decoded).

        Every arm takes settings.steps steps. The arm real takes fewer where there are accepted edits: as many as leave
        each of its films seen as often as in real+cars.
        """
        sets = [cases.without(lost) for cases in self.of(arm)]
        steps = self.settings.steps
        if arm == "real":
            share = len(sets[0]) / (len(sets[0]) + len(self.edits))
            return (Phase(sets[0], max(1, round(steps * share))),)
        if len(sets) == 1:
            return (Phase(sets[0], steps),)
        first = min(max(1, round(steps * self.settings.pretrain)), max(1, steps - 1))
        return (Phase(sets[0], first), Phase(sets[1], max(1, steps - first)))

    def edits_of(self, arm: str) -> pd.DataFrame:
        """The edits that an arm is made of. Raises: WorkspaceError where there are none."""
        if arm == "real+label-prompted":
            if not len(self.label_prompted):
                raise WorkspaceError(
                    f"The arm {arm!r} needs films of the generator {LABEL_PROMPTED} and there are none "
                    f"(label_prompted = {self.settings.label_prompted!r}).",
                    f"Run `cars synth --generator {LABEL_PROMPTED}` on the accepted edits' plan, or leave it out.",
                )
            return self.label_prompted
        if not len(self.edits):
            raise WorkspaceError(
                f"The arm {arm!r} needs accepted edits and there are none; it would equal the arm 'real'.",
                "Run `cars plan` and `cars synth`, check the review decisions, or ask for --arms real.",
            )
        return self.edits

    def _added(self, arm: str, edits: pd.DataFrame, train: pd.DataFrame) -> pd.DataFrame:
        """The rows that an arm adds to the real films (of cars-then-real: what it learns from first)."""
        if arm == "oversampled":
            return _drawn_again(edits, train)
        if arm in ("real+cars", "cars-then-real", "real+label-prompted"):
            paths = [str(self.workspace.path / path) for path in edits["film_path"]]
            return edits.rename(columns={"edit_id": "film_id"}).assign(path=paths, origin="synthetic")
        # both controls are labelled as their source film is, since nothing was meant to change
        keys = edits[["edit_id", "source_dicom_id", "sham_path"]]
        sources = keys.merge(train, left_on="source_dicom_id", right_on="dicom_id", how="inner", validate="many_to_one")
        if arm == "real+sources":
            return sources.assign(film_id=sources["source_dicom_id"], origin="real")
        if sources["sham_path"].isna().any():
            raise WorkspaceError(
                f"{int(sources['sham_path'].isna().sum())} accepted edits have no sham film.",
                "Leave out the arm real+sham, or synthesise again.",
            )
        paths = [str(self.workspace.path / path) for path in sources["sham_path"]]
        return sources.assign(film_id=sources["edit_id"] + ".sham", path=paths, origin="synthetic")

    def _cases(self, parts: list[pd.DataFrame]) -> Cases:
        return _cases(pd.concat(parts, ignore_index=True), self.settings.uncertain, self.settings.not_mentioned)


def _drawn_again(edits: pd.DataFrame, train: pd.DataFrame) -> pd.DataFrame:
    """For each edit one real train film that has the changed findings as the edit has them, drawn by the edit's id.

    Among those of the same sex, view and age band where there are any, else of the same sex and view, else all. An
    edit whose findings no real film has adds nothing. Raises: WorkspaceError when that is so of every edit.
    """
    chosen = []
    for edit in edits.to_dict("records"):
        fits = np.ones(len(train), dtype=bool)
        for finding, direction in json.loads(edit["findings"]).items():
            present = train[schema.COLUMN_OF[finding]].to_numpy() == schema.PRESENT
            absent = np.isin(train[schema.COLUMN_OF[finding]], (schema.ABSENT, schema.NOT_MENTIONED))
            fits &= present if direction == INSERT else absent
        for names in ALIKE:
            rows = np.flatnonzero(fits & np.all([train[n].to_numpy() == edit[n] for n in names] or [fits], axis=0))
            if len(rows):
                chosen.append(rows[int(digest("oversampled", edit["edit_id"]), 16) % len(rows)])
                break
    if not chosen:
        raise WorkspaceError(
            "The arm 'oversampled' has no real film to draw again: no train film has the findings of any edit.",
            "Leave the arm out; the figures will say what cannot be concluded without it.",
        )
    return _real(train.iloc[chosen])


def _refuse_held_out(edits: pd.DataFrame, train: pd.DataFrame) -> None:
    """Raise DataError when an edit's patient, or the film that it was made from, is not in the train split today."""
    inside = edits["subject_id"].isin(train["subject_id"]) & edits["source_dicom_id"].isin(train["dicom_id"])
    if not inside.all():
        raise DataError(
            f"{int((~inside).sum())} edits were not made from a film of the train split, "
            f"{edits.loc[~inside, 'edit_id'].iloc[0]!r} first.",
            "Edits must be made from train patients' films. Reject these edits, or ingest and synthesise again.",
        )


def _real(films: pd.DataFrame) -> pd.DataFrame:
    return films.rename(columns={"dicom_id": "film_id"}).assign(origin="real")


def _cases(rows: pd.DataFrame, uncertain: str, not_mentioned: str) -> Cases:
    y, known = targets(rows[COLUMNS].to_numpy(), uncertain, not_mentioned)
    return Cases(rows[["film_id", "subject_id", "path", "origin"]].reset_index(drop=True), y, known)
