"""The phantom's tree comes back through the data set adapter as it was made."""

import pandas as pd
import pytest

from cars.datasets import DATASETS
from cars.errors import DataError
from cars.phantom.population import sample_population
from cars.phantom.tree import write_tree
from cars.schema import COLUMN_OF, age_band, view_of


def test_every_film_comes_back_with_its_attributes(tmp_path):
    write_tree(tmp_path / "tree", 24, seed=3, size=32, workers=1)
    adapter = DATASETS.get("phantom")()
    batches = list(adapter.read(str(tmp_path / "tree"), None))
    films = pd.concat([batch.films for batch in batches]).set_index("dicom_id")
    rows = sample_population(24, 3)
    assert set(films.index) == {row.dicom_id for row in rows}
    for row in rows:
        film = films.loc[row.dicom_id]
        assert film["view"] == view_of(row.view)
        assert film["sex"] == row.sex
        assert film["age_band"] == age_band(row.age)
        assert film["split"] == row.split
        for finding, value in row.labels.items():
            assert film[COLUMN_OF[finding]] == value
    assert not adapter.patient_derived
    assert {p.name for p in adapter.files(str(tmp_path / "tree"), None)} >= {"truth.jsonl.gz", "phantom.json"}


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"phantom\.json"):
        list(DATASETS.get("phantom")().read(str(tmp_path), None))
