"""Tests of stage kinds in Python that flow itself runs. FLOW names the program; by default that of this checkout's build."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True
import flow  # noqa: E402
from test_stage import DOCS, Base, is_installed, needs  # noqa: E402

PROGRAM = Path(os.environ.get("FLOW") or HERE.parents[1] / "target" / "debug" / "flow").resolve()


class WithFlow(Base):
    def setUp(self):
        super().setUp()
        self.assertTrue(PROGRAM.is_file(), f"there is no {PROGRAM}: build flow first (`cargo xtask build`), or set FLOW")

    def workflow(self, text, **options):
        (self.folder / "flow.toml").write_text(text, encoding="utf-8")
        return flow.Workflow(self.folder / "flow.toml", flow=PROGRAM, **options)

    @needs("numpy")
    def test_the_example_of_the_page_runs(self):
        import numpy
        page = (DOCS / "python.md").read_text(encoding="utf-8")
        plugin = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if block.startswith("#!"))
        text = next(block for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL) if "[plugins]" in block)
        self.write(plugin.partition("\n")[2])
        numpy.save(self.folder / "features.npy", numpy.arange(6, dtype="f4").reshape(3, 2))
        w = self.workflow(text)
        run = w.run()
        self.assertEqual((run.counts["ran"], run.warnings), (1, []))
        self.assertEqual(w["scaled"].load().tolist(), [[0, 3], [6, 9], [12, 15]])
        self.assertEqual(w.run().counts["cached"], 1)
        # The package is part of what the plugin is.
        with open(self.folder / "flow_stage" / "artifacts.py", "a", encoding="utf-8") as file:
            file.write("# another\n")
        self.assertEqual(w.run().counts["ran"], 1)
        with self.assertRaisesRegex(flow.Error, "parameter `factor` of `scale`: it takes number ≥ 0, not -1"):
            self.workflow(text, set={"stages.scaled.with.factor": -1}).run()
        # A mistake of the author is said in flow's words, with the place.
        self.write(plugin.partition("\n")[2].replace("= 2.0", "= -2.0"))
        with self.assertRaisesRegex(flow.Error, r"flow-stages-mine:\d+: scale, parameter `factor`: its default -2.0 is below 0"):
            w.run()

    def test_a_stage_that_is_killed_goes_on_from_its_checkpoint(self):
        self.write('''
import os
from pathlib import Path
from typing import Annotated
from flow_stage import Context, Metrics, Range, main, stage


@stage(checkpoints=True)
def count(context: Context, steps: Annotated[int, Range(1)] = 5) -> Metrics:
    """Counts.

    steps: How far.
    returns: How far it came in this attempt.
    """
    first = context.resume() or 0
    for step in range(first, steps):
        context.progress(step, steps, "step")
        context.metric("height", step, step=step)
        context.checkpoint(step + 1)
        if step == 2 and not (context.work / "again").exists():
            (context.work / "again").touch()
            os.kill(os.getpid(), 9)
    return {"first": first, "last": steps}


main()
''')
        w = self.workflow('[plugins]\nmine = "flow-stages-mine"\n[stages.c]\nuses = "count"\n')
        with self.assertRaisesRegex(flow.RunFailed, "stage `c` failed"):
            w.run()
        heights = []
        w.run(progress=lambda event: heights.append(event["step"]) if event["event"] == "metric" else None)
        self.assertEqual((heights, w["c"].load()), ([3, 4], {"first": 3, "last": 5}))


    def test_memory_that_a_kind_asks_for_is_what_the_workflow_does_not_say(self):
        self.write('''
from flow_stage import Metrics, main, stage


@stage(memory="2MiB")
def hungry() -> Metrics:
    """Takes memory.

    returns: How much.
    """
    return {"bytes": len(bytes(30_000_000))}


main()
''')
        text = '[plugins]\nmine = "flow-stages-mine"\n[stages.h]\nuses = "hungry"\n'
        run = self.workflow(text).run()
        self.assertRegex(" ".join(run.warnings), "h: .*memory")
        run = self.workflow(text + 'resources = { memory = "4GB" }\n').run(force="h")
        self.assertEqual(run.warnings, [])
        page = subprocess.run([PROGRAM, "stages", "hungry"], capture_output=True, text=True, check=True,
                              env={**os.environ, "FLOW_PLUGIN_PATH": str(self.folder)})
        self.assertIn("2.0 MiB of memory", page.stdout)


    def test_a_breakpoint_stops_at_the_terminal(self):
        self.write('''
from flow_stage import Metrics, main, stage


@stage
def asks() -> Metrics:
    """Asks.

    returns: What.
    """
    hidden = 41
    breakpoint()
    return {"hidden": hidden}


main()
''')
        self.workflow('[plugins]\nmine = "flow-stages-mine"\n[stages.a]\nuses = "asks"\n')
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(PROGRAM, [str(PROGRAM), "debug", str(self.folder / "flow.toml"), "a"])
        said, answers, deadline = b"", [(b"return {", b"p hidden + 1\n"), (b"42", b"c\n")], time.monotonic() + 60
        while time.monotonic() < deadline:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            try:
                said += os.read(terminal, 4096)
            except OSError:
                break
            if answers and answers[0][0] in said:
                os.write(terminal, answers.pop(0)[1])
        else:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
        self.assertEqual((os.waitstatus_to_exitcode(status), answers), (0, []), said.decode())

    #: In the place of Lightning and PyTorch, where they are not installed: enough to declare the kind.
    STANDS_IN = {"lightning.py": "class LightningModule: pass\n", "torch/__init__.py": "from . import nn\n", "torch/nn.py": "",
                 "torch/utils/__init__.py": "", "torch/utils/data.py": "DataLoader = TensorDataset = None\n"}

    @needs("numpy")
    def test_the_network_of_a_lightning_project_is_a_kind_in_sixty_lines(self):
        text = (HERE / "examples" / "flow-stages-dense").read_text(encoding="utf-8")
        self.assertLessEqual(sum(1 for line in text.splitlines() if line.strip()), 60)
        self.write(text.partition("\n")[2])
        self.plugin = self.plugin.rename(self.folder / "flow-stages-dense")
        is_there = all(is_installed(name) for name in ("lightning", "torch", "safetensors"))
        for name, stub in {} if is_there else self.STANDS_IN.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(stub, encoding="utf-8")
        (kind,) = self.describe()["kinds"]
        config = kind["parameters"]["properties"]["config"]
        self.assertEqual(config["default"], {"hidden": [64, 128, 64], "batch_size": 128, "optimizer": {
            "lr": 0.001, "weight_decay": 0.0, "patience": 10}})
        self.assertEqual(config["properties"]["optimizer"]["properties"]["lr"],
                         {"type": "number", "minimum": 0, "maximum": 1, "default": 0.001})
        workflow = (HERE / "examples" / "dense.toml").read_text(encoding="utf-8")
        with self.assertRaisesRegex(flow.Error, r"parameter `config.optimizer.lr` of `dense`: it takes number 0 … 1, not 2.0"):
            self.workflow(workflow, set={"stages.dense.with.config.optimizer.lr": 2}).run()
        if is_there:
            w = self.workflow(workflow, set={"epochs": 3})
            curve = []
            w.run(progress=lambda event: curve.append(event.get("step")) if event.get("name") == "val_accuracy" else None)
            self.assertEqual(curve, [1, 2, 3, None])
            self.assertGreater(w["dense.metrics"].load()["test_accuracy"], 0.8)
            self.assertEqual(w["dense"].model()["1.weight"].shape, (64, 64))


if __name__ == "__main__":
    unittest.main()
