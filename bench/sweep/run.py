#!/usr/bin/env python3
"""What a sweep saves: 3 x 3 x 2 points of the quickstart with three seeds, as one sweep and one by one in empty stores.

    python3 bench/sweep/run.py [--whole] [--flow PROGRAM]

The points vary the clustering and end with its scores (`--until found`); with --whole they go on to the networks that learn from
it, four trainings for each point. Nothing is in any store at the beginning. Prints one table. PROGRAM is `flow`, with its plugins
beside it; by default that of this build.
"""

import argparse
import itertools
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
WORKFLOW = ROOT / "workflows" / "quickstart.toml"
AXES = {
    "min_cluster_size": [20, 35, 50],
    "keep": [0.8, 0.9, 1.0],
    "stages.fine_labels.with.min_samples": [5, 10],
}
SEEDS = [42, 43, 44]


def run(flow, store, *arguments):
    """Seconds, and the events."""
    command = [flow, "run", WORKFLOW, "--json", "--store", store, *arguments]
    begin = time.perf_counter()
    output = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - begin
    return seconds, [json.loads(line) for line in output.stdout.splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--flow", type=Path, default=TARGET / "debug" / "flow")
    options = parser.parse_args()
    end = [] if options.whole else ["--until", "found"]
    sweep = [f"--sweep={axis}={','.join(map(str, values))}" for axis, values in AXES.items()]
    sweep += [f"--seeds={','.join(map(str, SEEDS))}", *end]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "sweep"
        seconds, events = run(options.flow, store, *sweep)
        stages = [event for event in events if event["event"] == "stage"]
        trained = sum(event["stage"] == "coarse" and event["status"] == "ran" for event in stages)
        rows.append(["one sweep", seconds, len(stages), trained])
        again, _ = run(options.flow, store, *sweep)
        again = min(again, *(run(options.flow, store, *sweep)[0] for _ in range(5)))
        rows.append(["the same again", again, 0, 0])
        swept = {json.dumps([e["stage"], e["key"]]): e["outputs"] for e in stages}
        total, count, trained = 0.0, 0, 0
        for number, (*values, seed) in enumerate(itertools.product(*AXES.values(), SEEDS)):
            point = [f"--set={axis}={value}" for axis, value in zip(AXES, values)]
            seconds, events = run(options.flow, Path(folder) / str(number), *point, f"--seeds=[{seed}]", *end)
            stages = [event for event in events if event["event"] == "stage"]
            for e in stages:
                assert swept[json.dumps([e["stage"], e["key"]])] == e["outputs"], f"{e['stage']} of {point} differs"
            total, count = total + seconds, count + len(stages)
            trained += sum(event["stage"] == "coarse" for event in stages)
        rows.append(["its points one by one", total, count, trained])
    print("| 54 points | seconds | stages run | baselines trained | times the sweep |")
    print("|---|---|---|---|---|")
    for name, seconds, stages, trained in rows:
        print(f"| {name} | {seconds:.2f} | {stages} | {trained} | {seconds / rows[0][1]:.3g} |")


if __name__ == "__main__":
    main()
