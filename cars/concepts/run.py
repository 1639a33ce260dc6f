"""The verb `concepts`: every report of a workspace read into the tables `concepts` and `concept_mentions`."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from .. import schema
from ..config import as_dict, setting
from ..errors import WorkspaceError
from ..progress import Progress, part_of, silent
from ..provenance import digest, note
from .lexicon import Lexicon, lexicon
from .reading import Reading, read_report

if TYPE_CHECKING:
    import pandas as pd

    from ..workspace import Workspace

TABLES = ("concepts", "concept_mentions")
REPORTS_PER_PART = 5_000
#: Fewer reports than this are read in this process: starting workers would take longer.
ALONE_BELOW = 1_000
#: Raised when the same report and phrases start to give other values.
VERSION = 1
MENTION_COLUMNS = (
    "study_id", "concept", "value", "section", "start_char", "end_char", "sentence_start", "sentence_end", "rule",
)  # fmt: skip
#: A report of one study: (study_id, subject_id, text).
Report = tuple[str, str, str]


@dataclass(frozen=True)
class ConceptsSettings:
    """Settings of `concepts`. Phrases are set in workspace.toml, under [concepts.phrases]."""

    FILE_TABLES: ClassVar[tuple[str, ...]] = ("phrases",)
    workers: int | None = setting(None, "Processes that read reports; default: one a processor.", minimum=1)


def lexicon_of(workspace: Workspace) -> Lexicon:
    """The shipped phrases with the workspace's own. Raises: SettingError for a wrong one."""
    return lexicon(workspace.file_settings.get("concepts", {}).get("phrases", {}))


def concepts(workspace: Workspace, settings: ConceptsSettings, progress: Progress = silent) -> dict[str, Any]:
    """Read every report and publish `concepts` (a study a row) and `concept_mentions` (a mention a row).

    Returns: studies (with a report), without_report, read (now), cut (reports longer than what is read), values
    ({concept: {present, absent, uncertain: studies}}), phrases (hash of what they were read with), version.
    Raises: WorkspaceError before `ingest` and where no film has a report; SettingError for a wrong phrase.
    """
    from ..engines.local import map_shards

    workspace.need("films", "ingest ADAPTER SOURCE")
    words = lexicon_of(workspace)
    progress(0, 1000, "Looking for reports")
    reports = workspace.query("concepts/reports")
    if reports.empty:
        raise WorkspaceError(
            "No film of this workspace has a report.",
            "Ingest with --reports (MIMIC's layout), or name the column of reports in the folder's TOML file.",
        )
    shards: list[list[Report]] = [
        list(reports.iloc[n : n + REPORTS_PER_PART].itertuples(index=False, name=None))
        for n in range(0, len(reports), REPORTS_PER_PART)
    ]
    keys = [_key(shard) for shard in shards]
    version = digest(VERSION, words.key, keys)
    names = [f"{n:05d}-{key}" for n, key in enumerate(keys)]
    todo = [n for n, name in enumerate(names) if not all(workspace.has_part(t, name, version) for t in TABLES)]
    alone = sum(len(shards[n]) for n in todo) < ALONE_BELOW
    own = workspace.file_settings.get("concepts", {}).get("phrases", {})
    parts = map_shards(
        partial(Reader, own), [shards[n] for n in todo], 1 if alone else settings.workers,
        part_of(progress, 0.05, 0.95), "Reading reports",
    )  # fmt: skip
    for n, (table, mentions) in zip(todo, parts, strict=True):
        workspace.write_part("concept_mentions", names[n], mentions, version)
        workspace.write_part("concepts", names[n], table, version)
    _publish(workspace, settings, words, version)
    progress(1000, 1000, f"{len(reports):,} reports read")
    return {
        **_summary(workspace, words),
        "read": sum(len(shards[n]) for n in todo),
        "phrases": words.key,
        "version": version,
    }


def _key(shard: list[Report]) -> str:
    found = hashlib.sha256()
    for study, subject, report in shard:
        found.update(f"{study}\0{subject}\0{report}\0".encode(errors="surrogatepass"))
    return found.hexdigest()[:16]


class Reader:
    """The actor: a shard of reports → the parts of both tables."""

    def __init__(self, own: Mapping[str, Any]) -> None:
        """own: the workspace's [concepts.phrases]."""
        self.words = lexicon(own)

    def __call__(self, shard: list[Report]) -> tuple[pd.DataFrame, pd.DataFrame]:
        readings = [(study, subject, read_report(report, self.words)) for study, subject, report in shard]
        return self._values(readings), _mentions(readings)

    def _values(self, readings: list[tuple[str, str, Reading]]) -> pd.DataFrame:
        import pandas as pd

        columns: dict[str, Any] = {
            "study_id": pd.Series([study for study, _, _ in readings], dtype="str"),
            "subject_id": pd.Series([subject for _, subject, _ in readings], dtype="str"),
            "cut": [reading.cut for _, _, reading in readings],
        }
        for name, concept in self.words.concepts.items():
            codes = [schema.FINDING_CODES[r.values.get(name, "not mentioned")] for _, _, r in readings]
            columns[concept.column] = pd.Series(codes, dtype="int8")
        return pd.DataFrame(columns)


def _mentions(readings: list[tuple[str, str, Reading]]) -> pd.DataFrame:
    import pandas as pd

    rows = [
        (
            study, e.concept, schema.FINDING_CODES[e.value], e.section, e.start, e.end, e.sentence_start,
            e.sentence_end, e.rule,
        )
        for study, _, reading in readings
        for e in reading.evidence
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=list(MENTION_COLUMNS))
    kinds = {name: "str" if name in ("study_id", "concept", "section", "rule") else "int32" for name in MENTION_COLUMNS}
    return frame.astype({**kinds, "value": "int8"})


def _publish(workspace: Workspace, settings: ConceptsSettings, words: Lexicon, version: str) -> None:
    """Let readers see the version, with what it was made from and which concepts it has beside it."""
    from ..workspace import write_json

    made = note("concepts", as_dict(settings), {"films": workspace.version("films"), "phrases": words.key})
    about = {
        name: {"group": c.group, "means": c.means, "findings": list(c.findings), "column": c.column}
        for name, c in words.concepts.items()
    }
    for table in TABLES:
        write_json(workspace.path / "tables" / table / version / "note.json", {**made, "concepts": about})
        workspace.publish(table, version)


def _summary(workspace: Workspace, words: Lexicon) -> dict[str, Any]:
    table = workspace.read("concepts")
    studies = int(workspace.query("concepts/studies")["studies"].iloc[0])
    values = {}
    for name, concept in words.concepts.items():
        counts = Counter(table[concept.column].tolist())
        values[name] = {word: counts.get(schema.FINDING_CODES[word], 0) for word in ("present", "absent", "uncertain")}
    return {
        "studies": len(table),
        "without_report": studies - len(table),
        "cut": int(table["cut"].sum()),
        "values": values,
    }


def evidence_of(workspace: Workspace, dicom_id: str) -> pd.DataFrame:
    """What the report of a film's study says: concept, value (a word), section, sentence (text), rule; in order.

    The sentence is taken from the report now; the table holds places only. Empty without a report.
    Raises: WorkspaceError before `cars concepts`.
    """
    workspace.need("concepts", "concepts")
    found = workspace.query("concepts/report_of_film", dicom_id=dicom_id)
    report = None if found.empty else found["report"].iloc[0]
    if not isinstance(report, str):
        return workspace.query("concepts/evidence", study_id="").assign(sentence="")
    rows = workspace.query("concepts/evidence", study_id=found["study_id"].iloc[0])
    sentences = [" ".join(report[a:b].split()) for a, b in zip(rows["sentence_start"], rows["sentence_end"])]
    return rows.assign(value=rows["value"].map(schema.FINDING_VALUES), sentence=sentences)
