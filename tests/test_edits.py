"""Edits of many films at once, against schema.after_edit film by film."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cars import schema
from cars.edits import POSITION, allowed, changes_towards, edit_sets, labels_after

CODES = st.lists(st.sampled_from([1, 0, -1, -2]), min_size=14, max_size=14)
CHANGES = st.dictionaries(
    st.sampled_from(schema.EDITABLE), st.sampled_from(["insert", "delete"]), min_size=1, max_size=3
)


@settings(max_examples=400)
@given(CODES, CHANGES)
def test_labels_after_is_after_edit_for_many_films(codes, changes):
    one = schema.after_edit(dict(zip(schema.FINDINGS, codes, strict=True)), changes)
    before = np.array([codes, codes], dtype=np.int8)
    many = labels_after(before, changes.items())
    assert many[1].tolist() == [one[f] for f in schema.FINDINGS]
    assert before[0].tolist() == codes, "the labels given are left alone"


def test_an_edit_needs_a_film_that_is_sure():
    labels = np.full((4, 14), -2, dtype=np.int8)
    labels[:, POSITION["Edema"]] = [1, 0, -1, -2]
    assert allowed(labels, [("Edema", "insert")]).tolist() == [False, True, False, True]
    assert allowed(labels, [("Edema", "delete")]).tolist() == [True, False, False, False]
    assert allowed(labels, [("Edema", "insert"), ("Pneumonia", "insert")]).tolist() == [False, True, False, True]
    assert not allowed(labels, [("Edema", "insert"), ("Pneumonia", "delete")]).any()


def test_changes_towards_a_pattern():
    assert changes_towards({"sex": "F", "Edema": "present", "Fracture": "present"}) == [("Edema", "insert")]
    assert changes_towards({"Edema": "absent"}) == [("Edema", "delete")]
    assert changes_towards({"Edema": "uncertain"}) == []
    assert {d for _, d in changes_towards({"No Finding": "present"})} == {"delete"}
    assert {f for f, _ in changes_towards({"Lung Opacity": "present"})} == set(schema.HIERARCHY["Lung Opacity"])
    assert changes_towards({"Enlarged Cardiomediastinum": "absent"}) == [("Cardiomegaly", "delete")]


def test_edit_sets_hold_each_finding_once_and_the_smallest_first():
    sets = edit_sets([("Edema", "insert"), ("Edema", "delete"), ("Atelectasis", "insert")], 2)
    assert sets == [
        (("Atelectasis", "insert"),), (("Edema", "delete"),), (("Edema", "insert"),),
        (("Atelectasis", "insert"), ("Edema", "delete")), (("Atelectasis", "insert"), ("Edema", "insert")),
    ]  # fmt: skip
