"""Synthesis: choose films and edits (`plan`), train the editor (`train_generator`), make and gate the edits (`synth`).

    settings  planning  generator_training  run     the verbs
    sourcing  cost                                  which films could be made for which gaps, and what a plan costs
    data  training  autoencoder  loop               what the editor learns from, and how
    watching  curves  training_card                 what a run shows, and the card of what it made
    editing  roi  gating  judge  models             one edit: where, how, and whether it may count
    uncertainty                                     how far seeds and judges agree on it
    tables  preview                                 for pages
"""

from .cost import cost_of, in_words, plan_cost, words
from .generator_training import train_generator
from .planning import alone, estimate, plan
from .preview import preview
from .run import synth
from .settings import PlanSettings, SynthSettings, TrainGeneratorSettings
from .tables import edit_table
from .watching import run_pictures

__all__ = [
    "PlanSettings",
    "SynthSettings",
    "TrainGeneratorSettings",
    "alone",
    "cost_of",
    "edit_table",
    "estimate",
    "in_words",
    "plan",
    "plan_cost",
    "preview",
    "run_pictures",
    "synth",
    "train_generator",
    "words",
]
