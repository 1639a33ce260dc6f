"""A Stable-Diffusion-type model in a local folder: found, checked and loaded, never from a network.

A folder is checked before torch is imported, from its small JSON files. Weights are read as safetensors; pickled ones
(.bin) only where there are no safetensors, and only through torch's weights_only loader, which runs no code of theirs.
Code that lies in a folder (Hugging Face's trust_remote_code) is never run.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DataError, MissingDependency
from ..provenance import digest, file_digest

#: Environment: the folder whose subfolders are released models, each by its registered name.
MODELS = "CARS_MODELS"
#: Component → the classes that it may have, and the file stem of its weights.
COMPONENTS: dict[str, tuple[tuple[str, ...], str]] = {
    "unet": (("UNet2DConditionModel",), "diffusion_pytorch_model"),
    "vae": (("AutoencoderKL",), "diffusion_pytorch_model"),
    "text_encoder": (("CLIPTextModel", "BertModel", "CXRBertModel"), "model"),
}
TOKENIZERS = (
    "CLIPTokenizer", "CLIPTokenizerFast", "BertTokenizer", "BertTokenizerFast", "CXRBertTokenizer",
)  # fmt: skip
#: One of these sets must be there; with none, transformers would make a tokenizer that knows no word.
VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("vocab.txt",))
PREDICTIONS = ("epsilon", "v_prediction")
PICKLED = {"diffusion_pytorch_model": "diffusion_pytorch_model.bin", "model": "pytorch_model.bin"}


@dataclass(frozen=True)
class Released:
    """A released model: what to tell somebody who does not have it, and what its folder may leave out.

    ask: where access is asked for. terms: licence and terms in a sentence. layout: what goes where in the folder.
    scheduler: its noise schedule where the folder has no scheduler/; None means that the folder must have one.
    index: whether the folder must hold a model_index.json.
    """

    name: str
    ask: str
    terms: str
    layout: str
    scheduler: Mapping[str, Any] | None = None
    index: bool = True


@dataclass(frozen=True)
class Layout:
    """A checked folder: component → its folder, and the JSON that was read of each."""

    root: Path
    folders: dict[str, Path]
    configs: dict[str, dict[str, Any]]
    encoder: str  # "clip" or "bert"
    weights: dict[str, list[Path]]

    @property
    def safe(self) -> dict[str, bool]:
        """Component → whether its weights are safetensors."""
        return {part: all(f.suffix == ".safetensors" for f in files) for part, files in self.weights.items()}

    @property
    def licence(self) -> str:
        """The licence that the folder's model card names in its header."""
        card = self.root / "README.md"
        text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
        header = re.match(r"---\n(.*?)\n---", text, flags=re.S)
        found = re.search(r"^license(?:_name)?:\s*['\"]?([^'\"\n]+)", header.group(1), flags=re.M) if header else None
        return found.group(1).strip() if found else "not stated in the folder's README.md"

    @property
    def digest(self) -> str:
        """12 hex digits over the SHA-256 of weights, configs and vocabulary: all that decides what the model draws."""
        names = ("vocab.json", "merges.txt", "vocab.txt", "tokenizer.json", "tokenizer_config.json")
        files = [f for group in self.weights.values() for f in group]
        files += [self.folders["tokenizer"] / n for n in names if (self.folders["tokenizer"] / n).is_file()]
        sums = [(str(f.relative_to(self.root)), file_digest(f)) for f in files]
        return digest(sorted(sums), self.configs, length=12)


@dataclass
class Parts:
    """A loaded model. alphas: (T,) floats, alpha-bar of each training step. max_tokens: most tokens of a prompt."""

    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    scheduler: Any
    prediction: str
    size: int
    max_tokens: int
    dtype: Any
    alphas: list[float] = field(repr=False, default_factory=list)


def folder_of(released: Released, folder: Path | str | None) -> Path:
    """The folder of a released model: the one that was given, else $CARS_MODELS/<name>.

    Raises: MissingDependency that says where to ask for the model, its terms, and where to put it.
    """
    models = os.environ.get(MODELS)
    place = Path(folder) if folder else Path(models) / released.name if models else None
    if place is not None and place.is_dir():
        return place
    looked = f"there is no folder {place}" if place else f"no folder was named and {MODELS} is not set"
    raise MissingDependency(
        f"The weights of {released.name} are not here: {looked}.",
        f"Ask for them at {released.ask}. {released.terms} Put them in a folder ({released.layout}) and name it: "
        f"`--generator {released.name}:/path/to/it`, or set {MODELS} to the folder that holds {released.name}/.",
    )


def _read(path: Path, what: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing.", what) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}.", what) from None
    if not isinstance(value, dict):
        raise DataError(f"{path} holds {type(value).__name__}, not an object.", what)
    return value


def check_folder(root: Path | str, released: Released | None = None) -> Layout:
    """A folder's layout, once everything that can be checked without loading is right.

    Raises: DataError that quotes what is there and says what was expected.
    """
    root = Path(root).absolute()
    kind = "a folder of Stable Diffusion's kind: model_index.json, unet/, vae/, text_encoder/, tokenizer/, scheduler/"
    expected = f"Expected {released.layout if released else kind}."
    if not root.is_dir():
        loose = " A single .ckpt or .safetensors file must be converted to a folder first." if root.is_file() else ""
        raise DataError(f"{root} is not a folder.{loose}", expected)
    if (root / "model_index.json").is_file() or released is None or released.index:
        _check_index(_read(root / "model_index.json", expected), root, expected)
    folders = {part: root / part for part in COMPONENTS}
    folders["tokenizer"] = root / "tokenizer" if (root / "tokenizer").is_dir() else root / "text_encoder"
    configs = {part: _read(folders[part] / "config.json", expected) for part in COMPONENTS}
    scheduler = root / "scheduler" / "scheduler_config.json"
    if released is not None and released.scheduler is not None and not scheduler.is_file():
        configs["scheduler"] = dict(released.scheduler)
    else:
        configs["scheduler"] = _read(scheduler, expected)
    for part, (classes, _) in COMPONENTS.items():
        _check_class(root, part, _class_of(configs[part]), classes)
    _check_networks(root, configs)
    if not any(all((folders["tokenizer"] / n).is_file() for n in names) for names in VOCABULARIES):
        raise DataError(
            f"{folders['tokenizer']} holds no vocabulary.",
            f"Expected {' or '.join(' with '.join(names) for names in VOCABULARIES)}.",
        )
    weights = {part: _weights(folders[part], stem, root) for part, (_, stem) in COMPONENTS.items()}
    encoder = "clip" if _class_of(configs["text_encoder"]) == "CLIPTextModel" else "bert"
    return Layout(root, folders, configs, encoder, weights)


def _class_of(config: dict[str, Any]) -> str:
    """diffusers writes _class_name, transformers a list of architectures. A BERT with a head counts as its body."""
    name = config.get("_class_name") or next(iter(config.get("architectures") or []), "")
    return "BertModel" if name in ("BertForMaskedLM", "BertForPreTraining") else str(name)


def _check_class(root: Path, part: str, found: str, classes: tuple[str, ...]) -> None:
    if found not in classes:
        raise DataError(f"{root}: its {part} is {found or 'of no known class'}.", f"Expected {' or '.join(classes)}.")


def _check_index(index: dict[str, Any], root: Path, expected: str) -> None:
    name = str(index.get("_class_name"))
    if not name.startswith("StableDiffusion") or "XL" in name or "3" in name or "Inpaint" in name:
        raise DataError(f"{root} holds a {name}; CARS edits with StableDiffusionPipeline.", expected)
    for part, classes in [*((p, c) for p, (c, _) in COMPONENTS.items()), ("tokenizer", TOKENIZERS)]:
        entry = index.get(part)
        _check_class(root, part, str(entry[1]) if isinstance(entry, list) and len(entry) == 2 else "", classes)


def _check_networks(root: Path, configs: dict[str, dict[str, Any]]) -> None:
    """Channels, widths and the noise schedule fit each other."""
    unet, vae, text, plan = (configs[k] for k in ("unet", "vae", "text_encoder", "scheduler"))
    channels = vae.get("latent_channels", 4)
    for name, found, wanted in (
        ("unet's in_channels", unet.get("in_channels", 4), channels),
        ("unet's out_channels", unet.get("out_channels", 4), channels),
        ("unet's cross_attention_dim", unet.get("cross_attention_dim"), text.get("hidden_size")),
        ("unet's addition_embed_type", unet.get("addition_embed_type"), None),
        ("unet's class_embed_type", unet.get("class_embed_type"), None),
    ):
        if found != wanted:
            raise DataError(
                f"{root}: the {name} is {found!r}, not {wanted!r}.",
                "Expected a text-to-image model (not SDXL, not an inpainting model) whose parts belong together.",
            )
    if vae.get("in_channels", 3) not in (1, 3) or not isinstance(unet.get("sample_size"), int):
        raise DataError(
            f"{root}: the vae takes {vae.get('in_channels')} channels, the unet's sample_size is "
            f"{unet.get('sample_size')!r}.",
            "Expected 1 or 3 channels and a whole number.",
        )
    prediction = plan.get("prediction_type", "epsilon")
    if prediction not in PREDICTIONS or "Flow" in str(plan.get("_class_name")):
        raise DataError(
            f"{root}: its scheduler is {plan.get('_class_name')} with prediction_type {prediction!r}.",
            f"Expected a scheduler with alphas (DDIM, DDPM, PNDM, …) and {' or '.join(PREDICTIONS)}.",
        )


def _weights(folder: Path, stem: str, root: Path) -> list[Path]:
    """The weight files of a component: safetensors (whole, sharded, or the fp16 variant), else one pickled file."""
    for pattern in (f"{stem}.safetensors", f"{stem}-*.safetensors", f"{stem}.fp16.safetensors"):
        if found := sorted(folder.glob(pattern)):
            return found
    pickled = folder / PICKLED[stem]
    if pickled.is_file():
        return [pickled]
    there = sorted(f.name for f in folder.iterdir() if f.is_file())
    raise DataError(f"{root}: {folder.name}/ has no weights, only {', '.join(there)}.", f"Expected {stem}.safetensors.")


def load_parts(layout: Layout, device: str, max_tokens: int | None = None) -> Parts:
    """The networks, in evaluation mode.

    On a GPU the UNet and the text encoder are bf16 (fp16 where the GPU has no bf16) and the VAE float32, since an edit
    is a difference of two decoded films; on the CPU all are float32.

    Raises: DataError for weights that are damaged, incomplete, or refused by the weights_only loader;
    MissingDependency without transformers.
    """
    from ..torchbox import torch

    module = torch()
    try:
        import transformers
    except ImportError:
        raise MissingDependency("Text encoders need transformers.", "Run `make setup`.") from None
    import diffusers

    dtype = module.float32
    if device.startswith("cuda"):
        dtype = module.bfloat16 if module.cuda.is_bf16_supported() else module.float16
    body: Any = {"clip": transformers.CLIPTextModel, "bert": transformers.BertModel}[layout.encoder]
    words: Any = {"clip": transformers.CLIPTokenizer, "bert": transformers.BertTokenizer}[layout.encoder]
    makers: dict[str, tuple[Any, Any]] = {
        "unet": (diffusers.UNet2DConditionModel, dtype),
        "vae": (diffusers.AutoencoderKL, module.float32),
        "text_encoder": (body, dtype),
    }
    made = {part: _load(layout, part, kind, kind_dtype).to(device) for part, (kind, kind_dtype) in makers.items()}
    made["vae"].enable_slicing()  # one film at a time: less memory, and no film depends on its neighbours
    tokenizer = words.from_pretrained(layout.folders["tokenizer"], local_files_only=True)
    if len(tokenizer) > made["text_encoder"].config.vocab_size:
        raise DataError(
            f"{layout.root}: the tokenizer knows {len(tokenizer)} tokens, the text encoder "
            f"{made['text_encoder'].config.vocab_size}.",
            "They belong to different models.",
        )
    plan = {**layout.configs["scheduler"], "clip_sample": False}  # a latent has no bounds to be clipped to
    # every listed class shares its betas with DDIM, whose step with η = 1 the edit takes
    scheduler = diffusers.DDIMScheduler.from_config({k: v for k, v in plan.items() if k != "_class_name"})
    prediction = str(scheduler.config.prediction_type)
    alphas = [float(a) for a in scheduler.alphas_cumprod]
    if prediction == "epsilon" and alphas[-1] < 1e-8:
        raise DataError(f"{layout.root}: its schedule ends in pure noise, where epsilon says nothing of the film.", "")
    positions = int(made["text_encoder"].config.max_position_embeddings)
    limit = min(positions, int(tokenizer.model_max_length), max_tokens or positions)
    size = int(layout.configs["unet"]["sample_size"]) * 2 ** (len(made["vae"].config.block_out_channels) - 1)
    return Parts(**made, tokenizer=tokenizer, scheduler=scheduler, prediction=prediction, size=size,
                 max_tokens=limit, dtype=dtype, alphas=alphas)  # fmt: skip


def _load(layout: Layout, part: str, kind: Any, dtype: Any) -> Any:
    """One network, complete. Raises: DataError."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    folder, files = layout.folders[part], layout.weights[part]
    options: dict[str, Any] = {"use_safetensors": layout.safe[part], "local_files_only": True}
    if ".fp16." in files[0].name:
        options["variant"] = "fp16"
    if part == "text_encoder":
        options["dtype"] = dtype
        # the prompt is the sequence of last hidden states; BERT's pooling layer is not used
        options |= {"add_pooling_layer": False} if layout.encoder == "bert" else {}
    else:
        options |= {"torch_dtype": dtype, "low_cpu_mem_usage": False}
    transformers_logging.disable_progress_bar()
    levels = diffusers_logging.get_verbosity(), transformers_logging.get_verbosity()
    # keys that are missing are told by the error below, and heads that are left out need no word
    diffusers_logging.set_verbosity(logging.ERROR)
    transformers_logging.set_verbosity(logging.ERROR)
    try:
        network, told = kind.from_pretrained(str(folder), output_loading_info=True, **options)
    except Exception as error:  # the two libraries raise a dozen kinds for damaged files
        how = "" if layout.safe[part] else " Pickled weights are read without running any code in them."
        raise DataError(
            f"{files[0]} cannot be loaded as {kind.__name__}: {str(error).strip().splitlines()[0]}",
            f"Get the model again, as safetensors if possible.{how}",
        ) from error
    finally:
        diffusers_logging.set_verbosity(levels[0])
        transformers_logging.set_verbosity(levels[1])
    if missing := sorted(told["missing_keys"]):
        raise DataError(f"{folder}: {len(missing)} weights are missing, such as {missing[0]}.", "Get the model again.")
    return network.eval().requires_grad_(False)
