"""The gates, each way, on cases made by hand."""

from __future__ import annotations

from math import isnan, nan

import numpy as np
import pytest

from cars.errors import DataError, SettingError
from cars.gates import Evidence, Measure, ask, collateral, gates_of, names, passed
from cars.gates.anatomy import AnatomyGate
from cars.gates.judge import JudgeGate
from cars.gates.near_copy import CopyGate
from cars.gates.outside import OutsideGate
from cars.gates.sham import ShamGate
from cars.gates.untouched import UntouchedGate
from cars.schema import FINDINGS
from cars.segmenters import Masks
from cars.synth.gating import Edited, run_gates

EFFUSION = FINDINGS.index("Pleural Effusion")
OPACITY = FINDINGS.index("Lung Opacity")
PNEUMONIA = FINDINGS.index("Pneumonia")
FRACTURE = FINDINGS.index("Fracture")
THRESHOLDS = np.full(14, 0.5, dtype=np.float32)
#: Below 0.4 surely absent, from 0.6 on surely present.
SURE = np.tile(np.float32([0.4, 0.6]), (14, 1))
INSERT = {"Pleural Effusion": "insert"}
DELETE = {"Pleural Effusion": "delete"}


def vector(**values: float) -> np.ndarray:
    """Probabilities of 0.1, but for the columns named."""
    from cars.schema import COLUMN_OF

    result = np.full(14, 0.1, dtype=np.float32)
    for name, value in values.items():
        result[list(COLUMN_OF.values()).index(name)] = value
    return result


def evidence(changes: dict[str, str], **known) -> Evidence:
    """Evidence of an edit that changed nothing, but for what is named."""
    film = np.zeros((8, 8), np.uint8)
    given = {
        "source": film, "edited": film, "roi": film > 0, "before": vector(), "after": vector(),
        "thresholds": THRESHOLDS, "sure": SURE, "masks_before": organs(), "masks_after": organs(),
        "small_roi": NOTHING,
    }  # fmt: skip
    return Evidence(changes, **{**given, **known})


def judge_gate(before, after, thresholds, changes, gate=None) -> list[Measure]:
    return (gate or JudgeGate()).measures(evidence(changes, before=before, after=after, thresholds=thresholds))


def anatomy_gate(before, after, roi, changes, gate=None) -> list[Measure]:
    return (gate or AnatomyGate()).measures(evidence(changes, masks_before=before, masks_after=after, small_roi=roi))


def outside_gate(source, edited, roi, drift=nan) -> list[Measure]:
    return OutsideGate().measures(evidence(INSERT, source=source, edited=edited, roi=roi, drift=drift))


def sham_gate(sham, thresholds, changes) -> list[Measure]:
    return ShamGate().measures(evidence(changes, sham=sham, thresholds=thresholds))


@pytest.mark.parametrize(
    ("before", "after", "changes", "expected"),
    [
        (0.1, 0.9, INSERT, True),
        (0.1, 0.5, INSERT, True),  # the threshold itself is present
        (0.1, 0.49, INSERT, False),
        (0.6, 0.9, INSERT, False),  # it was there already: nothing crossed
        (0.9, 0.1, DELETE, True),
        (0.9, 0.5, DELETE, False),
        (0.4, 0.1, DELETE, False),
        (0.9, 0.95, DELETE, False),
    ],
)
def test_judge_must_cross_the_right_way(before: float, after: float, changes: dict[str, str], expected: bool) -> None:
    rows = judge_gate(vector(pleural_effusion=before), vector(pleural_effusion=after), THRESHOLDS, changes)
    assert passed(rows, "judge") is expected


def test_an_untrained_finding_never_passes() -> None:
    thresholds = THRESHOLDS.copy()
    thresholds[EFFUSION] = nan
    rows = judge_gate(vector(), vector(pleural_effusion=0.9), thresholds, INSERT)
    assert not passed(rows)
    assert "not judged" in rows[0].measure


def test_both_changes_must_cross() -> None:
    changes = {"Pleural Effusion": "insert", "Fracture": "delete"}
    good = judge_gate(vector(fracture=0.9), vector(pleural_effusion=0.9), THRESHOLDS, changes)
    half = judge_gate(vector(fracture=0.9), vector(pleural_effusion=0.9, fracture=0.9), THRESHOLDS, changes)
    assert passed(good)
    assert not passed(half)


def test_collateral_counts_others_and_not_relatives() -> None:
    before, after = vector(), vector(pneumonia=0.9, lung_opacity=0.9, no_finding=0.9, fracture=0.9)
    assert collateral(before, after, SURE, {"Pneumonia": "insert"}) == 1
    assert collateral(after, before, SURE, {"Pneumonia": "insert"}) == 1
    assert collateral(before, after, SURE, {"Lung Opacity": "insert"}) == 1
    assert collateral(before, after, SURE, {"Edema": "insert"}) == 2
    # pneumonia looks like consolidation, so an edit of one concerns the other; it is no relative of any third
    assert collateral(before, after, SURE, {"Consolidation": "insert"}) == 1
    unknown = SURE.copy()
    unknown[FRACTURE] = nan
    assert collateral(before, after, unknown, {"Pneumonia": "insert"}) == 0


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(0.39, 0.6, 1), (0.6, 0.39, 1), (0.4, 0.9, 0), (0.1, 0.59, 0), (0.6, 0.4, 0), (0.1, 0.39, 0), (0.7, 0.9, 0)],
)
def test_a_finding_changes_sides_only_where_the_judge_is_sure_twice(before, after, expected) -> None:
    films = [vector(fracture=before), vector(fracture=after)]
    assert collateral(*films, SURE, INSERT) == expected
    rows = UntouchedGate().measures(evidence(INSERT, before=films[0], after=films[1]))
    assert rows[0].value == expected
    assert passed(rows) is (expected == 0)
    assert passed(UntouchedGate(others=1).measures(evidence(INSERT, before=films[0], after=films[1])))


def organs(size: int = 100) -> np.ndarray:
    """Two rectangular lungs with a heart between and over them."""
    masks = np.zeros((3, size, size), dtype=bool)
    masks[0, 20:80, 58:88] = True
    masks[1, 20:80, 12:42] = True
    masks[2, 50:80, 38:66] = True
    return masks


NOTHING = np.zeros((100, 100), dtype=bool)


def test_same_anatomy_passes() -> None:
    rows = anatomy_gate(organs(), organs(), NOTHING, {"Edema": "insert"})
    assert passed(rows)
    assert [row.measure for row in rows] == ["left lung Dice", "right lung Dice", "heart Dice", "CTR drift"]
    assert [row.value for row in rows] == [1.0, 1.0, 1.0, 0.0]


def test_a_smaller_lung_fails_unless_the_finding_itself_hides_it() -> None:
    shorter = organs()
    shorter[0, 60:] = False  # a third of the left lung: Dice 2·40 / (40 + 60) = 0.8
    base = NOTHING.copy()
    base[58:85, 55:90] = True
    edema = anatomy_gate(organs(), shorter, base, {"Edema": "insert"})
    assert edema[0].value == pytest.approx(0.8)
    assert not passed(edema)
    assert passed(anatomy_gate(organs(), shorter, base, INSERT))
    # the same loss elsewhere than the effusion's own region is not excused
    assert not passed(anatomy_gate(organs(), shorter, np.roll(base, -30, axis=0), INSERT))


def test_an_organ_wholly_inside_the_roi_is_not_asked_for() -> None:
    over_heart = NOTHING.copy()
    over_heart[45:85, 33:71] = True
    grown = organs()
    grown[2, 50:80, 38:72] = True
    rows = {row.measure: row for row in anatomy_gate(organs(), grown, over_heart, {"Cardiomegaly": "insert"})}
    assert isnan(rows["heart Dice outside the ROI"].value)
    assert rows["heart Dice outside the ROI"].passed


def test_ctr_may_drift_for_cardiomegaly_only() -> None:
    grown = organs()
    grown[2, 50:80, 38:72] = True  # 34 instead of 28 columns of 76: +0.079
    everything = ~NOTHING
    row = anatomy_gate(organs(), grown, everything, {"Cardiomegaly": "insert"})[-1]
    assert row.value == pytest.approx(6 / 76)
    assert row.passed
    assert not anatomy_gate(organs(), grown, everything, {"Edema": "insert"})[-1].passed
    assert anatomy_gate(organs(), grown, everything, {"Edema": "insert"}, AnatomyGate(ctr_drift=0.08))[-1].passed
    # an effusion may hide the heart's edge, but only where it lies itself
    assert anatomy_gate(organs(), grown, everything, INSERT)[-1].passed
    assert not anatomy_gate(organs(), grown, NOTHING, INSERT)[-1].passed


def test_masks_that_are_lost_fail() -> None:
    lost = organs()
    lost[2] = False
    assert not passed(anatomy_gate(organs(), lost, NOTHING, {"Edema": "insert"}))
    assert not passed(anatomy_gate(lost, organs(), NOTHING, {"Edema": "insert"}))


def test_one_pixel_outside_fails() -> None:
    source = np.random.default_rng(0).integers(0, 256, (50, 60), dtype=np.uint8)
    roi = np.zeros((50, 60), dtype=bool)
    roi[10:20, 10:20] = True
    edited = source.copy()
    edited[10:20, 10:20] = 255 - edited[10:20, 10:20]
    rows = outside_gate(source, edited, roi, drift=1.5)
    assert passed(rows)
    assert rows[1].value == 1.5
    edited[0, 0] ^= 1
    assert not passed(outside_gate(source, edited, roi))
    with pytest.raises(DataError, match="differ in size"):
        outside_gate(source, edited[:-1], roi)


def test_wrap_around_of_uint8_does_not_hide_a_change() -> None:
    source, edited = np.zeros((4, 4), dtype=np.uint8), np.zeros((4, 4), dtype=np.uint8)
    edited[0, 0] = 255
    assert outside_gate(source, edited, np.zeros((4, 4), dtype=bool))[0].value == 255


def test_sham_gates_insertions_and_is_reported_for_deletions() -> None:
    convincing, dull = vector(pleural_effusion=0.9), vector(pleural_effusion=0.2)
    assert passed(sham_gate(dull, THRESHOLDS, INSERT))
    assert not passed(sham_gate(convincing, THRESHOLDS, INSERT))
    assert not passed(sham_gate(None, THRESHOLDS, INSERT))
    deletion = sham_gate(dull, THRESHOLDS, DELETE)
    assert passed(deletion)
    assert deletion[0].value == pytest.approx(0.2)


class BrightnessJudge:
    """Calls a film effused in proportion to the brightness of its lower half."""

    size = 32
    thresholds = THRESHOLDS
    #: it sees all findings alike, so it is sure of none
    sure = np.tile(np.float32([-1, 2]), (14, 1))

    def __init__(self) -> None:
        self.calls = 0

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        self.calls += 1
        assert images.shape[1:] == (32, 32)
        result = np.full((len(images), 14), 0.1, dtype=np.float32)
        result[:, EFFUSION] = images[:, 16:].mean(axis=(1, 2)) / 255
        return result


class FixedSegmenter:
    """The same organs for every film."""

    size = 100

    def __init__(self) -> None:
        self.calls = 0

    def masks(self, images: np.ndarray) -> Masks:
        self.calls += 1
        return Masks(np.repeat(organs()[None], len(images), axis=0), np.ones(len(images), dtype=np.float32))


def test_many_films_of_different_sizes_take_one_call_each() -> None:
    edits = []
    for k, shape in enumerate([(64, 64), (80, 64), (64, 96)]):
        source = np.full(shape, 40, dtype=np.uint8)
        roi = np.zeros(shape, dtype=bool)
        roi[shape[0] // 2 :] = True
        edited, sham = source.copy(), source.copy()
        edited[roi] = 250
        if k == 2:
            edited[0, 0] = 41
        # the middle one is a deletion without a sham, so that shams and films must not slip past each other
        if k == 1:
            edits.append(Edited(edited, source, roi, DELETE))
        else:
            edits.append(Edited(source, edited, roi, INSERT, sham, drift=0.5))
    judge, segmenter = BrightnessJudge(), FixedSegmenter()
    result = run_gates(edits, judge, segmenter)
    assert (judge.calls, segmenter.calls) == (1, 1)
    assert [passed(rows) for rows in result] == [True, True, False]
    assert not passed(result[2], "outside")
    assert passed(result[2], "judge")
    for rows in result:
        assert list(dict.fromkeys(row.gate for row in rows)) == names()
        assert len({(row.gate, row.measure) for row in rows}) == len(rows)
    assert run_gates([], judge, segmenter) == []


def test_each_film_is_compared_with_strangers_of_its_own_patient() -> None:
    class Neighbours:
        strangers = 0.9

        def likeness(self, films, subject_ids):
            assert [f.mean() for f in films] == [250, 40]
            return np.array([{"p1": 0.95, "p2": 0.5}[s] for s in subject_ids])

    films = [np.full((40, 40), v, np.uint8) for v in (250, 40)]
    roi = np.ones((40, 40), bool)
    edits = [
        Edited(films[1], films[0], roi, INSERT, films[1], subject_id="p1"),
        Edited(films[0], films[1], roi, DELETE, films[1], subject_id="p2"),
    ]
    rows = run_gates(edits, BrightnessJudge(), FixedSegmenter(), neighbours=Neighbours())
    assert [passed(r, "copy") for r in rows] == [False, True]
    alone = run_gates(edits, BrightnessJudge(), FixedSegmenter())
    assert [r.passed for rows in alone for r in rows if r.gate == "copy"] == [None, None]


def test_passed_reads_one_gate_or_all() -> None:
    rows = [Measure("judge", "a", 1, 0, 1, True), Measure("sham", "b", 1, 0, 1, False)]
    assert passed(rows, "judge")
    assert not passed(rows, "sham")
    assert not passed(rows)
    assert passed([Measure("copy", "not checked", nan, -1, 1, None)])


def test_other_findings_may_move_as_much_as_the_limit() -> None:
    before, after = vector(), vector(pleural_effusion=0.9, fracture=0.35, pneumonia=0.2)
    rows = UntouchedGate(movement=0.25).measures(evidence(INSERT, before=before, after=after))
    assert rows[1].value == pytest.approx(0.25)
    assert passed(rows)
    assert not passed(UntouchedGate(movement=0.2).measures(evidence(INSERT, before=before, after=after)))
    # a fall counts as much as a rise, a relative of the changed finding not at all, and without a limit nothing fails
    assert not passed(UntouchedGate(movement=0.2).measures(evidence(INSERT, before=after, after=before)))
    assert passed(UntouchedGate().measures(evidence(INSERT, before=after, after=before)))
    opacity = evidence({"Pneumonia": "insert"}, after=vector(lung_opacity=0.9))
    assert [row.value for row in UntouchedGate().measures(opacity)] == [0, 0]


def test_untouched_counts_no_finding_that_the_judge_does_not_know() -> None:
    thresholds = THRESHOLDS.copy()
    thresholds[FRACTURE] = nan
    after = vector(fracture=0.9)
    sure = np.stack([thresholds, thresholds], axis=1)
    rows = UntouchedGate().measures(evidence(INSERT, after=after, thresholds=thresholds, sure=sure))
    assert [row.value for row in rows] == [0, 0]
    [row] = UntouchedGate().measures(evidence(INSERT, after=after, thresholds=np.full(14, nan)))
    assert row.passed is None
    assert "not checked" in row.measure


@pytest.mark.parametrize(
    ("likeness", "strangers", "limit", "expected"),
    [
        (0.90, 0.95, None, True), (0.95, 0.95, None, False), (0.97, 0.95, None, False), (0.97, 0.95, 0.98, True),
        (0.90, 0.95, 0.85, False), (nan, 0.95, None, None), (nan, nan, 0.9, None), (0.9, nan, 0.95, True),
    ],
)  # fmt: skip
def test_a_near_copy_of_a_stranger_fails_and_none_looked_up_says_so(likeness, strangers, limit, expected) -> None:
    [row] = CopyGate(similarity=limit).measures(evidence(INSERT, likeness=likeness, strangers=strangers))
    assert row.passed is expected
    assert ("not checked" in row.measure) == (expected is None)


def test_a_gate_that_is_not_required_keeps_its_numbers_and_decides_nothing() -> None:
    seen = evidence(INSERT, after=vector(pleural_effusion=0.2))
    [strict], [loose] = ([r for r in ask([JudgeGate(required=q)], seen) if "after" in r.measure] for q in (True, False))
    assert (strict.passed, loose.passed) == (False, None)
    assert (strict.value, strict.low) == (loose.value, loose.low)
    assert passed([loose])


def test_thresholds_come_from_the_workspace_and_the_environment() -> None:
    file = {"gates": {"anatomy": {"lung_dice": 0.9, "ctr_drift": 0.1}, "untouched": {"required": True}}}
    by_name = {g.name: g for g in gates_of(file, {"CARS_GATES_ANATOMY_LUNG_DICE": "0.8"})}
    assert (by_name["anatomy"].lung_dice, by_name["anatomy"].ctr_drift) == (0.8, 0.1)
    assert by_name["untouched"].required
    assert by_name["judge"] == JudgeGate()
    assert list(by_name) == names() == ["judge", "anatomy", "outside", "sham", "untouched", "copy"]
    for wrong, said in (({"anatomi": {}}, "anatomi"), ({"untouched": {"other": 1}}, "other"),
                        ({"anatomy": {"lung_dice": 2}}, "2")):  # fmt: skip
        with pytest.raises(SettingError, match=said):
            gates_of({"gates": wrong}, {})


@pytest.mark.parametrize("finding", ["Pneumothorax", "Cardiomegaly", "Consolidation"])
def test_the_true_counterfactual_passes_and_its_source_does_not(finding: str) -> None:
    """The phantom knows the ideal edit; the packaged judge and segmenter must let most of those through."""
    from cars import phantom
    from cars.segmenters.cars_unet import CarsSegmenter
    from cars.synth.judge import Judge
    from cars.synth.roi import roi_for

    rng = np.random.default_rng(5)
    ideal, idle = [], []
    for k in range(8):
        anatomy = phantom.sample_anatomy(rng, "FM"[k % 2], 40 + 5 * k)
        healthy = phantom.sample_film(rng, anatomy, "PA")
        ill = phantom.with_finding(healthy, phantom.draw_finding(rng, finding, anatomy, severity=0.7))
        before, after = (phantom.render(spec, 160, masks=False) for spec in (healthy, ill))
        roi = roi_for(finding, "delete", before.masks, rng) | roi_for(finding, "delete", after.masks, rng)
        pasted = np.where(roi, after.image, before.image)
        ideal.append(Edited(before.image, pasted, roi, {finding: "insert"}, before.image))
        idle.append(Edited(before.image, before.image, roi, {finding: "insert"}, before.image))
    judge, segmenter = Judge.load(device="cpu"), CarsSegmenter().load("cpu")
    assert np.mean([passed(rows) for rows in run_gates(ideal, judge, segmenter)]) >= 0.75
    assert not any(passed(rows) for rows in run_gates(idle, judge, segmenter))
