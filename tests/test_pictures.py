"""Films for pages: sizes, the difference's colours, the ROI's line, captions."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cars import pictures, schema
from cars.errors import DataError, FilmError
from cars.imaging import save_png
from cars.workspace import Workspace


def size(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG"
        return image.size


def test_a_thumbnail_is_small_and_keeps_its_shape(tmp_path: Path) -> None:
    film = np.tile(np.linspace(0, 255, 600).astype(np.uint8), (900, 1))
    save_png(tmp_path / "film.png", film)
    assert size(pictures.thumbnail(tmp_path / "film.png")) == (171, 256)


def test_a_film_without_a_file_has_a_picture_that_is_none_of_a_film() -> None:
    assert size(pictures.no_film(64)) == (64, 64)
    grey = np.asarray(Image.open(io.BytesIO(pictures.no_film(64))))
    assert grey.min() > 180, "pale everywhere: nobody takes it for a film"


def test_a_broken_film_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "film.jpg").write_bytes(b"no film")
    with pytest.raises(FilmError):
        pictures.thumbnail(tmp_path / "film.jpg")


def test_the_difference_is_grey_orange_and_blue() -> None:
    change = np.array([[0, 100, -100]], np.int16)
    same, orange, blue = pictures.coloured(change)[0]
    assert tuple(same) == (236, 236, 236)
    assert tuple(orange) == (213, 94, 0)
    assert tuple(blue) == (0, 114, 178)


def test_a_faint_change_does_not_get_the_full_colour() -> None:
    faint, none = pictures.coloured(np.array([[2, 0]], np.int16))[0]
    assert faint.min() > 200
    assert tuple(none) == (236, 236, 236)


def test_only_the_border_of_the_region_is_drawn() -> None:
    region = np.zeros((20, 20), bool)
    region[5:15, 5:15] = True
    drawn = (pictures.outlined(np.zeros((20, 20), np.uint8), region) != 0).any(axis=2)
    assert drawn.sum() == 36  # the ring of a 10 × 10 square
    assert not drawn[6:14, 6:14].any()
    assert not drawn[~region].any()


def test_the_four_pictures_of_an_edit(tmp_path: Path) -> None:
    film = np.tile(np.linspace(10, 200, 64).astype(np.uint8), (64, 1))
    edited, region = film.copy(), np.zeros(film.shape, np.uint8)
    edited[10:20, 10:20] += 40
    region[8:22, 8:22] = 255
    for name, image in (("a", film), ("b", edited), ("c", region), ("d", region[:32])):
        save_png(tmp_path / f"{name}.png", image)
    paths = [tmp_path / f"{name}.png" for name in "abcd"]
    shown = pictures.edit_pictures(*paths[:3])
    assert shown.largest == 40
    assert shown.share == pytest.approx(100 / 64**2)
    assert {size(p) for p in (shown.source, shown.edited, shown.difference, shown.roi)} == {(64, 64)}
    with pytest.raises(DataError, match="size"):
        pictures.edit_pictures(paths[0], paths[1], paths[3])


def test_the_number_nearest_to_its_limit_decides() -> None:
    inf = float("inf")
    rows = [
        ("judge", "Edema: probability before", 0.59, -inf, 0.6, True), ("judge", "after", 0.9, 0.6, inf, True),
        ("judge", "others", 3.0, -inf, inf, True),
        ("anatomy", "Dice", 0.99, 0.95, inf, True), ("anatomy", "CTR drift", 0.05, -inf, 0.02, False),
    ]  # fmt: skip
    gates = pd.DataFrame(rows, columns=["gate", "measure", "value", "low", "high", "passed"])
    assert pictures.deciding(gates) == [
        ("judge", True, "after 0.90 (≥ 0.6)"),
        ("anatomy", False, "CTR drift 0.05 (≤ 0.02)"),
    ]
    assert pictures.deciding(gates.head(0)) == []
    failed = gates.head(1).assign(value=0.7, passed=False)
    assert pictures.deciding(failed) == [("judge", False, "Edema: probability before 0.70 (≤ 0.6)")]
    assert pictures.limits(0.1, 0.9) == "0.1 to 0.9"


def test_cards_keep_the_order_and_leave_unknown_ids_out(tiny_workspace: Workspace) -> None:
    ids = list(tiny_workspace.read("films")["dicom_id"].head(3))[::-1]
    cards = pictures.cards(tiny_workspace, [ids[0], "nobody", *ids[1:]])
    assert list(cards["dicom_id"]) == ids
    assert all(Path(path).exists() for path in cards["path"])


def test_a_synthetic_film_says_so() -> None:
    row = {"view": "PA", "sex": "F", "age": float("nan"), "split": "train", "origin": "synthetic"}
    row |= {column: schema.NOT_MENTIONED for column in schema.COLUMN_OF.values()}
    row["edema"] = schema.PRESENT
    assert pictures.caption(row) == "synthetic · PA · F · train · Edema"
    row |= {"origin": "real", "edema": schema.UNCERTAIN, "age": 63.0}
    assert pictures.caption(row) == "PA · F · 63 · train · no finding labelled"
