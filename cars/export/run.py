"""The verb `export`: the augmented data set as one zip, for others to load, with the provenance of every edit.

    README.md  mimic-cxr-2.0.0-{metadata,split,chexpert}.csv.gz  counts.csv
    files/metadata.csv  files/pXX/pSUBJECT/sSTUDY/DICOM.jpg     films (not with films = none)
    lossless/DICOM.png  lossless/DICOM.roi.png                  synthetic films pixel for pixel
    provenance.jsonl  croissant.json  SHA256SUMS

The same workspace and settings give the same bytes. The zip is written under a temporary name and renamed, so a killed
export leaves no half of one.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import SettingError
from ..imaging import decode
from ..progress import Progress, silent
from ..provenance import file_digest
from ..workspace import Workspace, atomic_write
from .archive import Sums, zip_chunks
from .listing import Listing, film_name, inside, list_films
from .manifest import croissant, readme
from .settings import ExportSettings
from .tables import lossless_names, provenance, tables

#: MIMIC-CXR-JPG's own quality.
JPEG_QUALITY = 95


def export(workspace: Workspace, settings: ExportSettings, progress: Progress = silent) -> dict[str, Any]:
    """Write the zip; one that is there already for the same content is kept.

    Returns: path, films (all), real, synthetic, sha256, bytes.
    Raises: see `listing.list_films`; SettingError when `out` is a folder; ResourceError when the disk fills up.
    """
    listing = list_films(workspace, settings)
    path = Path(settings.out) if settings.out else workspace.folder("exports") / f"cars-{listing.key}.zip"
    if path.is_dir():
        raise SettingError(
            f"out = {settings.out!r} is a folder.", "Give the name of a file, for example augmented.zip."
        )
    if settings.out or not path.exists():
        with atomic_write(path) as stream:
            for chunk in _chunks(workspace, listing, settings, progress):
                stream.write(chunk)
    synthetic = len(listing.synthetic)
    return {
        "path": str(path.absolute()),
        "films": len(listing.films),
        "real": len(listing.films) - synthetic,
        "synthetic": synthetic,
        "sha256": file_digest(path),
        "bytes": path.stat().st_size,
    }


def stream(workspace: Workspace, settings: ExportSettings, progress: Progress = silent) -> Iterator[bytes]:
    """The zip's bytes, chunk by chunk, without a file: what `export` would write. Nothing is yielded before all checks
    have passed."""
    return _chunks(workspace, list_films(workspace, settings), settings, progress)


def _chunks(workspace: Workspace, listing: Listing, settings: ExportSettings, progress: Progress) -> Iterator[bytes]:
    return zip_chunks(_entries(workspace, listing, settings, progress))


def _entries(
    workspace: Workspace, listing: Listing, settings: ExportSettings, progress: Progress
) -> Iterator[tuple[str, bytes]]:
    """Every file of the zip in order: (name, content)."""
    sums, sizes = Sums(), {}
    with_films = settings.films != "none"
    parts = [
        {"README.md": readme(listing, settings), **tables(listing, settings.suppress_below, with_films)}.items(),
        _films(listing.films, progress) if with_films else (),
        _lossless(workspace, listing) if with_films and settings.lossless else (),
    ]
    for part in parts:
        for name, content in part:
            sizes[name] = len(content)
            yield sums.add(name, content)
    content = provenance(listing, sums.of)
    sizes["provenance.jsonl"] = len(content)
    yield sums.add("provenance.jsonl", content)
    yield sums.add("croissant.json", croissant(listing, sums.of, sizes))
    yield "SHA256SUMS", sums.text()


def _films(films: pd.DataFrame, progress: Progress) -> Iterator[tuple[str, bytes]]:
    for done, film in enumerate(films.to_dict("records")):
        progress(done, len(films), "packing films")
        yield film_name(film["subject_id"], film["study_id"], film["dicom_id"]), jpeg(Path(film["path"]))
    progress(len(films), len(films), "packed")


def _lossless(workspace: Workspace, listing: Listing) -> Iterator[tuple[str, bytes]]:
    for film, edit in zip(listing.synthetic.to_dict("records"), listing.edits.to_dict("records"), strict=True):
        names = lossless_names(film["dicom_id"])
        yield names["film"], Path(film["path"]).read_bytes()
        if isinstance(edit["roi_path"], str):
            yield names["roi"], inside(workspace, edit["roi_path"]).read_bytes()


def jpeg(path: Path) -> bytes:
    """A film as JPEG: a JPEG's own bytes, untouched; anything else decoded and compressed at quality 95."""
    data = path.read_bytes()
    if data[:3] == b"\xff\xd8\xff":
        return data
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(decode(data)).save(stream, "JPEG", quality=JPEG_QUALITY)
    return stream.getvalue()
