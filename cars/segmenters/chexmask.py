"""CheXmask's outlines, from the tables that a user has (Gaggion et al. 2024, "CheXmask: a large-scale dataset of
anatomical segmentation masks for multi-center chest x-ray images", Scientific Data 11, arXiv 2307.03293).

PhysioNet holds them as `chexmask-cxr-segmentation-data/<version>/OriginalResolution/<data set>.csv`, one row a film:
the film's id under its data set's own name (`dicom_id` for MIMIC-CXR-JPG, `Image Index` for ChestX-ray8, `Path` for
CheXpert, `ImageID` for PadChest, `image_id` for VinDr-CXR), `Dice RCA (Max)`, `Dice RCA (Mean)`, `Landmarks`, `Left
Lung`, `Right Lung`, `Heart` (run lengths: starts counted from 1, row by row, each with a length), `Height`, `Width`.
CC BY 4.0.

The confidence is `Dice RCA (Mean)`, an estimate of the Dice by reverse classification accuracy; its authors use masks
from 0.7, which is what CARS trusts too. The tables know original films only, so the gates, which compare a film before
and after an edit, outline both with the network `cars`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, MissingDependency
from ..imaging import square
from ..workspace import atomic_write
from . import ORGANS, SEGMENTERS, Masks, refuse_wrong_films
from .cars_unet import CarsSegmenter

VARIABLE = "CARS_CHEXMASK"
#: What the data sets call a film's id.
IDS = ("dicom_id", "Image Index", "Path", "ImageID", "image_id", "Image ID")
SCORE = "Dice RCA (Mean)"
COLUMNS = {"left lung": "Left Lung", "right lung": "Right Lung", "heart": "Heart"}
#: Films in a row group of the index.
GROUP = 128


def decode_runs(runs: str, height: int, width: int) -> np.ndarray:
    """Run lengths "start length start length …" → bool (height, width). Starts count from 1, row by row.

    Raises: DataError for anything else: an odd number, a start below 1, overlapping runs, an end beyond the film.
    """
    try:
        numbers = np.array(runs.split(), dtype=np.int64)
    except ValueError:
        raise DataError(
            f"A CheXmask outline is no list of numbers: {runs[:40]!r}.", "Download the table again."
        ) from None
    starts, lengths = numbers[::2] - 1, numbers[1::2]
    if len(starts) != len(lengths):
        raise DataError("A CheXmask outline has an odd number of run lengths.", "Download the table again.")
    ends = starts + lengths
    if len(starts) and (
        starts[0] < 0 or (lengths < 0).any() or (starts[1:] < ends[:-1]).any() or ends[-1] > height * width
    ):
        raise DataError(
            f"A CheXmask outline does not fit a film of {height} × {width} pixels.", "Download the table again."
        )
    edges = np.zeros(height * width + 1, dtype=np.int8)
    np.add.at(edges, starts, 1)
    np.add.at(edges, ends, -1)
    return np.cumsum(edges[:-1], dtype=np.int8).reshape(height, width).astype(bool)


def film_id(name: str) -> str:
    """A table's id as CARS writes dicom_id: no ending of an image file; CheXpert's paths as patient_study_view."""
    path = re.search(r"(patient\d+)/(study\d+)/(view\d+_\w+)\.\w+$", name)
    return "_".join(path.groups()) if path else re.sub(r"\.(png|jpe?g|dicom|dcm)$", "", name)


@SEGMENTERS.register("chexmask")
class CheXmask:
    """Left lung, right lung and heart as CheXmask's table has them for a film's id.

    table: the file OriginalResolution/<data set>.csv (or .csv.gz). Left empty, the environment variable
    CARS_CHEXMASK names it. It is read once, into a Parquet beside it in which a film is found in milliseconds.
    """

    size = 128
    #: `masks` needs to know which films it sees.
    by_id = True

    def __init__(self, table: Path | str | None = None) -> None:
        self.table = table
        self.network: Any = None  # outlines films that no table can know: edited ones
        self.index: Path | None = None
        self.places: dict[str, int] = {}  # id → row group of the index

    @property
    def _file(self) -> Path:
        named = self.table or os.environ.get(VARIABLE)
        if not named or not Path(named).is_file():
            what = f"The CheXmask table {str(named)!r} is not there." if named else "No CheXmask table is named."
            raise MissingDependency(
                what,
                f"Get OriginalResolution/<data set>.csv from physionet.org/content/chexmask-cxr-segmentation-data and "
                f"set {VARIABLE} to its path, or use the segmenter 'cars'.",
            )
        return Path(named)

    @cached_property
    def revision(self) -> str:
        """12 hex digits of the table's name, size and time of change, and of the network that the gates use."""
        from ..provenance import digest

        state = self._file.stat()
        return digest(self._file.name, state.st_size, state.st_mtime_ns, CarsSegmenter().revision, length=12)

    def load(self, device: str = "auto") -> CheXmask:
        """Find the table and read the network of the gates.

        Raises: MissingDependency without the table, DataError for a file that is no CheXmask table of original films.
        """
        import pyarrow.parquet as pq

        file = self._file
        if "preprocessed" in str(file).lower():
            raise DataError(
                f"{file} holds outlines of cropped films of 1024 × 1024 pixels.",
                "Name the table of the folder OriginalResolution.",
            )
        self.index = indexed(file)
        with pq.ParquetFile(self.index) as parquet:
            for group in range(parquet.num_row_groups):
                ids = parquet.read_row_group(group, ["id"])["id"].to_pylist()
                self.places.update(dict.fromkeys(ids, group))
        self.network = CarsSegmenter().load(device)
        return self

    def masks(self, images: np.ndarray, ids: Sequence[str] | None = None) -> Masks:
        """images: (B, H, W) uint8, square; ids: the films' dicom_id → masks (B, 3, H, W) bool, confidence (B,).

        A film that the table lacks has empty masks, confidence 0, and a reason that says so. Raises: DataError without
        ids: outlines are looked up, not seen.
        """
        refuse_wrong_films(images)
        if ids is None or len(ids) != len(images):
            raise DataError(
                "CheXmask finds outlines by the films' ids, and was given none.", "Use the segmenter 'cars'."
            )
        if self.network is None:
            self.load()
        rows = self._rows(sorted(set(ids)))
        height, width = images.shape[1:]
        out = np.zeros((len(images), len(ORGANS), height, width), dtype=bool)
        confidence = np.zeros(len(images), dtype=np.float32)
        reasons = [""] * len(images)
        for n, name in enumerate(ids):
            if name not in rows:
                reasons[n] = "the CheXmask table has no outlines of this film"
                continue
            row = rows[name]
            for k, organ in enumerate(ORGANS):
                mask = decode_runs(row[organ] or "", row["height"], row["width"])
                out[n, k] = square(mask.astype(np.uint8) * 255, height) > 127
            confidence[n] = np.clip(np.nan_to_num(row["score"] or 0.0), 0, 1)
            if not all(mask.any() for mask in out[n]):
                confidence[n], reasons[n] = 0, "the CheXmask table lacks an outline of this film"
        return Masks(out, confidence, tuple(reasons))

    def _rows(self, ids: list[str]) -> dict[str, dict[str, Any]]:
        """Id → the row of the table, of the films that are there."""
        import pyarrow.parquet as pq

        rows: dict[str, dict[str, Any]] = {}
        with pq.ParquetFile(self.index) as file:
            for group in sorted({self.places[name] for name in ids if name in self.places}):
                for row in file.read_row_group(group).to_pylist():
                    if row["id"] in ids:
                        rows[row["id"]] = row
        return rows


def _key(columns: Sequence[str], table: Path) -> str:
    """Which column holds the films' ids. Raises: DataError when the table's columns are not CheXmask's."""
    lacking = [c for c in (SCORE, *COLUMNS.values(), "Height", "Width") if c not in columns]
    key = next((c for c in IDS if c in columns), None)
    if lacking or key is None:
        what = f"lacks the columns {', '.join(lacking)}" if lacking else f"has none of the id columns {', '.join(IDS)}"
        raise DataError(
            f"{table} is no CheXmask table: it {what}.", "Name a file of CheXmask's folder OriginalResolution."
        )
    return key


def indexed(table: Path) -> Path:
    """A Parquet of the table's ids, scores, run lengths and sizes, made once; its name holds the table's state.

    Raises: DataError for a file that lacks CheXmask's columns or is no CSV.
    """
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    from ..provenance import digest

    text = ("id", *COLUMNS)
    schema = pa.schema(
        [(c, pa.string()) for c in text] + [("score", pa.float64()), ("height", pa.int32()), ("width", pa.int32())]
    )
    state = table.stat()
    name = f"{table.name}.{digest(state.st_size, state.st_mtime_ns, length=8)}.parquet"
    place = table.parent / name
    if place.is_file():
        return place
    if not os.access(table.parent, os.W_OK):
        raise DataError(
            f"CARS cannot write its index of the CheXmask table into {table.parent}.",
            "Put the table, or a link to it, into a folder that may be written to.",
        )
    try:
        # the column Landmarks holds line breaks within quotes
        reader = pc.open_csv(
            table,
            read_options=pc.ReadOptions(block_size=64 << 20),
            parse_options=pc.ParseOptions(newlines_in_values=True),
            convert_options=pc.ConvertOptions(column_types={c: pa.string() for c in (*IDS, *COLUMNS.values())}),
        )
        key = _key(reader.schema.names, table)
        with atomic_write(place) as stream, pq.ParquetWriter(stream, schema, compression="zstd") as writer:
            for batch in reader:
                columns = [batch[c] for c in (key, *COLUMNS.values(), SCORE, "Height", "Width")]
                columns[0] = pa.array([film_id(each or "") for each in columns[0].to_pylist()])
                cast = [column.cast(field.type) for column, field in zip(columns, schema, strict=True)]
                writer.write_table(pa.table(cast, schema), GROUP)
    except pa.ArrowInvalid as error:
        raise DataError(f"{table} cannot be read as a CheXmask table: {error}.", "Download it again.") from None
    return place
