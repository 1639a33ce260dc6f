"""What trainings disagree about: by hand, by definition, and in the table."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from cars import schema
from cars.evaluate import ReportSettings
from cars.evaluate.uncertainty import score_uncertainty, split

from .conftest import make_workspace
from .test_report import add_run, noisy, truth_of


def test_the_split_by_hand():
    # sure and opposed: all uncertainty is disagreement; undecided and agreed: none is; in between by definition
    found = split(np.array([[0.0, 0.5, 0.9], [1.0, 0.5, 0.3]]))
    np.testing.assert_allclose(found.total[:2], np.log(2))
    np.testing.assert_allclose(found.mutual[:2], [np.log(2), 0], atol=1e-12)
    expected = (stats.entropy([0.9, 0.1]) + stats.entropy([0.3, 0.7])) / 2
    assert found.expected[2] == pytest.approx(expected)
    assert found.mutual[2] == pytest.approx(stats.entropy([0.6, 0.4]) - expected)
    # mutual information is the mean divergence of the members from their mean
    divergence = (stats.entropy([0.9, 0.1], [0.6, 0.4]) + stats.entropy([0.3, 0.7], [0.6, 0.4])) / 2
    assert found.mutual[2] == pytest.approx(divergence)


def test_the_table(tmp_path):
    workspace = make_workspace(tmp_path / "ws", patients=100, edits=0)
    truth = truth_of(workspace)
    members = [noisy(truth, 2, seed) for seed in range(3)]
    units = {("b", "real", seed): p for seed, p in enumerate(members)}
    add_run(workspace, "r", {**units, ("b", "real+cars", 0): members[0]}, positives={"Lung Lesion": 0})
    table = score_uncertainty(workspace, ReportSettings(resamples=50))
    assert set(table["arm"]) == {"real"}, "one seed disagrees with nobody"
    assert set(table["members"]) == {3}
    c = schema.FINDINGS.index("Pneumothorax")
    rows = table[table["finding"] == "Pneumothorax"].set_index("measure")
    parts = split(np.stack(members)[:, :, c])
    for name in ("total", "expected", "mutual"):
        assert rows.loc[name, "value"] == pytest.approx(getattr(parts, name).mean())
        assert rows.loc[name, "low"] < rows.loc[name, "value"] < rows.loc[name, "high"]
    wrong = (np.mean(members, axis=0)[:, c] >= 0.5) != (truth[:, c] == 1)
    assert rows.loc["auroc_mutual", "value"] == pytest.approx(roc_auc_score(wrong, parts.mutual))
    order = np.argsort(parts.total, kind="stable")
    risks = np.cumsum(wrong[order]) / np.arange(1, len(wrong) + 1)
    assert rows.loc["aurc_entropy", "value"] == pytest.approx(risks.mean())
    never = table[table["finding"] == "Lung Lesion"]
    assert never["value"].isna().all()
    assert set(never["reason"]) == {"no training film with the finding"}
    assert (table["value"].isna() == table["reason"].notna()).all()
