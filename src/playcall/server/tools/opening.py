"""Opening a file that was looked at before: whoever swaps a link in meanwhile gains nothing by it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

__all__ = ["open_real"]


def open_real(real: Path) -> IO[bytes]:
    """Opens a regular file by its real path, which no link is part of: one that has come since is not followed.

    Raises:
        OSError: as `open`; ELOOP or ENOTDIR where there is a link now, and EINVAL for what is no regular file.
    """
    descriptor = _walk(real)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(real))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _walk(real: Path) -> int:
    folder = os.open(real.anchor, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in real.parts[1:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        # A pipe that nobody writes to would be waited for.
        return os.open(real.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)
