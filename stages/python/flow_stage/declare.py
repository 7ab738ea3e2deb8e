"""`@stage`: a stage kind from a function's hints and docstring."""

import inspect
import typing
from collections.abc import Callable
from typing import Any

from . import artifacts, hints
from .artifacts import Input, Output
from .context import Context
from .view import View


class Declared:
    """What a function's signature and docstring say. Raises `TypeError` with the file, the function and the argument."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._context: str | None = None
        #: argument to artifact type, and whether it may be left out
        self._taken: dict[str, tuple[str, bool]] = {}
        self._written: dict[str, str] = {}
        self._views: set[str] = set()
        self._hints: dict[str, Any] = {}
        text = inspect.getdoc(function)
        if not text:
            raise TypeError(f"{place_of(function)}: the function needs a docstring; its first line is the kind's summary")
        try:
            signature = inspect.signature(function, eval_str=True)
        except NameError as error:
            raise TypeError(f"{place_of(function)}: an annotation can't be read: {error}") from None
        self._texts, self._text = hints.documented(text, {*signature.parameters, "return", *_fields(signature)})
        self._properties: dict[str, Any] = {}
        self._required: list[str] = []
        for name, parameter in signature.parameters.items():
            self._add(name, parameter)
        self._returned, self._is_one = self._results(signature.return_annotation)

    def description(self) -> dict[str, Any]:
        """The fields of the kind's description that the function decides."""
        summary, _, text = self._text.partition("\n")
        written = {name: kind for name, kind in self._written.items() if name not in self._views}
        # The first is what a bare stage name refers to: views come last.
        outputs = {**written, **self._returned, **self._written}
        return {
            "summary": summary.rstrip("."),
            "parameters": {"type": "object", "description": f"{summary}\n{text}".strip(), "properties": self._properties,
                           "required": self._required, "additionalProperties": False},
            "inputs": [{"name": name, "type": kind, "summary": self._texts[name], **({"optional": True} if optional else {})}
                       for name, (kind, optional) in self._taken.items()],
            "outputs": [{"name": name, "type": kind, "summary": self._texts[name]} for name, kind in outputs.items()],
        }

    def bind(self, parameters: dict[str, Any]) -> None:
        """Raises `TypeError` where these are not the parameters."""
        for name in parameters:
            if name not in self._properties:
                raise TypeError(f"got an unexpected parameter '{name}'")
        missing = [name for name in self._required if name not in parameters]
        if missing:
            raise TypeError(f"missing {', '.join(missing)}")

    def run(self, context: Context, parameters: dict[str, Any]) -> None:
        """Calls the function with what a request gives, and writes what it returns."""
        arguments = {name: hints.value_of(name, self._hints[name], value) for name, value in parameters.items()}
        if self._context:
            arguments[self._context] = context
        for name, (kind, _) in self._taken.items():
            path = context.inputs.get(name)
            arguments[name] = None if path is None else artifacts.load(name, kind, path)
        views = []
        for name in self._written:
            arguments[name] = context.outputs[name]
            if name in self._views:
                arguments[name] = View(context.outputs[name])
                views.append(arguments[name])
        made = self._function(**arguments)
        for view in views:
            view.write()
        for name, kind in self._returned.items():
            value = made if self._is_one else getattr(made, name, None)
            what = "what the function returned" if self._is_one else f"`{name}` of what the function returned"
            artifacts.save(what, kind, value, context.outputs[name])

    def _add(self, name: str, parameter: inspect.Parameter) -> None:
        hint, place = parameter.annotation, place_of(self._function, name)
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{place}: a stage's arguments have names of their own; `*`, `**` and `/` can't be")
        if hint is Context or (name == "context" and hint is parameter.empty):
            self._context = name
            return
        base, optional = _without_none(hint)
        taken, written = artifacts.marked(base, Input), artifacts.marked(hint, Output)
        is_given = parameter.default is not parameter.empty
        if written or hint is View:
            self._written[name] = written.type if written else "view"
            if hint is View:
                self._views.add(name)
            if is_given:
                raise TypeError(f"{place}: an output has no default")
        elif taken:
            self._taken[name] = (taken.type, optional)
            if is_given and (parameter.default is not None or not optional):
                raise TypeError(f"{place}: an input has no default but None, of one that may be left out: "
                                f"`{name}: {taken.type.capitalize()} | None = None`")
        else:
            self._properties[name] = self._parameter(place, name, parameter)
            self._hints[name] = hint
            if not is_given:
                self._required.append(name)
        self._describe(place, name, base)

    def _parameter(self, place: str, name: str, parameter: inspect.Parameter) -> dict[str, Any]:
        schema = hints.schema_of(place, parameter.annotation, described=True)
        if "description" not in schema and name in self._texts:
            schema["description"] = self._texts[name]
        self._texts.setdefault(name, schema.get("description", ""))
        if parameter.default is not parameter.empty:
            schema["default"] = hints.plain(parameter.default)
            hints.check_default(place, schema)
        return schema

    def _describe(self, place: str, name: str, hint: Any) -> None:
        text = artifacts.text_of(hint) or self._texts.get(name)
        if not text:
            how = "returns" if name == "return" else name
            raise TypeError(f"{place}: say what it is, in a line `{how}: …` of the docstring or as Annotated[…, \"…\"]")
        self._texts[name] = text

    def _results(self, hint: Any) -> tuple[dict[str, str], bool]:
        """Role to artifact type of what the function returns, and whether that is one value."""
        if hint in (None, inspect.Signature.empty):
            return {}, False
        place = place_of(self._function, "return")
        fields = {"return": hint} if artifacts.marked(hint, Input) else _named(hint)
        if not fields:
            raise TypeError(f"{place}: a stage returns nothing, one artifact (`-> Array`), or a NamedTuple of artifacts")
        found = {}
        for name, one in fields.items():
            mark = artifacts.marked(one, Input)
            if mark is None or mark.type not in artifacts.RETURNED:
                raise TypeError(f"{place_of(self._function, name)}: returned are {', '.join(artifacts.RETURNED)}; anything "
                                "else is written: `out: Annotated[Path, Output(\"file\")]`")
            role = mark.type if name == "return" else name
            if role in self._written:
                raise TypeError(f"{place_of(self._function, name)}: an argument is an output `{role}` already")
            self._describe(place_of(self._function, name), name, one)
            self._texts[role] = self._texts[name]
            found[role] = mark.type
        return found, "return" in fields


def place_of(function: Callable[..., Any], argument: str | None = None) -> str:
    """Where something is declared: the file, the line, the function and the argument."""
    code = inspect.unwrap(function).__code__
    what = "" if argument is None else ", what it returns" if argument == "return" else f", parameter `{argument}`"
    return f"{code.co_filename}:{code.co_firstlineno}: {function.__name__}{what}"


def _without_none(hint: Any) -> tuple[Any, bool]:
    """`Array` of `Array | None`, and whether None was there."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Annotated:
        inner, optional = _without_none(arguments[0])
        annotated: Any = typing.Annotated
        parts = (inner, *arguments[1:])
        return (annotated[parts], True) if optional else (hint, False)
    if type(None) in arguments and len(arguments) == 2:
        other = next(one for one in arguments if one is not type(None))
        if artifacts.marked(other, Input):
            return other, True
    return hint, False


def _named(hint: Any) -> dict[str, Any]:
    return typing.get_type_hints(hint, include_extras=True) if hasattr(hint, "_fields") else {}


def _fields(signature: inspect.Signature) -> tuple[str, ...]:
    return getattr(signature.return_annotation, "_fields", ())


def memory_of(text: int | str) -> int:
    """Bytes of `16GB` or `16GiB`. Raises `TypeError` for anything else."""
    if isinstance(text, int) and text > 0:
        return text
    units = {f"{letter}{end}": base ** (power + 1) for power, letter in enumerate("KMGT")
             for end, base in [("B", 1000), ("iB", 1024)]}
    number = str(text).rstrip("KMGTiB ")
    unit = str(text)[len(number):].strip()
    try:
        bytes = float(number) * units[unit]
    except (KeyError, ValueError):
        bytes = 0
    if bytes < 1:
        raise TypeError(f"memory={text!r}: write it like \"800MB\", \"16GB\" or \"16GiB\"")
    return int(bytes)
