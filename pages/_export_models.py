"""Export, models: fine-tuned units as folders that timm loads, and the three lines that load one."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from cars import evaluate
from cars.evaluate.export_models import chosen_units, exported_models, is_timm, loading
from cars.workspace import Workspace
from pages._common import empty, plain, reported, submit
from pages._gains_report import moment
from pages._gains_run import run_words

#: What a choice of all shows.
ALL = "all"


def show_models(workspace: Workspace, busy: bool) -> None:
    """What to export, and what is there. busy: a job exports already."""
    st.subheader("Fine-tuned models")
    known = evaluate.runs(workspace)
    if not len(known):
        empty("No model has been fine-tuned yet.", "gains", "Train and compare on the page Gains")
        return
    st.write(
        "Each unit of a run as a folder: weights as safetensors under timm's own names, its configuration, the "
        "temperature and thresholds chosen on the validate patients, and a card. Each is loaded by timm and compared "
        "before it counts."
    )
    with reported():
        choose(workspace, known, busy)
    there = exported_models(workspace)
    if not len(there):
        st.caption("None has been exported yet.")
        return
    st.dataframe(
        pd.DataFrame(
            {
                "Backbone": there["backbone"], "Arm": there["arm"], "Seed": there["seed"], "Run": there["run"],
                "MiB": (there["bytes"] / 2**20).round(1), "Exported": [moment(t) for t in there["written"]],
                "Folder": [Path(folder).name for folder in there["folder"]],
            }
        ),
        hide_index=True,
    )  # fmt: skip
    st.caption(f"They lie in {plain(workspace.path / 'models' / 'finetuned')}. Terms of the films apply to them.")
    names = {folder: Path(folder).name for folder in there["folder"]}
    folder = st.selectbox("Three lines that load", list(names), format_func=names.__getitem__, key="model")
    st.code(loading(folder), language="python", wrap_lines=True)


def choose(workspace: Workspace, known: pd.DataFrame, busy: bool) -> None:
    """Run, backbone, arm and seed, and the button."""
    words = run_words(known)
    run = st.selectbox("Run", list(words), format_func=words.__getitem__, key="models-run")
    _, units = chosen_units(workspace, evaluate.ExportModelsSettings(run=run))
    units = units[[is_timm(name) for name in units["backbone"]]]
    if not len(units):
        st.info("timm has no model of this run's backbones; the weights of each unit lie in the run's folder.")
        return
    asked = {}
    for column, name in zip(st.columns(3), ("backbone", "arm", "seed")):
        options = [ALL, *dict.fromkeys(units[name])]
        asked[name] = column.selectbox(name.capitalize(), options, key=f"models-{name}")
        units = units[units[name] == asked[name]] if asked[name] != ALL else units
    files = [workspace.path / path / "weights.safetensors" for path in units["path"]]
    size = sum(file.stat().st_size for file in files if file.exists()) / 2**20
    number = f"{len(units):,} model{'' if len(units) == 1 else 's'}"
    if st.button("Export the models", disabled=busy or not len(units)):
        seed = None if asked["seed"] == ALL else int(asked["seed"])
        names = {name: "" if asked[name] == ALL else asked[name] for name in ("backbone", "arm")}
        submit(workspace, "export-models", {"run": run, **names, "seed": seed})
        st.rerun()
    st.caption(f"{number}, about {size:,.0f} MiB. One that is there already is written again.")
