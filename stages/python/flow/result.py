"""A stage's result out of the store: read, copied, shown, traced back."""

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import pages, tensors
from .command import Error, Line, temporary_folder

if TYPE_CHECKING:
    from .workflow import Workflow


class Result:
    """A stage's output: the one that is named (`coarse.history`), else the stage's first. Nothing is read before a method
    is called, and each call reads what is up to date then; where nothing is, it raises `flow.Error`."""

    def __init__(self, workflow: "Workflow", name: str):
        if name.startswith("-"):
            raise Error(f"`{name}` is no name of a stage", 2)
        self._workflow = workflow
        self.name = name  #: as flow knows it

    def __repr__(self) -> str:
        return f"{self._workflow!r}[{self.name!r}]"

    def load(self) -> Any:
        """What it is: of `.npy` a read-only memory map of the file in the store (nothing is copied); of `.json` the value;
        of `.safetensors` as `model()`; of anything else its path, as `path()`."""
        path = self.path()
        read = {".npy": _array, ".json": _json, ".safetensors": tensors.read}.get(path.suffix)
        if read is None or path.is_dir():
            return path
        try:
            return read(path)
        finally:
            # What is mapped stays.
            shutil.rmtree(path.parent, ignore_errors=True)

    def path(self) -> Path:
        """Where it can be read: a link to the read-only file in the store, or a folder of such links. It is there until
        this process ends."""
        return Path(self._get()["path"])

    def copy(self, to: str | os.PathLike[str]) -> Path:
        """Copies it to a new path; the copy is yours."""
        path = Path(os.path.abspath(os.path.expanduser(to)))
        self._workflow._call("get", f"--output={path}", what=[self.name])
        return path

    def model(self, *, torch: bool = False) -> dict[str, Any]:
        """The stage's network: its tensors by name, read-only memory maps of the file in the store; bfloat16 as the
        float32 that equals it. With `torch` a state dict: tensors of PyTorch, copied into memory that is yours."""
        arrays: dict[str, Any] = self._of_type("model", ".safetensors").load()
        if not torch:
            return arrays
        import torch as pytorch  # type: ignore[import-not-found,unused-ignore]
        return {name: pytorch.from_numpy(array.copy()) for name, array in arrays.items()}

    def metrics(self) -> dict[str, Any]:
        """The stage's figures."""
        metrics: dict[str, Any] = self.origin()[0]["metrics"]
        return metrics

    def outputs(self) -> dict[str, Line]:
        """The stage's outputs by name: `artifact` (type), `digest`, `size` (bytes), `folder`."""
        outputs: dict[str, Line] = self.origin()[0]["outputs"]
        return outputs

    def origin(self) -> pages.Origin:
        """How it came to be: the objects of `flow show --json`, this stage first, then all that it was made from."""
        return pages.Origin(self._workflow._lines("show", what=[self.name]))

    def view(self) -> pages.View:
        """What the stage shows people: text, tables and pictures, in a notebook as HTML."""
        got = self._of_type("view")._get()
        with open(os.path.join(got["path"], "view.json"), encoding="utf-8") as file:
            items = json.load(file)["items"]
        folder = temporary_folder()
        self._workflow._call("report", f"--figures={folder}", f"--only={got['label']}")
        return pages.View(items, got["label"], folder)

    def _get(self) -> Line:
        return self._workflow._lines("get", "--link", what=[self.name], folder=temporary_folder())[0]

    def _of_type(self, artifact: str, suffix: str | None = None) -> "Result":
        """This output if it is of that type (or its file ends so), else the stage's only one that is."""
        origin = self.origin()[0]
        outputs, label = origin["outputs"], origin["label"]
        # A program's output is a file to flow; its name says more.
        files = origin["manifest"].get("outputs") or {}
        found = [role for role, output in outputs.items() if output["artifact"] == artifact
                 or suffix is not None and str(files.get(role, "")).endswith(suffix)]
        for role in found:
            if self.name.endswith(f".{role}") or len(found) == 1:
                return Result(self._workflow, f"{label}.{role}")
        several = f"several outputs of the type {artifact}" if found else f"no output of the type {artifact}"
        raise Error(f"`{self.name}` has {several}; it has {', '.join(sorted(outputs))}", 2)


def _array(path: Path) -> Any:
    try:
        import numpy
    except ImportError as error:
        raise ImportError("an array is read with numpy: install numpy, or take `path()`") from error
    try:
        return numpy.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise Error(f"{path.name} is no array that numpy reads without running code: {error}") from error


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise Error(f"{path.name} is no JSON: {error}") from error
