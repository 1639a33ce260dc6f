"""A gap on one card: what it is, why it has its verdict, the evidence, and the same as Markdown for a paper."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..workspace import Workspace
from .codes import FilmCodes
from .rank import PART_WORDS, PARTS, RankSettings, plausible, shares
from .rules import rules_of, why_impossible
from .sentences import PLURALS, amount, lowered

#: The splits of a card's table, in order.
SPLITS = ("train", "validate", "test", "none")


@dataclass(frozen=True)
class GapCard:
    """All that a card shows.

    title: the gap's sentence. verdict: its word; reason: why, in words. interval: what would plausibly be there, None
    without an expectation. splits: split, patients, studies, films. parts: part, value, weight, adds (NaN where the
    part is not known), note. space: coverage in feature space in words, None where it was not measured. fill: what it
    would take to fill, as sentences.
    """

    gap_id: str
    pattern: dict[str, str]
    title: str
    verdict: str
    reason: str
    rank: int
    score: float
    interval: str | None
    splits: pd.DataFrame
    parts: pd.DataFrame
    space: str | None
    fill: tuple[str, ...] = field(default=())


def verdict_reason(row: Mapping[str, Any], rule: str | None = None) -> str:
    """Why a gap has its verdict, in plain words. row: of the table `gaps`. rule: the sentence of the rule that forbids
    it, for an impossible one."""
    if row["verdict"] == "impossible":
        return f"A rule forbids it: {rule}" if rule else "A rule forbids it."
    expected = row["expected"]
    if expected is None or np.isnan(expected):
        return "A single condition has no parts from which to expect a number, so it counts as rare as expected."
    unit = PLURALS[str(row["unit"])]
    bounds = f"{row['ratio']:.2f} (90% interval {row['low']:.2f} to {row['high']:.2f})"
    start = (
        f"The counts of its parts let {expected:,.1f} {unit} be expected, and {row['count']:,} are there; after "
        f"shrinkage seen ÷ expected is {bounds}"
    )
    if row["verdict"] == "rarer than expected":
        return f"{start}, all of it below 1: rarer than chance and its parts explain."
    if row["ratio"] < 1:
        return f"{start}, which reaches 1: chance may explain it."
    return f"{start}: its parts are rare, and nothing more is missing."


def interval_words(row: Mapping[str, Any]) -> str | None:
    """What data of this size would plausibly hold, and how far short of τ; None without an expectation."""
    low, high = plausible(pd.DataFrame([row]))[["low", "high"]].iloc[0]
    if np.isnan(low):
        return None
    unit, threshold = PLURALS[str(row["unit"])], row["threshold"]
    short = [max(0.0, threshold - bound) for bound in (high, low)]
    if short[1] <= 0:
        beside = f"at or above the threshold of {threshold:,}"
    else:
        beside = f"{short[0]:,.0f} to {short[1]:,.0f} short of the threshold of {threshold:,}"
    return (
        f"Data of this size, collected in the same way, would plausibly hold {low:,.1f} to {high:,.1f} {unit} on "
        f"average (90%), {beside}."
    )


def by_split(films: FilmCodes, pattern: Mapping[str, str]) -> pd.DataFrame:
    """split, patients, studies, films of the real films that match; a row for every split that has films at all."""
    real = films.take(~films.synthetic)
    matching = real.mask({name: (value,) for name, value in pattern.items()})
    rows = []
    for split in (s for s in SPLITS if s in real.words["split"]):
        of_split = real.take(matching & real.mask({"split": (split,)}))
        rows.append((split, of_split.units("patient"), of_split.units("study"), len(of_split)))
    return pd.DataFrame(rows, columns=["split", "patients", "studies", "films"])


def part_table(
    row: Mapping[str, Any], parts: pd.Series, weights: RankSettings, run: str | None, error_films: int = 0
) -> pd.DataFrame:
    """part, value, weight, adds, note of one gap, in the order of PARTS. weight: in per cent of all weights."""
    added = shares(pd.DataFrame([parts]), weights).iloc[0]
    given = {name: getattr(weights, name) for name in PARTS}
    total = sum(given.values()) or 1.0
    deficit = max(int(row["deficit"]), 1)
    if run is None:
        error = "no run yet; its weight falls to the other parts"
    elif np.isnan(parts["error"]):
        error = "no test film to measure it on; its weight falls to the other parts"
    else:
        films = f"on {error_films:,} test film{'' if error_films == 1 else 's'}"
        error = f"at chance or worse, {films}"
        error = f"{parts['error'] / 2:.2f} {films}; 0.5 is chance" if parts["error"] < 1 else error
    notes = {
        "deficit": f"{row['deficit']:,} of {row['threshold']:,} {PLURALS[str(row['unit'])]} are missing",
        "rarity": "no expectation; its weight falls to the other parts" if np.isnan(parts["rarity"])
        else f"1 − upper bound {row['high']:.2f} of seen ÷ expected",
        "test": f"{amount(int(row['test_films']), 'film')} of the test split",
        "error": error,
        "reach": f"{amount(int(row['reachable']), 'film')} one edit away, {row.get('reachable_two', 0):,} two, "
        f"for {deficit:,} missing",
    }  # fmt: skip
    return pd.DataFrame(
        [(PART_WORDS[n], parts[n], 100 * given[n] / total, added[n], notes[n]) for n in PARTS],
        columns=["part", "value", "weight", "adds", "note"],
    )


def space_words(workspace: Workspace, gap_id: str) -> str | None:
    """What share of the gap's films train films lie near to in feature space, None where it was not measured."""
    if not workspace.has("space_gaps"):
        return None
    table = workspace.read("space_gaps")
    table = table[table["gap_id"] == gap_id]
    if not len(table) or not table["n_films"].iloc[0] or np.isnan(table["covered"].iloc[0]):
        return "No film that matches lies in the feature space, so its coverage there is undefined."
    row = table.iloc[0]
    which = "that match" if row.get("basis", "match") == "match" else "that miss one condition (none matches)"
    return (
        f"In feature space {row['covered']:.0%} of {amount(int(row['n_films']), 'test film')} {which} are covered "
        f"({row['low']:.0%} to {row['high']:.0%})."
    )


def gap_card(
    workspace: Workspace, row: Mapping[str, Any], films: FilmCodes, parts: pd.Series, weights: RankSettings,
    run: str | None = None, error_films: int = 0, fill: Sequence[str] = (),
) -> GapCard:  # fmt: skip
    """The card of one row of `gaps`.

    films: every film, unfiltered. parts: its row of `score_parts`. run, error_films: see `model_error`. fill: what it
    would take to fill, as the planner says it.
    """
    pattern = json.loads(row["pattern"])
    rule = why_impossible(pattern, rules_of(workspace)) if row["verdict"] == "impossible" else None
    table = part_table(row, parts, weights, run, error_films)
    return GapCard(
        str(row["gap_id"]), pattern, str(row["sentence"]), str(row["verdict"]), verdict_reason(row, rule),
        int(row["rank"]), float(np.nansum(table["adds"])), interval_words(row), by_split(films, pattern), table,
        space_words(workspace, str(row["gap_id"])), tuple(fill),
    )  # fmt: skip


def markdown(card: GapCard, source: str = "") -> str:
    """The card as Markdown, for a paper, a mail or an issue; text from data is escaped. Ends with a line break."""
    lines = [f"### {escaped(card.title)}", "", f"**{card.verdict.capitalize()}.** {escaped(card.reason)}", ""]
    if card.interval:
        lines += [escaped(card.interval), ""]
    lines += ["| split | patients | studies | films |", "|---|---:|---:|---:|"]
    lines += [f"| {r.split} | {r.patients:,} | {r.studies:,} | {r.films:,} |" for r in card.splits.itertuples()]
    lines += ["", f"Rank {card.rank:,}, score {card.score:.2f}:", ""]
    lines += ["| part | value | weight | adds | why |", "|---|---:|---:|---:|---|"]
    for row in card.parts.itertuples():
        value, adds = ("undefined" if np.isnan(x) else f"{x:.2f}" for x in (row.value, row.adds))
        lines.append(f"| {row.part} | {value} | {row.weight:.0f}% | {adds} | {escaped(row.note)} |")
    lines.append("")
    if card.space:
        lines += [escaped(card.space), ""]
    if card.fill:
        lines += ["To fill it:", "", *(f"- {escaped(line)}" for line in card.fill), ""]
    conditions = "; ".join(f"{lowered(name)} = {value}" for name, value in card.pattern.items()) or "none"
    lines.append(f"Gap {card.gap_id}, conditions: {escaped(conditions)}{f'; {escaped(source)}' if source else ''}.")
    return "\n".join(lines) + "\n"


def escaped(text: object) -> str:
    """Text on one line that Markdown shows as it is."""
    return "".join("\\" + c if c in "\\`*_[]|<>#" else c for c in " ".join(str(text).split()))
