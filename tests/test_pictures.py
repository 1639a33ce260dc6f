"""Films for pages: sizes, the layers of an edit, captions, the numbers of the gates."""

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


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image).astype(int)


def test_the_difference_is_clear_orange_and_blue() -> None:
    change = np.array([[0, 100, -50]], np.int16)
    same, orange, blue = pictures.difference_layer(change)[0]
    assert same[3] == 0, "no change is nothing to see"
    assert tuple(orange) == (213, 94, 0, 255)
    assert tuple(blue) == (0, 114, 178, 128)


def test_a_faint_change_does_not_get_the_full_colour() -> None:
    faint, none = pictures.difference_layer(np.array([[2, 0]], np.int16))[0]
    assert 0 < faint[3] < 40
    assert none[3] == 0


def test_only_the_border_of_the_region_is_drawn() -> None:
    region = np.zeros((20, 20), bool)
    region[5:15, 5:15] = True
    drawn = pictures.lined([(region, (1, 2, 3))])
    line = drawn[..., 3] > 0
    assert line.sum() == 36  # the ring of a 10 × 10 square
    assert (drawn[line] == (1, 2, 3, 255)).all()
    assert not line[6:14, 6:14].any()
    assert not line[~region].any()


def test_outlines_lie_where_the_film_lies_in_its_square() -> None:
    masks = np.zeros((3, 40, 40), bool)
    masks[0, 10:30, 14:20] = True
    masks[2, 20:30, 24:28] = True
    # 80 × 40 pixels: the square has 20 columns of padding on either side, so column c is column 2c − 20 of the film
    drawn = pictures.outline_layer(masks, 80, 40)
    rows, columns = np.nonzero((drawn == (*pictures.LUNGS, 255)).all(axis=2))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 59, 8, 19)
    rows, columns = np.nonzero((drawn == (*pictures.HEART, 255)).all(axis=2))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (40, 59, 28, 35)


def test_the_layers_of_an_edit_lie_on_each_other() -> None:
    film = np.tile(np.linspace(10, 200, 60).astype(np.uint8), (90, 1))
    edited, region = film.copy(), np.zeros(film.shape, bool)
    edited[10:20, 10:20] += 40
    region[8:22, 8:22] = True
    masks = np.zeros((3, 128, 128), bool)
    shown = pictures.layers(film, edited, region, outlines=(masks, masks))
    assert (shown.rows, shown.columns, shown.film_rows, shown.film_columns) == (90, 60, 90, 60), "never enlarged"
    assert shown.largest == 40
    assert shown.share == pytest.approx(100 / film.size)
    assert size(shown.source) == size(shown.edited) == (60, 90)
    assert (pixels(shown.difference)[..., 3] > 0).sum() == 100
    assert pixels(shown.region)[..., 3].any()
    assert not pixels(shown.outlines_before)[..., 3].any()
    assert np.abs(pixels(shown.edited) - edited).max() < 12

    small = pictures.layers(film, edited, region, side=45)
    assert size(small.edited) == (30, 45)
    assert pixels(small.difference).shape == pixels(small.region).shape == (45, 30, 4)
    orange = pixels(small.difference)[7, 7]
    assert np.abs(orange[:3] - (213, 94, 0)).max() <= 1, "colours do not bleed into what is clear"
    assert small.outlines_after is None
    same = pictures.layers(film, film, region)
    assert (same.largest, same.share) == (0, 0.0)


def test_a_stored_edit_whose_sizes_disagree_is_an_error(tmp_path: Path) -> None:
    film = np.tile(np.linspace(10, 200, 48).astype(np.uint8), (64, 1))
    for name, image in (("a", film), ("b", film), ("c", film), ("d", film[:32])):
        save_png(tmp_path / f"{name}.png", image)
    before, after, region = pictures.read_edit(*(tmp_path / f"{name}.png" for name in "abc"))
    assert before.shape == after.shape == region.shape == (64, 48)
    assert region.dtype == bool
    with pytest.raises(DataError, match="size"):
        pictures.read_edit(*(tmp_path / f"{name}.png" for name in "abd"))


def test_the_numbers_of_the_gates_in_words() -> None:
    inf, nan = float("inf"), float("nan")
    rows = [
        ("judge", "after", 0.9, 0.6, inf, True), ("anatomy", "CTR drift", 0.05, -inf, 0.02, False),
        ("judge", "others", 3.0, -inf, inf, True), ("copy", "not checked", nan, -inf, inf, None),
    ]  # fmt: skip
    told = pictures.numbers(pd.DataFrame(rows, columns=["gate", "measure", "value", "low", "high", "passed"]))
    assert list(told["allowed"]) == ["≥ 0.6", "≤ 0.02", "any", "any"]
    assert list(told["result"]) == ["✓ passed", "✗ failed", "✓ passed", "– not asked"]
    assert told["value"].isna().tolist() == [False, False, False, True]


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
