"""`files.list`, `files.read`, `files.write`: the run's own workspace, and reading under the server's read roots."""

from __future__ import annotations

import json
import os
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ...models import JsonObject
from .context import ToolContext, printable
from .decoding import text_from
from .definition import Parameters, tool
from .failure import ToolFailure

__all__ = ["files_list", "files_read", "files_write"]


class ListParameters(Parameters):
    path: str = "."
    pattern: Annotated[str, Field(max_length=500)] = "*"
    recursive: bool = False
    limit: Annotated[int, Field(ge=1, le=10_000)] = 1_000


@tool("files.list", ListParameters)
async def files_list(parameters: ListParameters, context: ToolContext) -> JsonObject:
    """Lists the files of a folder, by name pattern, with their sizes."""
    return await context.in_thread(_list, parameters, context)


def _list(parameters: ListParameters, context: ToolContext) -> JsonObject:
    folder = context.readable(parameters.path)
    if not folder.is_dir():
        raise ToolFailure("not_a_folder", f"{parameters.path!r} is not a folder")
    private = context.private()
    found: list[JsonObject] = []
    truncated = False
    for directory, folders, names in os.walk(folder):
        context.check_stopped()
        folders[:] = sorted(name for name in folders if Path(directory, name) not in private)
        if not parameters.recursive:
            folders.clear()
        for name in sorted(names):
            path = Path(directory, name)
            # Symbolic links are left out: where they lead is not this folder's.
            if not fnmatch(name, parameters.pattern) or path.is_symlink():
                continue
            if len(found) == parameters.limit:
                truncated = True
                break
            try:
                size = path.stat().st_size
            except OSError:
                continue  # gone since it was listed
            found.append({"path": printable(path.relative_to(folder).as_posix()), "size_bytes": size})
        if truncated:
            break
    return {"files": found, "count": len(found), "truncated": truncated}


class ReadParameters(Parameters):
    path: str
    encoding: str = "utf-8"


@tool("files.read", ReadParameters)
async def files_read(parameters: ReadParameters, context: ToolContext) -> JsonObject:
    """Reads a text file."""

    def read() -> JsonObject:
        _, raw = context.read_bytes(parameters.path)
        try:
            text = text_from(raw, parameters.encoding)
        except LookupError:
            raise ToolFailure("parameters_invalid", f"no encoding is called {parameters.encoding!r}") from None
        except UnicodeError:
            raise ToolFailure("not_text", f"{parameters.path!r} is not {parameters.encoding} text") from None
        return {"path": parameters.path, "text": text, "size_bytes": len(raw)}

    return await context.in_thread(read)


class WriteParameters(Parameters):
    path: str
    content: Any
    media_type: str | None = None


@tool("files.write", WriteParameters)
async def files_write(parameters: WriteParameters, context: ToolContext) -> JsonObject:
    """Writes a file of the run's workspace, which becomes an artifact; what is not text is written as JSON."""
    content = parameters.content
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=2) + "\n"
    file = await context.in_thread(
        context.write_bytes, parameters.path, text.encode(), media_type=parameters.media_type
    )
    return {"artifact": file.name, "size_bytes": file.size_bytes, "sha256": file.sha256, "media_type": file.media_type}
