"""What can be and what cannot: the shipped rules, and a workspace's own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from coverage_frames import films_frame, workspace_of

from cars import schema
from cars.coverage import GapsSettings, gaps, tway
from cars.coverage.rules import read_rules, rules_of, shipped_rules, why_impossible
from cars.errors import SettingError
from cars.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = tuple(shipped_rules().values())


@pytest.mark.parametrize(
    ("pattern", "impossible"),
    [
        ({"No Finding": "present", "Edema": "present"}, True),
        ({"No Finding": "present", "Fracture": "uncertain", "sex": "F"}, True),
        ({"No Finding": "present", "Edema": "absent"}, False),
        ({"No Finding": "present", "Support Devices": "present"}, False),
        ({"No Finding": "absent"}, True),
        ({"Edema": "present"}, False),
        ({"Edema": "present", "Lung Opacity": "absent"}, True),
        ({"Edema": "uncertain", "Lung Opacity": "absent"}, False),
        ({"Pleural Effusion": "present", "Lung Opacity": "absent"}, False),
        ({"Cardiomegaly": "present", "Enlarged Cardiomediastinum": "absent", "view": "PA"}, True),
        ({"Cardiomegaly": "present", "Lung Opacity": "absent"}, False),
        ({}, False),
    ],
)
def test_shipped_rules(pattern, impossible):
    assert (why_impossible(pattern, SHIPPED) is not None) == impossible


def test_a_workspace_adds_rules_and_switches_shipped_ones_off(tmp_path):
    workspace = Workspace.create(tmp_path / "ws")
    (workspace.path / "workspace.toml").write_text(
        "[coverage.rules.no-lateral-devices]\n"
        'why = "No lateral films on the ward."\n'
        'all = { view = "lateral", support_devices = "present" }\n'
        "[coverage.rules.lung-opacity-covers]\noff = true\n",
        encoding="utf-8",
    )
    rules = rules_of(workspace)
    assert why_impossible({"view": "lateral", "Support Devices": "present"}, rules) == "No lateral films on the ward."
    assert why_impossible({"view": "PA", "Support Devices": "present"}, rules) is None
    assert why_impossible({"Edema": "present", "Lung Opacity": "absent"}, rules) is None
    assert why_impossible({"No Finding": "present", "Edema": "present"}, rules) is not None


def test_shipped_exclusions_cover_every_disease_and_the_whole_hierarchy():
    for finding in schema.FINDINGS:
        allowed = finding in (*schema.ALLOWED_WITH_NO_FINDING, "No Finding")
        for value in ("present", "uncertain"):
            pattern = {"No Finding": "present", finding: value} if finding != "No Finding" else {finding: "present"}
            assert (why_impossible(pattern, SHIPPED) is None) == allowed, pattern
    for parent, children in schema.HIERARCHY.items():
        for finding in schema.FINDINGS:
            pattern = {parent: "absent", finding: "present"}
            if finding not in (parent, "No Finding"):
                assert (why_impossible(pattern, SHIPPED) is not None) == (finding in children), pattern


def test_rules_on_views_as_the_documentation_shows_them(tmp_path):
    """The block of docs/science-coverage.md, put into workspace.toml as it stands there."""
    text = (ROOT / "docs" / "science-coverage.md").read_text(encoding="utf-8")
    section = text.partition("No rule on views is shipped")[2].partition("**rare as expected**")[0]
    block = "".join(line[4:] + "\n" for line in section.splitlines() if line.startswith("    "))
    workspace = workspace_of(tmp_path / "ws", films_frame(1, 250))
    (workspace.path / "workspace.toml").write_text(block, encoding="utf-8")
    rules = rules_of(workspace)
    assert len(rules) == len(SHIPPED) + 2
    for pattern, impossible in (
        ({"view": "lateral", "age_band": "80+"}, True),
        ({"view": "PA", "age_band": "80+"}, False),
        ({"view": "lateral", "age_band": "0–17"}, False),
        ({"view": "PA", "Support Devices": "present", "Pneumothorax": "present"}, True),
        ({"view": "lateral", "Support Devices": "present", "Fracture": "present"}, True),
        ({"view": "AP", "Support Devices": "present", "Pneumothorax": "present"}, False),
        ({"view": "PA", "Support Devices": "present"}, False),
    ):
        assert (why_impossible(pattern, rules) is not None) == impossible, pattern
    # the search, the list of impossible ones and t-way coverage all follow them
    asked = GapsSettings("view,age_band,Support Devices,Pneumothorax", max_order=3, threshold=24)
    found = gaps(workspace, asked)["mups"]
    assert not any(why_impossible(m["pattern"], rules) for m in found)
    listed = gaps(workspace, dataclasses.replace(asked, include_impossible=True))["mups"]
    reasons = [m["sentence"] for m in listed if m["verdict"] == "impossible"]
    assert any(text.endswith("Nobody over 80 is turned for a lateral film here.") for text in reasons)
    possible = tway(workspace, asked).set_index(["t", "m", "split"])["possible"]
    # 3 views × 5 bands, 2 findings with 3 views and 5 bands each, and their pair, without the one that a rule forbids
    assert possible[2, 1, "all"] == 15 + 2 * 8 + 1 - 1


@pytest.mark.parametrize(
    ("body", "quoted"),
    [
        ({"all": {"edama": "present"}}, "edama"),
        ({"all": {"view": "oblique"}}, "oblique"),
        ({"all": {"Edema": "yes"}}, "yes"),
        ({"when": {}}, "when"),
        ({"why": "no condition"}, "mine"),
        ({"all": "Edema"}, "Edema"),
        ("off", "off"),
    ],
)
def test_a_wrong_rule_is_quoted(body, quoted):
    with pytest.raises(SettingError) as error:
        read_rules({"mine": body})
    assert quoted in error.value.message
    assert error.value.hint
