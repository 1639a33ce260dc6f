"""Passes with dropout left on: by hand, against every mask, in the table, and with units that are there already."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pandas as pd
import pytest

from cars import schema
from cars.backbones import BACKBONES
from cars.errors import SettingError, WorkspaceError
from cars.evaluate import FinetuneSettings, ReportSettings, curves, finetune, passes
from cars.evaluate.calibration import scaled, sigmoid
from cars.evaluate.experiment import recipe
from cars.evaluate.scores import chosen_run
from cars.evaluate.settings import BACKBONE_GROUPS
from cars.evaluate.uncertainty import dropout_cases, score_uncertainty
from cars.imaging import decode, square
from cars.metrics.entropy import binary_entropy
from cars.provenance import digest, file_digest
from cars.torchbox import torch as load_torch
from cars.workspace import write_json

from .conftest import make_workspace
from .test_report import add_run, noisy, truth_of

DROPPED = dict(
    backbones="toy", arms="real-equal-steps,real+cars", seeds=1, size=32, steps=4, check_every=2, batch=8, threads=1,
    device="cpu", dropout=0.4, passes=3,
)  # fmt: skip


def linear(weight, bias):
    torch = load_torch()
    head = torch.nn.Linear(len(weight[0]), len(weight))
    with torch.no_grad():
        head.weight.copy_(torch.tensor(weight))
        head.bias.copy_(torch.tensor(bias))
    return head


# The passes -------------------------------------------------------------------------------------------------------


def test_one_feature_by_hand():
    # one feature of 2, weight 1: dropped it gives a logit of 0, kept one of 2 / (1 - 0.5) = 4, and nothing else
    features = load_torch().tensor([[2.0]])
    found = passes.run(features, linear([[1.0]], [0.0]), 0.5, 40, seed=1, temperature=2.0)
    kept = round((found[False].mean[0, 0] - 0.5) / (sigmoid(4.0) - 0.5) * 40)
    assert 0 < kept < 40
    share = kept / 40
    assert found[False].mean[0, 0] == pytest.approx(share * sigmoid(4.0) + (1 - share) * 0.5)
    assert found[False].entropy[0, 0] == pytest.approx(share * binary_entropy(sigmoid(4.0)) + (1 - share) * np.log(2))
    assert found[True].mean[0, 0] == pytest.approx(share * sigmoid(2.0) + (1 - share) * 0.5)
    assert found[True].entropy[0, 0] == pytest.approx(share * binary_entropy(sigmoid(2.0)) + (1 - share) * np.log(2))


def test_the_mean_of_many_passes_is_the_expectation_over_every_mask():
    rng = np.random.default_rng(0)
    width, rate, number = 5, 0.3, 3000
    x, w, b = rng.normal(0, 1.5, (3, width)), rng.normal(0, 1, (2, width)), rng.normal(0, 1, 2)
    masks = np.array(list(itertools.product([0, 1], repeat=width)))
    chance = (1 - rate) ** masks.sum(axis=1) * rate ** (width - masks.sum(axis=1))
    prob = sigmoid((x[None] * masks[:, None] / (1 - rate)) @ w.T + b)  # (masks, films, findings)
    found = passes.run(load_torch().tensor(x, dtype=load_torch().float32), linear(w, b), rate, number, 0, 1.0)[False]
    for values, mean in ((prob, found.mean), (binary_entropy(prob), found.entropy)):
        expected = np.tensordot(chance, values, 1)
        noise = np.sqrt(np.tensordot(chance, (values - expected) ** 2, 1) / number)
        assert (np.abs(mean - expected) < 4 * noise).all()
        assert (np.abs(values[-1] - expected) > 8 * noise).any(), "the network without dropout says something else"
    assert (found.total >= found.entropy).all()


def test_passes_repeat_and_more_of_them_begin_with_the_same(monkeypatch):
    features = load_torch().tensor(np.random.default_rng(1).normal(0, 1, (7, 9)), dtype=load_torch().float32)
    head = linear(np.random.default_rng(2).normal(0, 1, (14, 9)), np.zeros(14))

    def mean(number, seed=0):
        return passes.run(features, head, 0.5, number, seed, 1.0)[False].mean

    one, two, three = mean(1), mean(2), mean(3)
    np.testing.assert_array_equal(mean(3), three)
    assert np.abs(mean(1, seed=1) - one).max() > 0.01
    second, third = 2 * two - one, 3 * three - 2 * two
    assert np.abs(second - one).max() > 0.01, "passes differ"
    for single in (second, third):
        assert ((single > 0) & (single < 1)).all()
    drops = [len(set(np.round(row, 6))) for row in one.T]
    assert min(drops) == 7, "each film drops other features"
    monkeypatch.setattr(passes, "CHUNK", 3)
    np.testing.assert_allclose(mean(3), three, atol=1e-7)


# The networks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*BACKBONE_GROUPS["small"], "toy", "xrv_densenet121"])
def test_every_backbone_drops_features_before_its_classifier(name):
    torch = load_torch()
    net = BACKBONES.get(name).build(14, "random", in_size=64, seed=0, dropout=0.5).eval()
    plain = BACKBONES.get(name).build(14, "random", in_size=64, seed=0).eval()
    assert net.state_dict().keys() == plain.state_dict().keys()
    films = torch.rand((2, 1, 64, 64), generator=torch.Generator().manual_seed(0)) * 255
    seen = []
    net.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        features = net.features(films)
        assert torch.equal(net(films), plain(films)), "nothing is dropped in evaluation"
        net.dropout.train()
        torch.manual_seed(0)
        assert not torch.equal(net(films), plain(films))
    dropped = seen[-1] == 0
    assert torch.equal(seen[-1][~dropped], 2 * features[~dropped])
    there = features != 0
    share = float(dropped[there].float().mean())
    assert abs(share - 0.5) < 4 * 0.5 / int(there.sum()) ** 0.5
    assert net.train().dropout.training
    assert not isinstance(plain.dropout, torch.nn.Dropout)


@pytest.mark.parametrize("name", BACKBONE_GROUPS["small"])
def test_it_is_timms_own_dropout(name):
    """The network in training gives to the last bit what timm's does with drop_rate, from the same generator."""
    torch = load_torch()
    import timm

    backbone = BACKBONES.get(name)
    net = backbone.build(14, "random", in_size=64, seed=0, dropout=0.5).train()
    architecture, options = backbone.architecture(64)
    theirs = timm.create_model(architecture, pretrained=False, num_classes=14, drop_rate=0.5, **options).train()
    classifier = next(n for n, module in theirs.named_modules() if module is theirs.get_classifier())
    state = dict(net.body.state_dict())
    theirs.load_state_dict(state | {f"{classifier}.{k}": v for k, v in net.head.state_dict().items()})
    films = torch.rand((4, 1, 64, 64), generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        torch.manual_seed(5)
        ours = net(films)
        torch.manual_seed(5)
        other = theirs(((films / 255 - net.mean) / net.std).contiguous(memory_format=torch.channels_last))
        torch.manual_seed(6)
        again = net(films)
    torch.testing.assert_close(ours, other, rtol=1e-4, atol=1e-4)
    assert float((again - ours).abs().max()) > 1e-2


# The settings -----------------------------------------------------------------------------------------------------


def test_without_dropout_units_keep_the_keys_that_they_had_before_there_was_one():
    # made by the code before the settings existed; a change here trains every finished unit again
    assert digest(recipe(FinetuneSettings())) == "884aaf1a1352e937"
    assert recipe(FinetuneSettings(passes=50)) == recipe(FinetuneSettings())
    assert recipe(FinetuneSettings(dropout=0.2)) == {**recipe(FinetuneSettings()), "dropout": 0.2}
    assert recipe(FinetuneSettings(dropout=0.2, passes=50)) == recipe(FinetuneSettings(dropout=0.2))


def test_a_backbone_without_dropout_is_refused_before_training(lesions):
    with pytest.raises(SettingError, match=r"dropout = 0\.4: the backbone 'tiny'"):
        finetune(lesions, FinetuneSettings(**DROPPED | {"backbones": "toy,tiny"}))
    assert not (lesions.path / "runs").exists()


# The table --------------------------------------------------------------------------------------------------------


def parts(workspace):
    return {p.name: file_digest(p) for table in ("predictions", "passes") for p in workspace.parts(table)}


def test_the_table_is_what_the_passes_of_the_trained_network_give(lesions):
    result = finetune(lesions, FinetuneSettings(**DROPPED))
    table = lesions.read("passes")
    test = lesions.read("films").query("split == 'test'")["dicom_id"].tolist()
    unit = next(u for u in lesions.read("units").to_dict("records") if u["arm"] == "real+cars")
    own = table[table["unit"] == unit["unit"]].reset_index(drop=True)
    assert sorted(own["dicom_id"]) == sorted(test)
    assert set(own["passes"]) == {3}
    from safetensors.torch import load_file

    net = BACKBONES.get("toy").build(14, "random", in_size=32).eval()
    net.load_state_dict(load_file(lesions.path / unit["path"] / "weights.safetensors"))
    paths = lesions.read("films").set_index("dicom_id")["path"]
    films = np.stack([square(decode(paths[d]), 32) for d in own["dicom_id"]])
    torch = load_torch()
    with torch.inference_mode():
        features = net.features(torch.from_numpy(films).float()[:, None]).numpy()
    weight, bias = (net.head.state_dict()[n].numpy() for n in ("weight", "bias"))
    drawn = []
    for number in range(3):
        kept = np.random.default_rng([0, 3, number]).random(features.shape, dtype=np.float32) >= np.float32(0.4)
        drawn.append(sigmoid((features * kept / 0.6) @ weight.T + bias))
    slugs = list(schema.COLUMN_OF.values())
    for before, change in (("", lambda p: p), ("scaled_", lambda p: scaled(p, unit["temperature"]))):
        each = change(np.stack(drawn))
        np.testing.assert_allclose(own[[f"{before}mean_{s}" for s in slugs]], each.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(
            own[[f"{before}entropy_{s}" for s in slugs]], binary_entropy(each).mean(axis=0), atol=1e-5
        )
    config = json.loads((lesions.path / unit["path"] / "config.json").read_text())
    assert config["recipe"]["dropout"] == 0.4
    assert "passes" not in config["recipe"]
    assert result["trained"] == 2


def test_other_passes_and_lost_ones_are_made_without_training(lesions):
    finetune(lesions, FinetuneSettings(**DROPPED))
    before = parts(lesions)
    assert len(before) == 2, "a part of each name in both tables"
    predicted = {p.name: p.stat().st_mtime_ns for p in lesions.parts("predictions")}
    made = {p.name: file_digest(p) for p in lesions.parts("passes")}
    for part in lesions.parts("passes")[:1]:
        part.unlink()
    assert finetune(lesions, FinetuneSettings(**DROPPED))["trained"] == 0
    assert {p.name: file_digest(p) for p in lesions.parts("passes")} == made, "the same as before they were lost"
    assert finetune(lesions, FinetuneSettings(**DROPPED | {"passes": 5}))["trained"] == 0
    assert set(lesions.read("passes")["passes"]) == {5}
    assert len(lesions.read("passes")) == 2 * 24, "and none is there twice"
    assert {p.name: p.stat().st_mtime_ns for p in lesions.parts("predictions")} == predicted, "nothing else was touched"
    films = lesions.read("films")
    films.loc[films.index[films["split"] == "test"][0], "split"] = "none"
    lesions.write_part("films", "0", films)
    assert finetune(lesions, FinetuneSettings(**DROPPED | {"passes": 5}))["trained"] == 0
    assert len(lesions.read("passes")) == 2 * 23


def test_stopped_between_predictions_and_passes_it_goes_on_to_the_same(lesions, tmp_path, monkeypatch):
    finetune(lesions, FinetuneSettings(**DROPPED))
    stopped = make_workspace(tmp_path / "stopped")

    def end(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(passes, "write", end)
        with pytest.raises(KeyboardInterrupt):
            finetune(stopped, FinetuneSettings(**DROPPED))
    assert not stopped.has("passes")
    assert len(stopped.parts("predictions")) == 1
    assert finetune(stopped, FinetuneSettings(**DROPPED))["trained"] == 1
    for table in ("predictions", "passes"):
        ours, theirs = ({p.name: file_digest(p) for p in w.parts(table)} for w in (lesions, stopped))
        assert ours == theirs


def test_without_dropout_there_is_no_such_table(lesions):
    finetune(lesions, FinetuneSettings(**DROPPED | {"dropout": 0.0}))
    assert not lesions.has("passes")
    plain = set(lesions.read("units")["weights_sha256"])
    finetune(lesions, FinetuneSettings(**DROPPED))
    units = lesions.read("units")
    dropped = set(units[units["unit"].isin(lesions.read("passes")["unit"])]["weights_sha256"])
    assert len(plain) == len(dropped) == 2
    assert not plain & dropped, "training with dropout ends elsewhere"


# Its uncertainty --------------------------------------------------------------------------------------------------


def with_passes(workspace, members, numbers=None, dropout=0.3):
    """A run of one backbone and arm whose units have these passes. members: seed → (M, N, 14) probabilities."""
    add_run(workspace, "r", {("b", "real", seed): m.mean(axis=0) for seed, m in members.items()}, temperature=2.0)
    path = workspace.path / "runs" / "r" / "run.json"
    content = json.loads(path.read_text())
    write_json(path, {**content, "settings": {**content["settings"], "dropout": dropout}})
    films = workspace.read("films").query("split == 'test'").sort_values("dicom_id", ascending=False)
    for seed, m in members.items():
        frame = films[["dicom_id", "subject_id"]].assign(unit=f"r-b-real-{seed}")
        found = {
            side: passes.Passes(p.mean(axis=0)[::-1], binary_entropy(p).mean(axis=0)[::-1])
            for side, p in ((False, m), (True, scaled(m, 2.0)))
        }
        passes.write(workspace, frame, (numbers or {}).get(seed, len(m)), found)


@pytest.fixture
def drawn(tmp_path):
    workspace = make_workspace(tmp_path / "ws", patients=100, edits=0)
    truth = truth_of(workspace)
    return workspace, {s: np.stack([noisy(truth, 2, 10 * s + k) for k in range(4)]) for s in range(2)}


def test_one_seed_is_measured_and_several_are_averaged(drawn):
    workspace, members = drawn
    with_passes(workspace, members)
    table = score_uncertainty(workspace, ReportSettings(resamples=50))
    assert set(zip(table["source"], table["members"])) == {("seeds", 2), ("dropout", 4)}
    own = table[(table["source"] == "dropout") & (table["finding"] == "Pneumothorax")].set_index("measure")
    c = schema.FINDINGS.index("Pneumothorax")
    total = np.mean([binary_entropy(m.mean(axis=0)[:, c]).mean() for m in members.values()])
    expected = np.mean([binary_entropy(m[:, :, c]).mean() for m in members.values()])
    assert own.loc["total", "value"] == pytest.approx(total)
    assert own.loc["expected", "value"] == pytest.approx(expected)
    assert own.loc["mutual", "value"] == pytest.approx(total - expected)
    assert (own["low"] < own["value"]).all()
    assert (own["value"] < own["high"]).all()
    alone = make_workspace(workspace.path.parent / "alone", patients=100, edits=0)
    with_passes(alone, {0: members[0]})
    one = score_uncertainty(alone, ReportSettings(resamples=50))
    assert set(one["source"]) == {"dropout"}
    value = one[(one["finding"] == "Pneumothorax") & (one["measure"] == "total")]["value"].iloc[0]
    assert value == pytest.approx(binary_entropy(members[0].mean(axis=0)[:, c]).mean())
    mean = one[(one["measure"] == "total") & (one["finding"] == "macro")]["value"].iloc[0]
    learned = [binary_entropy(members[0].mean(axis=0)[:, schema.FINDINGS.index(f)]).mean()
               for f in ("Pleural Effusion", "Pneumothorax", "Lung Lesion")]  # fmt: skip
    assert mean == pytest.approx(np.mean(learned)), "the mean over findings that have enough of both classes"


def test_passes_that_are_not_all_there_are_not_scored(drawn):
    workspace, members = drawn
    with_passes(workspace, members, {1: 9})
    with pytest.raises(WorkspaceError, match="some 9"):
        score_uncertainty(workspace, ReportSettings(resamples=50))
    workspace.part_path("passes", "r-b-real-1").unlink()
    with pytest.raises(WorkspaceError, match="not there"):
        score_uncertainty(workspace, ReportSettings(resamples=50))
    frame = pd.read_parquet(workspace.part_path("passes", "r-b-real-0")).head(5)
    workspace.write_part("passes", "r-b-real-0", frame)
    with pytest.raises(WorkspaceError, match="of other films"):
        score_uncertainty(workspace, ReportSettings(resamples=50))


def test_cases_of_the_figures(drawn):
    workspace, members = drawn
    with_passes(workspace, members)
    view = curves.open_run(workspace)
    assert chosen_run(workspace, None)[1].dropout == 0.3
    c, y = schema.FINDINGS.index("Pneumothorax"), truth_of(workspace)
    for calibrated in (False, True):
        cases = dropout_cases(view, "b", "real", calibrated, "Pneumothorax")
        each = [scaled(m, 2.0) if calibrated else m for m in members.values()]
        mean = np.concatenate([m.mean(axis=0)[:, c] for m in each])
        np.testing.assert_allclose(cases["prob"], mean)
        np.testing.assert_allclose(cases["entropy"], binary_entropy(mean))
        expected = np.concatenate([binary_entropy(m[:, :, c]).mean(axis=0) for m in each])
        np.testing.assert_allclose(cases["mutual"], binary_entropy(mean) - expected, atol=1e-12)
        assert cases["wrong"].tolist() == ((mean >= 0.5) != np.tile(y[:, c] == 1, 2)).tolist()
        assert set(cases["members"]) == {4}
