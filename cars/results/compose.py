"""A report as sections of words, figures and tables; html.py and pdf.py print the same ones."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd
import plotly.graph_objects as go

from .. import coverage, evaluate, plots
from . import doubt, words
from .gather import Results

#: The metrics of the forest, as far as they were scored.
FOREST = ("auprc", "auroc", "ece", "smooth_ece", "brier", "nll")


@dataclass(frozen=True)
class Picture:
    """A figure with its numbers. name: a file's name."""

    name: str
    figure: go.Figure
    table: pd.DataFrame


@dataclass(frozen=True)
class Section:
    """A heading with paragraphs, points, figures, and tables under their captions, in this order."""

    title: str
    paragraphs: list[str] = field(default_factory=list)
    points: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    tables: list[tuple[str, pd.DataFrame]] = field(default_factory=list)


def compose(results: Results) -> list[Section]:
    """The sections of the report of one run, in reading order."""
    return [
        _answer(results),
        _gains(results),
        *(_backbone(results, backbone) for backbone in results.backbones),
        _slices(results),
        _coverage(results),
        _scores(results),
        Section("Method", words.method(results)),
        Section("Limits", points=words.limits(results)),
        Section(
            "Settings, hashes and versions",
            tables=[("What this report was made from.", words.provenance(results))],
        ),
    ]  # fmt: skip


def _answer(results: Results) -> Section:
    gains = results.tables["gains"]
    treated = [text for arm, text in results.sentences if arm in evaluate.TREATED]
    owed = list(evaluate.credits(gains, results.level)["sentence"])
    said = [*evaluate.summary(gains, results.level), *treated, *owed] or [text for _, text in results.sentences]
    said = said or ["Only one arm was trained, so there is nothing to compare."]
    cautions = [f"What this cannot say. {text}" for text in results.cautions]
    gained = []
    table = results.tables["coverage"]
    if len(table):
        gained = [f"Coverage. {coverage.gained_sentence(table)}"]
    return Section("In short", points=[*said, *gained, *cautions])


def _warned(results: Results, name: str, figure: go.Figure, table: pd.DataFrame) -> Picture:
    return Picture(name, plots.caution(figure, results.cautions), table)


def _gains(results: Results) -> Section:
    gains = results.tables["gains"]
    if not len(gains):
        return Section("Gains", ["No second arm was trained: nothing is compared."])
    pictures = []
    whole = gains[(gains["finding"] == "macro") & (gains["metric"] == evaluate.PRIMARY)]
    whole = whole[~whole["contrast"].astype(bool) & ~whole["calibrated"].astype(bool)]
    if len(results.backbones) > 1 and whole["value"].notna().any():
        figure = plots.backbone_arm_heat(gains, evaluate.PRIMARY, source=results.source)
        pictures.append(_warned(results, "gains grid", figure, whole))
    for calibrated in (False, True):
        metrics = [m for m in FOREST if m in set(gains["metric"]) and (words.scaling_changes(m) or not calibrated)]
        rows = gains[
            (gains["finding"] == "macro") & (gains["calibrated"] == calibrated) & gains["metric"].isin(metrics)
        ]
        if rows["value"].notna().any():
            figure = plots.gain_forest(gains, metrics, "macro", calibrated, results.source)
            pictures.append(_warned(results, f"gains {'calibrated' if calibrated else 'as trained'}", figure, rows))
    for arm in dict.fromkeys(gains.loc[gains["contrast"].astype(bool), "arm"]):
        rows = gains[(gains["finding"] == "macro") & (gains["arm"] == arm) & (gains["metric"] == evaluate.PRIMARY)]
        rows = rows[~rows["calibrated"].astype(bool)]
        if rows["value"].notna().any():
            figure = plots.contrast_forest(gains, arm, evaluate.PRIMARY, source=results.source)
            pictures.append(_warned(results, f"gains against controls {arm}", figure, rows))
    lead = [
        f"Each row is an arm against {plots.against(gains[~gains['contrast'].astype(bool)])}, paired by patient. The "
        "first figure is of the probabilities as trained, the second of those after temperature scaling, which no "
        "ranking metric feels. What follows compares each arm with edits with every other arm: only a gain over all "
        "controls is credited to the edits."
    ]
    controls = [text for arm, text in results.sentences if arm not in evaluate.TREATED]
    return Section(
        "Gains", lead, points=controls, pictures=pictures,
        tables=[("Mean over findings. Smallest shown: the smallest true difference that this n shows with 80% power.",
                 words.gain_rows(gains)),
                ("AUPRC by finding; not adjusted for the number of findings.", words.gain_rows(gains, None))],
    )  # fmt: skip


def _backbone(results: Results, backbone: str) -> Section:
    """One backbone in detail."""
    source, pictures = results.source, []

    def own(name: str) -> pd.DataFrame:
        table = results.tables[name]
        return table[table["backbone"] == backbone] if len(table) else table

    gains = own("gains")
    if len(gains):
        rows = gains[(gains["metric"] == "auprc") & ~gains["calibrated"].astype(bool)]
        figure = plots.finding_arm_heat(gains, backbone, "auprc", source=source)
        pictures.append(_warned(results, f"{backbone} findings and arms", figure, rows))
    table = own("reliability")
    sides = {
        arm: {
            side: table[(table["arm"] == arm) & (table["calibrated"] == after)]
            for side, after in (("before", False), ("after", True))
        }
        for arm in results.arms if (table["arm"] == arm).any()
    }  # fmt: skip
    pictures.append(_warned(results, f"{backbone} reliability", plots.reliability(sides, backbone, source), table))
    curves = own("precision_recall")
    for finding in dict.fromkeys(curves["finding"]) if len(curves) else ():
        rows = curves[curves["finding"] == finding]
        figure = plots.precision_recall(_by_arm(rows), finding, backbone, source)
        pictures.append(_warned(results, f"{backbone} precision recall {finding}", figure, rows))
    table = own("uncertainty")
    figure = plots.uncertainty_histograms(_by_arm(table), backbone, source)
    pictures.append(_warned(results, f"{backbone} uncertainty", figure, table))
    table = own("risk_coverage")
    rows = table[table["measure"] == "entropy"]
    figure = plots.risk_coverage(_by_arm(rows), backbone, source)
    pictures.append(_warned(results, f"{backbone} risk coverage", figure, rows))
    if results.dropout:
        bars, lines = own("dropout_uncertainty"), own("dropout_risk_coverage")
        drawn = doubt.of_backbone(_by_arm(bars), _by_arm(lines), backbone, results.seeds, source)
        pictures.append(_warned(results, f"{backbone} uncertainty over dropout", drawn[0], bars))
        rows = lines[lines["measure"] == "entropy"]
        pictures.append(_warned(results, f"{backbone} risk coverage over dropout", drawn[1], rows))
    slices = own("slices")
    rows = slices[slices["metric"] == "auprc"] if len(slices) else slices
    if len(rows) and rows["value"].notna().any():
        figure = plots.slice_forest(slices, backbone, "auprc", source=source)
        pictures.append(_warned(results, f"{backbone} rare combinations", figure, rows))
    return Section(f"{backbone} in detail", pictures=pictures)


def _by_arm(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {arm: table[table["arm"] == arm] for arm in dict.fromkeys(table["arm"])}


def _slices(results: Results) -> Section:
    slices = results.tables["slices"]
    if not len(slices):
        return Section(
            "Where the data was thin", ["No gap was filled by an accepted edit, so there is no slice to score."]
        )
    return Section(
        "Where the data was thin",
        ["Test films around each gap that accepted edits filled. Slices are small and many, and nothing is adjusted "
         "for their number: they say where to look, not what is proven."],
        tables=[("AUPRC on rare combinations.", words.slice_rows(slices))],
    )  # fmt: skip


def _coverage(results: Results) -> Section:
    table = results.tables["coverage"]
    if not len(table):
        why = results.coverage_note or "No synthetic film has been made, so coverage has not changed."
        return Section("Coverage before and after", [why])
    figure = plots.coverage_dumbbells(table, results.source)
    return Section(
        "Coverage before and after",
        [coverage.gained_sentence(table),
         "A synthetic film counts under its source's patient. In feature space the radii are those of the real train "
         "films, frozen, so that before and after compare."],
        pictures=[Picture("coverage", figure, table)], tables=[("Every measure.", words.coverage_rows(table))],
    )  # fmt: skip


def _scores(results: Results) -> Section:
    tables = [("Mean over findings and seeds; with intervals.", words.score_rows(results.tables["scores"]))]
    uncertain = results.tables["model_uncertainty"]
    if len(uncertain):
        what = "Uncertainty of the models, as trained: entropies in nats, mean over findings."
        tables.append((what, doubt.rows(uncertain)))
    tables.append(("What each unit learned from.", words.unit_rows(results.tables["units"])))
    return Section("Scores", doubt.sentences(uncertain, results.seeds, results.dropout), tables=tables)
