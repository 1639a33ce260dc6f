"""The experiments of docs/results.md from an empty folder to the report, each in one command.

    python benchmarks/experiment.py phantom --workspace WS
    python benchmarks/experiment.py open-cxr --workspace WS --source FOLDER      (a tree that the MIMIC adapter reads)

Every step is a verb of CARS with the settings shown below, so it resumes where it was stopped, and prints a line when
it is done. The grids are in benchmarks/experiments/. Prints one JSON object a step.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cars.config import resolve
from cars.verbs import VERBS
from cars.workspace import Workspace, write_json

HERE = Path(__file__).resolve().parent / "experiments"


@dataclass(frozen=True)
class Experiment:
    """ingest, generator: the settings of the verbs `ingest` and `train-generator` (None: the packaged editor).
    plans: what is planned and made in turn: "gaps" (so many of them, the highest-ranking within reach of the films,
    with at most so many films) or "balanced" (so many insertions and deletions of each finding)."""

    ingest: dict[str, Any]
    generator: dict[str, Any] | None
    plans: tuple[str, ...]
    gaps: int
    films: int
    balanced: int


EXPERIMENTS = {
    "phantom": Experiment(
        {"adapter": "phantom", "source": "n=3600,seed=11,size=256"}, None, ("gaps", "balanced", "gaps"), 24, 480, 30,
    ),
    "open-cxr": Experiment(
        {"adapter": "mimic-cxr-jpg"},
        {"judge_arch": "efficientnet_lite0", "judge_minutes": 6.0, "steps": 2000, "batch": 16},
        ("gaps", "balanced"), 24, 160, 16,
    ),
}  # fmt: skip


def run(workspace: Workspace, verb: str, **flags: Any) -> dict[str, Any]:
    """One verb, with the workspace's own settings beneath the flags; prints what it took."""
    function, settings_class = VERBS[verb].load()
    began, worked = time.perf_counter(), time.process_time()
    result = function(workspace, resolve(settings_class, verb, flags, workspace.file_settings))
    told = {"verb": verb, "settings": flags, "seconds": round(time.perf_counter() - began, 1)}
    told["cpu_seconds"] = round(time.process_time() - worked, 1)
    short = {k: v for k, v in result.items() if len(json.dumps(v, default=str)) < 600}
    print(json.dumps({**told, "result": short}, default=str), flush=True)
    return result


def within_reach(workspace: Workspace, most: int) -> str:
    """The ids of the highest-ranking gaps that an edit of one or two findings can fill."""
    gaps = workspace.read("gaps")
    found = gaps[gaps["editable"] & ((gaps["reachable"] > 0) | (gaps["reachable_two"] > 0))].sort_values("rank")
    return ",".join(found["gap_id"].head(most))


def edited(workspace: Workspace, wanted: Experiment) -> list[str]:
    """Plan and make the edits, one plan after the other; returns the plans' ids.

    What a gap lacks follows from the edits there are, so the same plan made twice is two plans: the second goes on
    filling where the first failed. The ids are kept, so that a run that goes on after a stop plans nothing anew.
    """
    kept = workspace.path / "experiment-plans.json"
    plans: list[str] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else []
    for n, kind in enumerate(wanted.plans):
        if n == len(plans):
            flags = {"gaps": within_reach(workspace, wanted.gaps), "films": wanted.films}
            if kind == "balanced":
                flags = {"balanced": wanted.balanced, "seed": 5}
            plans.append(run(workspace, "plan", **flags)["plan_id"])
            write_json(kept, plans)
        run(workspace, "synth", plan=plans[n])
    return plans


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=list(EXPERIMENTS))
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--source", help="Where the films lie (open-cxr).")
    parser.add_argument("--until", choices=("generator", "synth", "finetune"), help="Stop after this step.")
    wanted = parser.parse_args()
    plan = EXPERIMENTS[wanted.experiment]
    workspace = Workspace.create(wanted.workspace)
    run(workspace, "ingest", **{"source": wanted.source, **plan.ingest})
    run(workspace, "gaps")
    if plan.generator is not None:
        run(workspace, "train-generator", **plan.generator)
    if wanted.until == "generator":
        return
    for one in edited(workspace, plan):
        run(workspace, "synth", plan=one, generator="label-prompted")
    run(workspace, "embed")
    run(workspace, "space")
    if wanted.until == "synth":
        return
    run(workspace, "finetune", config=str(HERE / f"{wanted.experiment}.toml"))
    if wanted.until == "finetune":
        return
    documents = {kind: str(workspace.path / f"{wanted.experiment}.{kind}") for kind in ("html", "pdf", "csv")}
    run(workspace, "report", **documents)


if __name__ == "__main__":
    main()
