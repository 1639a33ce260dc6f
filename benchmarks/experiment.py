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
    gaps: so many gaps are filled, the highest-ranking within reach of the films. films: most films planned for them.
    balanced: insertions and deletions of each finding planned beside them."""

    ingest: dict[str, Any]
    generator: dict[str, Any] | None
    gaps: int
    films: int
    balanced: int


EXPERIMENTS = {
    "phantom": Experiment({"adapter": "phantom", "source": "n=3600,seed=11,size=256"}, None, 24, 480, 30),
    "open-cxr": Experiment(
        {"adapter": "mimic-cxr-jpg"},
        {"judge_arch": "efficientnet_lite0", "judge_minutes": 6.0, "steps": 2000, "batch": 16},
        24, 160, 16,
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


def planned(workspace: Workspace, wanted: Experiment) -> list[str]:
    """The ids of both plans. Kept in a file: what gaps lack follows from the edits there are, so a plan that is made
    again after a stop would be another one."""
    kept = workspace.path / "experiment-plans.json"
    if not kept.exists():
        gaps = within_reach(workspace, wanted.gaps)
        filled = run(workspace, "plan", gaps=gaps, films=wanted.films)["plan_id"]
        write_json(kept, [filled, run(workspace, "plan", balanced=wanted.balanced, seed=5)["plan_id"]])
    return json.loads(kept.read_text(encoding="utf-8"))


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
    plans = planned(workspace, plan)
    for generator in ("cars", "label-prompted"):
        for one in plans:
            run(workspace, "synth", plan=one, generator=generator)
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
