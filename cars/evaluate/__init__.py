"""Fine-tune backbones on several training arms and compare them on untouched test patients.

`finetune` trains, `report` scores, `export_models` writes what was trained for timm. For pages: `runs`,
`grid_of`, `score_table`, `gain_table`, `slice_table`, `reliability`, `sentences`. The recipe, and what its
numbers can and cannot say: docs/science-evaluation.md.

Tables (`run` is a hash of the run's units, `unit` of everything that one training learned from):
    experiments  run name completed backbones arms (JSON lists) seeds size steps label_prompted missing_controls
                 cannot_conclude (JSON lists: controls that were not trained, sentences) config_sha256 code_version
    units        run unit backbone weights (where it started) arm seed size steps (optimiser steps taken)
                 train_films train_patients train_synthetic train_positives (JSON finding → films)
                 best_step validation_auprc validation_loss temperature thresholds (JSON finding → {youden,
                 specificity_90}, of the probability after calibration) films_per_second weights_sha256 path
    predictions  unit dicom_id subject_id split (validate, test) prob_<finding> (14, before calibration)
    passes       see passes: what predictions with dropout left on say of the test films, where it was trained with
    scores       see scores.score: run backbone arm seed finding metric calibrated value low high n positives …
    slices       see slices.score_slices: each arm against the reference on the test films around filled gaps
    gains        see scores.score: run backbone arm reference contrast finding metric calibrated value low high p p_holm
                 verdict …
"""

from .curves import reliability
from .export_models import export_models
from .finetune import finetune
from .grid import Grid, grid_of, grid_progress
from .report import (
    PRIMARY,
    credits,
    gain_table,
    report,
    score_table,
    sentences,
    slice_table,
    summary,
    uncertainty_table,
)
from .scores import runs, units_of
from .settings import (
    ARMS,
    BACKBONE_GROUPS,
    DEFAULT_ARMS,
    SEVEN,
    TREATED,
    ExportModelsSettings,
    FinetuneSettings,
    ReportSettings,
    cannot_conclude,
    missing_controls,
    reference,
)

__all__ = [
    "ARMS",
    "BACKBONE_GROUPS",
    "DEFAULT_ARMS",
    "PRIMARY",
    "SEVEN",
    "TREATED",
    "ExportModelsSettings",
    "FinetuneSettings",
    "Grid",
    "ReportSettings",
    "cannot_conclude",
    "credits",
    "export_models",
    "finetune",
    "gain_table",
    "grid_of",
    "grid_progress",
    "missing_controls",
    "reference",
    "reliability",
    "report",
    "runs",
    "score_table",
    "sentences",
    "slice_table",
    "summary",
    "uncertainty_table",
    "units_of",
]
