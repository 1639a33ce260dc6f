import pytest
from hypothesis import given
from hypothesis import strategies as st

from cars.schema import (
    ABSENT,
    COLUMN_OF,
    FINDINGS,
    HIERARCHY,
    NOT_MENTIONED,
    PRESENT,
    UNCERTAIN,
    after_edit,
    age_band,
    view_of,
)  # fmt: skip

BLANK = dict.fromkeys(FINDINGS, NOT_MENTIONED)


def test_words():
    assert len(FINDINGS) == 14
    assert COLUMN_OF["Pleural Effusion"] == "pleural_effusion"
    assert [age_band(a) for a in (0, 17.9, 18, 59, 60, 80, 91, None, float("nan"), -1)] == [
        "0–17", "0–17", "18–39", "40–59", "60–79", "80+", "80+", "unknown", "unknown", "unknown",
    ]  # fmt: skip
    assert [view_of(v) for v in ("PA", "ap", "LL", "LATERAL", "LPO", "", None)] == [
        "PA", "AP", "lateral", "lateral", "other", "unknown", "unknown",
    ]  # fmt: skip


def test_insertion_marks_parents_and_clears_no_finding():
    got = after_edit(BLANK | {"No Finding": PRESENT}, {"Lung Lesion": "insert"})
    assert got["Lung Lesion"] == got["Lung Opacity"] == PRESENT
    assert got["No Finding"] == NOT_MENTIONED
    assert got["Edema"] == NOT_MENTIONED


def test_support_devices_leave_no_finding_alone():
    assert after_edit(BLANK | {"No Finding": PRESENT}, {"Support Devices": "insert"})["No Finding"] == PRESENT


def test_deletion_keeps_a_parent_with_another_child():
    source = BLANK | {"Edema": PRESENT, "Pneumonia": PRESENT, "Lung Opacity": PRESENT}
    got = after_edit(source, {"Edema": "delete"})
    assert (got["Edema"], got["Lung Opacity"], got["No Finding"]) == (ABSENT, PRESENT, NOT_MENTIONED)
    both = after_edit(source, {"Edema": "delete", "Pneumonia": "delete"})
    assert (both["Lung Opacity"], both["No Finding"]) == (ABSENT, PRESENT)


def test_an_uncertain_finding_keeps_no_finding_unsaid():
    source = BLANK | {"Edema": PRESENT, "Pneumothorax": UNCERTAIN}
    assert after_edit(source, {"Edema": "delete"})["No Finding"] == NOT_MENTIONED


def test_only_insert_and_delete():
    with pytest.raises(ValueError, match="'change'"):
        after_edit(BLANK, {"Edema": "change"})


@given(
    st.fixed_dictionaries({f: st.sampled_from([PRESENT, ABSENT, UNCERTAIN, NOT_MENTIONED]) for f in FINDINGS}),
    st.sampled_from([f for f in FINDINGS if f != "No Finding"]),
    st.sampled_from(["insert", "delete"]),
)
def test_after_edit_is_consistent(source, finding, direction):
    got = after_edit(source, {finding: direction})
    assert got[finding] == (PRESENT if direction == "insert" else ABSENT)
    if direction == "insert":
        for parent, children in HIERARCHY.items():
            if finding in children:
                assert got[parent] == PRESENT
    assert set(got) == set(FINDINGS)
