"""A new file of a workspace: where it may be, and how it comes there, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Self

from .failure import ToolFailure
from .media_type import guessed_media_type, is_media_type
from .writing import Stamp, Writing, stamp_of

__all__ = ["NewFile", "WrittenFile", "refuse_odd"]

_UNNAMEABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffd]")
"""What breaks lines, cannot be stored, or stands for bytes that were no text."""
_MAX_PATH_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file that was written; `name` is its path within the workspace, with `/`.

    `stamp` tells it from what may be written at the same place later.
    """

    name: str
    media_type: str
    size_bytes: int
    sha256: str
    stamp: Stamp

    def stands_in(self, workspace: Path) -> bool:
        """Whether it is still at its place, and not replaced."""
        return stamp_of(workspace / self.name) == self.stamp


class NewFile:
    """A file that is written out of sight, then moved to its place; what is not kept in the end is taken back.

        with NewFile(workspace, "out/a.txt", max_bytes=limit) as file:
            file.write(content)      # as often as there are pieces
            file.place()             # from here on others see it
            file.keep()              # without this, leaving the block gives back what was there before

    If the process dies before `keep`, the next one decides (`playcall.server.upkeep.unfinished`). The workspace itself is made
    when it is needed, and stays.

    All of it blocks. What raises ToolFailure says `path_refused`, `parameters_invalid` (the media type) or `too_large`;
    the rest are the system's errors.
    """

    def __init__(self, workspace: Path, path: str, *, max_bytes: int, media_type: str | None = None) -> None:
        """Touches nothing yet. Raises: ToolFailure."""
        refuse_odd(path)
        if Path(path).is_absolute():
            raise ToolFailure("path_refused", f"{path!r} is absolute: files are written in the run's workspace only")
        if _UNNAMEABLE.search(path):
            raise ToolFailure("path_refused", f"{path!r} is refused: it has control characters, or was not UTF-8")
        if media_type is not None and not is_media_type(media_type):
            raise ToolFailure("parameters_invalid", f"{media_type!r} is not a media type")
        self.name = PurePosixPath(*Path(path).parts).as_posix()
        if self.name in ("", "."):
            raise ToolFailure("path_refused", "a file needs a name")
        self._workspace = workspace
        self._media_type = media_type
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()
        self._size_bytes = 0
        self._open: IO[bytes] | None = None
        self._writing: Writing | None = None
        self._kept = False

    @property
    def sha256(self) -> str:
        """Of what was written so far, in hexadecimal."""
        return self._digest.hexdigest()

    @property
    def size_bytes(self) -> int:
        """Of what was written so far."""
        return self._size_bytes

    def open(self) -> Self:
        """Begins; `close()` must follow. Raises: OSError: there is nothing to close."""
        self._writing = Writing.begin(self._workspace)
        try:
            self._open = self._writing.new.open("xb")
        except OSError:
            self.close()
            raise
        return self

    def write(self, piece: bytes) -> None:
        """Raises: ToolFailure: `too_large`. OSError."""
        assert self._open is not None  # noqa: S101 - it was opened, and not finished
        self._size_bytes += len(piece)
        if self._size_bytes > self._max_bytes:
            raise ToolFailure("too_large", f"{self.name!r} would have more than {self._max_bytes} bytes")
        self._digest.update(piece)
        self._open.write(piece)

    def finish(self) -> None:
        """Everything has been written: what the disk has no room for is known now. Raises: OSError."""
        if self._open is not None:
            self._open.flush()
            os.fsync(self._open.fileno())
            self._close_content()

    def place(self) -> WrittenFile:
        """Moves it to its place. Raises: ToolFailure: `path_refused`. OSError."""
        self.finish()
        assert self._writing is not None  # noqa: S101 - it was opened
        self._workspace.mkdir(parents=True, exist_ok=True)
        workspace = self._workspace.resolve()
        target = workspace / self.name
        # The nearest folder that exists must be the workspace's own before anything is made under it.
        standing = target.parent
        while not standing.exists() and not standing.is_symlink():
            standing = standing.parent
        if not standing.resolve().is_relative_to(workspace):
            raise ToolFailure("path_refused", f"{self.name!r} leads out of the run's workspace")
        if target.is_dir() and not target.is_symlink():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
        missing = [folder for folder in target.parents if folder.is_relative_to(standing) and folder != standing]
        stamp = self._writing.place(workspace, self.name, sha256=self.sha256, made=missing)
        kind = self._media_type or guessed_media_type(self.name)
        return WrittenFile(self.name, kind, self._size_bytes, self.sha256, stamp)

    def keep(self) -> None:
        """It stays. What it has replaced is gone for good."""
        self._kept = True
        if self._writing is not None:
            with contextlib.suppress(OSError):  # the next start sees that it was accepted
                self._writing.accept()

    def close(self) -> None:
        """Takes back what was not kept, as often as it is called. Raises: OSError: the old file could not be given back.

        Then the next start tries again.
        """
        with contextlib.suppress(OSError):  # a full disk, most likely; it goes anyway
            self._close_content()
        if self._writing is not None:
            if not self._kept:
                self._writing.take_back(self._workspace)
            self._writing.remove()
            self._writing = None

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _close_content(self) -> None:
        if self._open is not None:
            content, self._open = self._open, None
            content.close()


def refuse_odd(path: str) -> None:
    """Raises: ToolFailure: `path_refused`, whatever is there."""
    if not path or len(path) > _MAX_PATH_CHARACTERS or "\0" in path or ".." in Path(path).parts or "\\" in path:
        raise ToolFailure(
            "path_refused",
            f"{path[:_MAX_PATH_CHARACTERS]!r} is refused: no empty or endless path, no '..', no backslash, no NUL",
        )
