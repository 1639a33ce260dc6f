"""What every registered data set adapter promises. A new adapter is tested on arrival; give it a small source below."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cars.datasets import DATASETS, Adapter
from cars.imaging import save_png
from cars.ingest import COMMON, IngestSettings
from cars.schema import AGE_BANDS, COLUMN_OF, FILM_COLUMNS, FILM_FILE_COLUMNS, SEXES, SPLITS, VIEWS

TOML = 'table = "t.csv"\n[columns]\nsubject_id = "p"\npath = "f"\n[findings]\n"Edema" = "e"\n'


@pytest.fixture
def source_of(tmp_path, tiny_mimic):
    """name → a small SOURCE for that adapter."""

    def make(name: str) -> str:
        if name == "folder":
            (tmp_path / "t.csv").write_text("p,f,e\na,1.png,1\na,2.png,\nb,3.png,-1\n")
            (tmp_path / "c.toml").write_text(TOML)
            save_png(tmp_path / "1.png", np.eye(8, dtype=np.uint8) * 255)
            return str(tmp_path / "c.toml")
        sources = {"mimic-cxr-jpg": str(tiny_mimic), "phantom": str(tiny_mimic), "xrv": "siim"}
        assert name in sources, f"tests/contracts/test_datasets.py has no small source for the adapter {name!r}"
        return sources[name]

    return make


@pytest.mark.parametrize("name", DATASETS.names())
def test_batches_have_the_columns_types_and_words_of_the_tables(name, source_of, tmp_path):
    adapter = DATASETS.get(name)()
    batches = list(adapter.read(source_of(name), None))
    assert batches
    films = pd.concat([batch.films for batch in batches])
    assert list(films.columns) == [*FILM_COLUMNS, *COLUMN_OF.values(), *FILM_FILE_COLUMNS]
    assert len(films) > 0
    assert films["dicom_id"].is_unique
    for column in ("dicom_id", "subject_id", "study_id", "split", "view", "sex", "age_band", "race", "dataset"):
        assert films[column].notna().all(), column
    assert films["split"].isin(SPLITS).all()
    assert films["view"].isin(VIEWS).all()
    assert films["sex"].isin(SEXES).all()
    assert films["age_band"].isin([*AGE_BANDS, "unknown"]).all()
    assert films["age"].dtype == "float64"
    for column in COLUMN_OF.values():
        assert films[column].dtype == "int8"
        assert films[column].isin([1, 0, -1, -2]).all()
    assert (films["origin"] == "real").all()
    assert (films["path"].notna() == films["on_disk"]).all()
    assert all(Path(path).is_absolute() and Path(path).is_file() for path in films["path"].dropna())
    for batch in batches:
        assert list(batch.quarantine.columns) == ["file", "row", "column", "value", "reason", "dicom_id"]
        assert list(batch.missing.columns) == ["dicom_id", "path"]


@pytest.mark.parametrize("name", DATASETS.names())
def test_no_patient_is_in_two_splits(name, source_of):
    films = pd.concat([batch.films for batch in DATASETS.get(name)().read(source_of(name), None)])
    assert films.groupby("subject_id")["split"].nunique().max() == 1


@pytest.mark.parametrize("name", DATASETS.names())
def test_reading_twice_gives_the_same_and_limit_takes_the_first(name, source_of):
    adapter, source = DATASETS.get(name)(), source_of(name)
    first, second = (pd.concat([b.films for b in adapter.read(source, None)]) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    limited = pd.concat([b.films for b in adapter.read(source, None, limit=2)])
    pd.testing.assert_frame_equal(limited, first.head(2))


@pytest.mark.parametrize("name", DATASETS.names())
def test_it_says_licence_terms_citation_and_its_files(name, source_of):
    adapter, source = DATASETS.get(name)(), source_of(name)
    about = adapter.about(source)
    assert all(about[key].strip() for key in ("licence", "terms", "citation"))
    assert isinstance(about["patient_derived"], bool)
    docstring = inspect.getdoc(DATASETS.get(name))
    assert docstring != inspect.getdoc(Adapter)
    assert all(word in docstring.lower() for word in ("licence", "access", "citation"))
    list(adapter.read(source, None))
    files = adapter.files(source, None)
    assert files
    assert all(path.is_file() for path in files)


@pytest.mark.parametrize("name", DATASETS.names())
def test_its_options_are_settings_of_ingest(name):
    fields = set(IngestSettings.__dataclass_fields__) - (set(COMMON) - {"workers"})
    assert set(DATASETS.get(name).options) <= fields
