"""Tests of `@stage`: kinds from hints and docstrings, started as flow does."""

import importlib.machinery
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True
import flow  # noqa: E402
import flow_stage  # noqa: E402
from flow_stage import Array, File, Output, Range  # noqa: E402

DOCS = HERE.parents[1] / "docs"


def is_installed(name):
    # Other tests put something else in PyTorch's place.
    return importlib.machinery.PathFinder.find_spec(name) is not None


def needs(*modules):
    """Passes a test over where a module is not installed, but never in continuous integration."""
    missing = [name for name in modules if not is_installed(name)]
    return unittest.skipIf(missing and not os.environ.get("CI"), f"not installed: {', '.join(missing)}")


class Base(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        self.plugin = self.folder / "flow-stages-mine"

    def write(self, text):
        """Makes it the plugin, with the package beside it."""
        shutil.copytree(HERE / "flow_stage", self.folder / "flow_stage", dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("__pycache__"))
        self.plugin.write_text(f"#!{sys.executable}\n{text}", encoding="utf-8")
        self.plugin.chmod(0o755)

    def start(self, *arguments, stdin=""):
        environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        return subprocess.run([str(self.plugin), *arguments], input=stdin, capture_output=True, text=True, timeout=120,
                              env={**environment, "PYTHONDONTWRITEBYTECODE": "1"})

    def describe(self):
        done = self.start("describe")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return json.loads(done.stdout)

    def run_stage(self, kind, parameters=None, inputs=None, outputs=()):
        """The exit status, the events, and what stands on stderr."""
        (self.folder / "work").mkdir(exist_ok=True)
        request = {"protocol": 1, "kind": kind, "stage": "s", "parameters": parameters or {}, "inputs": inputs or {},
                   "outputs": {role: str(self.folder / name) for role, name in dict(outputs).items()},
                   "work": str(self.folder / "work"), "seed": 42, "threads": 1, "device": "cpu"}
        done = self.start("run", kind, stdin=json.dumps(request))
        events = [json.loads(line) for line in done.stdout.splitlines()]
        return done.returncode, [event for event in events if "loaded" not in event], done.stderr


class Old(Base):
    def test_a_plugin_of_the_form_before_says_of_itself_what_it_said(self):
        self.plugin = self.folder / "flow-stages-old"
        self.write((HERE / "old" / "flow-stages-old").read_text(encoding="utf-8").partition("\n")[2])
        self.assertEqual(self.start("describe").stdout, (HERE / "old" / "describe.json").read_text(encoding="utf-8"))
        status, events, _ = self.run_stage("old-nothing")
        self.assertEqual((status, events), (1, [{"event": "error", "message": "it has nothing to do"}]))
        given = {"rates": {"a": 1}, "net": {"layers": [], "dropout": None}}
        self.assertEqual(self.run_stage("old-all", given)[:2], (0, []))


HINTED = '''
import dataclasses
import json
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Optional

import numpy

from flow_stage import Array, Context, Labels, Mask, Metrics, Output, Range, Table, View, main, stage


@dataclasses.dataclass
class Layer:
    """A layer.

    act: What it ends with.
    """
    width: Annotated[int, Range(1), "How many neurons."]
    act: Literal["relu", "gelu"] = "relu"


class Found(NamedTuple):
    scaled: Array
    labels: Labels
    kept: Mask
    figures: Metrics
    rows: Table


@stage(cpus=2, gpus=1, memory="1.5GiB", seeded=True, version=3, headline=["mean"], path_parameters=["note"])
def take_all(context: Context, features: Array, view: View, text: Annotated[Path, Output("file")], classes: Labels | None = None,
             numbers: Annotated[Metrics | None, "Figures."] = None, factor: Annotated[float, Range(0)] = 2, layers: list[Layer] = [Layer(8)],
             cut: Annotated[float | None, Range(0)] = None, name: Optional[str] = None, *, note: str) -> Found:
    """Takes what hints say.

    A second paragraph: with a colon.

    Args:
        features: The array,
            [n, d].
        view (View): What it did.
        text: The arguments.
        classes: A class a row.
        factor: What each value is multiplied by.
        layers: The layers.
        cut: Where it ends.
        name: A name.
        note: A file.

    Returns more:
        scaled: The product, [n, d].
        labels: Zeros.
        kept: Which.
        figures: The mean.
        rows: A row.
    """
    text.write_text(repr([type(features), features.flags.writeable, classes, numbers, factor, layers, cut, name, note,
                          context.seed, context.keeps_checkpoints]))
    view.text("What", "it did")
    many = len(features)
    return Found(features.T.T * factor, numpy.zeros(many, "i8"), numpy.ones(many, bool),
                 {"mean": numpy.float32(1.5), "deep": {"nan": float("nan")}}, [{"a": 1, "b": "x,y"}, {"a": 2}])


@stage
def numbers(features: Array) -> Metrics:
    """Counts.

    features: The array.
    returns: The number
        of rows.
    """
    print("said")
    return {"rows": len(features)}


@stage(name="wrong")
def wrong_labels(features: Array, what: Literal["float", "deep", "none"]) -> Labels:
    """Returns what is none.

    features: The array.
    what: What it returns.
    returns: No labels.
    """
    return {"float": features[:, 0], "deep": features.astype(int), "none": None}[what]


main(version="1.2", depends=["data"])
'''


class Hinted(Base):
    def setUp(self):
        super().setUp()
        self.write(HINTED)
        (self.folder / "data").write_text("")

    @needs("numpy")
    def test_hints_and_the_docstring_are_the_description(self):
        description = self.describe()
        self.assertEqual({name: description[name] for name in ("protocol", "plugin", "version", "depends")},
                         {"protocol": 1, "plugin": "flow-stages-mine", "version": "1.2", "depends": ["data"]})
        kind, numbers, wrong = description["kinds"]
        self.assertEqual((kind["name"], kind["summary"], kind["version"], kind["seeded"], kind["headline"]),
                         ("take-all", "Takes what hints say", 3, True, ["mean"]))
        self.assertEqual(kind["resources"], {"cpus": 2, "gpus": 1, "memory": 3 * 2**29})
        self.assertEqual(kind["inputs"], [
            {"name": "features", "type": "array", "summary": "The array, [n, d]."},
            {"name": "classes", "type": "labels", "summary": "A class a row.", "optional": True},
            {"name": "numbers", "type": "metrics", "summary": "Figures.", "optional": True}])
        self.assertEqual([(port["name"], port["type"], port["summary"]) for port in kind["outputs"]], [
            ("text", "file", "The arguments."), ("scaled", "array", "The product, [n, d]."), ("labels", "labels", "Zeros."),
            ("kept", "mask", "Which."), ("figures", "metrics", "The mean."), ("rows", "table", "A row."),
            ("view", "view", "What it did.")])
        schema = kind["parameters"]
        self.assertEqual(schema["description"],
                         "Takes what hints say.\n\nA second paragraph: with a colon.\n\nReturns more:")
        self.assertEqual((schema["required"], schema["additionalProperties"]), (["note"], False))
        layer = {"type": "object", "properties": {
            "width": {"type": "integer", "minimum": 1, "description": "How many neurons."},
            "act": {"enum": ["relu", "gelu"], "description": "What it ends with.", "default": "relu"}},
            "required": ["width"], "additionalProperties": False}
        self.assertEqual(schema["properties"], {
            "factor": {"type": "number", "minimum": 0, "description": "What each value is multiplied by.", "default": 2},
            "layers": {"type": "array", "items": layer, "description": "The layers.", "default": [{"width": 8, "act": "relu"}]},
            "cut": {"anyOf": [{"type": "number", "minimum": 0}, {"type": "null"}], "description": "Where it ends.",
                    "default": None},
            "name": {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "A name.", "default": None},
            "note": {"type": "string", "description": "A file."}})
        self.assertEqual(numbers["outputs"], [{"name": "metrics", "type": "metrics", "summary": "The number of rows."}])
        self.assertEqual((numbers["parameters"]["properties"], numbers["resources"]), ({}, {"cpus": 1}))
        self.assertEqual(wrong["name"], "wrong")

    @needs("numpy")
    def test_arrays_come_mapped_and_what_is_returned_is_written(self):
        import numpy
        numpy.save(self.folder / "x.npy", numpy.arange(6, dtype="f4").reshape(3, 2))
        outputs = {"text": "t", "scaled": "s.npy", "labels": "l.npy", "kept": "k.npy", "figures": "f.json", "rows": "r.csv",
                   "view": "view"}
        parameters = {"factor": 3, "layers": [{"width": 2, "act": "gelu"}], "cut": None, "name": "n", "note": "/a"}
        status, events, error = self.run_stage("take-all", parameters, {"features": str(self.folder / "x.npy")}, outputs)
        self.assertEqual((status, events, error), (0, [], ""))
        self.assertEqual((self.folder / "t").read_text(), "[<class 'numpy.memmap'>, False, None, None, 3, "
                         "[Layer(width=2, act='gelu')], None, 'n', '/a', 42, False]")
        scaled = numpy.load(self.folder / "s.npy")
        self.assertEqual((scaled.dtype, scaled.tolist()), ("f4", [[0, 3], [6, 9], [12, 15]]))
        self.assertEqual((numpy.load(self.folder / "l.npy").dtype, numpy.load(self.folder / "k.npy").dtype), ("i8", "bool"))
        self.assertEqual(json.loads((self.folder / "f.json").read_text()), {"mean": 1.5, "deep": {"nan": None}})
        self.assertEqual((self.folder / "r.csv").read_text(), 'a,b\n1,"x,y"\n2,\n')
        self.assertEqual(json.loads((self.folder / "view" / "view.json").read_text())["items"],
                         [{"type": "text", "title": "What", "text": "it did"}])

    @needs("numpy")
    def test_what_can_not_be_read_or_written_is_an_error_in_a_sentence(self):
        import numpy
        numpy.save(self.folder / "x.npy", numpy.zeros((3, 2)))
        (self.folder / "bad.npy").write_text("hello")
        cases = [("float", "x.npy", "TypeError: what the function returned is an array of float64; labels holds integers"),
                 ("deep", "x.npy", "TypeError: what the function returned has the shape [3, 2]; labels has [n]"),
                 ("none", "x.npy", "TypeError: what the function returned is an array of object; labels holds integers"),
                 ("float", "bad.npy", "the input `features` is no .npy array that can be read:")]
        for what, name, words in cases:
            with self.subTest(what=what, name=name):
                status, events, _ = self.run_stage("wrong", {"what": what}, {"features": str(self.folder / name)},
                                                   {"labels": "l.npy"})
                self.assertEqual((status, events[-1]["event"]), (1, "error"))
                self.assertIn(words, events[-1]["message"])
                self.assertFalse((self.folder / "l.npy").exists())
        status, events, error = self.run_stage("wrong", {"wat": 1}, {}, {"labels": "l.npy"})
        self.assertEqual((status, events), (2, []))
        self.assertIn("the parameters are not those of `wrong`: got an unexpected parameter 'wat'", error)
        self.assertIn("missing what", self.run_stage("wrong")[2])


class Mistakes(unittest.TestCase):
    def test_mistakes_name_the_file_the_function_and_the_parameter(self):
        def no_docstring(x: int = 1): pass

        def no_text(features: Array, x: int = 1):
            """Does it.

            features: the array
            """

        def no_hint(x=1):
            """Does it.

            x: what it is
            """

        def odd_hint(x: complex = 1j):
            """Does it.

            x: what it is
            """

        def below(x: Annotated[int, Range(2, 200)] = 1):
            """Does it.

            x: what it is
            """

        def above(x: Annotated[float | None, Range(0, 1)] = 1.5):
            """Does it.

            x: what it is
            """

        def other(x: int = None):
            """Does it.

            x: what it is
            """

        def none_of(x: Literal["a", "b"] = "c"):
            """Does it.

            x: what it is
            """

        def in_list(x: list[int] = [1, "2"]):
            """Does it.

            x: what it is
            """

        def infinite(x: float = float("inf")):
            """Does it.

            x: what it is
            """

        def input_default(x: Array = 3):
            """Does it.

            x: what it is
            """

        def several(*x: int):
            """Does it.

            x: what it is
            """

        def odd_result(x: int = 1) -> int:
            """Does it.

            x: what it is
            """

        def file_result(x: int = 1) -> File:
            """Does it.

            x: what it is
            returns: a file
            """

        def silent_result(x: int = 1) -> Array:
            """Does it.

            x: what it is
            """

        def path(x: Path):
            """Does it.

            x: what it is
            """

        def unknown(x: "Arrray"):  # noqa: F821
            """Does it.

            x: what it is
            """

        class Twice(NamedTuple):
            x: Array

        def twice(x: Annotated[Path, Output("file")]) -> Twice:
            """Does it.

            x: what it is
            """
        cases = [
            (no_docstring, {}, ": no_docstring: the function needs a docstring"),
            (no_text, {}, ": no_text, parameter `x`: say what it is, in a line `x: …` of the docstring"),
            (no_hint, {}, ": no_hint, parameter `x`: it has no annotation; annotate the parameter with int, float"),
            (odd_hint, {}, ": odd_hint, parameter `x`: the annotation complex says nothing to flow"),
            (path, {}, ": path, parameter `x`: the annotation Path says nothing to flow; an input is a `File` or `Folder`"),
            (unknown, {}, ": unknown: an annotation can't be read: name 'Arrray' is not defined"),
            (below, {}, ": below, parameter `x`: its default 1 is below 2"),
            (above, {}, ": above, parameter `x`: its default 1.5 is above 1"),
            (other, {}, ": other, parameter `x`: its default None is no integer"),
            (none_of, {}, ": none_of, parameter `x`: its default 'c' is none of 'a', 'b'"),
            (in_list, {}, ": in_list, parameter `x`: its default '2' is no integer"),
            (infinite, {}, ": infinite, parameter `x`: its default inf is no number that JSON has"),
            (input_default, {}, ": input_default, parameter `x`: an input has no default but None"),
            (several, {}, ": several, parameter `x`: a stage's arguments have names of their own"),
            (odd_result, {}, ": odd_result, what it returns: a stage returns nothing, one artifact"),
            (file_result, {}, ": file_result, what it returns: returned are array, labels"),
            (silent_result, {}, ": silent_result, what it returns: say what it is, in a line `returns: …`"),
            (twice, {}, ": twice, parameter `x`: an argument is an output `x` already"),
            (fine, {"memory": "16 apples"}, ": fine: memory='16 apples': write it like \"800MB\", \"16GB\""),
            (fine, {"cpu": 3}, ": fine: _description() got an unexpected keyword argument 'cpu'"),
            (fine, {"path_parameters": ["y"]}, ": fine: there is no parameter `y`"),
        ]
        for function, traits, words in cases:
            with self.subTest(function=function.__name__, **traits), self.assertRaises(TypeError) as caught:
                flow_stage.stage(**traits)(function)
            place = f"{__file__}:{function.__code__.co_firstlineno}"
            self.assertIn(place + words, str(caught.exception))
            self.assertEqual(len(str(caught.exception).splitlines()), 1)
        with self.assertRaisesRegex(TypeError, r"Output\('fille'\): the artifact types are array, labels"):
            Output("fille")


def fine(x: int = 1):
    """Does it.

    x: what it is
    """


MODELS = '''
from __future__ import annotations

from typing import Literal, Optional

from pydantic import BaseModel, Field, field_validator

from flow_stage import Context, Output, main, stage
from typing import Annotated
from pathlib import Path


class Optimizer(BaseModel):
    lr: float = Field(0.1, gt=0, description="The rate.")
    betas: list[float] = [0.9, 0.99]

    @field_validator("betas")
    @classmethod
    def two(cls, betas):
        if len(betas) != 2:
            raise ValueError("two of them")
        return betas


class Net(BaseModel):
    title: str = "t"
    optimizer: Optimizer = Optimizer()
    others: dict[str, Optimizer] = {}
    kind: Literal["a", "b"] = "a"


@stage
def model(out: Annotated[Path, Output("file")], net: Net = Net(title="x"), maybe: Optional[Optimizer] = None):
    """Takes models.

    out: What it got.
    net: A model.
    maybe: Another.
    """
    out.write_text(repr((net, maybe)))


main()
'''


class Models(Base):
    @needs("pydantic")
    def test_models_of_pydantic_are_nested_parameters(self):
        self.write(MODELS)
        properties = self.describe()["kinds"][0]["parameters"]["properties"]
        optimizer = {"type": "object", "additionalProperties": False, "properties": {
            "lr": {"type": "number", "exclusiveMinimum": 0, "default": 0.1, "description": "The rate."},
            "betas": {"type": "array", "items": {"type": "number"}, "default": [0.9, 0.99]}}}
        default = {"lr": 0.1, "betas": [0.9, 0.99]}
        net = properties["net"]
        self.assertEqual(net["properties"]["optimizer"], {**optimizer, "default": default})
        self.assertEqual(net["properties"]["others"]["additionalProperties"], optimizer)
        self.assertEqual(net["properties"]["title"], {"type": "string", "default": "t"})
        self.assertEqual((net["default"], net["description"], net["additionalProperties"]),
                         ({"title": "x", "optimizer": default, "others": {}, "kind": "a"}, "A model.", False))
        self.assertEqual(properties["maybe"]["anyOf"], [optimizer, {"type": "null"}])
        given = {"net": {"optimizer": {"lr": 1}}, "maybe": {"betas": [1, 2]}}
        self.assertEqual(self.run_stage("model", given, outputs={"out": "o"})[:2], (0, []))
        self.assertEqual((self.folder / "o").read_text(),
                         "(Net(title='t', optimizer=Optimizer(lr=1.0, betas=[0.9, 0.99]), others={}, kind='a'), "
                         "Optimizer(lr=0.1, betas=[1.0, 2.0]))")
        status, events, _ = self.run_stage("model", {"net": {"optimizer": {"betas": [1]}}}, outputs={"out": "o"})
        self.assertEqual((status, events[0]["message"]), (1, "net.optimizer.betas: Value error, two of them"))

    @needs("pydantic")
    def test_a_model_that_contains_itself_is_refused(self):
        from pydantic import BaseModel

        class Tree(BaseModel):
            children: "list[Tree]" = []
        Tree.model_rebuild(_types_namespace={"Tree": Tree})
        with self.assertRaisesRegex(TypeError, "parameter.*: the model Tree contains itself"):
            flow_stage.hints.schema_of("parameter `tree`", Tree)


class Networks(Base):
    @needs("numpy", "safetensors")
    def test_a_state_dict_becomes_a_file_of_safetensors(self):
        import numpy
        path = self.folder / "model.safetensors"
        flow_stage.artifacts.save("it", "model", {"weight": numpy.ones((2, 2), "f4").T}, path)
        self.assertEqual(flow.tensors.read(path)["weight"].tolist(), [[1, 1], [1, 1]])
        if is_installed("torch"):
            import torch
            network = torch.nn.Linear(2, 1)
            flow_stage.artifacts.save("it", "model", network.state_dict(), path)
            self.assertEqual(flow.tensors.read(path)["weight"].tolist(), network.weight.tolist())
        with self.assertRaisesRegex(TypeError, "it is of the type list; a model is a dict of tensors by name"):
            flow_stage.artifacts.save("it", "model", [], path)


class Tables(Base):
    @needs("pandas")
    def test_a_frame_is_a_table(self):
        import pandas
        path = self.folder / "t.csv"
        frame = pandas.DataFrame({"a": [1, 2], "b": ["x", None]})
        flow_stage.artifacts.save("it", "table", frame, path)
        self.assertEqual(path.read_text(), "a,b\n1,x\n2,\n")
        flow_stage.artifacts.save("it", "table", frame.set_index("b"), path)
        self.assertEqual(path.read_text(), "b,a\nx,1\n,2\n")
        for value in [[], [1], None]:
            with self.assertRaisesRegex(TypeError, "a table is a DataFrame of pandas, or a list of dicts"):
                flow_stage.artifacts.save("it", "table", value, path)


class Typed(unittest.TestCase):
    @needs("mypy")
    def test_both_packages_pass_mypy(self):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([sys.executable, "-m", "mypy", "--strict", "--python-version=3.10", "--cache-dir", folder,
                                   "flow", "flow_stage"], capture_output=True, text=True, cwd=HERE)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)


if __name__ == "__main__":
    unittest.main()
