"""The verb synth: what it writes, that it goes on after a kill, and whose films it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage
from synth_toys import ToyGenerator, ToyJudge, ToySegmenter, film, workspace_of

from cars.errors import Cancelled, DataError, WorkspaceError
from cars.imaging import decode, save_png
from cars.schema import FINDINGS
from cars.segmenters import Masks
from cars.synth import edit_table, synth
from cars.synth.planning import plan
from cars.synth.settings import PlanSettings, SynthSettings

PLAN = PlanSettings(screen=False, balanced=5, edits="insert:Pneumothorax,delete:Pleural Effusion")
SETTINGS = SynthSettings(generator=ToyGenerator(), segmenter=ToySegmenter(), judge=ToyJudge(), steps=2)


@pytest.fixture
def planned(tmp_path):
    workspace = workspace_of(tmp_path, 18)
    return workspace, plan(workspace, PLAN)["plan_id"]


def test_writes_edits_gates_and_films(planned):
    workspace, _ = planned
    told = synth(workspace, SETTINGS)
    assert told["requested"] == told["edited"] == 10
    assert told["passed"] == 10
    assert told["by_finding"] == {"Pneumothorax": {"insert": [5, 5]}, "Pleural Effusion": {"delete": [5, 5]}}
    # these films have no vectors, so "copy" decides nothing
    assert told["by_gate"] == {gate: [10, 10] for gate in ("judge", "anatomy", "outside", "sham", "untouched")}
    gates = workspace.read("gates")
    assert gates.groupby("edit_id")["gate"].nunique().eq(6).all()
    assert gates.loc[gates["gate"] == "copy", "passed"].isna().all()
    assert gates.loc[gates["gate"] == "copy", "measure"].str.endswith("not checked").all()
    edits = workspace.read("edits")
    films = workspace.read("films").set_index("dicom_id")
    for edit in edits.to_dict("records"):
        source = films.loc[edit["source_dicom_id"]]
        image = np.array(Image.open(workspace.path / edit["film_path"]))
        roi = np.array(Image.open(workspace.path / edit["roi_path"])) > 0
        original = decode(source["path"])
        assert image.shape == original.shape
        np.testing.assert_array_equal(image[~roi], original[~roi])
        assert (image != original).any()
        assert Image.open(workspace.path / edit["film_path"]).info["Synthetic"] == "true"
        for name in ("view", "sex", "age", "age_band"):
            assert edit[name] == source[name]
        assert source["split"] == edit["split"] == "train"
        assert edit["origin"] == "synthetic"
    assert set(edits.loc[edits["direction"] == "insert", "pneumothorax"]) == {1}
    assert set(edits.loc[edits["direction"] == "delete", "pleural_effusion"]) == {0}
    assert workspace.query("verify/edits_of_other_splits").empty
    with workspace.connect() as db:
        assert db.execute("SELECT count(*) FROM accepted_edits").fetchone() == (10,)


def test_a_second_run_makes_nothing_anew_and_other_settings_do(planned):
    workspace, _ = planned
    first = synth(workspace, SETTINGS)
    generator = ToyGenerator()
    assert synth(workspace, replace(SETTINGS, generator=generator)) == first
    assert generator.calls == 0
    synth(workspace, replace(SETTINGS, guidance=4.0))
    edits = workspace.read("edits")
    assert len(edits) == edits["edit_id"].nunique() == 20


def test_the_attempt_in_which_nothing_else_changes_is_kept(tmp_path):
    """With the guidance asked for another finding comes along; with twice as much it does not."""

    class Overdone(ToyGenerator):
        def edit(self, requests):
            results = super().edit(requests)
            for r, result in zip(requests, results):
                if r.guidance > SETTINGS.guidance and not np.array_equal(r.vector_from, r.vector_to):
                    result.edited[r.roi] = 205
            return results

    class Seeing(ToyJudge):
        sure = np.tile(np.float32([-1, 2]), (len(FINDINGS), 1))
        sure[FINDINGS.index("Fracture")] = 0.5

        def probabilities(self, images):
            found = super().probabilities(images)
            bright = [ndimage.uniform_filter(image.astype(float), 5).max() > 225 for image in images]
            found[:, FINDINGS.index("Fracture")] = np.where(bright, 0.9, 0.1)
            return found

    workspace = workspace_of(tmp_path, 18)
    plan(workspace, PlanSettings(screen=False, balanced=4, edits="insert:Consolidation"))
    assert synth(workspace, replace(SETTINGS, generator=Overdone(), judge=Seeing()))["passed"] == 4
    edits = workspace.read("edits")
    assert set(edits["mode"]) == {"inversion"}
    assert (edits["guidance"] == 2 * SETTINGS.guidance).all()
    assert synth(workspace, replace(SETTINGS, generator=ToyGenerator(), judge=Seeing(), guidance=1.0))["passed"] == 0


def test_a_baseline_on_the_same_network_makes_its_own_edits(planned):
    class Baseline(ToyGenerator):
        baseline = True  # and the revision of the generator whose network it borrows

    workspace, _ = planned
    synth(workspace, SETTINGS)
    generator = Baseline()
    synth(workspace, replace(SETTINGS, generator=generator))
    assert generator.calls > 0
    edits = workspace.read("edits")
    assert edits["edit_id"].nunique() == 20
    assert edits["baseline"].sum() == 10


def set_thresholds(workspace, text):
    (workspace.path / "workspace.toml").write_text(text)


def test_other_thresholds_gate_the_same_films_again(planned):
    workspace, plan_id = planned
    synth(workspace, SETTINGS)
    before, measured = workspace.read("edits"), workspace.read("gates")
    set_thresholds(workspace, "[gates.untouched]\nmovement = 0.01\n")
    generator = ToyGenerator()
    told = synth(workspace, replace(SETTINGS, generator=generator))
    assert generator.calls == 0
    # the toy judge sees every finding where it sees one, so all others moved
    assert (told["edited"], told["passed"], told["by_gate"]["untouched"]) == (10, 0, [0, 10])
    after = workspace.read("edits")
    assert not after["passed"].any()
    changed = ["passed", "gating"]
    assert after.drop(columns=changed).equals(before.drop(columns=changed))
    with workspace.connect() as db:
        assert db.execute("SELECT count(*) FROM accepted_edits").fetchone() == (0,)
    # every number is what it was, the drift before paste-back too
    keys = ["edit_id", "gate", "measure"]
    old, new = (t.set_index(keys)["value"].sort_index() for t in (measured, workspace.read("gates")))
    assert old.index.equals(new.index)
    np.testing.assert_allclose(new, old)
    table = edit_table(workspace, plan_id)
    assert not table["gate_untouched"].any()
    assert table["gate_copy"].isna().all()
    set_thresholds(workspace, "")
    assert synth(workspace, SETTINGS)["passed"] == 10


class ToyEncoder:
    size = 16

    def embed(self, images):
        return images.reshape(len(images), -1)[:, ::8].astype(np.float32)


def test_a_near_copy_of_another_patients_film_fails(planned, monkeypatch):
    """With vectors the films are compared; the copied film is one that another patient's film equals."""
    from cars import index

    workspace, _ = planned
    films = workspace.read("films")
    seen = []

    def near_copies(workspace, vectors, subject_ids, threshold):
        seen.extend(subject_ids)
        return pd.DataFrame({"similarity": [0.99 if s == seen[0] else 0.5 for s in subject_ids]})

    monkeypatch.setattr(index, "current", lambda workspace: workspace.path)
    monkeypatch.setattr(index, "encoder", lambda workspace, device: ToyEncoder())
    monkeypatch.setattr(index, "info", lambda workspace: {"key": "toy"})
    monkeypatch.setattr(index, "likeness_of_strangers", lambda workspace: 0.9)
    monkeypatch.setattr(index, "near_copies", near_copies)
    told = synth(workspace, SETTINGS)
    edits = workspace.read("edits").set_index("edit_id")
    copied = edits["source_subject_id"] == seen[0]
    assert set(seen) == set(edits["source_subject_id"]) <= set(films["subject_id"])
    assert told["by_gate"]["copy"] == [int((~copied).sum()), 10]
    assert (edits["passed"] == ~copied).all()


class Doubtful(ToyGenerator):
    """Each seed gives another brightness, so that the judge is not always sure."""

    def edit(self, requests):
        results = super().edit(requests)
        return [
            replace(r, edited=np.where(q.roi, r.edited - q.seed % 97, r.edited).clip(0).astype(np.float32))
            for q, r in zip(requests, results)
        ]


def test_uncertainty_over_the_attempts_and_over_seeds(planned):
    workspace, _ = planned
    settings = replace(SETTINGS, generator=Doubtful())
    synth(workspace, settings)
    cheap = workspace.read("uncertainty")
    assert len(cheap) == 10
    assert set(cheap["m"]) == {1}
    assert (cheap["n"] == cheap["k"]).all()
    assert set(cheap["k"]) <= {1, 2}
    edits = workspace.read("edits")
    # seeds are drawn of the films that are there: K − 1 more of each, and the verdicts stay
    generator = Doubtful()
    synth(workspace, replace(settings, generator=generator, uncertainty=3))
    assert generator.calls == 2  # one a chunk: eight edits and two, two more seeds each, in batches of 16
    assert workspace.read("edits").equals(edits)
    rows = workspace.read("uncertainty")
    dear = rows[rows["k"] == 3]
    assert set(dear["edit_id"]) == set(edits["edit_id"])
    assert set(dear["n"]) == {3}
    assert (dear["mutual"] <= dear["total"] + 1e-12).all()
    assert dear["mutual"].max() > 0
    shown = workspace.query("browse/uncertainty", ids=list(edits["edit_id"]))
    assert len(shown) == 10
    assert set(shown["k"]) == {3}
    again = Doubtful()
    synth(workspace, replace(settings, generator=again, uncertainty=3))
    assert again.calls == 0


def test_seeds_drawn_later_are_those_drawn_at_once(tmp_path):
    found = []
    for name, first in (("later", 0), ("once", 3)):
        workspace = workspace_of(tmp_path / name, 18)
        plan(workspace, PLAN)
        settings = replace(SETTINGS, generator=Doubtful())
        synth(workspace, replace(settings, uncertainty=first))
        synth(workspace, replace(settings, uncertainty=3))
        rows = workspace.read("uncertainty").query("k == 3").merge(workspace.read("edits")[["edit_id", "item"]])
        found.append(rows.sort_values("item")[["item", "total", "mutual"]].to_numpy())
    np.testing.assert_allclose(*found)
    assert len(found[0]) == 10


def test_inpaints_where_the_inversion_does_not_convince(planned):
    workspace, _ = planned
    told = synth(workspace, replace(SETTINGS, generator=ToyGenerator(inverts=False)))
    assert told["passed"] == 10
    assert set(workspace.read("edits")["mode"]) == {"inpaint"}
    only = synth(workspace, replace(SETTINGS, generator=ToyGenerator(inverts=False), mode="inversion"))
    assert only["by_gate"]["judge"] == [0, 10]
    assert only["passed"] == 0


def test_a_sham_that_convinces_the_judge_fails_insertions_only(planned):
    workspace, _ = planned
    told = synth(workspace, replace(SETTINGS, generator=ToyGenerator(sham=200.0)))
    assert told["by_finding"]["Pneumothorax"]["insert"] == [0, 5]
    assert told["by_finding"]["Pleural Effusion"]["delete"] == [5, 5]


def test_an_untrusted_film_is_not_edited_and_says_so(planned):
    workspace, plan_id = planned
    wanted = workspace.records.plan_items(plan_id)["source_dicom_id"][0]
    path = workspace.read("films").set_index("dicom_id").loc[wanted, "path"]
    image = film(np.random.default_rng(0), False)
    image[:6, :6] = 255
    save_png(path, image)
    told = synth(workspace, SETTINGS)
    assert told["edited"] == 9
    assert sum(told["errors"].values()) == 1
    rows = workspace.read("edits")
    bad = rows[rows["error"].notna()].iloc[0]
    assert "trusted" in bad["error"]
    assert not bad["passed"]
    assert bad["film_path"] is None or bad["film_path"] != bad["film_path"]


class TableSegmenter(ToySegmenter):
    """Looks films up: knows all but those in `absent`; edited films are outlined by another."""

    by_id = True
    network = ToySegmenter()

    def __init__(self, absent):
        self.absent, self.asked = absent, []

    def masks(self, images, ids=None):
        self.asked += ids
        found = super().masks(images)
        gone = np.isin(ids, self.absent)
        reasons = tuple("the table has no outlines of this film" if g else "" for g in gone)
        return Masks(found.masks & ~gone[:, None, None, None], np.where(gone, 0, found.confidence), reasons)


def test_a_film_that_a_table_of_outlines_lacks_is_not_edited_and_says_so(planned):
    workspace, plan_id = planned
    sources = workspace.records.plan_items(plan_id)["source_dicom_id"]
    segmenter = TableSegmenter([sources[0]])
    told = synth(workspace, replace(SETTINGS, segmenter=segmenter))
    assert set(segmenter.asked) == set(sources)
    assert told["edited"] == told["passed"] == (sources != sources[0]).sum()
    bad = workspace.read("edits").set_index("source_dicom_id")["error"].dropna()
    assert set(bad.index) == {sources[0]}
    assert bad.str.endswith("the table has no outlines of this film").all()


def test_refuses_a_plan_with_a_test_film(planned):
    workspace, _ = planned
    test = workspace.read("films").query("split == 'test' and view == 'PA'")["dicom_id"].iloc[0]
    item = {"gap_id": "", "source_dicom_id": test, "findings": {"Edema": "insert"}, "seed": 1}
    workspace.records.add_plan({}, [item], "forged")
    with pytest.raises(DataError, match="test"):
        synth(workspace, replace(SETTINGS, plan="forged"))
    assert not workspace.has("edits")


def test_refuses_a_patient_who_has_a_test_film_elsewhere(planned):
    workspace, _ = planned
    films = workspace.read("films")
    films.loc[films["dicom_id"] == "d020", "split"] = "test"  # another film of the same patient stays in train
    workspace.write_part("films", "all", films)
    item = {"gap_id": "", "source_dicom_id": "d021", "findings": {"Edema": "insert"}, "seed": 1}
    workspace.records.add_plan({}, [item], "forged")
    with pytest.raises(DataError, match="validate or test"):
        synth(workspace, replace(SETTINGS, plan="forged"))


def test_cancelling_keeps_what_is_finished(planned):
    workspace, _ = planned

    def stop(done, total, message=""):
        if done:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        synth(workspace, replace(SETTINGS, batch=8), stop)
    # the first chunk was still being written when the second was about to begin
    assert len(workspace.read("edits")) == 8


def test_without_a_plan_it_says_how_to_make_one(tmp_path):
    with pytest.raises(WorkspaceError, match="plan"):
        synth(workspace_of(tmp_path, 2), SETTINGS)


def test_edit_table_shows_gates_and_the_decision_that_counts(planned):
    workspace, plan_id = planned
    assert edit_table(workspace).empty
    synth(workspace, SETTINGS)
    first = workspace.read("edits")["edit_id"].iloc[0]
    workspace.records.decide(first, "reject", "wire bent")
    table = edit_table(workspace, plan_id)
    assert len(table) == 10
    assert table[["gate_judge", "gate_anatomy", "gate_outside", "gate_sham"]].all(axis=None)
    assert table.set_index("edit_id").loc[first, "decision"] == "reject"
    assert table["decision"].notna().sum() == 1
    assert edit_table(workspace, "other").empty


def test_models_that_are_handed_over_are_not_copied(planned):
    """A copy of a network for each row of the plan would cost more than the edit."""
    workspace, _ = planned

    class Heavy(ToyGenerator):
        def __deepcopy__(self, memo):
            raise AssertionError("copied")

    assert synth(workspace, replace(SETTINGS, generator=Heavy()))["edited"] == 10
