"""The verbs of CARS by name: what the command line, the jobs and the app can run. Modules load when a verb is used."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .errors import SettingError


@dataclass(frozen=True)
class Verb:
    """One verb: where its function and settings are, its sentence, and examples for --help."""

    name: str
    module: str
    function: str
    settings: str
    help: str
    examples: tuple[str, ...]
    creates: bool = False

    def load(self) -> tuple[Callable[..., dict[str, Any]], type]:
        """(function, settings class). The function takes (workspace, settings, progress) and returns a dict."""
        module = importlib.import_module(self.module)
        return getattr(module, self.function), getattr(module, self.settings)


VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb(
            "ingest", "cars.ingest", "ingest", "IngestSettings",
            "Read a data set's own files into the workspace's tables.",
            (
                "cars ingest mimic-cxr-jpg /data/mimic-cxr-jpg --workspace ws",
                "cars ingest xrv chexpert --workspace chexpert-labels",
                "cars ingest phantom n=1500,seed=0 --workspace demo",
            ),
            creates=True,
        ),
        Verb(
            "embed", "cars.embed", "embed", "EmbedSettings",
            "Turn each film into a feature vector, index the vectors, and draw the map.",
            ("cars embed --workspace ws", "cars embed --backbone densenet121 --weights /models/densenet.safetensors"),
        ),
        Verb(
            "concepts", "cars.concepts", "concepts", "ConceptsSettings",
            "Read clinical concepts from the reports, for use as attributes.",
            ("cars concepts --workspace ws", "cars gaps --attributes sex,view,concepts --workspace ws"),
        ),
        Verb(
            "gaps", "cars.coverage", "gaps", "GapsSettings",
            "List the attribute combinations that too few patients have.",
            (
                "cars gaps --workspace ws",
                "cars gaps --attributes sex,age_band,view,findings --max-order 3 --threshold 30 --unit patient --json",
            ),
        ),
        Verb(
            "space", "cars.coverage.space", "space", "SpaceSettings",
            "Measure how near the test films, and each gap's, are to train films in feature space.",
            ("cars space --workspace ws", "cars space --k 10 --search ivf --json"),
        ),
        Verb(
            "anatomy", "cars.anatomy", "anatomy", "AnatomySettings",
            "Outline lungs and hearts of the frontal films, and measure the cardiothoracic ratio of PA films.",
            ("cars anatomy --workspace ws", "cars anatomy --segmenter chexmask:/data/MIMIC-CXR-JPG.csv --json"),
        ),
        Verb(
            "plan", "cars.synth", "plan", "PlanSettings",
            "Choose source films and edits that would fill gaps; nothing is synthesised yet.",
            ("cars plan --workspace ws", "cars plan --gaps 1f2e3d4c5b6a7988 --per-gap 10"),
        ),
        Verb(
            "train-generator", "cars.synth", "train_generator", "TrainGeneratorSettings",
            "Train the editor, and the judge that checks it, on this workspace's train patients.",
            (
                "cars train-generator --workspace ws --minutes 15",
                "cars train-generator --size 256 --minutes 240 --width 64",
                "torchrun --nproc_per_node 4 -m -- cars train-generator --size 128 --steps 50000",
            ),
        ),
        Verb(
            "synth", "cars.synth", "synth", "SynthSettings",
            "Make the edits of a plan and pass each through the gates.",
            ("cars synth --workspace ws", "cars synth --plan 0a1b2c3d4e5f --guidance 3"),
        ),
        Verb(
            "finetune", "cars.evaluate", "finetune", "FinetuneSettings",
            "Fine-tune backbones on several training arms, each with several seeds.",
            (
                "cars finetune --backbones all --arms all --workspace ws",
                "cars finetune --config experiment.toml --workspace ws",
            ),
        ),
        Verb(
            "report", "cars.results", "report", "ReportSettings",
            "Score the fine-tuned units on untouched test patients, with intervals.",
            ("cars report --workspace ws --json", "cars report --html gains.html --pdf gains.pdf --csv gains.csv"),
        ),
        Verb(
            "export-models", "cars.evaluate", "export_models", "ExportModelsSettings",
            "Write fine-tuned units as folders that timm loads, with temperature, thresholds and a card.",
            ("cars export-models --workspace ws", "cars export-models --backbone densenet121 --arm real+cars --seed 0"),
        ),
        Verb(
            "export", "cars.export", "export", "ExportSettings",
            "Write the augmented data set as one zip with labels, Croissant manifest and provenance.",
            ("cars export --workspace ws --out augmented.zip",),
        ),
    )
}  # fmt: skip


def verb(name: str) -> Verb:
    """The verb of that name. Raises: SettingError that lists the verbs."""
    if name not in VERBS:
        raise SettingError(f"There is no verb {name!r}.", f"The verbs are: {', '.join(VERBS)}.")
    return VERBS[name]
