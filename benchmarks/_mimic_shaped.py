"""A workspace of MIMIC-CXR's size without a film: seeded rows, vectors in groups, and a map. Nobody's data.

    python benchmarks/_mimic_shaped.py FOLDER [--films 377110] [--dim 64]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.gaps import mimic_shaped
from cars import index, schema
from cars.embed.shards import publish_rows
from cars.workspace import Workspace, write_json, write_text

WORDS: dict[str, list[str]] = {
    "view": ["PA", "AP", "lateral", "other"], "sex": ["F", "M"], "race": ["A", "B", "C", "D", "E", "F"],
    "age_band": ["0–17", "18–39", "18–39", "40–59", "60–79", "60–79", "80+"],
}  # fmt: skip
SHARD = 65_536
QUARANTINE = ("file", "row", "column", "value", "reason", "dicom_id")


def workspace_of(folder: str | Path, films: int = 377_110, dim: int = 64, seed: int = 0) -> Workspace:
    """The workspace, made anew: tables films and map, float16 vectors in index.py's layout. No image is on disk."""
    random = np.random.default_rng(seed)
    table = mimic_shaped(films, seed)
    split = random.choice(schema.SPLITS[:3], table["patient"].max() + 1, p=[0.97, 0.01, 0.02])
    words = {name: np.array(values, dtype=object)[table[name]] for name, values in WORDS.items()}
    blank = random.choice([0, -1, -2], (films, 14), p=[0.1, 0.05, 0.85])
    codes = {c: np.where(table[c], 1, blank[:, k]).astype(np.int8) for k, c in enumerate(schema.COLUMN_OF.values())}
    ids = np.array([f"film-{n:06d}" for n in random.permutation(films)], dtype=object)
    frame = pd.DataFrame(
        {
            "dicom_id": ids, "subject_id": [f"{10_000_000 + n}" for n in table["patient"]],
            "study_id": [f"{50_000_000 + n}" for n in table["study"]], "split": split[table["patient"]], **words,
            "view_position": words["view"], "age": np.nan, **codes, "path": None, "on_disk": False, "rows": None,
            "columns": None, "study_date": None, "report": None, "dataset": "mimic-shaped", "origin": "real",
        }
    )  # fmt: skip
    workspace = Workspace.create(folder)
    workspace.write_part("films", "films", frame)
    workspace.publish("films", "0")
    for table_name, columns in (("quarantine", QUARANTINE), ("missing_files", ("dicom_id", "path"))):
        workspace.write_part(table_name, table_name, pd.DataFrame({c: pd.Series([], dtype="str") for c in columns}))
        workspace.publish(table_name, "0")
    vectors, points = _vectors(frame, dim, random)
    made = workspace.folder("embeddings", "made-up")
    shards = []
    for start in range(0, films, SHARD):
        np.save(made / f"s{start}.npy", vectors[start : start + SHARD])
        count = len(vectors[start : start + SHARD])
        shards.append(
            pd.DataFrame({"dicom_id": ids[start : start + count], "shard": f"s{start}", "row": np.arange(count)})
        )
    about = {
        "key": "made-up", "backbone": "toy", "label": "made up", "revision": "0", "weights": None, "size": 64,
        "dim": dim, "seed": 0,
    }  # fmt: skip
    write_json(made / "info.json", about)
    publish_rows(made, pd.concat(shards, ignore_index=True))
    write_text(workspace.path / "embeddings" / "CURRENT", "made-up\n")
    placed = pd.DataFrame({"dicom_id": ids, "x": points[:, 0], "y": points[:, 1], "backbone": "made up"})
    workspace.write_part("map", "map", placed, "made-up")
    workspace.publish("map", "made-up")
    index.refresh(workspace)
    return workspace


def _vectors(frame: pd.DataFrame, dim: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(films, dim) float16 in a group a view, moved by findings; and (films, 2), a map of them."""
    view = pd.Categorical(frame["view"], WORDS["view"]).codes
    seen = frame[["edema", "pleural_effusion", "cardiomegaly", "pneumothorax"]].eq(1).to_numpy(np.float32)
    centres, moves = random.normal(size=(4, dim)) * 3, random.normal(size=(4, dim))
    vectors = np.empty((len(frame), dim), np.float16)
    for start in range(0, len(frame), SHARD):
        part = slice(start, start + SHARD)
        noise = random.standard_normal((len(view[part]), dim), dtype=np.float32)
        vectors[part] = centres[view[part]] + seen[part] @ moves + noise
    corner = np.array([[0, 0], [9, 2], [2, 11], [11, 11]])[view]
    points = corner + seen @ random.normal(size=(4, 2)) * 2.5 + random.normal(size=(len(frame), 2)) * 1.6
    return vectors, points


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--films", type=int, default=377_110)
    parser.add_argument("--dim", type=int, default=64)
    options = parser.parse_args()
    print(workspace_of(options.folder, options.films, options.dim).path)


if __name__ == "__main__":
    main()
