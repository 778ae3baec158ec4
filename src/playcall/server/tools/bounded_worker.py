"""The process that bounded work is done in: run by its path, with the standard library and what it is told of.

`bounded_worker.py '{"module": PATH, "paths": […], "memory_bytes": N, "cpu_seconds": N}'` limits itself, loads the module
from its file (a package, from its `__init__.py`), reads one JSON job from stdin, and writes JSON lines to stdout: what the module's `work` says meanwhile,
and at the end `{"result": …}`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

__all__ = ["limit", "main"]


def limit(memory_bytes: int, cpu_seconds: int) -> None:  # pragma: no cover - would limit the process that measures
    """For good. Where a platform lacks a limit, the caller's clock is what ends the work."""
    try:
        import resource
    except ImportError:
        return
    for kind, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (most, most))


def main(settings: dict[str, Any]) -> None:  # pragma: no cover - in a process without site-packages, not measured
    limit(settings["memory_bytes"], settings["cpu_seconds"])
    sys.path.extend(settings["paths"])
    path = Path(settings["module"])
    folders = [str(path.parent)] if path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location("bounded_work", path, submodule_search_locations=folders)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{settings['module']} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a package's own files are found by it
    spec.loader.exec_module(module)
    result = module.work(json.load(sys.stdin.buffer))
    sys.stdout.buffer.write(json.dumps({"result": result}, ensure_ascii=False).encode("utf-8", "replace") + b"\n")


if __name__ == "__main__":  # pragma: no cover - as above
    main(json.loads(sys.argv[1]))
