"""The verb `export-models`: fine-tuned units as folders that timm loads, with temperature, thresholds and a card.

models/finetuned/<backbone>-<arm>-seed<n>-<unit>/
    model.safetensors    under timm's own names, the classifier's too
    config.json          timm's (architecture, model_args, pretrained_cfg, label_names), and temperature, thresholds
    README.md            the card: what it learned from, how to use it, what it cannot do
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pandas as pd

from .. import schema, torchbox
from ..backbones import BACKBONES
from ..backbones._timm import TimmBackbone
from ..errors import DataError, WorkspaceError
from ..progress import Progress, silent
from ..provenance import code_version, file_digest
from ..workspace import Workspace, atomic_write, write_json
from . import scores
from .settings import ExportModelsSettings
from .unit import Unit, load

#: The largest difference of a logit between the unit's network and the exported one, on the same random films.
TOLERANCE = 1e-3
#: What loads an exported folder, without CARS.
LOAD = """import json, pathlib, timm
model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()
about = json.loads(pathlib.Path("FOLDER/config.json").read_text(encoding="utf-8"))"""


def export_models(workspace: Workspace, settings: ExportModelsSettings, progress: Progress = silent) -> dict[str, Any]:
    """Write one folder a unit of a run. Each is loaded by timm again and compared before it counts.

    Returns: run, models (folders), skipped (backbones that are no timm model).
    Raises: WorkspaceError without such a unit, or where all of them are of backbones that timm does not have.
    """
    run, units = chosen_units(workspace, settings)
    known = [is_timm(name) for name in units["backbone"]]
    skipped = sorted(set(units.loc[[not k for k in known], "backbone"]))
    if not any(known):
        raise WorkspaceError(f"timm has no model of: {', '.join(skipped)}.", "Use the unit's weights.safetensors.")
    out = Path(settings.out) if settings.out else workspace.folder("models", "finetuned")
    folders = []
    for done, row in enumerate(units[known].to_dict("records")):
        progress(done, sum(known), f"exporting {row['backbone']}, {row['arm']}, seed {row['seed']}")
        folder = out / f"{row['backbone']}-{row['arm']}-seed{row['seed']}-{row['unit']}"
        _export(workspace, {str(k): v for k, v in row.items()}, folder)
        folders.append(str(folder))
    progress(sum(known), sum(known), "exported")
    return {"run": run, "models": folders, "skipped": skipped}


def chosen_units(workspace: Workspace, settings: ExportModelsSettings) -> tuple[str, pd.DataFrame]:
    """(the run, its units that the settings ask for: rows of the table `units`).

    Raises: WorkspaceError without such a run, or without such a unit.
    """
    run, _ = scores.chosen_run(workspace, settings.run)
    units = scores.units_of(workspace, run)
    for name in ("backbone", "arm", "seed"):
        wanted = getattr(settings, name)
        if wanted not in ("", None):
            units = units[units[name] == wanted]
    if not len(units):
        raise WorkspaceError(f"The run {run} has no such unit.", "Leave out --backbone, --arm or --seed to see all.")
    return run, units


def is_timm(backbone: str) -> bool:
    """Whether timm has the backbone, so that its units can be exported."""
    return issubclass(BACKBONES.get(backbone), TimmBackbone)


def exported_models(workspace: Workspace) -> pd.DataFrame:
    """The folders in models/finetuned that timm loads, the newest first.

    Returns: folder (a path) backbone arm seed run unit bytes (of the weights) written (seconds since 1970). A folder
    that is not whole is left out, since timm would not load it.
    """
    found = []
    for path in workspace.path.glob("models/finetuned/*/config.json"):
        about, weights = json.loads(path.read_text(encoding="utf-8")), path.with_name("model.safetensors")
        if weights.exists():
            named = {name: about[name] for name in ("backbone", "arm", "seed", "run", "unit")}
            size, written = weights.stat().st_size, path.stat().st_mtime
            found.append({"folder": str(path.parent), **named, "bytes": size, "written": written})
    names = ["folder", "backbone", "arm", "seed", "run", "unit", "bytes", "written"]
    return pd.DataFrame(found, columns=names).sort_values(["written", "folder"], ascending=False, ignore_index=True)


def loading(folder: str) -> str:
    """The three lines of Python that load an exported folder."""
    return LOAD.replace('"local-dir:FOLDER"', json.dumps(f"local-dir:{folder}", ensure_ascii=False)).replace(
        '"FOLDER/config.json"', json.dumps(f"{folder}/config.json", ensure_ascii=False)
    )


def _export(workspace: Workspace, row: dict[str, Any], folder: Path) -> None:
    """One unit's folder, config.json last: timm takes none without it."""
    torch = torchbox.torch()
    import timm
    from safetensors.torch import save

    source = workspace.path / row["path"]
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    backbone = BACKBONES.get(row["backbone"])
    unit = Unit(row["unit"], row["backbone"], "random", row["weights"], row["arm"], int(row["seed"]), int(row["steps"]))
    net = load(source, unit, config["in_size"], "cpu").eval()
    name, options = backbone.architecture(net.side)
    model = timm.create_model(name, pretrained=False, num_classes=len(schema.FINDINGS), **options)
    classifier = next(n for n, module in model.named_modules() if module is model.get_classifier())
    state = dict(net.body.state_dict())
    state |= {f"{classifier}.{part}": tensor for part, tensor in net.head.state_dict().items()}
    model.load_state_dict(state)
    _compare(net, model.eval(), torch)
    with atomic_write(folder / "model.safetensors") as stream:
        stream.write(save({k: v.contiguous() for k, v in model.state_dict().items()}))
    cut = {
        "input_size": [3, net.side, net.side], "fixed_input_size": backbone.sized, "mean": list(backbone.mean),
        "std": list(backbone.std), "interpolation": "bilinear", "crop_pct": 1.0, "num_classes": len(schema.FINDINGS),
        "classifier": classifier,
    }  # fmt: skip
    about = {
        "architecture": name, "num_classes": len(schema.FINDINGS), "num_features": backbone.dim, "model_args": options,
        "pretrained_cfg": cut, "label_names": list(schema.FINDINGS), "temperature": row["temperature"],
        "thresholds": json.loads(row["thresholds"]), "unit": row["unit"], "backbone": row["backbone"],
        "arm": row["arm"], "seed": int(row["seed"]), "run": row["run"], "starting_weights": row["weights"],
        "training": config["training"], "recipe": config["recipe"], "code_version": code_version(),
        "sha256": file_digest(folder / "model.safetensors"),
    }  # fmt: skip
    with atomic_write(folder / "README.md", "w") as stream:
        stream.write(card(about))
    write_json(folder / "config.json", about)


def _compare(net: Any, model: Any, torch: Any) -> None:
    """Raise DataError unless both networks say the same of the same films."""
    films = torch.rand((2, 1, net.side, net.side), generator=torch.Generator().manual_seed(0)) * 255
    with torch.inference_mode():
        ours, theirs = net(films), model((films / 255 - net.mean) / net.std)
    difference = float((ours - theirs).abs().max())
    if not difference <= TOLERANCE * max(1.0, float(ours.abs().max())):
        raise DataError(f"timm's model differs from the unit's by {difference:.2g} in a logit; nothing was exported.")


def card(about: dict[str, Any]) -> str:
    """The model card, Markdown."""
    side = about["pretrained_cfg"]["input_size"][1]
    counts = about["training"]
    positives = ", ".join(f"{f} {n:,}" for f, n in counts["positives"].items() if n)
    return f"""# {about["backbone"]}, arm {about["arm"]}, seed {about["seed"]}

A {about["architecture"]} of timm, fine-tuned by CARS on {counts["films"]:,} films of {counts["patients"]:,} patients
({counts["synthetic"]:,} of the films synthetic) from the weights {about["starting_weights"]}.
Unit {about["unit"]} of run {about["run"]}.

{textwrap.indent(LOAD, "    ")}

Input: float (B, 3, {side}, {side}); a film padded to a square with black, MONOCHROME2, its grey levels in [0, 1]
repeated over the three channels, then (x - mean) / std of `about["pretrained_cfg"]`. The probability of each of
`about["label_names"]` is `(model(x) / about["temperature"]).sigmoid()`; `about["thresholds"]` apply to it.
Temperature and thresholds were chosen on the validate patients.

## Limits
- Training positives: {positives or "none"}. A finding without one was never learned, and its output means nothing.
- Measured on patients of the data set that it was trained on; nothing is known of another hospital.
- Terms of the training films and of the starting weights apply to these weights.
- A research artefact. Not a medical device, and not for diagnosis.
"""
