"""What can be and what cannot: the shipped rules, and a workspace's own."""

from __future__ import annotations

import pytest

from cars.coverage.rules import read_rules, rules_of, shipped_rules, why_impossible
from cars.errors import SettingError
from cars.workspace import Workspace

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
