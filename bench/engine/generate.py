"""Writes one DAG for an engine: LANES chains of DEPTH stages, each of which reads a file of its own and the stage before,
and one stage that joins the chains. Every stage appends a line to `ran`, which counts what an engine really executed."""

import json
from pathlib import Path


def generate(engine, folder, lanes, depth):
    folder = Path(folder)
    for name in ["in", "out"]:
        (folder / name).mkdir(parents=True)
    for i, j in stages(lanes, depth):
        (folder / "in" / f"{i}_{j}").write_text(f"{i} {j}\n")
    WRITERS[engine](folder, lanes, depth)


def stages(lanes, depth):
    return [(i, j) for j in range(depth) for i in range(lanes)]


def reads(i, j):
    """The files of a stage, where an engine leaves them in place."""
    return ([f"out/{i}_{j - 1}"] if j else []) + [f"in/{i}_{j}"]


def command(sources, target):
    return f"cat {' '.join(sources)} > {target}; echo {target} >> ran"


def chains(lanes, depth):
    """Every stage as (name, files read, file written), the joining one last."""
    found = [(f"s_{i}_{j}", reads(i, j), f"out/{i}_{j}") for i, j in stages(lanes, depth)]
    return [*found, ("join", [f"out/{i}_{depth - 1}" for i in range(lanes)], "out/join")]


def flow(folder, lanes, depth):
    lines = []

    def stage(name, inputs):
        roles = "".join(f" ${{inputs.{role}}}" for role in inputs)
        text = ", ".join(f"{role} = {origin}" for role, origin in inputs.items())
        lines.append(f"[stages.{name}]\n")
        lines.append(f'run = "cat{roles} > ${{outputs.o}}; echo {name} >> ran"\n')
        lines.append(f'inputs = {{ {text} }}\noutputs = {{ o = "o" }}\n')

    for i, j in stages(lanes, depth):
        before = {"before": f'"s_{i}_{j - 1}"'} if j else {}
        stage(f"s_{i}_{j}", {**before, "own": f'{{ path = "in/{i}_{j}" }}'})
    stage("join", {f"i{i}": f'"s_{i}_{depth - 1}"' for i in range(lanes)})
    (folder / "flow.toml").write_text("".join(lines))


def ninja(folder, lanes, depth):
    rule = "rule r\n  command = cat $in > $out; echo $out >> ran\n"
    edges = [f"build {out}: r {' '.join(files)}\n" for _, files, out in chains(lanes, depth)]
    (folder / "build.ninja").write_text(rule + "".join(edges) + "default out/join\n")


def make(folder, lanes, depth):
    rules = [f"{out}: {' '.join(files)}\n\t@{command(files, out)}\n" for _, files, out in chains(lanes, depth)]
    (folder / "Makefile").write_text("all: out/join\n" + "".join(rules))


def dvc(folder, lanes, depth):
    entries = {
        name: {"cmd": command(files, out), "deps": files, "outs": [out]} for name, files, out in chains(lanes, depth)
    }
    # JSON is YAML.
    (folder / "dvc.yaml").write_text(json.dumps({"stages": entries}))


def snakemake(folder, lanes, depth):
    (folder / "Snakefile").write_text(f"""
rule all:
    input: "out/join"
rule join:
    input: [f"out/{{i}}_{depth - 1}" for i in range({lanes})]
    output: "out/join"
    shell: "cat {{input}} > {{output}}; echo {{output}} >> ran"
def files(wildcards):
    i, j = wildcards.i, int(wildcards.j)
    return ([f"out/{{i}}_{{j - 1}}"] if j else []) + [f"in/{{i}}_{{j}}"]
rule stage:
    input: files
    output: "out/{{i,[0-9]+}}_{{j,[0-9]+}}"
    shell: "cat {{input}} > {{output}}; echo {{output}} >> ran"
""")


def doit(folder, lanes, depth):
    (folder / "dodo.py").write_text(f"""
DOIT_CONFIG = {{"default_tasks": ["join"], "verbosity": 0}}
def task(files, out):
    return dict(file_dep=files, targets=[out], actions=["cat " + " ".join(files) + f" > {{out}}; echo {{out}} >> ran"])
def task_stage():
    for j in range({depth}):
        for i in range({lanes}):
            files = ([f"out/{{i}}_{{j - 1}}"] if j else []) + [f"in/{{i}}_{{j}}"]
            yield dict(name=f"{{i}}_{{j}}", **task(files, f"out/{{i}}_{{j}}"))
def task_join():
    return task([f"out/{{i}}_{depth - 1}" for i in range({lanes})], "out/join")
""")


WRITERS = {"flow": flow, "ninja": ninja, "make": make, "doit": doit, "snakemake": snakemake, "dvc": dvc}
