"""Stage kinds of flow in Python: one module, no dependencies, Python 3.10 or later.

A stage kind is a function. Its keyword-only arguments are the parameters, their annotations and defaults the schema:

    import flow_stage

    plugin = flow_stage.Plugin("flow-stages-mine", "0.1.0")

    @plugin.stage(
        inputs={"features": ("array", "the array, [n, d]")},
        outputs={"table": ("table", "one row a column")},
    )
    def summary(context, *, digits: int = 6):
        "Summarises each column of an array."
        ...

    if __name__ == "__main__":
        plugin.main()

Save that as the executable `flow-stages-mine`; `docs/protocol.md` describes what goes over the wire.
"""

import dataclasses
import inspect
import json
import math
import os
import re
import site
import sys
import sysconfig
import tempfile
import threading
import time
import traceback
import types
import typing
from pathlib import Path

__all__ = ["PROTOCOL", "Context", "Failed", "Plugin", "Range", "View"]

#: The protocol's major version. Each side refuses another one; unknown fields are tolerated.
PROTOCOL = 1

#: The artifact types of inputs and outputs.
ARTIFACTS = ("array", "labels", "mask", "model", "metrics", "table", "dataset", "view", "file", "folder")

SIMPLE = {int: "integer", float: "number", str: "string", bool: "boolean", list: "array", dict: "object"}


#: Files of Python code that were opened or run since this module was loaded: what `exec` runs is in no `sys.modules`.
_ran = set()
_began = time.time()


def _audit(event, arguments, ran=_ran.add):
    # It hears of much else, and whatever it raises would be raised there.
    if event == "open":
        path = arguments[0]
        if isinstance(path, str) and path.endswith(".py"):
            ran(path)
    elif event == "exec":
        ran(getattr(arguments[0], "co_filename", None))


sys.addaudithook(_audit)


class Failed(Exception):
    """Raise it to fail the stage with a message for the user: what is wrong, where, and what to do."""


class Range:
    """What numbers a parameter may have, both ends included: `digits: Annotated[int, Range(1, 17)] = 6`. None is no end."""

    def __init__(self, least=None, most=None):
        self.least, self.most = least, most


class Context:
    """What a running stage is given. Its methods may be called from any thread."""

    def __init__(self, request, events):
        self.stage = request["stage"]  #: the stage's name in the workflow
        self.inputs = {role: Path(path) for role, path in request["inputs"].items()}  #: role to path; read-only
        self.outputs = {role: Path(path) for role, path in request["outputs"].items()}  #: role to the path to write
        #: output role to what an earlier action made that this one may go on from (see `continues`); read-only
        self.earlier = {role: Path(path) for role, path in request.get("earlier", {}).items()}
        self.work = Path(request["work"])  #: a folder of the stage's own, for scratch files and checkpoints
        self.seed = request["seed"]  #: the seed of every random draw
        self.threads = max(1, request["threads"])  #: the number of threads that the stage may use
        self.device = request["device"]  #: "cpu", or the device that the workflow asked for
        self._events = events
        self._lock = threading.Lock()

    def progress(self, done, total=0, unit="", message=""):
        """Says how far the stage is: `done` of `total` (0: unknown) in `unit`s."""
        self._emit(event="progress", done=int(done), total=int(total), unit=unit, message=message)

    def metric(self, name, value, step=None):
        """Reports a measured number, of `step` (epoch) where it is one of a series."""
        value = float(value)
        event = {"event": "metric", "name": name, "value": value if math.isfinite(value) else None}
        self._emit(**event, **({} if step is None else {"step": int(step)}))

    def log(self, message):
        """Writes a line to the stage's log."""
        self._emit(event="log", message=str(message))

    def facts(self, **facts):
        """Says what the stage computes with, by name, such as a library's version: it goes into the log and into the
        result's provenance. To be called before anything is computed, so that the log of a stage that crashes has it."""
        facts = {name: str(value) for name, value in facts.items()}
        named = ", ".join(f"{name} {value}" for name, value in facts.items())
        self._emit(event="log", message=f"computes with {named}", facts=facts)

    def warning(self, message):
        """Tells the user something that does not stop the stage."""
        self._emit(event="warning", message=str(message))

    def _loaded(self):
        # So that what ran is what was hashed: the engine knows which files its version of this plugin covers.
        files = _own_code(self.work)
        for first in range(0, len(files), 1000):
            some = files[first:first + 1000]
            self._emit(event="log", message=f"ran code of {len(some)} files of its own", loaded=some)

    def _emit(self, **event):
        # One write a line: the reader never sees half an event.
        with self._lock:
            self._events.write(json.dumps(event) + "\n")
            self._events.flush()


class View:
    """What a stage shows people: the output of type `view`, a folder. `docs/views.md` has the items.

        with flow_stage.View(context.outputs["view"]) as view:
            view.text("What was done", "Each column by itself.")
            view.table("Columns", ["column", "mean"], [[0, 0.5], [1, None]])
            view.chart("Means", "the mean of each column", {"mark": "bar", "data": {"values": […]}, "encoding": {…}})
            view.image("Sketch", "a histogram of column 0", "sketch.png")

    It is written when the block ends well. It needs no plugin: a `run` stage may use it too.
    """

    def __init__(self, folder):
        self.folder = Path(folder)  #: files that items name are written here
        self._items = []

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.write()

    def text(self, title, text):
        """A paragraph of plain text."""
        self.add("text", title=title, text=text)

    def table(self, title, columns, rows):
        """A table; cells are strings, numbers, true, false, or None for an empty one."""
        self.add("table", title=title, columns=[str(column) for column in columns], rows=[list(row) for row in rows])

    def chart(self, title, alt, spec, compare=None):
        """A chart by its Vega-Lite spec. `alt` says what it shows to who can't see it. Charts of several instances that
        share the name `compare` are laid over each other too."""
        self.add("vega-lite", title=title, alt=alt, spec=spec, **({} if compare is None else {"compare": compare}))

    def image(self, title, alt, file):
        """A PNG, JPEG or SVG file in `folder`, by its name there."""
        self.add("image", title=title, alt=alt, file=str(file))

    def add(self, type, **item):
        """Any item, by its fields; NaN and infinity, which JSON does not have, become empty."""
        self._items.append(_finite({"type": type, **item}))

    def write(self):
        """Writes `view.json`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"view": 1, "items": self._items}, ensure_ascii=False, allow_nan=False)
        (self.folder / "view.json").write_text(text + "\n", encoding="utf-8")


def _finite(value):
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


class Plugin:
    """A list of stage kinds that one executable offers."""

    def __init__(self, name, version, *, depends=()):
        """name, version: for people.
        depends: files and folders, relative to the plugin's file, that results depend on beside the modules that it
            imports from its own folder: what it reads or runs by path. They are part of the version of all its kinds.
        """
        self.name, self.version = name, version
        self._depends = [str(path) for path in depends]
        self._kinds = {}

    def stage(self, *, name=None, version=None, revisions=(), inputs=None, outputs=None, parameters=None, path_parameters=(),
              seeded=False, checkpoints=False, continues=(), threads_parameter=None, headline=(), cpus=1):
        """Makes the decorated function a stage kind. It is called with a `Context` and the parameters by name.

        name: what `uses` names; by default the function's name with dashes.
        version: raise it when the same inputs give other results for a reason that stands in no file of the plugin's:
            flow hashes its file, the modules that it imports from its own folder, `depends` and the Python.
        revisions: (version, JSON Schema of the parameters) pairs: a higher version for those parameters alone.
        inputs, outputs: role to (artifact type, phrase), or (artifact type, phrase, "optional") for an input. The
            first output is what a bare stage name refers to.
            Annotations may be int, float, str, bool, list, dict, list[int], dict[str, float], Literal["a", "b"],
            float | None, dataclasses (the function gets an instance), and Annotated[int, Range(1, 17), "What it is."].
            A line `digits: What it is.` of the docstring describes a parameter as well.
        parameters: what annotations don't say, by parameter: {"digits": {"minimum": 1, "description": "…"}}.
        path_parameters: the parameters that are paths to read; the engine hashes what they name.
        seeded: whether it draws random numbers, so that the seed is part of the key.
        checkpoints: whether it goes on from its work folder after an interruption.
        continues: parameters (JSON pointers such as "/epochs/max") that only say how long to go on: `Context.earlier`
            is then what an action made that differs by smaller numbers there. The result must not depend on it.
        threads_parameter: the parameter that pins the number of threads: where it is a number, the stage gets exactly as many.
        headline: the numbers of its `metrics` outputs that a person wants to see first.
        cpus: threads that it asks for; 0 is every core.
        """
        def add(function):
            kind = name or function.__name__.replace("_", "-")
            text = inspect.getdoc(function)
            if not text:
                raise TypeError(f"{kind}: the function needs a docstring; its first line is the kind's summary")
            description = {
                "name": kind,
                "summary": text.splitlines()[0].rstrip("."),
                "parameters": _schema(kind, function, text, parameters or {}),
                "inputs": [_port(kind, role, *port) for role, port in (inputs or {}).items()],
                "outputs": [_port(kind, role, *port) for role, port in (outputs or {}).items()],
                "path_parameters": list(path_parameters),
                "seeded": seeded,
                "checkpoints": checkpoints,
                "continues": list(continues),
                "headline": list(headline),
                "resources": {"cpus": cpus},
            }
            if threads_parameter is not None:
                description["threads_parameter"] = threads_parameter
            if version is not None:
                description["version"] = version
                description["revisions"] = [{"version": number, "when": when} for number, when in revisions]
            hints = {name: hint for name, hint in _hints(function).items() if not _says_what(parameters, name)}
            self._kinds[kind] = (description, function, hints)
            return function

        return add

    def main(self, arguments=None):
        """The whole process: reads the command line, serves it, and exits."""
        arguments = sys.argv[1:] if arguments is None else arguments
        if arguments == ["describe"]:
            kinds = [description for description, _, _ in self._kinds.values()]
            description = {"protocol": PROTOCOL, "plugin": self.name, "version": self.version, "kinds": kinds}
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

    def _run(self, kind):
        try:
            function, request = self._accept(kind)
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
        context = Context(request, events)
        try:
            hints = self._kinds[kind][2]
            parameters = request["parameters"].items()
            function(context, **{name: _value(hints.get(name), value) for name, value in parameters})
            context._loaded()
        except Failed as error:
            context._emit(event="error", message=str(error))
            return 1
        except Exception as error:
            traceback.print_exc()
            context._emit(event="error", message=f"{type(error).__name__}: {error} (a traceback stands in the log)")
            return 1
        return 0

    def _accept(self, kind):
        if kind not in self._kinds:
            raise Failed(f"no stage kind `{kind}`; it has {', '.join(self._kinds)}")
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
        function = self._kinds[kind][1]
        try:
            inspect.signature(function).bind(None, **request["parameters"])
        except TypeError as error:
            raise Failed(f"the parameters are not those of `{kind}`: {error}") from None
        return function, request


def _own_code(work):
    """The files of code that ran in this process and belong neither to Python nor to an installed package, sorted. Code
    that the stage made itself is none of them: what lies in its work folder, in the user's cache, in that of a compiler, or
    is younger than this process."""
    paths = sysconfig.get_paths()
    folders = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")] + site.getsitepackages()
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folders += [str(work), cache]
    # Where torch.compile keeps what it wrote.
    inductor = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    folders.append(inductor or os.path.join(tempfile.gettempdir(), "torchinductor_"))
    known = tuple(os.path.realpath(folder) + os.sep for folder in folders[:-1])
    known += (os.path.realpath(folders[-1]) + (os.sep if inductor else ""),)
    loaded = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    found = set()
    for file in {*loaded, *_ran}:
        try:
            if isinstance(file, str) and os.path.isfile(file) and os.stat(file).st_ctime < _began:
                if not os.path.realpath(file).startswith(known):
                    found.add(os.path.abspath(file))
        except (OSError, ValueError):
            continue
    return sorted(found)


def _port(kind, role, artifact, summary, optional=None):
    if artifact not in ARTIFACTS or optional not in (None, "optional"):
        raise TypeError(f"{kind}.{role}: write (type, phrase) or (type, phrase, \"optional\"), with a type of "
                        f"{', '.join(ARTIFACTS)}")
    port = {"name": role, "type": artifact, "summary": summary}
    return {**port, "optional": True} if optional else port


def _schema(kind, function, text, more):
    """The JSON Schema of a function's keyword-only arguments."""
    properties, required = {}, []
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        schema = dict(more.get(name, {}))
        if not _says_what(more, name):
            schema = {**schema, **_schema_of(f"{kind}.{name}", parameter.annotation), **more.get(name, {})}
        line = re.search(rf"^\s*{re.escape(name)}: (.+)$", text, re.MULTILINE)
        if line and "description" not in schema:
            schema["description"] = line[1]
        if parameter.default is inspect.Parameter.empty:
            required.append(name)
        else:
            schema["default"] = _plain(parameter.default)
        properties[name] = schema
    unknown = more.keys() - properties.keys()
    if unknown:
        raise TypeError(f"{kind}: `parameters` describes {', '.join(sorted(unknown))}, which the function does not take")
    return {"type": "object", "description": text, "properties": properties, "required": required,
            "additionalProperties": False}


def _says_what(more, name):
    return bool((more or {}).get(name, {}).keys() & {"type", "enum", "anyOf", "oneOf"})


def _hints(function):
    parameters = inspect.signature(function, eval_str=True).parameters.items()
    return {name: parameter.annotation for name, parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY}


def _schema_of(place, hint):
    """The JSON Schema of an annotation."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in SIMPLE:
        return {"type": SIMPLE[hint]}
    if hint is type(None):
        return {"type": "null"}
    if origin is typing.Annotated:
        schema = _schema_of(place, arguments[0])
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
        return {"anyOf": [_schema_of(place, one) for one in arguments]}
    if origin is list and len(arguments) == 1:
        return {"type": "array", "items": _schema_of(place, arguments[0])}
    if origin is dict and arguments[0] is str:
        return {"type": "object", "additionalProperties": _schema_of(place, arguments[1])}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        properties, required = {}, []
        hints = typing.get_type_hints(hint, include_extras=True)
        for field in dataclasses.fields(hint):
            schema = _schema_of(f"{place}.{field.name}", hints[field.name])
            if field.default is not dataclasses.MISSING:
                schema["default"] = _plain(field.default)
            elif field.default_factory is not dataclasses.MISSING:
                schema["default"] = _plain(field.default_factory())
            else:
                required.append(field.name)
            properties[field.name] = schema
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    raise TypeError(f"{place}: annotate the parameter with int, float, str, bool, list, dict, list[int], Literal[…], "
                    "float | None or a dataclass, or give its schema in `parameters`")


def _plain(value):
    """A default as JSON has it."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _value(hint, value):
    """A value of the request as the annotation has it: dataclasses instead of objects."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _value(arguments[0], value)
    if origin is list and arguments and isinstance(value, list):
        return [_value(arguments[0], item) for item in value]
    if origin is dict and arguments and isinstance(value, dict):
        return {name: _value(arguments[1], item) for name, item in value.items()}
    if origin in (typing.Union, types.UnionType):
        names = value.keys() if isinstance(value, dict) else None
        for one in arguments:
            if names is not None and dataclasses.is_dataclass(one) and names <= {f.name for f in dataclasses.fields(one)}:
                return _value(one, value)
        return value
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        hints = typing.get_type_hints(hint, include_extras=True)
        return hint(**{name: _value(hints[name], item) for name, item in value.items()})
    return value
