"""How fast is the search for uncovered patterns, and does it find exactly what a plain search finds?

Tables: a seeded one of MIMIC-CXR's shape (377,110 films, about 227,800 studies and 65,400 patients; sex, age band,
view, race and 14 findings), and CheXpert's real labels (223,414 films) where torchxrayvision is installed. τ = 30.
"ours" is the whole way from the films' items to the list: deduplication and search. "reference" is a level-wise search
that tests each candidate with boolean columns (Apriori); the two lists must be equal, or the benchmark fails. Both run
on one thread and are timed in CPU seconds, which other programs on the machine disturb less than the clock.

    python benchmarks/coverage.py [--json] [--order 4] [--films 377110]
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import sys
import time
from pathlib import Path
from statistics import NormalDist

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cars.coverage.mups import find_mups, make_bags, pack
from cars.schema import FINDINGS, column

THRESHOLD = 30
#: % present among MIMIC-CXR's train studies (MIT-LCP's statistics), in file order.
PREVALENCE = (19.8, 17.1, 4.6, 11.5, 3.1, 1.6, 2.7, 22.2, 33.2, 23.2, 0.8, 6.9, 4.1, 28.7)


def mimic_shaped(films: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(films, 32) bool items, (32,) attribute of each, (films,) patient: MIMIC-CXR's sizes and rates, nobody's data."""
    random = np.random.default_rng(seed)
    studies, patients = round(films * 0.604), round(films * 0.1734)
    activity = random.gamma(0.6, 1, patients)
    more = random.choice(patients, studies - patients, p=activity / activity.sum())
    patient_of = np.sort(np.concatenate([np.arange(patients), more]))
    study = np.sort(np.concatenate([np.arange(studies), random.integers(0, studies, films - studies)]))
    patient = patient_of[study]
    illness = 0.6 * random.normal(size=patients)[patient_of, None] + 0.8 * random.normal(size=(studies, 14))
    present = illness > [NormalDist().inv_cdf(1 - p / 100) for p in PREVALENCE]
    clear = FINDINGS.index("No Finding")
    present[np.delete(present, [clear, FINDINGS.index("Support Devices")], axis=1).any(axis=1), clear] = False
    sex = random.integers(0, 2, patients)[patient]
    age = random.choice(5, patients, p=(0.01, 0.15, 0.30, 0.40, 0.14))[patient]
    race = random.choice(8, patients, p=(0.60, 0.16, 0.10, 0.05, 0.04, 0.03, 0.01, 0.01))[patient]
    view = random.choice(4, films, p=(0.26, 0.39, 0.30, 0.05))  # the fourth is "other", which forms no item
    one_hot = [np.eye(n, dtype=bool)[codes] for n, codes in ((2, sex), (5, age), (4, view), (8, race))]
    one_hot[2] = one_hot[2][:, :3]
    attribute = np.repeat(np.arange(18), [2, 5, 3, 8] + [1] * 14)
    return np.concatenate([*one_hot, present[study]], axis=1), attribute, patient


def chexpert() -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """CheXpert's label table from torchxrayvision: sex, age band, view (AP, PA, lateral) and 14 findings; or None."""
    import pandas as pd

    from cars.schema import AGE_BANDS

    found = importlib.util.find_spec("torchxrayvision")
    if found is None or not found.origin:
        return None
    with gzip.open(Path(found.origin).parent / "data" / "chexpert_train.csv.gz") as stream:
        frame = pd.read_csv(stream)
    patient = frame["Path"].str.extract(r"patient(\d+)")[0].astype(int).to_numpy()
    parts = [frame["Sex"] == "Female", frame["Sex"] == "Male"]
    parts += [(frame["Age"] >= low) & (frame["Age"] < high) for low, high in AGE_BANDS.values()]
    lateral = frame["Frontal/Lateral"] == "Lateral"
    parts += [frame["AP/PA"] == "AP", frame["AP/PA"] == "PA", lateral]
    names = {column(name): name for name in frame.columns}
    parts += [frame[names[column(f)]] == 1 for f in FINDINGS]
    return np.column_stack(parts), np.repeat(np.arange(17), [2, 5, 3] + [1] * 14), patient


def ours(member: np.ndarray, attribute: np.ndarray, unit: np.ndarray | None, order: int) -> dict[tuple[int, ...], int]:
    """MUP → count, by cars.coverage."""
    search = find_mups(make_bags(pack(member), unit, member.shape[1]), attribute, THRESHOLD, order)
    return dict(zip(search.mups, search.counts, strict=True))


def reference(
    member: np.ndarray, attribute: np.ndarray, unit: np.ndarray | None, order: int
) -> dict[tuple[int, ...], int]:
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


def seconds(function, *arguments) -> tuple[float, dict[tuple[int, ...], int]]:
    start = time.process_time()
    result = function(*arguments)
    return time.process_time() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--order", type=int, default=4, help="most attributes in a pattern")
    parser.add_argument("--films", type=int, default=377_110, help="films of the MIMIC-shaped table")
    options = parser.parse_args()
    tables = {f"MIMIC-shaped, {options.films:,} films × 18 attributes": mimic_shaped(options.films)}
    real = chexpert()
    if real is not None:
        tables[f"CheXpert labels, {len(real[0]):,} films × 17 attributes"] = real
    rows = []
    for name, (member, attribute, patient) in tables.items():
        for words, unit in (("patients", patient), ("films", None)):
            # the best of three, for the other side of the ratio is too slow to repeat
            timed = [seconds(ours, member, attribute, unit, options.order) for _ in range(3)]
            mine = min(t for t, _ in timed)
            slow, expected = seconds(reference, member, attribute, unit, options.order)
            if timed[0][1] != expected:
                sys.exit(f"{name}, {words}: the two searches disagree")
            what = f"{name}, ≤{options.order}-way, by {words}: {len(expected):,} MUPs"
            ratio = round(slow / mine, 1)
            rows.append(
                {"what": what, "ours": round(mine, 3), "reference": round(slow, 3), "ratio": ratio, "unit": "CPU s"}
            )
    if options.json:
        print(json.dumps({"name": "coverage", "rows": rows}, ensure_ascii=False))
        return
    print(f"{'what':96} {'ours':>8} {'reference':>10} {'ratio':>7}")
    for row in rows:
        print(f"{row['what']:96} {row['ours']:6.2f} s {row['reference']:8.1f} s {row['ratio']:6.0f}×")


if __name__ == "__main__":
    main()
