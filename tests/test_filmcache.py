"""The cache of decoded films: order, failures, resuming, and films that change."""

from __future__ import annotations

import json
import os
import pickle

import numpy as np
import pytest

from cars import filmcache
from cars.errors import Cancelled, DataError
from cars.filmcache import film_cache
from cars.imaging import decode, save_png, square


def films(folder, n, size=20):
    """id → path of n films that differ."""
    paths = {}
    for k in range(n):
        image = np.random.default_rng(k).integers(0, 255, (size, size), dtype=np.uint8)
        paths[f"film{k}"] = folder / f"{k}.png"
        save_png(paths[f"film{k}"], image)
    return paths


def shards(workspace, size):
    return {p.name: p.stat().st_mtime_ns for p in (workspace.path / f"cache/films-{size}").iterdir()}


def test_films_of_the_table_in_the_order_asked(workspace_copy):
    table = workspace_copy.read("films").set_index("dicom_id")
    cache = film_cache(workspace_copy, 32, workers=1)
    assert set(cache.ids) == set(table.index)
    assert not cache.failed
    ids = [cache.ids[5], cache.ids[0], cache.ids[5]]
    images = cache.images(ids)
    assert images.shape == (3, 32, 32)
    for image, dicom_id in zip(images, ids):
        assert np.array_equal(image, square(decode(table.loc[dicom_id, "path"], at_least=32), 32))
    images[:] = 0  # a copy: the cache keeps its films
    assert cache.images(ids).any()
    assert len(film_cache(workspace_copy, 32, ids[:2], workers=1)) == 2


def test_films_that_fail_are_listed_and_the_rest_goes_on(workspace_copy, tmp_path):
    paths = films(tmp_path, 3)
    paths["film1"].write_bytes(b"")
    paths["gone"] = tmp_path / "gone.png"
    cache = film_cache(workspace_copy, 16, paths=paths, workers=1)
    assert cache.ids == ["film0", "film2"]
    assert cache.failed == {"film1": "zero-byte", "gone": "missing"}
    assert "film1" not in cache
    with pytest.raises(DataError, match="zero-byte"):
        cache.images(["film1"])
    with pytest.raises(DataError, match="'other'"):
        cache.images(["other"])


def test_unknown_ids_are_refused(workspace_copy):
    with pytest.raises(DataError, match="'nobody'"):
        film_cache(workspace_copy, 16, ["nobody"])


def test_a_second_call_decodes_nothing_and_a_changed_film_anew(workspace_copy, tmp_path, monkeypatch):
    paths = films(tmp_path, 4)
    film_cache(workspace_copy, 16, paths=paths, workers=1)
    before = shards(workspace_copy, 16)
    film_cache(workspace_copy, 16, paths=paths, workers=1)
    assert shards(workspace_copy, 16) == before
    other = np.zeros((20, 20), np.uint8)
    other[:10] = 255
    save_png(paths["film2"], other)
    os.utime(paths["film2"], ns=(1, 1))
    cache = film_cache(workspace_copy, 16, paths=paths, workers=1)
    assert np.array_equal(cache.images(["film2"])[0], square(other, 16))
    assert {name: shards(workspace_copy, 16)[name] for name in before} == before


def test_it_goes_on_after_being_stopped(workspace_copy, tmp_path, monkeypatch):
    monkeypatch.setattr(filmcache, "FILMS_PER_SHARD", 2)
    paths = films(tmp_path, 6)

    def stop(done, total, message):
        if done == 2:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        film_cache(workspace_copy, 16, paths=paths, workers=1, progress=stop)
    half = shards(workspace_copy, 16)
    assert len([name for name in half if name.endswith(".json")]) == 2
    # a kill between the two files of a shard leaves films without a listing: they do not count
    listing = workspace_copy.path / "cache/films-16" / next(name for name in half if name.endswith(".json"))
    assert len(json.loads(listing.read_text())["keys"]) == 2
    listing.unlink()
    cache = film_cache(workspace_copy, 16, paths=paths, workers=1)
    assert cache.ids == list(paths)
    expected = [square(decode(path), 16) for path in paths.values()]
    assert np.array_equal(cache.images(cache.ids), expected)


def test_many_shards_few_open_maps_and_pickling(workspace_copy, tmp_path, monkeypatch):
    monkeypatch.setattr(filmcache, "FILMS_PER_SHARD", 1)
    monkeypatch.setattr(filmcache, "OPEN_SHARDS", 2)
    paths = films(tmp_path, 5)
    cache = film_cache(workspace_copy, 16, paths=paths, workers=1)
    first = cache.images(cache.ids)
    assert len(cache._open) == 2
    again = pickle.loads(pickle.dumps(cache))
    assert not again._open
    assert np.array_equal(again.images(cache.ids[::-1]), first[::-1])


def test_two_processes_give_the_same_films(workspace_copy, tmp_path, monkeypatch):
    monkeypatch.setattr(filmcache, "FILMS_PER_SHARD", 2)
    paths = films(tmp_path, 4)
    cache = film_cache(workspace_copy, 16, paths=paths, workers=2)
    assert np.array_equal(cache.images(cache.ids), [square(decode(path), 16) for path in paths.values()])
