"""CheXmask's tables: run lengths by hand and against brute force, a small file in their format, films it lacks."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cars.errors import DataError, MissingDependency
from cars.segmenters import HEART, LEFT_LUNG, RIGHT_LUNG, SEGMENTERS, dice, looking, outlines
from cars.segmenters.cars_unet import CarsSegmenter
from cars.segmenters.chexmask import CheXmask, decode_runs, film_id

HEIGHT, WIDTH = 90, 60  # an upright film: it is padded at both sides


def encode(mask: np.ndarray) -> str:
    """Run lengths as the authors' scripts write them."""
    runs, flat, k = [], mask.ravel(), 0
    while k < len(flat):
        if flat[k]:
            end = k
            while end < len(flat) and flat[end]:
                end += 1
            runs += [k + 1, end - k]
            k = end
        k += 1
    return " ".join(map(str, runs))


def organs() -> dict[str, np.ndarray]:
    masks = {name: np.zeros((HEIGHT, WIDTH), bool) for name in ("Left Lung", "Right Lung", "Heart")}
    masks["Left Lung"][20:60, 35:52] = True
    masks["Right Lung"][20:60, 8:25] = True
    masks["Heart"][40:65, 24:42] = True
    return masks


def write(path: Path, rows: list[dict[str, object]], key: str = "dicom_id") -> Path:
    columns = [
        key, "Dice RCA (Max)", "Dice RCA (Mean)", "Landmarks", "Left Lung", "Right Lung", "Heart", "Height", "Width"
    ]  # fmt: skip
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        runs = {name: encode(mask) for name, mask in organs().items()}
        for row in rows:
            # numpy prints the landmarks over several lines
            filled = {"Landmarks": "[[ 1 2]\n [ 3 4]]", "Dice RCA (Max)": 0.95, "Height": HEIGHT, "Width": WIDTH}
            writer.writerow({**filled, **runs, **row})
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows: list[dict[str, object]] = [
        {"dicom_id": "aa-1", "Dice RCA (Mean)": 0.91},
        {"dicom_id": "bb-2", "Dice RCA (Mean)": 0.66},
        {"dicom_id": "cc-3", "Dice RCA (Mean)": 0.9, "Heart": ""},
        {"dicom_id": "dd-4", "Dice RCA (Mean)": ""},
    ]
    # more films than a row group of the index holds
    rows += [{"dicom_id": f"ee-{k}", "Dice RCA (Mean)": 0.8} for k in range(200)]
    return write(tmp_path / "MIMIC-CXR-JPG.csv", rows)


def films(n: int, size: int = 128) -> np.ndarray:
    return np.zeros((n, size, size), dtype=np.uint8)


def test_run_lengths_by_hand() -> None:
    # starts count from 1, row by row: 2 and 3 lie in row 0, 4 to 6 in row 1
    assert decode_runs("2 2 4 1 6 1", 2, 3).tolist() == [[False, True, True], [True, False, True]]
    assert not decode_runs("", 2, 3).any()
    assert decode_runs("1 6", 2, 3).all()


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_run_lengths_round_trip(mask: np.ndarray) -> None:
    assert (decode_runs(encode(mask), *mask.shape) == mask).all()


@pytest.mark.parametrize("runs", ["1", "0 2", "1 7", "3 2 4 1", "1 -1", "1 two"])
def test_wrong_run_lengths_are_refused(runs: str) -> None:
    with pytest.raises(DataError, match="CheXmask outline"):
        decode_runs(runs, 2, 3)


def test_outlines_lie_where_the_padded_film_has_them(table: Path) -> None:
    found = CheXmask(table).load("cpu").masks(films(1), ids=["aa-1"])
    # 90 × 60 padded to 90 × 90: 15 columns on each side, then enlarged to 128
    scale, pad = 128 / HEIGHT, (HEIGHT - WIDTH) / 2
    for organ, name in ((LEFT_LUNG, "Left Lung"), (RIGHT_LUNG, "Right Lung"), (HEART, "Heart")):
        rows, columns = np.nonzero(organs()[name])
        box = np.zeros((128, 128), bool)
        top, bottom = round(rows.min() * scale), round((rows.max() + 1) * scale)
        left, right = (round((c + pad) * scale) for c in (columns.min(), columns.max() + 1))
        box[top:bottom, left:right] = True
        assert dice(found.masks[0, organ], box) > 0.97
    assert found.confidence[0] == pytest.approx(0.91)
    assert found.trusted.tolist() == [True]
    assert found.why_not(0) == ""


def test_films_that_the_table_lacks_or_doubts_say_so(table: Path) -> None:
    found = CheXmask(table).load("cpu").masks(films(5), ids=["bb-2", "unheard", "cc-3", "dd-4", "ee-199"])
    assert found.trusted.tolist() == [False, False, False, False, True]
    assert found.confidence.tolist() == pytest.approx([0.66, 0, 0, 0, 0.8])
    assert not found.masks[1].any()
    assert found.why_not(0) == "the outlines are not trusted (confidence 0.66)"
    assert "has no outlines of this film" in found.why_not(1)
    assert "lacks an outline" in found.why_not(2)
    assert found.masks[4].any(axis=(1, 2)).all()


def test_an_index_is_made_once_and_anew_for_another_table(table: Path) -> None:
    CheXmask(table).load("cpu")
    [index] = table.parent.glob("*.parquet")
    made = index.stat().st_mtime_ns
    first = CheXmask(table).load("cpu").revision
    assert index.stat().st_mtime_ns == made
    write(table, [{"dicom_id": "zz-9", "Dice RCA (Mean)": 0.75}])
    os.utime(table, ns=(1, 1))
    again = CheXmask(table).load("cpu")
    assert again.revision != first
    assert again.masks(films(2), ids=["zz-9", "aa-1"]).confidence.tolist() == pytest.approx([0.75, 0])


@pytest.mark.parametrize(
    ("key", "name", "wanted"),
    [
        ("Image Index", "00000001_000.png", "00000001_000"),
        ("Path", "train/patient00001/study2/view1_frontal.jpg", "patient00001_study2_view1_frontal"),
        ("image_id", "0a1b2c", "0a1b2c"),
    ],
)
def test_other_data_sets_ids(tmp_path: Path, key: str, name: str, wanted: str) -> None:
    assert film_id(name) == wanted
    table = write(tmp_path / "other.csv", [{key: name, "Dice RCA (Mean)": 0.8}], key)
    assert CheXmask(table).load("cpu").masks(films(1), ids=[wanted]).trusted.tolist() == [True]


def test_wrong_tables_and_calls_are_refused(tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CARS_CHEXMASK", raising=False)
    with pytest.raises(MissingDependency, match="No CheXmask table is named"):
        SEGMENTERS.get("chexmask")().load("cpu")
    monkeypatch.setenv("CARS_CHEXMASK", str(tmp_path / "absent.csv"))
    with pytest.raises(MissingDependency, match=r"absent\.csv"):
        SEGMENTERS.get("chexmask")().load("cpu")
    monkeypatch.setenv("CARS_CHEXMASK", str(table))
    segmenter = SEGMENTERS.get("chexmask")().load("cpu")
    with pytest.raises(DataError, match="ids"):
        segmenter.masks(films(1))
    other = tmp_path / "other.csv"
    other.write_text("dicom_id,Heart\na,1 2\n")
    with pytest.raises(DataError, match=r"lacks the columns Dice RCA \(Mean\), Left Lung"):
        CheXmask(other).load("cpu")
    folder = tmp_path / "Preprocessed"
    folder.mkdir()
    cropped = write(folder / "MIMIC-CXR-JPG.csv", [])
    with pytest.raises(DataError, match="OriginalResolution"):
        CheXmask(cropped).load("cpu")


def test_edited_films_are_outlined_by_the_network(table: Path) -> None:
    segmenter, network = CheXmask(table).load("cpu"), CarsSegmenter()
    assert isinstance(looking(segmenter), CarsSegmenter)
    assert looking(network) is network
    assert outlines(segmenter, films(1), ["aa-1"]).confidence[0] == pytest.approx(0.91)
    assert outlines(network, films(1), ["aa-1"]).confidence.shape == (1,)
