"""A second judge for measuring edits of real films, trained on patients that nobody else learns from.

The judge that gates and chooses among attempts has seen the train patients, as the editor and every backbone have. The
witness learns from the films of validate and test patients only, takes its thresholds and AUROC from the train
patients' films, and decides nothing: it never gates, screens or chooses. So its word is no selection's effect. It knows
the labels of test patients, hence it must not be used for anything but this measurement.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cars.filmcache import film_cache
from cars.schema import COLUMN_OF, FRONTAL
from cars.synth.judge import Judge
from cars.synth.judge_training import SIZES, train_judge
from cars.workspace import Workspace

#: Train patients' films that choose thresholds, drawn by seed.
THRESHOLD_FILMS = 500


def train_witness(
    workspace: Workspace, folder: Path, arch: str = "efficientnet_lite0", epochs: int = 10, seed: int = 1
) -> Judge:
    """The witness in `folder`, trained where it is not there yet (some four CPU minutes with 400 films).

    Raises: DataError where no finding has enough films among validate and test patients.
    """
    columns = list(COLUMN_OF.values())
    films = workspace.read("films", ["dicom_id", "subject_id", "split", "view", "on_disk", "origin", *columns])
    films = films[films["on_disk"] & films["view"].isin(FRONTAL) & (films["origin"] == "real")]
    train = films[films["split"] == "train"]
    apart = films[films["split"].isin(["validate", "test"])]
    films = pd.concat([apart, train.sample(min(len(train), THRESHOLD_FILMS), random_state=seed)])
    films = films.sort_values("dicom_id", ignore_index=True)
    cache = film_cache(workspace, SIZES[arch], films["dicom_id"].tolist(), workers=1)
    films = films[films["dicom_id"].isin(set(cache.ids))]
    chooses = (films["split"] == "train").to_numpy(bool)
    about = {
        "data": f"witness of benchmarks/real_edits.py: {len(apart)} films of {apart['subject_id'].nunique()} validate "
        f"and test patients; thresholds from {int(chooses.sum())} films of train patients. Never gates."
    }
    train_judge(
        cache.images(films["dicom_id"].tolist()), films[columns].to_numpy(np.int8), chooses, folder,
        arch=arch, epochs=epochs, seed=seed, device="cpu", about=about,
    )  # fmt: skip
    return Judge.load(folder, "cpu")
