"""The tables and figures of docs/results.md from a workspace that benchmarks/experiment.py has filled.

    python benchmarks/experiment_tables.py --workspace WS [--pictures FOLDER --name phantom]

Prints Markdown. Nothing is computed anew but what `cars report` has not kept (coverage before and after).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cars import evaluate, plots, results
from cars.metrics import METRICS
from cars.plots import static
from cars.workspace import Workspace


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table; the first row is the header."""
    head, *rest = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rest)) + "\n"


def difference(row: pd.Series) -> str:
    """ "+0.012 [−0.003, 0.025]", with a mark where Holm's p finds it evident."""
    if pd.isna(row["value"]):
        return "undefined"
    text = f"{row['value']:+.3f} [{row['low']:.3f}, {row['high']:.3f}]".replace("-", "−")
    return f"**{text}**" if row.get("verdict") in ("better", "worse") else text


def grid(
    table: pd.DataFrame, rows: str, columns: str, cell: Callable[[pd.Series], str], order: Sequence[str] = ()
) -> str:
    """One cell for each pair of two columns' values; an empty one where there is no row."""
    across = [name for name in order if name in set(table[columns])] or list(dict.fromkeys(table[columns]))
    lines = [[rows, *across]]
    for name, part in table.groupby(rows, sort=False):
        of = {one[columns]: cell(one) for _, one in part.iterrows()}
        lines.append([str(name), *(of.get(column, "") for column in across)])
    return markdown(lines)


def tables(workspace: Workspace) -> list[tuple[str, str]]:
    """(heading, Markdown) of each table."""
    scores, gains, slices = (
        table(workspace) for table in (evaluate.score_table, evaluate.gain_table, evaluate.slice_table)
    )
    arms = list(evaluate.ARMS)
    mean = scores[(scores["finding"] == "macro") & (scores["seed"] == -1)]
    macro = gains[gains["finding"] == "macro"]
    found = [("What there is", about(workspace, mean))]
    for metric, calibrated in (("auprc", False), ("auroc", False), ("brier", True), ("ece", True)):
        label = METRICS.get(metric).label + (", after temperature scaling" if calibrated else "")
        of = mean[(mean["metric"] == metric) & (mean["calibrated"] == calibrated)]
        found.append((f"{label}, mean over findings", grid(of, "backbone", "arm", lambda r: f"{r['value']:.3f}", arms)))
        rows = macro[(macro["metric"] == metric) & (macro["calibrated"] == calibrated)]
        main = rows[~rows["contrast"]]
        found.append((f"{label}: arm − {main['reference'].iloc[0]}", grid(main, "backbone", "arm", difference, arms)))
        if metric != "auprc":
            continue
        shown = main.assign(shown=[f"p {p:.3f}, mde {m:.3f}" for p, m in zip(main["p_holm"], main["mde"])])
        told = grid(shown, "backbone", "arm", lambda r: r["shown"], arms)
        found.append((f"{label}: p after Holm, smallest shown", told))
        for arm in evaluate.TREATED:
            against = rows[rows["arm"] == arm]
            if len(against):
                told = grid(against, "backbone", "reference", difference, arms)
                found.append((f"{label}: {arm} − each other arm", told))
    if len(slices):
        near = slices[
            (slices["gap_id"] == "all") & (slices["finding"] == "macro") & ~slices["calibrated"].astype(bool)
            & (slices["metric"] == "auprc")
        ]  # fmt: skip
        for basis, part in near.groupby("basis"):
            one = part.iloc[0]
            counts = f"{one['n']} films, {one['findings']} findings"
            head = f"Around filled gaps ({basis}), AUPRC: arm − {one['reference']}; {counts}"
            found.append((head, grid(part, "backbone", "arm", difference, arms)))
    covered = results.words.coverage_rows(results.coverage_table(workspace)).astype(str)
    found.append(("Coverage", markdown([list(covered), *covered.to_numpy().tolist()])))
    said = [*evaluate.summary(gains), *evaluate.credits(gains)["sentence"]]
    found.append(("In words", "\n".join(f"- {text}" for text in said) + "\n"))
    return found


def about(workspace: Workspace, mean: pd.DataFrame) -> str:
    """What the tables rest on: films, units, edits."""
    edits = workspace.read("edits")
    run = evaluate.runs(workspace).iloc[0]
    units = evaluate.units_of(workspace, run["run"])
    per_arm = units.groupby("arm", sort=False)[["train_films", "train_synthetic", "steps"]].first()
    told = {
        "run": run["run"], "units": len(units), "test films": int(mean["n"].max()),
        "test patients": int(mean["patients"].max()), "findings": int(mean["findings"].max()),
        "edits": {
            name: {
                "tried": len(part), "passed": int(part["passed"].sum()),
                "revision": sorted(set(part["generator_revision"])),
            }
            for name, part in edits.groupby("generator")
        },
        "judge": sorted(set(edits["judge"].astype(str))), "arms": per_arm.to_dict("index"),
        "weights": dict(zip(units["backbone"], units["weights"].astype(str))),
    }  # fmt: skip
    return f"```json\n{json.dumps(told, indent=1)}\n```\n"


def picture(workspace: Workspace, folder: Path, name: str) -> None:
    """real+cars against each other arm as a PNG file."""
    figure = plots.contrast_forest(
        evaluate.gain_table(workspace), "real+cars", "auprc", source=results.source_of(workspace)
    )
    (folder / f"results-{name}-contrasts.png").write_bytes(static.png(figure, dpi=90))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--name", default="experiment")
    wanted = parser.parse_args()
    workspace = Workspace.open(wanted.workspace)
    for heading, text in tables(workspace):
        print(f"### {heading}\n{text}")
    if wanted.pictures:
        picture(workspace, wanted.pictures, wanted.name)


if __name__ == "__main__":
    main()
