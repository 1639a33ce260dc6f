"""The baselines that the editor is measured against: each does what its paper says, on cases worked by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from synth_toys import SIZE, ToyJudge, ToySegmenter, film, thorax, vector, workspace_of

from cars.errors import DataError, SettingError
from cars.generators import GENERATORS, EditRequest, offered
from cars.generators._sampler import Walk
from cars.generators.copy_paste import CopyPaste, Donor, blended, box, onto
from cars.generators.ddim_inversion import DDIMInversion, lowered, raised
from cars.generators.judge_shift import STEPS, JudgeShift
from cars.generators.label_prompted import LABELS, LabelPrompted, collapsed
from cars.generators.sdedit import SDEdit
from cars.schema import EDITABLE, FINDINGS
from cars.synth.editing import Models, Source, attempts, edit_films
from cars.synth.models import workspace_generator
from cars.synth.settings import SynthSettings


def test_baselines_can_be_run_by_name_and_are_not_offered():
    baselines = {"sdedit", "ddim-inversion", "label-prompted", "judge-shift", "copy-paste"}
    assert baselines <= set(GENERATORS.names())
    assert "cars" in offered()
    assert not baselines & set(offered())


def test_attempts_are_in_the_modes_that_a_generator_has():
    settings = SynthSettings(seeds=2)
    g = settings.guidance
    assert [(m, w) for m, _, w in attempts(settings, 5)] == [
        ("inversion", g), ("inversion", 2 * g), ("inpaint", 2 * g), ("inpaint", 2 * g)
    ]  # fmt: skip
    assert [(m, w) for m, _, w in attempts(settings, 5, ("inpaint",))] == [("inpaint", g), ("inpaint", g)]
    assert attempts(settings, 5, ("inversion",)) == [("inversion", 5, g)]
    assert attempts(replace(settings, mode="inversion"), 5) == [("inversion", 5, g)]
    with pytest.raises(SettingError, match="inversion"):
        attempts(replace(settings, mode="inversion"), 5, ("inpaint",))


# Diffusion -----------------------------------------------------------------------------------------------------------


class Straight(Walk):
    """A walk whose network knows the film: v is exact for one film x0 and one noise."""

    def __init__(self, x0, noise, alpha):
        self.x0, self.epsilon, self.alpha, self.before, self.rows = x0, noise, alpha, None, None

    def ask(self, *asked):
        return [self.v(level) for _, level, _, _ in asked]

    def v(self, level):
        a = self.alpha[level]
        return a**0.5 * self.epsilon - (1 - a) ** 0.5 * self.x0


def test_ddim_steps_follow_the_ray_from_film_to_noise():
    """With an exact v, DDIM goes from √b·x0 + √(1−b)·ε to √a·x0 + √(1−a)·ε and back."""
    import torch

    x0, noise = torch.tensor([[0.4, -0.7]]), torch.tensor([[1.0, -2.0]])
    walk = Straight(x0, noise, [1e-9, 0.3, 0.8, 1.0])

    def at(level):
        a = walk.alpha[level]
        return a**0.5 * x0 + (1 - a) ** 0.5 * noise

    for level in (0, 1):
        torch.testing.assert_close(lowered(walk, at(level), walk.v(level), level), at(level + 1))
    # up from level + 1 the noise is read at `level`: a·ε + (1 − a)·… mixes in the film's own part, by hand for level 1
    a, b, x = 0.3, 0.8, at(2)
    seen = a**0.5 * walk.v(1) + (1 - a) ** 0.5 * x
    torch.testing.assert_close(raised(walk, x, 1), (a / b) ** 0.5 * (x - (1 - b) ** 0.5 * seen) + (1 - a) ** 0.5 * seen)


def test_ddim_inversion_comes_back_nearly_and_edit_friendly_inversion_exactly(tiny_editor, request_of):
    generator = DDIMInversion(tiny_editor).load("cpu")
    sham = request_of(steps=50, guidance=1.0).sham()
    [result] = generator.edit([sham])
    away = np.abs(result.edited - sham.image)[sham.roi]
    assert 0 < away.mean() < 60
    [other] = generator.edit([request_of(steps=50)])
    assert np.abs(other.edited - result.edited)[sham.roi].max() > 0.5


def test_sdedit_keeps_more_of_the_film_the_less_it_is_noised(tiny_editor, request_of):
    generator = SDEdit(tiny_editor).load("cpu")
    far, default, near = (
        np.abs(generator.edit([request_of(mode="inpaint", steps=20, skip=skip)])[0].edited - request_of().image).sum()
        for skip in (0.05, 0.0, 0.9)
    )
    assert near < default < far


def test_labels_lose_the_finding_within_them():
    codes = collapsed(vector(consolidation=1, pneumonia=0, atelectasis=0, edema=1, fracture=1, no_finding=0))
    named = dict(zip(FINDINGS, codes.tolist()))
    assert named["Pneumonia"] == 1
    assert named["Pneumothorax"] == 0
    assert named["Lung Opacity"] == 1
    assert named["No Finding"] == 0
    assert {named[f] for f in ("Consolidation", "Atelectasis", "Edema", "Fracture", "Lung Lesion")} == {-2}
    members = [f for findings in LABELS.values() for f in findings]
    assert len(members) == len(set(members))
    assert set(EDITABLE) - {"Fracture", "Pleural Other", "Support Devices"} <= set(members)


def test_label_prompted_never_sees_the_film(tiny_editor, request_of):
    generator = LabelPrompted(tiny_editor).load("cpu")
    one = request_of(mode="inpaint")
    other = replace(one, image=255 - one.image, masks=one.masks[::-1].copy())
    [a], [b] = generator.edit([one]), generator.edit([other])
    np.testing.assert_allclose(a.edited[one.roi], b.edited[one.roi], atol=1e-3)
    assert a.drift > 1
    assert abs(a.drift - b.drift) > 0.01
    # consolidation and pneumonia are one prompt to it
    lost = [replace(one, vector_to=vector(**{f: 1})) for f in ("consolidation", "pneumonia")]
    np.testing.assert_array_equal(*[r.edited for r in generator.edit(lost)])


# Without diffusion ---------------------------------------------------------------------------------------------------


def lungs(size: int = 64) -> EditRequest:
    masks = thorax(size)
    rng = np.random.default_rng(0)
    image = np.clip(120 - 70 * masks[:2].any(0) + rng.normal(0, 8, (size, size)), 0, 255).astype(np.uint8)
    return EditRequest(image, masks[0], masks, vector(edema=0), vector(edema=1), mode="inversion")


def test_judge_shift_takes_the_least_step_that_convinces_the_judge():
    generator = JudgeShift().load("cpu")
    asked = lungs()
    [there] = generator.edit([asked])
    largest = float(np.abs(there.edited - asked.image)[asked.roi].max())
    assert largest <= max(STEPS) + 0.01
    np.testing.assert_array_equal(there.edited[~asked.roi], asked.image[~asked.roi].astype(np.float32))
    [sham] = generator.edit([asked.sham()])
    np.testing.assert_array_equal(sham.edited, asked.image.astype(np.float32))
    # insertion and deletion of the same finding lie on opposite sides of the film
    [gone] = generator.edit([replace(asked, vector_from=asked.vector_to, vector_to=asked.vector_from)])
    up, down = (np.sign(r.edited - asked.image)[asked.roi] for r in (there, gone))
    assert np.corrcoef(up, down)[0, 1] < -0.5


def test_poisson_keeps_gradients_and_meets_the_edge():
    size = 20
    source = np.full((size, size), 100, np.uint8)
    donor = np.add.outer(np.zeros(size), 3 * np.arange(size)).astype(np.uint8)
    roi = np.zeros((size, size), bool)
    roi[5:15, 5:15] = True
    # a donor that differs from the source by a constant adds nothing: its gradients are the source's own
    np.testing.assert_allclose(blended(donor, donor + 50, roi), donor, atol=0.01)
    result = blended(source, donor, roi)
    np.testing.assert_array_equal(result[~roi], 100)
    # against a dense solution of the same equations
    y, x = np.nonzero(roi)
    n = len(y)
    a, b = np.zeros((n, n)), np.zeros(n)
    index = {p: k for k, p in enumerate(zip(y.tolist(), x.tolist()))}
    for (py, px), k in index.items():
        for q in ((py - 1, px), (py + 1, px), (py, px - 1), (py, px + 1)):
            a[k, k] += 1
            b[k] += float(donor[py, px]) - float(donor[q])
            if q in index:
                a[k, index[q]] -= 1
            else:
                b[k] += source[q]
    np.testing.assert_allclose(result[roi], np.linalg.solve(a, b), atol=0.01)


def test_a_roi_without_an_edge_takes_the_donor():
    rng = np.random.default_rng(1)
    source, donor = rng.integers(0, 256, (2, 12, 12), dtype=np.uint8)
    np.testing.assert_allclose(blended(source, donor, np.ones((12, 12), bool)), donor, atol=0.1)


def test_the_donors_lungs_come_to_lie_on_the_sources():
    masks = thorax(64)
    small = np.zeros_like(masks)
    small[:, 10:42, 20:52] = masks[:, ::2, ::2]
    image = np.where(small[0], 200, 10).astype(np.uint8)
    carried = onto(Donor(image, small, small[0]), masks)
    assert np.abs(box(carried.masks[:2].any(0)) - box(masks[:2].any(0))).max() <= 2
    overlap = 2 * (carried.place & masks[0]).sum() / (carried.place.sum() + masks[0].sum())
    assert overlap > 0.85
    assert (carried.image > 100)[masks[0]].mean() > 0.8


def test_copy_paste_from_the_phantom_shows_the_finding_and_its_sham_does_not():
    from cars.phantom import render, sample_anatomy, sample_film

    rng = np.random.default_rng(8)
    shot = render(sample_film(rng, sample_anatomy(rng, "F", 60), "PA"), 64)
    roi = shot.masks[:2].any(0)
    absent = dict.fromkeys(("edema", "pneumonia", "cardiomegaly"), 0)
    asked = EditRequest(shot.image, roi, shot.masks, vector(**absent), vector(**{**absent, "edema": 1}), mode="inpaint")
    generator = CopyPaste().load()
    edited, sham = (r.edited for r in generator.edit([asked, asked.sham()]))
    # oedema is brighter than air; the sham pastes a lung without it
    assert edited[roi].mean() > sham[roi].mean() + 2
    assert not np.array_equal(edited, shot.image)


class Loaded(ToySegmenter):
    def load(self, device):
        return self


def test_copy_paste_in_a_workspace_copies_other_train_patients_only(tmp_path, monkeypatch):
    workspace = workspace_of(tmp_path, 18)
    monkeypatch.setattr("cars.segmenters.SEGMENTERS.get", lambda name: Loaded)
    generator = workspace_generator(workspace, "copy-paste", "cpu")
    opened = []
    from cars import imaging

    real = imaging.decode
    monkeypatch.setattr(imaging, "decode", lambda path, *rest: opened.append(path) or real(path, *rest))
    films = workspace.read("films").set_index("path")
    healthy = film(np.random.default_rng(0), False, 64)
    masks = thorax(64)
    before = vector(no_finding=1)
    asked = EditRequest(
        healthy, masks[0], masks, vector(pleural_effusion=0), vector(pleural_effusion=1), mode="inpaint",
        subject_id="p0",
    )  # fmt: skip
    results = generator.edit([replace(asked, seed=s) for s in range(6)])
    donors = films.loc[opened]
    assert set(donors["split"]) == {"train"}
    assert set(donors["pleural_effusion"]) == {1}
    assert "p0" not in set(donors["subject_id"])
    assert len(set(opened)) > 1
    assert all((r.edited[~asked.roi] == healthy[~asked.roi]).all() for r in results)
    with pytest.raises(DataError, match="copied from"):
        generator.edit([replace(asked, vector_from=before, vector_to=vector(edema=1))])


@pytest.mark.parametrize("kind", [SDEdit, DDIMInversion, LabelPrompted])
def test_a_baseline_goes_through_the_same_editing_and_gates(kind, tiny_editor):
    models = Models(kind(tiny_editor).load("cpu"), ToySegmenter(), ToyJudge())
    assert models.generator.size == SIZE
    labels = dict.fromkeys(FINDINGS, -2)
    source = Source(film(np.random.default_rng(0), False), labels, {"Pneumothorax": "insert"}, subject_id="p1")
    [outcome] = edit_films([source], models, SynthSettings(steps=2))
    assert outcome.mode in kind.modes
    np.testing.assert_array_equal(outcome.edited[~outcome.roi], source.film[~outcome.roi])
    assert {g.gate for g in outcome.gates} >= {"judge", "outside", "copy"}
