"""A run: followed while it goes on, interrupted cleanly, and what it came to."""

import json
import queue
import signal
import subprocess
import threading
from collections.abc import Callable
from typing import Any

from . import command, pages
from .command import Error, Line
from .progress import INTERVAL, Progress
from .values import label


class Run:
    """What a run came to."""

    def __init__(self, end: Line, stages: list[Line], warnings: list[str]):
        self.id: str = end["run"]  #: its name, as `flow runs` lists it
        self.status: str = end["status"]  #: ok, failed or cancelled
        self.seconds: float = end["seconds"]  #: how long it took
        ends = ("ran", "cached", "frozen", "failed", "skipped", "cancelled")
        self.counts: dict[str, int] = {name: end.get(name, 0) for name in ends}  #: how many stages ended how
        #: instances that the next run goes on with from a checkpoint
        self.checkpoints: list[str] = end.get("checkpoints", [])
        #: how each stage ended, as `flow run --json` prints it: status, key, seconds, outputs, failure
        self.stages = {label(line["stage"], line["instance"]): line for line in stages}
        self.warnings = warnings  #: what people should know

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.items() if count)
        return f"<run {self.id}: {self.status}; {counts or 'nothing to do'}; {self.seconds:.1f} s>"

    def _repr_html_(self) -> str:
        rows = [[name, line["status"], f"{line['seconds']:.1f} s", (line.get("failure") or {}).get("message", "")]
                for name, line in self.stages.items()]
        return pages.paragraph(repr(self).strip("<>")) + pages.table(["stage", "status", "time", ""], rows)


class RunFailed(Error):
    """A stage failed. `run` is what the run came to all the same; the message says which stage, and why."""

    def __init__(self, run: Run):
        parts = []
        for name, line in run.stages.items():
            failure = line.get("failure")
            if line["status"] == "failed" and failure:
                tail = [f"  | {text}" for text in failure.get("tail", [])]
                parts.append("\n".join([f"stage `{name}` failed: {failure['message']}", *tail,
                                        f"  whole log: {failure['log']}"]))
        super().__init__("\n".join(parts) or f"the run {run.id} failed")
        self.run = run


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended the run, cleanly. `run` is what it came to, or None where it had not begun."""

    def __init__(self, run: Run | None):
        kept = "nothing had begun" if run is None else f"run {run.id}: what is done is in the store"
        going_on = f"; {', '.join(run.checkpoints)} can go on from a checkpoint" if run and run.checkpoints else ""
        super().__init__(f"interrupted: {kept}{going_on}; run it again to go on")
        self.run = run


def follow(arguments: list[str], progress: bool | Callable[[Line], object]) -> Run:
    """Runs a `flow run --json --events` to its end.

    Raises `RunFailed` where a stage failed, `Interrupted` after Ctrl-C, `Error` where the run could not begin.
    """
    shown = Progress() if progress is True else None
    hear: Callable[[Line], object] | None = shown.hear if shown else (progress or None)  # type: ignore[assignment]
    ends: dict[str, list[Line]] = {"stage": [], "run": [], "warning": []}
    # A session of its own: a terminal's Ctrl-C reaches this process alone, which passes it on once. flow takes a second one
    # for a wish not to wait.
    child = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             start_new_session=True)
    said = _Said(child)
    interrupted = False
    try:
        while True:
            try:
                try:
                    line = said.next(INTERVAL if shown else None)
                except queue.Empty:
                    shown.pause()  # type: ignore[union-attr]
                    continue
                if line is None:
                    break
                ends.get(line["event"], []).append(line)
                if hear is not None:
                    hear(line)
            except KeyboardInterrupt:
                interrupted = True
                child.send_signal(signal.SIGINT)
                if shown:
                    shown.interrupt()
        child.wait()
    finally:
        # An error of the caller's function.
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
            child.wait()
        if shown:
            shown.end()
    warnings = [f"{line['label']}: {line['message']}" if line.get("label") else line["message"]
                for line in ends["warning"]]
    run = Run(ends["run"][-1], ends["stage"], warnings) if ends["run"] else None
    if interrupted or child.returncode == 130:
        raise Interrupted(run)
    if run is None or (child.returncode != 0 and run.status == "ok"):
        raise command.error(child.returncode, said.errors())
    if child.returncode != 0:
        raise RunFailed(run)
    return run


class _Said:
    """What a process says. Threads read it: an interrupt while the caller waits loses no half of a line."""

    def __init__(self, child: "subprocess.Popen[bytes]"):
        self._lines: "queue.SimpleQueue[bytes | None]" = queue.SimpleQueue()
        self._errors = b""
        self._threads = [threading.Thread(target=work, args=[child], daemon=True)
                         for work in (self._read, self._read_errors)]
        for thread in self._threads:
            thread.start()

    def _read(self, child: Any) -> None:
        with child.stdout as stdout:
            for line in stdout:
                self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self, child: Any) -> None:
        with child.stderr as stderr:
            self._errors = stderr.read()

    def next(self, patience: float | None) -> Line | None:
        """The next event; None at the end. Raises `queue.Empty` where none comes within that many seconds."""
        line = self._lines.get(timeout=patience)
        return None if line is None else json.loads(line)

    def errors(self) -> str:
        """What it wrote to stderr; to be asked when it has ended."""
        self._threads[1].join()
        return self._errors.decode("utf-8", "replace")
