"""The dashboard: a Streamlit application on the blocking client. It needs the extra `dashboard`.

`playcall dashboard` runs `app.py` by Streamlit, in a process of its own. Pages are in `pages/`; what they decide is in
modules beside them that do not import Streamlit.
"""
