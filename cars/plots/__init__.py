"""Figures: a table in, a plotly figure out. Each title says what is shown, of how many, and from which source.

Colours are Okabe and Ito's (2008), which colour-blind readers tell apart; no meaning rests on colour alone. Fonts are
the system's. Selectable marks carry what was selected in `customdata`: a gap's id, two attribute values, a film's id.
"""

from .base import FONT, MOST_POINTS, figure_table, number, safe, short
from .compare import gap_changes, share_pairs, state_words
from .coverage import cooccurrence, coverage_bars, coverage_bars_table, film_map, gap_bars
from .gains import gain_forest, reliability, score_dots, slice_forest
from .groups import group_panels
from .splits import tway_panels
from .upset import upset

__all__ = [
    "FONT",
    "MOST_POINTS",
    "cooccurrence",
    "coverage_bars",
    "coverage_bars_table",
    "figure_table",
    "film_map",
    "gain_forest",
    "gap_bars",
    "gap_changes",
    "group_panels",
    "number",
    "reliability",
    "safe",
    "score_dots",
    "share_pairs",
    "short",
    "slice_forest",
    "state_words",
    "tway_panels",
    "upset",
]
