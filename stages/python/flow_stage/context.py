"""What a running stage is given, and what it says."""

import json
import math
import os
import pickle
import threading
from pathlib import Path
from typing import IO, Any

from .ran import own_code


class Failed(Exception):
    """Raise it to fail the stage with a message for the user: what is wrong, where, and what to do."""


class Context:
    """What a running stage is given. Its methods may be called from any thread."""

    def __init__(self, request: dict[str, Any], events: IO[str], checkpoints: bool = False) -> None:
        self.stage: str = request["stage"]  #: the stage's name in the workflow
        #: role to path; read-only
        self.inputs: dict[str, Path] = {role: Path(path) for role, path in request["inputs"].items()}
        #: role to the path to write
        self.outputs: dict[str, Path] = {role: Path(path) for role, path in request["outputs"].items()}
        #: output role to what an earlier action made that this one may go on from (see `continues`); read-only
        self.earlier: dict[str, Path] = {role: Path(path) for role, path in request.get("earlier", {}).items()}
        self.work = Path(request["work"])  #: a folder of the stage's own, for scratch files and checkpoints
        self.seed: int = request["seed"]  #: the seed of every random draw
        self.threads: int = max(1, request["threads"])  #: the number of threads that the stage may use
        self.device: str = request["device"]  #: "cpu", or the device that the workflow asked for
        self.keeps_checkpoints = checkpoints  #: whether the kind goes on after an interruption: `work` is kept then
        self._events = events
        self._lock = threading.Lock()

    def progress(self, done: int, total: int = 0, unit: str = "", message: str = "") -> None:
        """Says how far the stage is: `done` of `total` (0: unknown) in `unit`s."""
        self._emit(event="progress", done=int(done), total=int(total), unit=unit, message=message)

    def metric(self, name: str, value: Any, step: int | None = None) -> None:
        """Reports a measured number, of `step` (epoch) where it is one of a series."""
        value = float(value)
        event = {"event": "metric", "name": name, "value": value if math.isfinite(value) else None}
        self._emit(**event, **({} if step is None else {"step": int(step)}))

    def log(self, message: object) -> None:
        """Writes a line to the stage's log."""
        self._emit(event="log", message=str(message))

    def facts(self, **facts: object) -> None:
        """Says what the stage computes with, by name, such as a library's version: it goes into the log and into the
        result's provenance. To be called before anything is computed, so that the log of a stage that crashes has it."""
        texts = {name: str(value) for name, value in facts.items()}
        named = ", ".join(f"{name} {value}" for name, value in texts.items())
        self._emit(event="log", message=f"computes with {named}", facts=texts)

    def warning(self, message: object) -> None:
        """Tells the user something that does not stop the stage."""
        self._emit(event="warning", message=str(message))

    def checkpoint(self, state: Any) -> None:
        """Keeps how far the stage is: anything that pickle takes, state dicts of PyTorch too. Instead of the one before,
        which stays until the new one is whole. The kind says `checkpoints=True`."""
        if not self.keeps_checkpoints:
            raise TypeError("the kind keeps no checkpoints: declare it with `checkpoints=True`")
        new = self._checkpoint().with_suffix(".new")
        with open(new, "wb") as file:
            pickle.dump(state, file, protocol=pickle.HIGHEST_PROTOCOL)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self._checkpoint())

    def resume(self) -> Any:
        """The last `checkpoint` of an attempt that was interrupted; None where the stage begins."""
        try:
            # The stage's own: only an attempt with the same code, inputs and parameters wrote into this folder.
            with open(self._checkpoint(), "rb") as file:
                return pickle.load(file)
        except FileNotFoundError:
            return None
        except Exception as error:
            self.warning(f"the checkpoint can't be read, so the stage begins anew: {type(error).__name__}: {error}")
            return None

    def _checkpoint(self) -> Path:
        return self.work / "checkpoint.pickle"

    def _loaded(self) -> None:
        # So that what ran is what was hashed: the engine knows which files its version of this plugin covers.
        files = own_code(self.work)
        for first in range(0, len(files), 1000):
            some = files[first:first + 1000]
            self._emit(event="log", message=f"ran code of {len(some)} files of its own", loaded=some)

    def _emit(self, **event: Any) -> None:
        # One write a line: the reader never sees half an event.
        with self._lock:
            self._events.write(json.dumps(event) + "\n")
            self._events.flush()
