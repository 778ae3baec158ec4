"""What a server speaks that knows nothing of our contract, said once as data: `PlainSockets`."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, cast

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypeVar

from ..checks import check_number, check_whole_number
from ..errors import ConfigurationError, InvalidArgumentError
from ..models.event import AnyEvent
from .patterns import check_types, matches
from .plain_items import PlainEvent

__all__ = ["Contract", "EventT", "MessageError", "PlainSockets", "Where", "as_text"]

EventT = TypeVar("EventT", default=AnyEvent)
"""What a client's events are: ours, unless its `session` says otherwise."""

Where: TypeAlias = "str | Callable[[Any], object] | None"
"""Where a message has something: a name, a dot going one object deeper (`data.kind`); or a function of the message.

Any, here and below: a message is whatever JSON the server sends.
"""

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
MAX_SECONDS = 86_400.0
REFUSED_CLOSES = frozenset({1008, 4401, 4403})


class Contract(Generic[EventT]):
    """What a client speaks with its server, as far as types go: which events come of it."""

    __slots__ = ()


class MessageError(ValueError):
    """A message cannot be read, or one of ours cannot be made; the text names the fault and shows nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainSockets(Contract[PlainEvent[Any]]):
    """How to talk to a server of JSON messages that has a contract of its own. `WebSocketClient(url, session=PlainSockets(…))`.

    All of it has a default, for a server that sends everybody `{"type": …, "topic": …, "id": …, "data": …}`. Messages of
    ours are made by functions that give what is to be sent as JSON. A function that reads a message gets whatever JSON
    came; where it raises, it has said nothing, and the message counts as unreadable. None of them may block.

    Raises:
        ConfigurationError: one of them makes no sense.
    """

    path: str = ""
    """Appended to the client's URL, which otherwise is the whole address."""
    subprotocols: Sequence[str] = ()
    """Offered to the server, which may choose one of them or none."""

    auth: Callable[[str], object] | None = None
    """Makes the first message of the token: the client's bearer token, or the value of its one other header (an API key).
    None: the credentials go in the upgrade's headers."""
    token_parameter: str | None = None
    """The query parameter that carries the token, for servers that take it nowhere else: addresses end up in the logs of
    servers and proxies, so each of the other ways is better."""
    is_accepted: Callable[[Any], object] | None = None
    """Tells the message by which the server takes us in. None: it says nothing, and is taken to have done so."""
    is_refused: Callable[[Any], object] | None = None
    """Tells the message by which it refuses the credentials: they are renewed once, then it is final. Asked until it has
    taken us in; where it never says so, until the first event."""
    refused_closes: Collection[int] = REFUSED_CLOSES
    """Close codes that mean the same, at any time."""
    fatal_closes: Collection[int] = ()
    """Close codes after which another attempt would not help."""

    subscribe: Callable[[str], object] | None = None
    """Makes the message that subscribes a topic. None: nothing need be said."""
    unsubscribe: Callable[[str], object] | None = None
    """Makes the message that ends it, after the last consumer of the topic. None: what still comes is passed over."""
    subscribed: Where = None
    """Gives the topic that a message says is subscribed, None for other messages. None: subscriptions are not answered,
    and are taken to be in force once sent."""
    forbidden: Where = None
    """Gives the topic that a message says is refused, None for other messages."""

    type_of: Where = "type"
    """A message without a type, or with one in `ignore`, is no event. None: they have none, and are all a `message`."""
    topic_of: Where = "topic"
    """A message without a topic is no event. None: they have none, and all of them go to every consumer."""
    id_of: Where = "id"
    """What tells that a message has come before: a string or a whole number. A message without one always counts as new."""
    data_of: Where = "data"
    """None: the message itself."""
    models: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The type of the data, by patterns of the event's type (`order.*`); the first that matches counts. Any type that
    pydantic knows, a union among them."""
    ignore: Collection[str] = ()
    """Patterns of types that are no events: what answers pings, say."""
    remembered_ids: int = 1_000
    """How many ids each consumer remembers, for what the server sends twice."""

    ping: object = None
    """A message to send every `ping_seconds`, for servers or proxies that close what is quiet."""
    ping_seconds: float = 20.0
    reply: Callable[[Any], object] | None = None
    """Makes the answer to a message, None for none: for servers whose own pings want one."""
    silence_seconds: float | None = None
    """A connection on which no message came for so long is dead. None: a server may be silent for ever."""
    heartbeat_seconds: float | None = 20.0
    """How often a quiet connection is tried by a ping of the WebSocket's own, which every server has to answer (RFC 6455
    section 5.5.2), within half of it. None for never: then a half-open connection is found out by `silence_seconds` only."""
    max_message_bytes: int = 1024 * 1024
    """A larger one breaks the connection."""

    _readers: Mapping[str, TypeAdapter[Any]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_path(self.path)
        _check_names(self.subprotocols, "subprotocols")
        if self.token_parameter is not None:
            _check_names([self.token_parameter], "token_parameter")
            if self.auth is not None:
                raise ConfigurationError(
                    "the token goes in a message (auth) or in the query (token_parameter): give one"
                )
        for name in ("auth", "is_accepted", "is_refused", "subscribe", "unsubscribe", "reply"):
            _check_function(name, getattr(self, name))
        for name in ("subscribed", "forbidden", "type_of", "topic_of", "id_of", "data_of"):
            _check_where(name, getattr(self, name))
        if self.subscribe is None and (self.unsubscribe, self.subscribed, self.forbidden) != (None, None, None):
            raise ConfigurationError(
                "unsubscribe, subscribed and forbidden are about what subscribe= sends: give it too"
            )
        _check_closes(self.refused_closes, self.fatal_closes)
        _check_patterns(self.ignore)
        _check_seconds("ping_seconds", self.ping_seconds)
        for name in ("silence_seconds", "heartbeat_seconds"):
            if (seconds := getattr(self, name)) is not None:
                _check_seconds(name, seconds)
        if self.ping is not None:
            try:
                as_text(self.ping, "ping")
            except MessageError as error:
                raise ConfigurationError(f"{error}; give the message itself, such as {{'type': 'ping'}}") from None
            if self.silence_seconds is not None and self.silence_seconds <= self.ping_seconds:
                raise ConfigurationError("silence_seconds must be more than ping_seconds: the answer takes its time")
        check_whole_number(self.remembered_ids, "remembered_ids", least=0, kind=ConfigurationError)
        check_whole_number(self.max_message_bytes, "max_message_bytes", least=1, kind=ConfigurationError)
        if self.max_message_bytes > MAX_MESSAGE_BYTES:
            raise ConfigurationError(f"max_message_bytes is at most {MAX_MESSAGE_BYTES}, got {self.max_message_bytes}")
        object.__setattr__(self, "_readers", _readers(self.models))  # frozen: this is still its making

    # --- what it says of a message ------------------------------------------------------------------------------------

    def said(self, name: str, message: object) -> object:
        """What the setting `name`, a function or a `Where`, says of a message; None where it says nothing, or is not set.

        Raises:
            MessageError: the function raised.
        """
        where: Where = getattr(self, name)
        if where is None:
            return None
        if callable(where):
            return _called(name, where, message)
        value = message
        for part in where.split("."):
            if not isinstance(value, dict):
                return None
            value = cast("dict[str, object]", value).get(part)
        return value

    def named(self, name: str, message: object) -> str | None:
        """As `said`, of what is a name: a string or a whole number; all else is None."""
        value = self.said(name, message)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return value if isinstance(value, str) else None

    def is_ignored(self, type_: str) -> bool:
        return any(matches(pattern, type_) for pattern in self.ignore)

    def data_in(self, message: object, type_: str) -> tuple[object, str | None]:
        """The data, as its model makes it; or as it came, and what did not fit. Raises: MessageError."""
        data = message if self.data_of is None else self.said("data_of", message)
        reader = next((reader for pattern, reader in self._readers.items() if matches(pattern, type_)), None)
        if reader is None:
            return data, None
        try:
            # From JSON, not from Python's objects: strict models take a date as a string from JSON only.
            return reader.validate_json(json.dumps(data)), None
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            return data, f"{where}: {first['msg']}" if where else first["msg"]
        except Exception as error:  # a validator of the user's
            return data, f"its model raised {type(error).__name__}"

    def message(self, name: str, argument: object) -> str | None:
        """The text that the function `name` makes of `argument`; None where there is nothing to send.

        Raises:
            MessageError: it raised, or gave what is no JSON.
        """
        function: Callable[[Any], object] | None = getattr(self, name)
        made = None if function is None else _called(name, function, argument)
        return None if made is None else as_text(made, name)


def as_text(message: object, name: str) -> str:
    """Raises: MessageError: it cannot be said in JSON."""
    try:
        text = json.dumps(message, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(f"what {name} gives cannot be sent as JSON ({type(error).__name__})") from None
    return text


def _called(name: str, function: Callable[[Any], object], argument: object) -> object:
    try:
        return function(argument)
    except Exception as error:  # a user's; its text may hold the message, or the token
        raise MessageError(f"{name} raised {type(error).__name__}") from error


# --- checks -----------------------------------------------------------------------------------------------------------


def _check_path(path: object) -> None:
    fits = isinstance(path, str) and (not path or path.startswith("/")) and not path.startswith("//")
    if not fits or "#" in str(path) or not str(path).isprintable() or " " in str(path):
        raise ConfigurationError(f'path is what follows the client\'s URL, such as "/ws"; got {path!r}')


def _check_names(names: object, what: str) -> None:
    if isinstance(names, str) or not isinstance(names, Collection):
        raise ConfigurationError(f"{what} is a list of names; write {what}=[{names!r}]")
    for name in cast("Collection[object]", names):
        if not isinstance(name, str) or not name or not name.isascii() or not name.isprintable() or " " in name:
            raise ConfigurationError(f"{what} is a list of names, and {name!r} is none")


def _check_function(name: str, function: object) -> None:
    if function is not None and not callable(function):
        hint = (
            "lambda token: …"
            if name == "auth"
            else "lambda topic: …"
            if name.endswith("subscribe")
            else "lambda message: …"
        )
        raise ConfigurationError(f"{name} is a function, {hint}; got {function!r}")


def _check_where(name: str, where: object) -> None:
    if where is None or callable(where):
        return
    if not isinstance(where, str) or not all(where.split(".")):
        raise ConfigurationError(f'{name} is a name such as "type" or "data.kind", a function or None; got {where!r}')


def _check_closes(refused: object, fatal: object) -> None:
    for name, codes in (("refused_closes", refused), ("fatal_closes", fatal)):
        if not isinstance(codes, Collection) or isinstance(codes, str | bytes):
            raise ConfigurationError(f"{name} is a list of close codes such as [4401], got {codes!r}")
        for code in cast("Collection[object]", codes):
            if isinstance(code, bool) or not isinstance(code, int) or not 1000 <= code <= 4999:
                raise ConfigurationError(f"{name}: a close code is a number from 1000 to 4999, got {code!r}")
    if both := {*cast("Collection[int]", refused)} & {*cast("Collection[int]", fatal)}:
        raise ConfigurationError(f"{min(both)} is in refused_closes and in fatal_closes: it can mean only one of them")


def _check_seconds(name: str, seconds: object) -> None:
    check_number(seconds, name, least=0.01, most=MAX_SECONDS, what="0.01 to 86400 seconds", kind=ConfigurationError)


def _check_patterns(patterns: Collection[str]) -> None:
    try:
        if isinstance(patterns, str) or len(patterns):
            check_types(patterns)
    except (InvalidArgumentError, TypeError) as error:
        raise ConfigurationError(f"ignore is a list of patterns of types, such as ['pong']: {error}") from None


def _readers(models: Mapping[Any, Any]) -> dict[str, TypeAdapter[Any]]:
    if not isinstance(models, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise ConfigurationError(f'models are types by patterns, such as {{"order.*": Order}}; got {models!r}')
    readers: dict[str, TypeAdapter[Any]] = {}
    for pattern, model in models.items():
        try:
            check_types([pattern])
            readers[pattern] = TypeAdapter(model)
        except InvalidArgumentError as error:
            raise ConfigurationError(f"models: {error.message}") from None
        except Exception as error:  # pydantic's, of several classes
            raise ConfigurationError(
                f"models: pydantic cannot read data into the type for {pattern!r} ({type(error).__name__})"
            ) from error
    return readers
