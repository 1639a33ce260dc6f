"""Plug-ins: one data set adapter a file. See docs/architecture.md and docs/adding-a-data-set.md.

Files whose name starts with an underscore are shared helpers, not adapters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..progress import Progress, silent
from ..registry import Registry

if TYPE_CHECKING:
    import pandas as pd

    from ..workspace import Workspace

DATASETS = Registry("data set adapter", "cars.datasets")


@dataclass(frozen=True)
class Batch:
    """Some films of a data set, and what was wrong with rows that are not among them.

    films: the columns of the table `films`; `path` is null and `on_disk` False where there is no file.
    quarantine: `file row column value reason dicom_id`; `row` counts the header as row 1, null for a whole file.
    missing: `dicom_id path` of films that the tables name and whose file is not there.
    """

    films: pd.DataFrame
    quarantine: pd.DataFrame
    missing: pd.DataFrame


class Adapter:
    """The contract of a data set adapter. Constructors take no argument."""

    #: Licence, how to get access, and what to cite; each a sentence.
    licence: str = ""
    terms: str = ""
    citation: str = ""
    #: Whether films and labels come from patients, so that whatever is made from them does too.
    patient_derived: bool = True
    #: The settings of `ingest` that this adapter understands; others are refused.
    options: tuple[str, ...] = ()

    def about(self, source: str) -> dict[str, Any]:
        """licence, terms, citation and patient_derived of this source (and its name, if any) for dataset.json."""
        return {
            "licence": self.licence,
            "terms": self.terms,
            "citation": self.citation,
            "patient_derived": self.patient_derived,
        }

    def files(self, source: str, workspace: Workspace, **options: Any) -> list[Path]:
        """The tables that `read` uses; their hashes make the version and the provenance. Called after `read`."""
        raise NotImplementedError

    def read(self, source: str, workspace: Workspace, progress: Progress = silent, **options: Any) -> Iterator[Batch]:
        """The data set in batches. A bad row goes to quarantine with its reason and good rows go on.

        Raises: DataError when a whole file is unusable (missing, a column renamed, not readable).
        """
        raise NotImplementedError
