"""What the released models are told: all changed findings, both signs, each model's style."""

import numpy as np
import pytest

from cars.errors import SettingError
from cars.generators import _prompts
from cars.generators._prompts import GENERIC, PHRASES, RADEDIT, ROENTGEN_V2, person, prompts, side_of
from cars.schema import ABSENT, EDITABLE, FINDINGS, PRESENT
from cars.synth.editing import local_vectors


def test_an_insertion_into_a_normal_film_in_each_style(request_of):
    normal = {f: ABSENT for f in FINDINGS} | {"No Finding": PRESENT}
    before, after = local_vectors(normal, {"Pneumothorax": "insert"})
    asked = request_of(vector_from=before, vector_to=after)
    assert prompts(asked, RADEDIT) == (
        "No acute cardiopulmonary process. No pneumothorax.", "Left pneumothorax."
    )  # fmt: skip
    assert prompts(asked, ROENTGEN_V2)[1] == "60 year old female. Left pneumothorax."
    assert prompts(asked, GENERIC)[1] == "PA chest radiograph, 60 year old female. Left pneumothorax."


def test_a_deletion_says_what_goes_and_that_nothing_is_left(request_of):
    labels = {f: ABSENT for f in FINDINGS} | {"Consolidation": PRESENT, "Lung Opacity": PRESENT}
    before, after = local_vectors(labels, {"Consolidation": "delete"})
    source, target = prompts(request_of(vector_from=before, vector_to=after), RADEDIT)
    assert source == "Left lung consolidation."
    assert target == "No acute cardiopulmonary process. No focal consolidation."


def test_every_change_is_told_with_its_sign(request_of):
    """Two findings go different ways, one stays; a label-only prompt would lose one of them."""
    before = {"edema": 1, "pleural_effusion": 0, "cardiomegaly": 1}
    source, target = prompts(request_of(before, {**before, "edema": 0, "pleural_effusion": 1}), RADEDIT)
    assert source == "Cardiomegaly. Pulmonary edema. No pleural effusion."
    assert target == "Cardiomegaly. No pulmonary edema. Left pleural effusion."


def test_what_the_film_lacks_and_the_edit_leaves_is_not_told(request_of):
    source, target = prompts(
        request_of({"pneumothorax": 0, "edema": 0}, {"pneumothorax": 1, "edema": 0}), RADEDIT
    )  # fmt: skip
    assert "edema" not in source + target


def test_a_sham_is_told_what_the_edit_was_told_of_its_source(request_of):
    asked = request_of({"edema": 0, "cardiomegaly": 1}, {"edema": 1, "cardiomegaly": 1})
    source, target = prompts(asked, ROENTGEN_V2)
    assert source != target
    assert prompts(asked.sham(), ROENTGEN_V2) == (source, source)
    assert "No pulmonary edema" in source
    assert prompts(asked.sham().sham(), ROENTGEN_V2) == (source, source)


@pytest.mark.parametrize("finding", EDITABLE)
@pytest.mark.parametrize("style", [RADEDIT, ROENTGEN_V2, GENERIC], ids=lambda s: s.name)
def test_every_editable_finding_has_words_that_tell_it_from_its_absence(request_of, finding, style):
    n = FINDINGS.index(finding)
    before, after = np.full(14, -2, np.int8), np.full(14, -2, np.int8)
    before[n], after[n] = 0, 1
    source, target = prompts(request_of(vector_from=before, vector_to=after), style)
    assert source != target
    assert "{" not in source + target
    assert prompts(request_of(vector_from=after, vector_to=before), style) == (target, source)


def test_there_are_words_for_all_findings_and_no_two_are_alike():
    assert set(PHRASES) == set(FINDINGS) - {"No Finding"}
    said = [words for pair in PHRASES.values() for words in pair]
    assert len(set(said)) == len(said)


def test_an_uncertain_finding_is_possible(request_of):
    source, _ = prompts(request_of({"pneumonia": -1}, {"pneumonia": 1}), RADEDIT)
    assert source == "Possible left pneumonia."


def test_a_change_without_words_is_refused(request_of):
    with pytest.raises(SettingError, match="No Finding"):
        prompts(request_of({"no_finding": 0}, {"no_finding": -2}), RADEDIT)


def test_sides():
    left, right = np.zeros((2, 10, 10), bool)
    left[:, 6:], right[:, :4] = True, True
    masks = np.stack([left, right, np.zeros_like(left)])
    assert side_of(left, masks) == "left"
    assert side_of(right, masks) == "right"
    assert side_of(left | right, masks) == "bilateral"
    assert side_of(~(left | right), masks) == ""
    mostly = left.copy()
    mostly[0, 0] = True  # 1 of 41 pixels in the other lung
    assert side_of(mostly, masks) == "left"


def test_without_a_lung_there_is_no_side(request_of):
    asked = request_of()
    assert prompts(request_of(roi=~asked.masks.any(0)), RADEDIT)[1] == "Pneumothorax."


@pytest.mark.parametrize(
    ("sex", "age", "words"),
    [("F", 60.4, "60 year old female"), ("M", None, "male"), ("unknown", 7.0, "7 year old patient"),
     ("unknown", None, ""), ("M", float("nan"), "male")],
)  # fmt: skip
def test_demographics_as_far_as_they_are_known(request_of, sex, age, words):
    assert person(request_of(sex=sex, age=age)) == words


def test_other_phrases_are_another_revision(monkeypatch):
    old = RADEDIT.revision, ROENTGEN_V2.revision
    assert old[0] != old[1], "what is said of the person counts"
    monkeypatch.setitem(_prompts.PHRASES, "Edema", ("interstitial edema", "no edema"))
    assert RADEDIT.revision != old[0]
