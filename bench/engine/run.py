#!/usr/bin/env python3
"""Compares flow with other engines on one DAG and prints one table.

    python3 bench/engine/run.py [--stages 10 1000 10000] [--install]

The DAG: chains of up to 100 stages, each of which reads a file of its own and the stage before, and one stage that joins
them. Engines that are not installed are left out; `--install` puts them into a virtual environment under target/. An
engine whose stages take too long at a size is left out there. Every stage notes that it ran, so that the counts are what
happened, not what an engine says.

cold: everything runs. nothing: nothing has changed; the median of several calls, their CPU seconds, and the peak memory.
leaf: the last stage's file of one chain has other bytes. touched: all files have new times and the same bytes. (Below
some 25 MB the memory is that of this script, which starts the engines.)
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
sys.path.insert(0, str(HERE))
from generate import counter, generate, line  # noqa: E402

JOBS = str(os.cpu_count())
COMMANDS = {
    "flow": ["flow", "run", "flow.toml", "--jobs", JOBS],
    "ninja": ["ninja", "-j", JOBS],
    "make": ["make", "-rR", "-s", "-j", JOBS],
    "doit": ["doit", "-n", JOBS],
    "snakemake": ["snakemake", "-q", "all", "-c", JOBS],
    "dvc": ["dvc", "repro", "-q"],
}
# What each engine takes minutes to run for the first time is not waited for.
LARGEST = {"doit": 10_000, "snakemake": 1_000, "dvc": 200}


def call(command, folder):
    """Wall seconds, CPU seconds and peak memory in MB of one call, its children included."""
    start = time.perf_counter()
    with open(folder.with_suffix(".log"), "wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        sys.exit(f"{' '.join(map(str, command))} failed in {folder}:\n{folder.with_suffix('.log').read_text()}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def ran(folder):
    """How many stages ran since the last question."""
    path = counter(folder)
    count = len(path.read_text().split()) if path.exists() else 0
    path.unlink(missing_ok=True)
    return count


def measure(engine, program, stages, folder):
    depth = min(100, max(1, int(stages**0.5)))
    lanes = max(1, stages // depth)
    generate(engine, folder, lanes, depth)
    command = [program, *COMMANDS[engine][1:]]
    if engine == "dvc":
        subprocess.run([program, "init", "-q", "--no-scm"], cwd=folder, check=True)
    row = {"engine": engine, "stages": lanes * depth + 1}
    row["cold"], _, _ = call(command, folder)
    row["cold ran"] = ran(folder)
    # What was written just now is not trusted by its times: by flow for two seconds, by others for one.
    time.sleep(2.5)
    call(command, folder)
    call(command, folder)
    calls = [call(command, folder) for _ in range(9 if stages <= 1000 else 5)]
    row["nothing"], row["cpu"] = (statistics.median(c[i] for c in calls) for i in (0, 1))
    row["memory"] = max(c[2] for c in calls)
    row["nothing ran"] = ran(folder)
    (folder / "in" / f"0_{depth - 1}").write_text("changed\n")
    row["leaf"], _, _ = call(command, folder)
    row["leaf ran"] = ran(folder)
    time.sleep(1.1)
    for path in (folder / "in").iterdir():
        path.touch()
    row["touched"], _, _ = call(command, folder)
    row["touched ran"] = ran(folder)
    return row


def floor(stages):
    """Seconds that one process a stage takes with no engine: the same commands, one shell each, as many at once."""
    depth = min(100, max(1, int(stages**0.5)))
    lanes = max(1, stages // depth)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        generate("make", folder, lanes, depth)
        # One argument a line: `xargs` starts a shell for each.
        lines = [line(folder, [f"in/{i}_{j}"], f"out/{i}_{j}") for j in range(depth) for i in range(lanes)]
        start = time.perf_counter()
        subprocess.run(
            ["xargs", "-d", "\n", "-n", "1", "-P", JOBS, "sh", "-c"], input="\n".join(lines).encode(), cwd=folder, check=True
        )
        return time.perf_counter() - start


def programs(arguments):
    """The engines at hand, with their paths."""
    path = os.environ["PATH"]
    if arguments.install:
        folder = TARGET / "bench-engine" / "venv"
        if not (folder / "bin" / "python").exists():
            venv.create(folder, with_pip=True)
        requirements = str(HERE / "requirements.txt")
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "-q", "-r", requirements], check=True)
        path = f"{folder / 'bin'}{os.pathsep}{path}"
    found = {engine: shutil.which(engine, path=path) for engine in COMMANDS if engine != "flow"}
    # As `cargo xtask install` builds it; the others are installed as they are released, too.
    subprocess.run(["cargo", "build", "--release", "-q", "-p", "flow-engine"], cwd=ROOT, check=True)
    return {"flow": str(TARGET / "release" / "flow"), **{k: v for k, v in found.items() if v}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--stages", type=int, nargs="+", default=[10, 1000, 10000])
    parser.add_argument("--engines", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--install", action="store_true", help="install the other engines")
    arguments = parser.parse_args()
    # Engines keep caches of their own at home and in the environment: these begin empty.
    for name in [name for name in os.environ if name.startswith(("FLOW_", "MAKE"))]:
        del os.environ[name]
    found = programs(arguments)
    print(
        "| engine | stages | cold s | nothing to do s | of ninja | CPU s | peak MB | a leaf changed s (ran) | touched s (ran) |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for stages in arguments.stages:
        rows = []
        for engine, program in found.items():
            if engine not in arguments.engines or stages > LARGEST.get(engine, stages):
                continue
            with tempfile.TemporaryDirectory() as folder:
                rows.append(measure(engine, program, stages, Path(folder) / "project"))
        ninja = next((row["nothing"] for row in rows if row["engine"] == "ninja"), None)
        for row in rows:
            ratio = f"{row['nothing'] / ninja:.2f}" if ninja else ""
            assert row["cold ran"] == row["stages"], f"{row['engine']} ran {row['cold ran']} of {row['stages']} stages"
            assert row["nothing ran"] == 0, f"{row['engine']} ran {row['nothing ran']} stages with nothing to do"
            print(
                f"| {row['engine']} | {row['stages']:,} | {row['cold']:.2f} | {row['nothing']:.3f} | {ratio} "
                f"| {row['cpu']:.3f} | {row['memory']:.0f} | {row['leaf']:.3f} ({row['leaf ran']}) "
                f"| {row['touched']:.3f} ({row['touched ran']}) |",
                flush=True,
            )
        flow = next((row for row in rows if row["engine"] == "flow"), None)
        if flow:
            over = (flow["cold"] - floor(stages)) / flow["stages"]
            print(f"\nflow, {flow['stages']:,} stages, cold: {over * 1000:.1f} ms a stage beyond its process\n")


if __name__ == "__main__":
    main()
