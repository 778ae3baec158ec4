"""The dashboard: a Streamlit application on the blocking client. It needs the extra `dashboard`.

`playcall dashboard` runs `app.py` by Streamlit, in a process of its own. Pages are in `pages/`, and most of what they are
made of is beside them: models that events keep current, forms, views and tables. What decides something (`*_model.py`,
`*_form.py`, `finding.py`, `gantt.py`, `collection.py`, `following.py` and others) does not import Streamlit.
"""
