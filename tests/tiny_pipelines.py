"""Small random Stable-Diffusion-type pipelines of the released models' component classes, written to a folder."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

from cars.generators._prompts import NORMAL, PHRASES, POSSIBLE

#: What RadEdit's text encoder says of itself; CARS must not run such code.
CXR_BERT = {"model_type": "cxr-bert", "architectures": ["CXRBertModel"], "projection_size": 8,
            "auto_map": {"AutoModel": "modeling_cxrbert.CXRBertModel"}}  # fmt: skip


def words() -> list[str]:
    """Every word of the prompts, in small letters."""
    text = " ".join([NORMAL, POSSIBLE, "left right bilateral year old patient female male pa ap chest radiograph"])
    text += " " + " ".join(part.replace("{side}", "") for pair in PHRASES.values() for part in pair)
    return sorted(set(text.lower().split()))


def clip_parts(folder: Path, width: int) -> dict[str, Any]:
    """A CLIP text model whose vocabulary is single letters, so that nothing has to be merged."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    letters = string.ascii_lowercase + string.digits + ".,"
    entries = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    vocab = {entry: n for n, entry in enumerate(entries)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=256)
    config = CLIPTextConfig(
        vocab_size=len(vocab), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=256, bos_token_id=vocab["<|startoftext|>"],
        eos_token_id=vocab["<|endoftext|>"], pad_token_id=vocab["<|endoftext|>"],
    )  # fmt: skip
    return {"tokenizer": tokenizer, "text_encoder": CLIPTextModel(config)}


def bert_parts(folder: Path, width: int) -> dict[str, Any]:
    """A BERT with a masked-language head (BioViL-T's shape); whole words and digits as its WordPiece vocabulary."""
    from transformers import BertConfig, BertForMaskedLM, BertTokenizer

    digits = [*string.digits, *(f"##{d}" for d in string.digits)]
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", *digits, *words()]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(entries) + "\n")
    tokenizer = BertTokenizer(str(folder / "vocab.txt"))
    config = BertConfig(
        vocab_size=len(entries), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=160,
    )  # fmt: skip
    return {"tokenizer": tokenizer, "text_encoder": BertForMaskedLM(config)}


def networks(width: int, sample: int, levels: int, channels: int = 3) -> dict[str, Any]:
    """A UNet on latents of `sample` and an autoencoder with 2 ** (levels - 1) pixels to a latent's side."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=sample, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=width, attention_head_dim=8, norm_num_groups=8,
    )  # fmt: skip
    # an untrained network hardly listens to its prompt; these are made to
    with torch.no_grad():
        for name, value in unet.named_parameters():
            if "attn2" in name:
                value.mul_(4.0)
    vae = AutoencoderKL(
        in_channels=channels, out_channels=channels, latent_channels=4, block_out_channels=(8,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels, up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=1, norm_num_groups=4, sample_size=sample * 2 ** (levels - 1), scaling_factor=0.5,
    )  # fmt: skip
    return {"unet": unet, "vae": vae}


def scheduler(kind: str = "DDIMScheduler", prediction: str = "epsilon", **more: Any) -> Any:
    import diffusers

    more = {"clip_sample": False, **more} if kind in ("DDIMScheduler", "DDPMScheduler") else more
    return getattr(diffusers, kind)(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=prediction, steps_offset=1,
        **more,
    )  # fmt: skip


def pipeline(
    folder: Path, encoder: str = "clip", plan: Any = None, sample: int = 16, levels: int = 2, seed: int = 3, **how: Any
) -> Path:
    """A whole pipeline folder, as `StableDiffusionPipeline.save_pretrained` writes it. Side: sample · 2^(levels−1)."""
    from cars.torchbox import torch

    torch().manual_seed(seed)
    torch().set_num_threads(1)
    from diffusers import StableDiffusionPipeline

    folder = Path(folder)
    text = (clip_parts if encoder == "clip" else bert_parts)(folder / "vocabulary", 32)
    if encoder != "clip":
        text["text_encoder"] = text["text_encoder"].bert
    whole = StableDiffusionPipeline(
        **networks(32, sample, levels, how.pop("channels", 3)), **text, scheduler=plan or scheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    whole.save_pretrained(folder, **how)
    return folder


def radedit(folder: Path, seed: int = 4) -> Path:
    """The three downloads that RadEdit consists of: a UNet, an autoencoder, and BioViL-T with code of its own."""
    from cars.torchbox import torch

    torch().manual_seed(seed)
    torch().set_num_threads(1)
    folder = Path(folder)
    for name, network in networks(32, 16, 2).items():
        network.save_pretrained(folder / name)
    place = folder / "text_encoder"
    text = bert_parts(place, 32)
    text["text_encoder"].save_pretrained(place)
    text["tokenizer"].save_pretrained(place)
    for name, more in (("config.json", CXR_BERT), ("tokenizer_config.json", {"tokenizer_class": "CXRBertTokenizer"})):
        config = json.loads((place / name).read_text()) | more
        (place / name).write_text(json.dumps(config))
    (place / "modeling_cxrbert.py").write_text("raise SystemExit('code from a model folder was run')\n")
    return folder
