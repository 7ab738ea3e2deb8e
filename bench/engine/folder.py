"""What a stage's own folder costs: stages that do nothing, one after the other, with ten small inputs and with none.

    python3 bench/engine/folder.py [FLOW …]

Each FLOW is a program to time, in turn in each round, in the same minutes: this checkout's release build where none is
named. One of before programs had folders of their own (flow 0.2.0) shows what they cost; it starts `sh`, which is half a
millisecond faster than `bash`, so `--shell` has the others start `sh` too.
"""

import argparse
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STAGES = 100


def workflow(inputs: int, shell: str) -> str:
    own = ", ".join(f'i{i} = {{ path = "in{i}.txt" }}' for i in range(inputs))
    stage = '[stages.s{n}]\nrun = "echo {n} > ${{outputs.o}}"\ninputs = {{ {own} }}\noutputs = {{ o = "o.txt" }}\n'
    stages = (stage.format(n=n, own=own) for n in range(STAGES))
    return f'[workflow]\nname = "folders"\n{shell}\n' + "\n".join(stages)


def run(flow: str, folder: Path, inputs: int, shell: str) -> float:
    """Milliseconds a stage, from an empty store in a new folder."""
    for i in range(inputs):
        (folder / f"in{i}.txt").write_text(f"{i}\n" * 10)
    (folder / "flow.toml").write_text(workflow(inputs, shell))
    start = time.perf_counter()
    command = [flow, "run", "flow.toml", "--jobs", "1", "--store", "store"]
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        raise SystemExit(f"{flow} failed in {folder}:\n{done.stderr}")
    return 1000 * seconds / STAGES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("flow", nargs="*", default=[str(ROOT / "target/release/flow")])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--in", dest="folder", default=None, help="the file system to work on; by default that for temporary files")
    parser.add_argument("--shell", action="store_true", help='have all but the first FLOW start `sh -eu` in place of bash')
    arguments = parser.parse_args()
    print("| flow | inputs | ms a stage | each round |\n|---|---|---|---|")
    for inputs in (10, 0):
        taken: dict[str, list[float]] = {flow: [] for flow in arguments.flow}
        # Removed at the end: a disk that has just lost many files makes new ones slowly.
        folders = []
        for turn in range(arguments.rounds):
            order = list(enumerate(arguments.flow))
            for place, flow in order if turn % 2 == 0 else reversed(order):
                folder = Path(tempfile.mkdtemp(prefix="flow-bench-", dir=arguments.folder))
                folders.append(folder)
                shell = 'shell = ["sh", "-eu"]' if arguments.shell and place > 0 else ""
                taken[flow].append(run(flow, folder, inputs, shell))
        for folder in folders:
            shutil.rmtree(folder)
        for flow, rounds in taken.items():
            each = ", ".join(f"{time:.2f}" for time in rounds)
            print(f"| `{flow}` | {inputs} | {statistics.median(rounds):.2f} | {each} |", flush=True)


if __name__ == "__main__":
    main()
