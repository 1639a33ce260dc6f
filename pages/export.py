"""Export: the data set as a zip, the reports of runs, and fine-tuned models."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from cars import export, jobs, stages
from cars.workspace import Workspace
from pages._common import current, defaults, empty, plain, query, setting_widgets, stamp, submit, watch
from pages._export_documents import show_documents
from pages._export_models import show_models

#: A browser download of more than this is taken from the folder instead.
MOST_BYTES = 2 * 2**30


def contents(workspace: Workspace) -> None:
    """What there is to export, and the terms it comes under."""
    about = stages.about(workspace)
    totals = query(stamp(workspace, "films", "quarantine", "missing_files"), "ingest/summary").iloc[0]
    accepted = tried = 0
    if workspace.has("edits"):
        counts = workspace.query("browse/edit_counts").iloc[0]
        accepted, tried = int(counts["accepted"]), int(counts["tried"])
    st.subheader("The augmented data set")
    left, middle, right = st.columns(3)
    left.metric("Real films on disk", f"{totals.on_disk:,}")
    middle.metric("Accepted synthetic films", f"{accepted:,}", help=f"Of {tried:,} tried; only these are exported.")
    right.metric("Patients", f"{totals.patients:,}")
    st.write(
        "The zip holds the films, label tables in MIMIC's layout, a Croissant manifest, and for each synthetic film "
        "its source, edit, seed, models and gates. Each one is marked as synthetic and stays with its source's patient."
    )
    if about.get("patient_derived", True):
        st.warning(
            "These films come from patients, and so do the edits made from them. Share the zip only as the data set's "
            f"own terms allow. {plain(about.get('terms', ''))}"
        )


def download(workspace: Workspace, job: jobs.Job) -> None:
    """The newest finished zip."""
    path = Path(job.result["path"])
    own = workspace.path / "exports" / path.name  # where it lies when the workspace was moved or copied
    path = own if own.exists() else path
    if not path.exists():
        st.info(f"The last export is no longer at {plain(path)}. Export again.")
        return
    size = path.stat().st_size
    films, synthetic = job.result["films"], job.result["synthetic"]
    st.success(f"{films:,} films, {synthetic:,} of them synthetic; {size / 2**20:,.1f} MiB.")
    if size <= MOST_BYTES:
        st.download_button(
            "Download the zip", lambda: path.open("rb"), path.name, "application/zip", on_click="ignore", type="primary"
        )
    st.caption(f"It lies at {plain(path)}")
    st.code(f"sha256 {job.result['sha256']}", language=None)


def data_set(workspace: Workspace, busy: bool) -> None:
    """The settings of the zip, the button that makes it, and the newest one."""
    start = defaults(workspace, "export", export.ExportSettings)
    done = next((j for j in jobs.history(workspace) if j.verb == "export" and j.state == "done"), None)
    if start is not None:
        with st.expander("Settings"):
            chosen = setting_widgets("export", start, ["films", "lossless", "suppress_below"])
        label = "Export again" if done else "Export"
        if not busy and st.button(label, type="secondary" if done else "primary", key="export"):
            submit(workspace, "export", chosen)
            st.rerun()
    if done:
        download(workspace, done)


workspace = current()
st.title("Export")
if not workspace.has("films"):
    empty("There are no films in this workspace yet.", "overview", "Read a data set on the page Overview")
else:
    busy = watch(workspace, "export", "export-models", "report")
    contents(workspace)
    data_set(workspace, busy)
    show_documents(workspace)
    show_models(workspace, busy)
