"""Overview: what is in the workspace, what was set aside, how far the path is, and the next step."""

from __future__ import annotations

import streamlit as st

from cars import config, demo, ingest, jobs, stages
from cars.datasets import DATASETS
from cars.workspace import Workspace
from pages._common import (
    COLOURS,
    ICONS,
    current,
    plain,
    query,
    reported,
    setting_widgets,
    source_name,
    stamp,
    submit,
    watch,
)

ACTIONS = {
    "embed": "Embed the films", "gaps": "Find gaps", "plan": "Plan edits", "synth": "Make the synthetic films",
    "finetune": "Fine-tune backbones", "report": "Score the backbones", "export": "Export the data set",
}  # fmt: skip


def begin(workspace: Workspace) -> None:
    """The two ways to fill an empty workspace."""
    st.write("This workspace is empty. Fill it in one of two ways.")
    phantom, own = st.columns(2, border=True)
    with phantom:
        st.subheader("Try it on the phantom")
        st.write("Drawn chests with known findings: the whole path, from gaps to export, without any patient data.")
        films = st.number_input("Films", 50, 20_000, 1500, 50, help="1,500 films take some minutes on two cores.")
        if st.button("Build the demo", type="primary"):
            with reported():
                demo.queue(workspace.path, int(films))
                jobs.ensure_worker(workspace)
            st.rerun()
    with own:
        st.subheader("Read a data set")
        names = [name for name in DATASETS.names() if name != "phantom"]
        first = names.index("mimic-cxr-jpg") if "mimic-cxr-jpg" in names else 0
        adapter = st.selectbox("Adapter", names, first, help="The kind of data set. Its files are read where they lie.")
        source = st.text_input("Source", placeholder="/data/mimic-cxr-jpg", help="The data set's folder, file or name.")
        with st.expander("More settings"):
            start = config.resolve(ingest.IngestSettings, "ingest", {"adapter": adapter, "source": source or "-"})
            more = setting_widgets("ingest", start, [*DATASETS.get(adapter).options, "check_films"])
        if st.button("Read it", disabled=not source):
            submit(workspace, "ingest", {"adapter": adapter, "source": source, **more})
            st.rerun()


def contents(workspace: Workspace) -> None:
    """Counts by split, and what could not be used."""
    about = stages.about(workspace)
    key = stamp(workspace, "films", "quarantine", "missing_files")
    totals = query(key, "ingest/summary").iloc[0]
    words = [f"Source: {plain(source_name(workspace))}."]
    words += [f"{field.capitalize()}: {plain(about[field])}" for field in ("licence", "terms") if about.get(field)]
    st.caption(" ".join(words))
    for column, (label, value) in zip(
        st.columns(6),
        (
            ("Films", totals.films), ("Studies", totals.studies), ("Patients", totals.patients),
            ("Films on disk", totals.on_disk), ("Rows set aside", totals.quarantined),
            ("Missing files", totals.missing_files),
        ),
    ):  # fmt: skip
        column.metric(label, f"{value:,}")
    st.dataframe(
        query(key, "browse/counts"), hide_index=True, width="content",
        column_config={
            "films": st.column_config.NumberColumn(format="localized"),
            "on_disk": st.column_config.NumberColumn("films on disk", format="localized"),
        },
    )
    if totals.quarantined:
        with st.expander(f"{totals.quarantined:,} rows or films were set aside, with reasons"):
            st.dataframe(query(key, "browse/reasons"), hide_index=True)
            st.caption("The first 200 of them:")
            st.dataframe(workspace.read("quarantine").head(200), hide_index=True)
    if totals.missing_files:
        with st.expander(f"{totals.missing_files:,} films are named in the tables but have no file"):
            st.write("They count in coverage by their labels, but cannot be embedded, edited or trained on.")
            st.dataframe(workspace.read("missing_files").head(200), hide_index=True)


def path(workspace: Workspace) -> None:
    """How far each stage is, live progress, and the one next step."""
    found = stages.stages(workspace)
    st.subheader("Path")
    with st.container(horizontal=True):
        for stage in found:
            text = f"{ICONS[stage.state]} {stage.title}"
            st.badge(text, color=COLOURS[stage.state], help=f"`cars {stage.verb}`: {stage.state} {stage.detail}")
    if watch(workspace):
        return
    for stage in found:
        if stage.state == "failed":
            st.error(f"{stage.title}: {plain(stage.detail)}")
            st.page_link("pages/jobs.py", label="See what to do on the page Jobs", icon=":material/arrow_forward:")
    step = stages.next_stage(found)
    if step is None:
        st.success("Every stage is made. The page Gains says whether it helped.")
    elif step.state == "open" and st.button(ACTIONS[step.verb], type="primary"):
        if step.page == "overview":
            submit(workspace, step.verb, {})
            st.rerun()
        st.switch_page(f"pages/{step.page}.py")


workspace = current()
st.title(plain(workspace.name))
if workspace.has("films"):
    path(workspace)
    contents(workspace)
elif not watch(workspace, "ingest"):
    begin(workspace)
else:
    st.info("The films are being read. This page goes on by itself.")
