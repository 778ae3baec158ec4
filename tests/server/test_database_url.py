"""What is taken for the address of a database, and that no message gives its password away."""

from __future__ import annotations

import pytest

from playcall.server.running.database_url import postgresql_url, shown
from playcall.server.running.starting import StartupError


@pytest.mark.parametrize(
    ("given", "taken", "named"),
    [
        ("postgresql://u:pw@h/db", "postgresql+asyncpg://u:pw@h/db", "the database db at h"),
        ("postgres://h:5433/db", "postgresql+asyncpg://h:5433/db", "the database db at h:5433"),
        ("postgresql+asyncpg://u@h/db\n", "postgresql+asyncpg://u@h/db", "the database db at h"),
        ("postgresql://u:p%40%2Fw@[::1]/db", "postgresql+asyncpg://u:p%40%2Fw@[::1]/db", "the database db at ::1"),
        ("postgresql://h/db?sslmode=require", "postgresql+asyncpg://h/db?sslmode=require", "the database db at h"),
        ("postgresql:///db?host=/run&port=5", "postgresql+asyncpg:///db?host=%2Frun&port=5", "the database db at /run"),
    ],
)
def test_postgresql_is_taken_with_the_servers_own_driver(given: str, taken: str, named: str) -> None:
    assert postgresql_url(given) == taken
    assert postgresql_url(taken) == taken
    assert shown(taken) == named


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("sqlite:///geheim", "given by --data"),
        ("sqlite+aiosqlite:///geheim", "given by --data"),
        ("mysql://u:geheim@h/db", "mysql is no database that playcall knows"),
        ("postgresql+psycopg2://u:geheim@h/db", "begin it with postgresql://"),
        ("postgresql://u:geheim@h", "names no database"),
        ("postgresql://u:geheim@h/", "names no database"),
        ("postgresql://u:geheim@h/db?geheim=1", "a parameter other than"),
        ("postgresql://u:geheim@h:port/db", "not understood"),
        ("postgresql:///db?host=/run&port=geheim", "not understood"),
        ("postgresql://u:pw@geheim@h/db", "%40 for @"),
        ("postgresql://u:pw@x/geheim@h/db", "%40 for @"),
        ("host=h password=geheim", "not understood"),
        ("u:geheim@h/db", "not understood"),
        ("", "not understood"),
    ],
)
def test_what_is_refused_is_told_without_what_was_given(given: str, words: str) -> None:
    with pytest.raises(StartupError, match=words) as caught:
        postgresql_url(given)
    assert "geheim" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
