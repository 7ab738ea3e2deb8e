"""Writes one DAG for an engine: LANES chains of DEPTH stages, each of which reads a file of its own and the stage before,
and one stage that joins the chains. Every stage appends a line to a file beside the folder (`counter`), which counts what an
engine really executed: beside it, since flow's stages work in folders of their own and see nothing undeclared of this one."""

import json
import shlex
from pathlib import Path


def generate(engine, folder, lanes, depth):
    folder = Path(folder)
    for name in ["in", "out"]:
        (folder / name).mkdir(parents=True)
    for i, j in stages(lanes, depth):
        (folder / "in" / f"{i}_{j}").write_text(f"{i} {j}\n")
    WRITERS[engine](folder, lanes, depth)


def counter(folder):
    """The file that counts what ran in a folder."""
    return Path(folder).resolve().with_suffix(".ran")


def counts(folder, name):
    """The part of a stage's command that counts it; `name` is the engine's own word for what it makes."""
    return f"echo {name} >> {shlex.quote(str(counter(folder)))}"


def stages(lanes, depth):
    return [(i, j) for j in range(depth) for i in range(lanes)]


def reads(i, j):
    """The files of a stage, where an engine leaves them in place."""
    return ([f"out/{i}_{j - 1}"] if j else []) + [f"in/{i}_{j}"]


def line(folder, sources, target):
    return f"cat {' '.join(sources)} > {target}; {counts(folder, target)}"


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
        lines.append(f'run = "cat{roles} > ${{outputs.o}}; {counts(folder, name)}"\n')
        lines.append(f'inputs = {{ {text} }}\noutputs = {{ o = "o" }}\n')

    for i, j in stages(lanes, depth):
        before = {"before": f'"s_{i}_{j - 1}"'} if j else {}
        stage(f"s_{i}_{j}", {**before, "own": f'{{ path = "in/{i}_{j}" }}'})
    stage("join", {f"i{i}": f'"s_{i}_{depth - 1}"' for i in range(lanes)})
    (folder / "flow.toml").write_text("".join(lines))


def ninja(folder, lanes, depth):
    rule = f"rule r\n  command = cat $in > $out; {counts(folder, '$out')}\n"
    edges = [f"build {out}: r {' '.join(files)}\n" for _, files, out in chains(lanes, depth)]
    (folder / "build.ninja").write_text(rule + "".join(edges) + "default out/join\n")


def make(folder, lanes, depth):
    rules = [f"{out}: {' '.join(files)}\n\t@{line(folder, files, out)}\n" for _, files, out in chains(lanes, depth)]
    (folder / "Makefile").write_text("all: out/join\n" + "".join(rules))


def dvc(folder, lanes, depth):
    entries = {
        name: {"cmd": line(folder, files, out), "deps": files, "outs": [out]} for name, files, out in chains(lanes, depth)
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
    shell: "cat {{input}} > {{output}}; {counts(folder, '{{output}}')}"
def files(wildcards):
    i, j = wildcards.i, int(wildcards.j)
    return ([f"out/{{i}}_{{j - 1}}"] if j else []) + [f"in/{{i}}_{{j}}"]
rule stage:
    input: files
    output: "out/{{i,[0-9]+}}_{{j,[0-9]+}}"
    shell: "cat {{input}} > {{output}}; {counts(folder, '{{output}}')}"
""")


def doit(folder, lanes, depth):
    (folder / "dodo.py").write_text(f"""
DOIT_CONFIG = {{"default_tasks": ["join"], "verbosity": 0}}
def task(files, out):
    return dict(file_dep=files, targets=[out], actions=["cat " + " ".join(files) + f" > {{out}}; {counts(folder, '{{out}}')}"])
def task_stage():
    for j in range({depth}):
        for i in range({lanes}):
            files = ([f"out/{{i}}_{{j - 1}}"] if j else []) + [f"in/{{i}}_{{j}}"]
            yield dict(name=f"{{i}}_{{j}}", **task(files, f"out/{{i}}_{{j}}"))
def task_join():
    return task([f"out/{{i}}_{depth - 1}" for i in range({lanes})], "out/join")
""")


WRITERS = {"flow": flow, "ninja": ninja, "make": make, "doit": doit, "snakemake": snakemake, "dvc": dvc}
