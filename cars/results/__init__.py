"""What came out, for people: the verb `report` with its HTML, PDF and CSV, and what the page Gains shows of a run.

`evaluate` scores and `coverage` counts; here their tables meet in figures and words. One `Results` holds a run's
tables, `compose` makes sections of it, and html.py and pdf.py print the same sections.
"""

from . import doubt, words
from .compose import Section, compose
from .documents import document_paths, documents
from .gather import Results, cautions, coverage_table, curve_findings, every_number, gather, source_of
from .settings import ReportSettings
from .verb import document, outdated, report

__all__ = [
    "ReportSettings",
    "Results",
    "Section",
    "cautions",
    "compose",
    "coverage_table",
    "curve_findings",
    "document",
    "document_paths",
    "documents",
    "doubt",
    "every_number",
    "gather",
    "outdated",
    "report",
    "source_of",
    "words",
]
