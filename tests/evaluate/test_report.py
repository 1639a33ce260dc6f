"""The report: scores of known predictions, paired differences, and sentences that claim no more than they know."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cars import schema
from cars.errors import SettingError, WorkspaceError
from cars.evaluate import ReportSettings, gain_table, reliability, report, score_table, slice_table
from cars.evaluate.bootstrap import Spread, smallest_effect
from cars.evaluate.calibration import fit_temperature, scaled, sigmoid, to_logits
from cars.evaluate.curves import wilson
from cars.evaluate.scores import PROBABILITIES
from cars.evaluate.settings import FinetuneSettings
from cars.evaluate.slices import differing, rows_of
from cars.metrics import METRICS
from cars.workspace import write_json

from .conftest import make_workspace

RESAMPLES = 200


def add_run(workspace, run, probabilities, temperature=1.0, positives=None, completed=1.0, validate=None):
    """A completed run whose test predictions are given. probabilities: (backbone, arm, seed) → (N, 14).

    validate: the same for the validate films; without it none of those was predicted.
    """
    films = workspace.read("films")
    held = films[films["split"] == "validate"].sort_values("dicom_id", ignore_index=True)
    test = films[films["split"] == "test"].sort_values("dicom_id", ignore_index=True)
    for (backbone, arm, seed), prob in probabilities.items():
        unit = f"{run}-{backbone}-{arm}-{seed}".replace("+", "-")
        row = {
            "run": run, "unit": unit, "backbone": backbone, "arm": arm, "seed": seed, "temperature": temperature,
            "train_positives": json.dumps({f: 5 for f in schema.FINDINGS} | (positives or {})), "path": "runs",
        }  # fmt: skip
        workspace.write_part("units", unit, pd.DataFrame([row]))
        parts = [(test, prob)] + ([(held, validate[backbone, arm, seed])] if validate else [])
        frames = [
            pd.concat([of[["dicom_id", "subject_id", "split"]], pd.DataFrame(p, columns=PROBABILITIES)], axis=1)
            for of, p in parts
        ]
        workspace.write_part("predictions", unit, pd.concat(frames, ignore_index=True).assign(unit=unit))
    content = {"settings": FinetuneSettings().__dict__, "completed": completed}
    write_json(workspace.path / "runs" / run / "run.json", content)


def truth_of(workspace, split="test"):
    films = workspace.read("films")
    test = films[films["split"] == split].sort_values("dicom_id")
    return (test[list(schema.COLUMN_OF.values())].to_numpy() == 1).astype(float)


def noisy(truth, noise, seed=0):
    """Probabilities that lean towards the truth: the less noise, the better."""
    return sigmoid(2 * truth - 1 + np.random.default_rng(seed).normal(0, noise, truth.shape))


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Three backbones: one clearly better with edits, one clearly worse, one the same."""
    workspace = make_workspace(tmp_path_factory.mktemp("report") / "ws", patients=300, edits=0)
    truth = truth_of(workspace)
    good, bad = noisy(truth, 1.0, 1), noisy(truth, 5.0, 2)
    nudged = sigmoid(to_logits(good) + np.random.default_rng(3).normal(0, 0.05, good.shape))
    add_run(
        workspace,
        "r1",
        {
            ("gains", "real", 0): bad, ("gains", "real+cars", 0): good,
            ("loses", "real", 0): good, ("loses", "real+cars", 0): bad,
            ("same", "real", 0): good, ("same", "real+cars", 0): nudged,
        },
    )  # fmt: skip
    result = report(workspace, ReportSettings(resamples=RESAMPLES))
    return workspace, result


def test_verdicts(scored):
    _, result = scored
    verdicts = {b: arms["real+cars"]["auprc"]["verdict"] for b, arms in result["differences"].items()}
    assert verdicts == {"gains": "better", "loses": "worse", "same": "no evidence"}
    sentences = {b: arms["real+cars"] for b, arms in result["sentences"].items()}
    assert "real+cars is better than real" in sentences["gains"]
    assert "real+cars is worse than real" in sentences["loses"]
    assert "no evidence at this n" in sentences["same"]
    assert all("120 test films of 60 patients" in s and "One training seed" in s for s in sentences.values())


def test_lower_is_better_for_errors(scored):
    gains = gain_table(scored[0])
    brier = gains[(gains["metric"] == "brier") & (gains["finding"] == "macro") & ~gains["calibrated"]]
    found = brier.set_index("backbone")
    assert found.loc["gains", "value"] < 0
    assert found["verdict"].to_dict()["gains"] == "better"
    assert found["verdict"].to_dict()["loses"] == "worse"


def test_values_are_the_metric_on_the_test_films(scored):
    workspace, result = scored
    truth, prob = truth_of(workspace), noisy(truth_of(workspace), 1.0, 1)
    c = schema.FINDINGS.index("Pneumothorax")
    table = score_table(workspace)
    row = table[
        (table["backbone"] == "gains") & (table["arm"] == "real+cars") & (table["seed"] == 0)
        & (table["finding"] == "Pneumothorax") & (table["metric"] == "auprc") & ~table["calibrated"]
    ].iloc[0]  # fmt: skip
    assert row["value"] == pytest.approx(average_precision_score(truth[:, c], prob[:, c]), abs=1e-9)
    assert row["low"] <= row["value"] <= row["high"]
    assert (row["n"], row["patients"], row["positives"]) == (120, 60, truth[:, c].sum())
    seen = [average_precision_score(truth[:, k], prob[:, k]) for k in range(14) if truth[:, k].any()]
    assert result["backbones"]["gains"]["real+cars"]["auprc"]["value"] == pytest.approx(np.mean(seen), abs=1e-9)


def test_differences_are_paired(scored):
    gains, scores = gain_table(scored[0]), score_table(scored[0])

    def pick(table, **wanted):
        return table[np.logical_and.reduce([table[c] == v for c, v in wanted.items()])].iloc[0]

    common = dict(backbone="same", finding="macro", metric="auprc", calibrated=False)
    gain = pick(gains, **common)
    arms = [pick(scores, **common, arm=arm, seed=-1) for arm in ("real", "real+cars")]
    assert gain["value"] == pytest.approx(arms[1]["value"] - arms[0]["value"])
    unpaired = sum((arm["high"] - arm["low"]) ** 2 for arm in arms) ** 0.5
    assert gain["high"] - gain["low"] < unpaired / 3, "arms that err alike differ little in every resample"


def test_a_finding_without_positives_is_undefined_and_shown(scored):
    table = score_table(scored[0])
    rows = table[table["finding"] == "Fracture"]
    assert rows[rows["metric"] == "auprc"]["value"].isna().all()
    assert (rows["positives"] == 0).all()
    assert (rows["n"] == 120).all()
    assert (table[table["finding"] == "macro"]["findings"] == 3).all(), "and it is not in the mean"


def test_a_finding_that_an_arm_could_not_learn_is_undefined(tmp_path):
    workspace = make_workspace(tmp_path / "ws", patients=60, edits=0)
    truth = truth_of(workspace)
    add_run(workspace, "r", {("b", "real", 0): noisy(truth, 1)}, positives={"Pneumothorax": 0})
    report(workspace, ReportSettings(resamples=20, min_positives=1))
    table = score_table(workspace)
    assert table.loc[table["finding"] == "Pneumothorax", "value"].isna().all()
    assert (table.loc[table["finding"] == "macro", "findings"] == 2).all()
    assert gain_table(workspace).empty


def test_rare_findings_stay_out_of_the_mean(tmp_path):
    workspace = make_workspace(tmp_path / "ws", patients=60, edits=0)
    add_run(workspace, "r", {("b", a, 0): noisy(truth_of(workspace), 1) for a in ("real", "real+cars")})
    result = report(workspace, ReportSettings(resamples=20, min_positives=100))
    assert result["backbones"]["b"]["real"]["auprc"]["value"] is None
    assert "cannot be compared" in result["sentences"]["b"]["real+cars"]
    json.dumps(result, allow_nan=False)


def test_means_over_seeds(tmp_path):
    workspace = make_workspace(tmp_path / "ws", patients=60, edits=0)
    truth = truth_of(workspace)
    add_run(workspace, "r", {("b", "real", s): noisy(truth, 2, s) for s in range(3)})
    report(workspace, ReportSettings(resamples=50))
    table = score_table(workspace)
    macro = table[(table["finding"] == "macro") & (table["metric"] == "auroc") & ~table["calibrated"]]
    by_seed = macro.set_index("seed")["value"]
    assert by_seed[-1] == pytest.approx(by_seed[[0, 1, 2]].mean())


def test_calibration_changes_errors_but_no_ranking(tmp_path):
    workspace = make_workspace(tmp_path / "ws", patients=60, edits=0)
    add_run(workspace, "r", {("b", "real", 0): noisy(truth_of(workspace), 1)}, temperature=3.0)
    found = report(workspace, ReportSettings(resamples=20, min_positives=1))["backbones"]["b"]["real"]
    assert found["nll_calibrated"]["value"] != pytest.approx(found["nll"]["value"])
    assert "auprc_calibrated" not in found
    table = score_table(workspace)
    auprc = table[(table["metric"] == "auprc") & (table["seed"] == 0)].set_index(["finding", "calibrated"])["value"]
    pd.testing.assert_series_equal(auprc.xs(True, level=1), auprc.xs(False, level=1))


def test_the_latest_run_counts_and_a_wrong_one_is_named(tmp_path):
    workspace = make_workspace(tmp_path / "ws", patients=20, edits=0)
    with pytest.raises(WorkspaceError, match="No fine-tuning run"):
        report(workspace, ReportSettings())
    prob = noisy(truth_of(workspace), 1)
    add_run(workspace, "older", {("b", "real", 0): prob}, completed=1.0)
    add_run(workspace, "newer", {("b", "real", 0): prob}, completed=2.0)
    with pytest.raises(WorkspaceError, match="report"):
        score_table(workspace)
    assert report(workspace, ReportSettings(resamples=20))["run"] == "newer"
    with pytest.raises(WorkspaceError, match=r"'none'.*newer, older"):
        report(workspace, ReportSettings(run="none"))
    with pytest.raises(WorkspaceError, match="older has not been scored"):
        score_table(workspace, "older")


def test_test_films_that_changed_are_noticed(tmp_path):
    workspace = make_workspace(tmp_path / "ws", patients=20, edits=0)
    add_run(workspace, "r", {("b", "real", 0): noisy(truth_of(workspace), 1)})
    films = workspace.read("films")
    films.loc[films.index[films["split"] == "test"][0], "split"] = "none"
    workspace.write_part("films", "0", films)
    with pytest.raises(WorkspaceError, match="test films have changed"):
        report(workspace, ReportSettings(resamples=20))


def test_the_same_seed_gives_the_same_report(scored):
    workspace, first = scored
    assert report(workspace, ReportSettings(resamples=RESAMPLES)) == first


# Seeds, thresholds, reasons ---------------------------------------------------------------------------------------


def pick(table, **wanted):
    """The rows with those values."""
    return table[np.logical_and.reduce([table[column] == value for column, value in wanted.items()])]


@pytest.fixture(scope="module")
def seeded(tmp_path_factory):
    """Two backbones, two arms, three seeds; validate films predicted too."""
    workspace = make_workspace(tmp_path_factory.mktemp("seeds") / "ws", patients=200, edits=0)
    units = [(b, a, s) for b in ("one", "two") for a in ("real", "real+cars") for s in range(3)]
    splits = {}
    for split, base in (("test", 0), ("validate", 100)):
        truth = truth_of(workspace, split)
        splits[split] = {unit: noisy(truth, 2.0, base + n) for n, unit in enumerate(units)}
    add_run(workspace, "r", splits["test"], temperature=2.0, validate=splits["validate"])
    report(workspace, ReportSettings(resamples=RESAMPLES, min_positives=1))
    return workspace, splits


def test_the_mean_over_seeds_is_of_metrics_and_the_ensemble_of_probabilities(seeded):
    workspace, splits = seeded
    table, truth = score_table(workspace), truth_of(workspace)
    c = schema.FINDINGS.index("Pneumothorax")
    of = dict(backbone="one", arm="real", finding="Pneumothorax", calibrated=False)
    probabilities = [splits["test"]["one", "real", s][:, c] for s in range(3)]
    for name, metric in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
        rows = pick(table, metric=name, **of).set_index("seed")["value"]
        each = [metric(truth[:, c], p) for p in probabilities]
        assert rows[-1] == pytest.approx(np.mean(each), abs=1e-9)
        assert rows[-2] == pytest.approx(metric(truth[:, c], np.mean(probabilities, axis=0)), abs=1e-9)
        assert rows[-2] > rows[-1], "independent noise averages out"
    # the scaled ensemble is the mean of the scaled probabilities
    row = pick(table, metric="brier", seed=-2, **{**of, "calibrated": True}).iloc[0]
    mean = np.mean([scaled(p, 2.0) for p in probabilities], axis=0)
    assert row["value"] == pytest.approx(((mean - truth[:, c]) ** 2).mean(), abs=1e-9)


def test_the_report_writes_what_the_seeds_disagree_about(seeded):
    table = seeded[0].read("model_uncertainty")
    assert set(zip(table["backbone"], table["arm"])) == {(b, a) for b in ("one", "two") for a in ("real", "real+cars")}
    assert set(table["run"]) == {"r"}


def test_the_noise_of_seeds_is_in_the_interval_of_the_mean(seeded):
    workspace, splits = seeded
    gains, truth = gain_table(workspace), truth_of(workspace)
    c = schema.FINDINGS.index("Pneumothorax")
    row = pick(gains, backbone="one", finding="Pneumothorax", metric="auroc", calibrated=False).iloc[0]
    differences = {
        b: [
            roc_auc_score(truth[:, c], splits["test"][b, "real+cars", s][:, c])
            - roc_auc_score(truth[:, c], splits["test"][b, "real", s][:, c])
            for s in range(3)
        ]
        for b in ("one", "two")
    }
    pooled = np.sqrt(np.mean([np.var(d, ddof=1) for d in differences.values()]))
    assert row["value"] == pytest.approx(np.mean(differences["one"]), abs=1e-9)
    assert row["se_seeds"] == pytest.approx(pooled / 3**0.5, rel=1e-6)
    assert row["se"] == pytest.approx(np.hypot(row["se_patients"], row["se_seeds"]))
    assert row["seeds"] == 3
    half = (row["high"] - row["low"]) / 2
    assert half > 1.96 * row["se_seeds"]
    assert row["relative"] == pytest.approx(row["value"] / row["reference_value"])
    assert row["mde"] == pytest.approx(
        smallest_effect(Spread(row["se"], row["se_patients"], row["se_seeds"], row["df"]), 0.95, 2)
    )
    assert "3 training seeds" in pick(gains, backbone="one", finding="macro", metric="auprc")["sentence"].iloc[0]


def test_sensitivity_is_at_the_threshold_of_the_validate_films(seeded):
    workspace, splits = seeded
    c = schema.FINDINGS.index("Pneumothorax")
    unit = ("two", "real", 1)
    y, p = truth_of(workspace, "validate")[:, c], splits["validate"][unit][:, c]
    threshold = min(v for v in p if (p[y == 0] < v).mean() >= 0.9)
    test_y, test_p = truth_of(workspace)[:, c], splits["test"][unit][:, c]
    table = score_table(workspace)
    for calibrated in (False, True):
        of = dict(backbone="two", arm="real", seed=1, finding="Pneumothorax", calibrated=calibrated)
        rows = pick(table, **of).set_index("metric")["value"]
        assert rows["sensitivity"] == pytest.approx((test_p[test_y == 1] >= threshold).mean())
        assert rows["specificity"] == pytest.approx((test_p[test_y == 0] < threshold).mean())


def test_a_value_that_is_missing_says_why(seeded, scored):
    seeds, table = score_table(seeded[0]), score_table(scored[0])
    rows = pick(table, seed=-1, finding="Fracture", calibrated=False).set_index(["backbone", "arm", "metric"])
    assert rows.loc[("same", "real", "auprc"), "reason"] == "no film with the finding"
    assert pd.isna(rows.loc[("same", "real", "brier"), "reason"]), "which needs no positive"
    rows = pick(table, seed=-1, finding="Pneumothorax", metric="sensitivity")
    assert rows["reason"].str.contains("no threshold").all()
    for frame in (seeds, table, gain_table(seeded[0])):
        assert (frame["value"].isna() == frame["reason"].notna()).all()
        assert (frame["value"].isna() == frame["low"].isna()).all()


def test_metrics_without_a_better_side_are_not_judged(scored):
    gains = gain_table(scored[0])
    for name in ("calibration_slope", "entropy"):
        assert set(pick(gains, metric=name, finding="Pneumothorax")["verdict"]) == {"not judged"}
    assert "neither more nor less is better" in pick(gains, metric="entropy", finding="macro")["sentence"].iloc[0]


# Slices -----------------------------------------------------------------------------------------------------------


def test_a_gain_inside_a_gap_is_seen(tmp_path):
    """Edits filled (Lung Lesion present, sex M); the arm is better there and nowhere else."""
    workspace = make_workspace(tmp_path / "ws", patients=400, edits=3)
    films = workspace.read("films")
    films.loc[films["subject_id"].astype(int) % 2 == 0, "sex"] = "M"
    workspace.write_part("films", "0", films)
    pattern = json.dumps({"Lung Lesion": "present", "sex": "M"})
    gaps = [("g", pattern, "Few men with lung lesion."), ("whole", json.dumps({"Lung Lesion": "present"}), "Few.")]
    workspace.write_part("gaps", "0", pd.DataFrame(gaps, columns=["gap_id", "pattern", "sentence"]))
    test = films[films["split"] == "test"].sort_values("dicom_id", ignore_index=True)
    inside, truth = (test["sex"] == "M").to_numpy(), truth_of(workspace)
    real = noisy(truth, 4.0, 1)
    cars = np.where(inside[:, None], noisy(truth, 0.5, 2), real)
    add_run(workspace, "r", {("b", "real", 0): real, ("b", "real+cars", 0): cars})
    report(workspace, ReportSettings(resamples=RESAMPLES))
    table = slice_table(workspace)
    singles = table[table["gap_id"] != "all"]
    assert singles["slice"].unique().tolist() == ["sex M"], "a gap on the finding alone is in `scores` already"
    plain = table[~table["calibrated"] & (table["metric"] == "auroc")]
    row = plain[(plain["gap_id"] == "g") & (plain["basis"] == "rest")].iloc[0]
    c = schema.FINDINGS.index("Lung Lesion")
    assert row["reference_value"] == pytest.approx(roc_auc_score(truth[inside, c], real[inside, c]))
    assert row["value"] == pytest.approx(roc_auc_score(truth[inside, c], cars[inside, c]) - row["reference_value"])
    assert row["low"] > 0
    assert (row["n"], row["positives"], row["edits"]) == (inside.sum(), truth[inside, c].sum(), 2)
    # near: men with and without the lesion, and women with it
    near = inside | (truth[:, c] == 1)
    row = plain[(plain["gap_id"] == "g") & (plain["basis"] == "near")].iloc[0]
    assert row["value"] + row["reference_value"] == pytest.approx(roc_auc_score(truth[near, c], cars[near, c]))
    assert (row["n"], row["positives"]) == (near.sum(), truth[near, c].sum())
    # with one filled gap, the union over gaps is that gap, and the mean over findings that finding
    for basis in ("rest", "near"):
        same = plain[plain["basis"] == basis]
        assert same["finding"].tolist() == ["Lung Lesion", "Lung Lesion", "macro"]
        assert same["value"].nunique() == same["low"].nunique() == 1
    every = table[(table["gap_id"] == "all") & (table["basis"] == "near") & (table["finding"] == "Lung Lesion")]
    assert set(every["metric"]) == set(METRICS.names())


def test_patterns_by_hand():
    films = pd.DataFrame({"sex": ["F", "M", "F"], "view": ["PA", "PA", "AP"], "edema": [1, 1, 0]})
    assert differing(films, {"Edema": "present", "sex": "F", "view": "PA"}).tolist() == [0, 1, 2]
    assert rows_of(films, {"Edema": "present", "sex": "F"}).tolist() == [True, False, False]
    assert rows_of(films, {"Edema": "absent"}).tolist() == [False, False, True]
    assert rows_of(films, {"view": "PA"}).tolist() == [True, True, False]


# Reliability and temperature --------------------------------------------------------------------------------------


def test_reliability_by_hand(scored):
    workspace, _ = scored
    table = reliability(workspace, None, "gains", "real+cars", finding="Pneumothorax", bins=4)
    c = schema.FINDINGS.index("Pneumothorax")
    y, p = truth_of(workspace)[:, c], noisy(truth_of(workspace), 1.0, 1)[:, c]
    assert table["n"].sum() == 120
    for row in table.itertuples():
        inside = (p >= row.bin_low) & (p < row.bin_high)
        assert row.n == inside.sum()
        assert row.observed == pytest.approx(y[inside].mean())
        assert row.mean_probability == pytest.approx(p[inside].mean())
        assert row.low <= row.observed <= row.high
        assert row.patients <= row.n
    with pytest.raises(SettingError, match=r"'nobody'.*gains with real"):
        reliability(workspace, None, "nobody", "real")
    with pytest.raises(SettingError, match="Flu"):
        reliability(workspace, None, "gains", "real", finding="Flu")


def test_wilson_by_hand():
    # 8 of 10: the textbook's 0.490 to 0.943
    low, high = wilson(np.array([0.8]), np.array([10]))
    assert (low[0], high[0]) == (pytest.approx(0.490, abs=1e-3), pytest.approx(0.943, abs=1e-3))


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_is_found(true):
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, (4000, 3))
    y = (rng.random(honest.shape) < sigmoid(honest)).astype(float)
    found = fit_temperature(honest * true, y, np.ones(y.shape, dtype=bool))
    assert found == pytest.approx(true, rel=0.07)


def test_the_temperature_sees_known_labels_only():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (500, 2))
    y = (rng.random(logits.shape) < sigmoid(logits)).astype(float)
    known = np.ones(y.shape, dtype=bool)
    known[:, 1] = False
    wrong = y.copy()
    wrong[:, 1] = 1 - wrong[:, 1]
    assert fit_temperature(logits, y, known) == fit_temperature(logits, wrong, known)
    assert fit_temperature(logits, y, np.zeros_like(known)) == 1.0
    assert fit_temperature(logits, np.zeros_like(y), known) == 1.0


def test_scaling_by_hand():
    assert scaled(np.array([0.8]), 2.0)[0] == pytest.approx(1 / (1 + 0.25**0.5))
    logits = np.array([-30.0, -1.0, 0.0, 20.0])
    np.testing.assert_allclose(to_logits(sigmoid(logits)), logits, rtol=1e-5)
    assert np.isfinite(to_logits(np.array([0.0, 1.0]))).all()
