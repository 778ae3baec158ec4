"""A new file of a workspace: where it may be, and how it comes there, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import mimetypes
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Self

from .failure import ToolFailure

__all__ = ["HIDDEN_PREFIX", "NewFile", "WrittenFile", "refuse_odd"]

HIDDEN_PREFIX = ".writing-"
"""Of what is on its way: lists of files leave it out."""

_MEDIA_TYPE = re.compile(r"[\w.+-]{1,90}/[\w.+-]{1,90}(?:; ?charset=[\w-]{1,20})?", re.ASCII)
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
    stamp: tuple[int, int]

    def stands_in(self, workspace: Path) -> bool:
        """Whether it is still at its place, and not replaced."""
        return _stamp(workspace / self.name) == self.stamp


class NewFile:
    """A file that is written out of sight, then moved to its place; what is not kept in the end is taken back.

        with NewFile(workspace, "out/a.txt", max_bytes=limit) as file:
            file.write(content)      # as often as there are pieces
            file.place()             # from here on others see it
            file.keep()              # without this, leaving the block gives back what was there before

    All of it blocks. What raises ToolFailure says `path_refused`, `parameters_invalid` (the media type) or `too_large`;
    the rest are the system's errors.
    """

    def __init__(self, workspace: Path, path: str, *, max_bytes: int, media_type: str | None = None) -> None:
        """Touches nothing yet. Raises: ToolFailure."""
        refuse_odd(path)
        if Path(path).is_absolute():
            raise ToolFailure("path_refused", f"{path!r} is absolute: files are written in the run's workspace only")
        if media_type is not None and not _MEDIA_TYPE.fullmatch(media_type):
            raise ToolFailure("parameters_invalid", f"{media_type!r} is not a media type")
        self.name = PurePosixPath(*Path(path).parts).as_posix()
        if self.name in ("", "."):
            raise ToolFailure("path_refused", "a file needs a name")
        self._workspace = workspace
        self._media_type = media_type
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()
        self._size_bytes = 0
        self._made: list[Path] = []
        self._open: IO[bytes] | None = None
        self._hidden: Path | None = None
        self._aside: Path | None = None
        self._placed: WrittenFile | None = None

    @property
    def sha256(self) -> str:
        """Of what was written so far, in hexadecimal."""
        return self._digest.hexdigest()

    def open(self) -> Self:
        """Begins; `close()` must follow. Raises: OSError."""
        if not self._workspace.exists():
            self._workspace.mkdir(parents=True, exist_ok=True)
            self._made.append(self._workspace)
        self._workspace = self._workspace.resolve()
        handle, name = tempfile.mkstemp(prefix=HIDDEN_PREFIX, dir=self._workspace)
        self._open, self._hidden = os.fdopen(handle, "wb"), Path(name)
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
            self._open.close()
            self._open = None

    def place(self) -> WrittenFile:
        """Moves it to its place. Raises: ToolFailure: `path_refused`. OSError."""
        self.finish()
        assert self._hidden is not None  # noqa: S101 - it was opened
        target = self._workspace / self.name
        # The nearest folder that exists must be the workspace's own before anything is made under it.
        standing = target.parent
        while not standing.exists() and not standing.is_symlink():
            standing = standing.parent
        if not standing.resolve().is_relative_to(self._workspace):
            raise ToolFailure("path_refused", f"{self.name!r} leads out of the run's workspace")
        missing = [folder for folder in target.parents if folder.is_relative_to(standing) and folder != standing]
        self._made = [*missing, *self._made]
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir() and not target.is_symlink():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
        self._put_aside(target)
        stamp = _stamp(self._hidden)
        assert stamp is not None  # noqa: S101 - it is ours, and is there
        kind = self._media_type or mimetypes.guess_type(self.name)[0] or "application/octet-stream"
        # A rename replaces a symbolic link at the target instead of following it.
        os.replace(self._hidden, target)
        self._placed = WrittenFile(self.name, kind, self._size_bytes, self.sha256, stamp)
        return self._placed

    def keep(self) -> None:
        """It stays. What it has replaced is gone for good."""
        self._placed = None
        self._made.clear()
        if self._aside is not None:
            self._aside.unlink(missing_ok=True)
            self._aside = None

    def close(self) -> None:
        """Takes back what was not kept. Raises: OSError: the old file could not be given back."""
        with contextlib.suppress(OSError):  # a full disk, most likely; it goes anyway
            self.finish()
        target = self._workspace / self.name
        if self._placed is not None and self._placed.stands_in(self._workspace):
            if self._aside is None:
                target.unlink(missing_ok=True)
            else:
                os.replace(self._aside, target)
        for left in (self._hidden, self._aside):
            if left is not None:
                left.unlink(missing_ok=True)
        for folder in self._made:
            with contextlib.suppress(OSError):  # others have put something there
                folder.rmdir()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _put_aside(self, target: Path) -> None:
        assert self._hidden is not None  # noqa: S101 - it was opened
        aside = self._hidden.with_name(f"{self._hidden.name}-old")
        try:
            os.link(target, aside)  # the old file is seen until the new one takes its place
        except FileNotFoundError:
            return
        except OSError:
            os.replace(target, aside)  # not every file system has hard links
        self._aside = aside


def refuse_odd(path: str) -> None:
    """Raises: ToolFailure: `path_refused`, whatever is there."""
    if not path or len(path) > _MAX_PATH_CHARACTERS or "\0" in path or ".." in Path(path).parts or "\\" in path:
        raise ToolFailure(
            "path_refused",
            f"{path[:_MAX_PATH_CHARACTERS]!r} is refused: no empty or endless path, no '..', no backslash, no NUL",
        )


def _stamp(path: Path) -> tuple[int, int] | None:
    """The same for one file wherever it is moved; None if nothing is there."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
