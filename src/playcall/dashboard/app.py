"""What `streamlit run` is given: the server. What it shows is `pages/frame.py`, run anew for every browser and click.

An `st.App` rather than the script itself, because it takes routes of our own: artifacts go from a file to the browser by
`files.py`, while Streamlit's download button keeps what it offers in memory.
"""

from __future__ import annotations

import logging
from pathlib import Path

import streamlit as st

from playcall.dashboard.errors_shown import show_uncaught
from playcall.dashboard.files import artifact_route
from playcall.dashboard.tied import tie
from playcall.dashboard.warming import warm

__all__ = ["app"]

tie()
logging.getLogger("playcall.dashboard").addHandler(logging.StreamHandler())
app = st.App(
    Path(__file__).parent / "pages" / "frame.py",
    routes=[artifact_route()],
    lifespan=warm,
    on_script_error=show_uncaught,
)
