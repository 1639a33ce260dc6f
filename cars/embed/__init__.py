"""The verb `embed`: each film becomes a feature vector, the vectors an index, and the index a map.

Films are decoded by worker processes ahead of the network, which never waits for them on a GPU. A shard of vectors is
named by the hash of the encoder and of its films (id, path, time and size of the file) and written once, so a run
that was killed goes on where it stopped, and a later run embeds only what is new or changed. Layout: cars/index.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SettingError, WorkspaceError
from ..progress import Progress, part_of, silent
from .settings import EmbedSettings

if TYPE_CHECKING:
    from ..workspace import Workspace

__all__ = ["EmbedSettings", "embed"]

#: Failures that the result names; the rest is counted.
NAMED_FAILURES = 100


def embed(workspace: Workspace, settings: EmbedSettings, progress: Progress = silent) -> dict[str, Any]:
    """Embed the films on disk, refresh the index, draw the map, and make the result the current one.

    Returns: films (with a vector), embedded (now), failed (count), failures (dicom_id and reason of the first ones),
    dim, backbone (name and which weights), revision, size, key, index (kind, films, …), map (films on it), and for an
    adapted encoder: adapted (folder, epochs and their scores).

    Raises: WorkspaceError (no films, or none that can be decoded), SettingError, MissingDependency (no weights),
    ResourceError (no space).
    """
    from .. import index
    from ..backbones import BACKBONES
    from ..provenance import digest
    from ..workspace import write_json, write_text
    from .adapting import adapted as adapt_encoder
    from .layout import draw
    from .shards import publish_rows, vectors

    workspace.need("films", "ingest")
    backbone_class = BACKBONES.get(settings.backbone)
    weights, size = _weights(workspace, settings)
    first = 0.0
    adapted: dict[str, Any] = {}
    if settings.adapt == "supervised":
        first = 0.6
        adapted = adapt_encoder(workspace, settings, weights, part_of(progress, 0.0, first))
        weights = str(workspace.path / adapted["folder"])
    backbone = backbone_class(weights=weights, size=size, seed=settings.seed)
    key = digest(settings.backbone, backbone.revision, backbone.size)
    folder = workspace.folder("embeddings", key)
    made_with = {
        "key": key, "backbone": settings.backbone, "label": _label(backbone, adapted), "revision": backbone.revision,
        "weights": _portable(workspace, weights), "size": backbone.size, "dim": backbone.dim, "seed": settings.seed,
    }  # fmt: skip
    if not (folder / "info.json").exists():
        write_json(folder / "info.json", made_with)

    last = 0.85 if settings.map else 0.95
    rows, failed, embedded = vectors(workspace, folder, backbone, settings, part_of(progress, first, last))
    if rows.empty:
        reason = next(iter(failed.values()), "there is none on disk")
        raise WorkspaceError(
            f"No film can be embedded: {reason}.", "Look at the quarantine and the missing files of this workspace."
        )
    publish_rows(folder, rows)
    described = index.refresh(workspace, part_of(progress, last, last + 0.03), folder)
    on_map = 0
    if settings.map:
        on_map = draw(workspace, folder, made_with["label"], described, settings, part_of(progress, last + 0.03, 1.0))
    write_text(workspace.path / "embeddings" / "CURRENT", key + "\n")
    progress(1, 1, "embedded")
    result = {
        "films": len(rows),
        "embedded": embedded,
        "failed": len(failed),
        "failures": [{"dicom_id": i, "reason": reason} for i, reason in list(failed.items())[:NAMED_FAILURES]],
        "dim": backbone.dim,
        "backbone": made_with["label"],
        "revision": backbone.revision,
        "size": backbone.size,
        "key": key,
        "index": {name: value for name, value in described.items() if name not in ("rows", "bytes")},
        "map": on_map,
    }
    return {**result, "adapted": adapted} if adapted else result


def _weights(workspace: Workspace, settings: EmbedSettings) -> tuple[str | None, int | None]:
    """(where the weights are, the size of films): "run:UNIT" is looked up, at the size that the unit was trained at.

    Raises: SettingError for a unit that is not there or is of another backbone.
    """
    if not settings.weights or not settings.weights.startswith("run:"):
        return settings.weights, settings.size
    name = settings.weights.removeprefix("run:")
    units = {path.parent.name: path.parent for path in sorted(workspace.path.glob("runs/*/*/weights.safetensors"))}
    if name not in units:
        there = ", ".join(units) or "none yet"
        raise SettingError(f"There is no fine-tuned unit {name!r}.", f"The units of this workspace are: {there}.")
    trained = json.loads((units[name] / "config.json").read_text(encoding="utf-8"))
    if trained["backbone"] != settings.backbone:
        raise SettingError(
            f"The unit {name} is a {trained['backbone']}, not a {settings.backbone}.",
            f"Set backbone to {trained['backbone']}.",
        )
    return str(units[name]), settings.size or trained["in_size"]


def _portable(workspace: Workspace, weights: str | None) -> str | None:
    """A path inside the workspace relative to it, so that a workspace that was moved still finds its encoder."""
    if weights in (None, "random"):
        return weights
    path = Path(str(weights)).absolute()
    return str(path.relative_to(workspace.path)) if path.is_relative_to(workspace.path) else str(path)


def _label(backbone: Any, adapted: dict[str, Any]) -> str:
    return f"{backbone.label}, adapted" if adapted else backbone.label
