"""Tools that read a tree of source files: what the demo's playbook runs, offered as entry points.

They show how an installed package offers tools: each is named in `[project.entry-points."playcall.tools"]`.
"""

from .figures import languages, sizes, todos
from .syntax import functions, imports

__all__ = ["functions", "imports", "languages", "sizes", "todos"]
