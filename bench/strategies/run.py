#!/usr/bin/env python3
"""Runs a workflow of the method with several seeds, and prints what each strategy scores: mean and interval.

    python3 bench/strategies/run.py workflows/mnist.toml --seeds 1 2 3 --set limit=2000

The arguments after the workflow but for --seeds, --flow and --folder go to `flow run`. Each seed splits and draws the
data, trains and clusters anew. The interval is that of Student's t at 95 % over the seeds; the difference to the
baseline is taken seed by seed, since both see the same data. Results are kept in --folder: a second call only prints.
"""

import argparse
import json
import math
import pathlib
import re
import statistics
import subprocess

# Student's t, 97.5 %, by degrees of freedom.
T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228,
     11: 2.201, 12: 2.179, 13: 2.160, 14: 2.145, 15: 2.131, 16: 2.120, 17: 2.110, 18: 2.101, 19: 2.093}
BASELINE = "coarse"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workflow", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--flow", default="flow", help="the binary")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("target/strategies"))
    arguments, more = parser.parse_known_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    scores = {}
    for seed in arguments.seeds:
        for stage, metrics in run(arguments, seed, more).items():
            scores.setdefault(stage, []).append(metrics)
    print(table(scores, len(arguments.seeds)))


def run(arguments, seed, more):
    """Runs one seed; gives the metrics of each stage that has any."""
    text = arguments.workflow.read_text()
    text, count = re.subn(r"^seed = \d+$", f"seed = {seed}", text, flags=re.M)
    if count != 1:
        raise SystemExit(f"{arguments.workflow} has no line `seed = …` under [workflow] to put a seed into")
    copy = arguments.folder / f"{arguments.workflow.stem}-{seed}.toml"
    copy.write_text(text)
    command = [arguments.flow, "run", copy, "--json", *more]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    found = {}
    for line in map(json.loads, lines):
        if line["event"] != "stage" or "metrics" not in line["outputs"]:
            continue
        point = ",".join(f"{axis}={value}" for axis, value in line["instance"].items())
        label = f"{line['stage']}[{point}]" if point else line["stage"]
        path = arguments.folder / "metrics.json"
        get = [arguments.flow, "get", copy, f"{label}.metrics", "-o", path, *more]
        path.unlink(missing_ok=True)
        subprocess.run(get, check=True, stdout=subprocess.DEVNULL)
        found[label] = json.loads(path.read_text())
    return found


def interval(values):
    """Mean and half the width of the 95 % interval."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{mean:.4f}"
    half = T.get(len(values) - 1, 1.96) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:.4f} ± {half:.4f}"


def table(scores, seeds):
    rows = [["stage", f"test accuracy, {seeds} seeds", "less the baseline", "worst subclass accuracy"]]
    for stage, metrics in scores.items():
        if "test_accuracy" not in metrics[0]:
            continue
        accuracy = [m["test_accuracy"] for m in metrics]
        difference = [a - b["test_accuracy"] for a, b in zip(accuracy, scores[BASELINE])]
        rows.append([
            f"`{stage}`",
            interval(accuracy),
            "-" if stage == BASELINE else interval(difference),
            interval([m["worst_subclass_accuracy"] for m in metrics]),
        ])
    for stage, metrics in scores.items():
        if "accuracy" in metrics[0]:
            clusters = ", ".join(str(m["clusters"]) for m in metrics)
            rows.append([f"`{stage}`: {clusters} clusters", interval([m["accuracy"] for m in metrics]), "-", "-"])
    rows.insert(1, ["---"] * 4)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    main()
