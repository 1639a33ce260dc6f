"""Synthesis: choose films and edits (`plan`), train the editor (`train_generator`), make and gate the edits (`synth`).

    settings  planning  generator_training  run     the verbs
    sourcing  cost                                  which films could be made for which gaps, and what a plan costs
    data  training  autoencoder  loop               what the editor learns from, and how
    watching  curves  training_card                 what a run shows, and the card of what it made
    editing  roi  gating  judge  models             one edit: where, how, and whether it may count
    uncertainty                                     how far seeds and judges agree on it
    tables  revision  preview  review               for pages: a plan changed, one edit shown, edits decided on
"""

from .cost import cost_of, in_words, plan_cost, words
from .generator_training import train_generator
from .planning import alone, estimate, plan
from .preview import outlines, preview
from .review import Filter, decide
from .revision import MOST_SEED, plan_table, revise
from .run import synth, workspace_models
from .settings import PlanSettings, SynthSettings, TrainGeneratorSettings
from .tables import edit_table
from .watching import run_pictures

__all__ = [
    "MOST_SEED",
    "Filter",
    "PlanSettings",
    "SynthSettings",
    "TrainGeneratorSettings",
    "alone",
    "cost_of",
    "decide",
    "edit_table",
    "estimate",
    "in_words",
    "outlines",
    "plan",
    "plan_cost",
    "plan_table",
    "preview",
    "revise",
    "run_pictures",
    "synth",
    "train_generator",
    "words",
    "workspace_models",
]
