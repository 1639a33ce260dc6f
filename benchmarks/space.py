"""Coverage in feature space: our figures against the package `prdc`, and time and memory at the size of MIMIC-CXR.

    python benchmarks/space.py [--films 377110] [--dim 64] [--queries 5159] [--part 0.02] [--json]
    python benchmarks/space.py --workspace WS --without "view:AP" [--without "Support Devices:present"] [--json]

Each large row runs in a process of its own, on vectors that lie on disk as `cars embed` leaves them: float16, memory
mapped. Neighbours of all films are asked for a share of them (`--part`), and the whole is that time divided by the
share, for every film is compared with the same films; the row says so. Peak memory is the process's largest resident
set (VmHWM of Linux; ru_maxrss would start at that of the process which started it), and counts the pages of the mapped
file that it has read. CPU seconds are of all threads.

With a workspace whose films are embedded: does reach see what is missing? The covered share of the test films that meet
a condition (ours), once with all train films in the reference and once (reference) without those that meet it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cars.vectors import Inverted, knn, prdc, relate, spectrum, vendi

MANY = 377_110


def mapped(folder: Path, films: int, dim: int) -> Path:
    """Seeded vectors of films in 200 loose groups, float16 at length 1 or so, written block by block."""
    path = folder / f"{films}-{dim}.npy"
    out = np.lib.format.open_memmap(path, "w+", np.float16, (films, dim))
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(200, dim)).astype(np.float32)
    for start in range(0, films, 16_384):
        n = min(16_384, films - start)
        rows = centres[rng.integers(0, 200, n)] + rng.normal(size=(n, dim), scale=0.7).astype(np.float32)
        out[start : start + n] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    out.flush()
    return path


def alone(task: Callable[..., dict[str, float]], *args: Any) -> dict[str, float]:
    """Run a task in a fresh process. Returns: what it returns, with cpu (s), wall (s) and peak (GiB)."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_timed, (task, args))


def _timed(task: Callable[..., dict[str, float]], args: tuple[Any, ...]) -> dict[str, float]:
    import faiss  # noqa: F401  (its import is not the task's time)

    wall, cpu = time.perf_counter(), time.process_time()
    found = task(*args)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 2**20
    return {**found, "cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "peak": peak}


def neighbours(path: Path, part: float) -> dict[str, float]:
    """Exact radii of the first `part` of the films, among all."""
    vectors = np.load(path, mmap_mode="r")
    rows = np.arange(max(1, round(part * len(vectors))))
    knn(vectors, 5, np.arange(len(vectors)) // 3, rows)
    return {"asked": len(rows)}


def inverted(path: Path, part: float) -> dict[str, float]:
    """The same through an inverted file, which is built first."""
    vectors = np.load(path, mmap_mode="r")
    rows = np.arange(max(1, round(part * len(vectors))))
    cpu = time.process_time()
    search = Inverted(vectors, 0.95, 5)
    built = time.process_time() - cpu
    knn(vectors, 5, np.arange(len(vectors)) // 3, rows, search)
    return {"asked": len(rows), "recall": search.recall, "built": built}


def queries(path: Path, count: int) -> dict[str, float]:
    """So many films against all others, each pair compared."""
    vectors = np.load(path, mmap_mode="r")
    relate(vectors[count:], vectors[:count], np.full(len(vectors) - count, 0.5))
    return {}


def diversity(path: Path) -> dict[str, float]:
    """The Vendi score of all films."""
    return {"vendi": vendi(spectrum(np.load(path, mmap_mode="r")))}


def small() -> list[dict[str, Any]]:
    """The largest difference to the package `prdc`, and to the n × n form of the Vendi score."""
    rng = np.random.default_rng(0)
    rows = []
    try:
        from prdc import compute_prdc
    except ImportError:
        print("The package prdc is not installed; requirements-dev.txt has it.")
    else:
        worst = 0.0
        for dim in (4, 16, 64):
            real = rng.normal(size=(2000, dim)).astype(np.float32)
            fake = rng.normal(size=(1500, dim), scale=1.05).astype(np.float32)
            with contextlib.redirect_stdout(io.StringIO()):  # the package prints
                theirs = compute_prdc(real, fake, 5)
            ours = prdc(real, fake, 5)
            worst = max(worst, *(abs(ours[name] - theirs[name]) for name in theirs))
        rows.append(row("PRDC, 2,000 × 1,500 films: largest difference to the package", worst, 1e-6, ""))
    values = rng.normal(size=(600, 64))
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    eigenvalues = np.linalg.eigvalsh(unit @ unit.T / 600)
    kept = eigenvalues[eigenvalues > 1e-15]
    score = float(np.exp(-(kept * np.log(kept)).sum()))
    difference = abs(vendi(spectrum(values)) - score)
    rows.append(row("Vendi score, 600 films: difference to the n × n form", difference, 1e-8, ""))
    return rows


def held_out(folder: str, conditions: list[str], k: int = 5) -> list[dict[str, Any]]:
    """For each condition the covered share of its test films, without and with the train films that meet it."""
    from cars.coverage import filters
    from cars.coverage.rows import load_rows
    from cars.coverage.space.reference import embedded, may_be_reference
    from cars.workspace import Workspace

    workspace = Workspace.open(folder)
    films = embedded(workspace, load_rows(workspace))
    train, test = may_be_reference(films.frame), (films.frame["split"] == "test").to_numpy()
    rows = []
    for text in conditions:
        meets = filters.mask(films.frame, filters.parse(text))
        asked = films.take(test & meets)
        shares = []
        for kept in (train & ~meets, train):
            part = films.take(kept)
            radii = knn(part.vectors, k, part.patients.astype(str))[1][:, -1]
            shares.append(float((relate(part.vectors, asked.vectors, radii).within > 0).mean()))
        rows.append(row(f"{text}: covered share of {len(asked):,} test films, without and with such train films",
                        *shares, ""))  # fmt: skip
    return rows


def row(what: str, ours: float, reference: float | None, unit: str) -> dict[str, Any]:
    return {
        "what": what, "ours": ours, "reference": reference, "ratio": ours / reference if reference else None,
        "unit": unit,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=MANY)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--queries", type=int, default=5159, help="films compared with all others (test split)")
    parser.add_argument("--part", type=float, default=0.02, help="share of the films that neighbours are asked for")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--workspace")
    parser.add_argument("--without", action="append", default=[], help="condition, as the pages' filters")
    given = parser.parse_args()
    show(held_out(given.workspace, given.without) if given.workspace else small() + large(given), given.json)


def large(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Time and memory at the asked size."""
    rows = []
    # what all distances of films to films would take, as the package keeps them: float64, three such tables
    package = given.films**2 * 8 * 3 / 2**30
    size = f"{given.films:,} × {given.dim}"
    with tempfile.TemporaryDirectory() as folder:
        path = mapped(Path(folder), given.films, given.dim)
        found = alone(neighbours, path, given.part)
        whole = found["cpu"] * given.films / found["asked"]
        rows += [
            row(f"{size}: exact radii of {found['asked']:,} films, CPU", found["cpu"], None, "s"),
            row(f"{size}: exact radii of all, CPU, by proportion", whole, None, "s"),
            row(f"{size}: exact radii, peak memory; the package would need", found["peak"], package, "GiB"),
        ]
        found = alone(inverted, path, given.part)
        whole_ivf = found["built"] + (found["cpu"] - found["built"]) * given.films / found["asked"]
        rows += [
            row(f"{size}: inverted file, recall of the true five", found["recall"], None, ""),
            row(f"{size}: inverted file, all, CPU, by proportion; exact", whole_ivf, whole, "s"),
            row(f"{size}: inverted file, peak memory", found["peak"], None, "GiB"),
        ]
        found = alone(queries, path, given.queries)
        rows += [
            row(f"{size}: {given.queries:,} test films against all others, CPU", found["cpu"], None, "s"),
            row(f"{size}: the same, peak memory", found["peak"], None, "GiB"),
        ]
        found = alone(diversity, path)
        rows += [
            row(f"{size}: Vendi score of all, CPU", found["cpu"], None, "s"),
            row(f"{size}: the same, peak memory", found["peak"], None, "GiB"),
        ]
    return rows


def show(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"name": "space", "rows": rows}, ensure_ascii=False))
        return
    print(f"{'what':88} {'ours':>12} {'reference':>12} {'ratio':>9}")
    for r in rows:
        reference, ratio = (f"{r[k]:.4g}" if r[k] is not None else "" for k in ("reference", "ratio"))
        print(f"{r['what']:88} {r['ours']:>12.4g} {reference:>12} {ratio:>9} {r['unit']}")


if __name__ == "__main__":
    main()
