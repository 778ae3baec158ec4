"""Runs playbooks: durable, in steps, with tools. `Engine` is what the server starts and its routes ask."""

from .engine import Engine
from .inputs import bind_inputs
from .validate import validate_playbook

__all__ = ["Engine", "bind_inputs", "validate_playbook"]
