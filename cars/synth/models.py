"""Which editor, judge and segmenter a workspace uses: its own where train-generator made them, else the packaged ones.

models/<kind>/<key>/ holds a model; models/<kind>/CURRENT names the key that counts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..generators import GENERATORS
from ..segmenters import SEGMENTERS
from ..workspace import Workspace, write_text
from .judge import Judge


def current(workspace: Workspace, kind: str) -> Path | None:
    """The folder of the workspace's own model of that kind ("generator", "judge"), or None."""
    root = workspace.path / "models" / kind
    try:
        folder = root / (root / "CURRENT").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    return folder if (folder / "config.json").is_file() else None


def make_current(workspace: Workspace, kind: str, key: str) -> None:
    """Let models/<kind>/<key> count from now on."""
    write_text(workspace.path / "models" / kind / "CURRENT", key + "\n")


def workspace_judge(workspace: Workspace, judge: Any = None, device: str = "auto") -> Any:
    """The judge of that folder, else the workspace's own, else the packaged one; an object is handed back as it is."""
    if judge is None or isinstance(judge, str | Path):
        return Judge.load(judge or current(workspace, "judge"), device)
    return judge


def workspace_generator(workspace: Workspace, name: Any = "cars", device: str = "auto") -> Any:
    """A loaded generator. `name`: a registered name or an object; "cars" takes the workspace's own weights first."""
    if not isinstance(name, str):
        return name
    kind, _, folder = name.partition(":")
    own = folder or (current(workspace, "generator") if kind == "cars" else None)
    return GENERATORS.get(kind)(own).load(device) if own else GENERATORS.get(kind)().load(device)


def workspace_segmenter(name: Any = "cars", device: str = "auto") -> Any:
    """A loaded segmenter by registered name, or the object itself."""
    return SEGMENTERS.get(name)().load(device) if isinstance(name, str) else name
