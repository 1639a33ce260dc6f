"""How good are the edits of real films? There is no truth to compare with, so every figure has something beside it.

    python benchmarks/real_edits.py --workspace WS --films 12 [--generator cars,baselines] [--json] [--grid edits.jpg]
    python benchmarks/real_edits.py --workspace WS --films 12 --witness FOLDER

Sources are drawn as `cars plan --balanced` draws them: train films on which the judge sees the label before the edit.
For each finding and direction: shares, with Wilson's 95% interval, of edits that flip the workspace's judge, of shams
that do, of clean flips (no other finding changes sides, as the gate untouched has it) and of edits through all gates,
and which gates the others failed. The witness is a second judge, trained on validate and test patients only
(`_witness.py`); it has no part in making or gating the edits. Then, with n and encoder (`_real_sets.py`): FID, KID and
precision, recall, density and coverage against real films that truly have (or lack) the finding, beside unedited
sources, shams and other real films; and whether the ROI of an insertion stands in some training film. Pictures:
source with ROI, edit, sham and difference of one success and one failure, drawn by seed from all.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from _real_grid import save_grid
from _real_sets import memorised, set_figures
from _witness import train_witness
from counterfactual import bootstrap, clean, wilson

from cars.gates import collateral, gates_of
from cars.generators import GENERATORS, modes_of, offered
from cars.imaging import decode, square
from cars.schema import EDITABLE, FINDINGS
from cars.synth.editing import Models, Outcome, Source, edit_films, margin
from cars.synth.gating import workspace_neighbours
from cars.synth.judge import Judge
from cars.synth.models import workspace_generator, workspace_judge, workspace_segmenter
from cars.synth.planning import drafted
from cars.synth.run import source_of
from cars.synth.settings import PlanSettings, SynthSettings
from cars.workspace import Workspace

DIRECTIONS = ("insert", "delete")
#: Counted of the edits of one finding and direction.
COUNTS = ("n", "untrusted", "flip", "sham", "clean", "passed", "inverted", "witness_n", "witness_flip", "witness_sham")
#: Edits that go through the networks together.
CHUNK = 16


@dataclass(frozen=True)
class Made:
    """One edit: what was asked of which film, and what became of it."""

    finding: str
    direction: str
    source: Source
    outcome: Outcome


def sources_of(
    workspace: Workspace, judge: Judge, films: int, findings: list[str], seed: int
) -> tuple[dict[tuple[str, str], list[Source]], dict[str, str]]:
    """(finding, direction) → at most `films` sources, and why there are fewer. Nothing is filed in the workspace."""
    edits = ",".join(f"{direction}:{finding}" for finding in findings for direction in DIRECTIONS)
    draft = drafted(workspace, PlanSettings(balanced=films, edits=edits, seed=seed), judge=judge)
    table = workspace.query("synth/source_films").set_index("dicom_id", drop=False)
    found: dict[tuple[str, str], list[Source]] = {(f, d): [] for f in findings for d in DIRECTIONS}
    for item in draft.items:
        row = table.loc[item["source_dicom_id"]]
        cell = next(iter(item["findings"].items()))
        found[cell].append(source_of(decode(row["path"]), row, item["findings"], item["seed"]))
    return found, {t.gap_id: t.reason for t in draft.targets if t.reason}


def made_by(models: Models, cells: dict[tuple[str, str], list[Source]], settings: SynthSettings) -> list[Made]:
    """All edits of one generator."""
    # what has no inversion may inpaint twice, so that nobody has more tries than the cars editor
    tries = settings if "inversion" in modes_of(models.generator) else replace(settings, seeds=2)
    made = []
    for (finding, direction), sources in cells.items():
        for start in range(0, len(sources), CHUNK):
            chunk = sources[start : start + CHUNK]
            made += [Made(finding, direction, s, o) for s, o in zip(chunk, edit_films(chunk, models, tries))]
    return made


def summarise(made: list[Made], judge: Judge, witness: Judge) -> dict[str, Any]:
    """Counts of COUNTS of one finding and direction, failed gates, and what the witness's probability did."""
    counts: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    moved: dict[str, list[float]] = {"edit": [], "sham": []}
    for m in made:
        if m.outcome.error is not None:
            counts["untrusted"] += 1
            continue
        films = (m.source.film, m.outcome.edited, m.outcome.sham)
        before, edit, sham = judge.probabilities(np.stack([square(f, judge.size) for f in films]))
        flipped = margin(edit, judge.thresholds, m.source.changes) >= 0
        counts["n"] += 1
        counts["flip"] += flipped
        counts["sham"] += margin(sham, judge.thresholds, m.source.changes) >= 0
        counts["clean"] += flipped and collateral(before, edit, judge.sure, m.source.changes) == 0
        counts["passed"] += m.outcome.passed
        counts["inverted"] += m.outcome.mode == "inversion"
        failed.update({g.gate for g in m.outcome.gates if g.passed is False})
        column = FINDINGS.index(m.finding)
        if not witness.trained[column]:
            continue
        seen = witness.probabilities(np.stack([square(f, witness.size) for f in films]))
        sign = 1 if m.direction == "insert" else -1
        for name, p in (("edit", seen[1]), ("sham", seen[2])):
            moved[name].append(sign * float(p[column] - seen[0][column]))
        before_side = margin(seen[0], witness.thresholds, {m.finding: "delete" if sign > 0 else "insert"}) >= 0
        if before_side:
            counts["witness_n"] += 1
            counts["witness_flip"] += margin(seen[1], witness.thresholds, m.source.changes) >= 0
            counts["witness_sham"] += margin(seen[2], witness.thresholds, m.source.changes) >= 0
    return {
        **{name: int(counts[name]) for name in COUNTS}, "failed": dict(sorted(failed.items())),
        "witness_moved": {name: bootstrap(values) for name, values in moved.items()}, "moved": moved,
        "patients": len({m.source.subject_id for m in made}),
    }  # fmt: skip


def share(k: int, n: int) -> str:
    """ "0.75 [0.51, 0.90]", or "–" of none."""
    if not n:
        return "–"
    low, high = wilson(k, n)
    return f"{k / n:.2f} [{low:.2f}, {high:.2f}]"


def _moved(row: dict[str, Any], name: str) -> str:
    value, low, high, n = row["witness_moved"][name]
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]" if n else "–"


def edits_table(rows: list[dict[str, Any]], generator: str) -> str:
    """The edits of one generator as a Markdown table, a row a finding and direction, and all together."""
    lines = [
        "| finding | edit | n | flip | sham | clean | through all gates | witness: flip / sham (n) | "
        "witness: moved by edit / sham | failed gates |",
        "|---" * 10 + "|",
    ]
    for direction in DIRECTIONS:
        cells = [r for r in rows if r["generator"] == generator and r["direction"] == direction]
        total = {name: sum(r[name] for r in cells) for name in COUNTS}
        total["witness_moved"] = {
            name: bootstrap([v for r in cells for v in r["moved"][name]]) for name in ("edit", "sham")
        }
        total |= {
            "finding": "**all**",
            "direction": direction,
            "failed": sum((Counter(r["failed"]) for r in cells), Counter()),
        }
        for r in [*cells, total]:
            n, w = r["n"], r["witness_n"]
            seen = f"{r['witness_flip'] / w:.2f} / {r['witness_sham'] / w:.2f} ({w})" if w else "–"
            failed = ", ".join(f"{gate} {k}" for gate, k in r["failed"].items()) or "–"
            shares = " | ".join(share(r[name], n) for name in ("flip", "sham", "clean", "passed"))
            moved = f"{_moved(r, 'edit')} / {_moved(r, 'sham')}"
            lines.append(f"| {r['finding']} | {direction} | {n} | {shares} | {seen} | {moved} | {failed} |")
    return "\n".join(lines)


def sets_table(rows: list[dict[str, Any]]) -> str:
    """Distances and PRDC of sets of films as a Markdown table."""
    lines = [
        "| generator | edit | films | n | FID | KID × 1000 | precision | recall | density | coverage |",
        "|---" * 10 + "|",
    ]
    for r in rows:
        fid, kid = r["fid"], r["kid"]
        lines.append(
            f"| {r['generator']} | {r['direction']} | {r['films']} | {r['n']} | "
            f"{fid['value']:.1f} [{fid['low']:.1f}, {fid['high']:.1f}] | "
            f"{1000 * kid['value']:.1f} [{1000 * kid['low']:.1f}, {1000 * kid['high']:.1f}] | "
            + " | ".join(f"{r['prdc'][name]:.2f}" for name in ("precision", "recall", "density", "coverage"))
            + " |"
        )
    return "\n".join(lines)


def memory_table(rows: list[dict[str, Any]]) -> str:
    """What the search for copies found, as a Markdown table."""
    lines = [
        "| generator | pieces | n | best correlation, median | 95% quantile | largest | above the limit |",
        "|---" * 7 + "|",
    ]
    for r in rows:
        figures = " | ".join(f"{r[name]:.2f}" for name in ("median", "high", "largest"))
        lines.append(f"| {r['generator']} | {r['pieces']} | {r['n']} | {figures} | {share(r['above'], r['n'])} |")
    return "\n".join(lines)


def flat(rows: list[dict], sets: list[dict], memory: list[dict], first: str) -> list[dict]:
    """The rows that every benchmark prints: what, ours, reference, ratio, unit."""
    table = []

    def add(what: str, ours: float, reference: float | None, unit: str) -> None:
        if not math.isnan(ours):
            table.append(
                {"what": what, "ours": ours, "reference": reference, "ratio": ours / reference if reference else None,
                 "unit": unit}
            )  # fmt: skip

    for r in (r for r in rows if r["generator"] == first and r["n"]):
        what = f"{r['direction']} {r['finding']} (n = {r['n']})"
        add(f"{what}: judge flips, edit against sham", r["flip"] / r["n"], r["sham"] / r["n"], "share")
        add(f"{what}: passes all gates", r["passed"] / r["n"], None, "share")
    for direction in DIRECTIONS:
        mine = {r["films"]: r for r in sets if r["generator"] in (first, "–") and r["direction"] == direction}
        for name in ("fid", "kid"):
            if "edits" in mine and "other real films" in mine:
                what = f"{direction} (n = {mine['edits']['n']}): {name.upper()}, edits against other real films"
                add(what, mine["edits"][name]["value"], mine["other real films"][name]["value"], "distance")
    known = {r["pieces"]: r for r in memory if r["generator"] in (first, "–")}
    if known.get("edits", {}).get("n"):
        edits, real = known["edits"], known["held-out real films"]
        add(f"ROIs of insertions above the limit for copies (n = {edits['n']})", edits["above"] / edits["n"],
            real["above"] / real["n"], "share")  # fmt: skip
    return table


def say(row: dict[str, Any]) -> None:
    shares = " ".join(f"{name} {share(row[name], row['n'])}" for name in ("flip", "sham", "clean", "passed"))
    print(
        f"{row['generator']:14} {row['finding']:18} {row['direction']:6} n={row['n']:3} untrusted {row['untrusted']} "
        f"{shares} witness {row['witness_flip']}/{row['witness_n']} "
        f"(sham {row['witness_sham']}) failed {row['failed']}",
        file=sys.stderr, flush=True,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, help="with films, vectors, an editor and a judge of its own")
    parser.add_argument("--films", type=int, default=8, help="films per finding and direction")
    parser.add_argument("--generator", default="cars", help="registered names, by commas, ours first; or baselines")
    parser.add_argument("--findings", default=",".join(EDITABLE), help="only these, separated by commas")
    parser.add_argument(
        "--witness", type=Path, help="a judge's folder; default: trained in models/witness if not there"
    )
    parser.add_argument("--mode", default="auto", choices=("auto", "inversion", "inpaint"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--grid", type=Path, help="write pictures here: NAME-insert.jpg and NAME-delete.jpg")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.workspace is None:
        print(
            "real_edits needs real films: give --workspace, after ingest, embed and train-generator.", file=sys.stderr
        )
        if options.json:
            print(json.dumps({"name": "real_edits", "rows": [], "about": {"skipped": "no workspace was given"}}))
        return
    workspace = Workspace.open(options.workspace)
    names = options.generator.replace("baselines", ",".join(sorted(set(GENERATORS) - set(offered())))).split(",")
    judge = workspace_judge(workspace, device="cpu")
    witness = Judge.load(options.witness, "cpu") if options.witness else train_witness(
        workspace, workspace.path / "models" / "witness"
    )  # fmt: skip
    segmenter = workspace_segmenter("cars", "cpu")
    neighbours = workspace_neighbours(workspace, "cpu")
    findings = options.findings.split(",")
    cells, reasons = sources_of(workspace, judge, options.films, findings, options.seed)
    settings = SynthSettings(mode=options.mode, device="cpu")
    rows: list[dict[str, Any]] = []
    made: dict[str, list[Made]] = {}
    revisions = {}
    for name in names:
        generator = workspace_generator(workspace, name, "cpu")
        revisions[name] = generator.revision
        models = Models(generator, segmenter, judge, gates=gates_of(workspace.file_settings), neighbours=neighbours)
        made[name] = made_by(models, cells, settings)
        for finding, direction in cells:
            own = [m for m in made[name] if (m.finding, m.direction) == (finding, direction)]
            rows.append(
                {"generator": name, "finding": finding, "direction": direction, **summarise(own, judge, witness)}
            )
            say(rows[-1])
    films: pd.DataFrame = workspace.read("films")
    sets, encoder = set_figures(films, made, options.seed)
    memory = memorised(workspace, segmenter, made, options.seed)
    about = {
        "generators": revisions, "judge": judge.revision, "judge_auroc": judge.auroc, "witness": witness.revision,
        "witness_auroc": witness.auroc, "encoder": encoder, "films": options.films, "seed": options.seed,
        "short": reasons, "real_films": len(films), "dataset": sorted(films["dataset"].dropna().unique()),
    }  # fmt: skip
    for name in names:
        print(f"\n{name}\n{edits_table(rows, name)}", file=sys.stderr)
    print(f"\n{encoder}\n{sets_table(sets)}\n\n{memory_table(memory)}\n\n{reasons}", file=sys.stderr)
    if options.grid:
        for direction in DIRECTIONS:
            path = options.grid.with_name(f"{options.grid.stem}-{direction}{options.grid.suffix}")
            save_grid(path, [m for m in made[names[0]] if m.direction == direction], options.seed)
    if options.json:
        table = flat(rows, sets, memory, names[0])
        print(json.dumps(clean({"name": "real_edits", "rows": table, "about": about, "cells": rows, "sets": sets,
                                "memorisation": memory})))  # fmt: skip


if __name__ == "__main__":
    main()
