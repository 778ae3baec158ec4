"""`python -m playcall.server.openapi` prints the OpenAPI document, in a form that compares line by line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from .app import create_app
from .settings import Settings
from .store.database import Database

__all__ = ["document_text"]


def document_text() -> str:
    """Sorted, indented, with a newline at its end; nothing is started or opened for it."""
    app = create_app(Settings(data_dir=Path()), Database.at("sqlite+aiosqlite:///unopened"), engine=None)
    return json.dumps(app.openapi(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document_text())
