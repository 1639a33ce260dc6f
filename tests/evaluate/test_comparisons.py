"""Which arm is compared with which, and when a gain is credited to the edits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cars.errors import WorkspaceError
from cars.evaluate import ReportSettings, credits, gain_table, report, score_table, slice_table, summary
from cars.evaluate.comparisons import comparisons, credit
from cars.evaluate.scores import MACRO
from cars.evaluate.settings import CONTROLS, SEVEN, reference

from .conftest import make_workspace
from .test_report import add_run, noisy, pick, truth_of


def test_what_is_compared() -> None:
    assert comparisons(["real"]) == []
    assert comparisons(["real+cars", "real+sham"]) == [], "nothing to compare with"
    assert comparisons(["real", "real+cars"]) == [("real+cars", "real", False)]
    assert reference(arm for arm in ("real+cars", "real")) == "real", "an iterator is read once"
    found = comparisons(SEVEN)
    main = [(one.arm, one.reference) for one in found if not one.contrast]
    assert main == [(arm, "real-equal-steps") for arm in SEVEN if arm != "real-equal-steps"]
    others = ("real", "oversampled", "real+sham", "real+label-prompted")
    contrasts = [(one.arm, one.reference) for one in found if one.contrast]
    assert contrasts == [(arm, other) for arm in ("real+cars", "cars-then-real") for other in others]


def rows(backbone: str, **found: tuple[float, float]) -> list[dict[str, object]]:
    """Macro AUPRC of real+cars against each control: control → (difference, p)."""
    names = {"steps": "real-equal-steps", "drawn": "oversampled", "sham": "real+sham"}
    return [
        {"backbone": backbone, "arm": "real+cars", "reference": names[name], "finding": "macro", "metric": "auprc",
         "calibrated": False, "value": value, "low": value - 0.1, "high": value + 0.1, "p": p}
        for name, (value, p) in found.items()
    ]  # fmt: skip


def test_credit_by_hand() -> None:
    gains = pd.DataFrame(
        [
            *rows("all", steps=(0.3, 0.001), drawn=(0.1, 0.012), sham=(0.2, 0.001)),
            *rows("two", steps=(0.3, 0.001), drawn=(0.2, 0.001), sham=(0.1, 0.2)),
            # clearly worse than one control: its small p speaks against it
            *rows("behind", steps=(0.3, 0.001), drawn=(-0.3, 0.001), sham=(0.2, 0.001)),
            *rows("lacking", steps=(0.3, 0.001), drawn=(0.2, 0.001)),
            *rows("unknown", steps=(0.3, 0.001), drawn=(np.nan, np.nan), sham=(0.1, 0.2)),
        ]
    )
    found = credit(gains, "auprc").set_index("backbone")
    assert found["verdict"].to_dict() == {
        "all": "credited", "two": "not credited", "behind": "not credited", "lacking": "cannot be told",
        "unknown": "undefined",
    }  # fmt: skip
    assert found["weakest"].to_dict()["all"] == "oversampled"
    assert found["weakest"].to_dict()["two"] == "real+sham"
    assert found["weakest"].to_dict()["behind"] == "oversampled"
    assert found.loc["all", "p"] == 0.012
    # four tests: 0.001 and 0.012 are the smallest two of 0.012, 0.2, 1, 0.001
    assert found.loc["lacking", "p_holm"] == pytest.approx(0.004)
    assert found.loc["all", "p_holm"] == pytest.approx(0.036)
    assert "is better than each control (real-equal-steps, oversampled, real+sham)" in found.loc["all", "sentence"]
    assert "least against oversampled, macro AUPRC +0.100" in found.loc["all", "sentence"]
    assert "not shown to be better than each control" in found.loc["behind", "sentence"]
    assert "real+sham was not trained" in found.loc["lacking", "sentence"]


def test_less_is_better_for_errors() -> None:
    gains = pd.DataFrame(rows("b", steps=(-0.3, 0.001), drawn=(-0.1, 0.002), sham=(-0.2, 0.001)))
    found = credit(gains.assign(metric="brier"), "brier").iloc[0]
    assert (found["verdict"], found["weakest"]) == ("credited", "oversampled")
    assert credit(gains, "auprc").iloc[0]["verdict"] == "not credited"


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Two backbones and five arms: in one the edits beat everything, in the other oversampling does as well."""
    workspace = make_workspace(tmp_path_factory.mktemp("compared") / "ws", patients=300, edits=0)
    truth = truth_of(workspace)
    good, bad, short = noisy(truth, 0.8, 1), noisy(truth, 4.0, 2), noisy(truth, 6.0, 3)
    arms = {"real": short, "real-equal-steps": bad, "real+sham": bad, "real+cars": good}
    given = {("own", arm, 0): p for arm, p in {**arms, "oversampled": bad}.items()}
    given |= {("shared", arm, 0): p for arm, p in {**arms, "oversampled": good}.items()}
    add_run(workspace, "r", given)
    return workspace, report(workspace, ReportSettings(resamples=200))


def test_gains_are_against_equal_steps_and_contrasts_beside_them(compared) -> None:
    gains, scores = gain_table(compared[0]), score_table(compared[0])
    assert set(gains.loc[~gains["contrast"], "reference"]) == {"real-equal-steps"}
    assert set(gains.loc[~gains["contrast"], "arm"]) == {"real", "oversampled", "real+sham", "real+cars"}
    assert set(gains.loc[gains["contrast"], "reference"]) == {"real", "oversampled", "real+sham"}
    assert set(gains.loc[gains["contrast"], "finding"]) == {MACRO}
    of = dict(backbone="own", finding=MACRO, metric="brier", calibrated=False)
    means = {arm: pick(scores, arm=arm, seed=-1, **of).iloc[0]["value"] for arm in ("real", "real+sham", "real+cars")}
    for other in ("real", "real+sham"):
        row = pick(gains, arm="real+cars", reference=other, contrast=True, **of).iloc[0]
        assert row["value"] == pytest.approx(means["real+cars"] - means[other])
        assert row["reference_value"] == pytest.approx(means[other])
    # one family of tests for each pair of arms
    assert set(gains["tests"]) <= {0, 2}


def test_the_gain_is_credited_only_where_every_control_is_beaten(compared) -> None:
    workspace, result = compared
    told = {b: arms["real+cars"]["verdict"] for b, arms in result["credits"].items()}
    assert told == {"own": "credited", "shared": "not credited"}
    gains = gain_table(workspace)
    assert credits(gains).set_index("backbone").loc["shared", "weakest"] == "oversampled"
    [sentence] = summary(gains)
    assert sentence == (
        "real+cars: in macro AUPRC better than real-equal-steps on 2 of 2 backbones, worse on 0, no evidence at this n "
        "on 0; better than every control on 1."
    )
    assert "real+cars is better than real-equal-steps" in result["sentences"]["own"]["real+cars"]
    assert set(result["sentences"]["own"]) == {"real", "oversampled", "real+sham", "real+cars"}
    assert slice_table(workspace).empty
    assert len(CONTROLS) == 3


def test_a_run_scored_by_an_older_version_is_to_be_scored_again(tmp_path) -> None:
    workspace = make_workspace(tmp_path / "ws", patients=20, edits=0)
    add_run(workspace, "r", {("b", a, 0): noisy(truth_of(workspace), 1) for a in ("real", "real+cars")})
    report(workspace, ReportSettings(resamples=10))
    workspace.write_part("gains", "r", gain_table(workspace).drop(columns=["contrast", "reference"]))
    with pytest.raises(WorkspaceError, match="older version"):
        gain_table(workspace)
