"""Which editor, judge and segmenter a workspace uses: its own where train-generator made them, else the packaged ones.

models/<kind>/<key>/ holds a model; models/<kind>/CURRENT names the key that counts.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from ..errors import MissingDependency, WorkspaceError
from ..generators import GENERATORS
from ..segmenters import loaded
from ..workspace import Workspace, write_text
from .judge import Judge
from .settings import SynthSettings


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


def workspace_judges(workspace: Workspace, settings: SynthSettings, judge: Any) -> list[Any]:
    """The judges that an edit's uncertainty is taken over, each once; the first is `judge`, the one that gates.

    settings.judges: folders, "own" and "packaged", separated by commas, or a list of judges; empty takes the gating
    judge, the workspace's own and the packaged one, unless the gating judge is an object.
    Raises: WorkspaceError for "own" in a workspace that has trained no judge.
    """
    if not isinstance(settings.judges, str):
        others = list(settings.judges)
    elif settings.judges:
        others = []
        for name in settings.judges.split(","):
            folder: Path | str | None = name.strip()
            if folder == "own":
                folder = current(workspace, "judge")
                if folder is None:
                    raise WorkspaceError("This workspace has no judge of its own.", "Run `cars train-generator` first.")
            others.append(Judge.load(None if folder == "packaged" else folder, settings.device))
    elif settings.judge is None or isinstance(settings.judge, str | Path):
        own = current(workspace, "judge")
        others = [Judge.load(own, settings.device)] if own else []
        with contextlib.suppress(MissingDependency):
            others.append(Judge.load(None, settings.device))
    else:
        others = []
    return list({each.revision: each for each in [judge, *others]}.values())


def workspace_generator(workspace: Workspace, name: Any = "cars", device: str = "auto") -> Any:
    """A loaded generator. `name`: a registered name, "name:folder", or an object.

    Without a folder a generator that `uses` a kind of model takes the workspace's own where it has one.
    """
    if not isinstance(name, str):
        return name
    kind = GENERATORS.get(name)
    own: Any = name.partition(":")[2]
    if not own and (uses := getattr(kind, "uses", None)):
        own = workspace.path if uses == "workspace" else current(workspace, uses)
    return kind(own).load(device) if own else kind().load(device)


def workspace_segmenter(name: Any = "cars", device: str = "auto") -> Any:
    """A loaded segmenter: by registered name, by "name:path" with weights or a table of one's own, or the object."""
    return loaded(name, device)
