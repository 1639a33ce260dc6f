"""The figures of benchmarks/counterfactual.py, on cases worked by hand."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "counterfactual.py"


@pytest.fixture(scope="module")
def figures():
    import sys

    spec = importlib.util.spec_from_file_location("counterfactual_benchmark", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_landing_by_hand(figures):
    place = np.zeros((100, 100), bool)
    place[40:60, 40:60] = True
    true_change = np.where(place, 10.0, 0.0)
    assert figures.landing(true_change, place, true_change) == pytest.approx((1, 1, 0))
    # half of the change lies where the finding is, the other half 30 columns to the right: the centroid is off by 15
    half = true_change + np.roll(true_change, 30, axis=1)
    assert figures.landing(half, place, true_change) == pytest.approx((0.5, 1, 0.15))
    assert all(math.isnan(v) for v in figures.landing(np.zeros((100, 100)), place, true_change))


def test_similarity_is_taken_inside_its_region(figures):
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (64, 64), dtype=np.uint8)
    b = a.copy()
    b[:, 48:] = 255 - b[:, 48:]
    left = np.zeros((64, 64), bool)
    left[:, :32] = True
    assert figures.ssim(a, b, left) == pytest.approx(1)
    assert figures.ssim(a, b, ~left) < 0.7
    assert figures.psnr(a, a, left) > 70
    # ten grey levels everywhere: 20 log10(25.5) = 28.13 dB
    assert figures.psnr(np.full((4, 4), 10, np.uint8), np.zeros((4, 4), np.uint8), np.ones((4, 4), bool)) == (
        pytest.approx(28.13, abs=0.01)
    )


def test_intervals(figures):
    # Wilson's interval of 8 of 8 and 4 of 8, as tables give it
    assert figures.wilson(8, 8) == pytest.approx((0.676, 1.0), abs=0.001)
    assert figures.wilson(4, 8) == pytest.approx((0.215, 0.785), abs=0.001)
    mean, low, high, n = figures.bootstrap([1.0, math.nan, 3.0])
    assert (mean, n) == (2.0, 2)
    assert (low, high) == (1.0, 3.0)
    assert math.isnan(figures.bootstrap([math.nan])[0])


def row(figures, name, direction, n, passed, gain):
    values = {m: [math.nan] * n for m in figures.MEANS}
    values |= {"db": [20.0 + gain] * n, "db_source": [20.0] * n, "db_drawn": [20.0 + gain] * n}
    counts = dict.fromkeys(figures.COUNTS, 0) | {"n": n, "passed": passed}
    means = {m: math.nan for m in figures.MEANS} | {"db": 20.0 + gain, "db_source": 20.0}
    return {"generator": name, "finding": "Edema", "direction": direction, "outside": 0.0, **counts, **means,
            "values": values}  # fmt: skip


def test_generators_are_compared_over_all_findings(figures):
    rows = [row(figures, "cars", "insert", 4, 3, 2.0), row(figures, "cars", "insert", 6, 6, 4.5),
            row(figures, "other", "insert", 4, 1, -1.0)]  # fmt: skip
    table = figures.compared(rows)
    ours = table["cars"]["insert"]
    assert (ours["passed"]["value"], ours["passed"]["n"]) == (0.9, 10)
    assert ours["gain"]["value"] == pytest.approx((4 * 2 + 6 * 4.5) / 10)
    assert table["cars"]["delete"]["passed"]["n"] == 0
    text = figures.markdown(table)
    assert "| other | insert | 4 | 0.00 [0.00, 0.49] |" in text
    assert "-1.0 [-1.0, -1.0]" in text
    pair = ((rows[0], [21.0, math.nan, 25.0]), (rows[2], [20.0, 30.0, 22.0]))
    mixed = [{**r, "values": {"db_drawn": decibels}} for r, decibels in pair]
    closer = figures.paired(mixed, "cars", "other", "insert")
    assert (closer["value"], closer["n"]) == (2.0, 2)
    rows[2] = row(figures, "other", "insert", 10, 3, -1.0)
    flat = {r["what"]: r for r in figures.flat(rows)}
    against = flat["insert, all findings (n = 10): passed, cars against other"]
    assert (against["ours"], against["reference"]) == (0.9, 0.3)
    assert against["ratio"] == pytest.approx(3)
    assert not any(math.isnan(r["ours"]) for r in flat.values())


def test_an_insertion_is_held_against_the_truth_of_its_own_severity(figures):
    from synth_toys import ToySegmenter

    from cars.synth.editing import Outcome

    case = figures.case("Pleural Effusion", "insert", 3)
    edited = case.truths[5]  # as severe as can be: better than what was drawn at first
    roi = np.ones(edited.shape, bool)
    assert case.nearest(edited, roi) == 5
    found = figures.against_truth(case, Outcome(edited=edited, roi=roi), ToySegmenter())
    assert set(found) == set(figures.MEANS) - {"collateral", "moved", "moved_truth"}
    assert found["db"] > 70 > found["db_drawn"]
    assert found["db_source"] == pytest.approx(figures.psnr(case.source.film, edited, roi))
    assert found["db_source_drawn"] == pytest.approx(figures.psnr(case.source.film, case.truth, roi))
    assert found["landed"] == found["landed_truth"] > 0.95


def test_the_region_about_a_place_holds_it(figures):
    masks = np.zeros((3, 128, 128), bool)
    masks[1, 20:100, 15:55], masks[0, 20:100, 75:115] = True, True
    place = np.zeros((256, 256), bool)
    place[80:104, 60:84] = True  # 12 × 12 of 128, in the right lung
    roi = figures.around(place, masks)
    assert roi[40:52, 30:42].mean() > 0.95
    assert roi.sum() < 6 * 144
    assert not roi[:, 60:].any()  # it stays in its lung
