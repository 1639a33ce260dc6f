"""Coverage, the map: films laid out by similarity; a choice shows films and those nearest to them."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from cars import plots, schema
from cars.workspace import Workspace
from pages._common import film_grid, reported, source_name, stamp, submit


@st.cache_data(max_entries=4, show_spinner="Reading the map")
def points(key: tuple[str, ...]) -> pd.DataFrame:
    from cars import embed

    return embed.map_points(Workspace(key[0]), plots.MOST_POINTS)


def show_map(workspace: Workspace) -> None:
    """The map of films; a box, a lasso or a click shows films and those nearest to them."""
    if not workspace.has("map"):
        st.info("There is no map yet: the films have not been embedded.")
        if st.button("Embed the films", type="primary"):
            submit(workspace, "embed", {})
            st.rerun()
        return
    frame = points(stamp(workspace, "map", "films", "edits"))
    names = ("view", "sex", "age_band", "race", "split", "origin", *schema.FINDING_OF)
    choices = {name: schema.FINDING_OF.get(name, name.replace("_", " ")) for name in names if name in frame}
    colour = st.selectbox("Colour by", list(choices), format_func=choices.get, key="map-colour", width=260)
    figure = plots.film_map(frame, colour, source=source_name(workspace))
    drawn = st.plotly_chart(figure, key="map-figure", on_select="rerun", theme=None)
    ids = [point["customdata"] for point in drawn["selection"]["points"] if point.get("customdata")]
    ids = [value[0] if isinstance(value, list) else value for value in ids]
    if not ids:
        st.caption("Draw around some points, or click one, to see their films.")
        return
    st.markdown(f"**{len(ids):,} chosen films**")
    film_grid(workspace, ids)
    with reported():
        from cars import index

        near = index.nearest(workspace, ids[:20], 12).sort_values("similarity", ascending=False)
        others = near[~near["dicom_id"].isin(ids)]["dicom_id"].drop_duplicates()
        st.markdown("**Nearest other films**")
        film_grid(workspace, list(others.head(12)))
