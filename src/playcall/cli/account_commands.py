"""`playcall login`, `logout` and `whoami`: as whom the other commands work.

A password is used once: for an API key of this machine's, which is what the file keeps. Refresh tokens would have to be
kept too, and each is good for one use: of two commands at once one would be taken for a thief, and both be refused. A key
can be seen in the account's list, and revoked there or by logout.
"""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

import typer

from .connecting import AsJson, Explain, ProfileName, Url
from .failing import FAILED, INTERRUPTED, USAGE, fail, in_one_sentence
from .secret_prompt import ask_secret

if TYPE_CHECKING:
    from ..client import Playcall
    from ..models.account import Me
    from .profiles import Profile, Profiles

__all__ = ["login", "logout", "whoami"]

DEADLINE_SECONDS: Final = 15.0
"""Somebody sits in front of it."""

_Revoking: TypeAlias = Literal["revoked", "failed", "interrupted", "not ours"]
"""How it ended. A key that login was given, and did not make, is not ours to revoke."""


def login(
    user: Annotated[
        str | None,
        typer.Option("--user", metavar="NAME", help="Ask for this user's password instead, and make a key with it."),
    ] = None,
    api_key_stdin: Annotated[bool, typer.Option("--api-key-stdin", help="Read the key from standard input.")] = False,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="With --user: read the password from standard input.")
    ] = False,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """Store where your backend is and a key for it, once the backend has accepted that; other commands use them then.

    Asks for an API key, without showing it. The file is yours alone to read.

    Example: playcall login --url https://playbooks.example --user ann
    """
    if user is not None and api_key_stdin:
        fail(USAGE, "a key needs no user: give --api-key-stdin or --user, not both")
    if password_stdin and user is None:
        fail(USAGE, "--password-stdin needs --user NAME")
    with in_one_sentence(explain=explain):
        from .profiles import changed, config_path, load

        name, root = _place(load(), url, profile)
        if not as_json:
            typer.echo(f"Signing in to {root}", err=True)
        if user is None:
            made = _with_key(root, _secret("API key", "--api-key-stdin", piped=api_key_stdin))
        else:
            made = _with_password(root, user, _secret("Password", "--password-stdin", piped=password_stdin))

        def with_made(stored: Profiles) -> Profiles:
            # Once more: while somebody was asked, another login may have taken the name.
            _check_not_moved(stored, name, root, profile)
            there = stored.by_name.get(name)
            # A key that an earlier login made, given to this one, is still for logout to revoke.
            known = there.api_key_id if there is not None and there.api_key == made.api_key else None
            return stored.with_(name, replace(made, api_key_id=made.api_key_id or known))

        try:
            with _client(made) as client:
                me = client.account.me()
            before = changed(with_made).by_name.get(name)
        except BaseException:
            if _revoke(made) in ("failed", "interrupted"):
                typer.echo(f"playcall: {_still_good(made)}", err=True)
            raise
        if as_json:
            from .tables import show_json

            show_json(_identity(root, name, me))
        else:
            from .terminal_text import one_line

            typer.echo(f"Signed in as {one_line(me.username)}; profile {name}, in {config_path()}")
        if before is not None and before.api_key != made.api_key:
            outcome = _revoke(before)
            if outcome == "interrupted":
                fail(INTERRUPTED, _still_good(before))
            if outcome == "failed":  # the login is done all the same
                typer.echo(f"playcall: {_still_good(before)}", err=True)


def logout(
    as_json: AsJson = False,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """Forget a profile; a key that login made with a password is revoked.

    Example: playcall logout --profile work
    """
    with in_one_sentence(explain=explain):
        from .profiles import changed
        from .target import chosen

        def its_name(stored: Profiles) -> str:
            name = chosen(stored, profile)
            if name is None:
                fail(FAILED, "nobody is signed in: there is no profile")
            return name

        # First here, whatever the backend says: somebody may be about to hand the machine over.
        before = changed(lambda stored: stored.without(its_name(stored)))
        name = its_name(before)
        gone = before.by_name[name]
        outcome = _revoke(gone)
        if as_json:
            from .tables import show_json

            show_json({"profile": name, "url": gone.url, "revoked": outcome == "revoked"})
        else:
            typer.echo(f"Forgot the profile {name}, for {gone.url}")
        if outcome in ("failed", "interrupted"):
            fail(INTERRUPTED if outcome == "interrupted" else FAILED, _still_good(gone))


def whoami(as_json: AsJson = False, url: Url = None, profile: ProfileName = None, explain: Explain = False) -> None:
    """Show which backend commands work with, and as whom.

    Example: playcall whoami
    """
    with in_one_sentence(explain=explain):
        from ..client import Playcall
        from .tables import show_fields, show_json
        from .target import resolve

        target = resolve(url, profile)
        with Playcall(target.url, auth=target.auth, deadline_seconds=DEADLINE_SECONDS) as client:
            said = _identity(target.url, target.profile, client.account.me())
        if as_json:
            show_json(said)
        else:
            show_fields({name: value for name, value in said.items() if name != "id"})


def _identity(url: str, profile: str | None, me: Me) -> dict[str, object]:
    return {
        "url": url,
        "profile": profile,
        "id": me.id,
        "username": me.username,
        "scope": me.scope,
        "credential": me.credential,
    }


def _place(stored: Profiles, url: str | None, profile: str | None) -> tuple[str, str]:
    """The profile's name, and the backend's address.

    Raises: ConfigurationError.
    """
    from ..config import DEFAULT_URL
    from ..http.paths import base_url
    from .profiles import DEFAULT_PROFILE, check_name

    name = _named(profile) or stored.current or DEFAULT_PROFILE
    there = stored.by_name.get(name)
    if there is None:
        check_name(name)
    given = url or (None if profile is not None and there is not None else os.environ.get("PLAYCALL_URL"))
    root = base_url(given or (there.url if there is not None else DEFAULT_URL))
    _check_not_moved(stored, name, root, profile)
    return name, root


def _check_not_moved(stored: Profiles, name: str, root: str, profile: str | None) -> None:
    """A profile that nobody named stays with its backend. Raises: ConfigurationError."""
    from ..errors import ConfigurationError
    from ..http.paths import base_url

    there = stored.by_name.get(name)
    if not _named(profile) and there is not None and base_url(there.url) != root:
        raise ConfigurationError(
            f"the profile {name!r} is for {there.url}: give --profile with another name for {root}, or the same to replace it"
        )


def _named(profile: str | None) -> str | None:
    return profile or os.environ.get("PLAYCALL_PROFILE")


def _secret(what: str, option: str, *, piped: bool) -> str:
    """Never from an argument: those stand in the list of processes, and in the shell's history."""
    if piped:
        try:
            secret = sys.stdin.buffer.readline().decode().rstrip("\r\n")
        except UnicodeDecodeError:
            fail(USAGE, f"{option}: standard input is not UTF-8 text")
        if not secret:
            fail(USAGE, f"{option}: standard input is empty")
        return secret
    if not sys.stdin.isatty():
        fail(USAGE, f"there is no terminal to ask for the {what.lower()} at; give {option}")
    return ask_secret(what)


def _with_key(url: str, key: str) -> Profile:
    from .profiles import Profile

    return Profile(url, key)


def _with_password(url: str, user: str, password: str) -> Profile:
    from ..client import Playcall
    from ..http.auth import OAuth2Password
    from .profiles import Profile

    with Playcall(url, auth=OAuth2Password(user, password), deadline_seconds=DEADLINE_SECONDS) as client:
        key = client.account.create_api_key({"name": f"playcall on {socket.gethostname() or 'a machine'}"[:200]})
    return Profile(url, key.secret, key.id)


def _client(profile: Profile) -> Playcall:
    from ..client import Playcall
    from ..http.auth import ApiKey

    return Playcall(profile.url, auth=ApiKey(profile.api_key), deadline_seconds=DEADLINE_SECONDS)


def _revoke(profile: Profile) -> _Revoking:
    """A key that login made. Ctrl-C ends it as a failure does: whoever it was for has to be told of the key that is left."""
    from ..errors import AuthenticationError, NotFoundError, PlaycallError

    if profile.api_key_id is None:
        return "not ours"
    try:
        with _client(profile) as client:
            client.account.revoke_api_key(profile.api_key_id)
    except (AuthenticationError, NotFoundError):
        return "revoked"  # before us
    except PlaycallError:
        return "failed"
    except KeyboardInterrupt:
        return "interrupted"
    return "revoked"


def _still_good(profile: Profile) -> str:
    return f"{profile.url} did not revoke the key {profile.api_key_id}: until it is revoked there it stays good"
