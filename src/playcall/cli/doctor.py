"""`playcall doctor`: what stands between this machine and a backend."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .connecting import AsJson, ProfileName
from .failing import FAILED, USAGE, fail, in_one_sentence

if TYPE_CHECKING:
    import ssl

    from .doctor_findings import Diagnosis

__all__ = ["doctor"]


def doctor(
    url: Annotated[
        str | None,
        typer.Argument(
            metavar="[URL]",
            help="The backend; else PLAYCALL_URL, the profile's, or http://127.0.0.1:8000.",
            show_default=False,
        ),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option("--ca", metavar="FILE", help="Trust the certificate authorities in FILE (PEM), and no others."),
    ] = None,
    timeout_seconds: Annotated[
        float, typer.Option("--timeout", min=0.1, max=300, help="Seconds that each check may take.")
    ] = 10.0,
    as_json: AsJson = False,
    profile: ProfileName = None,
) -> None:
    """Look at the way to a backend, at the backend, and at what it and this client know of each other.

    Nothing is changed there. As whom is said by PLAYCALL_API_KEY, PLAYCALL_TOKEN or a profile. Ends with 0 if all is
    well, with 1 if something is a problem, with 2 if it was called wrongly.

    Example: playcall doctor https://playbooks.example
    """
    with in_one_sentence():
        import asyncio

        from .doctor_checks import examine
        from .target import resolve

        target = resolve(url, profile)
        diagnosis = asyncio.run(examine(target.url, auth=target.auth, context=_context(ca), seconds=timeout_seconds))
        if as_json:
            typer.echo(json.dumps(_as_json(diagnosis), indent=2))
        else:
            from .doctor_view import show

            show(diagnosis)
    if not diagnosis.is_well:
        raise typer.Exit(FAILED)


def _context(ca: Path | None) -> ssl.SSLContext:
    import ssl

    try:
        return ssl.create_default_context(cafile=None if ca is None else str(ca))
    except OSError as error:  # an ssl.SSLError is one
        fail(USAGE, f"the certificate authorities in {ca} cannot be read: {error.strerror or error}")


def _as_json(diagnosis: Diagnosis) -> dict[str, object]:
    return {"well": diagnosis.is_well, **dataclasses.asdict(diagnosis)}
