#!/usr/bin/env python3
"""Compares the store with b3sum and cp, and prints one table.

    python3 bench/cache/run.py [FOLDER]

Installs b3sum under target/, builds ours, and works in FOLDER (by default under target/), which needs 6 GB for a while.
Where the page cache matters, a file is dropped from it (posix_fadvise) before it is called cold. Each time is the
median of five, ours and the peer's in turn. Needs cargo and python3; nothing else.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
WORK = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else TARGET / "bench-cache"
B3SUM = TARGET / "bench-cache-peers" / "bin" / "b3sum"
MEASURE = TARGET / "debug" / "examples" / "measure_store"
FLOW = TARGET / "debug" / "flow"
GB = 10**9
TIMES = 5


def prepare():
    if not B3SUM.exists():
        subprocess.run(["cargo", "install", "-q", "b3sum", "--root", B3SUM.parent.parent], check=True, cwd=TARGET)
    # The development profile is optimised: the one build that running and testing share.
    subprocess.run(["cargo", "build", "-q", "-p", "flow-cache", "--example", "measure_store"], check=True, cwd=ROOT)
    subprocess.run(["cargo", "build", "-q", "-p", "flow-engine"], check=True, cwd=ROOT)
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)


def write(path, size=GB):
    """A file of random bytes that is on the disk and in the page cache."""
    with open(path, "wb") as file:
        left = size
        while left > 0:
            left -= file.write(os.urandom(min(left, 1 << 24)))
        os.fsync(file.fileno())


def dirty(path):
    """A file as a stage leaves it: in the page cache, and not on the disk yet."""
    remove(path)
    with open(WORK / "source", "rb") as source, open(path, "wb") as file:
        shutil.copyfileobj(source, file, 1 << 24)


def remove(path):
    Path(path).unlink(missing_ok=True)


def cold(path):
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def wall(*command, env=None):
    """Seconds from start to end of a process."""
    began = time.perf_counter()
    command = [str(part) for part in command]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    return time.perf_counter() - began


def inner(*command):
    """Seconds that our program says it took, without its start."""
    return float(subprocess.run([str(part) for part in (MEASURE, *command)], check=True, capture_output=True).stdout)


def medians(*measures):
    times = [[] for _ in measures]
    for _ in range(TIMES):
        for measure, found in zip(measures, times):
            found.append(measure())
    return [statistics.median(found) for found in times]


def row(what, ours, peer_name="", peer=None):
    ratio = "" if peer is None else f"{peer / ours:.2f}"
    peer = "" if peer is None else f"{peer * 1000:.1f}"
    print(f"| {what} | {ours * 1000:.3f} | {peer_name} | {peer} | {ratio} |", flush=True)


def hashing():
    source = WORK / "source"
    write(source)
    # A file is remembered only when it has been as it is for two seconds.
    time.sleep(2.1)

    def ours():
        shutil.rmtree(WORK / "hash", ignore_errors=True)
        return wall(MEASURE, "hash", WORK / "hash", source)

    def cold_one(measure):
        def run():
            cold(source)
            return measure()

        return run

    def peer():
        return wall(B3SUM, source)

    row("hash 1 GB, cold", *spread(medians(cold_one(ours), cold_one(peer)), "b3sum"))
    row("hash 1 GB, in the page cache", *spread(medians(ours, peer), "b3sum"))
    (again,) = medians(lambda: wall(MEASURE, "hash", WORK / "hash", source))
    row("hash 1 GB, unchanged since the last time (memo)", again, "b3sum", medians(peer)[0])


def spread(times, name):
    return times[0], name, times[1]


def commit():
    file, copy = WORK / "file", WORK / "copy"

    def ours():
        shutil.rmtree(WORK / "commit", ignore_errors=True)
        dirty(file)
        return inner("commit", WORK / "commit", file)

    def peer():
        remove(copy)
        dirty(file)
        return wall("cp", file, copy)

    def peer_synced():
        remove(copy)
        dirty(file)
        return wall("sh", "-c", f"cp '{file}' '{copy}' && sync '{copy}'")

    times = medians(ours, peer, peer_synced)
    row("commit 1 GB (hashed, synced)", times[0], "cp && sync", times[2])
    row("commit 1 GB (hashed, synced)", times[0], "cp", times[1])
    remove(copy)

    small = medians(lambda: inner("commits", WORK / "commit", 50))
    row("commit a small file, mean of 50", small[0])


def materialise():
    to, copy, blob = WORK / "to", WORK / "copy", next((WORK / "commit" / "blobs").glob("*/*"))
    blob = max((WORK / "commit" / "blobs").glob("*/*"), key=lambda path: path.stat().st_size)

    def ours(how):
        def run():
            remove(to)
            return inner(how, WORK / "commit", to)

        return run

    def peer():
        remove(copy)
        return wall("cp", blob, copy)

    first, link, copied = medians(ours("materialise"), ours("link"), peer)
    row("materialise 1 GB, first use in a run (hashed)", first, "cp", copied)
    row("materialise 1 GB, later use, or `--verify size`", link, "cp", copied)
    remove(copy)
    remove(to)


def verify_on_read():
    """A whole run of a stage that reads 1 GB, with and without the check of its input."""
    folder = WORK / "workflow"
    folder.mkdir()
    (folder / "flow.toml").write_text(
        "[params]\nsalt = 0\n\n[stages.big]\nrun = 'cat ${inputs.file} > ${outputs.o}'\n"
        f"inputs = {{ file = {{ path = '{WORK / 'source'}' }} }}\noutputs = {{ o = 'o' }}\n\n"
        "[stages.reader]\nrun = ': ${salt}; cat ${inputs.big} > /dev/null; echo > ${outputs.o}'\n"
        "inputs = { big = 'big' }\noutputs = { o = 'o' }\n"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("FLOW_")}
    salt = 0

    def run(how):
        def measure():
            nonlocal salt
            salt += 1
            return wall(FLOW, "run", folder / "flow.toml", "--set", f"salt={salt}", "--verify", how, env=env)

        return measure

    run("digest")()
    digest, size = medians(run("digest"), run("size"))
    row("`flow run` of a stage that reads 1 GB, `--verify digest`", digest, "`--verify size`", size)
    shutil.rmtree(folder)


def large_store():
    small, large = WORK / "small", WORK / "large"
    inner("fill", small, 100, 50_000_000)
    inner("fill", large, 100_000, 50 * GB)
    of_small, of_large = medians(lambda: inner("lookup", small, 100), lambda: inner("lookup", large, 100_000))
    row("look one record up among 100,000", of_large, "among 100", of_small)
    stats, gc = medians(
        lambda: wall(FLOW, "cache", "stats", "--store", large),
        lambda: wall(FLOW, "cache", "gc", "--store", large, "--max-size", "20GB", "--dry-run"),
    )
    row("`flow cache stats`, 100,000 records, 50 GB", stats)
    row("`flow cache gc --max-size 20GB --dry-run`, the same", gc)


def main():
    prepare()
    cores = os.cpu_count()
    print(f"{cores} cores, times in ms; ratio above 1: ours is faster\n")
    print("| what | ours | peer | its time | ratio |")
    print("|---|---|---|---|---|")
    hashing()
    commit()
    materialise()
    verify_on_read()
    large_store()
    shutil.rmtree(WORK)


main()
