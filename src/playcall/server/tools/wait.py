"""`wait`: lets time pass, visibly."""

from __future__ import annotations

import asyncio
from typing import Annotated

from pydantic import Field

from ...models import JsonObject
from .context import ToolContext
from .definition import Parameters, tool

__all__ = ["wait"]

_REPORT_EVERY_SECONDS = 0.5


class WaitParameters(Parameters):
    seconds: Annotated[float, Field(ge=0, le=86_400)]
    message: str = ""


@tool("wait", WaitParameters)
async def wait(parameters: WaitParameters, context: ToolContext) -> JsonObject:
    """Waits for a number of seconds, reporting how many have passed."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    while (passed := loop.time() - start) < parameters.seconds:
        context.progress(round(passed, 3), parameters.seconds, parameters.message)
        await asyncio.sleep(min(_REPORT_EVERY_SECONDS, parameters.seconds - passed))
    context.progress(parameters.seconds, parameters.seconds, parameters.message)
    return {"seconds": parameters.seconds}
