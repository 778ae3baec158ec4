"""How a log record becomes a line: for people, or as JSON for programs; one line each, whatever is in it.

Every line tells within which request it was written, for whom, or for which run or task. Secrets that come along all the
same are left out, by where they stand and by what they look like.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

if TYPE_CHECKING:
    from playcall.server.context import RequestContext

__all__ = ["LogFormat", "current_request", "current_work", "formatter", "set_up"]

LogFormat: TypeAlias = Literal["text", "json"]

current_request: Final[ContextVar[RequestContext | None]] = ContextVar("playcall_request", default=None)
current_work: Final[ContextVar[str | None]] = ContextVar("playcall_work", default=None)
"""The id of the run or task that is being worked on."""

_OURS: Final = "playcall."
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; the rest is `extra`."""
_LEFT_OUT: Final = "[redacted]"
_SECRET_NAME: Final = re.compile(r"authorization|api[_-]?key|password|secret|token|cookie", re.IGNORECASE)
_SECRETS: Final = (
    (re.compile(r"(?i)((?:proxy-)?authorization|x-api-key|set-cookie|cookie)(['\"]?\s*[:=,]\s*b?['\"]?)[^'\"\r\n]+"), r"\1\2" + _LEFT_OUT),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), r"\1 " + _LEFT_OUT),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]+"), _LEFT_OUT),
    (re.compile(r"\b(?:pk|rt)_[\w.-]{16,}"), _LEFT_OUT),
    (re.compile(r"(://[^\s/:@]*:)[^\s/@]+@"), r"\1" + _LEFT_OUT + "@"),
    (re.compile(r"(?i)\b(password|refresh_token|access_token|client_secret|api_key)(=|['\"]?\s*:\s*['\"]?)[^\s&'\",}]+"), r"\1\2" + _LEFT_OUT),
)  # fmt: skip
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_INDENT: Final = "    "
"""Before each line of a traceback: so that none of them, with whatever an error quotes, looks like a record."""


def set_up(level: int, format: LogFormat) -> None:
    """Everything to standard error, in the place of what was set up before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(format))
    logging.basicConfig(level=level, handlers=[handler], force=True)


def formatter(format: LogFormat) -> logging.Formatter:
    return _Json() if format == "json" else _Text()


def without_secrets(text: str) -> str:
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        head = f"{_time(record)} {record.levelname} [{os.getpid()}] {record.name} {_one_line(_message(record))}"
        line = " ".join([head, *(f"{name}={_shown(value)}" for name, value in _facts(record).items())])
        trace = _traceback(self, record)
        if trace is None:
            return line
        return "\n".join([line, *(_INDENT + _one_line(each) for each in trace.splitlines())])


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        message = _message(record)
        line: dict[str, Any] = {  # whatever callers put into `extra`
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": os.getpid(),
        }
        if record.name.startswith(_OURS):
            line["event"], _, more = message.partition(" ")
            if more:
                line["message"] = more
        else:
            line["message"] = message
        facts = _facts(record)
        line |= {name if name not in line else f"{name}_": value for name, value in facts.items()}
        if (trace := _traceback(self, record)) is not None:
            line["exception"] = trace
        # ASCII: no line separator of any kind, and no lone surrogate, which could not be written.
        return json.dumps(line, default=_plain)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message(record: logging.LogRecord) -> str:
    return without_secrets(record.getMessage())


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    """Of the request or the work within which it was written, then its own, which win. `Any`: whatever `extra` holds."""
    facts: dict[str, Any] = {}
    if (request := current_request.get()) is not None:
        facts["request_id"] = request.request_id
        if request.caller_id is not None:
            facts["caller"] = request.caller_id
    if (work := current_work.get()) is not None:
        facts["work"] = work
    own = {name: value for name, value in vars(record).items() if name not in _OWN}
    return facts | {name: _safe(name, value) for name, value in own.items()}


def _safe(name: str, value: object) -> object:
    if _SECRET_NAME.search(name) and value is not None and not isinstance(value, bool | int | float):
        return _LEFT_OUT
    if isinstance(value, str):
        return without_secrets(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_safe("", each) for each in cast("list[object]", value)]
    return without_secrets(str(value))


def _plain(value: object) -> str:
    return without_secrets(str(value))


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str | None:
    if record.exc_info and record.exc_info[0] is not None:
        return without_secrets(formatter.formatException(record.exc_info))
    return without_secrets(record.exc_text) if record.exc_text else None


def _shown(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return _one_line(text) if text and not any(each in text for each in ' "=') else f'"{_one_line(text)}"'


def _one_line(text: str) -> str:
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)
