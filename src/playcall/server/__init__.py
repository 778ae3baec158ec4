"""The backend: FastAPI over one database, with an event log that is written in the transaction of the change itself.

Imports `playcall.models` and nothing else of the package. `app.create_app` makes the application, `serve.serve` runs it.
"""
