"""Arrows point down only: a module of cars/ imports from its own level or lower; verbs never import each other."""

import ast
from pathlib import Path

import pytest

CARS = Path(__file__).resolve().parents[1] / "cars"
LEVELS = [
    {"errors", "config", "schema", "registry"},
    {
        "workspace", "catalog", "records", "provenance", "progress", "weights", "imaging", "filmcache", "torchbox",
        "cover", "edits",
        "jobs", "engines", "phantom", "nets",
    },
    {"datasets", "backbones", "generators", "segmenters", "metrics", "gates", "vectors"},
    {"ingest", "concepts", "embed", "index", "coverage", "anatomy", "synth", "evaluate", "export"},
    {"plots", "pictures", "stages"},
    {"results", "verbs", "cli", "__main__", "demo", "serve", "doctor"},
]  # fmt: skip
#: Verbs meet in the tables; index.py is a library of level 3 that verbs may use.
VERBS = {"ingest", "concepts", "embed", "coverage", "anatomy", "synth", "evaluate", "export"}
FILES = sorted(CARS.rglob("*.py"))


def level(name: str) -> int:
    return next(n for n, names in enumerate(LEVELS) if name in names)


def owner(path: Path) -> str:
    relative = path.relative_to(CARS)
    return relative.parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The top-level modules of cars that a file imports, anywhere in it."""
    package = ["cars", *path.relative_to(CARS).with_suffix("").parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        targets = []
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            full = ".".join([*base, *([node.module] if node.module else [])])
            targets = [f"{full}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        for target in targets:
            parts = target.split(".")
            if parts[0] == "cars" and len(parts) > 1 and parts[1] != "__version__":
                found.add(parts[1])
    return found


def test_every_module_has_a_level():
    known = set().union(*LEVELS)
    assert {owner(f) for f in FILES if f != CARS / "__init__.py"} <= known


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(CARS)))
def test_arrows_point_down(path):
    if path == CARS / "__init__.py":
        return
    name = owner(path)
    up = {other for other in imported(path) if level(other) > level(name)}
    assert not up, f"{name} imports from a higher level: {up}"
    if name in VERBS:
        assert not (imported(path) & VERBS) - {name}, f"the verb {name} imports another verb"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(CARS)))
def test_the_library_does_not_import_streamlit(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    names |= {(n.module or "").split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert "streamlit" not in names


def test_heavy_libraries_are_imported_where_they_are_used():
    heavy = {"torch", "torchvision", "timm", "diffusers", "transformers", "umap", "faiss", "sklearn", "torchxrayvision"}
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = set()
            if isinstance(node, ast.Import):
                names = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = {(node.module or "").split(".")[0]}
            assert not names & heavy, f"{path.name} imports {names & heavy} at its top"
