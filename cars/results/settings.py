"""The settings of `cars report`: how runs are scored, and which documents are written. Cheap to import."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import setting
from ..evaluate import settings as evaluate


@dataclass(frozen=True)
class ReportSettings(evaluate.ReportSettings):
    """How the test predictions of a run are scored, and where its documents go."""

    html: str | None = setting(None, "Also write the report as one HTML file that needs no network.")
    pdf: str | None = setting(None, "Also write the report as a PDF.")
    csv: str | None = setting(None, "Also write every number of the run to one CSV file.")
