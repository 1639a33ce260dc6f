"""Before an experiment is begun: how many units, what cannot be concluded, what an arm lacks, and how long it takes."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from cars.errors import SettingError, WorkspaceError
from cars.evaluate import FinetuneSettings, finetune
from cars.evaluate.preview import Pace, lacking, paces_of, preview

from .conftest import make_workspace


def write_units(workspace, rows, workers=None):
    """rows: (run, unit, backbone, size, films a second)."""
    table = pd.DataFrame(rows, columns=["run", "unit", "backbone", "size", "films_per_second"])
    workspace.write_part("units", "made", table.astype({"films_per_second": "float64"}))
    for run, number in (workers or {}).items():
        folder = workspace.folder("runs", run)
        (folder / "grid.json").write_text(json.dumps({"workers": number, "units": [{}] * 4}))


def of(workspace, settings):
    return preview(settings, lacking(workspace, settings), paces_of(workspace, settings.size))


def test_the_grid_is_counted_and_what_it_cannot_say_is_said(lesions):
    found = of(lesions, FinetuneSettings("small", "real,real+cars", 2))
    assert (found.units, len(found.backbones)) == (28, 7)
    assert found.size() == "7 backbones × 2 arms × 2 seeds: 28 units, each a training of its own."
    assert [text.split()[2] for text in found.cannot_conclude[:3]] == ["real-equal-steps", "oversampled", "real+sham"]
    assert found.cannot_conclude[3].startswith("2 training seeds")
    assert found.lacking == {}
    one = of(lesions, FinetuneSettings("toy", "real", 1))
    assert one.size() == "1 backbone × 1 arm × 1 seed: 1 unit, each a training of its own."
    with pytest.raises(SettingError, match="no arm called 'reel'"):
        of(lesions, FinetuneSettings("toy", "reel"))


def test_without_an_earlier_unit_no_time_is_told(lesions):
    found = of(lesions, FinetuneSettings("toy", "real"))
    assert found.seconds is None
    assert found.time() == "No earlier unit of these backbones at 96 pixels tells how long that takes."
    lesions.write_part("units", "old", pd.DataFrame({"run": ["r"], "backbone": ["toy"]}))
    assert paces_of(lesions, 96) == {}, "a unit that says nothing of its pace"


def test_the_pace_by_hand(lesions):
    write_units(
        lesions,
        [("r", "1", "a", 96, 50.0), ("r", "2", "a", 96, 100.0), ("r", "3", "a", 96, 400.0), ("r", "4", "a", 64, 1.0),
         ("r", "5", "b", 64, 9.0), ("r", "6", "a", 96, None), ("s", "7", "c", 96, 7.0), ("s", "3", "a", 96, None),
         ("t", "8", "c", 96, 20.0)],
        {"s": 2, "t": 9},
    )  # fmt: skip
    # a: the median of 50, 100 and 400, one at a time; c: 7 beside another, and 20 beside three, since t has four units
    assert paces_of(lesions, 96) == {"a": Pace(100.0, 3, (1,)), "c": Pace(47.0, 2, (2, 4))}
    assert paces_of(lesions, 64) == {"a": Pace(1.0, 1, (1,)), "b": Pace(9.0, 1, (1,))}


def test_the_time_in_words():
    plan = FinetuneSettings("toy,densenet_mini", "real,real+cars", seeds=3, steps=10, batch=32)
    found = preview(plan, {"real+sham": "no"}, {"toy": Pace(32.0, 2, (2,)), "resnet50": Pace(1.0, 5, (1,))})
    # 2 arms × 3 seeds × 10 steps × 32 films at 32 films a second
    assert found.seconds == pytest.approx(60)
    assert found.lacking == {}
    assert found.time() == (
        "Training of toy takes about 60 s at the pace of 2 earlier units at 96 pixels, made 2 at once; checks and "
        "predictions come on top. Nothing tells the pace of densenet_mini yet."
    )
    both = preview(plan, {}, {"toy": Pace(32.0, 1, (1,)), "densenet_mini": Pace(64.0, 0, (1,))})
    assert both.seconds == pytest.approx(90)
    assert both.time() == (
        "Training takes about 90 s at the pace of 1 earlier unit at 96 pixels; checks and predictions come on top."
    ).replace("90 s", "2 min")


def test_a_unit_that_was_trained_tells_its_pace(lesions):
    plan = FinetuneSettings("toy", "real", 1, size=32, steps=2, batch=4, check_every=2, device="cpu", threads=1)
    finetune(lesions, plan)
    assert of(lesions, plan).seconds > 0
    assert paces_of(lesions, 48) == {}


def test_an_arm_without_its_films_is_told_as_the_verb_would(tmp_path):
    workspace = make_workspace(tmp_path / "ws", patients=20, edits=0)
    arms = ["real", "real-equal-steps", "oversampled", "real+cars", "real+label-prompted"]
    plan = FinetuneSettings("toy", ",".join(arms), 1, size=32, steps=1, batch=4)
    coming = of(workspace, plan)
    found = coming.lacking
    assert coming.lacks() == [
        f"{found['oversampled']} The same is true of real+cars.", found["real+label-prompted"]
    ]  # fmt: skip
    assert list(found) == ["oversampled", "real+cars", "real+label-prompted"]
    for arm, text in found.items():
        with pytest.raises(WorkspaceError) as raised:
            finetune(workspace, FinetuneSettings("toy", arm, 1, size=32, steps=1, batch=4))
        assert text == f"{raised.value.message} {raised.value.hint}"
