"""The address of a PostgreSQL database: what is taken for one, and how it is shown without its password."""

from __future__ import annotations

from typing import Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from playcall.server.running.starting import StartupError

__all__ = ["postgresql_url", "shown"]

_EXAMPLE: Final = "postgresql://user:password@host/database"
_PARAMETERS: Final = frozenset(
    {
        "application_name", "host", "options", "port", "sslcert", "sslcrl", "sslkey", "sslmode", "sslnegotiation",
        "sslrootcert", "ssl_max_protocol_version", "ssl_min_protocol_version", "target_session_attrs",
    }
)  # fmt: skip
"""Those of libpq that both drivers know, the server's and the engine's."""


def postgresql_url(text: str) -> str:
    """The same with the driver that the server uses.

    Raises:
        StartupError: It is no such address, or of another kind of database. The text, which may hold a password, is not
            in the message.
    """
    scheme = text.strip().partition("://")[0].lower()
    try:
        url = make_url(text.strip())
    except (ArgumentError, ValueError):  # a port that is no number is the latter
        raise _not_understood() from None
    if "@" in (url.host or "") or "@" in (url.database or ""):
        raise _not_understood()  # a piece of the password, which would be taken for a name, and shown
    ports = url.query.get("port", "0")
    if not isinstance(ports, str) or not ports.isdecimal():
        raise _not_understood()
    kind, _, driver = scheme.partition("+")
    if kind == "sqlite":
        raise StartupError("--database-url takes PostgreSQL only; a SQLite database is in the folder given by --data")
    if kind not in ("postgresql", "postgres"):
        raise StartupError(f"{kind} is no database that playcall knows; --database-url takes {_EXAMPLE}")
    if driver not in ("", "asyncpg"):
        raise StartupError(
            f"the database URL asks for the driver {driver}, and the server has its own; begin it with postgresql://"
        )
    if not url.database:
        raise StartupError(f"the database URL names no database; it looks like {_EXAMPLE}")
    if not _PARAMETERS.issuperset(url.query):
        raise StartupError(
            f"the database URL has a parameter other than {', '.join(sorted(_PARAMETERS))}; leave it out"
        )
    return url.set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)


def _not_understood() -> StartupError:
    return StartupError(
        f"the database URL is not understood; it looks like {_EXAMPLE}, where the password has %40 for @, and %2F for /"
    )


def shown(url: str) -> str:
    """For people: the database and where it is, and nothing of who asks."""
    parsed: URL = make_url(url)
    where = parsed.host or parsed.query.get("host", "this machine")
    port = "" if parsed.port is None else f":{parsed.port}"
    return f"the database {parsed.database} at {where}{port}"
