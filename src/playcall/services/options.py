"""What a call and a client can be told, checked, and made into a `Call`."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypedDict, TypeVar

from ..answer import RawAnswer
from ..checks import check_header
from ..deadline import check_seconds
from ..errors import ConfigurationError, InvalidArgumentError, StatusError
from ..http.answers import encode
from ..http.bodies import BodySource, OnProgress, Upload
from ..http.call import Call, Params
from ..http.hooks import AttemptHook
from ..http.paths import Path, as_path
from ..http.problems import ErrorClasses
from ..http.retry import SAFE_METHODS, RetryPolicy

__all__ = ["ClientOptions", "RequestOptions", "Settings", "as_etag", "as_mapping", "as_utf8"]

T = TypeVar("T")

_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})


class RequestOptions(TypedDict, total=False):
    """What every verb takes beside its path."""

    params: Params
    """The query; a None is left out, a list or tuple repeats its name."""
    headers: Mapping[str, str]
    json: object
    """The body: a pydantic model, or anything that is JSON."""
    content: str | BodySource
    """A body of another kind: text, bytes, a `pathlib.Path`, a binary file, or an iterable of bytes, sync or async. What is
    no text or bytes is sent piece by piece. An iterable can be read once, so it is not sent again once it was begun."""
    content_type: str
    on_progress: OnProgress | None
    """Called while the body is sent: bytes so far, and in all (None: not known). With a repeated attempt it begins anew."""
    idempotency_key: str | None
    """Your own key, to make the same command again after a crash; one is made for you otherwise, where keys are on."""
    deadline_seconds: float | None
    """For this call, in place of the client's; None for no bound but the context's."""
    retry: RetryPolicy
    repeatable: bool
    """Whether it may reach the backend twice without harm, where you know better than method and key tell."""
    reads: bool
    """It changes nothing, whatever its method: a search that is POSTed. So it needs no key, and is repeated freely."""
    if_match: int | str | None
    """Only while the resource has this version: a number, or an `ETag` as it came (RFC 9110 section 13.1.1)."""
    known: RawAnswer[Any] | None
    """What an earlier `raw()` of the same gave: if it is still current (304), its value is given again. Any: of the same
    type as `into`, which is the caller's affair."""


class ClientOptions(TypedDict, total=False):
    """What a clone can have of its own."""

    deadline_seconds: float | None
    retry: RetryPolicy
    hooks: Sequence[AttemptHook]
    errors: ErrorClasses
    """Beside those that it has already."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for each call that does not say otherwise.

    Raises:
        ConfigurationError: one of them makes no sense.
    """

    deadline_seconds: float | None
    retry: RetryPolicy
    hooks: Sequence[AttemptHook]
    idempotency_keys: bool
    errors: ErrorClasses = field(default_factory=dict[int | str, type[StatusError]])

    def __post_init__(self) -> None:
        _check_policy(self.retry)
        _checked_deadline(self.deadline_seconds)
        if not isinstance(self.hooks, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
            raise ConfigurationError(f"hooks= takes a sequence of functions, got {type(self.hooks).__name__}")
        object.__setattr__(self, "hooks", tuple(self.hooks))
        for hook in self.hooks:
            if not callable(hook):
                raise ConfigurationError(f"hooks= takes functions, got {type(hook).__name__}")
        for key, kind in _check_classes(self.errors).items():
            if isinstance(key, bool) or not isinstance(key, int | str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
                raise ConfigurationError(f"errors= takes classes by status or by code, got the key {key!r}")
            if not isinstance(kind, type) or not issubclass(kind, StatusError):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
                raise ConfigurationError(f"errors={{{key!r}: …}} takes a subclass of StatusError, got {kind!r}")

    def changed(self, options: ClientOptions) -> Settings:
        """These settings with others in places; raises TypeError for an option that there is not."""
        _refuse_unknown(options, ClientOptions)
        if "errors" in options:
            options = {**options, "errors": {**self.errors, **_check_classes(options["errors"])}}
        return replace(self, **options)

    def call(self, method: str, path: str | Path, options: RequestOptions) -> Call:
        """The call that is meant.

        Raises:
            InvalidArgumentError: an argument makes no sense.
            TypeError: there is no such option.
        """
        reads = options.get("reads", method in SAFE_METHODS)
        call = Call(
            method,
            as_path(path),
            self.retry,
            self.deadline_seconds,
            # A key makes a repeat safe only where the far end honours keys.
            repeatable=reads or self.idempotency_keys,
            reads=reads,
            hooks=self.hooks,
            errors=self.errors,
        )
        if options:
            _meant(call, options)
        if call.idempotency_key is None and self.idempotency_keys and not reads:
            call.idempotency_key = str(uuid.uuid4())
        return call


def _meant(call: Call, options: RequestOptions) -> None:
    """Makes the call what its options say."""
    _refuse_unknown(options, RequestOptions)
    call.body, call.content_type = _body(options)
    if (known := options.get("known")) is not None:
        _check_known(known, call.path)
    key = options.get("idempotency_key")
    if key is not None:
        _check_key(key)
        call.idempotency_key = key
    if "retry" in options:
        call.policy = _check_policy(options["retry"])
    if "deadline_seconds" in options:
        call.deadline_seconds = _checked_deadline(options["deadline_seconds"])
    call.repeatable = options.get("repeatable", call.repeatable)
    call.params = _mapping(options.get("params"), "params")
    call.headers = _headers(options)


def _refuse_unknown(options: Mapping[str, object], known: type) -> None:
    """A misspelt option must not be lost in silence where no type checker looks.

    Raises:
        TypeError: as for any function's unknown argument.
    """
    unknown = options.keys() - known.__annotations__
    if unknown:
        raise TypeError(f"no such option: {', '.join(sorted(unknown))}; there are {', '.join(known.__annotations__)}")


def _checked_deadline(seconds: float | None) -> float | None:
    return None if seconds is None else check_seconds(seconds, "deadline_seconds")


def _check_policy(policy: RetryPolicy) -> RetryPolicy:
    if not isinstance(policy, RetryPolicy):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise ConfigurationError(f"retry= takes a RetryPolicy, got {type(policy).__name__}")
    return policy


def _check_known(known: object, where: Path) -> None:
    """Another's version would fit by chance: many backends count them from 1 for each item."""
    if not isinstance(known, RawAnswer):
        raise InvalidArgumentError(f"known= takes what an earlier raw() gave, got {type(known).__name__}")
    if known.timeline.path != where.text:
        raise InvalidArgumentError(f"known= is the answer to {known.timeline.path}, not to {where.text}")


def _check_classes(errors: ErrorClasses) -> ErrorClasses:
    if not isinstance(errors, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise ConfigurationError(f"errors= takes a mapping of classes by status or code, got {type(errors).__name__}")
    return errors


def _mapping(value: Mapping[str, T] | None, name: str) -> Mapping[str, T] | None:
    if value is not None and not isinstance(value, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise InvalidArgumentError(f"{name}= takes a mapping, got {type(value).__name__}")
    return value


def _check_key(key: str) -> None:
    if not isinstance(key, str) or not key or len(key) > 255 or not key.isascii() or not key.isprintable():  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise InvalidArgumentError("an idempotency key is 1 to 255 printable ASCII characters")


def _headers(options: RequestOptions) -> Mapping[str, str] | None:
    headers = _mapping(options.get("headers"), "headers")
    for name, value in (headers or {}).items():
        check_header(name, value)
        if name.lower() in _FRAMING:
            raise InvalidArgumentError(f"the header {name} is not the caller's to set: it says where the body ends")
    conditions: dict[str, str] = {}
    if (version := options.get("if_match")) is not None:
        conditions["If-Match"] = as_etag(version)
    known = options.get("known")
    if known is not None and known.etag is not None:  # without one there is nothing to ask by, and the whole is fetched
        conditions["If-None-Match"] = known.etag
    return {**(headers or {}), **conditions} if conditions else headers


def as_etag(version: int | str) -> str:
    """A version as `If-Match` and `If-None-Match` have it.

    Raises:
        InvalidArgumentError: neither a number nor text that can stand in a header.
    """
    if isinstance(version, bool) or not isinstance(version, int | str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise InvalidArgumentError(f"a version is a number, or an ETag as it came; got {type(version).__name__}")
    if isinstance(version, int):
        return f'"{version}"'
    check_header("If-Match", version)
    return version if version == "*" or version.endswith('"') else f'"{version}"'


def as_mapping(value: Mapping[str, Any] | None, name: str) -> dict[str, Any]:
    """A JSON object of a caller's; None is an empty one. Any: whatever is JSON. Raises: InvalidArgumentError."""
    return dict(_mapping(value, name) or {})


def as_utf8(text: str) -> bytes:
    """Raises: InvalidArgumentError: it holds lone surrogates."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError("the text is not valid Unicode") from None


def _body(options: RequestOptions) -> tuple[bytes | Upload | None, str | None]:
    if "json" in options and "content" in options:
        raise InvalidArgumentError("give json= or content=, not both")
    on_progress = options.get("on_progress")
    if "json" in options:
        body = encode(options["json"])
        return (body if on_progress is None else Upload(body, on_progress)), "application/json"
    content = options.get("content")
    if content is None:
        return None, options.get("content_type")
    data = as_utf8(content) if isinstance(content, str) else content
    content_type = options.get("content_type", "application/octet-stream")
    check_header("Content-Type", content_type)
    if isinstance(data, bytes) and on_progress is None:
        return data, content_type
    return Upload(data, on_progress), content_type
