"""Profiles: which backends, with which keys. A file that `playcall login` writes:

    current = "default"

    [profiles."default"]
    url = "https://playbooks.example"
    api_key = "pk_…"
    api_key_id = "key_…"

The last is there only of a key that login made, so that logout can revoke it.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
import tempfile
import tomllib
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final, cast

from ..errors import ConfigurationError

__all__ = ["DEFAULT_PROFILE", "Profile", "Profiles", "changed", "check_name", "config_path", "load", "save"]

DEFAULT_PROFILE: Final = "default"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_HEAD: Final = "# Written by playcall login and logout. It holds secrets, so nobody else may read it.\n"


@dataclass(frozen=True, slots=True)
class Profile:
    """A backend and a key for it. `api_key_id` names a key that login made, None for one that was given to it."""

    url: str
    api_key: str = field(repr=False)
    api_key_id: str | None = None


@dataclass(frozen=True, slots=True)
class Profiles:
    """What the file holds. `current` names the profile that is taken where none is named."""

    by_name: Mapping[str, Profile] = field(default_factory=dict[str, Profile])
    current: str | None = None

    def with_(self, name: str, profile: Profile) -> Profiles:
        """With this one, which is the current one from then on."""
        return Profiles({**self.by_name, name: profile}, name)

    def without(self, name: str) -> Profiles:
        left = {each: profile for each, profile in self.by_name.items() if each != name}
        return Profiles(left, self.current if self.current in left else next(iter(left), None))


def config_path() -> Path:
    """`PLAYCALL_CONFIG`, else `playcall/config.toml` where the XDG base directory specification has configuration.

    Raises:
        ConfigurationError: there is neither that nor a home folder.
    """
    named = os.environ.get("PLAYCALL_CONFIG")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CONFIG_HOME")
    # «All paths must be absolute; others are to be ignored» (XDG base directory specification).
    if base and Path(base).is_absolute():
        return Path(base) / "playcall" / "config.toml"
    try:
        return Path.home() / ".config" / "playcall" / "config.toml"
    except RuntimeError:
        raise ConfigurationError("there is no home folder for profiles: set PLAYCALL_CONFIG to a file") from None


def load() -> Profiles:
    """What is stored; nothing where there is no file.

    Raises:
        ConfigurationError: others may read it, or it cannot be read or understood. The message holds nothing of it.
    """
    path = config_path()
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            # Whose a pipe or a device is, its mode does not say.
            if os.name == "posix" and stat.S_ISREG(mode) and mode & _OTHERS:
                raise ConfigurationError(
                    f"{path} holds secrets, and others may use it (mode {stat.S_IMODE(mode):04o}): chmod 600 {path}"
                )
            read = tomllib.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return Profiles()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at .*\)$", str(error))
        raise ConfigurationError(f"{path} is not TOML{f' {place[0]}' if place else ''}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not UTF-8 text") from None
    return _understood(read, path)


def _understood(read: Mapping[str, object], path: Path) -> Profiles:
    tables = read.get("profiles", {})
    current = read.get("current")
    unknown = sorted(read.keys() - {"profiles", "current"})
    if unknown or not isinstance(tables, dict) or not (current is None or isinstance(current, str)):
        raise ConfigurationError(f"{path} has {unknown[0] if unknown else 'current or profiles'!r} where none belongs")
    by_name: dict[str, Profile] = {}
    known = {each.name for each in fields(Profile)}
    for name, table in cast("dict[str, object]", tables).items():
        entries = cast("dict[str, object]", table) if isinstance(table, dict) else {}
        texts = {key: value for key, value in entries.items() if isinstance(value, str)}
        if texts.keys() != entries.keys() or not {"url", "api_key"} <= texts.keys() <= known:
            raise ConfigurationError(f"{path}: profile {name!r} needs url and api_key, and may have api_key_id")
        by_name[name] = Profile(**texts)
    if current is not None and current not in by_name:
        raise ConfigurationError(f"{path}: current names {current!r}, which is no profile in it")
    return Profiles(by_name, current)


def changed(change: Callable[[Profiles], Profiles]) -> Profiles:
    """Reads, changes and writes the file as one act: of two commands at once neither undoes what the other did.

    Args:
        change: Makes what is to be stored of what is; where it raises, nothing is written. It is to be quick, for others
            wait.

    Returns:
        What was stored before.

    Raises:
        ConfigurationError: as `load` and `save`.
    """
    with _locked():
        before = load()
        save(change(before))
    return before


@contextmanager
def _locked() -> Generator[None]:
    """Waits for whoever else changes the file. The lock is on a file of its own: the other one is replaced by each change."""
    path = _real_path()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _real_path() -> Path:
    """A link is followed: people keep such files elsewhere, and link to them."""
    return Path(os.path.realpath(config_path()))


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"{path} cannot be written: {(error.strerror or str(error)).lower()}")


def save(profiles: Profiles) -> Path:
    """Writes the file anew, in one move: whoever reads meanwhile finds the old or the new. Gives its path.

    Raises:
        ConfigurationError: it cannot be written.
    """
    path = _real_path()
    if path.exists() and not path.is_file():
        raise ConfigurationError(f"{path} cannot be written: it is no regular file")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, new = tempfile.mkstemp(prefix=".config-", dir=path.parent)  # 0600 from its beginning
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(_written(profiles))
                file.flush()
                os.fsync(file.fileno())
            Path(new).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(new).unlink()
            raise
    except OSError as error:
        raise _unwritable(path, error) from None
    return path


def check_name(name: str) -> str:
    """Raises: ConfigurationError: it cannot name a profile."""
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"a profile's name is up to 64 letters, digits, '_', '.' and '-', got {name!r}")
    return name


def _written(profiles: Profiles) -> str:
    said = [_HEAD]
    if profiles.current is not None:
        said.append(f"current = {_quoted(profiles.current)}\n")
    for name, profile in profiles.by_name.items():
        said.append(f"\n[profiles.{_quoted(name)}]\n")
        for each in fields(Profile):
            value: str | None = getattr(profile, each.name)
            if value is not None:
                said.append(f"{each.name} = {_quoted(value)}\n")
    return "".join(said)


def _quoted(text: str) -> str:
    """A basic string of TOML: JSON's, which leaves DEL as it is where TOML wants it escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
