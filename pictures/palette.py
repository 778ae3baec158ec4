"""Screenshots as small files: few colours are in them, so a palette loses nothing that one would see."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

from PIL import Image

__all__ = ["MOST_BYTES", "write_small"]

MOST_BYTES: Final = 150 * 1024
_COLOURS: Final = (256, 128, 64, 32)


def write_small(png: bytes, to: Path) -> int:
    """Writes the picture with as many colours as fit into `MOST_BYTES`; its size in bytes."""
    with Image.open(io.BytesIO(png)) as image:
        for colours in _COLOURS:
            packed = io.BytesIO()
            few = image.convert("RGB").quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
            few.save(packed, "PNG", optimize=True)
            if len(packed.getvalue()) <= MOST_BYTES:
                break
    to.write_bytes(packed.getvalue())
    return len(packed.getvalue())
