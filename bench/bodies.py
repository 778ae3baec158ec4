"""What goes over the wire in the comparisons, and the model that everybody reads it into."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Final

from pydantic import BaseModel

__all__ = ["ITEM_JSON", "KEY", "LARGE_BYTES", "NEW", "PAGE_ITEMS", "PAGE_JSON", "Item", "Page"]


class Owner(BaseModel):
    id: str
    name: str


class Item(BaseModel):
    id: str
    name: str
    description: str
    version: int
    tags: list[str]
    owner: Owner
    created_at: datetime
    updated_at: datetime
    settings: dict[str, int | str | bool]


class Page(BaseModel):
    items: list[Item]
    next: str | None


_ITEM: Final = {
    "id": "pbk_01hq3v5f8k2m9x7r4t6w",
    "name": "Quarterly report",
    "description": "Collects the figures of all branches, checks them and writes the report.",
    "version": 7,
    "tags": ["finance", "report", "quarterly"],
    "owner": {"id": "usr_01hq3v5f8k", "name": "Ada Lovelace"},
    "created_at": "2026-03-01T09:30:00.123456Z",
    "updated_at": "2026-11-02T17:05:12.654321Z",
    "settings": {"max_agents": 4, "language": "en", "notify": True},
}
ITEM_JSON: Final = json.dumps(_ITEM, separators=(",", ":")).encode()
NEW: Final = Item.model_validate_json(ITEM_JSON)
KEY: Final = "key_0123456789abcdef"
PAGE_ITEMS: Final = 1_000
PAGE_JSON: Final = b'{"items":[' + b",".join([ITEM_JSON] * PAGE_ITEMS) + b'],"next":null}'
LARGE_BYTES: Final = 10_000_000
