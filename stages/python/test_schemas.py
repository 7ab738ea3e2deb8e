"""Tests that what plugins and flow say to each other is what the JSON Schemas in `docs/schemas` say."""

import importlib.util
import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True
import flow  # noqa: E402

PROGRAM = Path(os.environ.get("FLOW") or HERE.parents[1] / "target" / "debug" / "flow").resolve()
HAS_VALIDATOR = importlib.util.find_spec("jsonschema") is not None

#: Passes everything on to a plugin, and keeps it.
LISTENER = '''#!/bin/bash
set -o pipefail
if [ "$1" = run ]; then
    request=$(cat)
    stage=$(grep -o '"stage":"[^"]*"' <<< "$request" | cut -d '"' -f 4)
    echo "$request" > "{folder}/request.$stage"
    "{plugin}" "$@" <<< "$request" | tee "{folder}/events.$stage"
else
    exec "{plugin}" "$@"
fi
'''

WORKFLOW = '''
[plugins]
heard = "heard"
mine = "mine"

[stages.data]
uses = "heard/digits"

[stages.summary]
uses = "mine/column-summary"
inputs = { features = { path = "x.npy" } }

[stages.bad]
uses = "mine/column-summary"
inputs = { features = { path = "bad.npy" } }
'''


def array_file(values, shape):
    header = repr({"descr": "<f4", "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + struct.pack(f"<{len(values)}f", *values)


@unittest.skipIf(not HAS_VALIDATOR and not os.environ.get("CI"), "not installed: jsonschema")
class Schemas(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()

    def check(self, name, value):
        self.assertEqual(self.faults(name, value), [], value)

    def faults(self, name, value):
        import jsonschema
        schema = json.loads((HERE.parents[1] / "docs" / "schemas" / f"{name}.json").read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator.check_schema(schema)
        return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(value)]

    def test_every_plugin_describes_itself_so(self):
        shipped = [PROGRAM.parent / f"flow-stages-{name}" for name in ("data", "cluster", "torch")]
        for plugin in [*shipped, HERE / "flow-stages-example", HERE / "old" / "flow-stages-old"]:
            with self.subTest(plugin=plugin.name):
                done = subprocess.run([str(plugin), "describe"], capture_output=True, text=True, timeout=60,
                                      env={**os.environ, "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1"})
                self.assertEqual(done.returncode, 0, done.stderr)
                self.check("describe", json.loads(done.stdout))

    def test_requests_and_events_are_so(self):
        for name, plugin in [("heard", PROGRAM.parent / "flow-stages-data"), ("mine", HERE / "flow-stages-example")]:
            (self.folder / name).write_text(LISTENER.format(folder=self.folder, plugin=plugin), encoding="utf-8")
            (self.folder / name).chmod(0o755)
        (self.folder / "x.npy").write_bytes(array_file([1, float("nan"), 2, float("nan")], (2, 2)))
        (self.folder / "bad.npy").write_text("hello")
        (self.folder / "flow.toml").write_text(WORKFLOW, encoding="utf-8")
        with self.assertRaisesRegex(flow.RunFailed, "bad.npy is no whole .npy array"):
            flow.Workflow(self.folder / "flow.toml", flow=PROGRAM).run(keep_going=True)
        heard = set()
        for stage in ("data", "summary", "bad"):
            self.check("request", json.loads((self.folder / f"request.{stage}").read_text(encoding="utf-8")))
            for line in (self.folder / f"events.{stage}").read_text(encoding="utf-8").splitlines():
                event = json.loads(line)
                self.check("event", event)
                heard.add(event["event"])
        self.assertEqual(heard, {"progress", "metric", "log", "warning", "error"})

    def test_what_breaks_a_rule_is_refused(self):
        port = {"name": "x", "type": "array"}
        kind = {"name": "k", "summary": "Does it", "parameters": {"type": "object"}, "inputs": [port]}
        whole = {"protocol": 1, "plugin": "p", "version": "1", "kinds": [kind], "a_later_field": True}
        self.check("describe", whole)
        for wrong in [{**whole, "protocol": 2}, {**whole, "kinds": [{**kind, "name": ""}]},
                      {**whole, "kinds": [{**kind, "parameters": {"type": "objekt"}}]},
                      {**whole, "kinds": [{**kind, "inputs": [{**port, "type": "tensor"}]}]},
                      {**whole, "kinds": [{**kind, "resources": {"cpus": -1}}]}, {"protocol": 1, "plugin": "p"}]:
            self.assertTrue(self.faults("describe", wrong), wrong)
        self.check("event", {"event": "metric", "name": "loss", "value": None, "step": 3})
        for wrong in [{"event": "metric", "name": "loss"}, {"event": "metric", "name": "loss", "value": "0.5"}, {"event": "end"},
                      {"event": "progress", "done": -1, "total": 2, "unit": ""}, {"message": "x"}, []]:
            self.assertTrue(self.faults("event", wrong), wrong)
        self.assertTrue(self.faults("request", {"protocol": 1}))


if __name__ == "__main__":
    unittest.main()
