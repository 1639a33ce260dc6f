"""What every registered gate promises; a new one is tested as soon as its file exists."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from cars.gates import GATES, Evidence, Gate, ask, gates_of, names
from cars.schema import FINDINGS
from cars.synth.tables import GATE_ROWS

pytestmark = pytest.mark.parametrize("name", GATES.names())


def evidence(changes: dict[str, str], seed: int = 0, **known) -> Evidence:
    """An edit that brightens its ROI, with probabilities, outlines and neighbours drawn from a seed."""
    rng = np.random.default_rng(seed)
    source = rng.integers(0, 200, (40, 50), dtype=np.uint8)
    roi = np.zeros(source.shape, bool)
    roi[10:30, 10:30] = True
    masks = np.zeros((3, 32, 32), bool)
    masks[0, 6:26, 18:28], masks[1, 6:26, 4:14], masks[2, 16:26, 11:21] = True, True, True
    given = {
        "source": source, "edited": np.where(roi, source + 50, source).astype(np.uint8), "roi": roi,
        "before": rng.random(14), "after": rng.random(14), "thresholds": np.full(14, 0.5),
        "sure": np.tile([0.4, 0.6], (14, 1)), "masks_before": masks,
        "masks_after": np.roll(masks, 1, axis=1), "small_roi": masks[0], "sham": rng.random(14), "drift": 1.0,
        "likeness": 0.8, "strangers": 0.9,
    }  # fmt: skip
    return Evidence(changes, **{**given, **known})


CASES = [
    evidence({"Edema": "insert"}),
    evidence({"Pleural Effusion": "delete"}, 1),
    evidence({"Pneumonia": "insert", "Pneumothorax": "delete"}, 2),
    # nothing known: no sham, no outlines, an untrained judge, no vectors
    evidence(
        {"Edema": "insert"}, 3, sham=None, drift=math.nan, likeness=math.nan, strangers=math.nan,
        masks_before=np.zeros((3, 32, 32), bool), masks_after=np.zeros((3, 32, 32), bool),
        before=np.full(14, math.nan), after=np.full(14, math.nan), thresholds=np.full(14, math.nan),
    ),
]  # fmt: skip


def test_says_what_it_is(name):
    kind = GATES.get(name)
    assert issubclass(kind, Gate)
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    assert kind.name == name
    assert kind.help.endswith(".")
    assert kind.__doc__
    assert [GATES.get(n).order for n in names()] == sorted({GATES.get(n).order for n in GATES.names()})
    for field in dataclasses.fields(kind):
        assert field.metadata["help"], f"the setting {field.name} has its sentence"


def test_measures_are_rows_of_the_table(name):
    gate = GATES.get(name)()
    for case in CASES:
        rows = gate.measures(case)
        assert rows
        assert len({row.measure for row in rows}) == len(rows)
        for row in rows:
            assert row.gate == name
            assert row.passed in (True, False, None)
            assert type(row.value) is float
            if row.passed and (row.low > -math.inf or row.high < math.inf):
                assert row.low <= row.value <= row.high
            if row.passed is None:
                assert math.isnan(row.value)
                assert row.measure.endswith("not checked")
        table = GATE_ROWS.table([{"edit_id": "e", **vars(row)} for row in rows])
        assert table.num_rows == len(rows)


def test_the_same_evidence_gives_the_same_rows_and_stays_as_it_was(name):
    gate = GATES.get(name)()
    for case in CASES:
        before = {k: np.copy(v) for k, v in vars(case).items() if isinstance(v, np.ndarray)}
        assert repr(gate.measures(case)) == repr(gate.measures(case))
        for key, value in before.items():
            np.testing.assert_array_equal(getattr(case, key), value)


def test_some_edit_fails_it_and_some_edit_passes_it(name):
    """A gate that lets everything through, or nothing, is no gate. Random evidence, with and without each flaw."""
    gate = GATES.get(name)()
    verdicts = set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        change = {FINDINGS[int(rng.integers(0, 14))]: "insert"}
        before = np.where(rng.random(14) < 0.7, 0.04, 0.96)
        case = evidence(
            change, seed, before=before, after=np.clip(before + rng.choice([0, 0.9], p=[0.8, 0.2]), 0, 1),
            sham=rng.random(14), likeness=float(rng.uniform(0.7, 1)),
        )  # fmt: skip
        if rng.random() < 0.5:
            case = dataclasses.replace(case, masks_after=case.masks_before)
        if rng.random() < 0.5:
            flaw = case.edited.copy()
            flaw[0, 0] ^= 1
            case = dataclasses.replace(case, edited=flaw)
        verdicts.add(all(row.passed for row in gate.measures(case)))
    assert verdicts == {True, False}


def test_its_settings_are_layered_and_can_switch_it_off(name):
    [gate] = [g for g in gates_of({"gates": {name: {"required": False}}}, {}) if g.name == name]
    assert {row.passed for case in CASES for row in ask([gate], case)} == {None}
    [gate] = [g for g in gates_of({}, {f"CARS_GATES_{name}_REQUIRED".upper(): "yes"}) if g.name == name]
    assert gate.required
