"""The system's Chromium, which the tests drive the dashboard in: Playwright brings none of its own here.

`python -m tests.chromium` says which one it is; with `--install` it gets Debian's where there is none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["VARIABLE", "ChromiumMissingError", "find_chromium", "install_chromium", "launch_arguments"]

VARIABLE: Final = "PLAYCALL_CHROMIUM"
"""Names the program, where it is to be another one than the first on the PATH."""
NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
ANSWER_SECONDS: Final = 60.0
"""A machine may be busy."""
LOCKED: Final = ("could not get lock", "unable to acquire the dpkg", "unable to lock directory")
"""How apt-get says that somebody else is installing something."""
LOCK_TRIES: Final = 30
LOCK_PAUSE_SECONDS: Final = 10.0


class ChromiumMissingError(Exception):
    """There is none, or it does not start; the message says what was looked for, and what to do."""


def find_chromium() -> Path:
    """A Chromium, or Chrome, that starts.

    Raises:
        ChromiumMissingError: There is none.
    """
    if given := os.environ.get(VARIABLE):
        found = shutil.which(given)
        if found is None:
            raise ChromiumMissingError(f"{VARIABLE} names {given}, which is no program")
        if trouble := _trouble_with(found):
            raise ChromiumMissingError(f"{found}, named by {VARIABLE}, does not start: {trouble}")
        return Path(found)
    troubles: list[str] = []
    for name in NAMES:
        if found := shutil.which(name):
            # Not enough to be there: a distribution may bring a script that only says what to install instead.
            trouble = _trouble_with(found)
            if not trouble:
                return Path(found)
            troubles.append(f"{found} does not start: {trouble}")
    said = "; ".join(troubles) or f"none of {', '.join(NAMES)} is on the PATH"
    raise ChromiumMissingError(f"{said}. Install Debian's package `chromium`, or name the program in {VARIABLE}")


def install_chromium() -> None:
    """Debian's package, by apt-get, as root or with a `sudo` that asks for no password.

    Raises:
        ChromiumMissingError: It could not be installed.
    """
    apt_get = shutil.which("apt-get")
    if apt_get is None:
        raise ChromiumMissingError(f"there is no apt-get to install it with; name a Chromium in {VARIABLE}")
    as_root = _as_root()
    _run([*as_root, apt_get, "--quiet", "update"])
    options = ["--quiet", "--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"]
    # `env`, as sudo drops the variable. fonts-dejavu: without any font a page has no letters.
    install = ["env", "DEBIAN_FRONTEND=noninteractive", apt_get, "install", *options, "chromium", "fonts-dejavu-core"]
    _run([*as_root, *install])


def launch_arguments() -> list[str]:
    """What it must be told here: as root it refuses its sandbox, and a container's /dev/shm is small."""
    return ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.getuid() == 0 else [])]


def _trouble_with(program: str) -> str:
    """Why it does not start; empty if it does."""
    try:
        ran = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if ran.returncode == 0 and ran.stdout.strip():
        return ""
    return (ran.stderr or ran.stdout).strip() or f"exit status {ran.returncode}"


def _as_root() -> list[str]:
    if os.getuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0:
        return [sudo, "-n"]
    raise ChromiumMissingError("installing it takes root, or a sudo that asks for no password")


def _run(command: Sequence[str]) -> None:
    """Once more, after a pause, as long as somebody else holds the lock of the packages."""
    for attempt in range(1, LOCK_TRIES + 1):
        ran = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if ran.returncode == 0:
            return
        said = (ran.stderr or ran.stdout).strip()
        if attempt == LOCK_TRIES or not any(word in said.lower() for word in LOCKED):
            raise ChromiumMissingError(f"{' '.join(command)} ended with status {ran.returncode}:\n{said[-2_000:]}")
        print(f"somebody else is installing packages; waiting ({said.splitlines()[0]})", file=sys.stderr, flush=True)
        time.sleep(LOCK_PAUSE_SECONDS)


def main(arguments: Sequence[str]) -> None:
    if set(arguments) - {"--install"}:
        sys.exit("usage: python -m tests.chromium [--install]")
    try:
        try:
            found = find_chromium()
        except ChromiumMissingError:
            if "--install" not in arguments or VARIABLE in os.environ:
                raise
            print("Chromium for the tests: none is here; installing Debian's", flush=True)
            install_chromium()
            found = find_chromium()
    except ChromiumMissingError as error:
        sys.exit(f"Chromium for the tests: {error}")
    print(f"Chromium for the tests: {found}")


if __name__ == "__main__":
    main(sys.argv[1:])
