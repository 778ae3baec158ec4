"""A real `playcall dashboard`, as a process of its own, at home in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

__all__ = ["DashboardProcess", "DashboardStartError"]

START_SECONDS: Final = 90.0
STOP_SECONDS: Final = 20.0
"""A machine may be busy."""
_ADDRESS: Final = re.compile(r"http://127\.0\.0\.1:\d+")
_RESET_PEAK: Final = "5"
"""proc_pid_clear_refs(5)."""


class DashboardStartError(Exception):
    """It ended, or named no address in time; the message ends with what it wrote."""


class DashboardProcess:
    """Runs within `with`. It knows the backend by what a user would set: the two variables.

    Args:
        folder: Its home, with the log of what it writes; must exist.
        backend_url: Of a backend that need not be there.
    """

    def __init__(self, folder: Path, backend_url: str, api_key: str) -> None:
        self._folder = folder
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PLAYCALL_", "STREAMLIT_"))},
            "HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "PLAYCALL_URL": backend_url,
            "PLAYCALL_API_KEY": api_key,
            "PYTHONUNBUFFERED": "1",
        }
        self._api_key = api_key
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        with self._log_path.open("ab") as output:
            # In our process group: a terminal's Ctrl-C and hang-up reach it even when nothing closes it.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "playcall", "dashboard", "--port=0"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self._environment, cwd=self._folder,
            )  # fmt: skip
        try:
            self.url = self._announced(self._process)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """As Ctrl-C in its terminal does it; by force if that is not enough."""
        processes = self.processes
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            for pid in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()

    def kill(self) -> None:
        """SIGKILL, of the command alone."""
        assert self._process is not None, "it does not run"
        self._process.kill()
        self._process.wait()

    @property
    def log(self) -> str:
        """What it wrote so far, the key left out."""
        return self.raw_log.replace(self._api_key, "[the API key]")

    @property
    def raw_log(self) -> str:
        """As it stands: only to be looked at for what must not be in it."""
        return self._log_path.read_text(errors="replace")

    @property
    def processes(self) -> list[int]:
        """Of the command and of all that it started; Linux only."""
        found = [] if self._process is None else [self._process.pid]
        for pid in found:
            try:
                found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            except FileNotFoundError:
                pass  # it has ended meanwhile
        return found

    @property
    def command_lines(self) -> list[str]:
        """What anybody on the machine sees of them."""
        return [Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") for pid in self.processes]

    def forget_peak(self) -> None:
        """The peak of memory is counted anew from here on."""
        for pid in self.processes:
            Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)

    def memory_mib(self, name: str = "VmHWM") -> float:
        """Of all its processes: the kernel's peak (`VmHWM`), or what is resident now (`VmRSS`)."""
        total = 0
        for pid in self.processes:
            found = re.search(rf"^{name}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
            total += 0 if found is None else int(found[1])
        return total / 1024

    @property
    def _log_path(self) -> Path:
        return self._folder / "dashboard.log"

    def _announced(self, process: subprocess.Popen[bytes]) -> str:
        give_up_at = time.monotonic() + START_SECONDS
        while True:
            if found := _ADDRESS.search(self.log):
                return found[0]
            if process.poll() is not None or time.monotonic() > give_up_at:
                how = "named no address" if process.poll() is None else f"ended with status {process.returncode}"
                raise DashboardStartError(f"playcall dashboard {how}; it wrote:\n{self.log[-4_000:]}")
            time.sleep(0.02)
