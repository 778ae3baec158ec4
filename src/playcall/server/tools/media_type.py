"""What a file says it is: a media type with its parameters (RFC 9110 section 8.3.1), given or guessed from its name."""

from __future__ import annotations

import mimetypes
import re

__all__ = ["guessed_media_type", "is_media_type"]

MAX_MEDIA_TYPE_CHARACTERS = 200
_UNKNOWN = "application/octet-stream"

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"(?:[\t !#-\[\]-~]|\\[\t -~])*"'
_MEDIA_TYPE = re.compile(rf"{_WORD}/{_WORD}(?:[ \t]*;[ \t]*(?:{_WORD}=(?:{_WORD}|{_QUOTED}))?)*")


def is_media_type(text: str) -> bool:
    """Of ASCII only, so that it can be sent again as it came."""
    return len(text) <= MAX_MEDIA_TYPE_CHARACTERS and _MEDIA_TYPE.fullmatch(text) is not None


def guessed_media_type(name: str) -> str:
    """From the end of a file's name; bytes of an unknown kind if that tells nothing."""
    # As a path: `data:text/x,y` would be read as a URL that names its type itself, line breaks and all.
    guess = mimetypes.guess_type(f"./{name}")[0]
    return guess if guess is not None and is_media_type(guess) else _UNKNOWN
