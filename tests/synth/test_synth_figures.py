"""benchmarks/synth.py: that its clock counts what the network does, and that both sides of a row do the same work."""

from __future__ import annotations

import importlib.util
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from synth_toys import ToyJudge, ToySegmenter, workspace_of

from cars.synth.editing import Models
from cars.synth.planning import plan
from cars.synth.settings import PlanSettings

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "synth.py"


@pytest.fixture(scope="module")
def figures():
    spec = importlib.util.spec_from_file_location("synth_benchmark", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_the_clock_counts_rows_and_lets_go_of_the_network(figures, tiny_generator, request_of):
    net = tiny_generator.net
    before = net.forward
    with figures.clocked(net) as clock:
        tiny_generator.edit([request_of(steps=6), request_of(1, steps=6)])
    # own latents of six levels, then source and target in five steps and the target alone in the first
    assert clock.rows == 2 * (6 + 2 * 5 + 1)
    assert 0 < clock.unet_cpu <= clock.cpu
    assert 0 < clock.unet_wall <= clock.wall
    assert clock.share == clock.unet_cpu / clock.cpu
    assert net.forward == before


def test_ours_and_the_plain_loop_make_the_same_plan(figures, tmp_path, monkeypatch, tiny_editor):
    from cars.generators.cars_unet import CarsGenerator

    def small(folder, edits, side):
        workspace = workspace_of(folder, 12)
        plan(workspace, PlanSettings(screen=False, balanced=2, edits="insert:Pneumothorax,delete:Pleural Effusion"))
        return workspace

    monkeypatch.setattr(figures, "workspace_of", small)
    saved = []
    monkeypatch.setattr(figures, "save_png", lambda path, image: saved.append(image))
    monkeypatch.setattr(figures, "SynthSettings", partial(figures.SynthSettings, steps=2))
    ours = Models(CarsGenerator(tiny_editor).load("cpu"), ToySegmenter(), ToyJudge())
    plain = Models(figures.PlainGenerator(tiny_editor).load("cpu"), ToySegmenter(), ToyJudge())
    rows = figures.speed(ours, plain, SimpleNamespace(edits=4, side=96))
    assert len(saved) == 4 * 3
    assert all(isinstance(image, np.ndarray) for image in saved)
    units = {row["what"].split(": ")[1]: row for row in rows}
    per_edit = units["rows through the UNet per edit"]
    # inverting takes 3 s − 1 rows against 3 s and 3 s more for its sham; inpainting with its sham 3 s against 4 s
    assert per_edit["ours"] < 0.7 * per_edit["reference"]
    for row in rows:
        assert row["ratio"] == pytest.approx(row["ours"] / row["reference"])
        assert set(row) == {"what", "ours", "reference", "ratio", "unit"}
