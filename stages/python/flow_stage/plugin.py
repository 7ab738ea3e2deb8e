"""A plugin: its kinds, and the process that describes and runs them."""

import inspect
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypedDict, TypeVar, overload

from . import hints
from .artifacts import ARTIFACTS
from .context import Context, Failed
from .declare import Declared, memory_of, place_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: The protocol's major version. Each side refuses another one; unknown fields are tolerated.
PROTOCOL = 1

_Function = TypeVar("_Function", bound=Callable[..., Any])


class _Kind(NamedTuple):
    description: dict[str, Any]
    #: raises `TypeError` where the parameters are others
    bind: Callable[[dict[str, Any]], object]
    run: Callable[[Context, dict[str, Any]], object]


class Plugin:
    """A list of stage kinds that one executable offers."""

    def __init__(self, name: str, version: str, *, depends: Iterable[object] = ()) -> None:
        """name, version: for people.
        depends: files and folders, relative to the plugin's file, that results depend on beside the modules that it
            imports from its own folder: what it reads or runs by path. They are part of the version of all its kinds.
        """
        self.name, self.version = name, version
        self._depends = [str(path) for path in depends]
        self._kinds: dict[str, _Kind] = {}

    def stage(self, *, inputs: Mapping[str, tuple[str, ...]] | None = None,
              outputs: Mapping[str, tuple[str, ...]] | None = None, parameters: Mapping[str, dict[str, Any]] | None = None,
              **traits: "Unpack[Traits]") -> Callable[[_Function], _Function]:
        """Makes the decorated function a stage kind. It is called with a `Context` and the parameters by name, which are its
        keyword-only arguments. `flow_stage.stage` asks for less writing, and finds more mistakes.

        inputs, outputs: role to (artifact type, phrase), or (artifact type, phrase, "optional") for an input. The
            first output is what a bare stage name refers to.
            Annotations may be int, float, str, bool, list, dict, list[int], dict[str, float], Literal["a", "b"],
            float | None, dataclasses (the function gets an instance), and Annotated[int, Range(1, 17), "What it is."].
            A line `digits: What it is.` of the docstring describes a parameter as well.
        parameters: what annotations don't say, by parameter: {"digits": {"minimum": 1, "description": "…"}}.
        traits: as `Traits` lists them.
        """
        def add(function: _Function) -> _Function:
            text = inspect.getdoc(function)
            if not text:
                raise TypeError(f"{place_of(function)}: the function needs a docstring; its first line is the kind's summary")
            described = {
                "summary": text.splitlines()[0].rstrip("."),
                "parameters": _schema(function, text, parameters or {}),
                "inputs": [_port(function, role, *port) for role, port in (inputs or {}).items()],
                "outputs": [_port(function, role, *port) for role, port in (outputs or {}).items()],
            }
            description = _description(function, described, **traits)
            by_name = {name: hint for name, hint in _hints(function).items() if not _says_what(parameters, name)}

            def run(context: Context, given: dict[str, Any]) -> None:
                function(context, **{name: hints.value_of(name, by_name.get(name), value) for name, value in given.items()})
            signature = inspect.signature(function)
            self._kinds[description["name"]] = _Kind(description, lambda given: signature.bind(None, **given), run)
            return function

        return add

    def main(self, arguments: Sequence[str] | None = None) -> NoReturn:
        """The whole process: reads the command line, serves it, and exits."""
        arguments = sys.argv[1:] if arguments is None else list(arguments)
        if arguments == ["describe"]:
            kinds = [kind.description for kind in self._kinds.values()]
            description: dict[str, Any] = {"protocol": PROTOCOL, "plugin": self.name, "version": self.version, "kinds": kinds}
            if self._depends:
                description["depends"] = self._depends
            json.dump(description, sys.stdout, indent=2)
            print()
            sys.exit(0)
        if len(arguments) == 2 and arguments[0] == "run":
            sys.exit(self._run(arguments[1]))
        print(f"{self.name} {self.version} is a plugin of flow, with the stage kinds {', '.join(self._kinds)}.\n\n"
              f"flow starts it for you: name one of these in a workflow (`uses = …`). By hand: `{self.name} describe`\n"
              f"prints what it offers, and `{self.name} run KIND` reads a request on stdin and runs one stage.",
              file=sys.stderr)
        sys.exit(2)

    def _run(self, name: str) -> int:
        try:
            kind, request = self._accept(name)
        except Failed as error:
            print(f"{self.name}: {error}", file=sys.stderr)
            return 2
        # What the stage or a C library prints must not end up between the events: stdout becomes the log.
        sys.stdout.flush()
        events = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        if os.environ.get("FLOW_DEBUG"):
            # `flow debug`: stdin was the request, and a debugger asks the person at the terminal.
            os.dup2(os.open("/dev/tty", os.O_RDWR), 0)
            sys.stdin = open(0, encoding="utf-8", closefd=False)
        context = Context(request, events, kind.description["checkpoints"])
        try:
            kind.run(context, request["parameters"])
            context._loaded()
        except Failed as error:
            context._emit(event="error", message=str(error))
            return 1
        except Exception as error:
            traceback.print_exc()
            context._emit(event="error", message=f"{type(error).__name__}: {error} (a traceback stands in the log)")
            return 1
        return 0

    def _accept(self, name: str) -> tuple[_Kind, dict[str, Any]]:
        kind = self._kinds.get(name)
        if kind is None:
            raise Failed(f"no stage kind `{name}`; it has {', '.join(self._kinds)}")
        try:
            request = json.load(sys.stdin)
        except ValueError as error:
            raise Failed(f"the request on stdin is not JSON: {error}") from None
        if not isinstance(request, dict) or "protocol" not in request:
            raise Failed("the request on stdin names no protocol version")
        if request["protocol"] != PROTOCOL:
            raise Failed(f"the engine speaks protocol {request['protocol']}, this plugin speaks {PROTOCOL}; install a "
                         "plugin and a flow of the same release")
        missing = {"stage", "parameters", "inputs", "outputs", "work", "seed", "threads", "device"} - request.keys()
        if missing:
            raise Failed(f"the request on stdin is not complete: it has no {', '.join(sorted(missing))}")
        try:
            kind.bind(request["parameters"])
        except TypeError as error:
            raise Failed(f"the parameters are not those of `{name}`: {error}") from None
        return kind, request


class Traits(TypedDict, total=False):
    """What a kind is beside its function."""

    #: what `uses` names; by default the function's name with dashes
    name: str
    #: raise it when the same inputs give other results for a reason that stands in no file of the plugin's: flow hashes its
    #: file, the modules that it imports from its own folder, `depends` and the Python
    version: int
    #: (version, JSON Schema of the parameters) pairs: a higher version for those parameters alone
    revisions: Iterable[tuple[int, dict[str, Any]]]
    #: the parameters that are paths to read; the engine hashes what they name
    path_parameters: Iterable[str]
    #: whether it draws random numbers, so that the seed is part of the key
    seeded: bool
    #: whether it goes on from its work folder after an interruption (`Context.checkpoint`)
    checkpoints: bool
    #: parameters (JSON pointers such as "/epochs/max") that only say how long to go on: `Context.earlier` is then what an
    #: action made that differs by smaller numbers there. The result must not depend on it
    continues: Iterable[str]
    #: the parameter that pins the number of threads: where it is a number, the stage gets exactly as many
    threads_parameter: str
    #: the numbers of its `metrics` outputs that a person wants to see first
    headline: Iterable[str]
    #: threads that it asks for; 0 is every core
    cpus: int
    #: GPUs that it makes use of where there are any
    gpus: int
    #: memory that it needs, as "16GB"
    memory: str


def _description(function: Callable[..., Any], described: dict[str, Any], *, name: str | None = None,
                 version: int | None = None, revisions: Iterable[tuple[int, dict[str, Any]]] = (),
                 path_parameters: Iterable[str] = (), seeded: bool = False, checkpoints: bool = False,
                 continues: Iterable[str] = (), threads_parameter: str | None = None, headline: Iterable[str] = (),
                 cpus: int = 1, gpus: int = 0, memory: str | None = None) -> dict[str, Any]:
    resources = {"cpus": cpus, **({"gpus": gpus} if gpus else {}), **({"memory": memory_of(memory)} if memory else {})}
    description = {
        "name": name or function.__name__.replace("_", "-"),
        **described,
        "path_parameters": list(path_parameters),
        "seeded": seeded,
        "checkpoints": checkpoints,
        "continues": list(continues),
        "headline": list(headline),
        "resources": resources,
    }
    if threads_parameter is not None:
        description["threads_parameter"] = threads_parameter
    if version is not None:
        description["version"] = version
        description["revisions"] = [{"version": number, "when": when} for number, when in revisions]
    return description


#: The kinds that `stage` has made.
_declared: dict[str, _Kind] = {}


@overload
def stage(function: _Function, /) -> _Function: ...


@overload
def stage(**traits: "Unpack[Traits]") -> Callable[[_Function], _Function]: ...


def stage(function: Any = None, /, **traits: Any) -> Any:
    """Makes the decorated function a stage kind: `@stage`, or `@stage(cpus=4, gpus=1, memory="16GB")`, as `Traits` lists.

    Its arguments by their hints:
    - `Array`, `Labels`, `Mask`, `Metrics`, `Table`, `Model`, `Dataset`, `File`, `Folder`: an input, with `| None` one that may
      be left out. Arrays come mapped into memory, metrics as a dict, anything else as its path.
    - `Annotated[Path, Output("model")]`: the path of an output to write; `View`: what the stage shows.
    - `Context`: what the stage may say and ask.
    - all others are parameters: int, float, str, bool, list, dict, list[int], dict[str, float], Literal["a", "b"],
      float | None, Annotated[int, Range(2, 200)], dataclasses and pydantic models. Defaults are checked.
    What it returns is an output too: `-> Array`, or a NamedTuple of several. A bare stage name refers to the first output:
    those that are written come first, in the order of the arguments, then those that are returned, then views.

    The docstring is the kind's page, its first line the summary. A line `name: What it is.` for each argument describes it,
    `returns: …` what is returned.
    """
    def add(function: _Function) -> _Function:
        declared = Declared(function)
        try:
            description = _description(function, declared.description(), **traits)
        except TypeError as error:
            raise TypeError(f"{place_of(function)}: {error}") from None
        kind = description["name"]
        if kind in _declared:
            raise TypeError(f"{place_of(function)}: there is a kind `{kind}` already; give it a name: @stage(name=\"…\")")
        for parameter in [*description["path_parameters"], *filter(None, [description.get("threads_parameter")])]:
            if parameter not in description["parameters"]["properties"]:
                raise TypeError(f"{place_of(function)}: there is no parameter `{parameter}`")
        _declared[kind] = _Kind(description, declared.bind, declared.run)
        return function

    return add if function is None else add(function)


def main(*, version: str = "0", depends: Iterable[object] = ()) -> None:
    """The whole process of a plugin that offers what `stage` decorated: reads the command line, serves it, and exits.

    version: for people. depends: as of `Plugin`.
    """
    name = os.path.basename(sys.argv[0]).removesuffix(".py")
    plugin = Plugin(name, version, depends=depends)
    plugin._kinds = _declared
    plugin.main()


def _port(function: Callable[..., Any], role: str, artifact: str, summary: str, optional: str | None = None) -> dict[str, Any]:
    if artifact not in ARTIFACTS or optional not in (None, "optional"):
        raise TypeError(f"{place_of(function)}, `{role}`: write (type, phrase) or (type, phrase, \"optional\"), with a type "
                        f"of {', '.join(ARTIFACTS)}")
    port: dict[str, Any] = {"name": role, "type": artifact, "summary": summary}
    return {**port, "optional": True} if optional else port


def _schema(function: Callable[..., Any], text: str, more: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The JSON Schema of a function's keyword-only arguments."""
    properties, required = {}, []
    for name, hint in _hints(function).items():
        schema = dict(more.get(name, {}))
        if not _says_what(more, name):
            schema = {**schema, **hints.schema_of(place_of(function, name), hint), **more.get(name, {})}
        line = re.search(rf"^\s*{re.escape(name)}: (.+)$", text, re.MULTILINE)
        if line and "description" not in schema:
            schema["description"] = line[1]
        default = inspect.signature(function).parameters[name].default
        if default is inspect.Parameter.empty:
            required.append(name)
        else:
            schema["default"] = hints.plain(default)
        properties[name] = schema
    unknown = more.keys() - properties.keys()
    if unknown:
        raise TypeError(f"{place_of(function)}: `parameters` describes {', '.join(sorted(unknown))}, which the function does "
                        "not take")
    return {"type": "object", "description": text, "properties": properties, "required": required,
            "additionalProperties": False}


def _says_what(more: Mapping[str, dict[str, Any]] | None, name: str) -> bool:
    return bool((more or {}).get(name, {}).keys() & {"type", "enum", "anyOf", "oneOf"})


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function, eval_str=True).parameters.items()
    return {name: parameter.annotation for name, parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
