"""What a process takes of the machine from a moment on. Linux only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["Usage"]

RESET_PEAK: Final = "5"
"""proc_pid_clear_refs(5)."""


class Usage:
    """From when it is made. The kernel keeps the peak of memory (`VmHWM`), so none is missed between two looks."""

    def __init__(self, pid: int | str = "self") -> None:
        self._folder = Path(f"/proc/{pid}")
        (self._folder / "clear_refs").write_text(RESET_PEAK)
        self._before_mib = self._mib("VmRSS")
        self._before_seconds = self._seconds()

    @property
    def grown_mib(self) -> float:
        """The most resident memory, above what there was first; 0 where it has only shrunk."""
        return max(0.0, self._mib("VmHWM") - self._before_mib)

    @property
    def busy_seconds(self) -> float:
        """Of processors, by all its threads, in user and system."""
        return self._seconds() - self._before_seconds

    def _mib(self, name: str) -> float:
        for line in (self._folder / "status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError(f"the kernel does not tell {name}")

    def _seconds(self) -> float:
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
