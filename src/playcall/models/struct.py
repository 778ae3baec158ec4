"""What crosses the wire many times a second: made by msgspec, and to pydantic a type like any other.

To read an event into pydantic models cost more than all the rest of its way (docs/performance.md, «Where the time goes»). So
events and their payloads are msgspec's structs, while a resource within one is the model that `get` gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeVar, cast

import msgspec
from pydantic import BaseModel, GetCoreSchemaHandler, SerializationInfo
from pydantic_core import CoreSchema, SchemaSerializer, core_schema

from .base import JsonObject

__all__ = ["WireStruct", "reader"]

T = TypeVar("T")


class WireStruct(msgspec.Struct, frozen=True):
    """Immutable; a field that this version does not know is ignored, so that old clients read new events.

    It says itself as a model does, and can stand wherever pydantic takes a value: in a field of a model, in a `TypeAdapter`,
    as FastAPI's answer, or as its body (`Annotated[…, Body()]`). What the constructor is given is not checked; what is
    read is. It is not meant to have subclasses elsewhere.
    """

    def model_dump(self, *, mode: Literal["python", "json"] = "python") -> JsonObject:
        """Its fields as a dictionary, structs and models within it as well. Mode `json` has nothing but what JSON has."""
        if mode == "json":
            return cast("JsonObject", msgspec.to_builtins(self, enc_hook=_model_builtins))
        return {
            name: value.model_dump() if isinstance(value, BaseModel | WireStruct) else value for name, value in self
        }

    def model_dump_json(self, *, indent: int | None = None) -> str:
        """Its JSON, as it stands on the wire; on one line, unless `indent` is so many spaces a level."""
        text = msgspec.json.encode(self, enc_hook=_model_json)
        return (text if indent is None else msgspec.json.format(text, indent=indent)).decode()

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Names and values, so that `dict(event)` is what it is of a model."""
        return ((name, getattr(self, name)) for name in self.__struct_fields__)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        fields = {each.name: _field(each, handler) for each in msgspec.structs.fields(source)}

        def read(value: object, checked: Callable[[object], Mapping[str, Any]]) -> WireStruct:
            if isinstance(value, cls):
                return value
            return cls(**{name: each for name, each in checked(value).items() if name in fields})

        read.__name__ = read.__qualname__ = cls.__name__  # it stands in pydantic's errors
        return core_schema.no_info_wrap_validator_function(
            read,
            core_schema.typed_dict_schema(fields, cls=cls),
            ref=f"{cls.__module__}.{cls.__qualname__}:{id(source)}",
            serialization=_WRITING,
        )


def _dumped(value: WireStruct, info: SerializationInfo) -> JsonObject:
    return value.model_dump(mode="json" if info.mode_is_json() else "python")


_WRITING = core_schema.plain_serializer_function_ser_schema(_dumped, info_arg=True)
# Where pydantic is not told the type (`Any`, or a value in a body) it looks for this.
WireStruct.__pydantic_serializer__ = SchemaSerializer(core_schema.any_schema(serialization=_WRITING))  # type: ignore[attr-defined]


def _field(each: msgspec.structs.FieldInfo, handler: GetCoreSchemaHandler) -> core_schema.TypedDictField:
    schema = handler.generate_schema(each.type)
    if not each.required:
        schema = core_schema.with_default_schema(schema, default=each.default)
    return core_schema.typed_dict_field(schema, required=each.required)


def _model_builtins(value: object) -> object:
    return _a_model(value).model_dump(mode="json")


def _model_json(value: object) -> msgspec.Raw:
    return msgspec.Raw(_a_model(value).model_dump_json().encode())


def _a_model(value: object) -> BaseModel:
    if isinstance(value, BaseModel):
        return value
    raise TypeError(f"JSON has no {type(value).__name__}")


def reader(kind: type[T]) -> Callable[[str | bytes | msgspec.Raw], T]:
    """Reads JSON into `kind`: a struct, or whatever msgspec knows. Models that are its fields are read as answers are.

    What it returns raises:
        ValueError: The text is no JSON (msgspec.DecodeError), or does not fit (msgspec.ValidationError, which is one too, or
            pydantic's).
        RecursionError: It is nested deeper than anything that is sent.
    """
    fields = msgspec.structs.fields(kind) if issubclass(kind, msgspec.Struct) else ()
    models = {each.name: each.type for each in fields if _is_model(each.type)}
    if not models:
        decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)
        return decoder.decode
    # The same struct, with the models' JSON left as it stands.
    raw = msgspec.defstruct(
        kind.__name__,
        [(each.name, msgspec.Raw if each.name in models else each.type, each.default) for each in fields],
        kw_only=True,
    )
    names = [each.name for each in fields]
    read_raw = msgspec.json.Decoder(raw).decode

    def read(text: str | bytes | msgspec.Raw) -> T:
        found = read_raw(text)
        values = {name: getattr(found, name) for name in names}
        for name, model in models.items():
            # The model's own method asks pydantic nothing else, and costs half as much again.
            values[name] = model.__pydantic_validator__.validate_json(bytes(values[name]), extra="ignore")
        return kind(**values)

    return read


def _is_model(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, BaseModel)
