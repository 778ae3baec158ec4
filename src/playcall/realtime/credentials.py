"""The credentials of the realtime connection: asked for on every connect, renewed once refused or about to expire."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from ..errors import ClientClosedError, ConfigurationError, PlaycallError, StatusError
from .lifeline import RENEW_SECONDS

if TYPE_CHECKING:
    from ..http.auth import Credentials
    from ..http.authenticator import Authenticator

__all__ = ["CredentialSource", "NoCredentialsError"]

log = logging.getLogger("playcall.realtime")


class NoCredentialsError(PlaycallError):
    """There are none to be had: for good if `refused`, else now."""

    def __init__(self, message: str, *, refused: bool) -> None:
        super().__init__(message)
        self.refused = refused


class CredentialSource:
    """What one connection uses of the authenticator that it shares with the HTTP client; None needs no credentials.

    Every method may raise ClientClosedError: then the HTTP client was closed, and the connection is to end as well.
    """

    def __init__(self, authenticator: Authenticator | None) -> None:
        self._authenticator = authenticator
        self._used: Credentials | None = None
        self._offered: Credentials | None = None
        """Sent in-band, and not accepted yet: if the connection is refused meanwhile, it is for the ones in use."""

    async def headers(self) -> Mapping[str, str]:
        """The current ones (rule 9), which are the ones in use from now on. Raises NoCredentialsError."""
        self._used, self._offered = await self._current(), None
        return self.used

    async def current(self) -> Mapping[str, str]:
        """As `headers`, for a connection beside the one whose credentials are in use."""
        credentials = await self._current()
        return {} if credentials is None else credentials.headers

    async def _current(self) -> Credentials | None:
        if self._authenticator is None:
            return None
        try:
            return await self._authenticator.credentials()
        except ClientClosedError:
            raise
        except Exception as error:
            raise NoCredentialsError(_said(error), refused=_is_refusal(error)) from error

    @property
    def used(self) -> Mapping[str, str]:
        """The headers in use."""
        return {} if self._used is None else self._used.headers

    @property
    def token(self) -> str | None:
        """What is in use, as one text: the bearer token, or the value of the one header. None if it is neither."""
        if self._used is None or self._used.bearer is not None:
            return None if self._used is None else self._used.bearer
        values = list(self._used.headers.values())
        return values[0] if len(values) == 1 else None

    async def renew(self) -> Literal["new", "same", "failed"]:
        """The ones in use were refused: are there others?"""
        if self._authenticator is None or self._used is None:
            return "same"
        try:
            async with asyncio.timeout(RENEW_SECONDS):
                return "new" if await self._authenticator.renew(self._used) else "same"
        except ClientClosedError:
            raise
        except Exception as error:
            log.warning("credentials were not renewed: %s", _said(error), extra={"event": "realtime.renew_failed"})
            return "same" if _is_refusal(error) else "failed"

    async def newer_bearer(self) -> str | None:
        """A token newer than the one in use, which will expire; None if there is none to be had now."""
        newest = self._offered or self._used
        if self._authenticator is None or newest is None:
            return None
        try:
            async with asyncio.timeout(RENEW_SECONDS):
                # What is cached may be as old as what we use; a lapse elsewhere may have brought a newer one.
                current = await self._authenticator.credentials()
                if current.bearer == newest.bearer and await self._authenticator.renew(newest):
                    current = await self._authenticator.credentials()
        except Exception as error:
            log.warning("the token was not renewed: %s", _said(error), extra={"event": "realtime.renew_failed"})
            return None
        if current.bearer == newest.bearer:
            return None
        self._offered = current
        return current.bearer

    def accepted(self) -> None:
        """The far end has taken the newer token: it is the one in use."""
        if self._offered is not None:
            self._used, self._offered = self._offered, None


def _is_refusal(error: Exception) -> bool:
    """Whether asking again would not help: the token endpoint said no, or the provider gave no token."""
    if isinstance(error, StatusError):
        return error.status in (400, 401, 403)
    return isinstance(error, ConfigurationError | ClientClosedError)


def _said(error: Exception) -> str:
    """Only the class of a foreign error: its text may hold the secret."""
    return error.message if isinstance(error, PlaycallError) else type(error).__name__
