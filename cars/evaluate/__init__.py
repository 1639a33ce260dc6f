"""Fine-tune backbones on several training arms and compare them on untouched test patients.

`finetune` trains, `report` scores. For pages: `runs`, `score_table`, `gain_table`, `slice_table`, `reliability`,
`sentences`. The recipe, and what its numbers can and cannot say: docs/science-evaluation.md.

Tables (`run` is a hash of the run's units, `unit` of everything that one training learned from):
    units        run unit backbone weights (where it started) arm seed train_films train_patients train_synthetic
                 train_positives (JSON finding → films)
                 best_step validation_auprc validation_loss temperature weights_sha256 path
    predictions  unit dicom_id subject_id split (validate, test) prob_<finding> (14, before calibration)
    scores       see scores.score: run backbone arm seed finding metric calibrated value low high n positives …
    slices       see slices.score_slices: each arm against real on the test films around the gaps that edits filled
    gains        see scores.score: run backbone arm finding metric calibrated value low high p p_holm verdict …
"""

from .finetune import finetune
from .report import gain_table, reliability, report, score_table, sentences, slice_table
from .scores import runs
from .settings import ARMS, FinetuneSettings, ReportSettings

__all__ = [
    "ARMS",
    "FinetuneSettings",
    "ReportSettings",
    "finetune",
    "gain_table",
    "reliability",
    "report",
    "runs",
    "score_table",
    "sentences",
    "slice_table",
]
