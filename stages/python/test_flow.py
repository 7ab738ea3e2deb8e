"""Tests of the package `flow`, with the real program on small workflows. FLOW names the program; by default that of this
checkout's build."""

import importlib.util
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True
import flow  # noqa: E402

PROGRAM = Path(os.environ.get("FLOW") or HERE.parents[1] / "target" / "debug" / "flow").resolve()

CHAIN = '''
[workflow]
name = "chain"
seed = 7

[params]
word = "one"
number = 0.5

[stages.array]
run = "cp ${inputs.file} ${outputs.x}; cp ${inputs.file} ${outputs.again}"
inputs = { file = { path = "x.npy" } }
outputs = { x = "same.npy", again = "again.npy" }

[stages.score]
run = ["python3", "-c", """
import json, sys
number, word, seed, path = float(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
print("<i>said</i>")
json.dump({"accuracy": number + seed / 4, "letters": len(word), "nothing": None}, open(path, "w"))
""", "${number}", "${word}", "${seed}", "${outputs.metrics}"]
inputs = { x = "array" }
outputs = { metrics = "metrics.json" }

[stages.text]
run = "echo ${word} > ${outputs.text}; mkdir -p ${outputs.folder}; echo ${word} > ${outputs.folder}/deep"
outputs = { text = "text.txt", folder = "folder/" }
'''


def needs(*modules):
    """Passes a test over where a module is not installed, but never in continuous integration."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return unittest.skipIf(missing and not os.environ.get("CI"), f"not installed: {', '.join(missing)}")


def array_file(values):
    header = repr({"descr": "<f4", "fortran_order": False, "shape": (len(values),)}).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + struct.pack(f"<{len(values)}f", *values)


def tensors_file(tensors):
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, (kind, shape, content) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(body), len(body) + len(content)]}
        body += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def png_file():
    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    pixels = zlib.compress(b"\x00\xff\x00\x00")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)) + chunk(b"IDAT", pixels) \
        + chunk(b"IEND", b"")


class Base(unittest.TestCase):
    def setUp(self):
        self.assertTrue(PROGRAM.is_file(), f"there is no {PROGRAM}: build flow first (`cargo xtask build`), or set FLOW")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        # Read-only folders of a run must not stop the cleaning up.
        self.folder = Path(folder.name).resolve()
        self.write("x.npy", array_file([0.0, 1.5, 2.5]))

    def write(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def workflow(self, text=CHAIN, **options):
        return flow.Workflow(self.write("flow.toml", text), flow=PROGRAM, **options)


class Running(Base):
    def test_a_run_brings_all_up_to_date_and_says_how_each_stage_ended(self):
        w = self.workflow()
        self.assertEqual({line["status"] for line in w.status()}, {"will run", "may run"})
        heard = []
        run = w.run(progress=heard.append)
        self.assertEqual((run.status, run.counts["ran"]), ("ok", 3))
        self.assertEqual({name: line["status"] for name, line in run.stages.items()},
                         {"array": "ran", "score": "ran", "text": "ran"})
        self.assertEqual([heard[0]["event"], heard[0]["stages"], heard[-1]["event"]], ["start", 3, "run"])
        self.assertEqual({event["label"] for event in heard if event["event"] == "execute"}, {"array", "score", "text"})
        self.assertEqual({line["status"] for line in w.status()}, {"up to date"})
        self.assertEqual(w.run().counts["cached"], 3)
        # What remembers that nothing is to do tells the same.
        self.assertEqual(w.run().counts["cached"], 3)

    def test_what_is_laid_over_the_file_reaches_flow_as_it_is(self):
        odd = "a \"quoted\" 'word', = [x] \\ \u00fc \x7f\n\t"
        w = self.workflow(set={"word": odd, "number": 1e-5})
        w.run(until=["score", "text"])
        self.assertEqual(w["text"].path().read_text(), odd + "\n")
        self.assertAlmostEqual(w["score"].load()["accuracy"], 1.75001)
        self.assertEqual(w["score"].metrics()["letters"], len(odd))

    def test_values_of_every_sort_are_toml(self):
        text = '[params]\nv = {default}\n[stages.s]\nrun = "cat v.json > ${{outputs.o}}"\n' \
               'files = {{ "v.json" = {{ is = "${{v}}" }} }}\noutputs = {{ o = "o.json" }}\n'
        cases = [("false", True), ("1", -3), ("1.0", 2.5), ("1.0", 3), ("''", "x"), ("[]", [1, [2, "a,b"]]),
                 ("''", ["a", "b"]), ("{}", {"a b": {"c": [True]}}), ("1", {"max": 1e22})]
        for default, value in cases:
            with self.subTest(value=value):
                w = self.workflow(text.format(default=default), set={"v": value})
                w.run()
                self.assertEqual(w["s"].load(), {"is": value})
        with self.assertRaisesRegex(TypeError, "flow takes no value of the type object"):
            self.workflow(set={"word": object()})

    def test_a_failed_stage_is_an_exception_with_flows_words(self):
        w = self.workflow(CHAIN + '[stages.bad]\nrun = "echo because >&2; exit 3"\noutputs = { o = "o" }\n')
        with self.assertRaises(flow.RunFailed) as caught:
            w.run(keep_going=True)
        self.assertRegex(str(caught.exception), r"stage `bad` failed: .*3[\s\S]*\| because[\s\S]*whole log: /")
        self.assertEqual(caught.exception.run.counts["ran"], 3)
        self.assertEqual(caught.exception.run.stages["bad"]["status"], "failed")

    def test_mistakes_are_exceptions_with_flows_words(self):
        cases = [
            (lambda: self.workflow(set={"wrod": 1}).status(), 2, "there is no param `wrod`"),
            (lambda: self.workflow("[stages").run(), 2, "flow.toml"),
            (lambda: self.workflow()["scor"].load(), 2, "there is no such stage"),
            (lambda: self.workflow()["text"].load(), 1, "`text` is not up to date, .* flow run /.*flow.toml --until text"),
            (lambda: self.workflow()["--help"].load(), 2, "is no name of a stage"),
            (lambda: self.workflow().run(until="nope"), 2, "--until nope: there is no such stage"),
            (lambda: flow.Workflow(self.folder / "none.toml", flow=PROGRAM).status(), 2, "none.toml can't be read"),
            (lambda: flow.Workflow("x.toml", flow="/nowhere/flow"), 2, "/nowhere/flow is no program"),
        ]
        for number, (call, status, words) in enumerate(cases):
            with self.subTest(case=number):
                with self.assertRaisesRegex(flow.Error, words) as caught:
                    call()
                self.assertEqual(caught.exception.status, status)

    def test_the_program_is_found_by_variable_and_on_the_path(self):
        script = "import flow; print(flow.command.find())"

        def found(**environment):
            done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                                  env={"PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1", **environment})
            return done.stdout.strip() or done.stderr.splitlines()[-1]
        self.assertEqual(found(FLOW=str(PROGRAM), PATH="/usr/bin"), str(PROGRAM))
        # Where an environment has one of its own, that comes first.
        if not (Path(sys.executable).parent / "flow").exists():
            self.assertEqual(found(PATH=str(PROGRAM.parent)), str(PROGRAM))
            self.assertIn("the program flow is not on the PATH; install it", found(PATH=str(self.folder)))
        self.assertIn("the variable FLOW: /nowhere is no program", found(FLOW="/nowhere", PATH=str(PROGRAM.parent)))


SLOW = '[stages.done]\nrun = "echo x > ${outputs.o}"\noutputs = { o = "o" }\n' \
       '[stages.slow]\nrun = "echo > ${gate}; sleep 600"\ninputs = { x = "done" }\noutputs = { o = "o" }\n' \
       '[params]\ngate = "gate"\n'


class Interrupting(Base):
    def setUp(self):
        super().setUp()
        # A shell that starts the tests in the background has them ignore it, and all that they start.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)

    def check_that_it_ended(self, run_id):
        listed = subprocess.run([PROGRAM, "runs", "--json", self.folder / "flow.toml"], capture_output=True, check=True)
        run = json.loads(listed.stdout.splitlines()[0])
        self.assertEqual((run["run"], run["status"], run["ran"], run["cancelled"]), (run_id, "cancelled", 1, 1))
        self.assertFalse([line for line in processes() if str(self.folder) in line])

    def test_an_interrupt_ends_the_run_cleanly_and_keeps_what_is_done(self):
        w = self.workflow(SLOW)

        def hear(event):
            if event["event"] == "execute" and event["label"] == "slow":
                threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGINT]).start()
        with self.assertRaises(flow.Interrupted) as caught:
            w.run(progress=hear)
        self.assertIsInstance(caught.exception, KeyboardInterrupt)
        self.assertEqual(caught.exception.run.status, "cancelled")
        self.assertRegex(str(caught.exception), "interrupted: run .*: what is done is in the store")
        self.check_that_it_ended(caught.exception.run.id)
        self.assertEqual(w["done"].path().read_text(), "x\n")

    def test_an_error_in_the_callers_function_ends_the_run_too(self):
        w = self.workflow(SLOW)

        def hear(event):
            if event["event"] == "execute" and event["label"] == "slow":
                raise ZeroDivisionError
        with self.assertRaises(ZeroDivisionError):
            w.run(progress=hear)
        self.assertFalse([line for line in processes() if str(self.folder) in line])
        self.assertEqual({line["status"] for line in w.status()}, {"up to date", "will run"})

    def test_ctrl_c_at_a_terminal_reaches_the_run_once(self):
        self.workflow(SLOW)
        script = self.write("script.py", f'''
import sys
sys.path.insert(0, {str(HERE)!r})
sys.dont_write_bytecode = True
import flow
try:
    flow.Workflow({str(self.folder / "flow.toml")!r}, flow={str(PROGRAM)!r}).run(progress=True)
except flow.Interrupted as error:
    print("INTERRUPTED", error.run.id, error.run.status, error.run.counts["cancelled"])
''')
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(sys.executable, [sys.executable, str(script)])
        said = b""
        deadline = time.monotonic() + 60
        pressed = False
        while time.monotonic() < deadline:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            try:
                said += os.read(terminal, 4096)
            except OSError:
                break
            if b"slow" in said and not pressed:
                pressed = True
                os.write(terminal, b"\x03")
        else:
            os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        os.close(terminal)
        text = said.decode()
        self.assertIn("1/2 stages, 1 ran; slow", text)
        self.assertRegex(text, r"INTERRUPTED \S+ cancelled 1")
        self.check_that_it_ended(text.split("INTERRUPTED ")[1].split()[0])


def processes():
    """The command lines and folders of all processes but this one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int(folder.name) != os.getpid():
                found.append((folder / "cmdline").read_bytes().decode(errors="replace") + os.readlink(folder / "cwd"))
        except OSError:
            continue
    return found


class Reading(Base):
    @needs("numpy")
    def test_an_array_is_a_read_only_map_of_the_blob_in_the_store(self):
        import numpy
        w = self.workflow()
        w.run(until="array")
        array = w["array"].load()
        self.assertIsInstance(array, numpy.memmap)
        self.assertEqual(array.tolist(), [0.0, 1.5, 2.5])
        with self.assertRaises(ValueError):
            array[0] = 1
        digest = w["array"].outputs()["x"]["digest"]
        blob = self.folder / ".flow" / "blobs" / digest[:2] / digest
        self.assertTrue(os.path.samefile(array.filename, blob))
        # It stays readable where the store is gone.
        self.assertEqual(w["array.again"].load().tolist(), array.tolist())

    @needs("numpy")
    def test_arrays_of_any_form_are_read_and_objects_are_not(self):
        import numpy
        for array in [numpy.zeros((0, 3)), numpy.arange(6).reshape(2, 3).T, numpy.array(5), numpy.array([True, False])]:
            numpy.save(self.folder / "x.npy", array)
            w = self.workflow()
            w.run(until="array")
            read = w["array"].load()
            self.assertEqual((read.dtype, read.shape), (array.dtype, array.shape))
            self.assertTrue(numpy.array_equal(read, array))
        numpy.save(self.folder / "x.npy", numpy.array([{}]), allow_pickle=True)
        w.run(until="array")
        with self.assertRaisesRegex(flow.Error, "array.x.npy is no array that numpy reads without running code"):
            w["array"].load()

    def test_json_is_its_value_and_the_rest_a_path(self):
        w = self.workflow()
        w.run()
        self.assertEqual(w["score"].load(), {"accuracy": 2.25, "letters": 3, "nothing": None})
        text, folder = w["text"].load(), w["text.folder"].load()
        self.assertEqual((text.suffix, text.read_text(), (folder / "deep").read_text()), (".txt", "one\n", "one\n"))
        self.assertEqual(text.stat().st_mode & 0o222, 0)
        copy = w["text.folder"].copy(self.folder / "copy")
        (copy / "deep").write_text("mine")
        self.assertEqual(w["text.folder"].load().joinpath("deep").read_text(), "one\n")
        with self.assertRaisesRegex(flow.Error, "copy"):
            w["text.folder"].copy(self.folder / "copy")

    def test_content_that_was_damaged_is_not_served(self):
        w = self.workflow()
        w.run(until="text")
        digest = w["text"].outputs()["text"]["digest"]
        blob = self.folder / ".flow" / "blobs" / digest[:2] / digest
        stat = blob.stat()
        blob.chmod(0o644)
        blob.write_bytes(b"two\n")
        os.utime(blob, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        blob.chmod(0o444)
        with self.assertRaisesRegex(flow.Error, digest[:12]):
            w["text"].load()

    def test_what_was_linked_is_gone_when_the_process_ends(self):
        w = self.workflow()
        w.run(until="text")
        script = f"import flow; print(flow.Workflow({str(w.path)!r})['text'].path())"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True,
                              env={**os.environ, "PYTHONPATH": str(HERE), "FLOW": str(PROGRAM)})
        path = Path(done.stdout.strip())
        self.assertTrue(path.is_absolute() and not path.exists() and not path.parent.parent.exists())

    MODEL = '[stages.net]\nrun = "cp ${inputs.file} ${outputs.model}; echo x > ${outputs.note}"\n' \
            'inputs = { file = { path = "net.safetensors" } }\n' \
            'outputs = { note = "note.txt", model = "model.safetensors" }\n'

    @needs("numpy")
    def test_a_network_is_its_tensors_by_name(self):
        import numpy
        self.write("net.safetensors", tensors_file({
            "flag": ("BOOL", [1], b"\x01"),
            "weight": ("F32", [2, 2], struct.pack("<4f", 1, 2, 3, 4)),
            "half": ("BF16", [2], struct.pack("<2H", 0x3FC0, 0xC000)),
            "scalar": ("I64", [], struct.pack("<q", -5)),
            "empty": ("F32", [0, 3], b""),
        }))
        w = self.workflow(self.MODEL)
        w.run()
        for tensors in [w["net"].model(), w["net.model"].model(), w["net.model"].load()]:
            self.assertEqual({name: (array.dtype.str, array.tolist()) for name, array in tensors.items()}, {
                "flag": ("|b1", [True]), "weight": ("<f4", [[1, 2], [3, 4]]), "half": ("<f4", [1.5, -2.0]),
                "scalar": ("<i8", -5), "empty": ("<f4", [])})
            with self.assertRaises(ValueError):
                tensors["weight"][0] = 0
        sys.modules.setdefault("torch", importlib.util.find_spec("torch") and importlib.import_module("torch") or Torch())
        state = w["net"].model(torch=True)
        self.assertEqual(state["weight"].tolist(), [[1, 2], [3, 4]])
        state["weight"][0] = 0
        self.assertEqual(numpy.asarray(w["net"].model()["weight"]).tolist(), [[1, 2], [3, 4]])

    @needs("numpy")
    def test_what_is_no_network_says_so(self):
        for content, words in [
            (b"", "is no file of safetensors"),
            (b"<!DOCTYPE html>", "is no file of safetensors"),
            (tensors_file({"a": ("F32", [3], b"1234")}), "`a` does not fit the file"),
            (tensors_file({"a": ("F32", [2], b"12345678")})[:-1], "`a` does not fit the file"),
            (tensors_file({"a": ("F8_E4M3", [1], b"1")}), "`a` is of the type F8_E4M3"),
        ]:
            with self.subTest(words=words):
                self.write("net.safetensors", content)
                w = self.workflow(self.MODEL)
                w.run()
                with self.assertRaisesRegex(flow.Error, words):
                    w["net"].model()
        with self.assertRaisesRegex(flow.Error, "no output of the type model; it has text, folder|it has folder, text"):
            w = self.workflow()
            w.run(until="text")
            w["text"].model()


class Torch:
    """In the place of PyTorch, where that is not installed."""

    @staticmethod
    def from_numpy(array):
        assert array.flags.writeable and array.flags.owndata
        return array


class Results(Base):
    SWEEP = {"number": [0.25, 1e-5, 1e-7, 1e17]}

    @needs("pandas")
    def test_the_table_is_a_frame_with_mean_interval_and_number_of_seeds(self):
        w = self.workflow(sweep=self.SWEEP, seeds=[7, 8])
        run = w.run(until="score")
        self.assertEqual(len(run.stages), 9)
        table = w.table()
        self.assertEqual(table.index.names, ["number", "figure"])
        row = table.loc[(0.25, "score.accuracy")]
        self.assertAlmostEqual(row["mean"], 0.25 + 1.875)
        # Student's t for one degree of freedom: 12.7062 times the standard error.
        self.assertAlmostEqual(row["half_width"], 12.7062 * 0.125, places=4)
        self.assertEqual((row["n"], row["status"]), (2, "complete"))
        means = table["mean"].unstack("figure")
        self.assertEqual((len(means), list(means["score.letters"])), (4, [3.0] * 4))
        self.assertTrue(means["score.nothing"].isna().all())
        self.assertEqual(list(w.table(["score.letters"]).reset_index()["figure"].unique()), ["score.letters"])
        by = w.table(by="score.accuracy").xs("score.accuracy", level="figure")
        self.assertTrue(by["mean"].is_monotonic_decreasing)
        # The name of an instance, and the values of a point, are those of flow.
        for name, line in run.stages.items():
            if line["stage"] == "score":
                self.assertEqual(w[name].outputs()["metrics"]["digest"], line["outputs"]["metrics"])
        for number in self.SWEEP["number"]:
            point = self.workflow(sweep=self.SWEEP, seeds=[7, 8], point={"number": number}).table()
            self.assertEqual({number}, set(point.index.get_level_values("number")))

    @needs("pandas")
    def test_without_a_sweep_the_table_has_a_row_for_each_figure(self):
        w = self.workflow()
        w.run()
        table = w.table()
        self.assertEqual(list(table.index), ["score.accuracy", "score.letters", "score.nothing"])
        self.assertEqual((table.loc["score.accuracy", "mean"], table.loc["score.accuracy", "n"]), (2.25, 1))
        self.assertTrue(table["half_width"].isna().all())

    def test_two_sides_are_compared(self):
        w = self.workflow()
        first = w.run()
        other = self.workflow(set={"word": "three", "number": 0.25})
        other.run()
        for compared in [w.compare({"word": "three", "number": 0.25}), w.compare(other)]:
            self.assertEqual({line["name"]: (line["a"], line["b"]) for line in compared.params},
                             {"word": ("one", "three"), "number": (0.5, 0.25)})
            self.assertEqual({line["stage"] for line in compared.stages}, {"score", "text"})
            self.assertEqual(compared.same, 1)
            self.assertIn({"stage": "score", "name": "letters", "a": 3, "b": 5}, compared.metrics())
            self.assertIn("<td>0.25</td>", compared._repr_html_())
        self.assertEqual(other.compare(first).metrics()[0]["b"], 2.25)
        self.assertEqual(w.compare(first.id).stages, [])
        with self.assertRaisesRegex(flow.Error, "have different stores"):
            w.compare(self.workflow(store=self.folder / "elsewhere"))
        with self.assertRaisesRegex(flow.Error, "there is no run `20200101-000000-0000`"):
            w.compare("20200101-000000-0000")

    def test_a_result_is_traced_back_to_the_users_files(self):
        w = self.workflow()
        w.run()
        origin = w["score"].origin()
        self.assertEqual([line["label"] for line in origin], ["score", "array"])
        self.assertEqual(origin[0]["again"][:2], ["flow", "run"])
        self.assertRegex(repr(origin), r"score: run \(x = array.x\), .*\narray: run \(file = x.npy\)")
        self.assertIn("<td>file = x.npy</td>", origin._repr_html_())


HOSTILE = "<script>alert(1)</script>\"'&"


class Pages(Base):
    def view(self, items, **files):
        self.write("show/view.json", json.dumps({"view": 1, "items": items}))
        for name, content in files.items():
            self.write(f"show/{name.replace('_', '.')}", content)
        w = self.workflow('[stages.show]\nrun = "mkdir -p ${outputs.view}; cp ${inputs.show}/* ${outputs.view}/"\n'
                          'inputs = { show = { path = "show" } }\noutputs = { view = "view/" }\nmatrix = { name = ["a b/c"] }\n')
        w.run()
        return w["show"].view()

    def test_views_are_html_with_pictures_in_their_places(self):
        bars = {"mark": "bar", "data": {"values": [{"a": "x", "b": 1}]}, "encoding": {
            "x": {"field": "a", "type": "nominal"}, "y": {"field": "b", "type": "quantitative"}}}
        view = self.view([
            {"type": "text", "title": HOSTILE, "text": f"{HOSTILE}\nsecond"},
            {"type": "vega-lite", "title": "Bars 02-03", "alt": f"bars {HOSTILE}", "spec": bars},
            {"type": "table", "title": "Table", "columns": [HOSTILE, "x"], "rows": [[HOSTILE, 0.1], [None, True]]},
            {"type": "image", "title": "Picture", "alt": "red", "file": "red.png"},
            {"type": "vega-lite", "title": "Odd", "alt": "can't be drawn", "spec": {"mark": "geoshape", "data": {"values": []}}},
        ], red_png=png_file())
        page = view._repr_html_()
        self.assertNotIn("<script", page)
        self.assertEqual(page.count(HTML_OF_HOSTILE), 5)
        places = [page.index(piece) for piece in ["second", "alt=\"bars", "<td>0.1</td>", "alt=\"red\"", "can&#x27;t be drawn"]]
        self.assertEqual(places, sorted(places))
        self.assertEqual(sorted(view.figures), [2, 4])
        self.assertEqual(page.count("src='data:image/png;base64,iVBOR"), 2)

    def test_lists_and_the_graph_are_escaped(self):
        w = self.workflow('[params]\nname = "x"\n[stages.s]\nrun = "echo ${matrix.name} >&2; exit 4"\noutputs = { o = "o" }\n'
                          f"matrix = {{ name = [{json.dumps(HOSTILE)}] }}\n")
        status = w.status()._repr_html_()
        self.assertIn(f"<td>s[name={HTML_OF_HOSTILE}]</td>", status)
        with self.assertRaises(flow.RunFailed) as caught:
            w.run()
        for page in [status, caught.exception.run._repr_html_(), w._repr_html_(), w.status()._repr_html_()]:
            self.assertNotIn("<script", page)
        graph = w.graph()
        self.assertIn("s", str(graph))
        self.assertRegex(w._repr_html_(), r"^<img [^<>]*src='data:image/svg\+xml;base64,[A-Za-z0-9+/=]+'>$")

    @needs("pandas")
    def test_the_table_is_escaped(self):
        w = self.workflow(sweep={"word": [HOSTILE, "b"]})
        w.run(until="score")
        page = w.table()._repr_html_()
        self.assertNotIn("<script", page)
        self.assertIn("&lt;script&gt;", page)

    @needs("IPython")
    def test_a_notebook_shows_progress_that_changes(self):
        from unittest import mock

        import IPython
        pictures = []

        class Display:
            def update(self, page):
                pictures.append(page.data)
        w = self.workflow()
        # The shell of a notebook, as far as progress looks at it; what is shown goes nowhere else.
        with mock.patch.object(IPython, "get_ipython", lambda: type("Shell", (), {"kernel": True})()), \
                mock.patch("IPython.display.display", lambda page, display_id: Display()):
            w.run(progress=True)
        self.assertIn("3/3 stages, 3 ran", pictures[-1])


HTML_OF_HOSTILE = "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;&amp;"

if __name__ == "__main__":
    unittest.main()
