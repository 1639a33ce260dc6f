"""Provenance: hashes of inputs and settings, the code's version, and the note that each output carries."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from . import __version__


def digest(*values: Any, length: int = 16) -> str:
    """A short stable hash of plain values (JSON, keys sorted) — the name of a part or a model."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def file_digest(path: Path | str, length: int = 64) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:length]


@lru_cache(maxsize=1)
def code_version() -> str:
    """The package's version, and the commit where the code runs from a checkout: "0.1.0+g1a2b3c4"."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return __version__
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--short", "HEAD"],
            capture_output=True, text=True, timeout=5, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return __version__
    return f"{__version__}+g{done.stdout.strip()}"


def note(verb: str, settings: dict[str, Any], inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What an output was made from: verb, settings, inputs (name → hash), code version, time, and anything else."""
    return {
        "verb": verb,
        "settings": settings,
        "inputs": inputs,
        "code_version": code_version(),
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **more,
    }
