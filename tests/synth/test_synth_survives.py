"""synth is killed at any write, runs out of disk or of memory: nothing is lost, nothing is doubled."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synth_toys import ToyGenerator, ToyJudge, ToySegmenter, film, workspace_of

from cars.errors import ResourceError
from cars.imaging import save_png
from cars.schema import FINDINGS
from cars.synth import synth
from cars.synth.editing import Models, Source, edit_films
from cars.synth.planning import plan
from cars.synth.settings import PlanSettings, SynthSettings
from cars.torchbox import torch
from cars.workspace import Workspace

PLAN = PlanSettings(screen=False, balanced=5, edits="insert:Pneumothorax,delete:Pleural Effusion")
# batch 8: the second chunk is edited while the first is written
SETTINGS = SynthSettings(generator=ToyGenerator(), segmenter=ToySegmenter(), judge=ToyJudge(), steps=2, batch=8)
#: Files of a chunk of eight and of the two edits left: three images each, then uncertainty, gates and edits.
FIRST, SECOND = 8 * 3 + 3, 2 * 3 + 3


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """A workspace with a plan of ten edits; copy it."""
    workspace = workspace_of(tmp_path_factory.mktemp("planned"), 18)
    plan(workspace, PLAN)
    return workspace.path


@pytest.fixture(scope="module")
def unbroken(planned):
    """All that an unbroken run writes."""
    return written(run(copied(planned, planned.parent / "unbroken")))


def copied(planned: Path, to: Path) -> Workspace:
    shutil.copytree(planned, to)
    return Workspace.open(to)


def run(workspace: Workspace) -> Workspace:
    told = synth(workspace, replace(SETTINGS, generator=ToyGenerator()))
    assert (told["requested"], told["edited"]) == (10, 10)
    return workspace


def written(workspace: Workspace) -> dict[str, object]:
    """The three tables without the time, and every file under films."""
    files = {
        str(path.relative_to(workspace.path)): path.read_bytes()
        for path in sorted((workspace.path / "films").rglob("*"))
        if path.is_file() and path.suffix != ".tmp"
    }
    tables = {}
    for name, keys in (
        ("edits", ["edit_id"]), ("gates", ["edit_id", "gate", "measure"]), ("uncertainty", ["edit_id", "finding"]),
    ):  # fmt: skip
        rows = workspace.read(name).drop(columns="created", errors="ignore").sort_values(keys, ignore_index=True)
        assert not rows.duplicated(keys).any()
        tables[name] = rows.to_json(orient="records")
    return {"files": files, **tables}


SCRIPT = """
import json, os, signal, sys
from dataclasses import replace
sys.path.insert(0, {tests!r})
from test_synth_survives import SETTINGS
from cars.synth import synth
from cars.workspace import Workspace

def in_a_child(path, number, after):
    real, seen = os.replace, []
    def replace(a, b):
        seen.append(b)
        if len(seen) - 1 == number and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        real(a, b)
        if len(seen) - 1 == number:
            os.kill(os.getpid(), signal.SIGKILL)
    os.replace = replace
    synth(Workspace.open(path), SETTINGS)

for path, number, after in json.loads(sys.argv[1]):
    child = os.fork()  # what is slow to import is imported once
    if not child:
        in_a_child(path, number, after)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

#: Before or after which rename the process dies: a film, each part, the first film of the next chunk, the last part.
KILLS = [
    (0, False), (11, True), (FIRST - 2, False), (FIRST - 1, False), (FIRST - 1, True), (FIRST + 4, False),
    (FIRST + SECOND - 1, True),
]  # fmt: skip


@pytest.fixture(scope="module")
def killed(planned):
    """A workspace for each of KILLS whose run was killed there."""
    here = Path(__file__).resolve()
    places = [copied(planned, planned.parent / f"killed-{n}").path for n in range(len(KILLS))]
    jobs = json.dumps([[str(place), *kill] for place, kill in zip(places, KILLS)])
    command = [sys.executable, "-c", SCRIPT.format(tests=str(here.parent)), jobs]
    done = subprocess.run(command, cwd=here.parents[2], capture_output=True, text=True, check=False)
    assert done.stdout.split() == [str(-signal.SIGKILL)] * len(KILLS), done.stderr
    return dict(zip(KILLS, places))


@pytest.mark.parametrize("kill", KILLS)
def test_a_killed_run_goes_on_to_what_an_unbroken_one_writes(killed, unbroken, kill):
    workspace = Workspace.open(killed[kill])
    number, after = kill
    whole = number + after
    assert len(workspace.read("edits")) if workspace.has("edits") else whole < FIRST
    assert (len(workspace.read("edits")) if workspace.has("edits") else 0) == (
        10 if whole == FIRST + SECOND else 8 if whole >= FIRST else 0
    )
    generator = ToyGenerator()
    synth(workspace, replace(SETTINGS, generator=generator))
    assert generator.calls == (0 if whole == FIRST + SECOND else 1 if whole >= FIRST else 2)
    assert written(workspace) == unbroken


def full_after(monkeypatch, writes: int, name: str = "fsync") -> None:
    """Let the disk be full from that call on."""
    real, calls = getattr(os, name), []

    def call(*arguments, **named):
        calls.append(1)
        if len(calls) > writes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **named)

    monkeypatch.setattr(os, name, call)


@pytest.mark.parametrize("writes", [0, 5, FIRST - 1, FIRST, FIRST + SECOND - 1])
def test_a_full_disk_stops_the_run_and_the_next_one_goes_on(planned, unbroken, tmp_path, monkeypatch, writes):
    workspace = copied(planned, tmp_path / "ws")
    with monkeypatch.context() as patch:
        full_after(patch, writes)
        with pytest.raises(ResourceError, match=r"disk.*is full") as caught:
            synth(workspace, SETTINGS)
    assert str(workspace.path) in caught.value.message
    assert "goes on where it stopped" in caught.value.hint
    assert not list(workspace.path.rglob("*.tmp"))
    assert (len(workspace.read("edits")) if workspace.has("edits") else 0) == (8 if writes >= FIRST else 0)
    assert written(run(workspace)) == unbroken


def test_a_disk_that_has_no_room_for_a_new_name_is_full_too(planned, tmp_path, monkeypatch):
    workspace = copied(planned, tmp_path / "ws")
    with monkeypatch.context() as patch:
        full_after(patch, 3, "mkdir")
        with pytest.raises(ResourceError, match=r"disk.*is full"):
            synth(workspace, SETTINGS)
    run(workspace)


TINY = """
import shutil, subprocess, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_synth_survives import SETTINGS
from cars.errors import ResourceError
from cars.synth import synth
from cars.workspace import Workspace

place = Path({place!r})
subprocess.run(["mount", "-t", "tmpfs", "-o", "size={kilobytes}k", "tmpfs", place], check=True)
shutil.copytree({planned!r}, place / "ws")
try:
    synth(Workspace.open(place / "ws"), SETTINGS)
except ResourceError as error:
    print(error.message)
shutil.copytree(place / "ws", {out!r})
"""


def test_a_small_disk_that_is_really_full(planned, unbroken, tmp_path):
    """A memory disk with room for the plan and some of the films."""
    used = sum(4 * -(-path.stat().st_size // 4096) for path in planned.rglob("*") if path.is_file())
    here, place, out = Path(__file__).resolve(), tmp_path / "tiny", tmp_path / "out"
    place.mkdir()
    mount = ["unshare", "-Urm", "mount", "-t", "tmpfs", "tmpfs", place]
    if not shutil.which("unshare") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine lets no user mount a memory disk")
    script = TINY.format(
        tests=str(here.parent), place=str(place), kilobytes=used + 160, planned=str(planned), out=str(out)
    )
    done = subprocess.run(
        ["unshare", "-Urm", sys.executable, "-c", script], cwd=here.parents[2], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert "is full" in done.stdout, done.stderr
    assert written(run(Workspace.open(out))) == unbroken


# Memory -------------------------------------------------------------------------------------------------------------


def short_of_memory(function, room: int, sizes: list[int]):
    """The function, which raises torch's error where more than `room` films are given."""

    def call(x, *rest, **named):
        sizes.append(len(x))
        if len(x) > room:
            raise torch().OutOfMemoryError("CUDA out of memory.")
        return function(x, *rest, **named)

    return call


def sources(count: int) -> list[Source]:
    rng = np.random.default_rng(0)
    labels, changes = dict.fromkeys(FINDINGS, 0), {"Pneumothorax": "insert"}
    return [Source(film(rng, False), labels, changes, "PA", "F", 50.0, n) for n in range(count)]


def test_sampler_judge_and_segmenter_each_find_out_what_fits(tiny_editor, monkeypatch):
    from cars.generators.cars_unet import CarsGenerator

    settings = SynthSettings(steps=3, batch=8, uncertainty=2)
    plenty = Models(CarsGenerator(tiny_editor).load("cpu"), ToySegmenter(), ToyJudge())
    wanted = edit_films(sources(6), plenty, settings)
    generator, segmenter, judge = CarsGenerator(tiny_editor).load("cpu"), ToySegmenter(), ToyJudge()
    seen: dict[str, list[int]] = {"network": [], "masks": [], "probabilities": []}
    monkeypatch.setattr(generator.net, "forward", short_of_memory(generator.net.forward, 8, seen["network"]))
    monkeypatch.setattr(segmenter, "masks", short_of_memory(segmenter.masks, 2, seen["masks"]))
    monkeypatch.setattr(judge, "probabilities", short_of_memory(judge.probabilities, 5, seen["probabilities"]))
    models = Models(generator, segmenter, judge)
    found = edit_films(sources(6), models, settings)
    for ours, theirs in zip(found, wanted):
        assert ours.error is None
        np.testing.assert_allclose(ours.edited.astype(int), theirs.edited.astype(int), atol=1)
        np.testing.assert_array_equal(ours.roi, theirs.roi)
        assert (ours.mode, ours.seed, ours.passed) == (theirs.mode, theirs.seed, theirs.passed)
    # once something has failed, no more is asked for within the run, nor in the next films of the same run
    most = dict(models.fitting.most)
    assert set(most) == {"the generator", "the judge", "the segmenter"}
    for sizes in seen.values():
        sizes.clear()
    edit_films(sources(3), models, settings)
    assert models.fitting.most == most
    assert max(seen["network"]) <= 8
    assert max(seen["masks"]) <= 2
    assert max(seen["probabilities"]) <= 5


@pytest.mark.parametrize("part", ["generator", "segmenter", "judge", "saliency"])
def test_not_even_one_film_fits(planned, tmp_path, monkeypatch, part):
    workspace = copied(planned, tmp_path / "ws")
    toys = {"generator": ToyGenerator(), "segmenter": ToySegmenter(), "judge": ToyJudge()}
    method = {"generator": "edit", "segmenter": "masks", "judge": "probabilities", "saliency": "saliency"}[part]
    owner = toys["judge" if part == "saliency" else part]
    monkeypatch.setattr(owner, method, short_of_memory(getattr(owner, method), 0, []))
    with pytest.raises(ResourceError, match="even one film at a time") as caught:
        synth(workspace, replace(SETTINGS, **toys))
    assert "goes on where it stopped" in caught.value.hint
    assert not workspace.has("edits")
    run(workspace)


def test_a_batch_of_one_kind_is_halved_and_every_edit_is_made(planned, unbroken, tmp_path):
    class Small(ToyGenerator):
        def edit(self, requests):
            if len(requests) > 3:
                raise ResourceError("too many")
            return super().edit(requests)

    workspace = copied(planned, tmp_path / "ws")
    assert synth(workspace, replace(SETTINGS, generator=Small()))["passed"] == 10
    assert workspace.read("edits")["edit_id"].nunique() == 10


# Decoding -----------------------------------------------------------------------------------------------------------


def test_a_film_that_cannot_be_decoded_costs_its_own_edits_only(planned, unbroken, tmp_path):
    workspace = copied(planned, tmp_path / "ws")
    films = workspace.read("films")
    plans = workspace.records.plans()
    bad = workspace.records.plan_items(plans["plan_id"].iloc[0])["source_dicom_id"].iloc[3]
    broken = tmp_path / "broken.png"
    save_png(broken, film(np.random.default_rng(0), False))
    broken.write_bytes(broken.read_bytes()[:400])
    films.loc[films["dicom_id"] == bad, "path"] = str(broken)
    workspace.write_part("films", "all", films)
    told = synth(workspace, SETTINGS)
    edits = workspace.read("edits")
    lost = edits[edits["source_dicom_id"] == bad]
    assert told["edited"] == 10 - len(lost)
    assert edits["error"].notna().sum() == len(lost) >= 1
    assert lost["error"].str.contains("broken.png").all()
    assert lost["film_path"].isna().all()
    wanted = {row["edit_id"]: row for row in json.loads(unbroken["edits"]) if row["source_dicom_id"] != bad}
    made = edits[edits["error"].isna()].drop(columns="created")
    assert {row["edit_id"]: row for row in json.loads(made.to_json(orient="records"))} == wanted
    for path in made["film_path"]:
        assert (workspace.path / path).read_bytes() == unbroken["files"][path]


@pytest.mark.parametrize("batch", [1, 16])
def test_neither_the_round_nor_the_reading_ahead_shows_in_the_result(planned, unbroken, tmp_path, batch):
    workspace = copied(planned, tmp_path / "ws")
    synth(workspace, replace(SETTINGS, batch=batch))
    assert written(workspace) == unbroken
