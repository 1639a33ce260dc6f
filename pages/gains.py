"""Gains: fine-tune backbones with and without the added films, and see whether that helped, with intervals."""

from __future__ import annotations

import streamlit as st

from cars import evaluate
from cars.errors import CarsError
from cars.workspace import Workspace
from pages import _state
from pages._common import current, empty, reported, show_error, stamp, submit, watch
from pages._gains_calibration import show_calibration
from pages._gains_coverage import show_coverage
from pages._gains_findings import show_findings
from pages._gains_grid import show_grid
from pages._gains_report import show_report
from pages._gains_run import Run, cautions, read_run, run_words
from pages._gains_slices import show_slices
from pages._gains_train import controls
from pages._gains_uncertainty import show_uncertainty
from pages._gains_verdict import show_verdict

#: The name in the URL → (the words on the page, what draws it); a section takes the run.
SECTIONS = {
    "verdict": ("Verdict", show_verdict),
    "findings": ("Findings", show_findings),
    "calibration": ("Calibration", show_calibration),
    "uncertainty": ("Uncertainty", show_uncertainty),
    "rare": ("Rare combinations", show_slices),
    "covered": ("Coverage", None),
    "document": ("Report", show_report),
}
#: What a run is read from.
TABLES = ("scores", "gains", "slices", "units", "predictions", "passes", "model_uncertainty")


def chosen_run(workspace: Workspace, busy: bool) -> Run | None:
    """The run to show: the newest that was scored, unless another is chosen. None after saying why there is none."""
    words = run_words(evaluate.runs(workspace))
    scored = [run for run in words if workspace.has_part("scores", run)]
    run = (scored or list(words))[0]
    if len(words) > 1:
        help = "The newest first."
        run = _state.selectbox("Run", list(words), "run", run, 420, words=words.__getitem__, help=help)
    try:
        return read_run(stamp(workspace, *TABLES), run)
    except CarsError as error:
        show_error(error)
        if not busy and st.button("Score this run"):
            submit(workspace, "report", {"run": run})
            st.rerun()
    return None


workspace = current()
st.title("Gains")
if not workspace.has("films"):
    empty("There are no films in this workspace yet.", "overview", "Read a data set on the page Overview")
else:
    st.write("Whether the added films helped: the same backbones with and without them, on untouched test patients.")
    busy = watch(workspace, "finetune", "report", "space")
    _state.place_for_notices()
    scored = workspace.has("scores")
    show_grid(workspace)
    controls(workspace, scored)
    if not scored:
        st.info(
            "There is no evidence yet. Train at least the arms real and real+cars, and the controls beside them; their "
            "scores appear here."
        )
        with reported():
            show_coverage(workspace)
    else:
        section = _state.segmented("Show", {name: words for name, (words, _) in SECTIONS.items()}, "part", "verdict")
        with reported():
            draw = SECTIONS[section][1]
            if draw is None:
                show_coverage(workspace)
            else:
                run = chosen_run(workspace, busy)
                if run is not None:
                    if section != "document":
                        cautions(run)
                    draw(workspace, run)
