#!/usr/bin/env python3
"""Compares the clustering library with its Python peers and prints one table.

    python3 bench/clustering/run.py [SET ...] [--fashion FILE]

Makes a virtual environment with the pinned peers under target/, builds ours, generates the data from a
seed, and runs each program in turn in a process of its own, so that time and peak memory are its own. Sets: digits,
blobs10k, blobs25k, moons (2 columns), mixture (50 columns, 15 normal clusters of unequal size and density), integers (5 columns of
whole numbers, full of ties and duplicates), fashion (the first 10,000 training images; FILE is train-images-idx3-ubyte.gz, its labels beside
it), fashion60k (all of them, by exact and by approximate search: ours alone), points100k and points1m (clustering alone;
the million ours alone). Needs python3 with venv, pip and cargo; nothing else.
"""

import argparse
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
WORK = TARGET / "bench-clustering"
PYTHON = WORK / "venv" / "bin" / "python"
MEASURE = TARGET / "debug" / "examples" / "measure"
SETS = ["digits", "blobs10k", "blobs25k", "moons", "mixture", "integers", "fashion", "points100k", "points1m", "fashion60k"]
FASHION = "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz"


def prepare():
    """The peers' environment and our program."""
    if not PYTHON.exists():
        venv.create(WORK / "venv", with_pip=True)
    subprocess.run([PYTHON, "-m", "pip", "install", "-q", "-r", HERE / "requirements.txt"], check=True)
    # The development profile is optimised: the one build that running and testing share.
    build = ["cargo", "build", "-q", "-p", "flow-stages-cluster", "--example", "measure"]
    subprocess.run(build, check=True, cwd=ROOT)


def run(*command):
    """What a program prints, as JSON, and its peak memory in MB."""
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{command[0]} failed")
    return json.loads(text.splitlines()[-1]), usage.ru_maxrss / 1024


def peer(*arguments):
    return run(PYTHON, HERE / "peer.py", *arguments)


def row(name, program, times, memory="", figures="", ours=None):
    seconds, cpu = times
    ratio = "" if ours is None else f"{seconds / ours[0]:.1f} / {cpu / ours[1]:.1f}"
    memory = f"{memory:.0f}" if memory else ""
    print(f"| {name} | {program} | {seconds:.3f} | {cpu:.3f} | {ratio} | {memory} | {figures} |", flush=True)


def show(figures):
    return " / ".join(f"{x:.3f}" for x in figures)


def search(name, points, truth):
    """UMAP of very many rows: what the approximate search for neighbours costs and finds."""
    for how in ("exact", "approximate"):
        embedding = WORK / f"{name}_{how}.npy"
        times, memory = run(MEASURE, "umap", points, 42, how, embedding)
        figures = show(peer("figures", points, embedding, truth)[0])
        recall = times["recall"]
        program = f"flow, {how} neighbours" + (f", recall {recall:.4f}" if recall else "")
        row(f"UMAP {name}", program, times["umap"], memory, figures)


def reduce(name, points, truth):
    """UMAP: ours with three seeds (the median by each figure), umap-learn with and without a seed."""
    runs = []
    for seed in (42, 43, 44):
        embedding = WORK / f"{name}_ours{seed}.npy"
        times, memory = run(MEASURE, "umap", points, seed, "auto", embedding)
        runs.append((times["umap"], memory, peer("figures", points, embedding, truth)[0]))
    middle = [sorted(figures[i] for _, _, figures in runs)[1] for i in range(3)]
    ours, memory, _ = sorted(runs, key=lambda one: one[0][0])[1]
    row(f"UMAP {name}", "flow", ours, memory, show(middle))
    for program, seed in (("umap-learn, seeded", 42), ("umap-learn, unseeded", "none")):
        embedding = WORK / f"{name}_peer{seed}.npy"
        times, memory = peer("umap", points, seed, embedding)
        row(f"UMAP {name}", program, times["umap"], memory, show(peer("figures", points, embedding, truth)[0]), ours)
    return WORK / f"{name}_peer42.npy"


def cluster(name, points, with_peers=True):
    """HDBSCAN, membership and silhouette on one set of points."""
    ours, memory = run(MEASURE, "cluster", points, WORK / f"{name}_labels.npy")
    theirs, their_memory = peer("cluster", points, WORK / f"{name}_labels.npy") if with_peers else ({}, None)
    row(f"HDBSCAN {name}", "flow", ours["hdbscan"], memory)
    if with_peers:
        row(f"HDBSCAN {name}", "hdbscan", theirs["hdbscan"], their_memory, ours=ours["hdbscan"])
        row(f"HDBSCAN {name}", "fast_hdbscan", theirs["fast_hdbscan"], ours=ours["hdbscan"])
    equal = f"equal labels: {theirs['equal']:.4f}" if with_peers else ""
    row(f"membership {name}", "flow", ours["membership"], figures=equal)
    if with_peers:
        row(f"membership {name}", "hdbscan", theirs["membership"], ours=ours["membership"])
    mean, error = ours["value"]
    found = f"{mean:.6f}" if error == 0 else f"{mean:.4f} ± {error:.4f}"
    row(f"silhouette {name}", "flow" if error == 0 else "flow, 20,000 rows", ours["silhouette"], figures=found)
    if "silhouette" in theirs:
        found = f"{theirs['value']:.6f}"
        row(f"silhouette {name}", "scikit-learn", theirs["silhouette"], figures=found, ours=ours["silhouette"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sets", nargs="*", default=SETS, metavar="SET")
    parser.add_argument("--fashion", default=FASHION, metavar="FILE")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    prepare()
    print("| what | program | seconds | CPU seconds | ratio to flow: seconds / CPU | peak MB | trustworthiness / ARI / silhouette |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in options.sets:
        if name not in SETS:
            parser.error(f"no set {name}; there are {', '.join(SETS)}")
        if name.startswith("fashion") and not Path(options.fashion).exists():
            print(f"{name} is left out: {options.fashion} is missing (--fashion FILE)", file=sys.stderr)
            continue
        points, truth = WORK / f"{name}.npy", WORK / f"{name}_truth.npy"
        peer("generate", name, points, truth, options.fashion)
        if name == "fashion60k":
            search(name, points, truth)
        elif name.startswith("points"):
            cluster(name, points, with_peers=name != "points1m")
        else:
            cluster(name, reduce(name, points, truth))


if __name__ == "__main__":
    main()
