"""The app: a login where one is configured, the workspace, the pages. Run it with `cars app --workspace DIR`."""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st
from PIL import Image

from cars import jobs, serve, stages
from cars.errors import CarsError
from cars.workspace import Workspace
from pages._common import show_error


def icon() -> Image.Image:
    """A dark film with a bright square, 32 by 32 pixels."""
    picture = Image.new("RGB", (32, 32), "#1F2933")
    picture.paste("#56B4E9", (8, 8, 24, 24))
    return picture


if serve.has_login() and not st.user.is_logged_in:
    st.title("CARS")
    st.button("Log in", on_click=st.login, type="primary")
    st.stop()

home = Path(os.environ.get("CARS_WORKSPACE") or "workspace").absolute()
beside = stages.near(home)
asked = st.query_params.get("workspace")
if asked and st.session_state.get("workspace-asked") != asked:
    # a link names a workspace beside the server's own; one elsewhere is given by its path
    st.session_state["workspace-asked"] = asked
    st.session_state["workspace"] = str(next((path for path in beside if path.name == asked), Path(asked).absolute()))
start = st.session_state.get("workspace", str(home))
with st.sidebar:
    options = list(dict.fromkeys([str(home), *map(str, beside), start]))
    chosen = st.selectbox(
        "Workspace",
        options,
        options.index(start),
        format_func=lambda path: Path(path).name,
        accept_new_options=True,
        help="A folder with films, tables and results. Choose one beside it, or type a path.",
    )
st.session_state["workspace"] = chosen or str(home)
# the address keeps the name only: a server's paths are nobody's business
known = Path(st.session_state["workspace"])
if known != home and known in beside:
    st.session_state["workspace-asked"] = st.query_params["workspace"] = known.name
elif "workspace" in st.query_params:
    del st.query_params["workspace"]

page = st.navigation(
    [
        st.Page("pages/overview.py", title="Overview", default=True),
        st.Page("pages/coverage.py", title="Coverage"),
        st.Page("pages/synthesise.py", title="Synthesise"),
        st.Page("pages/gains.py", title="Gains"),
        st.Page("pages/export.py", title="Export"),
        st.Page("pages/jobs.py", title="Jobs"),
    ]
)
# pages have no icon of their own: the browser would fetch it from a server outside as the tab's icon
st.set_page_config(page_title=f"CARS · {page.title}", page_icon=icon(), layout="wide")
try:
    jobs.ensure_worker(Workspace.open(st.session_state["workspace"]))
except CarsError as error:
    show_error(error)
else:
    page.run()
