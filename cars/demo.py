"""The demo: the whole path on the phantom, as a chain of jobs (for the app) or here and now (`--no-app`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .config import resolve
from .progress import Progress, part_of, silent
from .verbs import VERBS
from .workspace import Workspace


def steps(films: int) -> list[tuple[str, dict[str, Any], float]]:
    """The demo's stages in order: (verb, settings, its share of the time on 2 cores)."""
    return [
        ("ingest", {"adapter": "phantom", "source": f"n={films},seed=0,size=256", "reports": True}, 0.14),
        ("concepts", {}, 0.01),
        ("embed", {}, 0.2),
        ("gaps", {}, 0.03),
        ("plan", {"films": 48}, 0.02),
        ("synth", {}, 0.23),
        # a few films have too few patients for five neighbours each
        ("space", {"k": 5 if films >= 200 else 1}, 0.02),
        # one seed and two arms, to be quick: the run says what cannot be concluded from that
        (
            "finetune",
            {"backbones": "efficientnet_b0", "arms": "real,real+cars", "size": 64, "steps": 150, "seeds": 1},
            0.25,
        ),
        ("report", {}, 0.05),
        ("export", {}, 0.05),
    ]


def build(folder: Path, films: int = 1500, progress: Progress = silent) -> dict[str, Any]:
    """Run every stage in this process. Run again, each stage finds its parts and makes nothing anew.

    Returns: verb → the verb's result.
    """
    workspace = Workspace.create(folder)
    results: dict[str, Any] = {}
    before = 0.0
    for name, flags, weight in steps(films):
        function, settings_class = VERBS[name].load()
        settings = resolve(settings_class, name, flags, workspace.file_settings)
        results[name] = function(workspace, settings, part_of(progress, before, before + weight))
        before += weight
    return results


def queue(folder: Path, films: int = 1500) -> list[str]:
    """Submit every stage as a chain of jobs, each after the one before. Returns their ids.

    A stage whose job is done, running or queued is left as it is; one that failed or was cancelled is tried again.
    """
    from . import jobs

    workspace = Workspace.create(folder)
    earlier = jobs.jobs(workspace)
    ids: list[str] = []
    for name, flags, _ in steps(films):
        same = [job for job in earlier.itertuples() if job.verb == name and job.settings == flags]
        if same:
            ids.append(same[0].job_id)
            # asked anew: a retry of an earlier stage has queued those that it had blocked
            if jobs.status(workspace, same[0].job_id).state in ("failed", "cancelled", "blocked"):
                jobs.retry(workspace, same[0].job_id)
        else:
            ids.append(jobs.submit(workspace, name, flags, after=ids[-1] if ids else None))
    return ids
