"""The program `flow`: where it is, how it is called, and what it says when something is wrong."""

import atexit
import json
import os
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

#: One line of `--json`.
Line = dict[str, Any]


class Error(Exception):
    """What flow says is wrong. `status` is its exit status: 1 for a result that is not there or a stage that failed, 2 for
    a workflow or an argument that is wrong."""

    def __init__(self, message: str, status: int = 1):
        super().__init__(message)
        self.status = status


def find(given: str | os.PathLike[str] | None = None) -> str:
    """The path of the program: the one that is given, the variable FLOW, beside this package, in the environment's
    folder of programs, or on the PATH."""
    named = os.fspath(given) if given is not None else os.environ.get("FLOW")
    if named:
        found = shutil.which(os.path.expanduser(named))
        if found is None:
            origin = "flow=" if given is not None else "the variable FLOW:"
            raise Error(f"{origin} {named} is no program that can be started; name the program flow", 2)
        return os.path.abspath(found)
    beside = [Path(__file__).parent / "bin" / "flow", Path(sysconfig.get_path("scripts")) / "flow"]
    for path in beside:
        if os.access(path, os.X_OK) and path.is_file():
            return str(path)
    found = shutil.which("flow")
    if found is None:
        raise Error("the program flow is not on the PATH; install it, or name it: set the variable FLOW, or "
                    "flow.Workflow(…, flow=\"/path/to/flow\")", 2)
    return os.path.abspath(found)


def call(program: str, arguments: list[str], folder: Path | None = None) -> str:
    """What `flow ARGUMENTS` prints. An exit status other than 0 is an `Error` with flow's words."""
    done = subprocess.run([program, *arguments], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
                          encoding="utf-8", errors="replace")
    if done.returncode != 0:
        raise error(done.returncode, done.stderr)
    return done.stdout


def lines(program: str, arguments: list[str], folder: Path | None = None) -> list[Line]:
    """The objects that `flow ARGUMENTS` prints, one a line."""
    return [json.loads(line) for line in call(program, arguments, folder).splitlines()]


def error(status: int, stderr: str) -> Error:
    """The `Error` for a call that ended so."""
    text = stderr.strip().removeprefix("error: ")
    if status < 0:
        text = f"flow was ended by signal {-status}" + (f": {text}" if text else "")
    return Error(text or f"flow ended with exit status {status}, and said nothing", status)


_folder: str | None = None
_owner = 0


def temporary_folder() -> Path:
    """A new folder that is removed when this process ends."""
    global _folder, _owner
    if _folder is None or _owner != os.getpid():
        _folder, _owner = tempfile.mkdtemp(prefix="flow-"), os.getpid()
        atexit.register(_remove, _folder, _owner)
    return Path(tempfile.mkdtemp(dir=_folder))


def _remove(folder: str, owner: int) -> None:
    # Not by a child that was forked later.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
