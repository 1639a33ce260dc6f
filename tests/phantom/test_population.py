"""The population: planted holes hold, splits are by patient, shares are near MIMIC-CXR's."""

from collections import Counter, defaultdict

import pytest

from cars.errors import SettingError
from cars.phantom.population import HOLES, in_hole, sample_population
from cars.schema import FINDINGS, HIERARCHY


@pytest.fixture(scope="module")
def rows():
    return sample_population(6000, seed=0)


def test_holes_are_empty_and_not_for_want_of_people(rows):
    assert len(HOLES) >= 6
    for hole in HOLES:
        assert not any(in_hole(hole, r.view, r.sex, r.age, r.race, r.findings) for r in rows), hole
        said = [{f for f, value in r.labels.items() if value == 1.0} for r in rows]
        assert not any(in_hole(hole, r.view, r.sex, r.age, r.race, s) for r, s in zip(rows, said, strict=True)), hole
        for word in hole:  # each more general pattern is there
            wider = {k: v for k, v in hole.items() if k != word}
            assert sum(in_hole(wider, r.view, r.sex, r.age, r.race, r.findings) for r in rows) >= 5, (hole, word)


def test_splits_are_by_patient(rows):
    splits = defaultdict(set)
    for row in rows:
        splits[row.subject_id].add(row.split)
    assert all(len(found) == 1 for found in splits.values())
    share = Counter(next(iter(found)) for found in splits.values())
    total = len(splits)
    assert share["train"] / total == pytest.approx(0.7, abs=0.04)
    assert share["validate"] / total == pytest.approx(0.1, abs=0.03)
    assert share["test"] / total == pytest.approx(0.2, abs=0.04)


def test_ids_and_studies(rows):
    assert len(rows) == 6000
    assert len({r.dicom_id for r in rows}) == 6000
    patient, view_count, studies = {}, Counter(), defaultdict(set)
    for row in rows:
        assert patient.setdefault(row.study_id, row.subject_id) == row.subject_id
        view_count[row.study_id] += 1
        studies[row.subject_id].add(row.study_id)
        assert len(str(row.subject_id)) == 8
        assert str(row.subject_id)[0] == "1"
        assert str(row.study_id)[0] == "5"
    assert set(view_count.values()) == {1, 2}
    assert min(map(len, studies.values())) >= 1
    assert max(map(len, studies.values())) <= 4


def test_findings_are_about_as_common_as_in_mimic(rows):
    studies = {r.study_id: r for r in rows}.values()
    present = Counter(f for r in studies for f, value in r.labels.items() if value == 1.0)
    mimic = {
        "Atelectasis": 19.8, "Cardiomegaly": 17.1, "Consolidation": 4.6, "Edema": 11.5, "Lung Lesion": 2.7,
        "No Finding": 33.2, "Lung Opacity": 22.2, "Pleural Effusion": 23.2, "Pneumonia": 6.9, "Pneumothorax": 4.1,
        "Support Devices": 28.7,
    }  # fmt: skip
    for finding, percent in mimic.items():
        assert 0.6 * percent < 100 * present[finding] / len(studies) < 1.5 * percent, finding
    assert all(present[f] > 0 for f in FINDINGS)


def test_findings_go_together_as_in_a_hospital(rows):
    studies = list({r.study_id: r for r in rows}.values())

    def share(finding, chosen):
        return sum(finding in r.findings for r in chosen) / len(chosen)

    failing = [r for r in studies if "Cardiomegaly" in r.findings]
    assert share("Pleural Effusion", failing) > 1.4 * share("Pleural Effusion", studies)
    assert share("Edema", failing) > 1.4 * share("Edema", studies)
    portable = [r for r in studies if r.view == "AP"]
    assert share("Support Devices", portable) > 1.4 * share("Support Devices", [r for r in studies if r.view != "AP"])
    leaking = [r for r in studies if "Pneumothorax" in r.findings]
    assert share("Support Devices", leaking) > 1.3 * share("Support Devices", studies)


def test_labels_never_claim_what_is_not_drawn(rows):
    for row in rows:
        claimed = {f for f, value in row.labels.items() if value == 1.0}
        assert claimed <= row.findings
        assert not ("No Finding" in claimed and claimed - {"No Finding", "Support Devices"})
        for parent, children in HIERARCHY.items():
            if row.findings & set(children):
                assert parent in row.findings
    values = Counter(value for row in rows for value in row.labels.values())
    assert values[-1.0] / len(rows) > 0.1


def test_a_longer_population_extends_a_shorter():
    short, long = sample_population(40, 3), sample_population(80, 3)
    assert long[:40] == short
    assert sample_population(40, 4) != short
    with pytest.raises(SettingError, match="0"):
        sample_population(0)
