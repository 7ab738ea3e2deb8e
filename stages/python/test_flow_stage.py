"""Tests of the Python module and of the example plugin, which they start as flow does."""

import contextlib
import io
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True
import flow_stage  # noqa: E402

MISBEHAVING = '''
import os, sys
sys.path.insert(0, {here!r})
import flow_stage
plugin = flow_stage.Plugin("flow-stages-noisy", "1")

@plugin.stage()
def noisy(context):
    """Prints where events stand."""
    print("not an event")
    os.write(1, b"nor this\\n")
    context.log("an event")
    context.facts(numpy="2.1", threads=3)

@plugin.stage()
def broken(context):
    """Has a bug."""
    context.metric("loss", float("nan"), step=3)
    return [][1]

plugin.main()
'''


def npy(shape, values, code="<f4"):
    header = repr({"descr": code, "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
    body = struct.pack(f"<{len(values)}{'f' if code == '<f4' else 'd'}", *values)
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


class Base(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def request(self, **changes):
        request = {
            "protocol": 1, "kind": "column-summary", "stage": "summary", "parameters": {"digits": 3},
            "inputs": {"features": str(self.folder / "x.npy")},
            "outputs": {"table": str(self.folder / "t.csv"), "view": str(self.folder / "view")},
            "work": str(self.folder), "seed": 42, "threads": 1, "device": "cpu", "a_later_field": True,
        }
        return json.dumps({**request, **changes})

    def start(self, *arguments, stdin="", plugin=HERE / "flow-stages-example"):
        done = subprocess.run([str(plugin), *arguments], input=stdin, capture_output=True, text=True, timeout=60,
                              env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"})
        return done.returncode, done.stdout, done.stderr

    def events(self, text):
        """All events but the last of a stage that went well, which says what code it ran."""
        events = [json.loads(line) for line in text.splitlines()]
        return [event for event in events if "loaded" not in event]

    def loaded(self, text):
        return [path for line in text.splitlines() for path in json.loads(line).get("loaded", [])]


class Example(Base):
    def test_describe_prints_the_kind_with_its_schema(self):
        status, out, _ = self.start("describe")
        description = json.loads(out)
        self.assertEqual((status, description["protocol"], description["plugin"]), (0, 1, "flow-stages-example"))
        (kind,) = description["kinds"]
        self.assertEqual((kind["name"], kind["version"]), ("column-summary", 2))
        self.assertEqual(kind["summary"], "Summarises each column of an array")
        self.assertEqual(kind["parameters"]["properties"]["digits"], {
            "minimum": 1, "maximum": 17, "description": "Significant digits of the numbers.", "type": "integer",
            "default": 6})
        self.assertEqual(kind["parameters"]["additionalProperties"], False)
        self.assertEqual([port["type"] for port in kind["inputs"] + kind["outputs"]], ["array", "table", "view"])

    def test_the_protocol_page_shows_what_the_plugin_says(self):
        page = (HERE.parents[1] / "docs" / "protocol.md").read_text(encoding="utf-8")
        description, request, events = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
        self.assertEqual(json.loads(description), json.loads(self.start("describe")[1]))
        self.assertEqual(json.loads(request).keys(), json.loads(self.request()).keys() - {"a_later_field"})
        (self.folder / "x.npy").write_bytes(npy((3, 2), [1, float("nan")] * 3))
        _, out, _ = self.start("run", "column-summary", stdin=self.request())
        for event in self.events(events):
            self.assertIn({"message": "", **event} if event["event"] == "progress" else event, self.events(out))

    def test_run_writes_the_table_and_only_events(self):
        nan = float("nan")
        for code in ("<f4", "<f8"):
            (self.folder / "x.npy").write_bytes(npy((3, 2), [1, 5, 2, nan, 6, nan], code))
            status, out, error = self.start("run", "column-summary", stdin=self.request())
            self.assertEqual((status, error), (0, ""))
            # By hand: mean 3, deviations -2, -1, 3: variance 14/3, its root 2.160.
            self.assertEqual((self.folder / "t.csv").read_text(),
                             "column,count,mean,std,min,max\n0,3,3,2.16,1,6\n1,1,5,0,5,5\n")
            self.assertEqual(json.loads((self.folder / "view" / "view.json").read_text())["items"][0], {
                "type": "table", "title": "Columns", "columns": ["column", "count", "mean", "std", "min", "max"],
                "rows": [[0, 3, 3.0, 2.16, 1.0, 6.0], [1, 1, 5.0, 0.0, 5.0, 5.0]]})
            self.assertEqual(self.events(out)[-2:], [
                {"event": "metric", "name": "columns", "value": 2.0},
                {"event": "metric", "name": "rows", "value": 3.0}])

    def test_a_column_without_numbers_is_a_warning(self):
        (self.folder / "x.npy").write_bytes(npy((2,), [float("nan")] * 2))
        status, out, _ = self.start("run", "column-summary", stdin=self.request())
        self.assertEqual(status, 0)
        self.assertIn({"event": "warning", "message": "column 0 holds no number"}, self.events(out))

    def test_damaged_input_is_one_clear_error(self):
        whole = npy((3, 2), [1, 2, 3, 4, 5, 6])
        for content in (b"", b"hello world", whole[:-4], whole + b"1234", whole[:100], whole.replace(b"<f4", b"<i4"),
                        whole.replace(b"(3, 2)", b"(3, -2)"), whole.replace(b"(3, 2)", b"[3, []")):
            (self.folder / "x.npy").write_bytes(content)
            status, out, error = self.start("run", "column-summary", stdin=self.request())
            self.assertEqual((status, error), (1, ""), content)
            (event,) = self.events(out)
            self.assertEqual(event["event"], "error")
            self.assertIn("x.npy is no whole .npy array", event["message"])


class Protocol(Base):
    def test_what_is_no_request_is_refused_in_a_sentence(self):
        for stdin, text in (
            ("hello", "is not JSON"),
            ("[]", "names no protocol version"),
            (self.request(protocol=2), "the engine speaks protocol 2, this plugin speaks 1"),
            (json.dumps({"protocol": 1}), "is not complete: it has no device, inputs"),
            (self.request(parameters={"digit": 3}), "are not those of `column-summary`"),
        ):
            status, out, error = self.start("run", "column-summary", stdin=stdin)
            self.assertEqual((status, out), (2, ""))
            self.assertIn(text, error)
            self.assertEqual(len(error.splitlines()), 1, error)
        self.assertIn("no stage kind `sum`; it has column-summary", self.start("run", "sum")[2])

    def test_by_hand_it_explains_itself(self):
        status, out, error = self.start()
        self.assertEqual((status, out), (2, ""))
        self.assertIn("is a plugin of flow, with the stage kinds column-summary", error)

    def misbehaving(self, kind):
        plugin = self.folder / "noisy.py"
        plugin.write_text(f"#!{sys.executable}\n" + MISBEHAVING.format(here=str(HERE)))
        plugin.chmod(0o755)
        return self.start("run", kind, stdin=self.request(parameters={}), plugin=plugin)

    def test_what_a_stage_prints_goes_to_the_log(self):
        status, out, error = self.misbehaving("noisy")
        self.assertEqual((status, self.events(out)), (0, [
            {"event": "log", "message": "an event"},
            {"event": "log", "message": "computes with numpy 2.1, threads 3", "facts": {"numpy": "2.1", "threads": "3"}}]))
        self.assertEqual(sorted(error.splitlines()), ["nor this", "not an event"])

    def test_a_bug_is_an_error_event_with_a_traceback_in_the_log(self):
        status, out, error = self.misbehaving("broken")
        self.assertEqual(status, 1)
        metric, last = self.events(out)
        self.assertEqual(metric, {"event": "metric", "name": "loss", "value": None, "step": 3})
        self.assertEqual(last["message"], "IndexError: list index out of range (a traceback stands in the log)")
        self.assertIn("return [][1]", error)


class Declaration(unittest.TestCase):
    def test_mistakes_of_the_author_are_said_when_the_plugin_starts(self):
        def undocumented(context):
            pass

        def unannotated(context, *, x=1):
            "Does nothing."

        def fine(context, *, x: int, names: list = ("a",)):
            "Does nothing."

        plugin = flow_stage.Plugin("p", "1")
        for function, options, text in (
            (undocumented, {}, "needs a docstring"),
            (unannotated, {}, "unannotated, parameter `x`: it has no annotation; annotate"),
            (fine, {"inputs": {"x": ("number", "")}}, "fine, `x`: write (type, phrase)"),
            (fine, {"parameters": {"y": {}}}, "describes y, which the function does not take"),
        ):
            with self.assertRaises(TypeError) as caught:
                plugin.stage(**options)(function)
            self.assertIn(text, str(caught.exception))
        plugin.stage(name="good", path_parameters=["names"], seeded=True, continues=["/steps"],
                     threads_parameter="x")(fine)
        out = io.StringIO()
        with contextlib.redirect_stdout(out), self.assertRaises(SystemExit):
            plugin.main(["describe"])
        (kind,) = json.loads(out.getvalue())["kinds"]
        self.assertNotIn("version", kind)
        self.assertEqual((kind["seeded"], kind["path_parameters"]), (True, ["names"]))
        self.assertEqual(kind["parameters"]["required"], ["x"])
        self.assertEqual(kind["continues"], ["/steps"])
        self.assertEqual(kind["threads_parameter"], "x")
        plugin = flow_stage.Plugin("p", "1")
        plugin.stage(version=1, revisions=[(2, {"required": ["x"]})])(fine)
        out = io.StringIO()
        with contextlib.redirect_stdout(out), self.assertRaises(SystemExit):
            plugin.main(["describe"])
        (kind,) = json.loads(out.getvalue())["kinds"]
        self.assertEqual(kind["revisions"], [{"version": 2, "when": {"required": ["x"]}}])
        self.assertNotIn("threads_parameter", kind)


HINTED = '''
import dataclasses, json, sys
from typing import Annotated, Literal, Optional
sys.path.append({here!r})
import flow_stage
from flow_stage import Range
plugin = flow_stage.Plugin("flow-stages-hinted", "1")

@dataclasses.dataclass
class Layer:
    width: Annotated[int, Range(1)]
    act: Literal["relu", "gelu"] = "relu"

@dataclasses.dataclass
class Net:
    layers: list[Layer] = dataclasses.field(default_factory=lambda: [Layer(8)])
    dropout: float | None = None

@plugin.stage(outputs={{"o": ("file", "what it got")}})
def hinted(context, *, neighbours: Annotated[int, Range(2, 200)] = 15, cut: Annotated[float | None, Range(0)] = None,
           name: Optional[str] = None, sizes: list[int] = (1, 2), rates: dict[str, float], net: Net = Net(),
           head: Net | None = None):
    """Takes what annotations say.

    neighbours: How many rows are near.
    """
    context.outputs["o"].write_text(repr((neighbours, cut, name, sizes, rates, net, head)))

plugin.main()
'''


class Hints(Base):
    def test_annotations_are_the_schema_and_dataclasses_arrive_as_such(self):
        plugin = self.folder / "hinted.py"
        plugin.write_text(f"#!{sys.executable}\n" + HINTED.format(here=str(HERE)))
        plugin.chmod(0o755)
        _, out, error = self.start("describe", plugin=plugin)
        self.assertEqual(error, "")
        schema = json.loads(out)["kinds"][0]["parameters"]
        self.assertEqual(schema["required"], ["rates"])
        layer = {"type": "object", "properties": {
            "width": {"type": "integer", "minimum": 1},
            "act": {"enum": ["relu", "gelu"], "default": "relu"}}, "required": ["width"], "additionalProperties": False}
        net = {"type": "object", "properties": {
            "layers": {"type": "array", "items": layer, "default": [{"width": 8, "act": "relu"}]},
            "dropout": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None}},
            "required": [], "additionalProperties": False}
        self.assertEqual(schema["properties"], {
            "neighbours": {"type": "integer", "minimum": 2, "maximum": 200, "description": "How many rows are near.",
                           "default": 15},
            "cut": {"anyOf": [{"type": "number", "minimum": 0}, {"type": "null"}], "default": None},
            "name": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            "sizes": {"type": "array", "items": {"type": "integer"}, "default": [1, 2]},
            "rates": {"type": "object", "additionalProperties": {"type": "number"}},
            "net": {**net, "default": {"layers": [{"width": 8, "act": "relu"}], "dropout": None}},
            "head": {"anyOf": [net, {"type": "null"}], "default": None}})
        given = {"neighbours": 3, "cut": None, "name": "x", "sizes": [4], "rates": {"a": 0.5},
                 "net": {"layers": [{"width": 2, "act": "gelu"}], "dropout": 0.1}, "head": {"layers": [], "dropout": None}}
        request = self.request(parameters=given, inputs={}, outputs={"o": str(self.folder / "o")})
        status, _, error = self.start("run", "hinted", stdin=request, plugin=plugin)
        self.assertEqual((status, error), (0, ""))
        self.assertEqual((self.folder / "o").read_text(),
                         "(3, None, 'x', [4], {'a': 0.5}, Net(layers=[Layer(width=2, act='gelu')], dropout=0.1), "
                         "Net(layers=[], dropout=None))")


class Showing(Base):
    def test_items_are_written_in_order(self):
        with flow_stage.View(self.folder / "view") as view:
            view.text("What", "a <b>\u2028")
            view.table("Numbers", ["a", "b"], [[1, float("nan")], (None, "x")])
            view.chart("Chart", "a chart", {"mark": "bar", "data": {"values": [{"x": float("inf")}]}}, compare="loss")
            (view.folder / "x.png").write_bytes(b"")
            view.image("Image", "an image", "x.png")
            view.add("thumbnails", sprite="x.png", size=[1, 1], columns=1, row=[0])
        text = (self.folder / "view" / "view.json").read_text(encoding="utf-8")
        self.assertEqual(json.loads(text), {"view": 1, "items": [
            {"type": "text", "title": "What", "text": "a <b>\u2028"},
            {"type": "table", "title": "Numbers", "columns": ["a", "b"], "rows": [[1, None], [None, "x"]]},
            {"type": "vega-lite", "title": "Chart", "alt": "a chart",
             "spec": {"mark": "bar", "data": {"values": [{"x": None}]}}, "compare": "loss"},
            {"type": "image", "title": "Image", "alt": "an image", "file": "x.png"},
            {"type": "thumbnails", "sprite": "x.png", "size": [1, 1], "columns": 1, "row": [0]}]})

    def test_a_stage_that_fails_shows_nothing(self):
        with self.assertRaises(ValueError), flow_stage.View(self.folder / "view") as view:
            view.text("What", "text")
            raise ValueError
        self.assertFalse((self.folder / "view" / "view.json").exists())

    def test_the_example_of_the_page_runs(self):
        page = (HERE.parents[1] / "docs" / "views.md").read_text(encoding="utf-8")
        script = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
        (self.folder / "labels.csv").write_text("label\n3\n1\n3\n", encoding="utf-8")
        arguments = [sys.executable, "-c", script, str(self.folder / "labels.csv"), str(self.folder / "view")]
        subprocess.run(arguments, check=True, timeout=60)
        items = json.loads((self.folder / "view" / "view.json").read_text(encoding="utf-8"))["items"]
        self.assertEqual([item["type"] for item in items], ["table", "vega-lite"])
        self.assertEqual(items[0]["rows"], [["1", 1], ["3", 2]])


class Loaded(Base):
    def run_stage(self, body, depends=""):
        """The files that a plugin says that it ran, whose one stage does this."""
        code = self.folder / "code"
        code.mkdir(exist_ok=True)
        for name, text in {"beside.py": "import json", "hidden.py": "VALUE = 1", "text.txt": "VALUE = 2"}.items():
            (code / name).write_text(text, encoding="utf-8")
        plugin = code / "plugin"
        plugin.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.append({str(HERE)!r})\nimport flow_stage, beside\n"
            f"plugin = flow_stage.Plugin('mine', '1'{depends})\n@plugin.stage()\n"
            f"def mine(context):\n    'Does it.'\n    {body}\nplugin.main()\n", encoding="utf-8")
        plugin.chmod(0o755)
        work = self.folder / "work"
        work.mkdir(exist_ok=True)
        status, out, error = self.start(
            "run", "mine", stdin=self.request(parameters={}, work=str(work)), plugin=plugin)
        self.assertEqual(status, 0, error)
        self.describe = json.loads(self.start("describe", plugin=plugin)[1])
        return {Path(path).name for path in self.loaded(out) if Path(path).parent != HERE / "flow_stage"}

    def test_code_outside_of_the_environment_is_told(self):
        code = self.folder / "code"
        own = {"plugin", "beside.py"}
        self.assertEqual(self.run_stage("import csv"), own)
        self.assertEqual(self.run_stage("import hidden"), own | {"hidden.py"})
        self.assertEqual(self.run_stage(f"exec(open({str(code / 'hidden.py')!r}).read())"), own | {"hidden.py"})
        path = str(code / "text.txt")
        self.assertEqual(self.run_stage(f"exec(compile(open({path!r}).read(), {path!r}, 'exec'))"), own | {"text.txt"})
        self.assertEqual(self.run_stage(f"__import__('runpy').run_path({path!r})"), own | {"text.txt"})

    def test_code_that_the_stage_made_is_its_own(self):
        made = "p = context.work / 'made.py'; p.write_text('V = 1'); __import__('runpy').run_path(str(p))"
        self.assertEqual(self.run_stage(made), {"plugin", "beside.py"})
        self.assertEqual(self.run_stage(made.replace("context.work", "context.work.parent")), {"plugin", "beside.py"})

    def test_what_it_depends_on_stands_in_its_description(self):
        self.run_stage("pass", ", depends=['config.json', 'lib']")
        self.assertEqual(self.describe["depends"], ["config.json", "lib"])
        self.run_stage("pass")
        self.assertNotIn("depends", self.describe)


class GoingOn(Base):
    def test_a_stage_knows_what_it_may_go_on_from(self):
        request = json.loads(self.request())
        self.assertEqual(flow_stage.Context(request, io.StringIO()).earlier, {})
        request["earlier"] = {"table": "before/t.csv"}
        context = flow_stage.Context(request, io.StringIO())
        self.assertEqual(context.earlier, {"table": Path("before/t.csv")})


if __name__ == "__main__":
    unittest.main()
