"""Folders of released models: found, checked, refused, and never a network or foreign code."""

from __future__ import annotations

import json
import pickle
import shutil
import socket
from pathlib import Path

import pytest
import tiny_pipelines

from cars import doctor
from cars.errors import DataError, MissingDependency
from cars.generators import GENERATORS
from cars.generators._folder import check_folder
from cars.torchbox import torch


@pytest.fixture
def folder(tmp_path, pipelines) -> Path:
    """A pipeline that the test may damage."""
    return Path(shutil.copytree(pipelines["clip"], tmp_path / "model"))


def load(folder):
    return GENERATORS.get("diffusers")(folder).load("cpu")


def edit_json(path: Path, **changes) -> None:
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


@pytest.mark.parametrize(("name", "page"), [("radedit", "microsoft/radedit"), ("roentgen-v2", "RoentGen-v2")])
def test_an_absent_model_says_where_to_ask_its_terms_and_where_to_put_it(name, page, monkeypatch, tmp_path):
    monkeypatch.delenv("CARS_MODELS", raising=False)
    with pytest.raises(MissingDependency) as caught:
        GENERATORS.get(name)().load("cpu")
    for words in (page, "unet/", f"--generator {name}:", "CARS_MODELS"):
        assert words in caught.value.hint
    assert GENERATORS.get(name).released.terms in caught.value.hint
    with pytest.raises(MissingDependency, match=str(tmp_path / "nowhere")):
        GENERATORS.get(name)(tmp_path / "nowhere").load("cpu")


def test_diffusers_needs_a_folder():
    with pytest.raises(MissingDependency, match="needs a folder"):
        GENERATORS.get("diffusers")().load("cpu")


def test_the_environment_names_the_folder_of_all_models(radedit_folder, monkeypatch):
    monkeypatch.setenv("CARS_MODELS", str(radedit_folder.parent))
    assert GENERATORS.get("radedit")().load("cpu").size == 32
    rows = {row["what"]: row for row in doctor.examine()}
    assert rows["released model radedit (optional)"]["found"] == str(radedit_folder)
    assert rows["released model roentgen-v2 (optional)"]["ok"], "having none is fine"


def test_doctor_tells_of_a_wrong_folder(tmp_path, monkeypatch):
    (tmp_path / "radedit").mkdir()
    monkeypatch.setenv("CARS_MODELS", str(tmp_path))
    row = next(r for r in doctor.examine() if r["what"].startswith("released model radedit"))
    assert not row["ok"]
    assert "sdxl-vae" in row["hint"]


def test_radedits_schedule_is_its_cards_and_its_own_code_is_not_run(radedit_folder):
    generator = GENERATORS.get("radedit")(radedit_folder).load("cpu")
    betas = [0.0001 + (0.02 - 0.0001) * n / 999 for n in range(1000)]
    expected = 1.0
    for beta in betas:
        expected *= 1 - beta
    assert generator.parts.alphas[-1] == pytest.approx(expected, rel=1e-3)
    assert generator.parts.prediction == "epsilon"
    assert generator.parts.max_tokens == 128
    generator.parts.scheduler.set_timesteps(10)
    assert int(generator.parts.scheduler.timesteps[0]) == 999, "trailing: the noisiest step is taken"


def test_old_vocabulary_files_do(radedit_folder, pipelines, tmp_path):
    bert = Path(shutil.copytree(radedit_folder, tmp_path / "bert"))
    (bert / "text_encoder" / "tokenizer.json").unlink()
    assert len(GENERATORS.get("radedit")(bert).load("cpu").parts.tokenizer) > 50
    clip = Path(shutil.copytree(pipelines["clip"], tmp_path / "clip"))
    shutil.rmtree(clip / "tokenizer")
    (clip / "vocabulary").rename(clip / "tokenizer")
    assert len(load(clip).parts.tokenizer) > 50


def test_nothing_asks_a_network(pipelines, radedit_folder, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    load(pipelines["clip"])
    GENERATORS.get("radedit")(radedit_folder).load("cpu")


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("model_index.json", {"_class_name": "StableDiffusionXLPipeline"}, "StableDiffusionXLPipeline"),
        ("model_index.json", {"unet": ["diffusers", "UNet2DModel"]}, "UNet2DModel"),
        ("model_index.json", {"text_encoder": ["transformers", "T5EncoderModel"]}, "T5EncoderModel"),
        ("unet/config.json", {"_class_name": "UNet3DConditionModel"}, "UNet3DConditionModel"),
        ("unet/config.json", {"in_channels": 9}, "in_channels is 9"),
        ("unet/config.json", {"cross_attention_dim": 1024}, "cross_attention_dim is 1024"),
        ("unet/config.json", {"addition_embed_type": "text_time"}, "addition_embed_type"),
        ("vae/config.json", {"_class_name": "VQModel"}, "VQModel"),
        ("vae/config.json", {"latent_channels": 16}, "not 16"),
        ("text_encoder/config.json", {"architectures": ["T5EncoderModel"]}, "T5EncoderModel"),
        ("scheduler/scheduler_config.json", {"prediction_type": "sample"}, "'sample'"),
        ("scheduler/scheduler_config.json", {"_class_name": "FlowMatchEulerDiscreteScheduler"}, "FlowMatch"),
    ],
)
def test_a_wrong_folder_is_quoted_with_what_was_expected(folder, file, changes, words):
    edit_json(folder / file, **changes)
    with pytest.raises(DataError, match=words) as caught:
        load(folder)
    assert str(folder) in caught.value.message
    assert "Expected" in caught.value.hint


@pytest.mark.parametrize(
    "gone",
    ["model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors",
     "text_encoder/model.safetensors", "scheduler/scheduler_config.json"],
)  # fmt: skip
def test_a_missing_file_is_named(folder, gone):
    (folder / gone).unlink()
    with pytest.raises(DataError, match=gone.split("/")[0]) as caught:
        load(folder)
    assert "Expected" in caught.value.hint


def test_a_folder_without_a_vocabulary_is_refused(folder):
    """transformers would make a tokenizer that knows no word, and every prompt would be the same."""
    for file in (folder / "tokenizer").iterdir():
        if file.name != "tokenizer_config.json":
            file.unlink()
    with pytest.raises(DataError, match="no vocabulary"):
        load(folder)


def test_a_single_checkpoint_file_is_refused(tmp_path):
    (tmp_path / "model.ckpt").write_bytes(b"x")
    with pytest.raises(DataError, match="converted"):
        check_folder(tmp_path / "model.ckpt")


def test_damaged_weights_are_refused(folder):
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DataError, match="cannot be loaded"):
        load(folder)


def test_incomplete_weights_are_refused(folder):
    """diffusers fills a missing weight with random numbers and only warns."""
    from safetensors.torch import load_file, save_file

    for part, name in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        file = folder / part / f"{name}.safetensors"
        whole = load_file(file)
        save_file({k: v for k, v in whole.items() if k != sorted(whole)[0]}, file, metadata={"format": "pt"})
        with pytest.raises(DataError, match=r"missing|cannot be loaded"):
            load(folder)
        save_file(whole, file, metadata={"format": "pt"})
    load(folder)


def test_pickled_weights_are_read_without_running_code(folder):
    from safetensors.torch import load_file

    safe = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch().save(load_file(safe), folder / "unet" / "diffusion_pytorch_model.bin")
    before = load(folder).revision
    safe.unlink()
    with_pickle = load(folder)
    assert with_pickle.revision != before


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(folder, tmp_path):
    mark = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return Path.touch, (mark,)

    for part, name in (("unet", "diffusion_pytorch_model"), ("text_encoder", "pytorch_model")):
        stem = "model" if part == "text_encoder" else name
        (folder / part / f"{stem}.safetensors").unlink()
        (folder / part / f"{name}.bin").write_bytes(pickle.dumps({"x": Evil()}, protocol=2))
        with pytest.raises(DataError, match="cannot be loaded") as caught:
            load(folder)
        assert "without running" in caught.value.hint
        shutil.rmtree(folder / part)
        shutil.copytree(tiny_pipelines.pipeline(tmp_path / "again") / part, folder / part)
    assert not mark.exists()


def test_sharded_and_half_precision_files_are_read(tmp_path, request_of):
    sharded = tiny_pipelines.pipeline(tmp_path / "sharded", max_shard_size="100KB")
    assert len(check_folder(sharded).weights["unet"]) > 1
    half = tiny_pipelines.pipeline(tmp_path / "half", variant="fp16")
    asked = request_of()
    one, other = (load(f).edit([asked])[0].edited for f in (sharded, half))
    assert abs(one - other).max() < 0.05, "the same weights"


def test_epsilon_with_a_schedule_that_ends_in_pure_noise_is_refused(tmp_path):
    plan = tiny_pipelines.scheduler("DDIMScheduler", "epsilon", rescale_betas_zero_snr=True)
    with pytest.raises(DataError, match="pure noise"):
        load(tiny_pipelines.pipeline(tmp_path / "p", plan=plan))


def test_pure_noise_with_v_prediction_is_walked(tmp_path, request_of):
    more = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    plan = tiny_pipelines.scheduler("DDIMScheduler", "v_prediction", **more)
    generator = load(tiny_pipelines.pipeline(tmp_path / "p", plan=plan))
    for mode in ("inversion", "inpaint"):
        [result] = generator.edit([request_of(mode=mode)])
        assert abs(result.edited - request_of().image).max() > 0.5


def test_the_revision_follows_the_files(folder, pipelines):
    assert load(folder).revision == load(pipelines["clip"]).revision, "the same files elsewhere"
    old = GENERATORS.get("diffusers")(folder).revision
    edit_json(folder / "scheduler" / "scheduler_config.json", beta_end=0.013)
    assert GENERATORS.get("diffusers")(folder).revision != old
    other = GENERATORS.get("roentgen-v2")(pipelines["clip"]).revision
    assert other.split("-")[0] == old.split("-")[0], "the same weights"
    assert other != old, "told in other words"


def test_the_licence_is_read_from_the_model_card(folder):
    assert "not stated" in load(folder).licence
    (folder / "README.md").write_text("---\ntags: [x]\nlicense: creativeml-openrail-m\n---\n# A model\nlicense: none\n")
    assert load(folder).licence == "creativeml-openrail-m"
