"""The verb train-generator at pixel and latent sizes: its folder, its autoencoder, what it shows, how it goes on."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from synth_toys import ToyJudge, ToySegmenter, film, workspace_of

from cars.errors import Cancelled, DataError, SettingError
from cars.schema import FINDINGS
from cars.synth import autoencoder, watching
from cars.synth.autoencoder import Films, VaeTrainer, encoded, latents_of, read_latents, scaled, train_vae
from cars.synth.data import local_labels, phantom_data, training_roi, workspace_data
from cars.synth.editing import Models, Source, edit_films
from cars.synth.generator_training import train_generator
from cars.synth.loop import Budget
from cars.synth.models import current, workspace_generator
from cars.synth.settings import SynthSettings, TrainGeneratorSettings
from cars.synth.training import draw_batch

LATENT = TrainGeneratorSettings(
    size=256, steps=2, batch=2, width=8, start="scratch", judge_minutes=0, segmenter=ToySegmenter(), device="cpu",
    vae_steps=2,
)  # fmt: skip


class Judge(ToyJudge):
    auroc = {"Edema": 0.5}  # noqa: RUF012


@pytest.fixture
def cheap(monkeypatch):
    """A toy judge, a tiny autoencoder, and one finding in the fixed set."""
    from cars.nets import latent

    real = latent.new_vae
    monkeypatch.setattr("cars.synth.generator_training.workspace_judge", lambda workspace, device: Judge())
    monkeypatch.setattr(latent, "new_vae", lambda: real((8, 8, 8, 8)))
    monkeypatch.setattr(autoencoder, "BATCH", 2)
    monkeypatch.setattr(autoencoder, "CROP", 64)
    monkeypatch.setattr(watching, "SAMPLED", ("Pleural Effusion",))
    monkeypatch.setattr(watching, "FILMS", 1)
    monkeypatch.setattr(watching, "STEPS", 2)


class Stop:
    """A progress that cancels at the first message with these words."""

    def __init__(self, words: str) -> None:
        self.words, self.messages = words, []

    def __call__(self, done: int, total: int, message: str = "") -> None:
        self.messages.append(message)
        if self.words in message:
            raise Cancelled("stop")


def test_at_256_pixels_it_trains_an_autoencoder_and_edits_in_its_latents(tmp_path, cheap, monkeypatch):
    workspace = workspace_of(tmp_path)
    with pytest.raises(Cancelled):
        train_generator(workspace, LATENT, Stop("films into latents"))
    monkeypatch.setattr("cars.synth.generator_training.train_vae", None)  # it is there, and not trained again
    told = train_generator(workspace, LATENT)
    folder = current(workspace, "generator")
    assert folder.name == told["generator"]
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert (config["size"], config["block"], config["vae"]) == (256, 1, ["diffusers", "AutoencoderKL"])
    assert not list(workspace.path.glob("models/generator/*.training"))
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "latents of films of 256 pixels" in card
    assert "Autoencoder: trained on the same films" in card
    assert "| vae_steps | 2 |" in card
    generator = workspace_generator(workspace, "cars", "cpu")
    assert generator.size == 256
    assert generator.licence == config["licence"] == "terms of the data set toy"
    # the latents are scaled, and the films' own
    data, _ = workspace_data(workspace, 128, ToySegmenter())
    from cars.filmcache import film_cache

    films = film_cache(workspace, 256, data.dicom_id.tolist()).images(data.dicom_id.tolist())
    codes = encoded(generator.net.codec, films, "cpu")
    assert codes.mean() == pytest.approx(0, abs=0.05)
    assert codes.std() == pytest.approx(1, abs=0.05)
    # and `cars synth` edits with it
    labels = dict.fromkeys(FINDINGS, -2)
    source = Source(film(np.random.default_rng(0), False, 300), labels, {"Pneumothorax": "insert"}, subject_id="p1")
    [outcome] = edit_films([source], Models(generator, ToySegmenter(), ToyJudge()), SynthSettings(steps=2))
    assert outcome.error is None
    np.testing.assert_array_equal(outcome.edited[~outcome.roi], source.film[~outcome.roi])
    assert (outcome.edited[outcome.roi] != source.film[outcome.roi]).any()


def test_an_autoencoder_of_a_folder_is_used_and_named(tmp_path, cheap, monkeypatch):
    from cars.nets.latent import Latents, load_vae, new_vae, save_vae

    vae = new_vae()
    vae.register_to_config(scaling_factor=0.5, shift_factor=None)
    save_vae(vae, tmp_path / "kept" / "vae", half=False)
    monkeypatch.setattr("cars.synth.generator_training.train_vae", None)
    workspace = workspace_of(tmp_path, 6)
    told = train_generator(workspace, replace(LATENT, steps=1, vae=str(tmp_path / "kept")))
    folder = current(workspace, "generator")
    own, given = Latents(load_vae(folder)), Latents(load_vae(tmp_path / "kept"))
    assert own.vae.config.scaling_factor == 0.5
    for a, b in zip(own.vae.parameters(), given.vae.parameters()):
        np.testing.assert_allclose(a, b, atol=1e-3)  # float16 in the folder
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"those of the autoencoder of {tmp_path / 'kept'}" in card
    assert "packaged one" not in card or told["judge"] == "packaged"
    # from that editor another run goes on in the same latents
    more = train_generator(workspace, replace(LATENT, steps=1, start=str(folder)))
    assert more["generator"] != told["generator"]
    assert f"Autoencoder: of {folder}" in (current(workspace, "generator") / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("size", [48, 100, 200])
def test_a_size_that_no_editor_has_is_refused(tmp_path, size):
    with pytest.raises(SettingError, match=f"size = {size}"):
        train_generator(workspace_of(tmp_path, 2), replace(LATENT, size=size))
    with pytest.raises(SettingError, match="width = 12"):
        train_generator(workspace_of(tmp_path / "b", 2), replace(LATENT, width=12))


@pytest.mark.parametrize(
    ("size", "width", "words"), [(64, 32, "packaged weights"), (64, 8, "random"), (128, 32, "random")]
)
def test_auto_starts_from_the_packaged_weights_where_they_fit(size, width, words):
    from cars.nets.latent import PIXELS
    from cars.synth.generator_training import _start

    net, said = _start(replace(LATENT, size=size, width=width, start="auto"), PIXELS)
    assert words in said
    assert (net.size, net.widths) == (size, (width, 2 * width, 3 * width))


def test_micro_device_and_grids_do_not_make_it_another_run(tmp_path, cheap):
    workspace = workspace_of(tmp_path, 6)
    small = replace(LATENT, size=32, steps=1)
    told = train_generator(workspace, small)
    assert train_generator(workspace, replace(small, micro=1, sample_minutes=9.0)) == told
    assert train_generator(workspace, replace(small, batch=3))["generator"] != told["generator"]


# The autoencoder -------------------------------------------------------------------------------------------------


class Array:
    """Films of an array, as VaeTrainer takes them."""

    def __init__(self, films: np.ndarray) -> None:
        self.films, self.size = films, films.shape[1]

    def __len__(self) -> int:
        return len(self.films)

    def images(self, rows) -> np.ndarray:
        return self.films[rows]


def vae_trainer(films: np.ndarray, rate: float = 1e-3) -> VaeTrainer:
    from cars.nets.latent import new_vae, torch

    torch.set_num_threads(1)
    torch.manual_seed(2)
    return VaeTrainer(new_vae((8, 16)), Array(films), 4, rate, seed=3)


@pytest.fixture(scope="module")
def phantom():
    return phantom_data(6, 32, seed=9)


def test_the_autoencoder_learns_and_goes_on_to_the_same_losses(phantom, tmp_path):
    one = vae_trainer(phantom.images, 0.02)
    first = [one.advance(0.1) for _ in range(3)]
    one.write(tmp_path / "vae.pt")
    following = [one.advance(0.1) for _ in range(3)]
    two = vae_trainer(phantom.images, 0.02)
    two.restore(tmp_path / "vae.pt")
    assert [two.advance(0.1) for _ in range(3)] == following
    for _ in range(60):
        two.advance(0.1)
    two.step = 0  # the same crops and noise again
    assert np.mean([two.advance(0.1) for _ in range(3)]) < 0.7 * np.mean(first)


def test_its_error_is_the_absolute_one_and_a_little_divergence(phantom):
    from cars.nets.latent import torch

    one = vae_trainer(phantom.images)
    films, noise = one.draw()
    assert films.shape == (4, 1, 32, 32)
    with torch.no_grad():
        seen = one.net.encode(films).latent_dist
        decoded = one.net.decode(seen.mean + seen.std * noise).sample
        normal = torch.distributions.Normal(seen.mean, seen.std)
        divergence = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0, 1))
        expected = (decoded - films).abs().mean((1, 2, 3)) + 1e-4 * divergence.mean((1, 2, 3))
        torch.testing.assert_close(one.errors(films, noise), expected)


def test_crops_lie_in_the_films(phantom, monkeypatch):
    monkeypatch.setattr(autoencoder, "CROP", 16)
    films, noise = vae_trainer(phantom.images).draw()
    assert films.shape == (4, 1, 16, 16)
    assert noise.shape == (4, 4, 8, 8)
    whole = phantom.images / 127.5 - 1
    for crop in films[:, 0].numpy():
        windows = np.lib.stride_tricks.sliding_window_view(whole, (16, 16), axis=(1, 2))
        assert any(np.abs(windows - c).max(axis=(-2, -1)).min() < 1e-5 for c in (crop, crop[:, ::-1]))


def test_held_out_patients_never_reach_the_autoencoder(tmp_path, cheap):
    workspace = workspace_of(tmp_path)
    cache = type("Cache", (), {"size": 32, "images": lambda self, ids: np.zeros((len(ids), 32, 32), np.uint8)})()
    films = Films(cache, np.array(["d000", "d050"]), np.array(["p0", "p5"]))  # p5 is a test patient
    with pytest.raises(DataError, match="1 of the patients"):
        train_vae(workspace, films, Budget(steps=1), tmp_path / "vae.pt")
    assert not (tmp_path / "vae.pt").exists()


def test_latents_are_made_once_and_in_order(phantom, tmp_path, monkeypatch):
    from cars.nets.latent import Latents

    monkeypatch.setattr(autoencoder, "SHARD", 4)
    one = vae_trainer(phantom.images)
    films = Array(phantom.images)
    scaled(one.ema, films, "cpu")
    codec = Latents(one.ema)
    for rank in (1, 0):  # two processes share the work
        latents_of(codec, films, tmp_path, "cpu", rank=rank, world=2)
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["00000.npy", "00001.npy"]
    codes = read_latents(tmp_path, 6)
    assert codes.dtype == np.float16
    np.testing.assert_allclose(codes, encoded(codec, phantom.images, "cpu"), atol=5e-3)
    before = (tmp_path / "00001.npy").stat().st_mtime_ns
    (tmp_path / "00000.npy").unlink()
    with pytest.raises(DataError, match="2 films, not 6"):
        read_latents(tmp_path, 6)
    latents_of(codec, films, tmp_path, "cpu")
    assert (tmp_path / "00001.npy").stat().st_mtime_ns == before
    np.testing.assert_array_equal(read_latents(tmp_path, 6), codes)


def test_a_batch_in_latents_has_the_same_films_rois_and_labels(phantom):
    codes = np.random.default_rng(0).normal(size=(6, 4, 8, 8)).astype(np.float16)
    pixels = draw_batch(phantom, 5, np.random.default_rng(1))
    latent = draw_batch(phantom, 5, np.random.default_rng(1), codes)
    rows = np.random.default_rng(1).integers(6, size=5)
    np.testing.assert_array_equal(latent.films.numpy(), codes[rows].astype(np.float32))
    assert (latent.tokens == pixels.tokens).all()
    blocks = pixels.roi[:, 0].reshape(5, 8, 4, 8, 4)
    np.testing.assert_array_equal(latent.roi[:, 0], blocks.amax(dim=(2, 4)))
    np.testing.assert_allclose(latent.masks, pixels.masks.reshape(5, 3, 8, 4, 8, 4).mean(dim=(3, 5)), atol=1e-6)
    roi, _ = training_roi(phantom, 0, phantom.place_of(0), np.random.default_rng(4))
    assert local_labels(phantom.vectors[0], phantom.place_of(0), roi).shape == (14,)


# What it shows ---------------------------------------------------------------------------------------------------


class Painter:
    """A generator that does as it is told: 255 in the ROI for an insertion, 0 for a deletion; shams stay."""

    size = 32

    def edit(self, requests):
        from cars.generators import EditResult

        results = []
        for r in requests:
            same = np.array_equal(r.vector_from, r.vector_to)
            inserts = (r.vector_to == 1).sum() > (r.vector_from == 1).sum()
            value = r.image if same else (255.0 if inserts else 0.0)
            results.append(EditResult(np.where(r.roi, value, r.image).astype(np.float32), 0.0))
        return results


class Bright(Judge):
    """Sees every finding where a film has white pixels."""

    def probabilities(self, images):
        peak = np.array([np.percentile(i, 99.5) for i in images], np.float32)
        return np.repeat((peak / 255)[:, None], len(FINDINGS), axis=1)

    thresholds = np.full(len(FINDINGS), 0.9, np.float32)


@pytest.fixture
def samples():
    data = phantom_data(40, 32, seed=2)
    shown = np.clip(data.images.astype(float) * 0.6, 0, 200).astype(np.uint8)
    ill = data.vectors[:, FINDINGS.index("Pleural Effusion")] == 1
    shown[ill, 10:14, 5:25] = 255
    big = shown.repeat(4, axis=1).repeat(4, axis=2)
    return watching.fixed_set(data, lambda rows: big[rows], 32, Bright(), most=3)


def test_the_fixed_set_has_films_that_the_judge_reads_rightly(samples):
    judge = Bright()
    assert {(s.finding, s.direction) for s in samples} >= {
        ("Pleural Effusion", "insert"),
        ("Pleural Effusion", "delete"),
    }
    for s in samples:
        column = FINDINGS.index(s.finding)
        seen = judge.probabilities(s.film[None])[0, column] >= 0.9
        assert seen == (s.direction == "delete")
        assert (s.request.vector_from[column], s.request.vector_to[column]) == ((0, 1) if not seen else (1, 0))
    per = [sum((s.finding, s.direction) == key for s in samples) for key in {(s.finding, s.direction) for s in samples}]
    assert max(per) == 3


def test_flips_are_counted_beside_their_shams(samples):
    films, shams = watching.edited(Painter(), samples)
    told = watching.flips(samples, films, shams, Bright())
    inserted = [n for n, s in enumerate(samples) if s.direction == "insert"]
    by_hand = [np.percentile(films[n], 99.5) >= 0.9 * 255 for n in inserted]
    assert told["insert"] == {"n": len(inserted), "flips": np.mean(by_hand), "sham_flips": 0.0}
    assert told["insert"]["flips"] > 0.5
    assert watching.flips([], [], [], Bright()) == {}
    only = [[group[n] for n in inserted] for group in (samples, films, shams)]
    assert set(watching.flips(*only, Bright())) == {"insert"}


def test_rounds_are_kept_over_a_stop_and_drawn(samples, tmp_path, monkeypatch):
    from types import SimpleNamespace

    from PIL import Image

    monkeypatch.setattr("cars.generators.cars_unet.CarsGenerator", Painter)
    trainer = SimpleNamespace(losses=[(20, 0.5), (40, 0.25)], step=40, ema=None, device="cpu")
    watch = watching.Watch(tmp_path, samples, 32, Bright(), minutes=60)
    watch(trainer)
    first = (tmp_path / "losses.png").read_bytes()
    assert (tmp_path / "losses.csv").read_text() == "step,loss\n20,0.500000\n40,0.250000\n"
    trainer.step, trainer.losses = 60, [*trainer.losses, (60, 0.1)]
    watch(trainer)  # within the hour: the losses go on, the fixed set waits
    assert [r["step"] for r in watching.read_rows(tmp_path / "flips.csv")] == [40, 40]
    again = watching.Watch(tmp_path, samples, 32, Bright(), minutes=60)
    last = again.finish(trainer)
    rows = watching.read_rows(tmp_path / "flips.csv")
    assert [(r["step"], r["direction"]) for r in rows] == [(s, d) for s in (40, 60) for d in ("insert", "delete")]
    assert {d: row["flips"] for d, row in last.items()} == {r["direction"]: r["flips"] for r in rows[2:]}
    assert (tmp_path / "losses.png").read_bytes() != first
    with Image.open(tmp_path / "samples.png") as picture:
        findings = len({s.finding for s in samples})
        assert picture.size == (120 + 6 * 128 + 10, 34 + findings * 128)
        # the first finding's inserted film is shown where its heading says
        n = next(n for n, s in enumerate(samples) if s.direction == "insert")
        films, _ = watching.edited(Painter(), samples)
        tile = np.asarray(picture)[34 : 34 + 128, 120 + 2 * 128 : 120 + 3 * 128, 0]
        np.testing.assert_array_equal(tile, films[n])


def test_the_loss_plot_takes_any_losses():
    from cars.synth.curves import draw_curves

    empty = draw_curves([], [])
    flat = draw_curves([(20, 0.5)] * 2, [])
    odd = draw_curves([(20, float("nan")), (40, 0.0), (60, 1e-4)], [
        {"step": 60, "direction": "insert", "n": 4, "flips": 1.0, "sham_flips": 0.0}])  # fmt: skip
    assert empty.size == flat.size == odd.size
    assert np.asarray(odd).tobytes() != np.asarray(empty).tobytes()
