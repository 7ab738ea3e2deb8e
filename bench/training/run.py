#!/usr/bin/env python3
"""Compares flow's trainings with PyTorch and Lightning and prints one table.

    python3 bench/training/run.py [NET ...] [--threads N] [--rounds N] [--part P] [--precision fp32|bf16]

Makes a virtual environment with the pinned peers under target/ (5 GB: PyPI has PyTorch with CUDA alone), builds ours, makes
data sets from a seed, and runs each program in turn, in a process of its own and in rounds, so that what else the machine does
falls on all of them. Of each figure the median of the rounds counts; CPU seconds are the fairer ones where others use the cores. Nets: resnet18 (CIFAR stem, 3x32x32), resnet (depth 20, width 16,
3x32x32), cnn (width 32, 1x28x28).

flow's figures are of its stage kinds as a workflow runs them: `train` with its loss, accuracy, shuffling and data loading; what
it infers is `features`. A training is measured from its second epoch on; inference and uncertainty as the whole process less
one that does a tenth of the images. "The authors' way" of uncertainty is one image at a time, each of five flips by itself.
"""

import argparse
import json
import os
import random
import resource
import struct
import subprocess
import sys
import time
import venv
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
WORK = TARGET / "bench-training"
PYTHON = WORK / "venv" / "bin" / "python"
PLUGIN = TARGET / "debug" / "flow-stages-torch"
# Channels and side of the images; images of an epoch, of inference, and of the authors' uncertainty; batch size.
NETS = {
    "resnet18": ((3, 32), 256, 800, 24, 64),
    "resnet": ((3, 32), 2048, 4000, 120, 128),
    "cnn": ((1, 28), 4096, 16000, 240, 128),
}
EPOCHS = 3


def prepare():
    """The peers' environment and our program."""
    if not PYTHON.exists():
        venv.create(WORK / "venv", with_pip=True)
    subprocess.run([PYTHON, "-m", "pip", "install", "-q", "-r", HERE / "requirements.txt"], check=True)
    # The development profile is optimised: the one build that running and testing share.
    subprocess.run(["cargo", "build", "-q", "-p", "flow-stages-torch", "--bins"], check=True, cwd=ROOT)


def npy(path, descr, shape, content):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + content)


def dataset(name, n):
    """A data set of noise in flow's format: n training rows, 20 validation and 20 test rows, 10 classes."""
    (channels, side), *_ = NETS[name]
    folder = WORK / f"{name}-{n}"
    if (folder / "dataset.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    rows = n + 40
    noise = random.Random(1)
    npy(folder / "images.npy", "|u1", (rows, channels, side, side), noise.randbytes(rows * channels * side * side))
    npy(folder / "coarse.npy", "<i4", (rows,), struct.pack(f"<{rows}i", *(row % 10 for row in range(rows))))
    npy(folder / "split.npy", "|u1", (rows,), bytes([0] * n + [1] * 20 + [2] * 20))
    names = [str(label) for label in range(10)]
    meta = {"name": name, "coarse_names": names, "fine_names": [], "mean": [0.5] * channels, "std": [0.29] * channels}
    (folder / "dataset.json").write_text(json.dumps(meta))
    return folder


def environment(threads):
    """As flow's engine gives it: threads that wait soon sleep. Another GOMP_SPINCOUNT can be tried from outside."""
    return {"GOMP_SPINCOUNT": "10000"} | own_environment(threads) | {"OMP_WAIT_POLICY": "PASSIVE"}


def own_environment(threads):
    """The peers': threads that wait spin, which is fastest where nobody else needs the cores."""
    return os.environ | {"OMP_NUM_THREADS": str(threads)}


def stage(kind, parameters, inputs, outputs, threads):
    """Runs a stage kind by flow's protocol; gives its events with their times, and the CPU seconds of it all."""
    folder = WORK / "outputs"
    subprocess.run(["rm", "-rf", folder], check=True)
    (folder / "work").mkdir(parents=True)
    request = {
        "protocol": 1, "kind": kind, "stage": kind, "parameters": parameters,
        "inputs": {role: str(path) for role, path in inputs.items()},
        "outputs": {role: str(folder / role) for role in outputs},
        "work": str(folder / "work"), "seed": 1, "threads": threads, "device": "cpu",
    }  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        [PLUGIN, "run", kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(threads)
    )
    process.stdin.write(json.dumps(request))
    process.stdin.close()
    events = []
    for line in process.stdout:
        # CPU seconds so far: user and system time of the process, in ticks.
        ticks = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
        events.append((time.perf_counter(), sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"), json.loads(line)))
    if process.wait() != 0:
        sys.exit(f"{kind} failed: {events[-1:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return events, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def flow_train(name, precision, data, threads, epochs=EPOCHS):
    """Images a second and a CPU second of the epochs after the first, and the share of time that loading takes."""
    images, size = NETS[name][1], NETS[name][4]
    parameters = {
        "arch": name, "precision": precision, "epochs": {"min": epochs, "max": epochs}, "batch_size": size, "lr": 0.01,
        "labels": "coarse", "threads": None, "device": "auto",
    }  # fmt: skip
    outputs = ["model", "history", "metrics", "lr_range", "state", "tensorboard", "view"]
    events, _ = stage("train", parameters, {"data": data}, outputs, threads)
    (WORK / "outputs" / "model").replace(WORK / f"{name}.model")
    wall, cpu, shares, begin = [], [], [], None
    for _, spent, event in events:
        # An epoch begins when the progress says that the one before has its checkpoint; its last step is before its rate.
        if event["event"] == "progress" and "accuracy" in event.get("message", ""):
            begin = spent
        elif event["event"] == "metric" and event["name"] == "images_per_second" and event["step"] > 1:
            wall.append(images / event["value"])
            cpu.append(spent - begin)
        elif event["event"] == "metric" and event["name"] == "loading_share" and event["step"] > 1:
            shares.append(event["value"])
    return [images * len(wall) / sum(wall), images * len(cpu) / sum(cpu)], median(shares)


def flow_pass(kind, name, precision, images, threads):
    """Images a second and a CPU second of `features` or `uncertainty`, less what a tenth of the images takes: start-up
    falls out."""
    parameters = {"precision": precision, "threads": None, "device": "auto"}
    if kind == "features":
        parameters |= {"layer": "avgpool"}
    else:
        parameters |= {"augmentations": 5, "hflip": 0.8, "vflip": 0.3}
    spent = []
    for n in (images // 10, images):
        inputs = {"data": dataset(name, n), "model": WORK / f"{name}.model"}
        output = "features" if kind == "features" else "scores"
        begin = time.perf_counter()
        _, cpu = stage(kind, parameters, inputs, [output, "view"], threads)
        spent.append((time.perf_counter() - begin, cpu))
    return [(images - images // 10) / max(b - a, 1e-3) for a, b in zip(*spent)]


def peer(what, name, precision, data, threads, number):
    """Images a second and a CPU second."""
    command = [PYTHON, HERE / "peer.py", what, name, precision, data, threads, number]
    output = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, check=True, env=own_environment(threads))
    times = json.loads(output.stdout.decode().splitlines()[-1])
    images = number if what == "uncertainty" else NETS[name][2 if what == "infer" else 1]
    return [images * len(times) / sum(time[clock] for time in times) for clock in (0, 1)]


def row(name, precision, what, program, rates, ours, note=""):
    ratio = "" if rates is ours else " / ".join(f"{a / b:.2f}" for a, b in zip(ours, rates))
    print(f"| {name} | {precision} | {what} | {program} | {rates[0]:.1f} | {rates[1]:.1f} | {ratio} | {note} |", flush=True)


def compare(name, precision, threads, rounds):
    _, images, inference, single, _ = NETS[name]
    data, many = dataset(name, images), dataset(name, inference)
    found, shares = {}, []
    for _ in range(rounds):
        rates, share = flow_train(name, precision, data, threads)
        shares.append(share)
        for key, rates in [
            (("train", "flow"), rates),
            (("train", "PyTorch"), peer("train", name, precision, data, threads, EPOCHS)),
            (("train", "Lightning"), peer("lightning", name, precision, data, threads, EPOCHS)),
            (("inference", "flow"), flow_pass("features", name, precision, inference, threads)),
            (("inference", "PyTorch"), peer("infer", name, precision, many, threads, 2)),
            (("uncertainty", "flow"), flow_pass("uncertainty", name, precision, inference // 2, threads)),
            (("uncertainty", "authors' way"), peer("uncertainty", name, precision, data, threads, single)),
        ]:
            found.setdefault(key, []).append(rates)
    middle = {key: [median(clock) for clock in zip(*rounds)] for key, rounds in found.items()}
    for (what, program), rates in middle.items():
        note = f"loading {100 * median(shares):.1f} %" if (what, program) == ("train", "flow") else ""
        row(name, precision, what, program, rates, middle[what, "flow"], note)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("nets", nargs="*", default=list(NETS), metavar="NET")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=["fp32", "bf16"], help="one of the two; both unless given")
    parser.add_argument("--part", type=float, default=1.0, help="take this part of the images, for a quick look")
    options = parser.parse_args()
    for name, (shape, *counts, size) in NETS.items():
        NETS[name] = (shape, *(max(int(count * options.part), 1) for count in counts), size)
    for name in options.nets:
        if name not in NETS:
            parser.error(f"no net {name}; there are {', '.join(NETS)}")
    WORK.mkdir(parents=True, exist_ok=True)
    prepare()
    print("| net | precision | what | program | images/s | images/CPU s | flow is faster by: s / CPU s | |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name in options.nets:
        for precision in [options.precision] if options.precision else ["fp32", "bf16"]:
            compare(name, precision, options.threads, options.rounds)


if __name__ == "__main__":
    main()
