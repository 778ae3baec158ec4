"""The tokens in a login's answer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

from .answers import decode, unreadable
from .auth import TokenFields, TokenGrant
from .members import member

if TYPE_CHECKING:
    from ..answer import Answer
    from .envelope import Envelope

__all__ = ["grant_of"]


def grant_of(answer: Answer, fields: TokenFields, envelope: Envelope | None) -> TokenGrant:
    """What the answer grants: at its top, or in the data of the envelope, since logins are often the one bare answer.

    Raises:
        UnreadableAnswerError: there is no token in it, or one that cannot stand in a header.
        StatusError: the envelope says that the login failed.
    """
    parsed: object = decode(answer, None)
    token = member(parsed, fields.access_token)
    if token is None and envelope is not None:
        parsed = cast("object", envelope.read(answer, None))
        token = member(parsed, fields.access_token)
    # What is wrong with it is not told by its text, which may be a secret all the same.
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable() or " " in token:
        raise unreadable(answer, f"but without a usable token in {fields.access_token!r}", fields.access_token)
    refresh_token = member(parsed, fields.refresh_token)
    return TokenGrant(
        token,
        _seconds(member(parsed, fields.expires_in)),
        refresh_token if isinstance(refresh_token, str) and refresh_token else None,
    )


def _seconds(value: object) -> float | None:
    """A lifetime; None for what is no number: then the token is used until it is refused."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None
