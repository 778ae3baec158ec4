"""The documentation's own tools stand beside the sources, at the root, where `make docs` runs them."""

from __future__ import annotations

import sys

from .blocks import ROOT

sys.path.insert(0, str(ROOT))
