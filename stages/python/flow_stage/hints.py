"""What annotations of parameters say: their JSON Schema, and the values that the function gets."""

import dataclasses
import inspect
import math
import re
import types
import typing
from typing import Any

from .context import Failed

SIMPLE = {int: "integer", float: "number", str: "string", bool: "boolean", list: "array", dict: "object"}

#: What people write first, and what to write.
INSTEAD = {
    "ndarray": "an input is an `Array`, `Labels` or `Mask`",
    "DataFrame": "an input is a `Table`",
    "Path": "an input is a `File` or `Folder`, an output `Annotated[Path, Output(\"file\")]`, a path to read a `str` that "
            "`path_parameters` names",
}


class Range:
    """What numbers a parameter may have, both ends included: `digits: Annotated[int, Range(1, 17)] = 6`. None is no end."""

    def __init__(self, least: float | None = None, most: float | None = None) -> None:
        self.least, self.most = least, most


def schema_of(place: str, hint: Any, described: bool = False) -> dict[str, Any]:
    """The JSON Schema of an annotation; `described`: with what docstrings of dataclasses say of their fields.

    Raises `TypeError` for one that is not supported."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if _is_hashable(hint) and hint in SIMPLE:
        return {"type": SIMPLE[hint]}
    if hint is type(None):
        return {"type": "null"}
    if origin is typing.Annotated:
        schema = schema_of(place, arguments[0], described)
        for more in arguments[1:]:
            if isinstance(more, Range):
                ends = {"minimum": more.least, "maximum": more.most}
                # Of a number that may be left out, the number.
                inner = next((one for one in schema.get("anyOf", []) if one.get("type") in ("integer", "number")), schema)
                inner.update({name: end for name, end in ends.items() if end is not None})
            elif isinstance(more, str):
                schema["description"] = more
        return schema
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [schema_of(place, one, described) for one in arguments]}
    if origin is list and len(arguments) == 1:
        return {"type": "array", "items": schema_of(place, arguments[0], described)}
    if origin is dict and arguments[0] is str:
        return {"type": "object", "additionalProperties": schema_of(place, arguments[1], described)}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _of_dataclass(place, hint, described)
    if is_pydantic(hint):
        schema = hint.model_json_schema()
        inlined: dict[str, Any] = _inlined(place, schema, schema.get("$defs", {}), ())
        return inlined
    name = hint.__name__ if isinstance(hint, type) else str(hint)
    found = "it has no annotation" if hint is inspect.Parameter.empty else f"the annotation {name} says nothing to flow"
    usual = "int, float, str, bool, list, dict, list[int], dict[str, float], Literal[…], float | None, a dataclass or a " \
            "pydantic model"
    raise TypeError(f"{place}: {found}; {INSTEAD.get(name) or f'annotate the parameter with {usual}'}")


def _of_dataclass(place: str, hint: Any, described: bool) -> dict[str, Any]:
    properties, required = {}, []
    hints = typing.get_type_hints(hint, include_extras=True)
    texts = documented(inspect.getdoc(hint) or "", hints)[0] if described else {}
    for field in dataclasses.fields(hint):
        schema = schema_of(f"{place}.{field.name}", hints[field.name], described)
        if field.name in texts:
            schema.setdefault("description", texts[field.name])
        if field.default is not dataclasses.MISSING:
            schema["default"] = plain(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            schema["default"] = plain(field.default_factory())
        else:
            required.append(field.name)
        if described and "default" in schema:
            check_default(f"{place}.{field.name}", schema)
        properties[field.name] = schema
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def is_pydantic(hint: Any) -> bool:
    """Whether it is a pydantic model."""
    return isinstance(hint, type) and hasattr(hint, "model_json_schema") and hasattr(hint, "model_validate")


def _inlined(place: str, schema: Any, models: dict[str, Any], above: tuple[str, ...]) -> Any:
    """A schema of pydantic's with the models in their places: references would lead out of the parameter. Names that no
    field has are refused, as everywhere in flow, but where the model takes them."""
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name in above:
            raise TypeError(f"{place}: the model {name} contains itself, which a parameter can't")
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return {**_inlined(place, models[name], models, (*above, name)), **_inlined(place, beside, models, above)}
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("$defs", "title", "discriminator"):
            continue
        if key in ("properties", "patternProperties"):
            made[key] = {name: _inlined(f"{place}.{name}", one, models, above) for name, one in value.items()}
        elif key in ("items", "additionalProperties", "contains", "not"):
            made[key] = _inlined(place, value, models, above)
        elif key in ("anyOf", "oneOf", "allOf", "prefixItems"):
            made[key] = [_inlined(place, one, models, above) for one in value]
        else:
            made[key] = value
    if "properties" in made:
        made.setdefault("additionalProperties", False)
    return made


def plain(value: Any) -> Any:
    """A default as JSON has it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if is_pydantic(type(value)):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def value_of(name: str, hint: Any, value: Any) -> Any:
    """A value of the request as the annotation has it: dataclasses and models instead of objects."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return value_of(name, arguments[0], value)
    if origin is list and arguments and isinstance(value, list):
        return [value_of(name, arguments[0], item) for item in value]
    if origin is dict and arguments and isinstance(value, dict):
        return {key: value_of(name, arguments[1], item) for key, item in value.items()}
    if origin in (typing.Union, types.UnionType):
        for one in arguments if isinstance(value, dict) else ():
            if dataclasses.is_dataclass(one) and value.keys() <= {field.name for field in dataclasses.fields(one)} \
                    or is_pydantic(one) and misfit(schema_of(name, one), value) is None:
                return value_of(name, one, value)
        return value
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        hints = typing.get_type_hints(hint, include_extras=True)
        return hint(**{key: value_of(f"{name}.{key}", hints[key], item) for key, item in value.items()})
    if is_pydantic(hint):
        try:
            return hint.model_validate(value)
        except ValueError as error:
            # What its validators say beyond the schema.
            errors: list[dict[str, Any]] = getattr(error, "errors", list)()
            texts = [f"{'.'.join([name, *map(str, one['loc'])])}: {one['msg']}" for one in errors]
            raise Failed("; ".join(texts) or f"{name}: {error}") from None
    return value


def check_default(place: str, schema: dict[str, Any]) -> None:
    """Raises `TypeError` where the default of a schema is none of its values."""
    wrong = misfit(schema, schema["default"])
    if wrong:
        raise TypeError(f"{place}: its default {wrong}")


def misfit(schema: Any, value: Any) -> str | None:
    """Why a value is none of a schema's: as far as annotations make schemas."""
    if not isinstance(schema, dict):
        return None
    if "anyOf" in schema:
        reasons = [misfit(one, value) for one in schema["anyOf"]]
        # What is out of its range says more than what is of another type.
        return None if None in reasons else next((text for text in reasons if text and "is no " not in text), reasons[0])
    if "enum" in schema and not any(value == one and type(value) is type(one) for one in schema["enum"]):
        return f"{value!r} is none of {', '.join(map(repr, schema['enum']))}"
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and not math.isfinite(value):
        return f"{value!r} is no number that JSON has"
    fits = {"integer": is_number and value == int(value), "number": is_number, "string": isinstance(value, str),
            "boolean": isinstance(value, bool), "array": isinstance(value, list), "object": isinstance(value, dict),
            "null": value is None}
    wanted = schema.get("type")
    if isinstance(wanted, str) and not fits.get(wanted, True):
        return f"{value!r} is no {wanted}"
    if is_number and value < schema.get("minimum", value):
        return f"{value!r} is below {schema['minimum']!r}"
    if is_number and value > schema.get("maximum", value):
        return f"{value!r} is above {schema['maximum']!r}"
    if isinstance(value, list):
        return next(filter(None, (misfit(schema.get("items"), item) for item in value)), None)
    if isinstance(value, dict):
        fields = schema.get("properties", {})
        others = schema.get("additionalProperties")
        for name in schema.get("required", []):
            if name not in value:
                return f"has no `{name}`"
        for name, item in value.items():
            if name not in fields and others is False:
                return f"has `{name}`, which is no field"
            wrong = misfit(fields.get(name, others), item)
            if wrong:
                return f"`{name}`: {wrong}"
    return None


_ENTRY = re.compile(r"(\s*)(?::param )?(\w+)(?: ?\([^()]*\))?:(?: +(\S.*))?")
_HEADING = re.compile(r"\s*(Args|Arguments|Parameters|Inputs|Outputs):\s*")


def documented(text: str, names: typing.Container[str]) -> tuple[dict[str, str], str]:
    """What a docstring says of these names, in lines `name: what it is`, which go on where lines are indented more; and
    the rest of it."""
    found: dict[str, str] = {}
    rest: list[str] = []
    current, indent = None, 0
    for line in text.splitlines():
        entry = _ENTRY.fullmatch(line)
        name = entry[2] if entry else None
        if name and name.lower() in ("returns", "return"):
            name = "return"
        if entry and name and name in names:
            current, indent, found[name] = name, len(entry[1]), entry[3] or ""
        elif current and line.strip() and len(line) - len(line.lstrip()) > indent:
            found[current] = f"{found[current]} {line.strip()}".strip()
        else:
            current = None if line.strip() else current
            if not _HEADING.fullmatch(line):
                rest.append(line.rstrip())
    return found, re.sub(r"\n{3,}", "\n\n", "\n".join(rest)).strip()


def _is_hashable(hint: Any) -> bool:
    try:
        hash(hint)
    except TypeError:
        return False
    return True
