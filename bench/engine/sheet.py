"""A sheet of samples beside a graph of the same size that is written out stage by stage.

    python3 bench/engine/sheet.py [--samples 2000] [--flow FLOW]

The sheet is a CSV file; six stages have its rows as their axis, each reads the one before, and one stage gathers the last.
(No two make the same content: flow would run one of them.)
The graph is that of run.py: as many chains of six stages, and one that joins them. In turn in each round, in the same
minutes. For the sheet a row is added (six stages and the gathering one run) and taken away again (nothing runs: all is in
the store); for the graph the first file of one chain gets other bytes, and then its own again.
"""

import argparse
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from generate import generate

ROOT = Path(__file__).resolve().parents[2]
STAGES = 6


def sheet(folder: Path, samples: int) -> None:
    for sample in range(samples):
        (folder / f"s{sample}.txt").write_text(f"{sample}\n")
    rows(folder, samples)
    lines = ["[workflow]\nlanguage = 2\n"]
    for number in range(STAGES):
        own = 'path = "${matrix.sample.file}"' if number == 0 else f'from = "t{number - 1}"'
        axis = 'matrix = { sample = { table = "samples.csv", key = "id" } }\n' if number == 0 else ""
        lines.append(f'[stages.t{number}]\n{axis}run = "cat ${{inputs.own}} > ${{outputs.o}}; echo {number} >> ${{outputs.o}}"\n')
        lines.append(f'inputs = {{ own = {{ {own} }} }}\noutputs = {{ o = "o" }}\n')
    lines.append('[stages.join]\nrun = "cat ${inputs.all.folder}/* > ${outputs.o}"\n')
    lines.append(f'inputs = {{ all = {{ collect = "t{STAGES - 1}" }} }}\noutputs = {{ o = "o" }}\n')
    (folder / "flow.toml").write_text("".join(lines))


def rows(folder: Path, samples: int) -> None:
    listed = "".join(f"S{sample},s{sample}.txt\n" for sample in range(samples))
    (folder / "samples.csv").write_text(f"id,file\n{listed}")


def call(flow: str, folder: Path) -> tuple[float, str]:
    start = time.perf_counter()
    command = [flow, "run", "flow.toml"]
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        raise SystemExit(f"{flow} failed in {folder}:\n{done.stderr[-2000:]}")
    last = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("run ")][-1]
    return seconds, last.split(": ")[1].split(",")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--flow", default=str(ROOT / "target/release/flow"))
    parser.add_argument("--in", dest="folder", default=None, help="the file system to work on; by default that for temporary files")
    arguments = parser.parse_args()
    samples, flow = arguments.samples, arguments.flow
    base = Path(tempfile.mkdtemp(prefix="flow-bench-", dir=arguments.folder))
    (base / "sheet").mkdir()
    sheet(base / "sheet", samples)
    (base / "sheet" / f"s{samples}.txt").write_text("one more\n")
    generate("flow", base / "graph", samples, STAGES)
    first = base / "graph/in/0_0"
    before = first.read_text()
    steps = {
        "cold": (lambda: None, lambda: None),
        "nothing to do": (lambda: None, lambda: None),
        "one added": (lambda: rows(base / "sheet", samples + 1), lambda: first.write_text("other\n")),
        "taken away": (lambda: rows(base / "sheet", samples), lambda: first.write_text(before)),
    }
    taken: dict[tuple[str, str], list[float]] = {}
    ran: dict[tuple[str, str], str] = {}
    for turn in range(arguments.rounds):
        order = ["sheet", "graph"] if turn % 2 == 0 else ["graph", "sheet"]
        for who in order:
            shutil.rmtree(base / who / ".flow", ignore_errors=True)
            for step, change in steps.items():
                change[who == "graph"]()
                seconds, count = call(flow, base / who)
                taken.setdefault((step, who), []).append(seconds)
                ran[step, who] = count
    print(f"{samples} samples, {samples * STAGES + 1} stages\n\n| step | sheet s (ran) | graph s (ran) | ratio |\n|---|---|---|---|")
    for step in steps:
        sheet_s, graph_s = (statistics.median(taken[step, who]) for who in ("sheet", "graph"))
        print(f"| {step} | {sheet_s:.2f} ({ran[step, 'sheet']}) | {graph_s:.2f} ({ran[step, 'graph']}) | {sheet_s / graph_s:.2f} |")
    shutil.rmtree(base)


if __name__ == "__main__":
    main()
