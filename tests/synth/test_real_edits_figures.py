"""The figures of benchmarks/real_edits.py on toys: what counts as what, which real films are compared with, copies."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synth_toys import ToyGenerator, ToyJudge, ToySegmenter, film, workspace_of

from cars.schema import COLUMN_OF, FINDINGS
from cars.synth.editing import Models, Outcome, Source
from cars.synth.settings import SynthSettings

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
EFFUSION = FINDINGS.index("Pleural Effusion")


@pytest.fixture(scope="module")
def bench():
    """The benchmark and its two helpers, as modules."""
    before = set(sys.modules)
    sys.path.insert(0, str(BENCHMARKS))
    yield tuple(importlib.import_module(name) for name in ("real_edits", "_real_sets", "_real_grid"))
    sys.path.remove(str(BENCHMARKS))
    for name in {"real_edits", "_real_sets", "_real_grid", "_witness", "counterfactual"} - before:
        sys.modules.pop(name, None)


class Witness(ToyJudge):
    """Sees an effusion at a lower brightness than the toy judge does, and judges nothing else."""

    trained = np.arange(len(FINDINGS)) == EFFUSION
    thresholds = np.where(np.arange(len(FINDINGS)) == EFFUSION, 0.3, np.nan).astype(np.float32)


def labels(**present: int) -> dict[str, int]:
    return {f: present.get(c, -2) for f, c in COLUMN_OF.items()}


def made_of(bench, name: str, direction: str, films: tuple[np.ndarray, ...], passed: bool = True, error=None):
    from cars.gates import Measure

    source, edited, sham = films
    roi = np.zeros(source.shape, bool)
    roi[60:80, 60:80] = True
    gates = [Measure("judge", "x", 0, 0, 0, passed), Measure("anatomy", "y", 0, 0, 0, True)]
    outcome = Outcome(error) if error else Outcome(None, edited, roi, sham, mode="inversion", gates=gates)
    changes = {name: direction}
    return bench[0].Made(name, direction, Source(source, labels(), changes, "PA", subject_id="p0"), outcome)


def test_what_counts_as_what(bench):
    rng = np.random.default_rng(0)
    dark, bright = film(rng, False), film(rng, True)
    flips = made_of(bench, "Pleural Effusion", "insert", (dark, bright, dark))
    fails = made_of(bench, "Pleural Effusion", "insert", (dark, dark, bright), passed=False)
    left = made_of(bench, "Pleural Effusion", "insert", (dark, dark, dark), error="the outlines are not trusted")
    found = bench[0].summarise([flips, fails, left], ToyJudge(), Witness())
    wanted = {"n": 2, "untrusted": 1, "flip": 1, "sham": 1, "passed": 1, "inverted": 2, "witness_n": 2,
              "witness_flip": 1, "witness_sham": 1}  # fmt: skip
    assert {name: found[name] for name in wanted} == wanted
    assert (found["clean"], found["failed"]) == (1, {"judge": 1})
    # a judge that is sure at its threshold sees all findings at once here, so its flip is not clean
    strict = ToyJudge()
    strict.sure = np.full((len(FINDINGS), 2), 0.5, np.float32)
    assert bench[0].summarise([flips], strict, Witness())["clean"] == 0
    moved = found["moved"]
    assert moved["edit"][0] > 0.5
    assert moved["edit"][1] == pytest.approx(0, abs=0.05) == moved["sham"][0]
    # where the witness sees the finding already there is nothing to flip, and of others it says nothing
    assert (
        bench[0].summarise([made_of(bench, "Pleural Effusion", "insert", (bright,) * 3)], ToyJudge(), Witness())[
            "witness_n"
        ]
        == 0
    )
    other = bench[0].summarise([made_of(bench, "Edema", "delete", (bright, dark, bright))], ToyJudge(), Witness())
    assert (other["flip"], other["sham"], other["witness_n"], other["moved"]["edit"]) == (1, 0, 0, [])


def test_a_deletion_moves_the_other_way(bench):
    rng = np.random.default_rng(1)
    dark, bright = film(rng, False), film(rng, True)
    gone = made_of(bench, "Pleural Effusion", "delete", (bright, dark, bright))
    found = bench[0].summarise([gone], ToyJudge(), Witness())
    assert (found["flip"], found["sham"], found["witness_flip"], found["witness_sham"]) == (1, 0, 1, 0)
    assert found["moved"]["edit"][0] > 0.5
    table = bench[0].edits_table(
        [{"generator": "g", "finding": "Pleural Effusion", "direction": "delete", **found}], "g"
    )
    assert "| Pleural Effusion | delete | 1 | 1.00 [0.21, 1.00] | 0.00 [0.00, 0.79] |" in table
    assert "| **all** | insert | 0 | – | – | – | – | – | – / – | – |" in table


@dataclass(frozen=True)
class Asked:
    finding: str
    direction: str
    source: Source
    outcome: Outcome = field(default_factory=Outcome)


def many_films(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    codes = np.where(rng.random((n, len(FINDINGS))) < 0.3, 1, -2)
    frame = pd.DataFrame(codes, columns=list(COLUMN_OF.values()))
    frame["dicom_id"] = [f"d{k}" for k in range(n)]
    frame["subject_id"] = [f"p{k // 2}" for k in range(n)]
    return frame.assign(view=np.where(rng.random(n) < 0.5, "PA", "AP"), on_disk=True)


def test_real_films_to_compare_with_have_the_finding_and_the_view(bench):
    films = many_films()
    empty = np.zeros((4, 4), np.uint8)
    made = [
        Asked(f, d, Source(empty, labels(edema=1), {f: d}, v, subject_id="p3"))
        for f in ("Edema", "Pneumothorax") for d in ("insert", "delete") for v in ("PA", "AP")
    ]  # fmt: skip
    pairs = bench[1].matches(films, made, 0)
    used = [i for pair in pairs for i in pair if i]
    assert len(used) == len(set(used)) == 2 * len(made)
    rows = films.set_index("dicom_id")
    for m, pair in zip(made, pairs):
        for i in pair:
            assert (rows.loc[i, COLUMN_OF[m.finding]] == 1) == (m.direction == "insert")
            assert rows.loc[i, "view"] == m.source.view
            assert rows.loc[i, "subject_id"] != "p3"
    assert bench[1].matches(films, made, 0) == pairs


def test_real_films_of_like_labels_come_first_and_none_is_used_twice(bench):
    films = many_films(4).assign(view="PA", subject_id=list("abcd"))
    films[list(COLUMN_OF.values())] = -2
    films["pleural_effusion"] = 1
    films.loc[:1, ["edema", "fracture"]] = 1
    plain = Source(np.zeros((4, 4), np.uint8), labels(), {"Pleural Effusion": "insert"}, "PA", subject_id="z")
    first, second, third = bench[1].matches(films, [Asked("Pleural Effusion", "insert", plain)] * 3, 0)
    assert {*first} == {"d2", "d3"}
    assert {*second} == {"d0", "d1"}
    assert third == ("", "")


def test_a_copied_roi_shows(bench, tmp_path, monkeypatch):
    """A ROI taken from a training film is above the limit; those of the films before the edit are not."""
    monkeypatch.setattr(bench[1], "HELD_OUT", 20)
    workspace = workspace_of(tmp_path, 36)
    train = workspace.query("synth/source_films")
    from cars.imaging import decode

    sources = [
        Source(
            decode(row["path"]), labels(), {"Pleural Effusion": "insert"}, "PA", seed=n, subject_id=row["subject_id"]
        )
        for n, row in enumerate(train[train["no_finding"] == 1].head(8).to_dict("records"))
    ]
    models = Models(ToyGenerator(), ToySegmenter(), ToyJudge())
    made = {"toy": bench[0].made_by(models, {("Pleural Effusion", "insert"): sources}, SynthSettings(mode="inpaint"))}
    rows = {r["pieces"]: r for r in bench[1].memorised(workspace, ToySegmenter(), made, 0)}
    assert rows["held-out real films"]["n"] == 20
    assert rows["planted copies"]["by_finding"] == {"Pleural Effusion": [rows["planted copies"]["above"], 8]}
    assert rows["planted copies"]["above"] >= 7
    assert rows["unedited sources"]["above"] <= 2
    assert rows["planted copies"]["median"] > rows["unedited sources"]["median"] + 0.03


def test_a_change_is_as_sharp_as_it_was_made(bench):
    from cars.generators import composite
    from cars.imaging import Placement, square

    rng = np.random.default_rng(3)
    source, size = rng.integers(60, 180, (512, 448), dtype=np.uint8), bench[1].SIZE
    place = Placement(512, 448, size)
    small = square(source, size)
    wanted = small + rng.normal(0, 15, small.shape).astype(np.float32)
    edited = composite(source, small, wanted, np.ones(source.shape, np.float32), place)
    inner = np.s_[2:-2, 6:-6]
    blurred = np.abs(square(edited, size) - wanted)[inner].mean()
    assert np.abs(bench[1].sharpened(edited, source, place) - wanted)[inner].mean() < 0.4 * blurred
    assert np.array_equal(bench[1].sharpened(source, source, place), small)


def test_the_pictures_are_drawn_by_seed_from_all(bench, tmp_path):
    rng = np.random.default_rng(2)
    films = tuple(film(rng, k == 1) for k in range(3))
    made = [made_of(bench, "Pleural Effusion", "insert", films, passed=n % 2 == 0) for n in range(12)]
    grid = bench[2]
    picks = {id(grid.chosen(made, True, seed)) for seed in range(40)}
    assert picks == {id(m) for m in made[::2]}
    assert grid.chosen(made[::2], False, 0) is None
    source, edit, sham, _ = grid.panels(made[0])
    assert (source != edit).any()
    assert (sham[5, 5] == sham[5, 5, 0]).all()
    # nothing changed is mid-grey; the orange outline is drawn on the source alone
    same = made_of(bench, "Pleural Effusion", "insert", (films[0],) * 3)
    assert np.unique(grid.panels(same)[3]).tolist() == [127]
    assert (source == [0xE6, 0x9F, 0x00]).all(axis=2).any()
    assert not (edit == [0xE6, 0x9F, 0x00]).all(axis=2).any()
    grid.save_grid(tmp_path / "grid.png", made, 0)
    from PIL import Image

    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.size == (8 * 128 + 6, 26 + 154)
