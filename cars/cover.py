"""Fewest films that lift gaps to their threshold: set multicover with at most k films a patient.

A candidate film serves some gaps. A gap counts units (patients, studies or films), each once, and wants so many more of
them. The greedy choice takes the film that serves most gaps that still want, per unit of weight, among equals the one
whose gaps lack most, then drops films that later ones made needless. Without the limit per patient that is at most H(n)
times the fewest, n the most gaps that one film serves (Dobson, "Worst-case analysis of greedy heuristics for integer
programming", 1982); to repair uncovered patterns by such a cover is from "Assessing and Remedying Coverage for a Given
Dataset" (ICDE 2019, arXiv 1810.06742). `lower_bound` says how good a plan is where the fewest is not known, `optimum`
computes it for small cases.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Candidates:
    """Films that could be made.

    Film n serves the gaps `gaps[starts[n]:starts[n + 1]]` (ints, each once). patient: (films,) int, whose it is; unit:
    (films,) int, what the gaps count (equal for films that count once together). weight: (films,) float > 0, what the
    film costs; rank: (films,) int, which comes first among equals.
    """

    starts: np.ndarray
    gaps: np.ndarray
    patient: np.ndarray
    unit: np.ndarray
    weight: np.ndarray
    rank: np.ndarray

    def __len__(self) -> int:
        return len(self.patient)

    def of(self, film: int) -> list[int]:
        """The gaps that a film serves."""
        return self.gaps[self.starts[film] : self.starts[film + 1]].tolist()

    @classmethod
    def from_sets(
        cls, sets: list[list[int]], patient: list[int] | None = None, unit: list[int] | None = None,
        weight: list[float] | None = None,
    ) -> Candidates:  # fmt: skip
        """From one list of gaps a film; by default every film is a patient and a unit of its own, of weight 1."""
        own = np.arange(len(sets))
        patient_of = own if patient is None else np.asarray(patient, dtype=np.int64)
        return cls(
            np.concatenate([[0], np.cumsum([len(s) for s in sets], dtype=np.int64)]).astype(np.int64),
            np.array([gap for s in sets for gap in s], dtype=np.int64), patient_of,
            patient_of if unit is None else np.asarray(unit, dtype=np.int64),
            np.ones(len(sets)) if weight is None else np.asarray(weight, dtype=float), own,
        )  # fmt: skip


def greedy(candidates: Candidates, wanted: np.ndarray, per_patient: int, most: int | None = None) -> list[int]:
    """Films that serve the gaps as far as the limits allow, in the order chosen.

    wanted: (gaps,) int, units that each gap lacks. per_patient: most films of one patient. most: most films in all.
    Deterministic. A film's gain only falls as others are chosen, so only the foremost is looked at again each time.
    """
    left = np.array(wanted, dtype=np.int64)
    served: set[tuple[int, int]] = set()
    uses: Counter[int] = Counter()
    chosen: list[int] = []
    queue = _queue(candidates, left)
    while queue and (most is None or len(chosen) < most):
        key = heapq.heappop(queue)
        film = key[-1]
        patient, unit = int(candidates.patient[film]), int(candidates.unit[film])
        if uses[patient] >= per_patient:
            continue
        gain = [g for g in candidates.of(film) if left[g] > 0 and (unit, g) not in served]
        if not gain:
            continue
        now = (-len(gain) / candidates.weight[film], -int(left[gain].sum()), uses[patient], *key[3:])
        if queue and now > queue[0]:
            heapq.heappush(queue, now)
            continue
        chosen.append(film)
        uses[patient] += 1
        served.update((unit, g) for g in candidates.of(film))
        left[gain] -= 1
    return without_needless(candidates, wanted, chosen)


def _queue(candidates: Candidates, left: np.ndarray) -> list[tuple[float, int, int, int, int]]:
    """(−gain per weight, −what its gaps lack, uses of the patient, rank, film), sorted and so a heap.

    Of the films that serve a gap that wants. Each of the first three only grows as films are chosen.
    """
    lacking = np.maximum(left, 0)[candidates.gaps]
    gain, lack = (
        np.diff(np.concatenate([[0], np.cumsum(values)])[candidates.starts]) for values in (lacking > 0, lacking)
    )
    films = np.flatnonzero(gain)
    score, lack, rank = -gain[films] / candidates.weight[films], -lack[films], candidates.rank[films]
    order = np.lexsort((films, rank, lack, score))
    columns = [column[order].tolist() for column in (score, lack, rank, films)]
    return [(s, n, 0, r, f) for s, n, r, f in zip(*columns, strict=True)]


def reached(candidates: Candidates, chosen: list[int], gaps: int) -> np.ndarray:
    """(gaps,) int: how many units the chosen films add to each gap, however many it wants."""
    pairs = {(int(candidates.unit[film]), gap) for film in chosen for gap in candidates.of(film)}
    return np.bincount([gap for _, gap in pairs], minlength=gaps).astype(np.int64)


def without_needless(candidates: Candidates, wanted: np.ndarray, chosen: list[int]) -> list[int]:
    """The chosen films without those that no gap would miss; those that serve least per weight go first."""
    films = Counter((int(candidates.unit[f]), g) for f in chosen for g in candidates.of(f))
    have = Counter(gap for _, gap in films)
    kept = dict.fromkeys(chosen)
    for film in sorted(reversed(chosen), key=lambda f: len(candidates.of(f)) / candidates.weight[f]):
        pairs = [(int(candidates.unit[film]), g) for g in candidates.of(film)]
        lost = [g for u, g in pairs if films[u, g] == 1]
        if all(have[g] > wanted[g] for g in lost):
            del kept[film]
            films.subtract(pairs)
            have.subtract(lost)
    return list(kept)


def lower_bound(candidates: Candidates, wanted: np.ndarray) -> int:
    """No choice that gives each gap what is wanted has fewer films than this.

    The linear relaxation over the different sets of gaps that a film can serve, without the limit per patient, rounded
    up. Sets within another set are left out. 0 where nothing is wanted.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csc_array

    wanted = np.asarray(wanted)
    wants = set(np.flatnonzero(wanted > 0).tolist())
    sets = {frozenset(candidates.of(f)) & wants for f in range(len(candidates))} - {frozenset()}
    if not sets:
        return 0
    largest = _maximal(sets)
    gaps = sorted(set().union(*largest))
    row = {gap: n for n, gap in enumerate(gaps)}
    rows = [row[g] for s in largest for g in s]
    columns = np.repeat(np.arange(len(largest)), [len(s) for s in largest])
    matrix = csc_array((-np.ones(len(rows)), (rows, columns)), shape=(len(gaps), len(largest)))
    found = linprog(np.ones(len(largest)), A_ub=matrix, b_ub=-wanted[gaps].astype(float), method="highs")
    return math.ceil(found.fun - 1e-6)


def _maximal(sets: set[frozenset[int]]) -> list[frozenset[int]]:
    """The sets that lie in no other one."""
    kept: list[frozenset[int]] = []
    holding: dict[int, list[frozenset[int]]] = {}
    for s in sorted(sets, key=lambda s: (-len(s), sorted(s))):
        if not any(s <= other for other in holding.get(min(s), ())):
            kept.append(s)
            for gap in s:
                holding.setdefault(gap, []).append(s)
    return kept


def optimum(candidates: Candidates, wanted: np.ndarray, per_patient: int, seconds: float = 60.0) -> list[int] | None:
    """The fewest films that give every gap what it wants, by integer programming (HiGHS); None where none do.

    For small cases: a variable for each film and for each pair of unit and gap. Raises: TimeoutError after `seconds`.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import lil_array

    films, gaps = len(candidates), len(wanted)
    pairs = sorted({(int(candidates.unit[f]), g) for f in range(films) for g in candidates.of(f)})
    at = {pair: films + n for n, pair in enumerate(pairs)}
    patients = {p: n for n, p in enumerate(dict.fromkeys(candidates.patient.tolist()))}
    size = films + len(pairs)
    rows = lil_array((gaps + len(pairs) + len(patients), size))
    for (_, gap), column in at.items():
        rows[gap, column] = 1
    for (_, _), column in at.items():
        rows[gaps + column - films, column] = -1
    for film in range(films):
        for gap in candidates.of(film):
            rows[gaps + at[int(candidates.unit[film]), gap] - films, film] = 1
        rows[gaps + len(pairs) + patients[int(candidates.patient[film])], film] = 1
    low = np.concatenate([np.maximum(wanted, 0), np.zeros(len(pairs)), np.zeros(len(patients))])
    high = np.concatenate([np.full(gaps + len(pairs), np.inf), np.full(len(patients), per_patient)])
    cost = np.concatenate([np.ones(films), np.zeros(len(pairs))])
    found = milp(
        cost, integrality=np.ones(size), bounds=Bounds(0, 1), constraints=LinearConstraint(rows.tocsc(), low, high),
        options={"time_limit": seconds},
    )  # fmt: skip
    if found.status == 1:
        raise TimeoutError(f"The fewest films were not found within {seconds:g} s.")
    return None if found.x is None else np.flatnonzero(found.x[:films] > 0.5).tolist()
