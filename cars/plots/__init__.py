"""Figures: a table in, a plotly figure out. Each title says what is shown, of how many, and from which source.

Colours are Okabe and Ito's (2008), which colour-blind readers tell apart; no meaning rests on colour alone. Fonts are
the system's. Selectable marks carry what was selected in `customdata`: a gap's id, two attribute values, a film's id.
"""

from .base import FONT, caution, figure_table, number, safe, short
from .compare import gap_changes, share_pairs, state_words
from .coverage import cooccurrence, gap_bars
from .gains import against, contrast_forest, gain_forest, reliability, score_dots, slice_forest
from .groups import group_panels
from .map import density_map, point_map
from .parts import score_bar
from .results import (
    backbone_arm_heat,
    coverage_dumbbells,
    finding_arm_heat,
    precision_recall,
    risk_coverage,
    uncertainty_histograms,
)
from .space import space_distances, space_shares
from .splits import tway_panels
from .upset import upset

__all__ = [
    "FONT",
    "against",
    "backbone_arm_heat",
    "caution",
    "contrast_forest",
    "cooccurrence",
    "coverage_dumbbells",
    "density_map",
    "figure_table",
    "finding_arm_heat",
    "gain_forest",
    "gap_bars",
    "gap_changes",
    "group_panels",
    "number",
    "point_map",
    "precision_recall",
    "reliability",
    "risk_coverage",
    "safe",
    "score_bar",
    "score_dots",
    "share_pairs",
    "short",
    "slice_forest",
    "space_distances",
    "space_shares",
    "state_words",
    "tway_panels",
    "uncertainty_histograms",
    "upset",
]
