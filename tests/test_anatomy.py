"""The verb `anatomy`: what the table says of each film, that it resumes, and the packaged segmenter in it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cars import anatomy as module
from cars.anatomy import AnatomySettings, anatomy
from cars.errors import Cancelled, WorkspaceError
from cars.segmenters import HEART, LEFT_LUNG, RIGHT_LUNG, Masks
from cars.workspace import Workspace


class Boxes:
    """A heart of 36 columns in a thorax of 90, in every film; a dark film is not trusted."""

    size = 128
    revision = "boxes-1"

    def __init__(self) -> None:
        self.seen = 0

    def masks(self, images: np.ndarray) -> Masks:
        self.seen += len(images)
        one = np.zeros((3, *images.shape[1:]), bool)
        one[RIGHT_LUNG, 30:90, 20:55] = one[LEFT_LUNG, 30:90, 75:110] = one[HEART, 60:95, 48:84] = True
        mean = images.mean(axis=(1, 2))
        return Masks(
            np.repeat(one[None], len(images), axis=0),
            np.where(mean > np.median(mean), 0.9, 0.5).astype(np.float32),
            tuple("too dark" if m <= np.median(mean) else "" for m in mean),
        )


def test_every_frontal_film_has_a_row_and_only_trusted_pa_films_a_ratio(workspace_copy: Workspace) -> None:
    told = anatomy(workspace_copy, AnatomySettings(segmenter=Boxes()))
    table = workspace_copy.read("anatomy")
    films = workspace_copy.read("films").query("view in ('PA', 'AP') and on_disk")
    assert set(table["dicom_id"]) == set(films["dicom_id"])
    assert table["dicom_id"].is_unique
    assert table.set_index("dicom_id")["view"].to_dict() == films.set_index("dicom_id")["view"].to_dict()
    has = table["ctr"].notna()
    assert (has == (table["trusted"] & (table["view"] == "PA"))).all()
    assert has.any()
    assert table.loc[has, "ctr"].tolist() == pytest.approx([36 / 90] * has.sum())
    assert table.loc[has, "ctr_reason"].isna().all()
    ap = table[table["view"] == "AP"]
    assert len(ap)
    assert ap["ctr_reason"].str.contains("AP").all()
    doubted = table[~table["trusted"]]
    assert doubted["reason"].str.endswith("too dark").all()
    assert table.loc[table["trusted"], "reason"].isna().all()
    assert table["heart"].tolist() == pytest.approx([35 * 36 / 128**2] * len(table))
    assert (told["films"], told["trusted"]) == (len(table), table["trusted"].sum())
    assert told["untrusted"] == len(doubted)
    assert told["pa_films"] == (table["view"] == "PA").sum()
    assert told["ctr"] == {"n": has.sum(), "median": 0.4, "low": 0.4, "high": 0.4}


def test_a_stopped_run_goes_on_and_a_second_one_outlines_nothing(
    workspace_copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART", 8)
    monkeypatch.setattr(module, "BATCH", 8)
    segmenter = Boxes()

    def stop(done: int, total: int, message: str) -> None:
        if segmenter.seen >= 16:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        anatomy(workspace_copy, AnatomySettings(segmenter=segmenter), stop)
    assert workspace_copy.version("anatomy") is None  # nothing is shown before it is whole
    before = segmenter.seen
    told = anatomy(workspace_copy, AnatomySettings(segmenter=segmenter))
    assert segmenter.seen == told["films"] > before
    anatomy(workspace_copy, AnatomySettings(segmenter=segmenter))
    assert segmenter.seen == told["films"]
    other = Boxes()
    other.revision = "boxes-2"
    anatomy(workspace_copy, AnatomySettings(segmenter=other))
    table = workspace_copy.read("anatomy")
    assert len(table) == other.seen == told["films"]
    assert set(table["revision"]) == {"boxes-2"}


def test_without_films_it_says_so(tmp_path, workspace_copy: Workspace) -> None:
    with pytest.raises(WorkspaceError):
        anatomy(Workspace.create(tmp_path / "empty"), AnatomySettings())
    films = workspace_copy.read("films").assign(view="lateral")
    workspace_copy.write_part("films", "all", films, workspace_copy.version("films"))
    for part in workspace_copy.parts("films"):
        if part.stem != "all":
            part.unlink()
    with pytest.raises(WorkspaceError, match="frontal"):
        anatomy(workspace_copy, AnatomySettings())


def test_the_packaged_segmenter_trusts_phantom_films(workspace_copy: Workspace) -> None:
    told = anatomy(workspace_copy, AnatomySettings(device="cpu"))
    assert told["segmenter"] == "cars"
    assert told["trusted"] > 0.85 * told["films"]
    assert 0.35 < told["ctr"]["median"] < 0.6
    assert isinstance(workspace_copy.read("anatomy"), pd.DataFrame)
