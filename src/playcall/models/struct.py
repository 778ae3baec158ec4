"""What crosses the wire many times a second: made by msgspec, and to pydantic a type like any other.

Reading an event into pydantic models costs four times what the rest of its way costs (docs/performance.md, «Where the time
goes»). So events and their payloads are msgspec's structs, while a resource within one is the model that `get` gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal, TypeVar, cast

import msgspec
from pydantic import BaseModel, GetCoreSchemaHandler, SerializationInfo
from pydantic_core import CoreSchema, core_schema

from .base import JsonObject

__all__ = ["WireStruct", "reader"]

T = TypeVar("T")


class WireStruct(msgspec.Struct, frozen=True):
    """Immutable; a field that this version does not know is ignored, so that old clients read new events.

    It says itself as a model does, and can stand wherever pydantic takes a type: in a field of a model, in a `TypeAdapter`,
    as FastAPI's answer, or as its body (`Annotated[…, Body()]`). What the constructor is given is not checked; what is
    read is.
    """

    def model_dump(self, *, mode: Literal["python", "json"] = "python") -> JsonObject:
        """Its fields as a dictionary, structs and models within it as well. Mode `json` has nothing but what JSON has."""
        as_they_are = (datetime,) if mode == "python" else ()
        dumped = msgspec.to_builtins(
            self, builtin_types=as_they_are, enc_hook=lambda model: cast("BaseModel", model).model_dump(mode=mode)
        )
        return cast("JsonObject", dumped)

    def model_dump_json(self, *, indent: int | None = None) -> str:
        """Its JSON, as it stands on the wire; on one line, unless `indent` is so many spaces a level."""
        text = msgspec.json.encode(self, enc_hook=_model_json)
        return (text if indent is None else msgspec.json.format(text, indent=indent)).decode()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        fields = {each.name: _field(each, handler) for each in msgspec.structs.fields(source)}

        def read(value: object, checked: Callable[[object], Mapping[str, Any]]) -> WireStruct:
            return value if isinstance(value, cls) else cls(**checked(value))

        def write(value: WireStruct, info: SerializationInfo) -> JsonObject:
            return value.model_dump(mode="json" if info.mode_is_json() else "python")

        return core_schema.no_info_wrap_validator_function(
            read,
            core_schema.typed_dict_schema(fields, cls=cls),
            ref=f"{cls.__module__}.{cls.__qualname__}:{id(source)}",
            serialization=core_schema.plain_serializer_function_ser_schema(write, info_arg=True),
        )


def _field(each: msgspec.structs.FieldInfo, handler: GetCoreSchemaHandler) -> core_schema.TypedDictField:
    schema = handler.generate_schema(each.type)
    if not each.required:
        schema = core_schema.with_default_schema(schema, default=each.default)
    return core_schema.typed_dict_field(schema, required=each.required)


def _model_json(model: Any) -> msgspec.Raw:
    return msgspec.Raw(cast("BaseModel", model).model_dump_json().encode())


def reader(kind: type[T]) -> Callable[[str | bytes | msgspec.Raw], T]:
    """Reads JSON into `kind`: a struct, or whatever msgspec knows; models within it are read as answers are.

    What it returns raises:
        msgspec.ValidationError: The value does not fit; a ValueError.
        msgspec.DecodeError: The text is no JSON; the class above that one.
        RecursionError: It is nested deeper than anything that is sent.
    """
    decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind, dec_hook=_model)
    return decoder.decode


def _model(kind: type[Any], value: object) -> object:
    return cast("type[BaseModel]", kind).model_validate(value, extra="ignore")
