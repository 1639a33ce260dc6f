"""Who is in which training set, and under which labels. The one place that decides what a unit may learn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .. import schema
from ..errors import DataError, SettingError, WorkspaceError
from ..provenance import digest
from ..workspace import Workspace
from .settings import ARMS

COLUMNS = list(schema.COLUMN_OF.values())


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
    films = workspace.query("evaluate/films", views=list(schema.FRONTAL if views == "frontal" else schema.VIEWS))
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
    """The accepted edits, or an empty frame without columns where nothing was ever edited."""
    if not workspace.has("edits"):
        return pd.DataFrame()
    return workspace.query("evaluate/edits", views=list(schema.FRONTAL if views == "frontal" else schema.VIEWS))


def of_split(films: pd.DataFrame, split: str, uncertain: str, not_mentioned: str) -> Cases:
    """The real films of one split."""
    chosen = films[films["split"] == split].reset_index(drop=True)
    return _cases(_real(chosen), uncertain, not_mentioned)


def training_cases(
    arm: str, films: pd.DataFrame, edits: pd.DataFrame, folder: Workspace, uncertain: str, not_mentioned: str
) -> Cases:
    """The training set of an arm.

    Raises: SettingError for an unknown arm; WorkspaceError for an arm that needs accepted edits where there are none;
        DataError when an edit was made from a film that is not a train patient's.
    """
    if arm not in ARMS:
        raise SettingError(f"There is no arm called {arm!r}.", f"The arms are: {', '.join(ARMS)}.")
    train = films[films["split"] == "train"]
    parts = [_real(train)]
    if arm != "real":
        if not len(edits):
            raise WorkspaceError(
                f"The arm {arm!r} needs accepted edits and there are none; it would equal the arm 'real'.",
                "Run `cars plan` and `cars synth`, check the review decisions, or ask for --arms real.",
            )
        _refuse_held_out(edits, train)
        parts.append(_added(arm, edits, films, folder))
    return _cases(pd.concat(parts, ignore_index=True), uncertain, not_mentioned)


def _refuse_held_out(edits: pd.DataFrame, train: pd.DataFrame) -> None:
    """Raise DataError when an edit's patient, or the film that it was made from, is not in the train split today."""
    inside = edits["subject_id"].isin(train["subject_id"]) & edits["source_dicom_id"].isin(train["dicom_id"])
    if not inside.all():
        raise DataError(
            f"{int((~inside).sum())} accepted edits were not made from a film of the train split, "
            f"{edits.loc[~inside, 'edit_id'].iloc[0]!r} first.",
            "Edits must be made from train patients' films. Reject these edits, or ingest and synthesise again.",
        )


def _real(films: pd.DataFrame) -> pd.DataFrame:
    return films.rename(columns={"dicom_id": "film_id"}).assign(origin="real")


def _added(arm: str, edits: pd.DataFrame, films: pd.DataFrame, workspace: Workspace) -> pd.DataFrame:
    """The rows that an arm adds to the real films, one for each accepted edit."""
    if arm == "real+cars":
        paths = [str(workspace.path / path) for path in edits["film_path"]]
        return edits.rename(columns={"edit_id": "film_id"}).assign(path=paths, origin="synthetic")
    # both controls are labelled as their source film is, since nothing was meant to change
    keys = edits[["edit_id", "source_dicom_id", "sham_path"]]
    sources = keys.merge(films, left_on="source_dicom_id", right_on="dicom_id", how="inner", validate="many_to_one")
    if arm == "real+sources":
        return sources.assign(film_id=sources["source_dicom_id"], origin="real")
    if sources["sham_path"].isna().any():
        raise WorkspaceError(
            f"{int(sources['sham_path'].isna().sum())} accepted edits have no sham film.",
            "Leave out the arm real+sham, or synthesise again.",
        )
    paths = [str(workspace.path / path) for path in sources["sham_path"]]
    return sources.assign(film_id=sources["edit_id"] + ".sham", path=paths, origin="synthetic")


def _cases(rows: pd.DataFrame, uncertain: str, not_mentioned: str) -> Cases:
    y, known = targets(rows[COLUMNS].to_numpy(), uncertain, not_mentioned)
    return Cases(rows[["film_id", "subject_id", "path", "origin"]].reset_index(drop=True), y, known)
