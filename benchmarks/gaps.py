"""How fast is the search for uncovered patterns, and does it find exactly what other searches find?

Tables: a seeded one of MIMIC-CXR's shape (377,110 films, about 227,800 studies and 65,400 patients; view 4, sex 2, age
band 7, race 6 and 14 findings, 18 attributes and 33 items), and the real label tables of CheXpert (223,414 films) and
PadChest (160,861 films, of which the adapter leaves out those without labels) that torchxrayvision carries. τ = 30;
findings present-only; "present and not" gives each film a value of each finding, as DeepDiver's paper does.

"ours" is the search over packed rows; packing has a row of its own, for the product packs once and searches again with
another τ. "reference" is, by row:
- plain: a level-wise search that tests each candidate with boolean columns (Apriori), the whole of it;
- DeepDiver: our own implementation of the paper's algorithm (benchmarks/_deepdiver.py), in Python with numpy bit
  vectors, without the building of its index. The authors' program is in Java and is not run here;
- first call: the same call when nothing is remembered.
Where two searches ran, their lists must be equal, or the benchmark fails. All run on one machine and are timed in CPU
seconds of the process, which other programs disturb less than the clock; ours is the best of three.

    python benchmarks/gaps.py [--json] [--films 377110] [--order 4]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

# numba imports a module named coverage, and must not find this file
if Path(sys.path[0]) == Path(__file__).resolve().parent:
    sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks._deepdiver import Coverage, deepdiver
from cars import coverage, schema
from cars.coverage.mups import Bags, find_mups, make_bags, pack
from cars.coverage.rows import rows_of
from cars.ingest import IngestSettings, ingest
from cars.workspace import Workspace

Mups = dict[tuple[int, ...], int]
THRESHOLD = 30
#: % present among MIMIC-CXR's train studies (MIT-LCP's statistics), in file order.
PREVALENCE = (19.8, 17.1, 4.6, 11.5, 3.1, 1.6, 2.7, 22.2, 33.2, 23.2, 0.8, 6.9, 4.1, 28.7)


SIZES = {"view": 4, "sex": 2, "age_band": 7, "race": 6}
RATES = {
    "view": (0.26, 0.39, 0.30, 0.05),
    "sex": (0.52, 0.48),
    "age_band": (0.003, 0.05, 0.08, 0.25, 0.35, 0.21, 0.057),
    "race": (0.62, 0.17, 0.10, 0.06, 0.04, 0.01),
}


def mimic_shaped(films: int, seed: int = 0) -> pd.DataFrame:
    """One row a film, MIMIC-CXR's sizes and rates and nobody's data: patient, study (ints), view, sex, age_band, race
    (codes from 0), and 14 finding columns (bool, present)."""
    random = np.random.default_rng(seed)
    studies, patients = round(films * 0.604), round(films * 0.1734)
    activity = random.gamma(0.6, 1, patients)
    more = random.choice(patients, studies - patients, p=activity / activity.sum())
    patient_of = np.sort(np.concatenate([np.arange(patients), more]))
    study = np.sort(np.concatenate([np.arange(studies), random.integers(0, studies, films - studies)]))
    patient = patient_of[study]
    illness = 0.6 * random.normal(size=patients)[patient_of, None] + 0.8 * random.normal(size=(studies, 14))
    present = illness > [NormalDist().inv_cdf(1 - p / 100) for p in PREVALENCE]
    clear = schema.FINDINGS.index("No Finding")
    diseases = np.delete(present, [clear, schema.FINDINGS.index("Support Devices")], axis=1)
    present[diseases.any(axis=1), clear] = False
    table = {"patient": patient, "study": study, "view": random.choice(4, films, p=RATES["view"])}
    for name in ("sex", "age_band", "race"):
        table[name] = random.choice(SIZES[name], patients, p=RATES[name])[patient]
    columns = dict(zip(schema.COLUMN_OF.values(), present[study].T, strict=True))
    return pd.DataFrame({**table, **columns})


def items(
    table: pd.DataFrame, demographics: Sequence[str], findings: Sequence[str], both: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """((films, items) bool, (items,) attribute of each, (films, attributes) codes with -1 for no item).

    both: a finding that is not present forms an item too, as every value does in DeepDiver's paper.
    """
    codes = [table[name].to_numpy() for name in demographics]
    codes += [np.where(table[schema.COLUMN_OF[f]], 0, 1 if both else -1) for f in findings]
    sizes = [SIZES[name] for name in demographics] + [2 if both else 1] * len(findings)
    parts = [code[:, None] == np.arange(size) for code, size in zip(codes, sizes, strict=True)]
    return np.concatenate(parts, axis=1), np.repeat(np.arange(len(sizes)), sizes), np.stack(codes, axis=1)


def workspace_of(folder: str, table: pd.DataFrame) -> Workspace:
    """The table as a workspace: view 4 as "other", the seven age bands as the product's five, six races."""
    random = np.random.default_rng(1)
    words = {
        "view": ["PA", "AP", "lateral", "other"], "sex": ["F", "M"], "race": list("ABCDEF"),
        "age_band": ["0–17", "18–39", "18–39", "40–59", "60–79", "60–79", "80+"],
    }  # fmt: skip
    split = random.choice(["train", "validate", "test"], table["patient"].max() + 1, p=[0.97, 0.01, 0.02])
    blank = random.choice([0, -1, -2], (len(table), 14), p=[0.1, 0.05, 0.85])
    findings = {
        c: np.where(table[c], 1, blank[:, k]).astype(np.int8) for k, c in enumerate(schema.COLUMN_OF.values())
    }
    frame = pd.DataFrame(
        {
            "dicom_id": [f"film-{n:06d}" for n in random.permutation(len(table))],
            "subject_id": [f"{10_000_000 + n}" for n in table["patient"]],
            "study_id": [f"{50_000_000 + n}" for n in table["study"]],
            "split": split[table["patient"]],
            **{name: np.array(values)[table[name]] for name, values in words.items()},
            "on_disk": True,
            "origin": "real",
            **findings,
        }
    )
    workspace = Workspace.create(folder)
    workspace.write_part("films", "films", frame)
    workspace.publish("films", "0")
    return workspace


def real_bags(folder: str, source: str) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] | None:
    """unit → (items, attribute of each, unit of each film) of a torchxrayvision table; None where it is not there."""
    if importlib.util.find_spec("torchxrayvision") is None:
        return None
    workspace = Workspace.create(Path(folder) / source)
    ingest(workspace, IngestSettings("xrv", source))
    rows = rows_of(workspace, coverage.GapsSettings(split="all"))
    return {"patient": (rows.member, rows.attribute_of_item, rows.frame["patient"].to_numpy())}


def ours(bags: Bags, attribute: np.ndarray, order: int) -> Mups:
    """MUP → count, by cars.coverage."""
    search = find_mups(bags, attribute, THRESHOLD, order)
    return dict(zip(search.mups, search.counts, strict=True))


def plain(member: np.ndarray, attribute: np.ndarray, unit: np.ndarray | None, order: int) -> Mups:
    """MUP → count, level by level: and the item columns of each candidate whose parents are frequent, count units."""
    columns = [np.ascontiguousarray(member[:, i]) for i in range(member.shape[1])]
    units = 0 if unit is None else int(unit.max()) + 1

    def count(rows: np.ndarray) -> int:
        if unit is None:
            return int(np.count_nonzero(rows))
        seen = np.zeros(units, dtype=bool)
        seen[unit[rows]] = True
        return int(np.count_nonzero(seen))

    mups, level = {}, {()}
    for _ in range(order):
        following = set()
        for pattern in sorted(level):
            rows = np.ones(len(member), dtype=bool)
            for i in pattern:
                rows &= columns[i]
            for i in range(pattern[-1] + 1 if pattern else 0, member.shape[1]):
                items = (*pattern, i)
                if attribute[i] in attribute[list(pattern)]:
                    continue
                if any(items[:k] + items[k + 1 :] not in level for k in range(len(items))):
                    continue
                n = count(rows & columns[i])
                if n < THRESHOLD:
                    mups[items] = n
                else:
                    following.add(items)
        level = following
    return mups


def by_deepdiver(index: Coverage, attribute: np.ndarray) -> Mups:
    """MUP → count, the patterns' elements as item numbers."""
    sizes = np.bincount(attribute).tolist()
    first = np.cumsum([0, *sizes])
    mups, _ = deepdiver(index, sizes, THRESHOLD)
    return {tuple(int(first[a]) + v for a, v in enumerate(p) if v is not None): n for p, n in mups.items()}


def seconds(function: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """(CPU seconds, result)."""
    start = time.process_time()
    result = function(*arguments)
    return time.process_time() - start, result


class Report:
    """The rows of the benchmark; a row is checked when both sides returned MUPs."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, what: str, mine: float, slow: float | None) -> None:
        ratio = round(slow / mine, 1) if slow is not None and mine > 0 else None
        slow = None if slow is None else round(slow, 3)
        self.rows.append({"what": what, "ours": round(mine, 3), "reference": slow, "ratio": ratio, "unit": "CPU s"})

    def search(self, what: str, bags: Bags, attribute: np.ndarray, order: int, slow: Callable[[], Mups]) -> None:
        """One search against another."""
        timed = [seconds(ours, bags, attribute, order) for _ in range(3)]
        took, expected = seconds(slow)
        if timed[0][1] != expected:
            sys.exit(f"{what}: the two searches disagree")
        self.add(f"{what}: {len(expected):,} MUPs", min(t for t, _ in timed), took)


def measure(films: int, order: int) -> list[dict[str, Any]]:
    """Every row of the table."""
    report = Report()
    table = mimic_shaped(films)
    member, attribute, _ = items(table, tuple(SIZES), schema.FINDINGS)
    patient = table["patient"].to_numpy()
    name = f"MIMIC-shaped, {films:,} × 18"
    packed = {}
    for words, unit in (("films", None), ("patients", patient)):
        took, packed[words] = seconds(lambda unit=unit: make_bags(pack(member), unit, member.shape[1]))
        report.add(f"{name}, packing, by {words}: {len(packed[words].bag):,} rows left", took, None)
    deep = len(SIZES) + len(schema.FINDINGS)
    first, _ = seconds(ours, packed["films"], attribute, deep)  # loads numba, and compiles where that was never done
    later = min(seconds(ours, packed["films"], attribute, deep)[0] for _ in range(3))
    report.add(f"{name}, full depth, by films, later call | first call in the process", later, first)
    for words, unit in (("films", None), ("patients", patient)):
        bags = packed[words]
        report.search(
            f"{name}, ≤{order}-way, by {words} | plain", bags, attribute, order,
            lambda unit=unit: plain(member, attribute, unit, order),
        )  # fmt: skip
    # all 14 findings, to full depth
    found, of_finding, _ = items(table, (), schema.FINDINGS)
    for words, unit in (("films", None), ("patients", patient)):
        bags = make_bags(pack(found), unit, found.shape[1])
        report.search(
            f"MIMIC-shaped, {films:,} × 14 findings, full depth, by {words} | plain", bags, of_finding, 14,
            lambda unit=unit: plain(found, of_finding, unit, 14),
        )  # fmt: skip
    for several, both in ((4, False), (0, False), (4, True), (0, True)):
        twelve = items(
            table, tuple(SIZES)[:several], [f for f in schema.FINDINGS if f != "No Finding"][: 12 - several], both
        )
        bags = make_bags(pack(twelve[0]), None, twelve[0].shape[1])
        words = f"{several} demographics + {12 - several} findings" if several else "12 findings"
        words += ", present and not" if both else ", present-only"
        index = Coverage(twelve[2], np.bincount(twelve[1]).tolist())
        report.search(
            f"{films:,} × 12 ({words}), full depth, by films | DeepDiver", bags, twelve[1], 12,
            lambda twelve=twelve, index=index: by_deepdiver(index, twelve[1]),
        )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for source in ("chexpert", "padchest"):
            found_table = real_bags(folder, source)
            if found_table is not None:
                for_real(report, source, *found_table["patient"], order)
        of_the_verb(report, workspace_of(str(Path(folder) / "mimic"), table))
    return report.rows


def for_real(
    report: Report, source: str, member: np.ndarray, attribute: np.ndarray, patient: np.ndarray, order: int
) -> None:
    """A real table: up to `order` attributes and the findings alone to full depth, by patients."""
    name = f"{source}, {len(member):,} × {attribute.max() + 1}"
    bags = make_bags(pack(member), patient, member.shape[1])
    report.search(
        f"{name}, ≤{order}-way, by patients | plain", bags, attribute, order,
        lambda: plain(member, attribute, patient, order),
    )  # fmt: skip
    findings = member[:, -14:]
    bags = make_bags(pack(findings), patient, 14)
    report.search(
        f"{source}, {len(member):,} × 14 findings, full depth, by patients | plain", bags, np.arange(14), 14,
        lambda: plain(findings, np.arange(14), patient, 14),
    )  # fmt: skip


def of_the_verb(report: Report, workspace: Workspace) -> None:
    """The product's calls on a workspace of that size: nothing remembered, then with another τ."""
    cold, _ = seconds(coverage.gaps, workspace, coverage.GapsSettings())
    warm, _ = seconds(coverage.gaps, workspace, coverage.GapsSettings(threshold=50))
    films = len(rows_of(workspace, coverage.GapsSettings(), "all").frame)
    report.add(f"`cars gaps`, {films:,} films, defaults, again with another τ | first call", warm, cold)
    took, _ = seconds(coverage.tway, workspace)
    again, _ = seconds(coverage.tway, workspace)
    report.add(f"t-way coverage, t ≤ 4, every split, {films:,} films, again | first call", again, took)
    took, _ = seconds(coverage.unseen_in_train, workspace, None, 4)
    report.add(f"4-way combinations of test films that no train patient has, {films:,} films", took, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--order", type=int, default=4, help="most attributes in a pattern")
    parser.add_argument("--films", type=int, default=377_110, help="films of the MIMIC-shaped table")
    options = parser.parse_args()
    rows = measure(options.films, options.order)
    if options.json:
        print(json.dumps({"name": "gaps", "rows": rows}, ensure_ascii=False))
        return
    print(f"{'what':118} {'ours':>8} {'reference':>10} {'ratio':>7}")
    for row in rows:
        slow = "" if row["reference"] is None else f"{row['reference']:8.2f} s"
        ratio = "" if row["ratio"] is None else f"{row['ratio']:6.1f}×"
        print(f"{row['what']:118} {row['ours']:6.2f} s {slow:>10} {ratio:>7}")


if __name__ == "__main__":
    main()
