"""Does the confidence tell good outlines from wrong ones? On real films whose overlays were judged by eye.

The outlines of about 160 frontal films of validate and test patients were looked at; these are clear cases. Who looked
is no reader, and there are no drawn outlines of these films.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cars.imaging import decode, square
from cars.segmenters import TRUSTED
from cars.segmenters.cars_unet import CarsSegmenter

#: Outlines along lungs and heart: PA and AP, four children, effusions, devices.
GOOD = (
    "2b944dcd-9feb4c02-e90f8053-e7c8f99e-519d5a85",
    "47b885ff-06dbf758-80e188c0-46730428-c2886c7a",
    "355a98ca-687df2b4-0f698e6c-0bd0fc39-81b75cba",
    "3edab005-fb9c2ac1-f60c54e1-6b3e17ec-1cfd396f",
    "569885e2-cf908926-6132cda8-1a0c2689-67c56955",
    "72bdfcf1-dacc8586-d269f17e-1c93fa8c-e60f8a4e",
    "43c5cbb1-906befe1-d0a66a92-72b7731d-1509881e",
    "17a6403f-47d67d8a-b6ed19c1-52674b85-ac3df4b8",
    "b910134e-9da377f8-4dfa99ba-d10abdc0-bf46936d",
    "2ba76f6f-aa21d0ad-820b91b7-dfca5d14-4846b10e",
    "b770ce3b-8d12fa6d-13e04acd-c7272fe6-b37f5eb9",
    "bb93b054-78c4cd06-beecac5e-654b2375-d1a78557",
    "cfe15ed1-98d7aea0-c13b67a9-77774efd-aea543e3",
    "b9494f87-fce412ba-2c55e4de-bde73b79-450aa884",
    "43556bd5-29cfba6c-458d11b4-6b1d9047-fff067f5",
    "e2c5eb95-b929004a-b9d7d8cf-6a94f494-6f26bb1c",
    "53574661-c72cbca8-868f7c79-fe3d29cf-dea157b7",
    "d57ef54b-c09c3f16-35dbbae2-7d88420b-05a1692f",
    "d06941c3-28a916a3-ce12e93e-a51c92fa-66d6a03a",
    "34a43174-ee1cf4f3-007964fb-ab156f21-eb620905",
)
#: dicom_id → what is wrong with the outlines.
WRONG = {
    "0e87eca3-7714df98-9b2d5e89-234a2229-0b4a00da": "a child with a bent spine: the left lung runs on below the dome",
    "bc2348d9-9fb1e0cb-7c95252f-66286307-26e7eac5": "one lung is nearly gone, the heart lies in its place",
    "dc7eb65f-12c1a411-9eb996bb-ea2db462-47ebf1e9": "the right lung is opaque, its outline lies in the arm",
    "f20b3fd5-3f894c1c-9e218d28-4397f26f-9b9b9777": "the same patient",
    "c89b891c-4cc96495-658faa63-a3e07ef5-02c2e1a8": "the same patient",
    "a2834457-e089327d-ec3dc7df-9c659855-65f4adc5": "the same patient",
    "8c2a3b50-ac1ce9b2-c490f4e7-b5f6c7c9-011bf67b": "an abdomen: the lungs' bases only",
    "b8072607-3e8b4bab-21fac3fc-b59c0112-4225b1e9": "black and white are exchanged",
    "f53ffd90-23e30825-5f45a99d-2b5999f0-f43bf8b7": "the heart's outline has a notch where the left lung is opaque",
}


def confidences(folder: Path, names: list[str]) -> np.ndarray:
    paths = {path.stem: path for path in (folder / "files").rglob("*.jpg")}
    films = np.stack([square(decode(paths[name], 128), 128) for name in names])
    return CarsSegmenter().load("cpu").masks(films).confidence


def test_good_outlines_are_trusted_and_wrong_ones_are_not(open_cxr: Path) -> None:
    good, wrong = confidences(open_cxr, list(GOOD)), confidences(open_cxr, list(WRONG))
    assert (good >= TRUSTED).all(), dict(zip(GOOD, good, strict=True))
    assert (wrong < TRUSTED).all(), dict(zip(WRONG.values(), wrong, strict=True))
    assert good.min() > wrong.max() + 0.1


def test_real_films_upside_down_or_inverted_are_hardly_ever_trusted(open_cxr: Path) -> None:
    paths = {path.stem: path for path in (open_cxr / "files").rglob("*.jpg")}
    films = np.stack([square(decode(paths[name], 128), 128) for name in GOOD])
    segmenter = CarsSegmenter().load("cpu")
    for changed in (films[:, ::-1], 255 - films, np.rot90(films, axes=(1, 2))):
        assert segmenter.masks(np.ascontiguousarray(changed)).trusted.mean() <= 0.15
