"""One file on its way into a workspace, so that this process or another can take back what was not accepted.

It has a folder of its own beside all workspaces, where no tool reads, and where whatever a crash has left is found:

    .writing/XXXX/held    locked for as long as the process that writes is alive
    .writing/XXXX/new     the content, until it is placed
    .writing/XXXX/old     what stood at its place before, if anything did
    .writing/XXXX/note    which file was placed where; until it is accepted

The note is written before anything is changed: without one, nothing has been.

The lock is flock's: it goes with the process, however that ends, and on NFS it holds among machines.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

__all__ = ["Note", "Stamp", "Writing", "stamp_of", "writings_folder"]

Stamp = tuple[int, int]


def writings_folder(workspace: Path) -> Path:
    """On the workspace's own file system, so that a file can be moved from here to there."""
    return workspace.parent / ".writing"


def stamp_of(path: Path) -> Stamp | None:
    """The same for one file wherever it is moved, another for what is written there later; None if nothing is there."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


@dataclass(frozen=True, slots=True)
class Note:
    """`made` are the folders that were missing above `name`, the innermost first; all are paths within the workspace."""

    workspace: str
    name: str
    sha256: str
    stamp: Stamp
    made: Sequence[str]


_NOTE = TypeAdapter(Note)


class Writing:
    """`new` is to be written before it is placed; `remove` must follow. All of it blocks, and raises OSError."""

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        self.new = folder / "new"
        self._old = folder / "old"
        self._note = folder / "note"
        self._lock: int | None = lock

    @classmethod
    def begin(cls, workspace: Path) -> Writing:
        """Makes nothing in the workspace."""
        writings = writings_folder(workspace)
        writings.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            folder = Path(tempfile.mkdtemp(dir=writings))
            lock = _hold(folder)
            if lock is not None:
                return cls(folder, lock)
            # Another process took it for abandoned in the moment before it was locked, and removes it.

    @classmethod
    def left(cls, workspaces: Path) -> Iterator[Writing]:
        """Those whose process has ended, each from now on held by this one."""
        writings = writings_folder(workspaces / "any")
        with contextlib.suppress(FileNotFoundError):
            for folder in writings.iterdir():
                lock = None
                with contextlib.suppress(OSError):  # none of ours, or a disk that fails: it is found again
                    lock = _hold(folder)
                if lock is not None:
                    yield cls(folder, lock)

    def place(self, workspace: Path, name: str, *, sha256: str, made: Sequence[Path]) -> Stamp:
        """Moves `new` to its place; what `made` names is made, and what is there is put aside."""
        target = workspace / name
        # An entry that is older than this moment tells of another content: whoever reads the entry, then the file, sees
        # that they do not belong together.
        now = time.time_ns()
        os.utime(self.new, ns=(now, now))
        stamp = stamp_of(self.new)
        assert stamp is not None  # noqa: S101 - it is ours, and is there
        note = Note(workspace.name, name, sha256, stamp, [folder.relative_to(workspace).as_posix() for folder in made])
        self._note.write_bytes(_NOTE.dump_json(note))
        target.parent.mkdir(parents=True, exist_ok=True)
        self._put_aside(target)
        # A rename replaces a symbolic link at the target instead of following it.
        os.replace(self.new, target)
        for folder in dict.fromkeys((target.parent, *(each.parent for each in made))):
            _sync(folder)
        return stamp

    def note(self) -> Note | None:
        """None: nothing has been placed, or it has been accepted."""
        try:
            return _NOTE.validate_json(self._note.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            return None  # broken off in its middle: that is before anything is placed

    def accept(self) -> None:
        """What was placed stays, and what it has replaced is gone for good."""
        self._note.unlink(missing_ok=True)

    def take_back(self, workspace: Path) -> None:
        """Gives back what stood there before, unless others have put something there meanwhile."""
        note = self.note()
        if note is None:
            return
        target = workspace / note.name
        # Without hard links nothing stands there for a moment.
        if target.parent.is_dir() and stamp_of(target) in (note.stamp, None):
            try:
                os.replace(self._old, target)
            except FileNotFoundError:
                target.unlink(missing_ok=True)
        for folder in note.made:
            with contextlib.suppress(OSError):  # it was never made, or others have put something there
                (workspace / folder).rmdir()
        self._note.unlink()

    def remove(self) -> None:
        """Its own folder. What cannot be removed is found again."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """From now on it may be settled by whoever finds it, as if this process had ended."""
        if self._lock is not None:
            lock, self._lock = self._lock, None
            os.close(lock)

    def _put_aside(self, target: Path) -> None:
        try:
            os.link(target, self._old)  # the old file is seen until the new one takes its place
        except FileNotFoundError:
            return
        except OSError:
            os.replace(target, self._old)  # not every file system has hard links


def _hold(folder: Path) -> int | None:
    """Lock the folder; None: another holds it, or has just removed it."""
    file = folder / "held"
    try:
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), file.stat()):
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass  # held, or locked when it was no longer there
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


def _sync(folder: Path) -> None:
    """What was moved there is there after a power cut too."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # not every file system can
            os.fsync(handle)
    finally:
        os.close(handle)
