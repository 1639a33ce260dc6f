"""Edits as `synth` files them, written by hand: for tests of what comes after, which need no model."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from cars import schema
from cars.imaging import decode, save_png
from cars.synth.tables import EDITS, GATE_ROWS, UNCERTAINTY
from cars.workspace import Workspace

#: What became of the first edits of a plan, by default: passed, failed the gate `judge`, could not be made.
OUTCOMES = ("passed", "judge", "error")


def write_edits(
    workspace: Workspace, plan_id: str, outcomes: Sequence[str] = OUTCOMES, generator: str = "cars", part: str = "p"
) -> list[str]:
    """File edits of the first items of a plan, one for each outcome: "passed", "error", or the gate that failed.

    Each brightens a patch of its source inside a larger region. Returns their ids, in order.
    """
    from cars.generators import GENERATORS, is_baseline

    items = workspace.records.plan_items(plan_id)
    films = workspace.read("films").set_index("dicom_id")
    rows, gates, doubts = [], [], []
    for n, (outcome, item) in enumerate(zip(outcomes, items.to_dict("records"), strict=False)):
        source = films.loc[item["source_dicom_id"]]
        edit_id = f"edit{n:012d}" if generator == "cars" else f"{generator}{n:012d}"
        passed, error = outcome == "passed", "the lungs were not found" if outcome == "error" else None
        paths = {kind: f"films/synthetic/ed/{edit_id}{kind}.png" for kind in ("", ".roi", ".sham")}
        film = decode(source["path"])
        edited, region = film.copy(), np.zeros(film.shape, np.uint8)
        region[8:40, 8:30] = 255
        edited[10:30, 10:25] = np.minimum(edited[10:30, 10:25].astype(int) + 50, 255).astype(np.uint8)
        for kind, image in (("", edited), (".roi", region), (".sham", film)):
            save_png(workspace.path / paths[kind], image)
        labels = schema.after_edit({f: int(source[c]) for f, c in schema.COLUMN_OF.items()}, item["findings"])
        finding, direction = next(iter(item["findings"].items()))
        rows.append(
            {
                "edit_id": edit_id, "plan_id": plan_id, "item": n, "gap_id": item["gap_id"],
                "source_dicom_id": item["source_dicom_id"], "source_subject_id": source["subject_id"],
                "source_study_id": source["study_id"], "findings": json.dumps(item["findings"]), "finding": finding,
                "direction": direction, **{c: labels[f] for f, c in schema.COLUMN_OF.items()}, "view": source["view"],
                "view_position": source["view_position"], "sex": source["sex"], "age": source["age"],
                "age_band": source["age_band"], "race": source["race"], "split": "train", "generator": generator,
                "generator_revision": "r", "segmenter": "cars", "judge": "j", "mode": "inversion", "seed": 1,
                "steps": 2, "guidance": 3.0, "film_path": None if error else paths[""],
                "roi_path": None if error else paths[".roi"], "sham_path": None if error else paths[".sham"],
                "rows": film.shape[0], "columns": film.shape[1], "passed": passed, "error": error,
                "origin": "synthetic", "created": 1.0 + n, "code_version": "test", "gating": None,
                "generator_licence": None, "baseline": is_baseline(GENERATORS.get(generator)),
            }
        )  # fmt: skip
        if error:
            continue
        gates += [
            {"edit_id": edit_id, "gate": gate, "measure": gate, "value": 0.1 if gate == outcome else 0.9, "low": 0.5,
             "high": np.inf, "passed": gate != outcome}
            for gate in ("judge", "anatomy", "outside")
        ]  # fmt: skip
        gates.append({"edit_id": edit_id, "gate": "copy", "measure": "similarity: not checked", "value": np.nan,
                      "low": -np.inf, "high": np.inf, "passed": None})  # fmt: skip
        doubts.append({"edit_id": edit_id, "finding": finding, "k": 2, "m": 3, "total": 0.81, "mutual": 0.31, "n": 6})
    workspace.write_part("gates", part, GATE_ROWS.table(gates))
    workspace.write_part("uncertainty", part, UNCERTAINTY.table(doubts))
    workspace.write_part("edits", part, EDITS.table(rows))
    return [row["edit_id"] for row in rows]
